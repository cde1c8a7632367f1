"""How fast do the indexes search and build, in one process and one thread?"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import attrs

from bench.load import report
from bench.load.report import Cell, Place
from bench.vector_parts import ladder
from bench.vector_parts.contenders import Contender, M
from bench.vector_parts.data import Data, unit
from bench.vector_parts.goals import Goal, ratio, ratio_to_best
from bench.vector_parts.libraries import builders, versions
from bench.vector_parts.outcome import Outcome
from kissvdb.kernels import warmup

OURS = ("ours q4", "ours q8", "ours float32")
RECALLS = (0.95, 0.99)


def run(data: Data, arguments: argparse.Namespace) -> Outcome:
    """Build and search with every ef_construction that was asked for."""
    print("kernels: loaded {}, compiled {}, {:.2f} s".format(*warmup.compile_all()))
    even = attrs.evolve(data, base=unit(data.base), queries=unit(data.queries))
    cells: list[Cell] = []
    found: list[report.Ratio] = []
    goals: list[Goal] = []
    drawn: dict[str, Any] = {}
    made = builders()
    for ef_construction in arguments.ef_construction:
        suffix = f"ef_construction {ef_construction}"
        print(f"{suffix}: building", file=sys.stderr, flush=True)
        new, built = build_all(made, even, ef_construction, arguments.builds, suffix)
        print(f"{suffix}: searching", file=sys.stderr, flush=True)
        ladders = ladder.climb(built, even, arguments.rounds)
        singles = ladder.single_us(built, ladders, even, arguments.rounds)
        new += _read_off(ladders, singles, suffix, arguments.rounds)
        these = [
            each
            for metric in ("qps", "build_s", "single_us")
            for each in report.ratios([c for c in new if metric in c.metrics], OURS, metric)
        ]
        goals += _goals(these, suffix)
        cells, found = cells + new, found + these
        drawn[suffix] = ladder.points(ladders)
    more = {"m": M, "ladders": drawn, "libraries": versions()}
    return Outcome(cells, goals, found, more=more)


def build_all(
    made: Sequence[tuple[str, Any]],
    data: Data,
    ef_construction: int,
    times: int,
    suffix: str,
) -> tuple[list[Cell], list[Contender]]:
    """Build every index several times, in turn; the last ones are kept."""
    cells = []
    built: dict[str, Contender] = {}
    for number in range(times):
        turn = number % len(made)
        for _, build in [*made[turn:], *made[:turn]]:
            for one in build(data.base, ef_construction):
                built[one.name] = one
                metrics = {"build_s": one.build_s, "bytes_each": one.bytes_each}
                cells.append(Cell(Place(f"build, {suffix}", one.name, 1), number, metrics))
    return cells, list(built.values())


def _read_off(
    ladders: ladder.Ladders, singles: dict[str, list[float]], suffix: str, rounds: int
) -> list[Cell]:
    cells = []
    for number in range(rounds):
        for name, steps in ladders.items():
            for wanted in RECALLS:
                qps = ladder.at_recall(steps, wanted, number)
                if qps is not None:
                    place = Place(f"recall {wanted}, {suffix}", name, 1)
                    cells.append(Cell(place, number, {"qps": qps}))
            place = Place(f"one query, {suffix}", name, 1)
            cells.append(Cell(place, number, {"single_us": singles[name][number]}))
    return cells


def _goals(found: Sequence[report.Ratio], suffix: str) -> list[Goal]:
    """The acceptance of this ef_construction, all against peers built with the same."""
    at_95, at_99 = (f"recall {wanted}, {suffix}" for wanted in RECALLS)
    hnswlib = "hnswlib"

    def searches(ours: str, at: str, least: float) -> Goal:
        return Goal(f"{ours} / hnswlib, {at}", ratio(found, at, ours, hnswlib), least)

    def best(at: str) -> Goal:
        measured = ratio_to_best(found, at, "ours q4")
        return Goal(f"ours q4 / the best peer, {at}", measured, 1.3)

    build, one = f"build, {suffix}", f"one query, {suffix}"
    return [
        searches("ours q4", at_95, 5.0),
        searches("ours q4", at_99, 7.0),
        best(at_95),
        best(at_99),
        searches("ours float32", at_95, 1.25),
        searches("ours float32", at_99, 1.25),
        Goal(
            f"CPU time to {build}: ours q4 / hnswlib",
            ratio(found, build, "ours q4", hnswlib),
            most=0.6,
        ),
        Goal(
            f"CPU time of {one}: ours q4 / hnswlib",
            ratio(found, one, "ours q4", hnswlib),
            most=0.35,
        ),
    ]
