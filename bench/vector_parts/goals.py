"""What is aimed at, beside what was measured."""

from collections.abc import Iterable, Sequence

import attrs

from bench.load import report


@attrs.frozen
class Goal:
    """``measured`` is to be at least ``least``, or at most ``most``; neither: only for comparison.

    None: there was nothing to measure.
    """

    what: str
    measured: float | None
    least: float | None = None
    most: float | None = None

    @property
    def verdict(self) -> str:
        """met, not met, or nothing without a goal or a measurement."""
        if self.measured is None or (self.least is None and self.most is None):
            return ""
        good = self.measured >= self.least if self.least is not None else True
        good = good and (self.measured <= self.most if self.most is not None else True)
        return "met" if good else "not met"

    @property
    def wanted(self) -> str:
        """The goal as text."""
        if self.least is not None:
            return f">= {self.least:g}"
        return "-" if self.most is None else f"<= {self.most:g}"


def ratio(found: Iterable[report.Ratio], group: str, ours: str, peer: str) -> float | None:
    """The median ratio of one of ours to one peer in a group; None if there is none."""
    for each in found:
        if (each.group, each.ours, each.peer) == (group, ours, peer):
            return each.median
    return None


def ratio_to_best(found: Iterable[report.Ratio], group: str, ours: str) -> float | None:
    """The median ratio of one of ours to the peer that is nearest to it."""
    ratios = [each.median for each in found if (each.group, each.ours) == (group, ours)]
    return min(ratios, default=None)


def show(goals: Sequence[Goal]) -> None:
    """Print the goals of a part."""
    rows = [
        (
            goal.what,
            goal.wanted,
            float("nan") if goal.measured is None else float(goal.measured),
            goal.verdict,
        )
        for goal in goals
    ]
    report.print_table(rows, ["goal", "wanted", "measured", ""])
