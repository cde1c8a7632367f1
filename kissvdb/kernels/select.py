"""Choosing the neighbours of a row: near ones, in different directions.

The heuristic of HNSW (arXiv:1603.09320, algorithm 4): candidates are taken nearest first, and one is
passed over if it is nearer to a row already chosen than to the row itself, since the way to it then
leads over the chosen one.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import pool as pools
from .arrays import DOT, L2, Codes, Scratch
from .distance import ADD_AUX, PLAIN, distance, dots, float_key
from .distance_int8 import BIAS_PER_SUM
from .jit import helper, overload

Array = NDArray[Any]


def row_terms(codes: Any, metric: int, row: int) -> Any:
    """The terms that make a coded row itself a query; for use in kernels. Not for 4-bit codes."""
    raise NotImplementedError("called in kernels only: the overload below is its body")


@overload(row_terms)
def _row_terms(codes: Any, metric: int, row: int) -> Any:
    def float32(codes: Any, metric: int, row: int) -> Any:
        return _terms(codes, metric, row, np.float32(1.0), np.int32(0))

    def int8(codes: Any, metric: int, row: int) -> Any:
        total = np.int32(0)
        if BIAS_PER_SUM != 0:
            for j in range(codes.rows.shape[1]):
                total = np.int32(total + np.int32(codes.rows[row, j]))
        unit = codes.scale[0] * codes.scale[0]
        return _terms(codes, metric, row, unit, np.int32(total * BIAS_PER_SUM))

    return {"float32": float32, "int8": int8}[str(codes.types[0].dtype)]


@helper
def _terms(codes: Codes, metric: int, row: int, unit: float, bias: int) -> Any:
    none = np.float32(0.0)
    if metric == L2:
        return ADD_AUX, np.float32(-2.0) * unit, codes.aux[row], np.float32(1.0), bias
    if metric == DOT:
        return ADD_AUX, -unit, none, -codes.aux[row], bias
    return PLAIN, -unit, none, none, bias


@helper
def _covered(
    codes: Codes, metric: int, candidate: int, key: int, count: int, scratch: Scratch
) -> bool:
    """Whether one of the ``count`` chosen rows is nearer to the candidate than ``key`` says."""
    chosen = scratch.chosen
    terms = row_terms(codes, metric, candidate)
    for i in range(count, count + 3):
        chosen[i] = chosen[count - 1]
    for start in range(0, count, 4):
        dots(codes.rows, chosen, start, codes.rows, candidate, terms[4], scratch.dots)
        for i in range(start, start + 4):
            if float_key(distance(codes, chosen[i], terms, scratch.dots[i])) < key:
                return True
    return False


@helper
def select(codes: Codes, metric: int, limit: int, most: int, scratch: Scratch) -> int:
    """Choose up to ``most`` of ``scratch.pool[:limit]`` into ``scratch.chosen``; answer how many."""
    count = 0
    for i in range(limit):
        entry = scratch.pool[i]
        if entry == pools.EMPTY or count == most:
            break
        row = pools.entry_row(entry)
        if count == 0 or not _covered(
            codes, metric, row, pools.entry_key(entry), count, scratch
        ):
            scratch.chosen[count] = row
            count += 1
    return count
