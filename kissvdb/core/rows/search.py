"""Searching rows: which way to go, the rows found on it, and their order.

Order is by score, best first, and by id among equal scores, whatever the rows and the way.
"""

import time
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core import bitmaps
from kissvdb.core.bitmaps import Words
from kissvdb.core.index.index import TIES_SPARE, Answer, Index, Plan, SearchTooNarrow
from kissvdb.core.index.kernels import Kernels, exact_scores
from kissvdb.core.search import Search
from kissvdb.core.store.id_map import IdMap
from kissvdb.core.store.space import RowData

Array = npt.NDArray[Any]

SCORED_ROWS = 4096
"""Rows scored at a time when ties are settled."""


@attrs.define(eq=False)
class Hits:
    """What one query found, best first: ids, scores [n], row numbers int64 [n].

    Scores of vectors are float32, those of texts and of both float64.
    """

    ids: tuple[str, ...]
    scores: Array
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def slice(self, start: int, stop: int) -> "Hits":
        """The hits from place ``start`` up to ``stop``."""
        return Hits(self.ids[start:stop], self.scores[start:stop], self.rows[start:stop])


def taken(hits: Hits, places: list[int]) -> Hits:
    """The hits at these places."""
    ids = tuple(hits.ids[place] for place in places)
    return Hits(ids, hits.scores[places], hits.rows[places])


def in_front(first: Hits, others: Hits) -> Hits:
    """The first hits, and behind them those of the others that are not among them."""
    known = set(first.ids)
    rest = taken(others, [place for place, id_ in enumerate(others.ids) if id_ not in known])
    return Hits(
        first.ids + rest.ids,
        np.concatenate([first.scores, rest.scores]),
        np.concatenate([first.rows, rest.rows]),
    )


NO_HITS = Hits((), np.zeros(0, np.float32), np.zeros(0, np.int64))


