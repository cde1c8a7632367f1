"""A search as it comes and as it is answered, in memory that is kept: its vector read and prepared,
and what was found written.

Bodies are read-only bytes. What is odd is refused as a whole, as by the modules this is made of.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.codes.prepare import _prepare as prepare_rows
from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.json.hits import write_hits
from kissvdb.kernels.json.numbers import CLOSE, COMMA, OPEN, read_array
from kissvdb.kernels.json.text import PADDING, UNUSUAL, byte_at, put_byte, skip_space
from kissvdb.kernels.pool import prefetch

Array = NDArray[Any]

#: Instead of a length: the walk was not enough to know the best rows.
NARROW = -4


@helper
def _copy(body: Array, start: Number, stop: Number, text: Array) -> Number:
    """Copy a part of a body to the front of ``text``, zeros behind it; answers its size."""
    size = stop - start
    for place in range(size):
        text[place] = body[start + place]
    for place in range(PADDING):
        put_byte(text, size + place, 0)
    return size


@kernel
def read_query(
    body: Array,
    start: Number,
    stop: Number,
    most: Number,
    metric: Number,
    text: Array,
    vector: Array,
    query: Array,
) -> Any:
    """Whether ``body[start:stop]`` (read-only uint8) is the inside of an array of as many numbers
    as ``vector`` (float32 [1, dim]) has, and its closing bracket. Then they are there, and in
    ``query`` (float32 [1, width], zeros behind dim) as ``prepare`` makes them.

    text: uint8, PADDING longer than any such part. most: the greatest number there may be, float64.
    """
    size = _copy(body, start, stop, text)
    if read_array(text, 0, most, vector, 0) != size:
        return False
    prepare_rows(vector, metric, query)
    return True


@kernel
def take_query(numbers: Array, most: Number, metric: Number, vector: Array, query: Array) -> Any:
    """As ``read_query``, of read-only float32 [dim]."""
    good = True
    for place in range(vector.shape[1]):
        number = numbers[place]
        good &= abs(np.float64(number)) <= most
        vector[0, place] = number
    if good:
        prepare_rows(vector, metric, query)
    return good


@helper
def _ask_for(rows: Array, count: Number, ends: Array, blob: Array) -> None:
    """Have what will be written come from memory all at once: it lies anywhere, and is cold."""
    for place in range(count):
        prefetch(ends, max(rows[place] - 1, 0), 1)
    for place in range(count):
        row = rows[place]
        prefetch(blob, ends[row - 1, 1] if row > 0 else np.int64(0), 1)


@kernel
def write_found(
    rows: Array,
    scores: Array,
    count: Number,
    needed: Number,
    cut: Array,
    tail: Array,
    tail_scores: Array,
    tail_count: Number,
    base: Number,
    squares: Number,
    merged: Array,
    merged_scores: Array,
    want: Number,
    ends: Array,
    blob: Array,
    meta: Number,
    out: Array,
) -> Any:
    """Put what was found among the indexed rows and in the tail in one order, and write it as
    ``hits.write_hits``. Answers its length and how many hits there are.

    rows, tail: int64 [1, n], -1 for none, scores: float32 [1, n], best first; the first ``count``
    and ``tail_count`` of them. The length is NARROW if ``cut[0]``, or if fewer than ``needed`` rows
    are indexed ones. base: what is added to the rows of the tail. squares: scores are negative
    squares. merged: room for all.
    """
    if cut[0] or (needed > 0 and rows[0, needed - 1] < 0):
        return np.int64(NARROW), np.int64(0)
    one = np.int64(0)
    other = np.int64(0)
    total = np.int64(0)
    while total < count + tail_count:
        more = one < count and rows[0, one] >= 0
        others = other < tail_count and tail[0, other] >= 0
        if more and (not others or scores[0, one] >= tail_scores[0, other]):
            merged[total] = rows[0, one]
            score = scores[0, one]
            one += 1
        elif others:
            merged[total] = tail[0, other] + base
            score = tail_scores[0, other]
            other += 1
        else:
            break
        # Before anything is compared: two squares may have one root, and then the rows tie.
        if squares:
            score = np.float32(0.0) - np.sqrt(np.float32(0.0) - score)
        merged_scores[total] = score
        total += 1
    _ask_for(merged, min(total, want), ends, blob)
    return write_hits(merged[:total], merged_scores[:total], want, ends, blob, meta, out)


@kernel
def read_rows(text: Array, at: Number, most: Number, rows: Array) -> Any:
    """Read an array of at most so many arrays as ``rows`` (float32 [most of them, dim]) has room
    for, each of dim numbers, from behind the bracket that opens it.

    text: uint8 [n + PADDING]. Answers the place behind its closing bracket and how many there were,
    or UNUSUAL.
    """
    count = np.int64(0)
    while True:
        at = skip_space(text, at)
        if byte_at(text, at) != OPEN or count == rows.shape[0]:
            return np.int64(UNUSUAL), count
        at = read_array(text, at + 1, most, rows, count)
        if at == UNUSUAL:
            return np.int64(UNUSUAL), count
        count += 1
        at = skip_space(text, at)
        byte = byte_at(text, at)
        at += 1
        if byte == CLOSE:
            return at, count
        if byte != COMMA:
            return np.int64(UNUSUAL), count
