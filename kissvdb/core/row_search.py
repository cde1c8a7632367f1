"""Searching rows: which way to go, the rows found on it, and their order.

Order is by score, best first, and by id among equal scores. Exact search holds to that whatever
the rows; a graph search among the rows it finds.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core import bitmaps
from kissvdb.core.bitmaps import Words
from kissvdb.core.id_map import IdMap
from kissvdb.core.row_index import Kernels, exact_scores
from kissvdb.core.row_store import RowData

Array = npt.NDArray[Any]

TIES_SPARE = 8
"""Rows found beyond those wanted: if the last of them scores less, no tie was cut in two."""


@attrs.frozen(eq=False)
class Hits:
    """What one query found, best first: ids, scores float32 [n], row numbers int64 [n]."""

    ids: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def slice(self, start: int, stop: int) -> "Hits":
        """The hits from place ``start`` up to ``stop``."""
        return Hits(self.ids[start:stop], self.scores[start:stop], self.rows[start:stop])


NO_HITS = Hits((), np.zeros(0, np.float32), np.zeros(0, np.int64))


@attrs.frozen
class Group:
    """Hits that share a value of the field they were grouped by; ``filters.MISSING`` without it."""

    value: Any
    hits: Hits


@attrs.frozen
class Explanation:
    """How a search went. ``plan``: ``exact scan``, ``code scan``, ``graph``, ``filtered graph``.

    ``selectivity`` is the part of the rows that the filter, deletes and expiry leave. Times are
    microseconds, of all queries together.
    """

    plan: str
    selectivity: float
    rows: int
    tail_rows: int
    ef: int
    filter_us: int
    index_us: int
    tail_us: int
    order_us: int


@attrs.frozen(eq=False)
class Source:
    """What a search looks at; the parts of a view."""

    data: RowData
    ids: IdMap
    metric: str
    kernels: Kernels
    allow: Words | None
    allowed: int


class StepClock:
    """Times the steps of a search when someone asks for it."""

    def __init__(self, clock_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock_ns = clock_ns
        self._last_ns = clock_ns()

    def lap_us(self) -> int:
        """Microseconds since the last lap."""
        now_ns = self._clock_ns()
        passed, self._last_ns = now_ns - self._last_ns, now_ns
        return passed // 1000


def exact(source: Source, queries: Array, want: int) -> list[Hits]:
    """The ``want`` best rows of each query, by looking at every allowed row."""
    count = min(want + TIES_SPARE, source.allowed)
    if not count:
        return [NO_HITS] * len(queries)
    data = source.data
    rows, scores = source.kernels.scan_rows(
        data.vectors, source.metric, queries, count, 0, data.count, source.allow
    )
    found = []
    for n, query in enumerate(queries):
        if count < source.allowed and scores[n, want - 1] == scores[n, -1]:
            found.append(_with_all_ties(source, query, rows[n], scores[n], want))
        else:
            found.append(ordered(source.ids, rows[n], scores[n], want))
    return found


def _with_all_ties(source: Source, query: Array, rows: Array, scores: Array, want: int) -> Hits:
    """As ``ordered``, where more rows tie for the last places than were found."""
    data = source.data
    least = scores[want - 1]
    better = rows[scores > least]
    if source.allow is None:
        tied = np.arange(data.count)
    else:
        tied = bitmaps.row_numbers(source.allow).astype(np.int64)
    parts = np.split(tied, range(SCORED_ROWS, len(tied), SCORED_ROWS))
    tied = np.concatenate(
        [part[exact_scores(data.vectors[part], query, source.metric) == least] for part in parts]
    )
    candidates = np.concatenate([better, tied])
    values = np.concatenate([scores[scores > least], np.full(len(tied), least, np.float32)])
    return ordered(source.ids, candidates, values, want)


SCORED_ROWS = 4096


def ordered(ids: IdMap, rows: Array, scores: Array, want: int) -> Hits:
    """The ``want`` best of the rows found, in their order. Row -1 is none."""
    if len(rows) and rows[-1] < 0:
        rows, scores = rows[rows >= 0], scores[rows >= 0]
    order = np.argsort(-scores, kind="stable")
    rows, scores = rows[order], scores[order]
    if len(rows) > want:
        # What ties with the last place stays until ids decide.
        least = scores[want - 1]
        kept = int(np.searchsorted(-scores, -least, side="right"))
        rows, scores = rows[:kept], scores[:kept]
    names = ids.ids_at(rows.tolist())
    if len(scores) > 1 and (scores[1:] == scores[:-1]).any():
        values = scores.tolist()
        places = sorted(range(len(names)), key=lambda place: (-values[place], names[place]))
        names = [names[place] for place in places]
        rows, scores = rows[places], scores[places]
    return Hits(tuple(names[:want]), scores[:want], rows[:want])


def at_least(hits: Sequence[Hits], min_score: float | None) -> list[Hits]:
    """The hits that score ``min_score`` or more."""
    if min_score is None:
        return list(hits)
    return [each.slice(0, int((each.scores >= min_score).sum())) for each in hits]