@attrs.frozen
class Explanation:
    """How a search went. ``plan``: ``exact scan``, ``code scan``, ``graph``, ``filtered graph``,
    ``lists``, ``filtered lists``, ``text``.

    ``selectivity`` is the part of the rows that the filter, deletes and expiry leave. Times are
    microseconds, of all queries together. ``ignored``: terms of the query, in every field, that
    were not looked for, being too many.
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
    text_us: int = 0
    fuse_us: int = 0
    ignored: int = 0


@attrs.frozen(eq=False)
class Parts:
    """What each part of a hybrid search says of the hits, each [n] in their order.

    Ranks are int64, 1 the best; ``text_ranks`` 0 where the text does not match. ``text_scores``:
    float64, BM25. ``vector_scores``: as a search by vector answers them.
    """

    text_ranks: Array
    text_scores: Array
    vector_ranks: Array
    vector_scores: Array


@attrs.frozen(eq=False)
class Found:
    """What a search answers: for each query its hits, and whether there are no more behind them;
    ``explanation`` if it was asked for.

    ``parts``: those of a hybrid search that is to be explained.
    """

    hits: list[Hits]
    explanation: Explanation | None
    exhausted: list[bool]
    parts: Parts | None = None


@attrs.define(eq=False)
class Source:
    """What a search looks at; the parts of a view. ``allow``: the visible rows that pass."""

    data: RowData
    ids: IdMap
    kernels: Kernels
    index: Index
    allow: Words | None
    allowed: int


def lap_clock(clock_ns: Callable[[], int] = time.perf_counter_ns) -> Callable[[], int]:
    """A function that answers the microseconds since it was last called."""
    last_ns = clock_ns()

    def lap() -> int:
        nonlocal last_ns
        before, last_ns = last_ns, clock_ns()
        return (last_ns - before) // 1000

    return lap


def plan(source: Source, search: Search) -> Plan:
    """The cheapest way that finds the best rows."""
    if search.exact or search.offset or not source.index.size or not source.kernels.ready:
        return Plan("exact scan")
    return source.index.plan(search.want, search.ef, source.allow)


def search(
    source: Source,
    queries: Array,
    want: int,
    plan: Plan,
    lap: Callable[[], int],
    *,
    may_scan: bool = True,
) -> tuple[list[Hits], list[int]]:
    """The ``want`` best rows of each prepared query, and the laps: index, tail, order.

    Raises SearchTooNarrow instead of looking wider than the plan says, unless it ``may_scan``.
    """
    if not len(queries):
        return [], [0, 0, 0]
    if plan.name == "exact scan":
        hits = exact(source, queries, want)
        return hits, [lap(), 0, 0]
    count = want + TIES_SPARE
    laps: list[int] = []
    best = candidates(source, queries, want, plan, lambda: laps.append(lap()), may_scan=may_scan)
    if best is None:
        return [NO_HITS] * len(queries), [*laps, lap()]
    rows, scores = best
    hits, tied = ordered(source.ids, rows, scores, want)
    for n, ties in enumerate(tied):
        # More rows may tie for the last places than were found: which of them, their ids say.
        if ties and scores[n, want - 1] == scores[n, count - 1] and rows[n, count - 1] >= 0:
            if not may_scan:
                raise SearchTooNarrow
            hits[n] = exact(source, queries[n : n + 1], want)[0]
    return hits, [*laps, lap()]


def candidates(
    source: Source,
    queries: Array,
    want: int,
    plan: Plan,
    note: Callable[[], None] | None = None,
    *,
    may_scan: bool,
) -> Answer | None:
    """At least the ``want`` best rows of each prepared query and their scores, best first, and in
    no order where these are equal; None if no row passes.

    ``note`` is told when the index is searched, and when the tail is. Raises SearchTooNarrow as
    ``search``.
    """
    data, index = source.data, source.index
    if plan.name == "exact scan":
        return _scanned(source, queries, want)
    parts = []
    if plan.name != "tail scan":
        parts.append(index.search(data, queries, want, plan, source.allow, may_scan=may_scan))
    if note is not None:
        note()
    if index.size < data.count:
        parts.append(
            source.kernels.scan_rows(
                data.vectors,
                data.metric,
                queries,
                want + TIES_SPARE,
                index.size,
                data.count,
                source.allow,
            )
        )
    if note is not None:
        note()
    if not parts:
        return None
    rows, values = parts[0] if len(parts) == 1 else _merged(*parts)
    return rows, _scores(values, data.metric)


def as_text(
    source: Source, query: Array, search: Search, *, meta: bool
) -> tuple[bytes, int] | None:
    """What ``search`` finds for one query, float32 [1, dim], as JSON: an array of hits, and how
    many these are. None where it takes the usual way to tell.

    Raises SearchTooNarrow where a walk is not enough.
    """
    json, want = source.kernels.json, search.k
    if json is None or search.min_score is not None or search.explain:
        return None
    prepared = source.kernels.prepared(query, source.data.metric)
    best = candidates(source, prepared, want, plan(source, search), may_scan=False)
    if best is None:
        return b"[]", 0
    rows, scores = best
    found: tuple[bytes, int] | None = json.hits_text(
        source.data, rows[0], scores[0], want, meta=meta
    )
    return found


def as_texts(
    source: Source, queries: Array, search: Search, *, meta: bool, bytes_max: int
) -> list[tuple[bytes, int] | None]:
    """As ``as_text`` for each of many queries; a place is None where it is not known as soon, and
    where all together would take more than about ``bytes_max``."""
    json, want = source.kernels.json, search.k
    if json is None or search.min_score is not None or search.explain or search.offset:
        return [None] * len(queries)
    prepared = source.kernels.prepared(queries, source.data.metric)
    best = candidates(source, prepared, want, plan(source, search), may_scan=True)
    if best is None:
        return [(b"[]", 0)] * len(queries)
    texts: list[tuple[bytes, int] | None] = []
    for rows, scores in zip(*best, strict=True):
        text = json.hits_text(source.data, rows, scores, want, meta=meta, bytes_max=bytes_max)
        bytes_max -= 0 if text is None else len(text[0])
        texts.append(text)
    return texts


def _merged(one: Answer, other: Answer) -> Answer:
    """The rows of two answers to the same queries, best first."""
    rows = np.concatenate((one[0], other[0]), axis=1)
    scores = np.concatenate((one[1], other[1]), axis=1)
    count, found = rows.shape
    places = np.argsort(-scores, axis=1, kind="stable")
    places += np.arange(0, count * found, found)[:, None]
    return rows.ravel()[places], scores.ravel()[places]


def _scores(values: Array, metric: str) -> Array:
    """Scores as they are answered, of what kernels say: of l2 they say the negative square.

    Before anything is ordered or cut: two squares may have one root, and then the rows tie.
    """
    return np.float32(0.0) - np.sqrt(-values) if metric == "l2" else values


def row_scores(data: RowData, query: Array, rows: npt.NDArray[np.int64]) -> Array:
    """The exact scores, float32 [n], of these rows for one prepared query."""
    return _scores(exact_scores(data.prepared(rows), query, data.metric), data.metric)


def exact(source: Source, queries: Array, want: int) -> list[Hits]:
    """The ``want`` best rows of each query, by looking at every allowed row."""
    best = _scanned(source, queries, want)
    if best is None:
        return [NO_HITS] * len(queries)
    rows, scores = best
    found, _ = ordered(source.ids, rows, scores, want)
    if rows.shape[1] < source.allowed:
        for n in np.flatnonzero(scores[:, want - 1] == scores[:, -1]).tolist():
            found[n] = _with_all_ties(source, queries[n], rows[n], scores[n], want)
    return found


def _scanned(source: Source, queries: Array, want: int) -> Answer | None:
    """As ``candidates``, by looking at every allowed row."""
    count = min(want + TIES_SPARE, source.allowed)
    if not count or not want:
        return None
    data = source.data
    rows, values = source.kernels.scan_rows(
        data.vectors, data.metric, queries, count, 0, data.count, source.allow
    )
    return rows, _scores(values, data.metric)


def _with_all_ties(source: Source, query: Array, rows: Array, scores: Array, want: int) -> Hits:
    """As ``ordered``, where more rows tie for the last places than were found."""
    data = source.data
    least = scores[want - 1]
    allowed = np.arange(data.count)
    if source.allow is not None:
        allowed = bitmaps.row_numbers(source.allow).astype(np.int64)
    tied = []
    for part in np.split(allowed, range(SCORED_ROWS, len(allowed), SCORED_ROWS)):
        values = exact_scores(data.prepared(part), query, data.metric)
        tied.append(part[_scores(values, data.metric) == least])
    better = scores > least
    candidates = np.concatenate([rows[better], *tied])
    values = np.full(len(candidates), least)
    values[: int(better.sum())] = scores[better]
    return _ordered_by_id(source.ids, candidates, values, want)


def ordered(ids: IdMap, rows: Array, scores: Array, want: int) -> tuple[list[Hits], list[bool]]:
    """The ``want`` best of the rows found for each query; [queries, found] both, best first. Also
    for each query whether rows tie."""
    equal = scores[:, 1:] == scores[:, :-1]
    counts = [want] * len(rows)
    if rows.shape[1] < want or rows[:, -1].min() < 0:
        equal &= rows[:, 1:] >= 0
        counts = np.minimum((rows >= 0).sum(axis=1), want).tolist()
    tied = equal.any(axis=1).tolist()
    hits = []
    for n, count in enumerate(counts):
        if tied[n]:
            hits.append(_ordered_by_id(ids, rows[n], scores[n], want))
        else:
            best = rows[n, :count]
            hits.append(Hits(tuple(ids.ids_at(best.tolist())), scores[n, :count], best))
    return hits, tied


def _ordered_by_id(ids: IdMap, rows: Array, scores: Array, want: int) -> Hits:
    """As ``ordered``, for one query, where ids settle ties. Row -1 is none."""
    rows, scores = rows[rows >= 0], scores[rows >= 0]
    if len(rows) > want:
        # What ties with the last place stays until ids decide.
        kept = int(np.searchsorted(-scores, -scores[want - 1], side="right"))
        rows, scores = rows[:kept], scores[:kept]
    names, values = ids.ids_at(rows.tolist()), scores.tolist()
    places = sorted(range(len(names)), key=lambda place: (-values[place], names[place]))[:want]
    return Hits(tuple(names[place] for place in places), scores[places], rows[places])


def at_least(hits: list[Hits], min_score: float | None) -> list[Hits]:
    """The hits that score ``min_score`` or more; all of them if it is None."""
    if min_score is None:
        return hits
    return [each.slice(0, int((each.scores >= min_score).sum())) for each in hits]
