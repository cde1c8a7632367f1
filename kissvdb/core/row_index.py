"""Where rows meet the kernels: scans, the graph of a collection, and its codes.

Nothing else in this package imports compiled kernels. They come from a disk cache; until they are
loaded, searches are exact and in numpy, and no graph grows.
"""

from collections import defaultdict, deque
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.bitmaps import Words
from kissvdb.core.row_body import Body, codes_in
from kissvdb.core.row_spec import CollectionSpec
from kissvdb.core.row_store import RowData, Space
from kissvdb.kernels import plain
from kissvdb.kernels.arrays import (
    METRICS,
    POOL_PADDING,
    Codes,
    Graph,
    Scratch,
    new_scratch,
)

Array = npt.NDArray[Any]
Answer = tuple[Array, Array]
"""Row numbers int64 [queries, k] and scores float32 [queries, k], best first; -1, -inf for none."""

TRAINING_ROWS_MAX = 4096
AUTO_NONE_DIM_MAX, AUTO_Q8_DIM_MAX = 2, 11
RETRAINING_FACTOR = 4
"""Codebooks are trained anew, and all rows coded anew, when there are so many times more rows: the
first rows of a collection may be unlike the rest. Coding is a hundredth of the work of linking."""
_NO_BITMAP = np.zeros(0, np.uint64)
_POOL_ENTRIES_MIN = 4096


def first_precision(spec: CollectionSpec) -> str:
    """What a new body walks by. Few numbers say too little in 4 bits each: recall@10 of random
    vectors was 0.35 with 3 numbers, 0.95 with 6, 0.99 from 8 on; in 8 bits 1.0 from 3 on."""
    if spec.quantization != "auto":
        return spec.quantization
    if spec.dim <= AUTO_NONE_DIM_MAX:
        return "none"
    return "q8" if spec.dim <= AUTO_Q8_DIM_MAX else "q4"


