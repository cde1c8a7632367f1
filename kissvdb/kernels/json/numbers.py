"""Vectors in JSON text become float32, and are cut out of the text.

What is read here is exactly what ``float`` and then float32 make of it; whatever cannot be told
for sure, or is no JSON, is refused as a whole, and for the caller to read in the usual way.

A number of at most 19 digits is an integer w and a power of ten. With w below 2**53 and a power
that a double holds exactly, one operation gives the double nearest to it (Clinger, "How to read
floating point numbers accurately", 1990). Otherwise up to three roundings leave the double at most
two units in the last place off; that changes the float32 only where a boundary between two of them
is as near, and this is looked at.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.json.text import (
    PADDING,
    UNUSUAL,
    ZERO,
    are_eight_digits,
    byte_at,
    eight_digits,
    is_digit,
    put_byte,
    skip_space,
    word_at,
)

Array = NDArray[Any]

DIGITS_MAX = 19
POWER_MAX = 22
POWERS = 10.0 ** np.arange(POWER_MAX + 1)
EXACT_MAX = np.uint64(2**53)
#: Below it a float32 has fewer bits.
NORMAL_MIN = 1.2e-38
#: Eight units in the last place of a double, either way.
ABOVE, BELOW = 1.0 + 2.0**-49, 1.0 - 2.0**-49
EXPONENT_DIGITS_MAX = 4
#: What stands for a vector that was cut out: a number of so many digits, its place in the last.
MARK_DIGITS = 15
PLACE_DIGITS = 5

QUOTE, COLON, COMMA, OPEN, CLOSE = 0x22, 0x3A, 0x2C, 0x5B, 0x5D
MINUS, PLUS, POINT = 0x2D, 0x2B, 0x2E
UPPER_E, LOWER_E = 0x45, 0x65
#: What is behind the first quote of the name, and the byte behind that.
NAME = np.uint64(int.from_bytes(b'vector"', "little"))
NAME_BYTES = 7
NAME_MASK = np.uint64(2**56 - 1)


@helper
def read_exponent(text: Array, at: Number) -> Any:
    """The place behind the exponent that follows an e, or UNUSUAL, and the exponent."""
    sign = np.int64(1)
    byte = byte_at(text, at)
    if byte in (MINUS, PLUS):
        if byte == MINUS:
            sign = np.int64(-1)
        at += 1
    exponent = np.int64(0)
    first = at
    while is_digit(text, at):
        exponent = exponent * 10 + byte_at(text, at) - ZERO
        at += 1
        if at - first > EXPONENT_DIGITS_MAX:
            return np.int64(UNUSUAL), exponent
    if at == first:
        at = np.int64(UNUSUAL)
    return at, sign * exponent


@helper
def scaled(digits: Number, exponent: Number, most: Number) -> Any:
    """``digits`` (uint64) times a power of ten as float32, and whether that is sure."""
    value: Number = np.float64(digits)
    if digits == np.uint64(0):
        return np.float32(0.0), True
    exact = digits <= EXACT_MAX
    if exponent < -POWER_MAX:
        value /= POWERS[POWER_MAX]
        exponent += POWER_MAX
        exact = False
        if exponent < -POWER_MAX:
            return np.float32(0.0), False
    if exponent < 0:
        value /= POWERS[-exponent]
    elif exponent > 0:
        if exponent > POWER_MAX:
            return np.float32(0.0), False
        value *= POWERS[exponent]
    number = np.float32(value)
    if value < NORMAL_MIN or np.float64(number) > most:
        return number, False
    if not exact:
        exact = np.float32(value * ABOVE) == number and np.float32(value * BELOW) == number
    return number, exact


@helper
def read_digits(text: Array, at: Number, digits: Number, count: Number) -> Any:
    """Go over digits, behind the ``count`` that ``digits`` (uint64) has: at most DIGITS_MAX are
    put to it. Answers the place behind them, the number, the count, and how many were left out."""
    left_out = np.int64(0)
    if digits == np.uint64(0):
        # Zeros in front are none of the digits, of which no other may be left out for them.
        while byte_at(text, at) == ZERO:
            at += 1
    while count <= DIGITS_MAX - 8:
        word = word_at(text, at)
        if not are_eight_digits(word):
            break
        digits = digits * np.uint64(100000000) + eight_digits(word)
        count += 8
        at += 8
    while is_digit(text, at):
        if count < DIGITS_MAX:
            digits = digits * np.uint64(10) + np.uint64(byte_at(text, at) - ZERO)
            count += 1
        else:
            left_out += 1
        at += 1
    return at, digits, count, left_out


@helper
def read_number(text: Array, at: Number, most: Number) -> Any:
    """The place behind the number at a place, or UNUSUAL, and the number as float32."""
    unusual = np.int64(UNUSUAL)
    negative = byte_at(text, at) == MINUS
    # Added, not branched on: half of all numbers have a sign, and no processor guesses which.
    at += np.int64(negative)
    digits = np.uint64(0)
    count = np.int64(0)
    exponent = np.int64(0)
    if byte_at(text, at) == ZERO:
        at += 1
    else:
        first = at
        at, digits, count, exponent = read_digits(text, at, digits, count)
        if at == first:
            return unusual, np.float32(0.0)
    byte = byte_at(text, at)
    whole = byte != POINT and byte != LOWER_E and byte != UPPER_E
    if byte == POINT:
        first = at + 1
        at, digits, count, left_out = read_digits(text, first, digits, count)
        if at == first:
            return unusual, np.float32(0.0)
        exponent += first - at + left_out
        byte = byte_at(text, at)
    if byte in (LOWER_E, UPPER_E):
        at, more = read_exponent(text, at + 1)
        if at == UNUSUAL:
            return unusual, np.float32(0.0)
        exponent += more
    if whole and negative and digits == np.uint64(0):
        # An integer: whether its zero has a sign is for the other reader to say.
        return unusual, np.float32(0.0)
    number, sure = scaled(digits, exponent, most)
    if not sure:
        at = unusual
    return at, -number if negative else number


@helper
def read_array(text: Array, at: Number, most: Number, rows: Array, row: Number) -> Number:
    """Read as many numbers as a row of ``rows`` (float32) has, from behind the opening bracket on.

    Answers the place behind the closing one, or UNUSUAL.
    """
    last = rows.shape[1] - 1
    for place in range(rows.shape[1]):
        at, rows[row, place] = read_number(text, skip_space(text, at), most)
        if at == UNUSUAL:
            return np.int64(UNUSUAL)
        at = skip_space(text, at)
        if byte_at(text, at) != (CLOSE if place == last else COMMA):
            return np.int64(UNUSUAL)
        at += 1
    return at


@helper
def write_mark(mark: Number, rest: Array, at: Number) -> None:
    """Write a number of MARK_DIGITS digits."""
    for place in range(MARK_DIGITS - 1, -1, -1):
        put_byte(rest, at + place, ZERO + mark % 10)
        mark //= 10


@helper
def array_behind(text: Array, at: Number) -> Number:
    """The place behind the bracket that opens the value of a member ``vector`` whose name is at a
    place, behind its first quote; or UNUSUAL."""
    unusual = np.int64(UNUSUAL)
    if word_at(text, at) & NAME_MASK != NAME:
        return unusual
    at = skip_space(text, at + NAME_BYTES)
    if byte_at(text, at) != COLON:
        return unusual
    at = skip_space(text, at + 1)
    if byte_at(text, at) != OPEN:
        return unusual
    return at + 1


@kernel
def cut_vectors(text: Array, mark: Number, most: Number, rows: Array, rest: Array) -> Any:
    """Read the arrays of all members ``vector`` into ``rows``, and leave the text without them.

    text: uint8 [n + PADDING], JSON and zeros. rows: float32 [at most so many, numbers of each].
    rest: uint8 [n + MARK_DIGITS for each of rows] gets the text with ``mark`` + i, a number of
    MARK_DIGITS digits, in the place of the i-th array. most: the greatest number there may be,
    float64.

    Answers the length of the rest, and how many arrays there were; UNUSUAL where one of them is not
    of so many numbers that can be read here. What looks like such a member inside of another one
    is cut as well: the caller sees by the marks.
    """
    count = np.int64(0)
    written = np.int64(0)
    at = np.int64(0)
    size = text.size - PADDING
    while at < size:
        byte = byte_at(text, at)
        put_byte(rest, written, byte)
        written += 1
        at += 1
        value = array_behind(text, at) if byte == QUOTE else np.int64(UNUSUAL)
        if value != UNUSUAL:
            if count == rows.shape[0]:
                return np.int64(UNUSUAL), count
            end = read_array(text, value, most, rows, count)
            if end == UNUSUAL:
                return np.int64(UNUSUAL), count
            for place in range(at, value - 1):
                put_byte(rest, written, byte_at(text, place))
                written += 1
            write_mark(mark + count, rest, written)
            written += MARK_DIGITS
            count += 1
            at = end
    return written, count


@kernel
def are_within(values: Array, most: Number) -> Any:
    """Whether all of float32 [n] are numbers between -most and most (float64)."""
    good = True
    for i in range(values.size):
        # A NaN is not.
        good &= abs(np.float64(values[i])) <= most
    return good
