"""Recall against speed: contenders climb the same ladder of ef in turn, and are read off where
their recall is the same.

Figures are CPU time of one thread, so that other work on the machine counts less.
"""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import attrs

from bench.vector_parts.contenders import Contender, Search
from bench.vector_parts.data import Data, recall

LADDER = (10, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384)
# Nobody is asked to climb further than this.
RECALL_ENOUGH = 0.996
# A step is searched for so long in each round: 40 ms would be noise, and an index in no cache.
STEP_SECONDS = 0.25
SINGLE_QUERIES = 300
SINGLE_RECALL = 0.95


@attrs.frozen
class Step:
    """One step of one contender: its recall, and queries a second in each round."""

    ef: int
    recall: float
    qps: list[float]


Ladders = dict[str, list[Step]]


def cpu_s(call: Callable[[], Any]) -> float:
    """The CPU time of this process that a call takes."""
    began = time.process_time()
    call()
    return time.process_time() - began


def qps(run: Search, queries: Any) -> float:
    """Queries a second of CPU time, all of them searched for again until that is known."""
    taken, count = 0.0, 0
    while taken < STEP_SECONDS:
        taken += cpu_s(partial(run, queries))
        count += len(queries)
    return count / taken


def turns(contenders: Sequence[Contender], number: int) -> list[Contender]:
    """All of them, another one first in each round."""
    first = number % max(1, len(contenders))
    return [*contenders[first:], *contenders[:first]]


def climb(contenders: Sequence[Contender], data: Data, rounds: int) -> Ladders:
    """Measure every contender at every step it needs, in each round."""
    ladders: Ladders = {}
    for one in contenders:
        ladders[one.name] = steps = []
        for ef in LADDER:
            steps.append(Step(ef, recall(one.at(ef)(data.queries), data.truth), []))
            if steps[-1].recall >= RECALL_ENOUGH:
                break
    for number in range(rounds):
        for place in range(len(LADDER)):
            for one in turns(contenders, number):
                if place < len(ladders[one.name]):
                    step = ladders[one.name][place]
                    step.qps.append(qps(one.at(step.ef), data.queries))
    return ladders


def at_recall(steps: Sequence[Step], wanted: float, number: int) -> float | None:
    """Queries a second of a round at a recall, on a straight line through the logarithms.

    None if that recall is never reached.
    """
    for one, other in itertools.pairwise(steps):
        if one.recall <= wanted <= other.recall and other.recall > one.recall:
            part = (wanted - one.recall) / (other.recall - one.recall)
            fast, slow = math.log(one.qps[number]), math.log(other.qps[number])
            return math.exp(fast + part * (slow - fast))
    return steps[0].qps[number] if steps and steps[0].recall >= wanted else None


def single_us(
    contenders: Sequence[Contender], ladders: Ladders, data: Data, rounds: int
) -> dict[str, list[float]]:
    """CPU time of one query a call in each round, at the first step with recall 0.95."""
    some = [data.queries[i : i + 1] for i in range(min(SINGLE_QUERIES, len(data.queries)))]
    taken: dict[str, list[float]] = {one.name: [] for one in contenders}
    for number in range(rounds):
        for one in turns(contenders, number):
            good = [step.ef for step in ladders[one.name] if step.recall >= SINGLE_RECALL]
            run = one.at(good[0] if good else LADDER[-1])
            seconds = cpu_s(partial(_one_by_one, run, some))
            taken[one.name].append(seconds * 1e6 / len(some))
    return taken


def _one_by_one(run: Search, queries: Sequence[Any]) -> None:
    for query in queries:
        run(query)


def points(ladders: Ladders) -> dict[str, list[tuple[int, float, float]]]:
    """What to draw of each contender: ef, recall, median queries a second."""
    return {
        name: [(step.ef, step.recall, statistics.median(step.qps)) for step in steps]
        for name, steps in ladders.items()
    }
