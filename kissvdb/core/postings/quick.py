"""Searches for plain words in one compiled call, from the text of the query to the best rows."""

import threading
from typing import Final

import numpy as np

from kissvdb.core.bitmaps import Words
from kissvdb.core.postings.segment import Array
from kissvdb.core.postings.state import State
from kissvdb.kernels.text import forward as scanning
from kissvdb.kernels.text import maxscore, memory
from kissvdb.kernels.text import quick as searching

_ALL_ROWS: Final = np.zeros(0, np.uint64)


class _Scratch(threading.local):
    """Working memory of one thread's searches: ints, reals, sieve, sums and touched."""

    def __init__(self) -> None:
        reals = np.empty(searching.REAL_LINES * searching.TERMS_MAX)
        sieve = np.zeros(scanning.SIEVE_WORDS, np.uint64)
        # Zeros again after every search.
        sums, touched = np.zeros(maxscore.WINDOW), np.zeros(maxscore.WINDOW // 64, np.uint64)
        self._segments = -1
        self._arrays = (np.empty(0, np.int64), reals, sieve, sums, touched)

    def room(self, segments: int) -> tuple[Array, ...]:
        """All of it, for a search of so many segments."""
        if segments > self._segments:
            lines = searching.INT_LINES + memory.LIST_COLUMNS * segments
            ints = np.empty(lines * searching.TERMS_MAX, np.int64)
            self._segments, self._arrays = segments, (ints, *self._arrays[1:])
        return self._arrays


_scratch: Final = _Scratch()


def top_of_words(
    state: State,
    words: bytes,
    fields: Array,
    weights: Array,
    k1: float,
    b: float,
    k: int,
    allow: Words | None,
) -> tuple[Array, Array] | None:
    """The rows (int64) and scores (float64) of the k best that have one of the words, as ``top``
    has them; None if it takes more to look the words up.

    words: ASCII, of which every run is looked for. fields: int64[F], numbers; weights: float64[F].
    """
    columns, parts, table, turns, totals, _ = state.for_words
    k = min(k, int(columns[searching.TAIL_FIRST] + columns[searching.TAIL_ROWS]))
    if not (k and words):
        return None
    scores, rows = np.empty(k), np.empty(k, np.int64)
    if allow is None:
        allow = _ALL_ROWS
    elif not allow.flags.carray:
        allow = np.require(allow, np.uint64, ("C", "W"))
    count = searching.best(
        np.frombuffer(bytearray(words), np.uint8),
        fields,
        weights,
        columns,
        table,
        turns,
        totals,
        k1,
        b,
        parts.scan_cost,
        allow,
        scores,
        rows,
        *_scratch.room(len(turns)),
    )
    if count == k:
        return rows, scores
    return None if count < 0 else (rows[:count], scores[:count])
