"""One call of every kernel for texts, with the types that all calls have."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.text import (
    build,
    few,
    forward,
    learning,
    lists,
    maxscore,
    memory,
    quick,
    terms,
    words,
)

Array = NDArray[Any]


def run() -> None:
    """Two rows of one term in one field: made, found, scored."""
    text, ends = np.frombuffer(bytearray(b"word"), np.uint8), np.array([4])
    table, found, kept = _segment()
    one, pair = np.zeros(1, np.int64), np.zeros((2, 1), np.int64)
    lists.find_lists(table, one, one, found)
    lists.having_terms(table, one, one.copy())
    counts = np.zeros(2, np.int32)
    lists.fill_bits(kept[6], kept[5], kept[4], 1, np.zeros((1, 2), np.uint64))
    lists.any_of(found[0], counts)
    lists.phrase(table, 0, np.concatenate([found[0], found[0]]), np.zeros(2, np.int64), counts)
    docs, tfs = np.zeros(2, np.int32), np.zeros(2, np.uint8)
    lists.gather(counts, kept[2].ctypes.data, docs, tfs, np.zeros(2, np.int64))
    allow = np.zeros(1, np.uint64)
    lists.set_bits(found, table, 0, allow)
    scores, rows, weighing = np.zeros(1), np.zeros(1, np.int64), np.ones((3, 1))
    asked = (pair, np.zeros(forward.SIEVE_WORDS, np.uint64), one[:0], one, one.copy())
    forward.score_rows(table, found, weighing, *asked, one, scores)
    forward.best_allowed(table, found, weighing, *asked, allow, scores, rows)
    numbers, reals = np.zeros((3, 1), np.int64), np.zeros((2, 2))
    sums, touched = np.zeros(maxscore.WINDOW), np.zeros(maxscore.WINDOW // 64, np.uint64)
    maxscore.best(table, one, found, weighing, allow, scores, rows, numbers, reals, sums, touched)
    terms.best(
        table, one, one, one, np.ones(1), np.ones((2, 1), np.int64), 1.0, 1.0, 0.0, allow, scores,
        rows, found, weighing, np.zeros((5, 1), np.int64), reals, asked[1], sums, touched,
    )  # fmt: skip
    _few()
    slots = np.zeros(4, np.int32)
    vocabulary = np.array([slots.ctypes.data, 0, 0, 0, 0, 3, 0, 1, *[0] * 5])
    line = quick.TERMS_MAX
    ints = np.zeros(line * (quick.INT_LINES + memory.LIST_COLUMNS), np.int64)
    quick.best(
        text, one, np.ones(1), vocabulary, table, one, pair, 1.0, 1.0, 0.0, allow, scores, rows,
        ints, np.zeros(line * quick.REAL_LINES), asked[1], sums, touched,
    )  # fmt: skip
    stream, seen = np.zeros(4, np.int32), np.zeros(8, np.int32)
    new, shape = np.zeros((3, 4), np.int64), np.array([1, 4, 0, 0, 1])
    counted = np.zeros(2 + 4 * learning.FIELDS_MAX, np.int64)
    padded, recent = np.concatenate([text, np.zeros(16, np.uint8)]), np.zeros((1, 4), np.uint64)
    learning.tokenise(padded, shape, vocabulary, stream, counted, seen, new, recent)
    learning.learn(
        text, new[:1], shape, text, ends, 1, slots, np.zeros(2, np.uint32), np.zeros(2, np.int64),
        np.zeros(16, np.uint8), np.zeros(2, np.int32), one.astype(np.uint8), one.repeat(2),
        stream[:1], stream.copy(),
    )  # fmt: skip
    key_ends = np.array([4])
    words.beginning(text.ctypes.data, key_ends.ctypes.data, 1, text, one.copy())
    lines = np.zeros((3, words.NEAR_BYTES_MAX + 1), np.int64)
    words.near(
        text.ctypes.data, key_ends.ctypes.data, 1, 119, text, 1, lines, one.copy(), one.copy()
    )


def _few() -> None:
    """The same of one row of one word."""
    keys, places, fields = np.zeros(1, np.int64), np.full(256, -1), np.zeros(1, np.uint8)
    few.list_keys(np.array([0, 1]), np.zeros(1, np.int32), keys)
    few.write_few(
        keys, 1, fields.ctypes.data, places, np.zeros(1, np.int32), np.zeros(1, np.uint16),
        np.zeros(1, np.int32), np.zeros(2, np.int64), np.zeros(1, np.int32), np.zeros(1, np.uint8),
        np.zeros(1, np.uint8), np.zeros(1, np.uint16), np.zeros(3, np.int64),
    )  # fmt: skip


def _segment() -> tuple[Array, Array, list[Array]]:
    """A table of one segment, its lists yet to be found, and the arrays they point into."""
    ptr, stream, fields = np.array([0, 1, 2]), np.zeros(2, np.int32), np.zeros(1, np.uint8)
    lengths, places = np.zeros((1, 2), np.uint16), np.zeros(256, np.int64)
    addresses = (ptr.ctypes.data, stream.ctypes.data, fields.ctypes.data)
    sizes, last_row = np.zeros(1, np.int64), np.full(1, -1, np.int32)
    build.count_postings(2, *addresses, places, lengths, last_row, sizes)
    docs, tfs, most = np.zeros(2, np.int32), np.zeros(2, np.uint8), np.zeros(1, np.uint8)
    least, cursors = np.full(1, 65535, np.uint16), np.zeros(1, np.int64)
    build.write_postings(
        2, *addresses, places, lengths, cursors.copy(), cursors, docs, tfs, most, least
    )
    field_numbers, terms, st = np.zeros(1, np.int32), np.zeros(1, np.int32), np.array([0, 2])
    kept = [ptr, stream, lengths, field_numbers, terms, st, docs, tfs, most, least]
    table = np.zeros((1, memory.COLUMNS), np.int64)
    at = [each.ctypes.data for each in kept]
    table[0] = (0, 2, at[0], at[1], at[2], at[3], 1, at[4], 1, *at[5:], 0, 0, 0)
    return table, np.zeros((1, 1, memory.LIST_COLUMNS), np.int64), kept
