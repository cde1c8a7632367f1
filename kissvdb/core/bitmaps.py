"""Bitmaps of rows: bit ``i & 63`` of word ``i >> 6`` is row i, the lowest bit first.

A bitmap of n rows is uint64[ceil(n / 64)], C-contiguous; the bits past row n - 1 are zero.
"""

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.uint32]


def word_count(rows: int) -> int:
    """How many words hold that many rows."""
    return (rows + 63) >> 6


def pack(flags: Flags) -> Words:
    """The bitmap of bool[n] flags."""
    octets = np.zeros(word_count(len(flags)) * 8, np.uint8)
    octets[: (len(flags) + 7) >> 3] = np.packbits(flags, bitorder="little")
    return octets.view("<u8").astype(np.uint64, copy=False)


def unpack(words: Words, rows: int) -> Flags:
    """bool[rows] of a bitmap; rows past its end are False."""
    if not len(words):
        # Of nothing numpy makes flags of whatever was in that memory.
        return np.zeros(rows, np.bool_)
    octets = words.astype("<u8", copy=False).view(np.uint8)
    flags = np.unpackbits(octets[: (rows + 7) >> 3], count=rows, bitorder="little")
    return flags.view(np.bool_)


def count(words: Words) -> int:
    """How many rows are in the bitmap."""
    return int(np.bitwise_count(words).sum(dtype=np.int64))


def row_numbers(words: Words) -> Rows:
    """The rows in the bitmap, ascending."""
    return np.flatnonzero(unpack(words, len(words) * 64)).astype(np.uint32)


def full(rows: int) -> Words:
    """The bitmap of all rows 0..rows - 1."""
    words = np.full(word_count(rows), ~np.uint64(0))
    if rows & 63:
        words[-1] = (1 << (rows & 63)) - 1
    return words


def resize(words: Words, rows: int) -> Words:
    """A copy with room for that many rows: cut, or filled up with zero bits."""
    resized = np.zeros(word_count(rows), np.uint64)
    kept = min(len(words), len(resized))
    resized[:kept] = words[:kept]
    if rows & 63 and kept == len(resized):
        resized[-1] &= np.uint64((1 << (rows & 63)) - 1)
    return resized
