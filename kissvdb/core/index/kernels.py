"""Where rows meet the compiled kernels: scans, and searches of a graph.

Nothing outside of this folder knows compiled kernels. They come from a disk cache; until they are
loaded, searches are exact and in numpy, and no graph grows.
"""

from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.bitmaps import Words
from kissvdb.core.index.index import Answer
from kissvdb.core.store.space import RowData
from kissvdb.kernels import plain, threads
from kissvdb.kernels.arrays import (
    HALVES,
    METRICS,
    POOL_PADDING,
    Codes,
    Graph,
    Scratch,
    new_scratch,
)

if TYPE_CHECKING:
    from kissvdb.core.index.ivf_body import Body

Array = npt.NDArray[Any]
_NO_BITMAP = np.zeros(0, np.uint64)
_POOL_ENTRIES_MIN = 4096
LIST_POOL_SHARE, LIST_POOL_MORE = 2, 40
"""Of lists so many times more rows are kept than are scored at least: to read lists again, for more
rows that may be among the best, costs more."""
_DECODED_ROWS = 1 << 16


class Kernels:
    """The compiled code, and its working memory; shared by all collections, any thread."""

    def __init__(self, build_threads: int = 1) -> None:
        """``build_threads``: on how many a graph grows. It is the same graph for any number."""
        self.build_threads = build_threads
        self.compiled: Any = None
        self.is_loading = False
        """Compiled code will be there in a moment: it need not be made first."""
        self.text: Any = None
        """Compiled searches of texts; None until they are loaded."""
        self.json: Any = None
        """Compiled JSON, in and out; None until it is loaded."""
        self.documents: Any = None
        """What takes many documents apart; None until it is loaded."""
        self.ready_searches: Any = None
        """Compiled searches of which all is known but the vector; None until they are loaded."""
        self._scratches: defaultdict[tuple[int, int], deque[Scratch]] = defaultdict(deque)
        self._list_scratches: defaultdict[int, deque[Scratch]] = defaultdict(deque)

    @property
    def ready(self) -> bool:
        """Whether compiled code is loaded."""
        return self.compiled is not None

    def load(self) -> None:
        """Load the compiled code, or compile what the cache lacks; for a thread."""
        from kissvdb.core.metadata import compiled as documents
        from kissvdb.core.numbers import compiled as json
        from kissvdb.core.numbers import ready
        from kissvdb.core.postings import compiled as text
        from kissvdb.kernels import scan, warmup
        from kissvdb.kernels.codes import prepare, quantize
        from kissvdb.kernels.graph import filtered, insert, search
        from kissvdb.kernels.ivf import search as lists

        # All of it: no search is to wait for a compilation later.
        warmup.compile_all()
        self.compiled = _Compiled(filtered, insert, prepare, quantize, scan, search, lists)
        self.text = text
        self.json = json
        self.documents = documents
        self.ready_searches = ready

    def threads(self) -> ThreadPoolExecutor:
        """Threads to build on, to be used in a ``with`` block."""
        return threads.pool(self.build_threads)

    def prepared(self, queries: Array, metric: str) -> Array:
        """Queries [n, dim] in the form of the rows they meet: float32 [n, dim padded to 16]."""
        if not self.ready:
            return plain.prepare(queries, METRICS[metric])
        # Compiled code is of one type of array, which a read-only one is not.
        queries = np.require(queries, np.float32, ("C_CONTIGUOUS", "WRITEABLE"))
        rows: Array = self.compiled.prepare.prepare(queries, METRICS[metric])
        return rows

    def scan_is_cheaper(self, allowed: int, size: int, ef: int, row_bytes: int) -> bool:
        """Whether to scan the codes of the allowed of ``size`` rows rather than to walk a graph."""
        cheaper: bool = self.compiled.filtered.scan_is_cheaper(allowed, size, ef, row_bytes)
        return cheaper

    def scan_rows(
        self,
        vectors: Array,
        metric: str,
        queries: Array,
        k: int,
        first: int,
        stop: int,
        allow: Words | None,
    ) -> Answer:
        """The k best rows of ``first`` to ``stop - 1``, exactly; ties by lower row.

        queries: float32 [n, width], prepared as ``vectors`` are. ``allow``: a bitmap of all rows
        up to ``stop``.
        """
        base, chosen = tail_of(first, stop, allow)
        if self.ready:
            stored, number = as_kernels_take_them(vectors[base:], metric)
            scan = self.compiled.scan.scan_rows
            rows, scores = scan(stored, stop - base, number, queries, k, chosen)
        else:
            rows, scores = _scan_plainly(vectors[base:], stop - base, metric, queries, k, chosen)
        if base:
            rows[rows >= 0] += base
        return rows, scores

    def scan_codes(
        self,
        graph: Graph,
        codes: Codes,
        data: RowData,
        queries: Array,
        k: int,
        depth: int,
        allow: Words | None,
        *,
        sure: int | None = None,
    ) -> Answer:
        """The k best of the graph's rows whose codes are nearest: of ``depth`` at least, and of
        all that may be among the ``sure`` best (k if None) for all that their codes say."""
        vectors, metric = as_kernels_take_them(data.vectors, data.metric)
        chosen = _NO_BITMAP if allow is None else allow
        scratch = self._take_scratch(graph, data.dim, max(k, depth))
        answer: Answer = self.compiled.scan.scan_codes(
            codes, vectors, graph.size, metric, queries, k, depth, scratch, chosen, sure=sure
        )
        self._give_back(scratch, graph, data.dim)
        return answer

    def search_graph(
        self,
        graph: Graph,
        codes: Codes,
        data: RowData,
        queries: Array,
        k: int,
        ef: int,
        depth: int,
        allow: Words | None = None,
        allowed: int = 0,
        *,
        sure: int | None = None,
        cut: Array | None = None,
    ) -> Answer:
        """The k best rows a walk of the graph finds, among those of ``allow`` if it is given.

        ``allowed``: how many indexed rows these are. ``cut``: bool [queries], set where more than
        ``ef`` rows may be among the ``sure`` best (k if None) for all that their codes say.
        """
        vectors, metric = as_kernels_take_them(data.vectors, data.metric)
        compiled = self.compiled
        ef = max(ef, k)
        if allow is None:
            scratch = self._take_scratch(graph, data.dim, compiled.search.room(k, ef))
            answer: Answer = compiled.search.search(
                graph,
                codes,
                vectors,
                metric,
                queries,
                k,
                ef,
                depth,
                scratch,
                sure=sure,
                cut=cut,
            )
        else:
            reach = compiled.filtered.REACH * ef * graph.size // max(allowed, 1)
            reach = max(compiled.search.room(k, ef), min(reach, graph.size))
            scratch = self._take_scratch(graph, data.dim, reach)
            answer = compiled.filtered.search_filtered(
                graph,
                codes,
                vectors,
                metric,
                queries,
                k,
                ef,
                depth,
                scratch,
                allow,
                allowed,
                sure=sure,
                cut=cut,
            )
        self._give_back(scratch, graph, data.dim)
        return answer

    def search_lists(
        self,
        body: "Body",
        data: RowData,
        queries: Array,
        k: int,
        nprobe: int,
        depth: int,
        allow: Words | None = None,
        *,
        sure: int,
        by_signs: bool = True,
    ) -> tuple[Array, Array, Array]:
        """The k best rows of the ``nprobe`` lists nearest to each query, among those of ``allow``
        if it is given; of all lists, if there are no more. ``by_signs``: if there are signs. Also,
        int64 [queries], how many of the ``depth`` nearest by codes came from the second half of the
        lists."""
        metric, lists = METRICS[data.metric], self.compiled.lists
        chosen = _NO_BITMAP if allow is None else allow
        count = len(body.centroids)
        room = LIST_POOL_SHARE * max(k, depth) + LIST_POOL_MORE
        entries = max(min(nprobe, count), room)
        try:
            scratch = self._list_scratches[data.dim].pop()
        except IndexError:
            scratch = None
        if scratch is None or scratch.pool.shape[0] < entries + POOL_PADDING:
            scratch = lists.scratch_for(max(entries, _POOL_ENTRIES_MIN), data.dim)
        if nprobe < count:
            probes = lists.nearest_lists(body.coarse, metric, queries, nprobe, scratch)
        else:
            probes = np.arange(count, dtype=np.int32)[None]
        answer: tuple[Array, Array, Array] = lists.scan_lists(
            body.lists,
            body.codes,
            body.lengths,
            data.vectors,
            metric,
            queries,
            probes,
            k,
            depth,
            scratch,
            chosen,
            sure=sure,
            room=room,
            signs=body.signs if by_signs else None,
        )
        self._list_scratches[data.dim].append(scratch)
        return answer

    def _take_scratch(self, graph: Graph, dim: int, entries: int) -> Scratch:
        """Working memory for one search, from what others gave back.

        After an error it is not given back: what is in there is not known.
        """
        links_max = graph.links.shape[1]
        try:
            scratch = self._scratches[links_max, dim].pop()
        except IndexError:
            rows, room = 0, _POOL_ENTRIES_MIN
        else:
            rows, room = scratch.stamps.shape[0], scratch.pool.shape[0] - POOL_PADDING
            if rows >= graph.size and room >= entries:
                return scratch
        return new_scratch(max(graph.links.shape[0], rows), max(entries, room), links_max, dim)

    def _give_back(self, scratch: Scratch, graph: Graph, dim: int) -> None:
        self._scratches[graph.links.shape[1], dim].append(scratch)


