"""How many events a second reach 10, 100 and 1,000 clients of the stream, and how late?

Events are published at given rates, whatever the server makes of it (an open loop). Ours are
durable: synced to disk before anybody sees them. Those of nchan, Redis and NATS are not kept.

With --idle N instead: how much memory does a client take that nothing happens to, and how much CPU
an event that reaches all of them?

With --events N instead: do 1,000 clients get all N events in order, while ten others stall and
then get one exact gap, where the history they missed was trimmed?
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

# Import from the root instead of from here: http.py beside this file is not Python's http.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import attrs

from bench.load import idle, native, options, plots, report, servers, stream
from bench.load.closed_loop import cpu_seconds
from bench.load.loop import percentiles_ms
from bench.load.process import NotInstalled, Server, call

WARMUP_NS = 300_000_000
LEAD_NS = 100_000_000
GRACE_MS = 3000
# A server that delivers less than this share of one rate is not asked for a higher one.
ENOUGH = 0.7
OURS = "lane"
BEST = "best"
HEADS = {
    "delivered_per_s": "delivered/s",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "cpu_us": "CPU us/event",
    "missing": "missing",
    "disordered": "disordered",
}
# Small, so that a client which stalls for 10,000 events falls out of the history.
SMALL_HISTORY = (
    "log.segment_max_bytes=1MiB",
    "log.retention_segments=1",
    "stream.ring_events=1000",
)
STALL_PAD_BYTES = 400


@attrs.frozen
class Target:
    """One server and how it is published to and read."""

    server: Server
    feed: stream.Feed


def main() -> int:
    command = options.parser(__doc__ or "")
    command.set_defaults(rounds=2)
    command.add_argument("--seconds", type=float, default=1.0, help="of one measurement")
    command.add_argument("--clients", type=options.numbers, default=[10, 100, 1000])
    command.add_argument(
        "--rates",
        type=options.numbers,
        default=[200_000, 600_000, 1_000_000],
        help="deliveries a second to all clients together",
    )
    command.add_argument("--only", default="", help="servers, by a part of their name")
    command.add_argument("--idle", type=options.positive, help="memory of so many idle clients")
    command.add_argument("--events", type=options.positive, help="check that so many all arrive")
    command.add_argument("--stalled", type=int, default=10, help="clients that stall (--events)")
    command.add_argument(
        "--events-per-second", type=options.positive, default=400, help="(--events)"
    )
    arguments = command.parse_args()
    with options.scratch(arguments.dir, command) as (directory, file_system), ExitStack() as stack:
        about = report.machine(directory, file_system)
        reader = native.program("stream_reader", directory, python=arguments.python_load)
        if arguments.idle:
            return idle.measure(directory, arguments.idle)
        if arguments.events:
            return check(reader, arguments, about, directory)
        targets = start(stack, directory, arguments.only.split(","))
        cells = run(targets, reader, arguments, directory)
        return finish(cells, arguments, about, targets)


def start(stack: ExitStack, directory: Path, only: Sequence[str]) -> list[Target]:
    """Start our server, once with each door, and the peers that are installed."""
    starters: dict[str, tuple[Callable[[Path], AbstractContextManager[Server]], stream.Feed]] = {
        "lane": (lambda where: servers.kissvdb(where, name="lane"), stream.ours()),
        "hypercorn": (
            lambda where: servers.kissvdb(where, "http.lane=false", name="hypercorn"),
            stream.ours(),
        ),
        "nginx nchan": (servers.nginx, stream.nchan()),
        "redis pub/sub": (lambda where: servers.redis(where, durable=False), stream.redis()),
        "nats core": (servers.nats, stream.nats()),
    }
    targets = []
    for name, (starter, feed) in starters.items():
        if not any(part in name for part in only):
            continue
        where = directory / name.partition(" ")[0]
        where.mkdir()
        try:
            server = stack.enter_context(starter(where))
        except NotInstalled as missing:
            print(f"skipped: {missing}", flush=True)
        else:
            targets.append(Target(attrs.evolve(server, name=name), feed))
    return targets


def run(
    targets: Sequence[Target], reader: Sequence[str], arguments: argparse.Namespace, where: Path
) -> list[report.Cell]:
    """Measure every target at every rate and number of clients, in each round."""
    cells = []
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        for clients in arguments.clients:
            tired: set[str] = set()
            best: dict[str, dict[str, float]] = {}
            for rate in sorted(arguments.rates):
                turn = number % max(1, len(targets))
                for target in [*targets[turn:], *targets[:turn]]:
                    name = target.server.name
                    if name in tired:
                        continue
                    metrics = measure(target, reader, where, clients, rate, arguments.seconds)
                    place = report.Place(f"{rate:,}/s", name, clients)
                    cells.append(report.Cell(place, number, metrics))
                    if metrics["delivered_per_s"] < ENOUGH * rate:
                        tired.add(name)
                    so_far = best.setdefault(name, metrics)
                    if metrics["delivered_per_s"] > so_far["delivered_per_s"]:
                        best[name] = metrics
            for name, metrics in best.items():
                cells.append(report.Cell(report.Place(BEST, name, clients), number, metrics))
    return cells


def measure(
    target: Target, reader: Sequence[str], where: Path, clients: int, rate: int, seconds: float
) -> dict[str, float]:
    """Publish so that ``rate`` deliveries a second are due to ``clients`` clients together."""
    server, feed = target.server, target.feed
    settle(server)
    offset = newest_offset(server) if feed.check_ids else 0
    with stream.Reading(reader, server, feed, where, clients=clients, start=offset) as reading:
        begin = time.monotonic_ns() + LEAD_NS
        window = begin + WARMUP_NS
        end = window + int(seconds * 1e9)
        reading.tell("window", window, end)
        sent = stream.publish(server, feed, rate=rate / clients, begin_ns=begin, end_ns=end)
        reading.tell("finish", sent, GRACE_MS)
        reading.complete(GRACE_MS / 1000 + 5)
        found = reading.result()
    p50, p95, p99 = percentiles_ms(found["latency_ns"], (50, 95, 99))
    return {
        "offered_per_s": rate,
        "delivered_per_s": found["deliveries"] / seconds,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "cpu_us": found["cpu_s"] * 1e6 / max(1, found["deliveries"]),
        "missing": sent * clients - found["total"],
        "disordered": found["disordered"] + found["closed"],
        "gaps": found["gap_count"],
    }


def settle(server: Server) -> None:
    """Wait until the server is done with the measurement before, for 5 s at most."""
    deadline = time.monotonic() + 5
    pids = server.pids()
    while time.monotonic() < deadline:
        before = cpu_seconds(pids)
        time.sleep(0.1)
        if cpu_seconds(pids) - before <= 0.02:
            return


def newest_offset(server: Server) -> int:
    """The offset of our server's last event."""
    offset: int = json.loads(call(server.port, "GET", "/v1/ready"))["offset"]
    return offset


