"""Making postings of terms in order, and terms of texts."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.text.memory import int32_at, int64_at, uint8_at

Array = NDArray[Any]

MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
UNKNOWN: Final = -2
GAP: Final = -1
#: Surfaces longer than this are not in the table.
SURFACE_BYTES_MAX: Final = 64


@kernel
def count_postings(
    row_count: int, ptr: int, stream: int, fields: int, places: Array, lengths: Array,
    last_row: Array, sizes: Array,
) -> int:  # fmt: skip
    """Count the rows of each term, and the terms of each field of each row.

    ptr, stream, fields (uint8, of each term): addresses. places: int64[256], the place of a field
    in ``lengths``, uint16[fields, rows], zeros. last_row: int32[terms], -1; sizes: int64[terms],
    zeros. Answers how many postings there are.
    """
    total = 0
    for row in range(row_count):
        for i in range(int64_at(ptr, row), int64_at(ptr, row + 1)):
            term = int32_at(stream, i)
            if term < 0:
                continue
            place = places[uint8_at(fields, term)]
            if lengths[place, row] < 65535:
                lengths[place, row] += np.uint16(1)
            if last_row[term] != row:
                last_row[term] = row
                sizes[term] += 1
                total += 1
    return total


@kernel
def write_postings(
    row_count: int, ptr: int, stream: int, fields: int, places: Array, lengths: Array,
    cursors: Array, firsts: Array, docs: Array, tfs: Array, max_tf: Array, min_length: Array,
) -> None:  # fmt: skip
    """Write the rows of each term.

    cursors: int64[terms], where the list of each term begins, moved to its end; firsts: a copy.
    max_tf: uint8[terms], zeros; min_length: uint16[terms], 65535.
    """
    for row in range(row_count):
        for i in range(int64_at(ptr, row), int64_at(ptr, row + 1)):
            term = int32_at(stream, i)
            if term < 0:
                continue
            at = cursors[term]
            if at > firsts[term] and docs[at - 1] == row:
                at -= 1
                if tfs[at] < 255:
                    tfs[at] += np.uint8(1)
            else:
                docs[at] = row
                tfs[at] = 1
                cursors[term] = at + 1
                length = lengths[places[uint8_at(fields, term)], row]
                min_length[term] = min(min_length[term], length)
            max_tf[term] = max(max_tf[term], tfs[at])


@helper
def token_byte(byte: Number) -> Number:
    """A byte of a token in lower case; 0 if it separates."""
    if byte >= 97:
        return byte if byte <= 122 or byte >= 128 else np.uint8(0)
    if byte >= 65:
        return byte + np.uint8(32) if byte <= 90 else np.uint8(0)
    return byte if 48 <= byte <= 57 else np.uint8(0)


@helper
def find_token(
    text: Array, start: Number, end: Number, prefix: Number, salt: Number, slots: Number,
    last: Number, hashes: Number, ends: Number, blob: Number, values: Number,
) -> Number:  # fmt: skip
    """The term of a token under the key that begins with ``prefix``; UNKNOWN if there is none."""
    size = end - start + 1
    value = salt ^ np.uint64(size)
    word, shift = np.uint64(prefix), np.uint64(8)
    for i in range(start, end):
        if shift == np.uint64(64):
            value = (value ^ word) * MULTIPLIER
            value ^= value >> np.uint64(32)
            word, shift = np.uint64(0), np.uint64(0)
        word |= np.uint64(text[i]) << shift
        shift += np.uint64(8)
    value = (value ^ word) * MULTIPLIER
    value ^= value >> np.uint64(32)
    hash_ = np.int64(value & np.uint64(0xFFFFFFFF))
    place = hash_ & last
    while int32_at(slots, place) != 0:
        entry = int32_at(slots, place) - 1
        if int32_at(hashes, entry) & 0xFFFFFFFF == hash_:
            begin = int64_at(ends, entry - 1) if entry > 0 else np.int64(0)
            if int64_at(ends, entry) - begin == size and uint8_at(blob, begin) == prefix:
                same = 1
                while same < size and uint8_at(blob, begin + same) == text[start + same - 1]:
                    same += 1
                if same == size:
                    return int32_at(values, entry)
        place = (place + 1) & last
    return UNKNOWN


@kernel
def tokenise(
    text: Array, ends: Array, prefixes: Array, gaps: Array, salt: int, vocabulary: Array,
    stream: Array, counts: Array, unknown: Array,
) -> int:  # fmt: skip
    """The terms of texts, and where the words are that the vocabulary lacks.

    text: uint8, made lower case in place; text i ends at ``ends[i]``, its keys begin with the byte
    ``prefixes[i]``, and GAP comes before it if ``gaps[i]`` (int64 all). vocabulary: int64[6], the
    addresses of slots, hashes, ends, blob and values, and the number of slots less 1. stream:
    int32[len(text) // 2 + 1 + texts], takes the terms, UNKNOWN for those not there; counts:
    int64[texts], how many. unknown: int64[len(text) // 2 + 1, 4], takes place in stream, start,
    end and text of these. Answers how many.
    """
    n, missing, i = 0, 0, 0
    for t in range(ends.shape[0]):
        before = n
        if gaps[t] != 0:
            stream[n] = GAP
            n += 1
        while i < ends[t]:
            byte = token_byte(text[i])
            if byte == 0:
                i += 1
                continue
            start = i
            while byte != 0:
                text[i] = byte
                i += 1
                byte = token_byte(text[i]) if i < ends[t] else np.uint8(0)
            term = np.int64(UNKNOWN)
            if i - start < SURFACE_BYTES_MAX:
                term = find_token(
                    text, start, i, prefixes[t], np.uint64(salt), vocabulary[0], vocabulary[5],
                    vocabulary[1], vocabulary[2], vocabulary[3], vocabulary[4],
                )  # fmt: skip
            if term == UNKNOWN:
                unknown[missing, 0] = n
                unknown[missing, 1] = start
                unknown[missing, 2] = i
                unknown[missing, 3] = t
                missing += 1
            stream[n] = term
            n += 1
        counts[t] = n - before
    return missing