class Kernels:
    """The compiled code, and its working memory; shared by all collections, any thread."""

    def __init__(self, build_threads: int = 1) -> None:
        """``build_threads``: on how many a graph grows. It is the same graph for any number."""
        self._build_threads = build_threads
        self._compiled: Any = None
        self._scratches: defaultdict[tuple[int, int], deque[Scratch]] = defaultdict(deque)

    @property
    def ready(self) -> bool:
        """Whether compiled code is loaded."""
        return self._compiled is not None

    def load(self) -> None:
        """Load the compiled code, or compile what the cache lacks; for a thread."""
        from kissvdb.kernels import filtered, insert, prepare, quantize, scan, search, warmup

        # All of it: no search is to wait for a compilation later.
        warmup.compile_all()
        self._compiled = _Compiled(filtered, insert, prepare, quantize, scan, search)

    def prepared(self, queries: Array, metric: str) -> Array:
        """Queries [n, dim] in the form of the rows they meet: float32 [n, dim padded to 16]."""
        if not self.ready:
            return plain.prepare(queries, METRICS[metric])
        # Compiled code is of one type of array, which a read-only one is not.
        queries = np.require(queries, np.float32, ("C_CONTIGUOUS", "WRITEABLE"))
        rows: Array = self._compiled.prepare.prepare(queries, METRICS[metric])
        return rows

    def scan_is_cheaper(self, body: Body, allowed: int, ef: int) -> bool:
        """Whether to scan the codes of the allowed indexed rows rather than to walk the graph."""
        row_bytes = body.walk.rows.strides[0]
        cheaper: bool = self._compiled.filtered.scan_is_cheaper(allowed, body.size, ef, row_bytes)
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
        scan = self._compiled.scan.scan_rows if self.ready else plain.scan
        base, chosen = first, _NO_BITMAP
        if allow is not None:
            # A bitmap can be cut between words only.
            base, chosen = first & ~63, allow[first >> 6 : (stop + 63) >> 6]
            if base < first:
                chosen = chosen.copy()
                chosen[0] &= ~np.uint64(0) << np.uint64(first - base)
        rows, scores = scan(vectors[base:], stop - base, METRICS[metric], queries, k, chosen)
        if base:
            rows[rows >= 0] += base
        return rows, scores

    def scan_codes(
        self,
        body: Body,
        data: RowData,
        queries: Array,
        k: int,
        depth: int,
        allow: Words | None,
        *,
        sure: int | None = None,
    ) -> Answer:
        """The k best of the indexed rows whose codes are nearest: of ``depth`` at least, and of
        all that may be among the ``sure`` best (k if None) for all that their codes say."""
        metric = METRICS[data.metric]
        chosen = _NO_BITMAP if allow is None else allow
        scratch = self._take_scratch(body.graph, data.dim, max(k, depth))
        answer: Answer = self._compiled.scan.scan_codes(
            body.walk,
            data.vectors,
            body.size,
            metric,
            queries,
            k,
            depth,
            scratch,
            chosen,
            sure=sure,
        )
        self._give_back(scratch, body.graph, data.dim)
        return answer

    def search_graph(
        self,
        body: Body,
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
        metric, graph, compiled = METRICS[data.metric], body.graph, self._compiled
        ef = max(ef, k)
        if allow is None:
            scratch = self._take_scratch(graph, data.dim, ef)
            answer: Answer = compiled.search.search(
                graph,
                body.walk,
                data.vectors,
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
            scratch = self._take_scratch(graph, data.dim, max(ef, min(reach, graph.size)))
            answer = compiled.filtered.search_filtered(
                graph,
                body.walk,
                data.vectors,
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

    def grow(
        self,
        body: Body | None,
        spec: CollectionSpec,
        data: RowData,
        last: int,
        space: Space,
        *,
        training_rows: int | None = None,
        precision: str | None = None,
    ) -> Body:
        """The body with the rows up to ``last``; for one thread at a time.

        Codes lie in ``space``. ``training_rows``: how many rows a new body's codebooks are to be
        trained on a sample of, ``last`` if None. ``precision``: a new body's, if not the spec's.
        """
        if body is None:
            graph = self._compiled.insert.new_graph(spec.m)
            if precision is None:
                precision = first_precision(spec)
            body = self._trained(spec, data, training_rows or last, graph, precision)
        elif last >= RETRAINING_FACTOR * body.trained_rows and body.precision != "none":
            body = self._trained(spec, data, last, body.graph, body.precision)
        build = self._encoded(body.build, body, data, last, space)
        walk = build
        if body.walk.rows.dtype != body.build.rows.dtype:
            walk = self._encoded(body.walk, body, data, last, space)
        capacity, links_max = build.rows.shape[0], body.graph.links.shape[1]
        # Building is one thread's business, so these are not kept for searches.
        scratches = [
            new_scratch(capacity, spec.ef_construction, links_max, spec.dim)
            for _ in range(self._build_threads)
        ]
        graph = self._compiled.insert.insert(
            body.graph, build, METRICS[spec.metric], last, spec.ef_construction, scratches
        )
        return Body(graph, build, walk, body.precision, body.trained_rows)

    def refined(self, body: Body, data: RowData) -> Body:
        """The same graph, walked by the next finer form of the rows: int8, then float32."""
        if body.precision == "q4":
            return attrs.evolve(body, walk=body.build, precision="q8")
        none = self._compiled.quantize.float32_codes(data.vectors[:0], METRICS[data.metric])
        walk = self._float32_codes(none, data, 0, body.size)
        return attrs.evolve(body, walk=walk, precision="none")

    def _trained(
        self,
        spec: CollectionSpec,
        data: RowData,
        last: int,
        graph: Graph,
        precision: str,
    ) -> Body:
        """A body with a graph and new codebooks, no row encoded."""
        quantize, metric = self._compiled.quantize, METRICS[spec.metric]
        if precision == "none":
            codes = quantize.float32_codes(data.vectors[:0], metric)
            return Body(graph, codes, codes, precision, 0)
        sample = data.vectors[: last : -(-last // TRAINING_ROWS_MAX)]
        build = walk = quantize.int8_codes(0, quantize.train_int8(sample, metric, spec.dim))
        if precision == "q4":
            walk = quantize.int4_codes(0, quantize.train_int4(sample, metric, spec.dim))
        return Body(graph, build, walk, precision, last)

    def _encoded(self, codes: Codes, body: Body, data: RowData, last: int, space: Space) -> Codes:
        """The codes with those of all rows up to ``last``, in larger arrays if need be."""
        first = min(body.size, codes.rows.shape[0])
        if codes.rows.dtype == np.float32:
            return self._float32_codes(codes, data, first, last)
        quantize, metric = self._compiled.quantize, METRICS[data.metric]
        kind = str(codes.rows.dtype)
        codes = codes_in(space, kind, last, body.trained_rows, codes.scale, codes.mean, data.metric)
        encode = quantize.encode_int8 if kind == "int8" else quantize.encode_int4
        encode(data.vectors, first, last, metric, codes)
        return codes

    def _float32_codes(self, before: Codes, data: RowData, first: int, last: int) -> Codes:
        quantize, metric = self._compiled.quantize, METRICS[data.metric]
        codes: Codes = quantize.float32_codes(data.vectors, metric)
        codes.aux[:first] = before.aux[:first]
        quantize.encode_float32(data.vectors, first, last, metric, codes)
        return codes

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


def exact_scores(vectors: Array, query: Array, metric: str) -> Array:
    """The scores, float32 [n], of prepared rows for one prepared query [width]."""
    return plain.scores(vectors, query, METRICS[metric])
