"""Search of a graph: the nearest rows of its bottom layer.

A search ends sooner than a walk that fills a pool: where what is to be expanded next is so much
farther than the last of the rows wanted that it leads to no better one (distance-adaptive beam
search, arXiv:2505.15636). So a query among rows that are far apart costs less than one in a crowd.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels import pool as pools
from kissvdb.kernels.arrays import (
    DOT,
    L2,
    LIST_PADDING,
    METRIC_BITS,
    POOL_PADDING,
    Codes,
    Graph,
    Query,
    Scratch,
)
from kissvdb.kernels.codes.distance import float_key, key_float, measure
from kissvdb.kernels.codes.quantize import prepare_query
from kissvdb.kernels.exact import answer
from kissvdb.kernels.graph.walk import BEAM, LINK_LINES, descend, expand, next_epoch
from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.rescore import ALL, DEVIATIONS, NO_KEY, rescore

Array = NDArray[Any]

#: How much farther than the last of k rows a row may be that is still expanded: as far as ``ef``
#: rows lie if they fill so many dimensions. Of fewer these are fewer rows, half of ef at least; of
#: more, as embeddings of texts have (about 32), more.
DIMENSIONS = 24
#: But no more than so many times ``ef``, half as many where it is small: a pool has its cost.
MOST = 4
SMALL_EF = 32
#: So many more than twice the k rows are always kept: by short codes nearer ones look alike.
KEPT_SPARE = 8
#: Rows are kept so far behind the last of k, in deviations of the codes' error, and expanded as far
#: as one of them may be among the best: the rows scored exactly may show that codes are worse.
KEPT_DEVIATIONS = 2 * DEVIATIONS


@helper
def walk_near(
    graph: Graph,
    codes: Codes,
    metric: Number,
    query: Query,
    sure: Number,
    least: Number,
    kept: Number,
    most: Number,
    stretch: Number,
    start: Number,
    start_key: Number,
    scratch: Scratch,
) -> Number:
    """Leave the nearest rows of the bottom layer, ``most`` at most, in ``scratch.pool``.

    No row is expanded beyond ``stretch`` times the squared distance of the ``sure``-th, except the
    ``least`` nearest, and none is kept, except the ``kept`` nearest. Answers the greatest key of
    which all rows seen are in the pool, if it is not full.
    """
    pool = scratch.pool
    tie = query.tie
    pools.clear(pool, most)
    epoch = next_epoch(scratch)
    scratch.stamps[start] = epoch
    pool[0] = pools.make_entry(start_key, start ^ tie)
    used = 1
    cursor = 0
    limit = ALL
    border = ALL
    while cursor < most and (cursor < least or pools.entry_key(pool[cursor]) <= limit):
        count, cursor = expand(graph, codes, 0, epoch, tie, most, cursor, scratch)
        if count > 0:
            measure(codes, scratch.ids, count, query, scratch)
            used, cursor = _accept_near(graph, scratch, count, border, used, most, cursor, tie)
            limit, doubtful = bounds(pool[sure - 1], metric, query, stretch)
            border = border_of(pool, limit, doubtful, least, kept, most)
    return border


@helper
def bounds(entry: Number, metric: Number, query: Query, stretch: Number) -> Any:
    """How far to expand, and how far to keep what may be as near as an entry for all that codes
    say: two keys. ``stretch``: of squared distances; of 0 nothing is expanded, and all is kept."""
    if entry == pools.EMPTY:
        return ALL, ALL
    if stretch == 0.0:
        return NO_KEY, ALL
    far = np.float64(key_float(pools.entry_key(entry))) + query.shift
    # Of rows of length 1 the squared distance is 2 - 2 times their product.
    farther = far * stretch if metric == L2 else (1.0 + far) * stretch - 1.0
    deviation = np.sqrt(query.spread + query.slope * max(far, 0.0))
    limit = max(farther, far + DEVIATIONS * deviation)
    doubtful = max(limit, far + KEPT_DEVIATIONS * deviation)
    return float_key(np.float32(limit - query.shift)), float_key(np.float32(doubtful - query.shift))


@helper
def border_of(
    pool: Array, limit: Number, doubtful: Number, least: Number, kept: Number, most: Number
) -> Number:
    """The greatest key that is kept: of what is worth expanding, of the ``kept`` nearest, and of
    what is ``doubtful`` among as many as are in view. That of an empty place is the greatest."""
    view = min(doubtful, pools.entry_key(pool[min(2 * least, most) - 1]))
    return max(max(limit, view), pools.entry_key(pool[kept - 1]))


@helper
def _accept_near(
    graph: Graph,
    scratch: Scratch,
    count: Number,
    border: Number,
    used: Number,
    most: Number,
    cursor: Number,
    tie: Number,
) -> Any:
    """As ``_accept``, of rows up to ``border`` into a pool of which ``used`` places are taken;
    answers also how many then are."""
    pool = scratch.pool
    for base in range(0, count, 16):
        near = pools.keys_at_most(scratch.keys, base, min(border, pools.entry_key(pool[most - 1])))
        near &= (1 << min(count - base, 16)) - 1
        while near != 0:
            i = base + pools.lowest_bit(near)
            near &= near - 1
            entry = pools.make_entry(scratch.keys[i], scratch.ids[i] ^ tie)
            if entry < pool[most - 1]:
                used = min(used + 1, most)
                pools.prefetch(graph.links, scratch.ids[i], LINK_LINES)
                cursor = min(cursor, pools.insert(pool, used, entry))
    return used, cursor


@kernel
def _search(
    graph: Graph,
    codes: Codes,
    rows: Array,
    metric: Number,
    queries: Array,
    k: Number,
    sure: Number,
    least: Number,
    kept: Number,
    most: Number,
    stretch: Number,
    depth: Number,
    scratch: Scratch,
    ids: Array,
    scores: Array,
    cut: Array,
) -> None:
    space = metric & METRIC_BITS
    for j in range(queries.shape[0]):
        query = prepare_query(codes, space, queries, j, scratch.query)
        start, key = descend(graph, codes, query, 0, scratch)
        border = walk_near(
            graph, codes, space, query, sure, least, kept, most, stretch, start, key, scratch
        )
        pool, results = scratch.pool, scratch.results
        limit, full = rescore(
            codes, rows, metric, queries, j, query, NO_KEY, pool, 0, depth, most, results, k, sure
        )
        cut[j] = full or limit > border
        answer(results, k, ids[j], scores[j])


def search(
    graph: Graph,
    codes: Codes,
    rows: Array,
    metric: int,
    queries: Array,
    k: int,
    ef: int,
    depth: int,
    scratch: Scratch,
    *,
    sure: int | None = None,
    cut: Array | None = None,
) -> tuple[Array, Array]:
    """The k nearest rows of each query: ids int64 [queries, k] and exact scores float32.

    Best first, ties by lower id. graph: of ``graph.size`` visible rows. codes: of the form to walk
    by, not necessarily the one the graph was built with. rows: float32 [n, width] as
    ``prepare`` makes them. queries: float32 [queries, width], prepared alike. ef: how many rows
    are in view, about (see ``extent``), raised to k. depth: how many are given exact scores at
    least, between k and ef; as many more as the codes' error leaves a chance to be among the
    ``sure`` (k) best are too. cut: bool [queries], set where the view ended before that: a greater
    ef may find more. Places without a row hold id -1, score -inf.
    Raises ValueError if the scratch is too small for the graph, ef or m; with pools of
    ``room(k, ef)`` places it is large enough for the best answer.
    """
    ef = max(ef, k)
    sure, cut = sure_and_cut(k, queries.shape[0], sure, cut)
    check_scratch(graph, scratch, ef)
    least, kept, most, stretch = extent(metric, k, sure, ef, places(scratch))
    if graph.size == 0 or k == 0:
        return no_answer(queries.shape[0], k)
    ids, scores = new_answer(queries.shape[0], k)
    depth = min(max(depth, k), ef)
    _search(
        graph,
        codes,
        rows,
        metric,
        queries,
        k,
        sure,
        least,
        kept,
        most,
        stretch,
        depth,
        scratch,
        ids,
        scores,
        cut,
    )
    return ids, scores


def extent(metric: int, k: int, sure: int, ef: int, places: int) -> tuple[int, int, int, float]:
    """How far a walk for the k nearest rows goes that has ``ef`` in view: so many rows it expands
    at least, so many it keeps at least and at most, and so many times the squared distance of the
    ``sure``-th row it goes else. It keeps ``room(k, ef)`` at most, and what its pools have
    ``places`` for.

    Inner products of rows of any length are no distances: there it expands ``ef`` rows, and what it
    says last is 0.
    """
    kept, most = min(2 * k + KEPT_SPARE, places), min(room(k, ef), places)
    if metric & METRIC_BITS == DOT:
        return ef, max(ef, kept), max(ef, kept), 0.0
    stretch = float(max(ef / max(sure, 1), 1.0) ** (2 / DIMENSIONS))
    return max(k, ef // 2), kept, most, stretch


def room(k: int, ef: int) -> int:
    """How many places the pools of a walk for the k nearest rows with ``ef`` in view have."""
    times = min(max(MOST * ef // (2 * SMALL_EF), MOST // 2), MOST)
    return max(times * ef, 2 * k + KEPT_SPARE)


def places(scratch: Scratch) -> int:
    """How many places its pools have."""
    return int(scratch.pool.shape[0]) - POOL_PADDING


def sure_and_cut(k: int, queries: int, sure: int | None, cut: Array | None) -> tuple[int, Array]:
    """What ``search`` was given, or what stands for it."""
    if cut is None:
        cut = np.zeros(queries, dtype=np.bool_)
    return k if sure is None else min(sure, k), cut


def no_answer(count: int, k: int) -> tuple[Array, Array]:
    """An answer without rows: ids -1 and scores -inf."""
    ids, scores = new_answer(count, k)
    ids.fill(-1)
    scores.fill(-np.inf)
    return ids, scores


def new_answer(count: int, k: int) -> tuple[Array, Array]:
    """Room for an answer: ids int64 and scores float32, both [count, k]."""
    return np.empty((count, k), dtype=np.int64), np.empty((count, k), dtype=np.float32)


def check_scratch(graph: Graph, scratch: Scratch, entries: int) -> None:
    """Raise ValueError unless the scratch has room to search the graph with such a pool."""
    if scratch.stamps.shape[0] < graph.size:
        raise ValueError(f"a scratch for {scratch.stamps.shape[0]} rows, not {graph.size}")
    if scratch.pool.shape[0] < entries + POOL_PADDING:
        raise ValueError(f"a scratch whose pools have no room for {entries} entries")
    if scratch.ids.shape[0] < BEAM * graph.links.shape[1] + LIST_PADDING:
        raise ValueError(f"a scratch whose lists are too short for {graph.links.shape[1]} links")
