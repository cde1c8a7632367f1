"""Hits as JSON text: ids and metadata as they lie in the rows' blob, scores as decimals.

What a text cannot be made of here, an id to be escaped or a score that is very small or large, is
refused as a whole, and for the caller to write in the usual way.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.json.text import UNUSUAL, ZERO, byte_at, put_byte

Array = NDArray[Any]

#: Instead of a length: there is no room for the text.
NO_ROOM = -2
#: Instead of a length: the hits found do not settle which are the best.
TIED = -3
#: Every decimal of 6 digits survives a float32, and 9 digits tell every float32 apart.
DIGITS_MIN, DIGITS_MAX = 6, 9
#: Between them a number is written without an exponent.
LEAST, MOST = 1e-4, 1e6
POWERS = 10.0 ** np.arange(16)
#: What a hit takes beside its id and its metadata.
HIT_BYTES = 64
QUOTE, BACKSLASH, SPACE, MINUS, POINT = 0x22, 0x5C, 0x20, 0x2D, 0x2E

BEGIN = np.frombuffer(b'{"id":"', np.uint8).copy()
MIDDLE = np.frombuffer(b'","score":', np.uint8).copy()
META = np.frombuffer(b',"meta":', np.uint8).copy()
NULL = np.frombuffer(b"null", np.uint8).copy()


@helper
def put_all(out: Array, at: Number, text: Array) -> Number:
    """Write a text; answers the place behind it."""
    for place in range(text.size):
        put_byte(out, at + place, byte_at(text, place))
    return at + text.size


@helper
def put_piece(out: Array, at: Number, blob: Array, start: Number, end: Number) -> Number:
    """Write a part of a blob; answers the place behind it."""
    for place in range(end - start):
        put_byte(out, at + place, byte_at(blob, start + place))
    return at + end - start


@helper
def put_id(out: Array, at: Number, blob: Array, start: Number, end: Number) -> Number:
    """Write an id; answers the place behind it, or UNUSUAL when it has to be escaped."""
    good = True
    for place in range(end - start):
        byte = byte_at(blob, start + place)
        good &= byte >= SPACE and byte != QUOTE and byte != BACKSLASH
        put_byte(out, at + place, byte)
    return at + end - start if good else np.int64(UNUSUAL)


@helper
def put_whole(out: Array, at: Number, number: Number) -> Number:
    """Write a whole number that is not negative; answers the place behind it."""
    size = np.int64(1)
    power = np.int64(10)
    while number >= power:
        power *= 10
        size += 1
    for place in range(size - 1, -1, -1):
        put_byte(out, at + place, ZERO + number % 10)
        number //= 10
    return at + size


@helper
def put_score(out: Array, at: Number, score: Number) -> Number:
    """Write the shortest decimal that gives the same float32 again; answers the place behind it,
    or UNUSUAL.

    A number of digits divided by an exact power of ten is the double nearest to that decimal.
    """
    size = abs(np.float64(score))
    if size != 0.0 and not (size >= LEAST and size < MOST):
        return np.int64(UNUSUAL)
    if score < 0.0:
        put_byte(out, at, MINUS)
        at += 1
    leading = np.int64(0)
    if size >= 1.0:
        while size >= POWERS[leading]:
            leading += 1
    else:
        while size != 0.0 and size * POWERS[1 - leading] < 1.0:
            leading -= 1
    # Behind the point there is one digit at least.
    digits = max(np.int64(DIGITS_MIN), leading + 1)
    while True:
        places = digits - leading
        number = np.int64(np.rint(size * POWERS[places]))
        if np.float64(np.float32(np.float64(number) / POWERS[places])) == size:
            break
        digits += 1
        if digits > DIGITS_MAX:
            return np.int64(UNUSUAL)
    power = np.int64(POWERS[places])
    at = put_whole(out, at, number // power)
    put_byte(out, at, POINT)
    at += 1
    number %= power
    while places > 1 and number % 10 == 0:
        number //= 10
        places -= 1
    for place in range(places - 1, -1, -1):
        put_byte(out, at + place, ZERO + number % 10)
        number //= 10
    return at + places


@kernel
def write_hits(
    rows: Array, scores: Array, want: Number, ends: Array, blob: Array, meta: Number, out: Array
) -> Any:
    """Write the ``want`` best of what one query found as an array of JSON.

    rows: int64 [n], -1 for none, scores: float32 [n], best first. ends: int64 [rows, 2], where the
    id and the metadata of each row end in ``blob``, uint8. meta: whether hits have it. out: uint8.

    Answers the length of the text and how many hits it has. Instead of the length TIED where rows
    score the same, since their ids have to say which comes first, and UNUSUAL or NO_ROOM.
    """
    count = np.int64(0)
    at = np.int64(1)
    put_byte(out, 0, 0x5B)
    while count < want and count < rows.size and rows[count] >= 0:
        row = rows[count]
        following = count + 1
        if following < rows.size and rows[following] >= 0 and scores[following] == scores[count]:
            return np.int64(TIED), count
        start = ends[row - 1, 1] if row > 0 else np.int64(0)
        middle, end = ends[row, 0], ends[row, 1]
        if out.size - at < HIT_BYTES + end - start:
            return np.int64(NO_ROOM), count
        if count > 0:
            put_byte(out, at, 0x2C)
            at += 1
        at = put_all(out, at, BEGIN)
        at = put_id(out, at, blob, start, middle)
        if at == UNUSUAL:
            return np.int64(UNUSUAL), count
        at = put_score(out, put_all(out, at, MIDDLE), scores[count])
        if at == UNUSUAL:
            return np.int64(UNUSUAL), count
        at = put_all(out, at, META)
        if meta and end > middle:
            at = put_piece(out, at, blob, middle, end)
        else:
            at = put_all(out, at, NULL)
        put_byte(out, at, 0x7D)
        at += 1
        count += 1
    put_byte(out, at, 0x5D)
    return at + 1, count