@attrs.frozen
class _Compiled:
    filtered: Any
    insert: Any
    prepare: Any
    quantize: Any
    scan: Any
    search: Any
    lists: Any


def tail_of(first: int, stop: int, allow: Words | None) -> tuple[int, Array]:
    """Where a scan of the rows from ``first`` to ``stop - 1`` begins, and the bitmap of those from
    there on; empty for all. A bitmap can be cut between words only."""
    if allow is None:
        return first, _NO_BITMAP
    base, chosen = first & ~63, allow[first >> 6 : (stop + 63) >> 6]
    if base < first:
        chosen = chosen.copy()
        chosen[0] &= ~np.uint64(0) << np.uint64(first - base)
    return base, chosen


def as_kernels_take_them(vectors: Array, metric: str) -> tuple[Array, int]:
    """Stored vectors and their metric: float16 are given as float32 of the same bytes."""
    if vectors.dtype == np.float16:
        return vectors.view(np.float32), METRICS[metric] | HALVES
    return vectors, METRICS[metric]


def _scan_plainly(
    vectors: Array, stop: int, metric: str, queries: Array, k: int, allow: Array
) -> Answer:
    """``plain.scan``; of float16 some rows at a time, for it takes float32."""
    number = METRICS[metric]
    if vectors.dtype != np.float16:
        return plain.scan(vectors, stop, number, queries, k, allow)
    width = queries.shape[1]
    rows: Array = np.empty((len(queries), 0), np.int64)
    scores: Array = np.empty((len(queries), 0), np.float32)
    for first in range(0, max(stop, 1), _DECODED_ROWS):
        last = min(first + _DECODED_ROWS, stop)
        some = vectors[first:last, :width].astype(np.float32)
        chosen = allow[first >> 6 : (last + 63) >> 6] if allow.size else allow
        more, their = plain.scan(some, last - first, number, queries, k, chosen)
        more[more >= 0] += first
        rows, scores = np.hstack((rows, more)), np.hstack((scores, their))
        # Those found before have lower numbers, and stay in front of what ties with them.
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        rows = np.take_along_axis(rows, best, axis=1)
        scores = np.take_along_axis(scores, best, axis=1)
    return rows, scores


def exact_scores(vectors: Array, query: Array, metric: str) -> Array:
    """The scores, float32 [n], of prepared rows for one prepared query [width]."""
    return plain.scores(vectors, query, METRICS[metric])
