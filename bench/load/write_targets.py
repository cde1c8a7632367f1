"""Ways to write durably: one at a time and 100 at a time, to our server and to its peers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import attrs

from bench.load import protocols
from bench.load.loop import Workload
from bench.load.process import Server
from bench.load.servers import NATS_SUBJECT

BATCH = 100
KEYS = 4096
BATCHES = 40
VALUE_BYTES = 150

T = TypeVar("T")


@attrs.frozen
class Target:
    """One way to write to one server."""

    group: str
    name: str
    server: Server
    workload: Workload


def targets(running: Mapping[str, Server]) -> Iterator[Target]:
    """All ways to write to the servers that run."""
    keys = [b"bench:%06d" % number for number in range(KEYS)]
    value = protocols.compact({"n": 1, "pad": "x" * (VALUE_BYTES - 16)})
    for name in ("lane", "hypercorn"):
        if name in running:
            yield from _ours(running[name], keys, value)
    if "redis" in running:
        yield from _redis(running["redis"], keys, value)
    if "etcd" in running:
        yield from _etcd(running["etcd"], keys, value)
    if "nats" in running:
        server = running["nats"]
        one = protocols.nats_publish(NATS_SUBJECT, value)
        hello = protocols.nats_hello()
        single = Workload("nats", [one], hello, bad=b'"error"')
        yield Target("put", "nats publish", server, single)
        yield Target("event", "nats publish", server, single)
        pipeline = Workload("nats", [one * BATCH], hello, BATCH, BATCH, b'"error"')
        yield Target("batch", "nats 100 published", server, pipeline)


def _ours(server: Server, keys: Sequence[bytes], value: bytes) -> Iterator[Target]:
    name = server.name
    body = b'{"value":%b}' % value
    puts = [protocols.http("PUT", f"/v1/state/{key.decode()}", body) for key in keys]
    yield Target("put", f"{name} PUT", server, Workload("http", puts))
    event = b'"type":"tick","data":%b' % value
    post = protocols.http("POST", "/v1/events", b"{%b}" % event)
    yield Target("event", f"{name} POST", server, Workload("http", [post]))

    def batch(way: str, target: str, bodies: Iterable[bytes], media: str) -> Target:
        requests = [protocols.http("POST", target, body, media) for body in bodies]
        workload = Workload("http", requests, operations=BATCH, bad=b'"error"')
        return Target("batch", f"{name} {way}", server, workload)

    array = [b"[" + b",".join([b"{%b}" % event] * BATCH) + b"]"]
    yield batch("events", "/v1/events", array, protocols.JSON)
    lines = [b'{"op":"event",%b}\n' % event * BATCH]
    yield batch("bulk event", "/v1/bulk", lines, protocols.BULK)
    if name != "lane":
        return
    writes = [b'"key":"%b","value":%b' % (key, value) for key in keys]
    lines = [b"".join(b'{"op":"put",%b}\n' % each for each in chunk) for chunk in _chunks(writes)]
    yield batch("bulk put", "/v1/bulk", lines, protocols.BULK)
    lists = [b",".join(b"{%b}" % each for each in chunk) for chunk in _chunks(writes)]
    bodies = [b'{"operations":[%b]}' % each for each in lists]
    yield batch("batch_put", "/v1/state/batch_put", bodies, protocols.JSON)


def _redis(server: Server, keys: Sequence[bytes], value: bytes) -> Iterator[Target]:
    sets = [protocols.resp(b"SET", key, value) for key in keys]
    yield Target("put", "redis SET", server, Workload("resp", sets))
    add = protocols.resp(b"XADD", b"events", b"*", b"data", value)
    yield Target("event", "redis XADD", server, Workload("resp", [add]))
    pipelines = [b"".join(chunk) for chunk in _chunks(sets)]
    pipeline = Workload("resp", pipelines, operations=BATCH, replies=BATCH)
    yield Target("batch", "redis -P 100 SET", server, pipeline)
    pipeline = Workload("resp", [add * BATCH], operations=BATCH, replies=BATCH)
    yield Target("batch", "redis -P 100 XADD", server, pipeline)


def _etcd(server: Server, keys: Sequence[bytes], value: bytes) -> Iterator[Target]:
    hello = protocols.grpc_hello()
    path = "/etcdserverpb.KV/Put"
    calls = [protocols.grpc_call(path, protocols.etcd_put(key, value)) for key in keys]
    yield Target("put", "etcd gRPC", server, Workload("grpc", calls, hello))
    posts = [protocols.http("POST", "/v3/kv/put", protocols.etcd_json_put(k, value)) for k in keys]
    yield Target("put", "etcd JSON", server, Workload("http", posts))
    path = "/etcdserverpb.KV/Txn"
    pairs = [(key, value) for key in keys]
    calls = [
        protocols.grpc_call(path, protocols.etcd_transaction(chunk)) for chunk in _chunks(pairs)
    ]
    transactions = Workload("grpc", calls, hello, operations=BATCH)
    yield Target("batch", "etcd gRPC txn", server, transactions)


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, BATCH * BATCHES, BATCH))
