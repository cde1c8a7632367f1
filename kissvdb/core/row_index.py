"""Where rows meet the kernels: scans of rows.

Nothing else in this package imports compiled kernels. They come from a disk cache; until they are
loaded, searches are exact and in numpy, and give the same answers.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from kissvdb.core.bitmaps import Words
from kissvdb.kernels import plain
from kissvdb.kernels.arrays import METRICS

Array = npt.NDArray[Any]

_NO_BITMAP = np.zeros(0, np.uint64)


class Kernels:
    """The compiled code, shared by all collections of a process; any thread."""

    def __init__(self) -> None:
        self._scan: Any = None

    @property
    def ready(self) -> bool:
        """Whether compiled code is loaded."""
        return self._scan is not None

    def load(self) -> None:
        """Load the compiled code, or compile it if the cache lacks it; for a thread."""
        from kissvdb.kernels import scan

        self._scan = scan

    def scan_rows(
        self,
        vectors: Array,
        metric: str,
        queries: Array,
        k: int,
        first: int,
        stop: int,
        allow: Words | None,
    ) -> tuple[Array, Array]:
        """The k best rows of ``first`` to ``stop - 1``, exactly: (rows int64, scores float32).

        Both [queries, k], best first, ties by lower row; -1 and -inf where there are no more.
        queries: float32 [n, width], prepared as ``vectors`` are. ``allow``: a bitmap of all rows
        up to ``stop``.
        """
        word, inside = first >> 6, first & 63
        if allow is None and inside:
            allow = np.full((stop + 63) >> 6, ~np.uint64(0))
        if allow is not None:
            allow = allow[word : (stop + 63) >> 6]
            if inside:
                allow = allow.copy()
                allow[0] &= ~np.uint64(0) << np.uint64(inside)
        scan = plain.scan if self._scan is None else self._scan.scan_rows
        base = word << 6
        chosen = _NO_BITMAP if allow is None else allow
        rows, scores = scan(vectors[base:], stop - base, METRICS[metric], queries, k, chosen)
        if base:
            rows[rows >= 0] += base
        return rows, scores


def prepared(queries: Array, metric: str) -> Array:
    """Queries [n, dim] in the form of the rows they meet: float32 [n, dim padded to 16]."""
    return plain.prepare(queries, METRICS[metric])


def exact_scores(vectors: Array, query: Array, metric: str) -> Array:
    """The scores, float32 [n], of prepared rows for one prepared query [width]."""
    return plain.scores(vectors, query, METRICS[metric])
