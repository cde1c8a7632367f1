"""The kernels' definitions in numpy alone: preparing vectors, and exact search without compiling.

``scan`` gives the same ids and the same bits of score as ``scan.scan_rows``; the server answers
with it while the kernels of a cold cache compile.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.arrays import COSINE, L2, aligned_zeros, padded

Array = NDArray[Any]

LANES = 16
#: The width of stored rows of float16 is a multiple of it: whole cache lines.
HALF_LANES = 32
#: A length is one as far as float32 can say: its vector stays as it is.
UNIT = 2.0**-22
CHUNK_ROWS = 4096


def _lane_sums(terms: Array) -> Array:
    """The sums of float64 [n, multiple of 16] along rows, in the order ``exact`` defines."""
    sums = np.zeros((terms.shape[0], LANES))
    for start in range(0, terms.shape[1], LANES):
        sums += terms[:, start : start + LANES]
    while sums.shape[1] > 1:
        half = sums.shape[1] // 2
        sums = sums[:, :half] + sums[:, half:]
    return sums[:, 0]


def prepare(vectors: Array, metric: int) -> Array:
    """Vectors as rows to store or to search with: float32 [n, dim padded to 16], aligned.

    vectors: [n, dim], finite. For cosine each is divided by its length, unless that is one as far
    as float32 can say; a zero vector stays zero, and so scores 0 against everything.
    """
    rows = aligned_zeros((vectors.shape[0], padded(vectors.shape[1], LANES)), np.float32)
    rows[:, : vectors.shape[1]] = vectors
    if metric == COSINE:
        for start in range(0, rows.shape[0], CHUNK_ROWS):
            wide = rows[start : start + CHUNK_ROWS].astype(np.float64)
            length = np.sqrt(_lane_sums(wide * wide))[:, None]
            np.divide(wide, length, out=wide, where=(length > 0) & (abs(length - 1.0) > UNIT))
            rows[start : start + CHUNK_ROWS] = wide
    return rows


def scores(rows: Array, query: Array, metric: int) -> Array:
    """The exact scores, float32 [n], of prepared rows for one prepared query [width]."""
    out = np.empty(rows.shape[0], dtype=np.float32)
    wide_query = query.astype(np.float64)
    for start in range(0, rows.shape[0], CHUNK_ROWS):
        wide = rows[start : start + CHUNK_ROWS].astype(np.float64)
        if metric == L2:
            wide -= wide_query
            out[start : start + CHUNK_ROWS] = -_lane_sums(wide * wide)
        else:
            out[start : start + CHUNK_ROWS] = _lane_sums(wide * wide_query)
    return out


def scan(
    rows: Array, visible: int, metric: int, queries: Array, k: int, allow: Array | None = None
) -> tuple[Array, Array]:
    """Exact search: ids int64 [queries, k] and scores float32, best first, ties by lower id.

    Arguments as in ``scan.scan_rows``. Places without a row hold id -1 and score -inf.
    """
    ids = np.full((queries.shape[0], k), -1, dtype=np.int64)
    found = np.full((queries.shape[0], k), -np.inf, dtype=np.float32)
    candidates: Array | None = None
    chosen = rows[:visible]
    if allow is not None and allow.size > 0:
        bits = np.unpackbits(allow.view(np.uint8), bitorder="little", count=visible)
        candidates = np.flatnonzero(bits)
        chosen = rows[candidates]
    for j, query in enumerate(queries):
        places = _near(chosen, query, k) if metric == COSINE else None
        score = scores(chosen if places is None else chosen[places], query, metric)
        # A stable sort keeps ids in order among equal scores.
        best = np.argsort(-score, kind="stable")[:k]
        places = best if places is None else places[best]
        ids[j, : best.size] = places if candidates is None else candidates[places]
        found[j, : best.size] = score[best]
    return ids, found


def _near(rows: Array, query: Array, k: int) -> Array:
    """The places, ascending, of the unit rows that may be among the ``k`` nearest to a unit query.

    An inner product in float32, summed in any order, is off by at most ``width * u / (1 - width *
    u)``, u = 2**-24 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). So what
    is twice that below the k-th best, and as much again as scores are rounded, is not among them.
    """
    if len(rows) <= k:
        return np.arange(len(rows))
    rough = rows @ query
    # Only damaged rows have no score. They must not take the places of others.
    rough[np.isnan(rough)] = -np.inf
    margin = 2 * (1.01 * rows.shape[1] + 2) * 2.0**-24
    return np.flatnonzero(rough >= np.partition(rough, len(rough) - k)[len(rough) - k] - margin)
