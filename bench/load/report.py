"""Medians, ratios, tables and JSON of interleaved measurements."""

import json
import os
import platform
import statistics
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from bench.load.process import ROOT, Server

RESULTS = ROOT / "bench" / "results"


@attrs.frozen
class Place:
    """Where a measurement stands: what was asked (``group``), of whom, by how many clients."""

    group: str
    target: str
    clients: int


@attrs.frozen
class Cell:
    """One measurement of one round."""

    place: Place
    round: int
    metrics: Mapping[str, float]


def medians(cells: Iterable[Cell]) -> dict[Place, dict[str, float]]:
    """The median of each metric over the rounds, in the order of the first round."""
    by_place: dict[Place, list[Mapping[str, float]]] = {}
    for cell in cells:
        by_place.setdefault(cell.place, []).append(cell.metrics)
    return {
        place: {name: statistics.median(each[name] for each in found) for name in found[0]}
        for place, found in by_place.items()
    }


@attrs.frozen
class Ratio:
    """``metric`` of ``ours`` divided by that of ``peer``: the median of each round's ratio, which
    a load that slows a whole round does not move."""

    metric: str
    group: str
    clients: int
    ours: str
    peer: str
    median: float
    low: float
    high: float


def ratios(cells: Sequence[Cell], ours: Collection[str], metric: str) -> list[Ratio]:
    """Each of ``ours`` against all others of the same group and number of clients."""
    values = {(cell.place, cell.round): cell.metrics[metric] for cell in cells}
    found = []
    places = dict.fromkeys(cell.place for cell in cells)
    for mine, place in (
        (attrs.evolve(place, target=name), place) for name in ours for place in places
    ):
        if place.target in ours:
            continue
        quotients = [
            values[mine, round_] / value
            for (where, round_), value in values.items()
            if where == place and (mine, round_) in values and value
        ]
        if quotients:
            middle = statistics.median(quotients)
            low, high = min(quotients), max(quotients)
            found.append(
                Ratio(
                    metric, place.group, place.clients, mine.target, place.target, middle, low, high
                )
            )
    return found


def print_table(rows: Iterable[Sequence[Any]], heads: Sequence[str]) -> None:
    """Print rows in columns: words to the left, numbers to the right."""
    texts = [[_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *texts, strict=True)]
    for row in [list(heads), *texts]:
        cells = [
            text.ljust(width) if index < 2 else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())
    print(flush=True)


def _text(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if value != value:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_report(cells: Sequence[Cell], heads: Mapping[str, str]) -> None:
    """Print the medians; ``heads`` maps the metrics to show to their column heads."""
    rows = [
        [place.group, place.target, place.clients, *(found[metric] for metric in heads)]
        for place, found in medians(cells).items()
    ]
    print_table(rows, ["what", "server", "clients", *heads.values()])


def print_ratios(found: Sequence[Ratio]) -> None:
    """Print ratios with their spread over the rounds, a table for each metric."""
    for metric in dict.fromkeys(each.metric for each in found):
        rows = [
            (f"{r.ours} / {r.peer}", r.group, r.clients, r.median, r.low, r.high)
            for r in found
            if r.metric == metric
        ]
        print_table(rows, [f"ratio of {metric}", "what", "clients", "median", "low", "high"])


def machine(directory: Path, file_system: str) -> dict[str, Any]:
    """What the figures depend on: processor, system, disk, and who else was busy at the start."""
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.release(),
        "python": platform.python_version(),
        "file_system": file_system,
        "load_average_before": os.getloadavg(),
        "date": time.strftime("%Y-%m-%d"),
    }


def save(
    name: str,
    *,
    about: Mapping[str, Any],
    servers: Iterable[Server],
    cells: Sequence[Cell],
    found: Sequence[Ratio] = (),
    more: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``bench/results/<name>.json`` and answer its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    written = content(about=about, servers=servers, cells=cells, found=found, more=more)
    path.write_text(json.dumps(written, indent=1) + "\n")
    return path


def content(
    *,
    about: Mapping[str, Any],
    servers: Iterable[Server],
    cells: Sequence[Cell],
    found: Sequence[Ratio] = (),
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the file of one bench, or of one part, holds."""
    return {
        "about": about,
        "servers": {
            each.name: {"version": each.version, "settings": each.settings} for each in servers
        },
        "medians": [
            attrs.asdict(place) | {"metrics": metrics} for place, metrics in medians(cells).items()
        ],
        "ratios": [attrs.asdict(each) for each in found],
        "rounds": [attrs.asdict(cell) for cell in cells],
        **(more or {}),
    }
