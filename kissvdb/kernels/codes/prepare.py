"""Vectors as rows to store or to search with: padded and, for cosine, of length one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.arrays import COSINE, aligned_zeros, padded
from kissvdb.kernels.exact import LANES, sum_of_products
from kissvdb.kernels.jit import Number, kernel
from kissvdb.kernels.plain import UNIT

Array = NDArray[Any]

#: Fewer rows than this are queries: they are read at once and need not be aligned.
ALIGNED_ROWS_MIN = 64


@kernel
def _prepare(vectors: Array, metric: Number, rows: Array) -> None:
    for i in range(vectors.shape[0]):
        for j in range(vectors.shape[1]):
            rows[i, j] = vectors[i, j]
        if metric == COSINE:
            length = np.sqrt(sum_of_products(rows, i, rows, i))
            if length > 0.0 and abs(length - 1.0) > UNIT:
                for j in range(vectors.shape[1]):
                    rows[i, j] = np.float64(rows[i, j]) / length


def prepare(vectors: Array, metric: int) -> Array:
    """Float32 [n, dim padded to 16] of vectors [n, dim], the same bits as ``plain.prepare``.

    The numbers must be finite and, for l2, no greater than about 1e18, so that squares are too. For
    cosine each vector is divided by its length, unless that is one as far as float32 can say; a
    zero vector stays zero, and so scores 0 against everything.
    """
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    shape = (vectors.shape[0], padded(vectors.shape[1], LANES))
    if shape[0] < ALIGNED_ROWS_MIN:
        rows = np.zeros(shape, dtype=np.float32)
    else:
        rows = aligned_zeros(shape, np.float32)
    _prepare(vectors, metric, rows)
    return rows
