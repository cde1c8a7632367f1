"""Postings of few rows: the work grows with their words and not with the vocabulary."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import kernel
from kissvdb.kernels.text.memory import uint8_at

Array = NDArray[Any]


@kernel
def list_keys(ptr: Array, stream: Array, keys: Array) -> int:
    """Each word of rows as a number: its term, and in the lower 32 bits its row.

    ptr: int64[rows + 1], places in ``stream`` (int32). keys: int64, room for all. Answers how many.
    """
    n = 0
    for row in range(ptr.shape[0] - 1):
        for i in range(ptr[row], ptr[row + 1]):
            if stream[i] >= 0:
                keys[n] = (np.int64(stream[i]) << 32) | row
                n += 1
    return n


@kernel
def write_few(
    keys: Array, row_count: int, field_of_term: int, places: Array, fields: Array,
    lengths: Array, terms: Array, st: Array, docs: Array, tfs: Array, max_tf: Array,
    min_length: Array, sizes: Array,
) -> None:  # fmt: skip
    """Write the postings of sorted keys, int64[n].

    field_of_term: the address of uint8, the field of each term. places: int64[256], -1. What is
    filled is all of a segment: fields, int32[F]; lengths, uint16[F * rows], zeros; terms, int32[n];
    st, int64[n + 1]; docs, int32[n]; tfs, uint8[n]; max_tf, uint8[n]; min_length, uint16[n]. F: at
    least as many as the keys have. sizes: int64[3], takes how many fields, terms and postings there
    are.
    """
    n = keys.shape[0]
    for i in range(n):
        places[uint8_at(field_of_term, keys[i] >> 32)] = 0
    field_count = 0
    for field in range(256):
        if places[field] == 0:
            places[field] = field_count
            fields[field_count] = field
            field_count += 1
    for i in range(n):
        cell = places[uint8_at(field_of_term, keys[i] >> 32)] * row_count + (keys[i] & 0xFFFFFFFF)
        if lengths[cell] < 65535:
            lengths[cell] += np.uint16(1)
    term_count, total, i = 0, 0, 0
    while i < n:
        term = keys[i] >> 32
        first = places[uint8_at(field_of_term, term)] * row_count
        most, least = np.int64(0), np.int64(65535)
        terms[term_count] = term
        st[term_count] = total
        while i < n and keys[i] >> 32 == term:
            key, tf = keys[i], np.int64(0)
            while i < n and keys[i] == key:
                tf += 1
                i += 1
            tf = min(tf, np.int64(255))
            row = key & 0xFFFFFFFF
            docs[total] = row
            tfs[total] = tf
            most = max(most, tf)
            least = min(least, np.int64(lengths[first + row]))
            total += 1
        max_tf[term_count] = most
        min_length[term_count] = least
        term_count += 1
    st[term_count] = total
    sizes[0], sizes[1], sizes[2] = field_count, term_count, total
