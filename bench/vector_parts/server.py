"""How many searches a second do the servers answer, all at the same recall?

Each server's ef is raised until the recall of real answers is enough; then the same requests are
sent by the load program, to all servers in turn.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import attrs

from bench.load import loop, native, protocols, report, servers
from bench.load.process import NotInstalled, Server
from bench.load.report import Cell, Place
from bench.vector_parts import chroma, milvus, ours
from bench.vector_parts import servers as peers
from bench.vector_parts.data import Data, recall
from bench.vector_parts.goals import Goal
from bench.vector_parts.outcome import Outcome
from bench.vector_parts.wire import Connection

NAME = "bench"
EFS = (16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256)
TUNING_QUERIES = 500
OURS = ("lane JSON", "lane raw")
GROUP = "search"
LOAD_BATCH = 1000


@attrs.frozen
class Way:
    """A way to search one server.

    ``at(ef)`` makes that the server's, and answers the server and the requests; ``ids`` what
    they find, asked one by one.
    """

    name: str
    framing: str
    at: Callable[[int], tuple[Server, list[bytes]]]
    ids: Callable[[Server, list[bytes]], list[list[str]]]


@attrs.frozen
class Tuned:
    """A way that finds enough: its server as it is now, ef, the recall it reached, its requests."""

    way: Way
    server: Server
    ef: int
    recall: float
    requests: list[bytes]


def run(data: Data, arguments: argparse.Namespace) -> Outcome:
    """Fill the servers, tune them, and load them in turn."""
    with ExitStack() as stack:
        tuned = [tune(way, data, arguments.recall) for way in start(stack, data, arguments)]
        cells = load(tuned, arguments)
    found = [
        each
        for metric in ("operations_per_s", "cpu_us")
        for each in report.ratios(cells, OURS, metric)
    ]
    used = list({each.server.name: each.server for each in tuned}.values())
    efs = {each.way.name: {"ef": each.ef, "recall": each.recall} for each in tuned}
    goals = [
        Goal(
            f"{each.way.name}, ef {each.ef}: recall@10 of its answers",
            each.recall,
            arguments.recall,
        )
        for each in tuned
    ]
    goals += [
        Goal(f"searches/s, {each.clients} connections: {each.ours} / {each.peer}", each.median)
        for each in found
        if (each.metric, each.ours) == ("operations_per_s", OURS[0])
    ]
    return Outcome(cells, goals, found, used, {"tuned": efs})


def start(stack: ExitStack, data: Data, arguments: argparse.Namespace) -> Iterator[Way]:
    """Start and fill the servers that are installed."""
    starters = {"lane": _ours, "chroma": _chroma, "milvus-lite": _milvus}
    for name, starter in starters.items():
        if arguments.skip and arguments.skip in name:
            continue
        if name == "milvus-lite" and native.is_python(arguments.loader):
            print(f"skipped: {name}: the load in Python speaks no gRPC", flush=True)
            continue
        where = Path(arguments.directory) / f"search-{name}"
        where.mkdir()
        print(f"filling {name}", file=sys.stderr, flush=True)
        try:
            yield from starter(stack, where, data)
        except NotInstalled as missing:
            print(f"skipped: {missing}", flush=True)


def _ours(stack: ExitStack, where: Path, data: Data) -> Iterator[Way]:
    server = stack.enter_context(servers.kissvdb(where, name="lane"))
    ours.fill(server, NAME, data)
    ids = partial(_over_http, ours.hits)

    def as_json(ef: int) -> tuple[Server, list[bytes]]:
        return server, [ours.json_search(NAME, query, ef_search=ef) for query in data.queries]

    def as_raw(ef: int) -> tuple[Server, list[bytes]]:
        return server, [ours.raw_search(NAME, query, ef_search=ef) for query in data.queries]

    yield Way("lane JSON", "http", as_json, ids)
    yield Way("lane raw", "http", as_raw, ids)


def _chroma(stack: ExitStack, where: Path, data: Data) -> Iterator[Way]:
    with peers.chroma(where) as server:
        chroma.add(chroma.create(server, NAME), data, chroma.documents(data), LOAD_BATCH)
    current = stack.enter_context(ExitStack())

    def at(ef: int) -> tuple[Server, list[bytes]]:
        current.close()
        # What is changed in a running server counts after it was started again.
        with peers.chroma(where) as server:
            chroma.set_ef(chroma.get(server, NAME), ef)
        server = current.enter_context(peers.chroma(where))
        collection = chroma.get(server, NAME)
        return server, [chroma.search(collection, query) for query in data.queries]

    yield Way("chroma JSON", "http", at, partial(_over_http, chroma.hits))


def _milvus(stack: ExitStack, where: Path, data: Data) -> Iterator[Way]:
    server = stack.enter_context(peers.milvus(where))
    client = milvus.create(server, NAME, data.base.shape[1])
    milvus.insert(client, NAME, data, LOAD_BATCH)
    milvus.index(client, NAME)
    client.close()

    def at(ef: int) -> tuple[Server, list[bytes]]:
        return server, [milvus.search(NAME, query, ef) for query in data.queries]

    yield Way("milvus-lite gRPC", "grpc", at, milvus.find)


def _over_http(
    hits: Callable[[bytes], list[str]], server: Server, requests: list[bytes]
) -> list[list[str]]:
    with Connection(server) as connection:
        return [hits(connection.ask(request)) for request in requests]


def tune(way: Way, data: Data, wanted: float) -> Tuned:
    """Raise ef until the answers are good enough."""
    rows = {id_: row for row, id_ in enumerate(data.ids)}
    for ef in EFS:
        server, requests = way.at(ef)
        found = way.ids(server, requests[:TUNING_QUERIES])
        reached = recall([[rows[id_] for id_ in ids] for ids in found], data.truth[: len(found)])
        if reached >= wanted:
            break
    print(f"{way.name}: ef {ef}, recall@10 {reached:.4f}", flush=True)
    if way.framing == "grpc":
        requests = [milvus.call(message) for message in requests]
    return Tuned(way, server, ef, reached, requests)


def load(tuned: Sequence[Tuned], arguments: argparse.Namespace) -> list[Cell]:
    """Measure every way at every number of connections, in each round."""
    cells = []
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        for connections in arguments.connections:
            turn = number % max(1, len(tuned))
            for each in [*tuned[turn:], *tuned[:turn]]:
                framing, name = each.way.framing, each.way.name
                hello = protocols.grpc_hello() if framing == "grpc" else b""
                bad = b'"error"' if framing == "http" else b""
                figures = loop.measure(
                    arguments.loader,
                    each.server,
                    loop.Workload(framing, each.requests, hello, bad=bad),
                    arguments.directory,
                    connections=connections,
                    seconds=arguments.seconds,
                )
                metrics = attrs.asdict(figures) | {"recall": each.recall}
                cells.append(Cell(Place(GROUP, name, connections), number, metrics))
    return cells
