"""The rows of a collection at one moment: what readers hold."""

from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from kissvdb.core import bitmaps
from kissvdb.core.bitmaps import Words
from kissvdb.core.filters.parse import And, In, Node
from kissvdb.core.fusion import Fusion
from kissvdb.core.index.index import Index
from kissvdb.core.index.index import SearchTooNarrow as SearchTooNarrow
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.metadata.index import MetadataView
from kissvdb.core.projection import Projection, project, sample
from kissvdb.core.rows import groups as row_groups
from kissvdb.core.rows import hybrid, text_search
from kissvdb.core.rows import search as row_search
from kissvdb.core.rows.groups import Group as Group
from kissvdb.core.rows.search import Explanation, Hits, Source
from kissvdb.core.rows.search import Found as Found
from kissvdb.core.search import Search
from kissvdb.core.store.id_map import IdMap
from kissvdb.core.store.space import RowData
from kissvdb.core.store.spec import NAMESPACE_FIELD, CollectionSpec, StoredRow
from kissvdb.core.store.tombstones import TombstoneView
from kissvdb.core.text.index import TextView
from kissvdb.core.text.query import TextQuery

Array = npt.NDArray[Any]

_NOT_ASKED = object()

PROJECTIONS_MAX = 4
"""Maps of its rows that a view remembers, each of some 20 bytes a row of a sample."""

BITMAPS_MAX = 32
"""Filters whose bitmaps a view remembers, until the next write brings a new view."""


@attrs.frozen(eq=False)
class Statistics:
    """Numbers of a view; bytes are what the arrays' rows take, wherever they lie.

    ``precision``: what searches walk by now: q4, q8 or none.
    """

    live_rows: int
    deleted_rows: int
    tail_rows: int
    row_bytes: int
    index_bytes: int
    precision: str


