"""How many durable writes a second, and how long does one take?

Every write is acknowledged only after it is on disk (fdatasync), in our server and in all peers.
All servers run at once and are loaded in turn, in interleaved rounds: for each key space servers of
its own, which have all its keys before they are measured. With --at-once the key spaces take turns,
too, instead of one coming after the other.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

# Import from the root instead of from here: http.py beside this file is not Python's http.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attrs

from bench.load import native, options, plots, report, servers
from bench.load.key_spaces import KeySpace
from bench.load.loop import measure
from bench.load.process import NotInstalled, Server
from bench.load.write_targets import BATCH, VALUE_BYTES, Target, fill, targets

OURS = (
    "lane PUT",
    "lane POST",
    "lane events",
    "lane bulk event",
    "lane bulk put",
    "lane batch_put",
)
GROUPS = ("put", "event", "batch")
HEADS = {
    "operations_per_s": "ops/s",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "cpu_us": "CPU us/op",
    "errors": "errors",
}


def main() -> int:
    command = options.parser(__doc__ or "")
    command.add_argument("--seconds", type=float, default=0.7, help="of one measurement")
    command.add_argument("--connections", type=options.numbers, default=[1, 8, 64, 256])
    command.add_argument(
        "--batch-connections", type=options.numbers, default=[1, 8], help="of 100-write batches"
    )
    command.add_argument("--only", default="", help="servers and ways, by a part of their name")
    command.add_argument("--groups", default=",".join(GROUPS), help="what to measure")
    options.add_spaces(command)
    command.add_argument("--at-once", action="store_true", help="all key spaces in the same rounds")
    arguments = command.parse_args()
    with options.scratch(arguments.dir, command) as (directory, file_system):
        about = report.machine(directory, file_system)
        loader = native.program("closed_loop", directory, python=arguments.python_load)
        spaces = list(enumerate(arguments.spaces))
        cells: list[report.Cell] = []
        used: dict[str, Server] = {}
        for together in [spaces] if arguments.at_once else [[each] for each in spaces]:
            with ExitStack() as stack:
                ways: list[Way] = []
                for number, space in together:
                    where = directory / str(number)
                    where.mkdir()
                    ways += ready(stack, space, arguments, where, loader)
                used |= {way.target.server.name: way.target.server for way in ways}
                cells += run(ways, loader, arguments, directory)
            for number, _ in together:
                shutil.rmtree(directory / str(number))
        return finish(cells, arguments, about, list(used.values()))


@attrs.frozen
class Way:
    """What is measured, and the label of its key space."""

    label: str
    target: Target


def ready(
    stack: ExitStack,
    space: KeySpace,
    arguments: argparse.Namespace,
    directory: Path,
    loader: Sequence[str],
) -> list[Way]:
    """Start all servers with the keys of one space; what is to be measured of them."""
    only = arguments.only.split(",")
    running = start(stack, directory, only)
    fill(running, space)
    return [
        Way(space.label, target)
        for target in targets(running, space)
        if target.group in arguments.groups.split(",")
        and (target.group != "event" or not space.is_filled)
        and _any_in(only, target.name)
        and _spoken(loader, target)
    ]


def start(stack: ExitStack, directory: Path, only: Sequence[str]) -> dict[str, Server]:
    """Start our server, once with each door, and the peers that are installed."""
    starters: dict[str, Callable[[Path], AbstractContextManager[Server]]] = {
        "lane": lambda where: servers.kissvdb(where, name="lane"),
        "hypercorn": lambda where: servers.kissvdb(where, "http.lane=false", name="hypercorn"),
        "redis": servers.redis,
        "etcd": servers.etcd,
        "nats": servers.nats,
    }
    running = {}
    for name, starter in starters.items():
        if not any(part in name or name in part for part in only):
            continue
        (directory / name).mkdir()
        try:
            running[name] = stack.enter_context(starter(directory / name))
        except NotInstalled as missing:
            print(f"skipped: {missing}", flush=True)
    return running


def run(
    ways: Sequence[Way],
    loader: Sequence[str],
    arguments: argparse.Namespace,
    directory: Path,
) -> list[report.Cell]:
    """Measure every way at every number of connections, in each round."""
    cells = []
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        for group in GROUPS:
            batch = group == "batch"
            for connections in arguments.batch_connections if batch else arguments.connections:
                # Each round starts with another server, so that none is always first.
                # Nor is one key space always first; a way is measured in all of them in a row.
                turned = ways if number % 2 == 0 else ways[::-1]
                members = [way for way in turned if way.target.group == group]
                members.sort(key=lambda way: way.target.name)
                turn = number % max(1, len(members))
                for way in members[turn:] + members[:turn]:
                    target = way.target
                    figures = measure(
                        loader,
                        target.server,
                        target.workload,
                        directory,
                        connections=connections,
                        seconds=arguments.seconds,
                    )
                    place = report.Place(group + way.label, target.name, connections)
                    cells.append(report.Cell(place, number, attrs.asdict(figures)))
    return cells


def finish(
    cells: list[report.Cell],
    arguments: argparse.Namespace,
    about: Mapping[str, Any],
    used: Sequence[Server],
) -> int:
    """Print, save and plot; the exit code says whether every write was acknowledged."""
    print(f"batch: {BATCH} writes a request; ops are single writes of {VALUE_BYTES} bytes.")
    report.print_report(cells, HEADS)
    found = report.ratios(cells, OURS, "operations_per_s")
    report.print_ratios(found)
    name = arguments.name or "writes"
    path = report.save(name, about=about, servers=used, cells=cells, found=found)
    shown = {metric: HEADS[metric] for metric in ("operations_per_s", "p99_ms", "cpu_us")}
    print(f"saved {path} and {plots.curves(name, cells, shown)}")
    return int(any(cell.metrics["errors"] for cell in cells))


def _any_in(parts: Sequence[str], name: str) -> bool:
    return any(part in name for part in parts)


def _spoken(loader: Sequence[str], target: Target) -> bool:
    spoken = target.workload.framing != "grpc" or not native.is_python(loader)
    if not spoken:
        print(f"skipped: {target.name}: the load in Python speaks no gRPC", flush=True)
    return spoken


if __name__ == "__main__":
    sys.exit(main())
