"""A look at many JSON texts at once: which are already as they are to be kept.

Of each text it costs a fifth of what decoding, counting and formatting it takes. It is told only
what is sure: for a text that is not found plain, ask `json_body.compact`, which also explains.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kissvdb.api.reading.json_problems import DEPTH_MAX

Array = npt.NDArray[Any]

MANY: Final = 8
"""Fewer are sooner looked at one by one."""
_BYTES_AT_ONCE: Final = 256 * 1024
# A number with fewer digits, and no exponent, is below the greatest double.
_DIGITS_MAX: Final = 300
# What is counted outside of strings: a count of each in a part of an int64.
_COUNT_BITS: Final = 20
_COUNT_MASK: Final = (1 << _COUNT_BITS) - 1


def _weights() -> Array:
    weights = np.zeros(256, np.int64)
    weights[list(b":")] = 1
    weights[list(b"[{")] = 1 << _COUNT_BITS
    weights[list(b"0123456789")] = 1 << 2 * _COUNT_BITS
    return weights


_WEIGHTS: Final = _weights()
_IS_SPACE: Final = np.isin(np.arange(256), list(b" \t\r"))
_IS_DIGIT: Final = np.isin(np.arange(256), list(b"0123456789"))


def plain_texts(texts: Sequence[bytes], fields_max: int, depth_max: int) -> list[bool]:
    """Which of these well-formed texts `compact` would answer as they are, and surely have at most
    so many fields and levels.

    Well-formed is what msgspec takes for a ``Raw``. It does not look at what is in strings, which
    here must be UTF-8, and at numbers, which must be within a double.
    """
    found: list[bool] = []
    start = 0
    while start < len(texts):
        stop, size = start, 0
        while stop < len(texts) and size <= _BYTES_AT_ONCE:
            size += len(texts[stop]) + 1
            stop += 1
        found += _plain(texts[start:stop], fields_max, min(depth_max, DEPTH_MAX))
        start = stop
    return found


def _plain(texts: Sequence[bytes], fields_max: int, depth_max: int) -> list[bool]:
    nothing = [False] * len(texts)
    joined = b"\n".join(texts)
    if len(joined) >= _COUNT_MASK:
        return nothing
    try:
        joined.decode()
    except UnicodeDecodeError:
        return nothing
    octets = _outside_strings(np.frombuffer(joined, np.uint8))
    ends = np.flatnonzero(octets == 0x0A)
    if len(ends) != len(texts) - 1:
        # A line break within a text.
        return nothing
    starts = np.concatenate([[0], ends + 1])
    counts = np.add.reduceat(_WEIGHTS[octets], starts)
    plain = (counts & _COUNT_MASK) <= fields_max
    plain &= (counts >> _COUNT_BITS & _COUNT_MASK) <= depth_max
    plain &= (counts >> 2 * _COUNT_BITS) <= _DIGITS_MAX
    exponents = np.flatnonzero((octets | 0x20) == ord("e"))
    # Else it is a letter of true or false.
    exponents = exponents[_IS_DIGIT[octets[exponents - 1]]]
    for places in (exponents, np.flatnonzero(_IS_SPACE[octets])):
        plain[np.searchsorted(starts, places, "right") - 1] = False
    answer: list[bool] = plain.tolist()
    return answer


def _outside_strings(octets: Array) -> Array:
    """The bytes that are in no string, and the quote behind each."""
    quotes = octets == ord('"')
    escapes = np.flatnonzero(octets == ord("\\"))
    if len(escapes):
        # Of a run of backslashes every second is escaped, and what follows an odd run.
        begins = np.diff(escapes, prepend=-2) != 1
        numbers = np.arange(len(escapes))
        in_run = numbers - np.maximum.accumulate(np.where(begins, numbers, 0))
        quotes[escapes[in_run & 1 == 0] + 1] = False
    places = np.flatnonzero(quotes)
    # From each closing quote to the next opening one.
    starts = np.concatenate([[0], places[1::2]])
    lengths = np.concatenate([places[::2], [len(octets)]]) - starts
    moved = starts - np.cumsum(lengths) + lengths
    outside: Array = octets[np.repeat(moved, lengths) + np.arange(lengths.sum())]
    return outside
