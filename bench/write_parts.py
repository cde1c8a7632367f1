"""Where the time of a put goes, by parts: CPU of one thread in this process, without sockets.

``batch_put``: the steps of batches of 100, one after the other, over keys that are all there; what
is sent, received and passed between actors is not in it. ``PUT``: 64 connections at once through
the lane, the shard and a log in memory; all but the system calls.
"""

import argparse
import random
import tempfile
from itertools import pairwise
from pathlib import Path
from time import thread_time

import trio
import trio.testing

from bench.load.key_spaces import KeySpace
from bench.load.protocols import http
from bench.load.write_targets import VALUE
from kissvdb.api.dispatch import Api
from kissvdb.api.state import plain_puts
from kissvdb.config import Config, Limits, Storage
from kissvdb.core.state.put_many import PutMany, WrittenMany
from kissvdb.core.state.rules import StateBatch
from kissvdb.engine.followers import Committed
from kissvdb.engine.opening import open_database
from kissvdb.engine.state.view import StateView, store
from kissvdb.engine.stream.ring import Ring
from kissvdb.lane.connection import Connection
from kissvdb.lane.limits import LaneLimits
from kissvdb.lane.server import Lane
from kissvdb.lane.transport import Transport
from kissvdb.metrics import Metrics
from kissvdb.records import KeyWritten, encode_all
from kissvdb.storage.log import frames
from kissvdb.storage.state.table import StateTable

BATCH, CONNECTIONS, FILL = 100, 64, 1000
PARTS = ("body to columns", "decide", "records", "frame", "ring", "apply", "answers", "free")


def main() -> int:
    command = argparse.ArgumentParser(description=__doc__)
    command.add_argument("--keys", type=int, default=200_000)
    command.add_argument("--requests", type=int, default=2000, help="batches, and rounds of PUTs")
    arguments = command.parse_args()
    space = KeySpace(arguments.keys)
    keys = [space.key(number).decode() for number in range(space.count)]
    print(f"{len(keys):,} keys of {len(VALUE)} bytes, uniform; microseconds of CPU")
    batch_parts(keys, arguments.requests)
    trio.run(put_parts, keys, arguments.requests)
    return 0


def batch_parts(keys: list[str], batches: int) -> None:
    """Print what a key of a batch costs."""
    took = dict.fromkeys((*PARTS, "storing, in a thread"), 0.0)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        view = StateView(StateTable(Path(directory) / "state.db"), hot_bytes=512 << 20)
        offset = 1
        for start in range(0, len(keys), FILL):
            some = keys[start : start + FILL]
            view.apply(offset, [KeyWritten(key, bytes(bytearray(VALUE)), 1) for key in some])
            offset += len(some)
            took["storing, in a thread"] += _stored(view)
        took["storing, in a thread"] = 0.0
        ring = Ring(events_max=65_536, bytes_max=64 << 20, last_offset=offset - 1)
        drawn = random.Random(1)
        for _ in range(batches):
            some = drawn.choices(keys, k=BATCH)
            writes = b",".join(b'{"key":"%b","value":%b}' % (key.encode(), VALUE) for key in some)
            for part, seconds in zip(
                PARTS, _batch(b'{"operations":[%b]}' % writes, view, ring, offset), strict=True
            ):
                took[part] += seconds
            offset += BATCH
            took["storing, in a thread"] += _stored(view)
    for part, seconds in took.items():
        print(f"batch_put  {part:22} {seconds / batches / BATCH * 1e6:6.2f} a key")
    total = sum(took[part] for part in PARTS) / batches / BATCH * 1e6
    print(f"batch_put  {'on the loop':22} {total:6.2f} a key")


def _batch(body: bytes, view: StateView, ring: Ring, offset: int) -> list[float]:
    times = [thread_time()]

    def done() -> None:
        times.append(thread_time())

    columns = plain_puts.read(body, Limits())
    assert columns is not None
    done()
    batch = StateBatch(view.get, view.operation, 1, absent=view.absent, known=view.known)
    written = batch.decide(PutMany(*columns)).at(offset)
    assert isinstance(written, WrittenMany)
    done()
    payloads = encode_all(batch.records)
    done()
    frame = frames.encode(b"abcd", offset, 1, payloads)
    done()
    ring.extend(Committed(offset - 1, offset, 1, batch.records, payloads))
    done()
    view.apply(offset, batch.records, batch.runs)
    done()
    answer = plain_puts.results(columns[0], written)
    done()
    del columns, batch, written, payloads, frame, answer
    done()
    return [after - before for before, after in pairwise(times)]


def _stored(view: StateView) -> float:
    if not view.is_full():
        return 0.0
    began = thread_time()
    sealed = view.freeze()
    store(view.table, sealed)
    view.stored(sealed)
    return thread_time() - began


class _Socket:
    """What a connection reads from and writes to."""

    waiting = b""
    answered = 0

    def recv(self, _size: int) -> bytes:
        if not self.waiting:
            raise BlockingIOError
        data, self.waiting = self.waiting, b""
        return data

    def send(self, data: bytes) -> int:
        assert data.startswith(b"HTTP/1.1 200"), data
        _Socket.answered += 1
        return len(data)

    def fileno(self) -> int:
        return -1

    def shutdown(self, _how: int) -> None: ...

    def close(self) -> None: ...


class _Poller:
    def register(self, *_: object) -> None: ...

    def unregister(self, *_: object) -> None: ...


async def put_parts(keys: list[str], rounds: int) -> None:
    """Print what a PUT costs."""
    config = Config(storage=Storage(memory=True))
    drawn, body = random.Random(2), b'{"value":%b}' % VALUE
    async with open_database(config, metrics=Metrics()) as database, trio.open_nursery() as tasks:
        for start in range(0, len(keys), FILL):
            some = keys[start : start + FILL]
            reply = database.put_many(some, [bytes(bytearray(VALUE)) for _ in some])
            assert reply is not None
            await reply.wait()
        api, limits, poller = Api(database, config, Metrics()), LaneLimits.of(config), _Poller()
        lane = Lane(api, None, limits, tasks, poller)  # type: ignore[arg-type]
        transports = []
        for _ in range(CONNECTIONS):
            sock = _Socket()
            transport = Transport(sock, limits, lane.clock, poller)  # type: ignore[arg-type]
            transports.append((sock, transport))
            tasks.start_soon(Connection(lane, transport, "127.0.0.1").run)
        await trio.testing.wait_all_tasks_blocked()
        took: list[tuple[float, float]] = []
        for _ in range(rounds):
            some = drawn.choices(keys, k=CONNECTIONS)
            requests = [http("PUT", f"/v1/state/{key}", body) for key in some]
            _Socket.answered, began = 0, thread_time()
            for (sock, transport), request in zip(transports, requests, strict=True):
                sock.waiting = request
                transport.on_readable(ended=False)
            read = thread_time()
            while _Socket.answered < CONNECTIONS:
                await trio.lowlevel.checkpoint()
            took.append((read - began, thread_time() - read))
        tasks.cancel_scope.cancel()
    for place, part in enumerate(("read, begin", "decide, log, answer")):
        median = sorted(each[place] for each in took)[rounds // 2] / CONNECTIONS * 1e6
        print(f"PUT        {part:22} {median:6.2f} a request")


if __name__ == "__main__":
    raise SystemExit(main())
