"""Contenders climb their ladders of effort in turn and are read off where their recall is equal."""

import sys
from collections.abc import Sequence
from typing import Any

import attrs

from bench.load.report import Cell, Place
from bench.scale_parts.building import Index, Pythons
from bench.scale_parts.processes import Failed, Process
from bench.vector_parts.ladder import Step, at_recall

RECALLS = (0.90, 0.95, 0.99)
ENOUGH = 0.995
# A ladder ends where a search costs so much: nobody would ask for more.
QUERY_SECS_MAX = 0.02


@attrs.define
class Climber:
    """A contender that is open: its steps, and what else was seen of it."""

    index: Index
    process: Process
    steps: list[Step] = attrs.Factory(list)
    facts: dict[str, Any] = attrs.Factory(dict)

    @property
    def name(self) -> str:
        """Of the contender."""
        return self.index.name

    def effort_at(self, recall: float) -> int | None:
        """The least effort that reaches a recall; None if none does."""
        return next((step.ef for step in self.steps if step.recall >= recall), None)


def opened(
    found: Sequence[Index], made: Any, pythons: Pythons, missing: dict[str, str]
) -> list[Climber]:
    """All indexes, open; those that do not open go to ``missing``."""
    climbers = []
    for index in found:
        print(f"opening {index.name}", file=sys.stderr, flush=True)
        try:
            process = Process(
                pythons.of(index.name), index.name, made.directory, index.directory, "serve"
            )
        except Failed as error:
            missing[index.name] = str(error)
            continue
        climbers.append(Climber(index, process, facts=dict(process.answer)))
    return climbers


def measure(
    climbers: list[Climber], queries: int, rounds: int, missing: dict[str, str]
) -> list[Cell]:
    """Find each one's ladder, then measure the steps that matter in every round, in turn."""
    alive = list(climbers)
    for one in climbers:
        _safely(one, alive, missing, lambda each=one: _explore(each, queries))
    cells: list[Cell] = []
    for number in range(rounds):
        print(f"round {number + 1}", file=sys.stderr, flush=True)
        first = number % max(1, len(alive))
        for one in [*alive[first:], *alive[:first]]:
            _safely(one, alive, missing, lambda each=one: _round(each, queries))
    for one in alive:
        for number in range(rounds):
            cells += _cells(one, number)
    climbers[:] = alive
    return cells


def _safely(one: Climber, alive: list[Climber], missing: dict[str, str], work: Any) -> None:
    try:
        work()
    except Failed as error:
        missing[one.name] = str(error)
        alive.remove(one)


def _explore(one: Climber, queries: int) -> None:
    steps = []
    for effort in one.facts["efforts"]:
        answer = one.process.ask("run", effort)
        steps.append(Step(effort, answer["recall"], []))
        if answer["recall"] >= ENOUGH or answer["cpu_s"] / queries > QUERY_SECS_MAX:
            break
    one.facts |= one.process.ask("memory")
    one.steps = _needed(steps)


def _needed(steps: list[Step]) -> list[Step]:
    """The steps on both sides of every recall that is asked for, and the first and the last."""
    kept = {0, len(steps) - 1}
    for wanted in RECALLS:
        above = next((i for i, step in enumerate(steps) if step.recall >= wanted), None)
        if above is not None:
            kept |= {above, max(0, above - 1)}
    return [step for place, step in enumerate(steps) if place in kept]


def _round(one: Climber, queries: int) -> None:
    # Once for nothing: what lies in files may have been taken out of memory while others had their
    # turn, as systems do that reclaim what is idle, and what a library allocated may not.
    one.process.ask("run", one.steps[-1].ef)
    for step in one.steps:
        step.qps.append(queries / one.process.ask("run", step.ef)["cpu_s"])
    effort = one.effort_at(0.95)
    if effort is not None:
        asked = one.process.ask("single", effort)
        one.facts.setdefault("single_us", []).append(asked["single_us"])
        if one.index.facts["on_disk"]:
            one.facts.setdefault("cold", []).append(one.process.ask("cold", effort))


def _cells(one: Climber, number: int) -> list[Cell]:
    cells = []
    for wanted in RECALLS:
        qps = at_recall(one.steps, wanted, number)
        if qps is not None:
            cells.append(Cell(Place(f"recall {wanted:.2f}", one.name, 1), number, {"qps": qps}))
    for name, metrics in (
        ("single_us", lambda each: {"single_us": each}),
        ("cold", lambda each: each),
    ):
        values = one.facts.get(name, [])
        if number < len(values):
            group = "one query at 0.95" if name == "single_us" else "cold at 0.95"
            cells.append(Cell(Place(group, one.name, 1), number, metrics(values[number])))
    return cells
