"""A whole search for terms of which any may match, in one call: most queries are no more."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.text import memory as at
from kissvdb.kernels.text.forward import best_of_allowed
from kissvdb.kernels.text.lists import fill_lists
from kissvdb.kernels.text.maxscore import best_rows
from kissvdb.kernels.text.memory import count_bits

Array = NDArray[Any]


@helper
def count_rows(lists: Array, having: Array) -> None:
    """Add how many rows have each term, int64[A]."""
    for s in range(lists.shape[0]):
        for a in range(lists.shape[1]):
            having[a] += lists[s, a, at.LIST_SIZE]


@helper
def is_narrow(lists: Array, table: Array, row_cost: Number, allow: Array) -> Number:
    """Whether scanning the rows in a bitmap costs less than walking lists, in postings walked.

    row_cost: what a row costs that is scanned.
    """
    allowed, row_count = np.int64(0), np.int64(1)
    for w in range(allow.shape[0]):
        allowed += count_bits(allow[w])
    for s in range(table.shape[0]):
        row_count += table[s, at.ROWS]
    share = np.float64(allowed) / np.float64(row_count)
    scanned, walked = row_cost * np.float64(allowed), 0.0
    for s in range(lists.shape[0]):
        for a in range(lists.shape[1]):
            size, words = lists[s, a, at.LIST_SIZE], lists[s, a, at.LIST_WORDS]
            # Of rows in bits only those are looked at that are in both bitmaps.
            walked += np.float64(words) + share * np.float64(size) if words else np.float64(size)
    return scanned < walked


@helper
def weigh(
    having: Array, fields: Array, given: Array, totals: Array, k1: float, b: float, weighing: Array
) -> None:
    """BM25's numbers of each term, as ``core.postings.query.weighing`` makes them.

    having, fields: int64[A]; given: float64[A], the weights of the query; totals: int64[2, fields],
    rows and terms; weighing: float64[3, A], filled.
    """
    for a in range(fields.shape[0]):
        rows, terms = totals[0, fields[a]], totals[1, fields[a]]
        idf = math.log(1.0 + (rows - having[a] + 0.5) / (having[a] + 0.5))
        weighing[0, a] = given[a] * idf
        weighing[1, a] = k1 * (1.0 - b)
        weighing[2, a] = k1 * b * rows / terms if terms > 0 else 0.0


@helper
def sieve_terms(terms: Array, pairs: Array, sieve: Array) -> None:
    """Sort terms (int64[A]) with their numbers into ``pairs``, int64[2, A], and set ``sieve``."""
    sieve[:] = np.uint64(0)
    for a in range(terms.shape[0]):
        i = a
        while i > 0 and pairs[0, i - 1] > terms[a]:
            pairs[0, i] = pairs[0, i - 1]
            pairs[1, i] = pairs[1, i - 1]
            i -= 1
        pairs[0, i] = terms[a]
        pairs[1, i] = a
        bit = terms[a] & 2047
        sieve[bit >> 6] |= np.uint64(1) << np.uint64(bit & 63)


@kernel
def best(
    table: Array, turns: Array, terms: Array, fields: Array, given: Array, totals: Array,
    k1: float, b: float, row_cost: float, allow: Array, scores: Array, rows: Array, lists: Array,
    weighing: Array, numbers: Array, reals: Array, sieve: Array, sums: Array, touched: Array,
) -> int:  # fmt: skip
    """The best rows of all segments, best first; answers how many.

    terms, fields: int64[A]. given, totals: as ``weigh`` takes them. row_cost: what it
    costs to scan a row, in postings that are walked: whichever is less is done. lists: int64[S,
    A, LIST_COLUMNS], zeros. Working memory: weighing, float64[3, A]; numbers, int64[5, A]; sieve,
    uint64[SIEVE_WORDS]; all others as ``maxscore.best_rows`` takes them.
    """
    fill_lists(table, terms, fields, lists)
    having = numbers[4]
    having[:] = 0
    count_rows(lists, having)
    weigh(having, fields, given, totals, k1, b, weighing)
    count: int
    if allow.shape[0] > 0 and is_narrow(lists, table, row_cost, allow):
        pairs, phrase_ends, counts = numbers[0:2], numbers[2], numbers[3]
        phrase_ends[:] = 0
        sieve_terms(terms, pairs, sieve)
        count = best_of_allowed(
            table, lists, weighing, pairs, sieve, phrase_ends[0:0], phrase_ends, counts, allow,
            scores, rows, np.int64(0),
        )  # fmt: skip
    else:
        count = best_rows(
            table, turns, lists, weighing, allow, scores, rows, numbers, reals, sums, touched,
            np.int64(0),
        )  # fmt: skip
    return count
