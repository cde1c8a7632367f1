"""What does a call of the client cost the program that makes it, beside other clients?

One program, one call after another: calls a second, and the CPU that this process spends on each.
`kissvdb` is the client for plain programs, `kissvdb trio` the one for Trio, `httpx` and `httpx
trio` the same requests to the same server by hand. redis-py talks to a redis that syncs as we do.
qdrant-client in memory is library and database in one, so that its CPU is both.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Import from the root instead of from here: http.py beside this file is not Python's http.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attrs
import httpx
import numpy as np
import trio

from bench.load import options, report, servers
from bench.load.process import NotInstalled, Server
from kissvdb.client import AsyncClient, Client

DIM, ROWS, K = 384, 1000, 10
BULK = 1000
HEADS = {"operations_per_s": "a second", "p50_ms": "p50 ms", "cpu_us": "client CPU us"}
VALUE = {"state": "running", "progress": 0.25, "note": "a third of the way"}
GROUPS = ("get", "put", "search", "bulk")
Timed = Callable[[float], "Figures"]


@attrs.frozen
class Figures:
    """Of one measurement. Of bulk an operation is a key, and ``p50_ms`` that of a call."""

    operations_per_s: float
    p50_ms: float
    cpu_us: float


@attrs.frozen
class Target:
    """One way to do one thing."""

    group: str
    name: str
    way: Timed


def main() -> int:
    command = options.parser(__doc__ or "")
    command.add_argument("--seconds", type=float, default=1.0, help="of one measurement")
    arguments = command.parse_args()
    with options.scratch(arguments.dir, command) as (directory, file_system), ExitStack() as stack:
        about = report.machine(directory, file_system)
        used: list[Server] = []
        targets: list[Target] = []
        for peer in (ours, redis, qdrant):
            place = directory / peer.__name__
            place.mkdir()
            try:
                server, ways = stack.enter_context(peer(place))
            except NotInstalled as missing:
                print(f"left out: {missing}", file=sys.stderr)
                continue
            used += [] if server is None else [server]
            targets += ways
        cells = rounds(targets, arguments)
    report.print_report(cells, HEADS)
    found = report.ratios(cells, ("kissvdb", "kissvdb trio"), "cpu_us")
    report.print_ratios(found)
    name = arguments.name or "clients"
    path = report.save(name, about=about, servers=used, cells=cells, found=found)
    print(f"saved {path}")
    return 0


def rounds(targets: Sequence[Target], arguments: argparse.Namespace) -> list[report.Cell]:
    cells = []
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        for group in GROUPS:
            for target in targets:
                if target.group == group:
                    place = report.Place(group, target.name, 1)
                    figures = attrs.asdict(target.way(arguments.seconds))
                    cells.append(report.Cell(place, number, figures))
    return cells


def timed(call: Callable[[], Any], operations: int = 1) -> Timed:
    """One after another in this thread."""

    def way(seconds: float) -> Figures:
        call()
        taken: list[float] = []
        began, spent = time.perf_counter(), time.process_time()
        while (now := time.perf_counter()) < began + seconds:
            call()
            taken.append(time.perf_counter() - now)
        return figures(taken, time.perf_counter() - began, time.process_time() - spent, operations)

    return way


def figures(taken: list[float], elapsed: float, spent: float, operations: int) -> Figures:
    count = len(taken) * operations
    return Figures(count / elapsed, sorted(taken)[len(taken) // 2] * 1e3, spent / count * 1e6)


def on_trio(start: Callable[[], Any], call: Callable[[Any], Any], operations: int = 1) -> Timed:
    """The same in a task, with what `start` makes."""

    async def run(seconds: float) -> Figures:
        async with start() as client:
            await call(client)
            taken: list[float] = []
            began, spent = time.perf_counter(), time.process_time()
            while (now := time.perf_counter()) < began + seconds:
                await call(client)
                taken.append(time.perf_counter() - now)
            elapsed, spent = time.perf_counter() - began, time.process_time() - spent
            return figures(taken, elapsed, spent, operations)

    return lambda seconds: trio.run(run, seconds)


def vectors() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(1).standard_normal((ROWS, DIM), dtype=np.float32)


@contextmanager
def ours(directory: Path) -> Iterator[tuple[Server, list[Target]]]:
    rows = vectors()
    with servers.kissvdb(directory) as server:
        url = f"http://127.0.0.1:{server.port}"
        with Client(url) as client, httpx.Client(base_url=url) as http:
            client.state.put("k", VALUE)
            client.vector.create("v", DIM, "cosine")
            client.bulk(
                {"op": "upsert", "collection": "v", "id": str(n), "vector": row}
                for n, row in enumerate(rows)
            )
            chance = random.Random(1)

            def loads() -> list[dict[str, Any]]:
                return [{"op": "put", "key": f"b:{n}", "value": VALUE} for n in range(BULK)]

            def one() -> Any:
                return rows[chance.randrange(ROWS)]

            yield (
                server,
                [
                    Target("get", "kissvdb", timed(lambda: client.state.get("k"))),
                    Target("put", "kissvdb", timed(lambda: client.state.put("k", VALUE))),
                    Target("search", "kissvdb", timed(lambda: client.vector.search("v", one(), K))),
                    Target("bulk", "kissvdb", timed(lambda: client.bulk(loads()), BULK)),
                    *on_trio_all(url, one, loads),
                    *by_hand(http, one, loads),
                ],
            )


def on_trio_all(url: str, one: Callable[[], Any], loads: Callable[[], Any]) -> Iterator[Target]:
    def start() -> AsyncClient:
        return AsyncClient(url)

    name = "kissvdb trio"
    yield Target("get", name, on_trio(start, lambda c: c.state.get("k")))
    yield Target("put", name, on_trio(start, lambda c: c.state.put("k", VALUE)))
    yield Target("search", name, on_trio(start, lambda c: c.vector.search("v", one(), K)))
    yield Target("bulk", name, on_trio(start, lambda c: c.bulk(loads()), BULK))

    def by_hand() -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=url)

    async def checked(answer: Any) -> Any:
        return (await answer).raise_for_status().json()

    name, body = "httpx trio", {"value": VALUE}
    yield Target("get", name, on_trio(by_hand, lambda c: checked(c.get("/v1/state/k"))))
    put = on_trio(by_hand, lambda c: checked(c.put("/v1/state/k", json=body)))
    yield Target("put", name, put)

    def wanted() -> Any:
        return {"vector": one().tolist(), "k": K, "include_meta": True}

    path = "/v1/vector/v/search"
    search = on_trio(by_hand, lambda c: checked(c.post(path, json=wanted())))
    yield Target("search", name, search)


def by_hand(
    http: httpx.Client, one: Callable[[], Any], loads: Callable[[], Any]
) -> Iterator[Target]:
    """As who has no client does it: JSON both ways."""

    def checked(answer: httpx.Response) -> Any:
        answer.raise_for_status()
        return answer.json()

    def search() -> Any:
        body = {"vector": one().tolist(), "k": K, "include_meta": True}
        return checked(http.post("/v1/vector/v/search", json=body))

    def bulk() -> Any:
        lines = "\n".join(map(json.dumps, loads()))
        headers = {"content-type": "application/x-ndjson"}
        answer = http.post("/v1/bulk?answers=errors", content=lines, headers=headers)
        answer.raise_for_status()
        return json.loads(answer.text.splitlines()[-1])

    yield Target("get", "httpx", timed(lambda: checked(http.get("/v1/state/k"))))
    put = {"value": VALUE}
    yield Target("put", "httpx", timed(lambda: checked(http.put("/v1/state/k", json=put))))
    yield Target("search", "httpx", timed(search))
    yield Target("bulk", "httpx", timed(bulk, BULK))


@contextmanager
def redis(directory: Path) -> Iterator[tuple[Server, list[Target]]]:
    try:
        import redis as library
    except ImportError:
        raise NotInstalled("redis-py: pip install redis") from None

    with servers.redis(directory) as server:
        client = library.Redis(port=server.port)
        name = f"redis-py {version('redis')}"
        client.set("k", json.dumps(VALUE))

        def bulk() -> None:
            pipe = client.pipeline(transaction=False)
            for n in range(BULK):
                pipe.set(f"b:{n}", json.dumps(VALUE))
            pipe.execute()

        yield (
            server,
            [
                Target("get", name, timed(lambda: json.loads(client.get("k")))),
                Target("put", name, timed(lambda: client.set("k", json.dumps(VALUE)))),
                Target("bulk", name, timed(bulk, BULK)),
            ],
        )
        client.close()


@contextmanager
def qdrant(directory: Path) -> Iterator[tuple[None, list[Target]]]:
    try:
        from qdrant_client import QdrantClient, models
    except ImportError:
        raise NotInstalled("qdrant-client: pip install qdrant-client") from None

    rows = vectors()
    client = QdrantClient(":memory:")
    params = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
    client.create_collection("v", vectors_config=params)
    points = [models.PointStruct(id=n, vector=row.tolist()) for n, row in enumerate(rows)]
    client.upsert("v", points)
    chance = random.Random(1)
    name = f"qdrant-client {version('qdrant-client')} in memory"

    def search() -> Any:
        query = rows[chance.randrange(ROWS)].tolist()
        return client.query_points("v", query=query, limit=K)

    yield None, [Target("search", name, timed(search))]
    client.close()


if __name__ == "__main__":
    sys.exit(main())