def finish(
    cells: list[report.Cell],
    arguments: argparse.Namespace,
    about: Mapping[str, Any],
    targets: Sequence[Target],
) -> int:
    """Print, save and plot; the exit code says whether all that ours delivered was in order."""
    report.print_report(cells, HEADS)
    best = [cell for cell in cells if cell.place.group == BEST]
    found = report.ratios(best, [OURS], "delivered_per_s")
    found += report.ratios(cells, [OURS], "p99_ms")
    report.print_ratios(found)
    name = arguments.name or "sse"
    used = [target.server for target in targets]
    path = report.save(name, about=about, servers=used, cells=cells, found=found)
    shown = {metric: HEADS[metric] for metric in ("delivered_per_s", "p99_ms", "cpu_us")}
    plotted = [cell for cell in cells if cell.place.group != BEST]
    print(f"saved {path} and {plots.curves(name, plotted, shown, 'clients')}")
    return int(any(cell.metrics["disordered"] for cell in cells if cell.place.target == OURS))


def check(
    reader: Sequence[str], arguments: argparse.Namespace, about: Mapping[str, Any], where: Path
) -> int:
    """All events to all clients, in order; stalled ones get one exact gap. Prints the verdict."""
    events, clients, stalled = arguments.events, max(arguments.clients), arguments.stalled
    data = where / "lane"
    data.mkdir()
    feed = stream.ours()
    with (
        servers.kissvdb(data, *SMALL_HISTORY, name="lane") as server,
        stream.Reading(reader, server, feed, where, clients=clients, stalled=stalled) as reading,
    ):
        begin = time.monotonic_ns() + LEAD_NS
        end = begin + int(events / arguments.events_per_second * 1e9)
        reading.tell("window", begin, end)
        sent = stream.publish(
            server,
            feed,
            rate=arguments.events_per_second,
            begin_ns=begin,
            end_ns=end,
            pad_bytes=STALL_PAD_BYTES,
        )
        reading.tell("finish", sent, 60_000)
        reading.complete(65)
        if stalled:
            # The log is trimmed when the views are durable; make them so now.
            call(server.port, "POST", "/v1/snapshot")
            reading.tell("resume", 60_000)
            reading.complete(65)
        found = reading.result()
        resident = server.resident_bytes()
    problems = verdict(found, sent, events, stalled)
    p50, p99 = percentiles_ms(found["latency_ns"], (50, 99))
    print(
        f"{clients} clients, each {found['least']} to {found['most']} of {events} events in order"
    )
    print(f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, server {resident / 2**20:.0f} MiB resident")
    for gap in found["gaps"]:
        print(f"stalled client {gap['client']}: gap {gap['from']} to {gap['to']}")
    for problem in problems:
        print(f"WRONG: {problem}")
    name = arguments.name or "sse_complete"
    found.pop("latency_ns")
    more = {"found": found, "problems": problems, "p50_ms": p50, "p99_ms": p99}
    path = report.save(name, about=about, servers=[server], cells=[], more=more)
    print(f"{'NOT complete' if problems else 'complete'}; saved {path}")
    return int(bool(problems))


def verdict(found: Mapping[str, Any], sent: int, events: int, stalled: int) -> list[str]:
    """What is wrong with a run that should be complete."""
    problems = []
    if sent != events:
        problems.append(f"only {sent} of {events} events could be published in time")
    if found["least"] != events or found["most"] != events:
        problems.append("a client that never stalled did not get each event once")
    if found["disordered"] or found["closed"]:
        problems.append(f"{found['disordered']} out of order, {found['closed']} clients cut off")
    if found["inexact_gaps"]:
        problems.append(f"{found['inexact_gaps']} gaps do not start where the client stood")
    for number, client in enumerate(found["stalled"]):
        gaps = [gap for gap in found["gaps"] if gap["client"] == number]
        missed = sum(gap["to"] - gap["from"] + 1 for gap in gaps)
        if len(gaps) != 1:
            problems.append(f"stalled client {number} got {len(gaps)} gaps instead of one")
        if client["last_n"] != events or client["received"] + missed != events:
            problems.append(f"stalled client {number}: events and gap do not add up to {events}")
    if any(gap["client"] >= stalled for gap in found["gaps"]):
        problems.append("a client that never stalled got a gap")
    return problems


if __name__ == "__main__":
    sys.exit(main())
