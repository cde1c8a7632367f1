"""What does a request cost through each door, beside a server that does nothing?

GET reads a key, PUT writes one durably (synced to disk before the answer). "lane" is our fast
listener, "hypercorn" the same handlers behind Quart-Trio on Hypercorn, "uvicorn" (httptools,
uvloop) answers the same bytes to everything and stores nothing. PUT is also measured in memory,
where the disk has no say; uvicorn is compared with that. For each key space there are
servers of its own, which have all its keys before they are measured.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

# Import from the root instead of from here: this file is not Python's http.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attrs

from bench.load import loop, native, options, plots, protocols, report, servers, wrk
from bench.load.key_spaces import KeySpace, Requests, fill_kissvdb
from bench.load.process import NotInstalled, Server

KEYS = 250
"""Unless ``--spaces`` says otherwise: as the older figures were made."""
VALUE_BYTES = 150
OURS = ("lane",)
IN_MEMORY = "PUT in memory"
HEADS = {
    "operations_per_s": "requests/s",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "cpu_us": "CPU us/request",
    "errors": "errors",
}
VALUE = b'{"n":1,"pad":"%b"}' % (b"x" * (VALUE_BYTES - 16))
# What our server answers to the GET, so that uvicorn sends as much.
CONSTANT = b'{"key":"bench:000000","value":%b,"revision":1,"expires_at_ms":null,"offset":1}' % VALUE


@attrs.frozen
class Target:
    """One server and the groups of measurements it takes part in."""

    name: str
    groups: tuple[str, ...]
    server: Server


def main() -> int:
    command = options.parser(__doc__ or "")
    command.add_argument("--seconds", type=options.positive, default=1, help="of one measurement")
    command.add_argument("--connections", type=options.numbers, default=[1, 8, 64])
    command.add_argument("--only", default="", help="servers, by a part of their name")
    command.add_argument("--own-load", action="store_true", help="not wrk, even if it is there")
    options.add_spaces(command, str(KEYS))
    arguments = command.parse_args()
    with options.scratch(arguments.dir, command) as (directory, file_system):
        about = report.machine(directory, file_system)
        program = None if arguments.own_load else shutil.which("wrk")
        about["load"] = program or "bench/load/closed_loop"
        cells: list[report.Cell] = []
        used: dict[str, Server] = {}
        for number, space in enumerate(arguments.spaces):
            where = directory / f"space{number}"
            where.mkdir()
            with ExitStack() as stack:
                targets = start(stack, where, arguments.only.split(","))
                for target in targets:
                    if target.name != "uvicorn":
                        fill_kissvdb(target.server, space, VALUE)
                used |= {target.server.name: target.server for target in targets}
                cells += run(targets, program, arguments, where, space)
            shutil.rmtree(where)
        return finish(cells, arguments, about, list(used.values()))


def start(stack: ExitStack, directory: Path, only: Sequence[str]) -> list[Target]:
    """Start our server with each door, on disk and in memory, and uvicorn if it is installed."""
    memory, other_door = "storage.memory=true", "http.lane=false"
    starters: list[tuple[str, tuple[str, ...], Callable[[Path], AbstractContextManager[Server]]]]
    starters = [
        ("lane", ("GET", "PUT"), lambda at: servers.kissvdb(at)),
        ("hypercorn", ("GET", "PUT"), lambda at: servers.kissvdb(at, other_door)),
        ("lane", (IN_MEMORY,), lambda at: servers.kissvdb(at, memory)),
        ("hypercorn", (IN_MEMORY,), lambda at: servers.kissvdb(at, memory, other_door)),
        ("uvicorn", ("GET", IN_MEMORY), lambda at: servers.uvicorn(at, CONSTANT)),
    ]
    targets = []
    for number, (name, groups, starter) in enumerate(starters):
        if any(part in name for part in only):
            where = directory / str(number)
            where.mkdir()
            try:
                server = stack.enter_context(starter(where))
            except NotInstalled as missing:
                print(f"skipped: {missing}", flush=True)
            else:
                label = f"{name} in memory" if IN_MEMORY in groups else name
                targets.append(Target(name, groups, attrs.evolve(server, name=label)))
    return targets


def requests(method: str, space: KeySpace) -> Sequence[bytes]:
    """A request for each key that is drawn."""
    body = b'{"value":%b}' % VALUE if method == "PUT" else b""

    def make(keys: Sequence[bytes]) -> bytes:
        return protocols.http(method, f"/v1/state/{keys[0].decode()}", body)

    return Requests(space, make)


def run(
    targets: Sequence[Target],
    program: str | None,
    arguments: argparse.Namespace,
    directory: Path,
    space: KeySpace,
) -> list[report.Cell]:
    """Measure GET and PUT of one space at every number of connections, in each round."""
    loader = native.program("closed_loop", directory, python=arguments.python_load)
    cells = []
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        for group in ("GET", "PUT", IN_MEMORY):
            members = [target for target in targets if group in target.groups]
            sent = requests(group[:3], space)
            for connections in arguments.connections:
                turn = number % max(1, len(members))
                for target in members[turn:] + members[:turn]:
                    common: Any = {"connections": connections, "seconds": arguments.seconds}
                    if program is None:
                        workload = loop.Workload("http", sent)
                        figures = loop.measure(loader, target.server, workload, directory, **common)
                    else:
                        figures = wrk.measure(program, target.server, sent, directory, **common)
                    place = report.Place(group + space.label, target.name, connections)
                    cells.append(report.Cell(place, number, attrs.asdict(figures)))
    return cells


def finish(
    cells: list[report.Cell],
    arguments: argparse.Namespace,
    about: Mapping[str, Any],
    used: Sequence[Server],
) -> int:
    """Print, save and plot; the exit code says whether every request was answered well."""
    print(f"load: {about['load']}; values of {VALUE_BYTES} bytes")
    report.print_report(cells, HEADS)
    found = report.ratios(cells, OURS, "operations_per_s") + report.ratios(cells, OURS, "cpu_us")
    report.print_ratios(found)
    name = arguments.name or "http"
    path = report.save(name, about=about, servers=used, cells=cells, found=found)
    shown = {metric: HEADS[metric] for metric in ("operations_per_s", "p99_ms", "cpu_us")}
    print(f"saved {path} and {plots.curves(name, cells, shown)}")
    return int(any(cell.metrics["errors"] for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
