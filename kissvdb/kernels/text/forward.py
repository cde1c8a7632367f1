"""Scores of given rows, by their terms in order: for few rows this is less than walking lists."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.text import heap
from kissvdb.kernels.text import memory as at
from kissvdb.kernels.text.maxscore import part
from kissvdb.kernels.text.memory import int32_at, int64_at, lowest_bit, uint16_at

Array = NDArray[Any]

#: Bits that say of most terms that the query does not ask for them.
SIEVE_WORDS: Final = 32


@helper
def count_terms(
    stream: Number, start: Number, end: Number, pairs: Array, sieve: Array, counts: Array
) -> None:
    """Count the terms of a row for each atom. pairs: int64[2, P], terms, ascending, and atoms."""
    size = pairs.shape[1]
    for i in range(start, end):
        term = int32_at(stream, i)
        bit = np.int64(term) & 2047
        if (sieve[bit >> 6] >> np.uint64(bit & 63)) & np.uint64(1) == np.uint64(0):
            continue
        low, high = 0, size
        while low < high:
            middle = (low + high) >> 1
            if pairs[0, middle] < term:
                low = middle + 1
            else:
                high = middle
        while low < size and pairs[0, low] == term:
            counts[pairs[1, low]] += 1
            low += 1


@helper
def count_phrase(stream: Number, start: Number, end: Number, terms: Array) -> Number:
    """How often terms (int64[n]) come one after the other."""
    n = terms.shape[0]
    count = 0
    for i in range(start, end - n + 1):
        same = 0
        while same < n and int32_at(stream, i + same) == terms[same]:
            same += 1
        if same == n:
            count += 1
    return count


@helper
def score_row(
    table: Array, s: Number, lists: Array, weighing: Array, pairs: Array, sieve: Array,
    phrases: Array, phrase_ends: Array, row: Number, counts: Array,
) -> Number:  # fmt: skip
    """The score of row ``row`` of segment s. -1 if it has none of the atoms.

    phrases: int64, the terms of all phrases; those of atom a end at ``phrase_ends[a]``.
    """
    stream = table[s, at.STREAM]
    start, end = int64_at(table[s, at.PTR], row), int64_at(table[s, at.PTR], row + 1)
    counts[:] = 0
    count_terms(stream, start, end, pairs, sieve, counts)
    score, found, first = 0.0, False, np.int64(0)
    for a in range(weighing.shape[1]):
        last = phrase_ends[a]
        if last > first:
            counts[a] = count_phrase(stream, start, end, phrases[first:last])
            first = last
        if counts[a] > 0:
            found = True
            length = uint16_at(lists[s, a, at.LIST_LENGTHS], row)
            score += part(weighing, a, min(counts[a], np.int64(255)), length)
    return score if found else -1.0


@kernel
def score_rows(
    table: Array, lists: Array, weighing: Array, pairs: Array, sieve: Array, phrases: Array,
    phrase_ends: Array, counts: Array, rows: Array, scores: Array,
) -> None:  # fmt: skip
    """float64[n]: the scores of rows (int64[n]) over all segments; 0 for one without any atom.

    lists: int64[S, A, LIST_COLUMNS], of which only the lengths are read. counts: int64[A].
    """
    for i in range(rows.shape[0]):
        s = 0
        while rows[i] >= table[s, at.FIRST] + table[s, at.ROWS]:
            s += 1
        score = score_row(
            table, s, lists, weighing, pairs, sieve, phrases, phrase_ends,
            rows[i] - table[s, at.FIRST], counts,
        )  # fmt: skip
        scores[i] = max(score, 0.0)


@helper
def best_of_allowed(
    table: Array, lists: Array, weighing: Array, pairs: Array, sieve: Array, phrases: Array,
    phrase_ends: Array, counts: Array, allow: Array, scores: Array, rows: Array, count: Number,
) -> Number:  # fmt: skip
    """The best of the rows in a bitmap, best first; answers how many. scores: float64[k], rows:
    int64[k], of which ``count`` are a heap already."""
    s = 0
    for w in range(allow.shape[0]):
        word = allow[w]
        while word != np.uint64(0):
            row = (w << 6) + lowest_bit(word)
            word &= word - np.uint64(1)
            while s < table.shape[0] and row >= table[s, at.FIRST] + table[s, at.ROWS]:
                s += 1
            if s == table.shape[0]:
                break
            score = score_row(
                table, s, lists, weighing, pairs, sieve, phrases, phrase_ends,
                row - table[s, at.FIRST], counts,
            )  # fmt: skip
            if score >= 0.0:
                count = heap.offer(scores, rows, count, score, row)
    heap.sort(scores, rows, count)
    return count


@kernel
def best_allowed(
    table: Array, lists: Array, weighing: Array, pairs: Array, sieve: Array, phrases: Array,
    phrase_ends: Array, counts: Array, allow: Array, scores: Array, rows: Array,
) -> int:  # fmt: skip
    """``best_of_allowed``, for callers that are not compiled."""
    count: int = best_of_allowed(
        table, lists, weighing, pairs, sieve, phrases, phrase_ends, counts, allow, scores, rows,
        np.int64(0),
    )  # fmt: skip
    return count
