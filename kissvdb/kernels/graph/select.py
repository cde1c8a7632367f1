"""Choosing the neighbours of a row: near ones, in different directions.

The heuristic of HNSW (arXiv:1603.09320, algorithm 4): candidates are taken nearest first, and one
is passed over if it is nearer to a row already chosen than to the row itself, since the way to it
then leads over the chosen one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels import pool as pools
from kissvdb.kernels.arrays import DOT, L2, Codes, Query, Scratch
from kissvdb.kernels.codes.distance import (
    ADD_AUX,
    PLAIN,
    TIMES_AUX,
    distance,
    dots,
    float_key,
    measure,
)
from kissvdb.kernels.codes.distance_int8 import BIAS_PER_SUM
from kissvdb.kernels.jit import Number, helper, overload

Array = NDArray[Any]


#: A row gets at least this part of its places filled, if there are candidates.
LEAST = 4


def row_query(codes: Any, metric: int, row: int) -> Any:
    """A coded row as a ``Query``; for use in kernels. Not for 4-bit codes."""
    raise NotImplementedError("called in kernels only: the overload below is its body")


@overload(row_query)
def _row_query(codes: Any, metric: int, row: int) -> Any:
    one = np.float32(1.0)
    none = np.float32(0.0)
    no_bias = np.int32(0)

    def float32(codes: Any, metric: int, row: int) -> Any:
        form, factor, offset = np.int64(PLAIN), -one, none
        if metric == L2:
            form, factor, offset = np.int64(ADD_AUX), np.float32(-2.0), codes.aux[row]
        return Query(
            codes.rows, row, form, factor, offset, one, no_bias, _tie_order(row), 0.0, 0.0, 0.0
        )

    def int8(codes: Any, metric: int, row: int) -> Any:
        total = np.int32(0)
        if BIAS_PER_SUM != 0:
            for j in range(codes.rows.shape[1]):
                total = np.int32(total + np.int32(codes.rows[row, j]))
        bias = np.int32(total * BIAS_PER_SUM)
        unit = codes.scale[0] * codes.scale[0]
        form, factor, offset, weight = np.int64(PLAIN), -unit, none, one
        if metric == L2:
            form, factor, offset = np.int64(ADD_AUX), np.float32(-2.0) * unit, codes.aux[row]
        elif metric == DOT:
            form, weight = np.int64(TIMES_AUX), codes.aux[row]
        return Query(
            codes.rows, row, form, factor, offset, weight, bias, _tie_order(row), 0.0, 0.0, 0.0
        )

    return {"float32": float32, "int8": int8}[str(codes.types[0].dtype)]


@helper
def _tie_order(row: Number) -> Number:
    """What ids are xored with, so that each row prefers others among rows equally near to it.

    Were the lowest ids everybody's choice, a thousand equal rows would all link to the same few
    and most could not be reached.
    """
    mixed = np.uint64(row + 1) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(0x7FFFFFFF))


@helper
def _covered(
    codes: Codes, metric: Number, candidate: Number, key: Number, count: Number, scratch: Scratch
) -> Number:
    """Whether one of the ``count`` chosen rows is nearer to the candidate than ``key`` says."""
    chosen = scratch.chosen
    query = row_query(codes, metric, candidate)
    for i in range(count, count + 3):
        chosen[i] = chosen[count - 1]
    for start in range(0, count, 4):
        dots(codes.rows, chosen, start, query.rows, query.row, query.bias, scratch.dots)
        for i in range(start, start + 4):
            if float_key(distance(codes, chosen[i], query, scratch.dots[i])) < key:
                return True
    return False


@helper
def select(
    codes: Codes, metric: Number, node: Query, limit: Number, most: Number, scratch: Scratch
) -> Number:
    """Choose up to ``most`` of ``scratch.pool[:limit]`` into ``scratch.chosen``; answer how many.

    The pool holds rows by their distance to ``node``, a row as a query. No more than half of
    the places go to rows that are equal to the node, or a crowd of equal rows would have no way
    out. If fewer than a quarter of the places are taken in the end, the nearest rows passed over
    fill them: in a tight cluster few directions are left, and its rows would be hard to find.
    """
    scratch.ids[0] = node.row
    measure(codes, scratch.ids, 1, node, scratch)
    equal_key = scratch.keys[0]
    equal_left = most // 2
    least = most // LEAST
    spare = scratch.ids
    spares = 0
    count = 0
    for i in range(limit):
        entry = scratch.pool[i]
        if entry == pools.EMPTY or count == most:
            break
        row = pools.entry_row(entry) ^ node.tie
        key = pools.entry_key(entry)
        if key <= equal_key:
            if equal_left == 0:
                continue
            equal_left -= 1
        if count == 0 or not _covered(codes, metric, row, key, count, scratch):
            scratch.chosen[count] = row
            count += 1
        elif spares < least:
            spare[spares] = row
            spares += 1
    for i in range(min(spares, least - count)):
        scratch.chosen[count] = spare[i]
        count += 1
    return count
