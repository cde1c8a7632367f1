"""The rows of terms, phrases and sets of terms: found in segments, put into bitmaps."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.text import memory as at
from kissvdb.kernels.text.memory import count_bits, int32_at, int64_at, uint8_at, uint16_at

Array = NDArray[Any]


@helper
def place_of(address: Number, count: Number, wanted: Number) -> Number:
    """The first place of an ascending int32 array that is not below ``wanted``."""
    low, high = np.int64(0), np.int64(count)
    while low < high:
        middle = (low + high) >> 1
        if int32_at(address, middle) < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def term_place(address: Number, count: Number, term: Number) -> Number:
    """The place of a term in an ascending int32 array of different terms; -1 if it is not there.

    Term i is at i or before; in a segment that has all of the first terms it is there.
    """
    if term < count and int32_at(address, term) == term:
        return np.int64(term)
    place = place_of(address, min(count, term + 1), term)
    if place == count or int32_at(address, place) != term:
        return np.int64(-1)
    return place


@helper
def seek(address: Number, start: Number, count: Number, wanted: Number) -> Number:
    """The same from place ``start`` on, cheap if it is near: doubling steps, then halves."""
    low, step = np.int64(start), np.int64(1)
    high = low
    while high < count and int32_at(address, high) < wanted:
        low = high + 1
        high += step
        step <<= 1
    high = min(high, count)
    while low < high:
        middle = (low + high) >> 1
        if int32_at(address, middle) < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def bits_size(words: Number) -> Number:
    """The bytes of the rows of a term in bits: words, and an int32 for each of them."""
    return np.int64(8) * (words + ((words + 1) >> 1))


@kernel
def fill_bits(docs: Array, st: Array, places: Array, words: int, bits: Array) -> None:
    """The rows of terms in bits, for look-ups without a search.

    docs: int32, st: int64, of a segment. places: int32[D], of terms there. bits: uint64[D, words +
    ceil(words / 2)], zeros: of each term its bitmap, and behind that uint32[words], how many rows
    come before each word.
    """
    for d in range(places.shape[0]):
        place = places[d]
        for i in range(st[place], st[place + 1]):
            row = np.int64(docs[i])
            bits[d, row >> 6] |= np.uint64(1) << np.uint64(row & 63)
        before = np.int64(0)
        for w in range(words):
            # Two of 32 bits to a word, the first in the lower half: as an array lies in memory.
            bits[d, words + (w >> 1)] |= np.uint64(before) << np.uint64(32 * (w & 1))
            before += count_bits(bits[d, w])


@helper
def place_in_bits(lists: Array, a: Number, row: Number) -> Number:
    """The place of a row in the list of an atom that is in bits too; -1 if it is not there."""
    bits = lists[a, at.LIST_BITS]
    word, bit = np.uint64(int64_at(bits, row >> 6)), np.uint64(row & 63)
    if (word >> bit) & np.uint64(1) == np.uint64(0):
        return np.int64(-1)
    before = int32_at(bits + 8 * lists[a, at.LIST_WORDS], row >> 6)
    return before + count_bits(word & ((np.uint64(1) << bit) - np.uint64(1)))


@helper
def fill_lists(table: Array, terms: Array, fields: Array, lists: Array) -> None:
    """Where each segment keeps the rows of each term.

    table: int64[S, COLUMNS]. terms, fields: int64[A]; a term below 0 is left out, but for its
    field's lengths. lists: int64[S, A, LIST_COLUMNS], zeros, filled.
    """
    for s in range(table.shape[0]):
        count = table[s, at.TERM_COUNT]
        field_count = table[s, at.FIELD_COUNT]
        for a in range(terms.shape[0]):
            place = place_of(table[s, at.FIELDS], field_count, fields[a])
            if place == field_count or int32_at(table[s, at.FIELDS], place) != fields[a]:
                continue
            lists[s, a, at.LIST_LENGTHS] = (
                table[s, at.LENGTHS] + np.int64(2) * place * table[s, at.ROWS]
            )
            if terms[a] < 0:
                continue
            place = term_place(table[s, at.TERMS], count, terms[a])
            if place < 0:
                continue
            first = int64_at(table[s, at.ST], place)
            lists[s, a, at.LIST_DOCS] = table[s, at.DOCS] + np.int64(4) * first
            lists[s, a, at.LIST_TFS] = table[s, at.TFS] + first
            lists[s, a, at.LIST_SIZE] = int64_at(table[s, at.ST], place + 1) - first
            lists[s, a, at.LIST_MAX_TF] = uint8_at(table[s, at.MAX_TF], place)
            lists[s, a, at.LIST_MIN_LENGTH] = uint16_at(table[s, at.MIN_LENGTH], place)
            dense = place_of(table[s, at.DENSE], table[s, at.DENSE_COUNT], place)
            if dense < table[s, at.DENSE_COUNT] and int32_at(table[s, at.DENSE], dense) == place:
                words = (table[s, at.ROWS] + 63) >> 6
                lists[s, a, at.LIST_BITS] = table[s, at.BITS] + dense * bits_size(words)
                lists[s, a, at.LIST_WORDS] = words


@kernel
def find_lists(table: Array, terms: Array, fields: Array, lists: Array) -> None:
    """``fill_lists``, for callers that are not compiled."""
    fill_lists(table, terms, fields, lists)


@kernel
def having_terms(table: Array, terms: Array, counts: Array) -> None:
    """How many rows have each term, int64[A] into ``counts``."""
    for a in range(terms.shape[0]):
        counts[a] = 0
        for s in range(table.shape[0]):
            count = table[s, at.TERM_COUNT]
            place = term_place(table[s, at.TERMS], count, terms[a])
            if place >= 0:
                st = table[s, at.ST]
                counts[a] += int64_at(st, place + 1) - int64_at(st, place)


@kernel
def any_of(lists: Array, counts: Array) -> None:
    """Add up how often rows have one of several terms of one segment.

    lists: int64[A, LIST_COLUMNS]. counts: int32[rows], zeros.
    """
    for a in range(lists.shape[0]):
        docs, tfs = lists[a, at.LIST_DOCS], lists[a, at.LIST_TFS]
        for i in range(lists[a, at.LIST_SIZE]):
            counts[int32_at(docs, i)] += np.int32(uint8_at(tfs, i))


@kernel
def phrase(table: Array, s: int, lists: Array, terms: Array, counts: Array) -> None:
    """How often rows of segment ``s`` have terms one after the other.

    lists: int64[n, LIST_COLUMNS], those of ``terms`` (int64[n]). counts: int32[rows], zeros.
    """
    n = terms.shape[0]
    rare = 0
    for a in range(n):
        if lists[a, at.LIST_SIZE] < lists[rare, at.LIST_SIZE]:
            rare = a
    ptr, stream = table[s, at.PTR], table[s, at.STREAM]
    second = 1 if rare == 0 else 0
    for a in range(n):
        # The next rarest rules out most rows that the rarest lets through.
        if a != rare and lists[a, at.LIST_SIZE] < lists[second, at.LIST_SIZE]:
            second = a
    cursor = np.int64(0)
    for i in range(lists[rare, at.LIST_SIZE]):
        row = int32_at(lists[rare, at.LIST_DOCS], i)
        size = lists[second, at.LIST_SIZE]
        cursor = seek(lists[second, at.LIST_DOCS], cursor, size, row)
        if cursor == size:
            break
        if int32_at(lists[second, at.LIST_DOCS], cursor) != row:
            continue
        for start in range(int64_at(ptr, row), int64_at(ptr, row + 1) - n + 1):
            same = 0
            while same < n and int32_at(stream, start + same) == terms[same]:
                same += 1
            if same == n:
                counts[row] += np.int32(1)


@kernel
def gather(counts: Array, lengths: int, docs: Array, tfs: Array, bounds: Array) -> int:
    """The rows with a count as a list. docs: int32[rows], tfs: uint8[rows], room for all of them.

    ``lengths``: the address of the field's uint16[rows]. ``bounds``: int64[2], takes the greatest
    count and the least length. Answers how many.
    """
    n = 0
    most, least = np.int64(0), np.int64(65535)
    for row in range(counts.shape[0]):
        if counts[row] > 0:
            tf = min(np.int64(counts[row]), np.int64(255))
            docs[n] = row
            tfs[n] = tf
            n += 1
            most = max(most, tf)
            least = min(least, uint16_at(lengths, row))
    bounds[0] = most
    bounds[1] = least
    return n


@kernel
def set_bits(lists: Array, table: Array, atom: int, words: Array) -> None:
    """Set the bits of the rows of an atom in all segments.

    lists: int64[S, A, LIST_COLUMNS]. words: uint64[ceil(rows / 64)], a bitmap of all rows.
    """
    for s in range(table.shape[0]):
        first = table[s, at.FIRST]
        docs = lists[s, atom, at.LIST_DOCS]
        for i in range(lists[s, atom, at.LIST_SIZE]):
            row = first + int32_at(docs, i)
            words[row >> 6] |= np.uint64(1) << np.uint64(row & 63)
