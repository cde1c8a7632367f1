"""Ways to write durably: one at a time and 100 at a time, to our server and to its peers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import attrs

from bench.load import key_spaces, protocols
from bench.load.key_spaces import KeySpace, Requests
from bench.load.loop import Workload
from bench.load.process import Server
from bench.load.servers import NATS_SUBJECT

BATCH = 100
VALUE_BYTES = 150
VALUE = protocols.compact({"n": 1, "pad": "x" * (VALUE_BYTES - 16)})


@attrs.frozen
class Target:
    """One way to write to one server."""

    group: str
    name: str
    server: Server
    workload: Workload


def fill(running: Mapping[str, Server], space: KeySpace) -> None:
    """Write all keys before anything is measured: to ours and to Redis. etcd would take minutes and
    has fewer, to its advantage; NATS has no keys."""
    if not space.is_filled:
        return
    for name, server in running.items():
        if name in ("lane", "hypercorn"):
            key_spaces.fill_kissvdb(server, space, VALUE)
        elif name == "redis":
            key_spaces.fill_redis(server, space, VALUE)


def targets(running: Mapping[str, Server], space: KeySpace) -> Iterator[Target]:
    """All ways to write to the servers that run."""
    value = VALUE
    for name in ("lane", "hypercorn"):
        if name in running:
            yield from _ours(running[name], space, value)
    if "redis" in running:
        yield from _redis(running["redis"], space, value)
    if "etcd" in running:
        yield from _etcd(running["etcd"], space, value)
    if "nats" in running:
        server = running["nats"]
        one = protocols.nats_publish(NATS_SUBJECT, value)
        hello = protocols.nats_hello()
        single = Workload("nats", [one], hello, bad=b'"error"')
        yield Target("put", "nats publish", server, single)
        yield Target("event", "nats publish", server, single)
        pipeline = Workload("nats", [one * BATCH], hello, BATCH, BATCH, b'"error"')
        yield Target("batch", "nats 100 published", server, pipeline)


def _each(space: KeySpace, make: Callable[[bytes], bytes]) -> Requests:
    """A request for each key."""
    return Requests(space, lambda keys: make(keys[0]))


def _ours(server: Server, space: KeySpace, value: bytes) -> Iterator[Target]:
    name = server.name
    body = b'{"value":%b}' % value
    puts = _each(space, lambda key: protocols.http("PUT", f"/v1/state/{key.decode()}", body))
    yield Target("put", f"{name} PUT", server, Workload("http", puts))
    event = b'"type":"tick","data":%b' % value
    post = protocols.http("POST", "/v1/events", b"{%b}" % event)
    yield Target("event", f"{name} POST", server, Workload("http", [post]))

    def batch(way: str, requests: Sequence[bytes]) -> Target:
        workload = Workload("http", requests, operations=BATCH, bad=b'"error"')
        return Target("batch", f"{name} {way}", server, workload)

    array = b"[" + b",".join([b"{%b}" % event] * BATCH) + b"]"
    yield batch("events", [protocols.http("POST", "/v1/events", array, protocols.JSON)])
    lines = b'{"op":"event",%b}\n' % event * BATCH
    yield batch("bulk event", [protocols.http("POST", "/v1/bulk", lines, protocols.BULK)])
    if name != "lane":
        return

    def bulk_put(keys: Sequence[bytes]) -> bytes:
        lines = (b'{"op":"put","key":"%b","value":%b}\n' % (key, value) for key in keys)
        return protocols.http("POST", "/v1/bulk", b"".join(lines), protocols.BULK)

    def batch_put(keys: Sequence[bytes]) -> bytes:
        writes = b",".join(b'{"key":"%b","value":%b}' % (key, value) for key in keys)
        body = b'{"operations":[%b]}' % writes
        return protocols.http("POST", "/v1/state/batch_put", body, protocols.JSON)

    yield batch("bulk put", Requests(space, bulk_put, BATCH))
    yield batch("batch_put", Requests(space, batch_put, BATCH))


def _redis(server: Server, space: KeySpace, value: bytes) -> Iterator[Target]:
    sets = _each(space, lambda key: protocols.resp(b"SET", key, value))
    yield Target("put", "redis SET", server, Workload("resp", sets))
    add = protocols.resp(b"XADD", b"events", b"*", b"data", value)
    yield Target("event", "redis XADD", server, Workload("resp", [add]))

    def pipelined(keys: Iterable[bytes]) -> bytes:
        return b"".join(protocols.resp(b"SET", key, value) for key in keys)

    pipelines = Requests(space, pipelined, BATCH)
    pipeline = Workload("resp", pipelines, operations=BATCH, replies=BATCH)
    yield Target("batch", "redis -P 100 SET", server, pipeline)
    pipeline = Workload("resp", [add * BATCH], operations=BATCH, replies=BATCH)
    yield Target("batch", "redis -P 100 XADD", server, pipeline)


def _etcd(server: Server, space: KeySpace, value: bytes) -> Iterator[Target]:
    hello = protocols.grpc_hello()
    put, txn = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Txn"
    calls = _each(space, lambda key: protocols.grpc_call(put, protocols.etcd_put(key, value)))
    yield Target("put", "etcd gRPC", server, Workload("grpc", calls, hello))
    posts = _each(
        space,
        lambda key: protocols.http("POST", "/v3/kv/put", protocols.etcd_json_put(key, value)),
    )
    yield Target("put", "etcd JSON", server, Workload("http", posts))

    def transaction(keys: Sequence[bytes]) -> bytes:
        # etcd refuses a key that is there twice.
        pairs = [(key, value) for key in dict.fromkeys(keys)]
        return protocols.grpc_call(txn, protocols.etcd_transaction(pairs))

    batches = Requests(space, transaction, BATCH)
    transactions = Workload("grpc", batches, hello, operations=BATCH)
    yield Target("batch", "etcd gRPC txn", server, transactions)
