"""Search by looking at every row, or at every row of a bitmap.

A bitmap is uint64 [ceil(n / 64)]: row i is bit ``i % 64`` of word ``i // 64``. An empty one, shape
[0], stands for all rows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels import pool as pools
from kissvdb.kernels.arrays import METRIC_BITS, POOL_PADDING, Codes, Query, Scratch
from kissvdb.kernels.codes.distance import float_key, measure
from kissvdb.kernels.codes.quantize import own_key, prepare_query
from kissvdb.kernels.exact import LANES, answer, farness
from kissvdb.kernels.graph.search import new_answer, no_answer
from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.rescore import rescore

Array = NDArray[Any]

#: Ids that a scan of codes gathers before it measures them.
BATCH = 64


@helper
def _word(allow: Array, word: Number, visible: Number) -> Number:
    """The rows of one bitmap word that are below ``visible``."""
    bits: Number = np.uint64(0xFFFFFFFFFFFFFFFF)
    if allow.size > 0:
        bits = allow[word]
    beyond = (word + 1) * 64 - visible
    if beyond > 0:
        bits &= np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(beyond)
    return np.int64(bits)


@kernel
def _scan_rows(
    rows: Array,
    visible: Number,
    metric: Number,
    queries: Array,
    k: Number,
    allow: Array,
    results: Array,
    ids: Array,
    scores: Array,
) -> None:
    for j in range(queries.shape[0]):
        pools.clear(results, k)
        for word in range((visible + 63) // 64):
            bits = _word(allow, word, visible)
            while bits != 0:
                row = word * 64 + pools.lowest_bit(bits)
                bits &= bits - 1
                far = farness(rows, row, queries, j, metric)
                pools.offer(results, k, float_key(far), row)
        answer(results, k, ids[j], scores[j])


@kernel
def _scan_codes(
    codes: Codes,
    rows: Array,
    visible: Number,
    metric: Number,
    queries: Array,
    k: Number,
    sure: Number,
    depth: Number,
    allow: Array,
    scratch: Scratch,
    ids: Array,
    scores: Array,
) -> None:
    pool, results = scratch.pool, scratch.results
    for j in range(queries.shape[0]):
        kind = metric & METRIC_BITS
        query = prepare_query(codes, kind, queries, j, scratch.query)
        own = own_key(codes, kind, queries, j, query)
        pools.clear(pool, depth)
        count = 0
        for word in range((visible + 63) // 64):
            bits = _word(allow, word, visible)
            while bits != 0:
                scratch.ids[count] = word * 64 + pools.lowest_bit(bits)
                bits &= bits - 1
                count += 1
                if count == BATCH:
                    _offer_batch(codes, scratch, count, query, depth)
                    count = 0
        if count > 0:
            _offer_batch(codes, scratch, count, query, depth)
        limit, cut = rescore(
            codes, rows, metric, queries, j, query, own, pool, 0, k, depth, results, k, sure
        )
        if cut:
            _rescan(codes, rows, visible, metric, queries, j, query, limit, k, allow, scratch)
        answer(results, k, ids[j], scores[j])


@helper
def _rescan(
    codes: Codes,
    rows: Array,
    visible: Number,
    metric: Number,
    queries: Array,
    at: Number,
    query: Query,
    limit: Number,
    k: Number,
    allow: Array,
    scratch: Scratch,
) -> None:
    """Fill ``scratch.results`` with the k best by exact score of all rows whose keys are not
    beyond the limit."""
    pools.clear(scratch.results, k)
    count = 0
    for word in range((visible + 63) // 64):
        bits = _word(allow, word, visible)
        while bits != 0:
            scratch.ids[count] = word * 64 + pools.lowest_bit(bits)
            bits &= bits - 1
            count += 1
            if count == BATCH:
                _score_batch(codes, rows, metric, queries, at, query, limit, k, count, scratch)
                count = 0
    if count > 0:
        _score_batch(codes, rows, metric, queries, at, query, limit, k, count, scratch)


@helper
def _score_batch(
    codes: Codes,
    rows: Array,
    metric: Number,
    queries: Array,
    at: Number,
    query: Query,
    limit: Number,
    k: Number,
    count: Number,
    scratch: Scratch,
) -> None:
    measure(codes, scratch.ids, count, query, scratch)
    near = 0
    for i in range(count):
        # Stored even if it does not count: no branch to guess.
        scratch.chosen[near] = scratch.ids[i]
        near += scratch.keys[i] <= limit
    for i in range(near):
        pools.prefetch(rows, scratch.chosen[i], rows.shape[1] // LANES)
    for i in range(near):
        row = np.int64(scratch.chosen[i])
        far = farness(rows, row, queries, at, metric)
        pools.offer(scratch.results, k, float_key(far), row)


@helper
def _offer_batch(
    codes: Codes, scratch: Scratch, count: Number, query: Query, depth: Number
) -> None:
    pool = scratch.pool
    measure(codes, scratch.ids, count, query, scratch)
    for base in range(0, count, 16):
        near = pools.keys_at_most(scratch.keys, base, pools.entry_key(pool[depth - 1]))
        near &= (1 << min(count - base, 16)) - 1
        while near != 0:
            i = base + pools.lowest_bit(near)
            near &= near - 1
            pools.offer(pool, depth, scratch.keys[i], scratch.ids[i])


NO_BITMAP = np.zeros(0, dtype=np.uint64)


def scan_rows(
    rows: Array, visible: int, metric: int, queries: Array, k: int, allow: Array = NO_BITMAP
) -> tuple[Array, Array]:
    """Exact search: ids int64 [queries, k] and scores float32, best first, ties by lower id.

    rows: float32 [n, width] as ``prepare`` makes them; only those below ``visible`` and, if
    ``allow`` is not empty, in that bitmap, are looked at. queries: float32 [queries, width].
    Places without a row hold id -1 and score -inf. ``exact`` defines the score to the bit.
    """
    if k == 0 or visible == 0:
        return no_answer(queries.shape[0], k)
    ids, scores = new_answer(queries.shape[0], k)
    results = np.empty(k + POOL_PADDING, dtype=np.uint64)
    _scan_rows(rows, visible, metric, queries, k, allow, results, ids, scores)
    return ids, scores


def scan_codes(
    codes: Codes,
    rows: Array,
    visible: int,
    metric: int,
    queries: Array,
    k: int,
    depth: int,
    scratch: Scratch,
    allow: Array = NO_BITMAP,
    *,
    sure: int | None = None,
) -> tuple[Array, Array]:
    """Search by a scan of codes, then exact scores of the k nearest of them at least, and of all
    that may be among the ``sure`` (k) best for all that the codes' error says.

    depth: how many are kept of one scan; if more may be among the best, the codes are scanned
    again. As ``scan_rows``. A row equal to the query is never missed, another one hardly ever (see
    ``rescore``). depth and k must fit the scratch's pools; a depth below k counts as k.
    """
    depth = max(depth, k)
    if depth + POOL_PADDING > scratch.pool.shape[0]:
        raise ValueError(f"depth {depth} needs a scratch with pool_max {depth} at least")
    if k == 0 or visible == 0:
        return no_answer(queries.shape[0], k)
    ids, scores = new_answer(queries.shape[0], k)
    sure = k if sure is None else min(sure, k)
    _scan_codes(codes, rows, visible, metric, queries, k, sure, depth, allow, scratch, ids, scores)
    return ids, scores