@attrs.frozen(eq=False)
class RowsView:
    """All rows written up to ``offset``. Immutable, and good for any thread.

    Rows of documents come from several shards, each at an offset of its own: what some of them
    wrote behind ``offset`` may be there, too.

    Only ``get``, ``row_of`` and searches by id look at the owner's id map as it is now: on the
    owner's thread, with its newest view, that is the same moment.
    """

    spec: CollectionSpec
    offset: int
    data: RowData
    ids: IdMap
    hidden: TombstoneView
    metadata: MetadataView
    kernels: Kernels
    index: Index
    texts: TextView | None = None
    # None: to be found out by reading documents.
    _bitmaps: dict[str, Words | None] = attrs.field(factory=dict, init=False, repr=False)
    _projections: dict[Any, Projection] = attrs.field(factory=dict, init=False, repr=False)
    ready: dict[Any, Any] = attrs.field(factory=dict, init=False, repr=False)
    """Searches that are ready for their vector, by what the owner's thread calls them."""

    @property
    def indexed_rows(self) -> int:
        """How many rows the index covers; the rest is the tail."""
        return self.index.size

    @property
    def live_count(self) -> int:
        """How many rows a reader can see."""
        return self.data.count - self.hidden.count

    def row_of(self, id_: str) -> int | None:
        """The row of an id; None if there is none, or its time has come."""
        row = self.ids.get(id_)
        if row is None or row >= self.data.count or self.hidden.is_dead(row):
            return None
        return row

    def get(self, id_: str) -> StoredRow | None:
        """The row of an id as it was written."""
        row = self.row_of(id_)
        return None if row is None else self.stored(row)

    def stored(self, row: int) -> StoredRow:
        """A row as it was written, by its number. Raises Damaged if that cannot be known."""
        return self.data.stored(row)

    def bitmap(self, tree: Node | None, namespace: str | None = None) -> Words | None:
        """The visible rows that pass, uint64 [ceil(rows / 64)]; None for all rows."""
        tree = _within(namespace, tree)
        if tree is None and not self.hidden.count:
            return None
        key = _bitmap_key(tree)
        words = self._bitmaps.get(key)
        if words is None:
            words = self._allowed(self.metadata.bitmap(tree, self.data.document))
            self._remember(key, words)
        return words

    def knows_bitmap(
        self, tree: Node | None, namespace: str | None = None, *, steps_max: int
    ) -> bool:
        """Whether the rows that pass are known, or can be in ``steps_max`` steps of the metadata
        index and without reading a document. Then they are, and a search will take no time to
        find out."""
        tree = _within(namespace, tree)
        if tree is None:
            return True
        key = _bitmap_key(tree)
        # One look: a search in a thread may forget them all in between.
        known = self._bitmaps.get(key, _NOT_ASKED)
        if known is not _NOT_ASKED:
            return known is not None
        if self.metadata.steps(tree) > steps_max:
            return False
        passing = self.metadata.sure_bitmap(tree)
        self._remember(key, None if passing is None else self._allowed(passing))
        return passing is not None

    def _allowed(self, passing: Words | None) -> Words:
        words = self.hidden.allowed(self.data.count, passing)
        assert words is not None, "None is for all rows, and then for no filter"
        return words

    def _remember(self, key: str, words: Words | None) -> None:
        if len(self._bitmaps) >= BITMAPS_MAX:
            self._bitmaps.clear()
        self._bitmaps[key] = words

    def count(self, tree: Node | None = None, namespace: str | None = None) -> int:
        """How many visible rows pass."""
        words = self.bitmap(tree, namespace)
        return self.data.count if words is None else bitmaps.count(words)

    def search(self, queries: Array, search: Search, *, may_scan: bool = True) -> Found:
        """The ``search.k`` best visible rows of each query, float32 [n, dim], finite.

        With an ``offset`` all rows are looked at, and pages of ``k`` share no row: the first has
        those that a search without one finds, the others what is left, in order. Raises
        SearchTooNarrow if a walk is not enough and it may not scan.
        """
        lap = row_search.lap_clock() if search.explain else int
        source = self._source(search.tree, search.namespace)
        filter_us = lap()
        want = search.want
        prepared = self.kernels.prepared(queries, self.spec.metric)
        plan = row_search.plan(source, search)
        hits, laps = row_search.search(source, prepared, want, plan, lap, may_scan=may_scan)
        hits = row_search.at_least(hits, search.min_score)
        if search.offset:
            if not search.exact:
                # The first page is of what a search finds, the others of all that is left.
                first_plan = row_search.plan(source, replace(search, offset=0))
                first, _ = row_search.search(source, prepared, search.k, first_plan, int)
                first = row_search.at_least(first, search.min_score)
                hits = list(map(row_search.in_front, first, hits))
            hits = [each.slice(search.offset, want) for each in hits]
        self.data.check(row for each in hits for row in each.rows.tolist())
        exhausted = [len(each) < search.k for each in hits]
        if not search.explain:
            return Found(hits, None, exhausted)
        count = self.data.count
        explanation = Explanation(
            plan=plan.name,
            selectivity=source.allowed / count if count else 0.0,
            rows=count,
            tail_rows=count - self.indexed_rows,
            ef=plan.ef,
            filter_us=filter_us,
            index_us=laps[0],
            tail_us=laps[1],
            order_us=laps[2],
        )
        return Found(hits, explanation, exhausted)

    def search_as_text(
        self, query: Array, search: Search, *, meta: bool
    ) -> tuple[bytes, int] | None:
        """The hits of ``search`` for one query, float32 [1, dim], as an array of JSON, and how many
        they are; ``meta``: with their metadata. None where that is not known as soon.

        Raises SearchTooNarrow if a walk is not enough.
        """
        source = self._source(search.tree, search.namespace)
        if self.data.guard is not None:
            return None
        return row_search.as_text(source, query, search, meta=meta)

    def search_as_texts(
        self, queries: Array, search: Search, *, meta: bool, bytes_max: int
    ) -> list[tuple[bytes, int] | None]:
        """``search_as_text`` for each of many queries, float32 [n, dim], however long it takes, but
        no more than about ``bytes_max`` of text."""
        if self.data.guard is not None or not len(queries):
            return [None] * len(queries)
        source = self._source(search.tree, search.namespace)
        return row_search.as_texts(source, queries, search, meta=meta, bytes_max=bytes_max)

    def ready_for(self, search: Search, memories: dict[Any, Any], *, meta: bool) -> Any:
        """``search_as_text`` of this search, made ready for its vector (see ``numbers.ready``),
        its memory among ``memories``; None where others are to answer it."""
        made = self.kernels.ready_searches
        if made is None or self.data.guard is not None or search.k > made.WANT_MAX:
            return None
        if search.min_score is not None or search.explain or search.exact or search.offset:
            return None
        source = self._source(search.tree, search.namespace)
        return made.Ready(source, search, made.memory_of(memories, self.spec.dim), meta=meta)

    def search_text(self, query: TextQuery, search: Search) -> Found:
        """The ``search.k`` best visible rows by their texts; see ``text_search.search``."""
        return text_search.search(self, query, search)

    def search_hybrid(
        self,
        vector: Array,
        query: TextQuery,
        search: Search,
        fusion: Fusion,
        *,
        may_scan: bool = True,
    ) -> Found:
        """The ``search.k`` best visible rows by vector and text; see ``hybrid.search``."""
        return hybrid.search(self, vector, query, search, fusion, may_scan=may_scan)

    def matching(
        self, query: TextQuery, tree: Node | None = None, namespace: str | None = None
    ) -> Words:
        """The visible rows whose texts match and that pass, uint64 [ceil(rows / 64)]."""
        return text_search.matching(self, query, tree, namespace)

    def search_groups(self, query: Array, search: Search, path: str, limit: int) -> list[Group]:
        """The ``search.k`` best groups of rows with one value at ``path``, each with its ``limit``
        best. Not with an ``offset``.

        Groups come by their best hit. A row without the field is a group of its own. query:
        float32 [dim].
        """

        def best(asked: Search) -> Hits:
            return self.search(query[None], asked).hits[0]

        return self.grouped(best, search, path, limit)

    def grouped(
        self, best: Callable[[Search], Hits], search: Search, path: str, limit: int
    ) -> list[Group]:
        """As ``search_groups``, of any search: ``best`` answers what is asked for."""

        def passing(tree: Node | None, want: int) -> Hits:
            return best(replace(search, tree=tree, k=want))

        def value_at(row: int) -> Any:
            return self.metadata.value_at(row, path, self.data.document)

        return row_groups.search_groups(passing, value_at, search.tree, search.k, path, limit)

    def audit(self, queries: Array, search: Search) -> float:
        """Recall@k: the part of the exact answers that searches as they are find, 0 to 1.

        A row that scores as well as the last of the exact ones counts: which of them is found
        makes no difference. queries: float32 [n, dim].
        """
        found = self.search(queries, search).hits
        exact = self.search(queries, replace(search, exact=True)).hits
        wanted = sum(len(each) for each in exact)
        good = sum(
            int((mine.scores >= best.scores[-1]).sum())
            for mine, best in zip(found, exact, strict=True)
            if len(best)
        )
        return good / wanted if wanted else 1.0

    def scroll(
        self,
        after_row: int = -1,
        limit: int = 100,
        tree: Node | None = None,
        namespace: str | None = None,
    ) -> list[StoredRow]:
        """Visible rows that pass, in the order they were written, behind row ``after_row``."""
        words = self.bitmap(tree, namespace)
        if words is None:
            rows: Any = range(after_row + 1, min(after_row + 1 + limit, self.data.count))
        else:
            numbers = bitmaps.row_numbers(words)
            rows = numbers[np.searchsorted(numbers, after_row + 1) :][:limit].tolist()
        return [self.stored(row) for row in rows]

    def ids_matching(
        self, tree: Node | None, *, limit: int | None = None, namespace: str | None = None
    ) -> list[str]:
        """The ids of the visible rows that pass, oldest row first."""
        words = self.bitmap(tree, namespace)
        rows = np.arange(self.data.count) if words is None else bitmaps.row_numbers(words)
        return self.ids.ids_at(rows[:limit].tolist())

    def project(
        self, most: int, tree: Node | None = None, namespace: str | None = None
    ) -> Projection:
        """At most ``most`` of the visible rows that pass, each as likely, as points of a plane.
        Raises Damaged."""
        key = most, _bitmap_key(_within(namespace, tree))
        known = self._projections.get(key)
        if known is not None:
            return known
        words = self.bitmap(tree, namespace)
        passing = np.arange(self.data.count) if words is None else bitmaps.row_numbers(words)
        rows = sample(passing, most)
        self.data.check(rows.tolist())
        points, explained = project(self.data.prepared(rows)[:, : self.data.dim])
        made = Projection(rows, points, explained, len(passing))
        if len(self._projections) >= PROJECTIONS_MAX:
            self._projections.clear()
        self._projections[key] = made
        return made

    def statistics(self) -> Statistics:
        """Numbers for people."""
        data = self.data
        return Statistics(
            self.live_count,
            self.hidden.count,
            data.count - self.indexed_rows,
            data.count * data.row_bytes + data.blob_bytes + data.text_bytes,
            self.index.nbytes,
            self.index.precision if self.index.size else "none",
        )

    def _source(self, tree: Node | None, namespace: str | None) -> Source:
        allow = self.bitmap(tree, namespace)
        allowed = self.data.count if allow is None else bitmaps.count(allow)
        return Source(self.data, self.ids, self.kernels, self.index, allow, allowed)


def _within(namespace: str | None, tree: Node | None) -> Node | None:
    if namespace is None:
        return tree
    inside = In(NAMESPACE_FIELD, (namespace,))
    return inside if tree is None else And((inside, tree))


def _bitmap_key(tree: Node | None) -> str:
    # By its text, since 1 and true are equal keys in Python.
    return repr(tree)
