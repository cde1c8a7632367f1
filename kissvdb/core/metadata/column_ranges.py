"""Conditions as ranges of codes: which codes of a column pass for sure, which are open.

Every function answers a Verdict. What is open is for the document to decide; codes in neither
list fail for sure.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kissvdb.core.filters import tree as filter_tree
from kissvdb.core.metadata.columns import (
    ARRAY,
    EMPTY_ARRAY,
    FALSE,
    NULL,
    OBJECT,
    OTHER,
    TRUE,
    UNKNOWN,
    VALUES,
    Range,
    Values,
)
from kissvdb.core.metadata.string_table import CUT, is_cut, key_of

Verdict = tuple[list[Range], list[Range]]
"""``(sure, open)``: ranges of codes, none empty, no two overlapping."""

_Side = Literal["left", "right"]
_SIDES: tuple[_Side, _Side] = ("left", "right")
_Place = Callable[[Any, Any, _Side], int]

# Whatever is asked of its value, a row of these kinds must be looked at.
_UNTOLD = (UNKNOWN, OTHER + 1)
_I64_MIN, _I64_MAX = -(2**63), 2**63 - 1


def exists(values: Values) -> Verdict:
    """The rows that have the field at all."""
    return [(OTHER, values.codes_end)], [(UNKNOWN, UNKNOWN + 1)]


def any_of(values: Values, wanted: filter_tree.AnyOf) -> Verdict:
    """The rows whose value equals one of those wanted."""
    sure: set[int] = set()
    undecided: set[int] = set()
    for value in wanted.scalars:
        code, tells = _scalar_code(values, value)
        if code is not None:
            (sure if tells else undecided).add(code)
    for value in wanted.others:
        if type(value) is bool:
            sure.add(TRUE if value else FALSE)
        elif value == []:
            sure.add(EMPTY_ARRAY)
        else:
            undecided.add(ARRAY if type(value) is list else OBJECT)
    return _singles(sure), [_UNTOLD, *_singles(undecided)]


def within(values: Values, bounds: filter_tree.Range) -> Verdict:
    """The rows whose value lies within the bounds."""
    if bounds.of_strings:
        return _string_range(values, bounds)
    sure = []
    for start, table, place in _number_tables(values):
        low = max(
            0 if bounds.gt is None else place(table, bounds.gt, "right"),
            0 if bounds.gte is None else place(table, bounds.gte, "left"),
        )
        high = min(
            len(table) if bounds.lt is None else place(table, bounds.lt, "left"),
            len(table) if bounds.lte is None else place(table, bounds.lte, "right"),
        )
        if low < high:
            sure.append((start + low, start + high))
    return sure, [_UNTOLD]


def _string_range(values: Values, bounds: filter_tree.Range) -> Verdict:
    """A bound with a cut key leaves the strings of the same cut key open."""
    strings = values.strings
    sure_low = low = 0
    sure_high = high = len(strings)
    for bound, side in ((bounds.gt, strings.right), (bounds.gte, strings.left)):
        if isinstance(bound, str):
            key = key_of(bound)
            sure_low = max(sure_low, strings.right(key) if is_cut(key) else side(key))
            low = max(low, strings.left(key) if is_cut(key) else side(key))
    for bound, side in ((bounds.lt, strings.left), (bounds.lte, strings.right)):
        if isinstance(bound, str):
            key = key_of(bound)
            sure_high = min(sure_high, strings.left(key) if is_cut(key) else side(key))
            high = min(high, strings.right(key) if is_cut(key) else side(key))
    if sure_low >= sure_high:
        sure, undecided = [], [(low, high)]
    else:
        sure, undecided = [(sure_low, sure_high)], [(low, sure_low), (sure_high, high)]
    start = values.strings_from
    return (
        [(start + first, start + last) for first, last in sure],
        [_UNTOLD, *((start + first, start + last) for first, last in undecided if first < last)],
    )


def prefixed(values: Values, prefix: str) -> Verdict:
    """The rows whose value is a string that begins with the prefix."""
    key = key_of(prefix)
    low = values.strings_from + values.strings.left(key)
    # Above every key that begins with this one, be it cut right after it.
    high = values.strings_from + values.strings.left(key + CUT + CUT)
    matching = [(low, high)] if low < high else []
    return ([], [_UNTOLD, *matching]) if is_cut(key) else (matching, [_UNTOLD])


def number_places(values: Values, number: int | float) -> tuple[int, int]:
    """How many of the numbers of a column are below a number, and how many are not above it."""
    tables = _number_tables(values)
    low, high = (sum(place(table, number, side) for _, table, place in tables) for side in _SIDES)
    return low, high


def _singles(codes: set[int]) -> list[Range]:
    return [(code, code + 1) for code in sorted(codes)]


def _scalar_code(values: Values, value: Any) -> tuple[int | None, bool]:
    """The code of a scalar that is not a boolean, None if it does not occur; does it tell?"""
    if value is None:
        return NULL, True
    if isinstance(value, str):
        key = key_of(value)
        low = values.strings.left(key)
        if low == len(values.strings) or values.strings.key(low) != key:
            return None, True
        return values.strings_from + low, not is_cut(key)
    for start, table, place in _number_tables(values):
        low = place(table, value, "left")
        if low < place(table, value, "right"):
            return start + low, True
    return None, True


def _number_tables(values: Values) -> tuple[tuple[int, Any, _Place], ...]:
    """The first code, the table and the search of the two kinds of numbers."""
    return (
        (VALUES, values.reals, _real_place),
        (values.integers_from, values.integers, _integer_place),
    )


def _real_place(table: npt.NDArray[np.float64], number: Any, side: _Side) -> int:
    """Where the first entry >= (left) or > (right) the number is; exact for any integer."""
    try:
        nearest = float(number)
    except OverflowError:
        nearest = math.inf if number > 0 else -math.inf
    if nearest != number:
        side = "left" if nearest > number else "right"
    return int(np.searchsorted(table, nearest, side))


def _integer_place(table: npt.NDArray[np.int64], number: Any, side: _Side) -> int:
    """The same among integers. Those are beyond 2**53, where a bound has no fraction to lose."""
    whole = int(number)
    if whole > _I64_MAX:
        return len(table)
    return 0 if whole < _I64_MIN else int(np.searchsorted(table, np.int64(whole), side))
