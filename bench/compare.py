"""Is this checkout as fast as another one, say an older commit?

Both servers run beside each other, each from its own checkout and virtual environment, and take
turns at every job: so what else the machine does falls on both. To compare with a commit:

    git worktree add ../before COMMIT && ../before/scripts/setup
    scripts/bench compare --other ../before --data DIR

Without --data (see bench/README.md) vectors are not compared.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

# Import from the root instead of from here: http.py beside this file is not Python's http.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attrs

from bench import sse
from bench.load import loop, native, options, protocols, report, servers, stream, write_targets
from bench.load.closed_loop import cpu_seconds
from bench.load.process import ROOT, Server
from bench.vector_parts import data as vector_data
from bench.vector_parts import ours
from bench.vector_parts.wire import Connection

THIS, OTHER = "this", "other"
COLLECTION = "bench"
LOADED = "loaded"
HEADS = {"operations_per_s": "a second", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "cpu_us": "CPU us"}
FIGURES = tuple(HEADS)
SSE_CLIENTS, SSE_RATE = 100, 300_000


@attrs.frozen
class Job:
    """What both servers are asked, over so many connections."""

    name: str
    connections: int
    workload: loop.Workload


def main() -> int:
    command = options.parser(__doc__ or "")
    command.set_defaults(rounds=5)
    command.add_argument("--other", type=Path, required=True, help="the other checkout")
    command.add_argument("--data", type=Path, help="real vectors, for search and loading")
    command.add_argument("--rows", type=options.positive, default=12_000, help="of --data")
    command.add_argument("--seconds", type=float, default=1.5, help="of one measurement")
    command.add_argument("--only", default="", help="jobs, by a part of their name")
    arguments = command.parse_args()
    with options.scratch(arguments.dir, command) as (directory, file_system), ExitStack() as stack:
        about = report.machine(directory, file_system)
        both = [
            stack.enter_context(_server(directory, THIS, ROOT)),
            stack.enter_context(_server(directory, OTHER, arguments.other.resolve())),
        ]
        cells = run(both, arguments, directory)
        report.print_report(cells, HEADS)
        found = report.ratios(cells, [THIS], "operations_per_s")
        found += report.ratios(cells, [THIS], "cpu_us")
        report.print_ratios(found)
        name = arguments.name or "compare"
        path = report.save(name, about=about, servers=both, cells=cells, found=found)
        print(f"saved {path}")
    return 0


def _server(directory: Path, name: str, checkout: Path) -> AbstractContextManager[Server]:
    where = directory / name
    where.mkdir()
    return servers.kissvdb(where, name=name, checkout=checkout)


def run(
    both: Sequence[Server], arguments: argparse.Namespace, directory: Path
) -> list[report.Cell]:
    """Every job by both servers in turn, in each round."""
    loader = native.program("closed_loop", directory, python=arguments.python_load)
    reader = native.program("stream_reader", directory, python=arguments.python_load)
    data = None if arguments.data is None else vector_data.load(arguments.data, 500, arguments.rows)
    if data is not None:
        for server in both:
            ours.fill(server, COLLECTION, data)
    jobs = [each for each in _jobs(data) if arguments.only in each.name]
    cells = []
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        turn = list(both) if number % 2 == 0 else list(reversed(both))
        for job in jobs:
            for server in turn:
                figures = loop.measure(
                    loader,
                    server,
                    job.workload,
                    directory,
                    connections=job.connections,
                    seconds=arguments.seconds,
                )
                place = report.Place(job.name, server.name, job.connections)
                cells.append(report.Cell(place, number, attrs.asdict(figures)))
        if arguments.only in "SSE":
            cells += [_stream(server, reader, directory, arguments, number) for server in turn]
        if data is not None and arguments.only in "load":
            cells += [_load(server, data, number) for server in turn]
    return cells


def _jobs(data: vector_data.Data | None) -> Iterator[Job]:
    value = protocols.compact({"n": 1, "pad": "x" * (write_targets.VALUE_BYTES - 16)})
    keys = [b"bench:%06d" % number for number in range(write_targets.KEYS)]
    paths = [f"/v1/state/{key.decode()}" for key in keys]
    puts = [protocols.http("PUT", path, b'{"value":%b}' % value) for path in paths]
    gets = [protocols.http("GET", path) for path in paths]
    yield Job("PUT", 64, loop.Workload("http", puts))
    yield Job("PUT", 1, loop.Workload("http", puts))
    yield Job("GET", 64, loop.Workload("http", gets))
    event = b'{"type":"tick","data":%b}' % value
    body = b"[" + b",".join([event] * write_targets.BATCH) + b"]"
    batch = [protocols.http("POST", "/v1/events", body)]
    yield Job("events", 8, loop.Workload("http", batch, operations=write_targets.BATCH))
    yield Job("event", 64, loop.Workload("http", [protocols.http("POST", "/v1/events", event)]))
    items = [b'{"key":"%b","value":%b}' % (key, value) for key in keys[: write_targets.BATCH]]
    body = b'{"operations":[%b]}' % b",".join(items)
    batch = [protocols.http("POST", "/v1/state/batch_put", body)]
    yield Job("batch_put", 8, loop.Workload("http", batch, operations=write_targets.BATCH))
    if data is not None:
        searches = [ours.json_search(COLLECTION, query) for query in data.queries]
        yield Job("search", 8, loop.Workload("http", searches))
        filtered = [
            ours.json_search(COLLECTION, query, filters={"section": "libs"})
            for query in data.queries
        ]
        yield Job("filtered search", 8, loop.Workload("http", filtered))


def _stream(
    server: Server, reader: list[str], directory: Path, arguments: argparse.Namespace, number: int
) -> report.Cell:
    target = sse.Target(server, stream.ours())
    seconds = arguments.seconds
    found = sse.measure(target, reader, directory, SSE_CLIENTS, SSE_RATE, seconds)
    found["operations_per_s"] = found["delivered_per_s"]
    place = report.Place("SSE", server.name, SSE_CLIENTS)
    return report.Cell(place, number, {name: found[name] for name in FIGURES})


def _load(server: Server, data: vector_data.Data, number: int) -> report.Cell:
    """Rows a second until they are acknowledged; the CPU until they are indexed too."""
    with Connection(server) as connection:
        ours.create(connection, LOADED, data.base.shape[1])
    with Connection(server) as connection:
        before, began = cpu_seconds(server.pids()), time.monotonic()
        ours.upsert(connection, LOADED, data.ids, data.base, data.metas)
        seconds = time.monotonic() - began
    ours.settle(server, LOADED)
    cpu_us = (cpu_seconds(server.pids()) - before) * 1e6 / len(data.ids)
    with Connection(server) as connection:
        ours.drop(connection, LOADED)
    none = float("nan")
    rate = len(data.ids) / seconds
    found = {"operations_per_s": rate, "p50_ms": none, "p99_ms": none, "cpu_us": cpu_us}
    return report.Cell(report.Place("load", server.name, 1), number, found)


if __name__ == "__main__":
    sys.exit(main())
