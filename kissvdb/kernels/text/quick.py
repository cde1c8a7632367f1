"""A whole search for a text of plain words, in one call: read, looked up, weighed, searched.

The youngest rows need no postings for it: their terms are read in order, as few as they are.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.text import heap
from kissvdb.kernels.text.forward import best_of_allowed, count_terms
from kissvdb.kernels.text.learning import (
    LENGTH_MAX,
    SURFACE_BYTES_MAX,
    UNKNOWN,
    find_key,
    hash_key,
    token_byte,
)
from kissvdb.kernels.text.lists import fill_lists
from kissvdb.kernels.text.maxscore import best_rows, is_allowed, part
from kissvdb.kernels.text.memory import LIST_COLUMNS, int32_at, int64_at, uint8_at
from kissvdb.kernels.text.terms import count_rows, is_narrow, sieve_terms, weigh

Array = NDArray[Any]

#: Terms of a query, counted in every field; more are no plain words.
TERMS_MAX: Final = 64
#: Of the youngest rows.
ROWS_MAX: Final = 256
#: Lines of TERMS_MAX in working memory: of int64 without the lists of segments, and of float64.
INT_LINES: Final = 17
REAL_LINES: Final = 7

#: Columns of a state: those of ``learning.find_key``; where the field of each term is; and of the
#: youngest rows the first, how many, and where their terms are.
TAIL_FIELDS: Final = 8
TAIL_FIRST: Final = 9
TAIL_ROWS: Final = 10
TAIL_PTR: Final = 11
TAIL_STREAM: Final = 12


@helper
def is_space(byte: Number) -> Number:
    """Whether a byte of ASCII separates words for ``str.split``."""
    return byte == 32 or (9 <= byte <= 13) or (28 <= byte <= 31)


@helper
def note(
    terms: Array, of: Array, given: Array, times: Array, n: Number, term: Number, field: Number,
    weight: Number,
) -> Number:  # fmt: skip
    """Take in one more word; answers how many terms there are now. -1 if they are too many, or
    one comes so often that the order of adding weights matters."""
    a = np.int64(0)
    while a < n and terms[a] != term:
        a += 1
    if a == TERMS_MAX or (a < n and times[a] == 2):
        return np.int64(-1)
    if a == n:
        terms[a], of[a], given[a], times[a] = term, field, 0.0, 0
        n += 1
    given[a] += weight
    times[a] += 1
    return n


@helper
def read_words(
    text: Array, fields: Array, weights: Array, vocabulary: Array, terms: Array, of: Array,
    given: Array, times: Array, spans: Array,
) -> Number:  # fmt: skip
    """The terms of a query in the order of its words, of each in all fields; answers how many, -1
    if something in it is to be looked up in another way.

    text: uint8, ASCII, made lower case in place. fields: int64[F], weights: float64[F]. terms, of,
    times: int64[TERMS_MAX], given: float64[TERMS_MAX]; spans: int64[2 * TERMS_MAX].
    """
    n, i, size = np.int64(0), np.int64(0), np.int64(text.shape[0])
    while i < size:
        count = 0
        while i < size and not is_space(text[i]):
            byte = token_byte(text[i])
            if byte == 0:
                i += 1
                continue
            start = i
            while byte != 0:
                text[i] = byte
                i += 1
                byte = token_byte(text[i]) if i < size else np.uint8(0)
            if i - start >= SURFACE_BYTES_MAX or count == TERMS_MAX:
                return np.int64(-1)
            spans[2 * count], spans[2 * count + 1] = start, i
            count += 1
        i += 1
        for f in range(fields.shape[0]):
            prefix = fields[f] << 1
            for w in range(count):
                start, end = spans[2 * w], spans[2 * w + 1]
                hash_ = hash_key(text, start, end, prefix, np.uint64(vocabulary[7]))
                term = find_key(text, start, end, prefix, hash_, vocabulary)
                if term == UNKNOWN:
                    return np.int64(-1)
                n = note(terms, of, given, times, n, term, fields[f], weights[f])
                if n < 0:
                    return n
    return n


@helper
def count_young(
    tail: Array, pairs: Array, sieve: Array, counts: Array, having: Array, hits: Array
) -> Number:
    """How many of the youngest rows have each term, int64[A]; answers how many have one of them,
    which are noted in ``hits``, int64[ROWS_MAX]."""
    n = 0
    for row in range(tail[TAIL_ROWS]):
        counts[:] = 0
        start, end = int64_at(tail[TAIL_PTR], row), int64_at(tail[TAIL_PTR], row + 1)
        count_terms(tail[TAIL_STREAM], start, end, pairs, sieve, counts)
        found = 0
        for a in range(counts.shape[0]):
            if counts[a] > 0:
                having[a] += 1
                found = 1
        hits[n] = row
        n += found
    return n


@helper
def length_of(tail: Array, start: Number, end: Number, field: Number) -> Number:
    """How many terms of a field there are in a part of the stream."""
    n = np.int64(0)
    for i in range(start, end):
        term = int32_at(tail[TAIL_STREAM], i)
        if term >= 0 and uint8_at(tail[TAIL_FIELDS], term) == field:
            n += 1
    return min(n, np.int64(LENGTH_MAX))


@helper
def offer_young(
    tail: Array, pairs: Array, sieve: Array, counts: Array, of: Array, weighing: Array, hits: Array,
    allow: Array, scores: Array, rows: Array,
) -> Number:  # fmt: skip
    """Offer the youngest rows that have one of the terms; answers how many were taken."""
    count = np.int64(0)
    for i in range(hits.shape[0]):
        row = hits[i]
        if not is_allowed(allow, tail[TAIL_FIRST] + row):
            continue
        counts[:] = 0
        start, end = int64_at(tail[TAIL_PTR], row), int64_at(tail[TAIL_PTR], row + 1)
        count_terms(tail[TAIL_STREAM], start, end, pairs, sieve, counts)
        score = 0.0
        for a in range(counts.shape[0]):
            if counts[a] > 0:
                length = length_of(tail, start, end, of[a])
                score += part(weighing, a, min(counts[a], np.int64(255)), length)
        count = heap.offer(scores, rows, count, score, tail[TAIL_FIRST] + row)
    return count


@kernel
def best(
    text: Array, fields: Array, weights: Array, state: Array, table: Array, turns: Array,
    totals: Array, k1: float, b: float, row_cost: float, allow: Array, scores: Array, rows: Array,
    ints: Array, reals: Array, sieve: Array, sums: Array, touched: Array,
) -> int:  # fmt: skip
    """The best rows of all segments and of the youngest rows; answers how many, -1 if the words are
    to be looked up in another way.

    text, fields, weights: as ``read_words`` takes them. state: int64[13], with the columns above.
    table, turns, allow, scores, rows, sums, touched: as ``maxscore.best_rows`` takes them; totals,
    row_cost: as ``terms.best`` does. Working memory: ints, int64[TERMS_MAX * (INT_LINES +
    LIST_COLUMNS * S)]; reals, float64[TERMS_MAX * REAL_LINES]; sieve, uint64[SIEVE_WORDS of
    ``forward``].
    """
    line = TERMS_MAX
    terms, of, times = ints[:line], ints[line : 2 * line], ints[2 * line : 3 * line]
    given = reals[:line]
    spans = ints[3 * line : 5 * line]
    n: int = read_words(text, fields, weights, state, terms, of, given, times, spans)
    if n <= 0:
        return n
    terms, of, given = terms[:n], of[:n], given[:n]
    having, counts, ends = times[:n], ints[3 * line : 3 * line + n], ints[4 * line : 4 * line + n]
    pairs = ints[5 * line : 5 * line + 2 * n].reshape(2, n)
    numbers = ints[7 * line : 7 * line + 3 * n].reshape(3, n)
    hits = ints[10 * line : 14 * line]
    segments = table.shape[0]
    size = segments * n * LIST_COLUMNS
    lists = ints[INT_LINES * line : INT_LINES * line + size].reshape(segments, n, LIST_COLUMNS)
    weighing = reals[line : line + 3 * n].reshape(3, n)
    bounds = reals[4 * line : 4 * line + 2 * n + 2].reshape(2, n + 1)
    having[:] = 0
    lists[:] = 0
    fill_lists(table, terms, of, lists)
    count_rows(lists, having)
    sieve_terms(terms, pairs, sieve)
    young = count_young(state, pairs, sieve, counts, having, hits)
    weigh(having, of, given, totals, k1, b, weighing)
    count: int = offer_young(
        state, pairs, sieve, counts, of, weighing, hits[:young], allow, scores, rows
    )
    if allow.shape[0] > 0 and is_narrow(lists, table, row_cost, allow):
        ends[:] = 0
        count = best_of_allowed(
            table, lists, weighing, pairs, sieve, ends[0:0], ends, counts, allow, scores, rows,
            count,
        )  # fmt: skip
    else:
        count = best_rows(
            table, turns, lists, weighing, allow, scores, rows, numbers, bounds, sums, touched,
            count,
        )  # fmt: skip
    return count
