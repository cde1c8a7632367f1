"""Search of a graph for rows of a bitmap: a filter, or what tombstones have left.

Two pools: one to walk by, that takes every row, and one of the nearest allowed rows. The walk ends
as that of a search without a filter does, by the distances of allowed rows. Rows that are not
allowed still lead on to others, so the graph stays whole however much of it a filter or deletes
take away.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels import pool as pools
from kissvdb.kernels.arrays import METRIC_BITS, Codes, Graph, Query, Scratch
from kissvdb.kernels.codes.distance import measure
from kissvdb.kernels.codes.quantize import prepare_query
from kissvdb.kernels.exact import answer
from kissvdb.kernels.graph.search import (
    border_of,
    bounds,
    check_scratch,
    extent,
    new_answer,
    no_answer,
    places,
    sure_and_cut,
)
from kissvdb.kernels.graph.walk import LINK_LINES, descend, expand, next_epoch
from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.rescore import ALL, NO_KEY, rescore

Array = NDArray[Any]

#: The pool to walk by holds this many times the rows that ef allowed ones are expected among.
REACH = 3
#: Ids are xored with this in the pools, so that of equal rows the newest come first: a row that is
#: updated again and again with the same vector leaves a crowd of equal tombstones behind it.
NEWEST = 0x7FFFFFFF


@helper
def _allowed(allow: Array, row: Number) -> Number:
    word = allow[row >> 6]
    return (word >> np.uint64(row & 63)) & np.uint64(1) != 0


@helper
def _accept(
    graph: Graph,
    scratch: Scratch,
    allow: Array,
    count: Number,
    border: Number,
    reach: Number,
    most: Number,
    cursor: Number,
) -> Number:
    """Put the measured rows up to ``border`` into the pools they are near enough for; answer where
    to go on."""
    pool = scratch.pool
    results = scratch.results
    for base in range(0, count, 16):
        worst = min(pool[reach - 1], results[most - 1])
        near = pools.keys_at_most(scratch.keys, base, min(border, pools.entry_key(worst)))
        near &= (1 << min(count - base, 16)) - 1
        while near != 0:
            i = base + pools.lowest_bit(near)
            near &= near - 1
            row = scratch.ids[i]
            entry = pools.make_entry(scratch.keys[i], row ^ NEWEST)
            if entry < min(pool[reach - 1], results[most - 1]):
                pools.prefetch(graph.links, row, LINK_LINES)
                cursor = min(cursor, pools.insert(pool, reach, entry))
                if _allowed(allow, row):
                    pools.insert(results, most, entry)
    return cursor


@helper
def _walk(
    graph: Graph,
    codes: Codes,
    metric: Number,
    query: Query,
    allow: Array,
    reach: Number,
    sure: Number,
    least: Number,
    kept: Number,
    most: Number,
    stretch: Number,
    start: Number,
    start_key: Number,
    scratch: Scratch,
) -> Number:
    """As ``search.walk_near``, leaving the nearest allowed rows in ``scratch.results``."""
    pool = scratch.pool
    results = scratch.results
    pools.clear(pool, reach)
    pools.clear(results, most)
    epoch = next_epoch(scratch)
    scratch.stamps[start] = epoch
    pool[0] = pools.make_entry(start_key, start ^ NEWEST)
    if _allowed(allow, start):
        results[0] = pool[0]
    cursor = 0
    limit = ALL
    border = ALL
    while cursor < reach and pool[cursor] <= results[most - 1]:
        if pool[cursor] > results[least - 1] and pools.entry_key(pool[cursor]) > limit:
            break
        count, cursor = expand(graph, codes, 0, epoch, NEWEST, reach, cursor, scratch)
        if count > 0:
            measure(codes, scratch.ids, count, query, scratch)
            cursor = _accept(graph, scratch, allow, count, border, reach, most, cursor)
            limit, doubtful = bounds(results[sure - 1], metric, query, stretch)
            border = border_of(results, limit, doubtful, least, kept, most)
    return border


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
    allow: Array,
    reach: Number,
    scratch: Scratch,
    ids: Array,
    scores: Array,
    cut: Array,
) -> None:
    space = metric & METRIC_BITS
    for j in range(queries.shape[0]):
        query = prepare_query(codes, space, queries, j, scratch.query)
        start, key = descend(graph, codes, query, 0, scratch)
        border = _walk(
            graph,
            codes,
            space,
            query,
            allow,
            reach,
            sure,
            least,
            kept,
            most,
            stretch,
            start,
            key,
            scratch,
        )
        near, best = scratch.results, scratch.pool
        limit, full = rescore(
            codes, rows, metric, queries, j, query, NO_KEY, near, NEWEST, depth, most, best, k, sure
        )
        cut[j] = full or limit > border
        answer(best, k, ids[j], scores[j])


def search_filtered(
    graph: Graph,
    codes: Codes,
    rows: Array,
    metric: int,
    queries: Array,
    k: int,
    ef: int,
    depth: int,
    scratch: Scratch,
    allow: Array,
    allowed: int | None = None,
    *,
    sure: int | None = None,
    cut: Array | None = None,
) -> tuple[Array, Array]:
    """As ``search.search``, among the rows of a bitmap (uint64 [ceil(n / 64)], see ``scan``).

    allowed: how many rows below ``graph.size`` the bitmap has, counted here if not given. The pool
    to walk by has ``REACH * ef * graph.size / allowed`` places, as far as the scratch has room: too
    little costs recall at low selectivity, where ``scan`` is the better way anyway.
    """
    ef = max(ef, k)
    sure, cut = sure_and_cut(k, queries.shape[0], sure, cut)
    check_scratch(graph, scratch, ef)
    least, kept, most, stretch = extent(metric, k, sure, ef, places(scratch))
    if allow.shape[0] * 64 < graph.size:
        raise ValueError(f"a bitmap of {allow.shape[0]} words for {graph.size} rows")
    if allowed is None:
        allowed = count_allowed(allow, graph.size)
    if allowed == 0 or k == 0:
        return no_answer(queries.shape[0], k)
    ids, scores = new_answer(queries.shape[0], k)
    reach = max(most, min(REACH * ef * graph.size // allowed, places(scratch)))
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
        allow,
        reach,
        scratch,
        ids,
        scores,
        cut,
    )
    return ids, scores


def count_allowed(allow: Array, visible: int) -> int:
    """How many rows below ``visible`` a bitmap has."""
    whole, rest = divmod(visible, 64)
    count = int(np.bitwise_count(allow[:whole]).sum(dtype=np.int64))
    if rest:
        count += (int(allow[whole]) & ((1 << rest) - 1)).bit_count()
    return count


#: Nanoseconds to scan one byte of code, and to walk for one place of a pool through 64-byte lines
#: of code, measured on one server core (Zen 5). Only their ratio matters.
SCAN_NS_PER_BYTE = 0.024
WALK_NS_PER_EF = 330.0


def scan_is_cheaper(allowed: int, visible: int, ef: int, row_bytes: int) -> bool:
    """Whether ``scan.scan_codes`` of the allowed rows costs less than ``search_filtered``.

    row_bytes: of one coded row. A scan costs by the rows allowed; a walk by ef and, since it goes
    past the rows that are not allowed, by visible / allowed.
    """
    scan_ns = allowed * (row_bytes * SCAN_NS_PER_BYTE)
    return scan_ns * allowed <= WALK_NS_PER_EF * ef * visible
