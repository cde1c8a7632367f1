"""Filters on real metadata that let a wanted part of the rows through."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from bench.vector_parts.data import Data

FREE = "unfiltered"
SELECTIVITIES = (0.001, 0.01, 0.1, 0.5)
# A single value is taken if it is so near to the wanted part; else several are put together.
NEAR = 0.35
# A filter that asks for one of more tags than this is nobody's.
TAGS_MAX = 4


@attrs.frozen(eq=False)
class Choice:
    """A filter: ``at(i)`` is what query i asks with (None: no filter), ``rows`` what passes it.

    A varied one is another for every query, so that none is answered from a remembered bitmap,
    and lets the same rows through.
    """

    name: str
    at: Callable[[int], dict[str, Any] | None]
    rows: Any


def choices(data: Data) -> Iterator[Choice]:
    """For each selectivity: a section, a team, tags, a range of sizes, and ranges that vary; at
    last no filter."""
    for wanted in SELECTIVITIES:
        for field in ("section", "maintainer_team"):
            values = [[meta[field]] for meta in data.metas]
            chosen, rows = _chosen(values, wanted)
            yield _fixed(f"{field} {wanted:.1%}", {field: _one_of(chosen)}, rows)
        chosen, rows = _chosen([meta["tags"] for meta in data.metas], wanted, TAGS_MAX)
        tagged = [{"tags": {"$contains": tag}} for tag in chosen]
        tree = tagged[0] if len(tagged) == 1 else {"$or": tagged}
        yield _fixed(f"tags {wanted:.1%}", tree, rows)
        yield from _ranges(data, wanted)
    yield Choice(FREE, lambda i: None, np.arange(len(data.base)))


def _fixed(name: str, tree: dict[str, Any], rows: Any) -> Choice:
    return Choice(name, lambda i: tree, rows)


def _one_of(values: Sequence[str]) -> Any:
    return values[0] if len(values) == 1 else {"$in": list(values)}


def _chosen(
    values: Sequence[Sequence[str]], wanted: float, most: int | None = None
) -> tuple[list[str], Any]:
    """Values that about the wanted part of the rows has one of, and these rows.

    ``most``: how many values may be taken; the part may then be less than wanted.
    """
    counts = Counter(value for each in values for value in set(each))
    limit = wanted * len(values)
    single = min(counts, key=lambda value: abs(counts[value] - limit))
    chosen = {single}
    if abs(counts[single] - limit) > NEAR * limit:
        chosen, covered = set(), np.zeros(len(values), bool)
        for value, _ in counts.most_common():
            more = covered | np.array([value in each for each in values])
            if more.sum() <= 1.05 * limit:
                chosen.add(value)
                covered = more
            if covered.sum() >= 0.95 * limit or len(chosen) == most:
                break
    rows = [row for row, each in enumerate(values) if chosen.intersection(each)]
    return sorted(chosen), np.array(rows)


def _ranges(data: Data, wanted: float) -> Iterator[Choice]:
    sizes = np.array([meta["installed_size_kb"] or -1 for meta in data.metas], np.float64)
    known = np.sort(sizes[sizes > 0])
    # The middle of the sizes, widened until enough rows are inside: many have the same size.
    middle = len(known) // 2
    half = max(1, round(wanted * len(sizes) / 2))
    low, high = known[max(0, middle - half)], known[min(len(known) - 1, middle + half)]
    rows = np.flatnonzero((sizes >= low) & (sizes < high))
    bounds = {"$gte": int(low), "$lt": int(high)}
    yield _fixed(f"size {wanted:.1%}", {"installed_size_kb": bounds}, rows)

    def another(i: int) -> dict[str, Any]:
        # Sizes are whole numbers: another bound between the same two of them.
        return {"installed_size_kb": {"$gte": int(low), "$lt": int(high) - (i + 1) / 1e6}}

    yield Choice(f"size, varied {wanted:.1%}", another, rows)
