"""Exact scores for the rows that codes have found, and how far the codes may be wrong.

A code is off by what rounding took from it. For a query the error of a distance has a deviation
that the codebook's steps tell (``Query.spread``, ``Query.slope``), and one that the rows scored
exactly show: it counts what was clipped as well, and that the rows found first are those whose
codes flatter them. Whatever is not ``DEVIATIONS`` of the greater one behind the worst of the rows
wanted may be nearer than it, and is scored too. A row equal to the query has the query's own code,
so a scan scores what is as near as that code (``own_key``): it passes no copy over, ever.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels import pool as pools
from kissvdb.kernels.arrays import Codes, Query
from kissvdb.kernels.codes.distance import TIMES_AUX, float_key, key_float
from kissvdb.kernels.exact import LANES, farness
from kissvdb.kernels.jit import Number, helper

Array = NDArray[Any]

#: How far behind the worst row wanted a code may be, in deviations of its error.
DEVIATIONS = 3.0
#: Rows whose first lines are asked for before the row in turn is scored, and how many lines: the
#: processor fetches the others ahead by itself. Most of a rescoring is waiting for rows.
AHEAD = 24
AHEAD_LINES = 4
ALL = np.uint32(0xFFFFFFFF)
NO_KEY = np.uint32(0)


@helper
def limit_of(
    query: Query, own: Number, results: Array, sure: Number, error: Number, longest: Number
) -> Number:
    """The greatest key (uint32) that a row among the ``sure`` nearest may have.

    results: the pool of the nearest by exact score. error: the mean square of the errors seen.
    longest: the greatest ``aux`` of rows that are measured by it (``TIMES_AUX``).
    """
    last = results[sure - 1]
    if last == pools.EMPTY:
        return ALL
    far = np.float64(key_float(pools.entry_key(last)))
    expected = query.spread + query.slope * max(far, 0.0)
    if query.form == TIMES_AUX:
        expected *= longest * longest
    margin = DEVIATIONS * np.sqrt(max(expected, error))
    return max(float_key(np.float32(far - query.shift + margin)), own)


@helper
def _score(
    codes: Codes,
    rows: Array,
    metric: Number,
    queries: Array,
    at: Number,
    query: Query,
    found: Array,
    tie: Number,
    first: Number,
    stop: Number,
    results: Array,
    k: Number,
) -> Any:
    """Put ``found[first:stop]`` into the pool ``results`` by exact score; no place is empty.

    Answers the sum of the squares of the codes' errors, and the greatest ``aux``.
    """
    lines = min(rows.shape[1] // LANES, AHEAD_LINES)
    for i in range(first, min(first + AHEAD, stop)):
        pools.prefetch(rows, pools.entry_row(found[i]) ^ tie, lines)
    squares = 0.0
    longest = 0.0
    for i in range(first, stop):
        if i + AHEAD < stop:
            pools.prefetch(rows, pools.entry_row(found[i + AHEAD]) ^ tie, lines)
        entry = found[i]
        row = pools.entry_row(entry) ^ tie
        far = farness(rows, row, queries, at, metric)
        pools.offer(results, k, float_key(far), row)
        error = np.float64(key_float(pools.entry_key(entry))) + query.shift - far
        squares += error * error
        if query.form == TIMES_AUX:
            longest = max(longest, np.float64(codes.aux[row]))
    return squares, longest


@helper
def rescore(
    codes: Codes,
    rows: Array,
    metric: Number,
    queries: Array,
    at: Number,
    query: Query,
    own: Number,
    found: Array,
    tie: Number,
    depth: Number,
    room: Number,
    results: Array,
    k: Number,
    sure: Number,
) -> Any:
    """Fill the pool ``results`` with the k best of ``found`` by exact score.

    found: a pool of ``room`` places by distance to ``query``, ids xored with ``tie``. own: the
    ``own_key`` of the query, or NO_KEY. depth: how many are scored at least; then as many as may be
    among the ``sure`` best. Answers the limit (see ``limit_of``), and whether the pool ended before
    it.
    """
    pools.clear(results, k)
    count = 0
    while count < depth and found[count] != pools.EMPTY:
        count += 1
    squares, longest = _score(
        codes, rows, metric, queries, at, query, found, tie, 0, count, results, k
    )
    error = squares / max(count, 1)
    limit = limit_of(query, own, results, sure, error, longest)
    stop = count
    while stop < room and found[stop] != pools.EMPTY and pools.entry_key(found[stop]) <= limit:
        stop += 1
    if stop > count:
        _score(codes, rows, metric, queries, at, query, found, tie, count, stop, results, k)
        limit = limit_of(query, own, results, sure, error, longest)
    last = found[room - 1]
    return limit, last != pools.EMPTY and pools.entry_key(last) <= limit
