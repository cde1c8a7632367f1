"""The order of rows by their fields: what comes before what, and how columns tell it.

Values of one field, ascending: false, true, numbers, strings by code point, arrays, objects; arrays
are equal among each other, and so are objects. Rows without a value (missing or null, which are
equal here) come last in either direction, unless asked to come first.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from kissvdb.core.filters.tree import MISSING, lookup
from kissvdb.core.find import Place, SortKey
from kissvdb.core.metadata import column_ranges
from kissvdb.core.metadata.columns import (
    ABSENT,
    ARRAY,
    EMPTY_ARRAY,
    FALSE,
    NULL,
    OBJECT,
    TRUE,
    UNTOLD,
    VALUES,
    Column,
    Values,
)
from kissvdb.core.metadata.segment import Segment
from kissvdb.core.metadata.string_table import is_cut, key_of

Numbers = npt.NDArray[np.int64]

UNSURE: Final = -(2**62)
"""The rank of a row whose document must be asked."""

_BOOLEANS = 2
_ARRAY: list[Any] = []
_OBJECT: dict[str, Any] = {}


def sort_value(found: Any) -> Any:
    """What of a value, or MISSING, its order depends on: None, a scalar, [] or {}."""
    if found is MISSING:
        return None
    if type(found) is list:
        return _ARRAY
    return _OBJECT if type(found) is dict else found


def value_in(document: Any, path: str) -> Any:
    """The `sort_value` of a field of a document."""
    return sort_value(lookup(document, path))


def order_of(value: Any) -> tuple[int, Any]:
    """What sorts `sort_value`s ascending; not for None."""
    if type(value) is bool:
        return 0, value
    if type(value) is str:
        return 2, value
    if type(value) is list:
        return 3, 0
    return (4, 0) if type(value) is dict else (1, value)


def ordered(
    places: Sequence[tuple[Place, int]], keys: Sequence[SortKey]
) -> list[tuple[Place, int]]:
    """Places, each with its row, in the order of the keys; what ties, by id."""
    found = sorted(places, key=lambda one: one[0].id)
    for n in reversed(range(len(keys))):
        nothing = [one for one in found if one[0].values[n] is None]
        some = [(order_of(one[0].values[n]), one) for one in found if one[0].values[n] is not None]
        # A sort in reverse, too, leaves what ties in the order it was.
        some.sort(key=itemgetter(0), reverse=keys[n].descending)
        told = [one for _, one in some]
        found = nothing + told if keys[n].nothing_first else told + nothing
    return found


def is_behind(place: Place, other: Place, keys: Sequence[SortKey]) -> bool:
    """Whether a place comes after another one in the order of the keys."""
    for key, mine, others in zip(keys, place.values, other.values, strict=True):
        if mine is None or others is None:
            if mine is not others:
                return (mine is None) != key.nothing_first
            continue
        one, two = order_of(mine), order_of(others)
        if one != two:
            return (one > two) != key.descending
    return place.id > other.id


class Ranks:
    """The rows of one segment by one key: a smaller rank comes first, equal ranks tie."""

    def __init__(self, segment: Segment, key: SortKey) -> None:
        self._segment = segment
        self._key = key
        self._column = segment.fields.get(key.path)
        self._end = 0
        if self._column is not None:
            self._of_kind, self._of_number = self._tables(self._column.values)

    def of(self, rows: Numbers) -> Numbers:
        """The ranks of these rows of the segment; UNSURE where the column does not tell."""
        column = self._column
        if column is None:
            ranks: Numbers = np.full(len(rows), self._nothing, np.int64)
            if len(self._segment.unindexed):
                ranks[np.isin(rows, self._segment.unindexed)] = UNSURE
            return ranks
        codes = codes_at(column, rows).astype(np.int64)
        # But for wide integers, codes from VALUES on are in the order of values.
        ranks = codes - (VALUES - _BOOLEANS)
        if self._of_number is not None:
            numbers = (codes >= VALUES) & (codes < column.values.strings_from)
            ranks[numbers] = self._of_number[codes[numbers] - VALUES]
        if self._key.descending:
            ranks = (self._end - 1) - ranks
        kinds = codes < VALUES
        if kinds.any():
            ranks[kinds] = self._of_kind[codes[kinds]]
        return ranks

    def place(self, value: Any) -> tuple[int, int, bool]:
        """From which rank up to before which one a `sort_value` is; whether only documents tell
        which of the rows there have it, and which others come before or after it."""
        if value is None:
            return self._nothing, self._nothing + 1, False
        if self._column is None:
            return self._end, self._end, False
        first, last, cut = _span(self._column.values, value)
        if self._key.descending:
            first, last = self._end - last, self._end - first
        return first, last, cut

    def is_open(self, row: int) -> bool:
        """Whether rows that tie with this one may still differ: they have long strings that begin
        alike."""
        column = self._column
        if column is None:
            return False
        code = int(codes_at(column, np.array([row]))[0]) - column.values.strings_from
        return code >= 0 and is_cut(column.values.strings.key(code))

    def value_at(self, row: int) -> Any:
        """The `sort_value` of a row; UNTOLD where only its document has it."""
        column = self._column
        if column is None:
            return UNTOLD if row in self._segment.unindexed else None
        code = int(codes_at(column, np.array([row]))[0])
        if code in (ARRAY, EMPTY_ARRAY):
            return _ARRAY
        if code == OBJECT:
            return _OBJECT
        value = column.values.decode(code)
        return None if value is MISSING else value

    @property
    def _nothing(self) -> int:
        return -1 if self._key.nothing_first else self._end

    def _tables(self, values: Values) -> tuple[Numbers, Numbers | None]:
        """The ranks of kinds, int64[VALUES], in the key's direction; and of all numbers, ascending,
        if they are not in the order of their codes."""
        arrays = _BOOLEANS + values.codes_end - VALUES
        self._end = arrays + 2
        kinds = np.full(VALUES, UNSURE, np.int64)
        told = {FALSE: 0, TRUE: 1, EMPTY_ARRAY: arrays, ARRAY: arrays, OBJECT: arrays + 1}
        for kind, rank in told.items():
            kinds[kind] = self._end - 1 - rank if self._key.descending else rank
        kinds[ABSENT] = kinds[NULL] = self._nothing
        if not len(values.integers):
            return kinds, None
        return kinds, _BOOLEANS + np.concatenate(_number_ranks(values))


def codes_at(column: Column, rows: Numbers) -> npt.NDArray[Any]:
    """The codes of rows in a column that has each row once at most."""
    if column.rows is None:
        return column.codes[rows]
    places = np.searchsorted(column.rows, rows)
    places[places == len(column.rows)] = 0
    if not len(column.rows):
        return np.zeros(len(rows), column.codes.dtype)
    found = column.codes[places]
    found[column.rows[places] != rows] = ABSENT
    return found


def _number_ranks(values: Values) -> tuple[Numbers, Numbers]:
    """The ranks of the real and of the wide numbers among all numbers."""
    reals, integers = values.reals, values.integers
    # How many reals are below each integer. No real lies between it and the real next to it.
    nearest = integers.astype(np.float64)
    low = nearest < 2.0**63
    rounded_up = ~low
    rounded_up[low] = nearest[low].astype(np.int64) > integers[low]
    below = np.where(
        rounded_up,
        np.searchsorted(reals, nearest, "left"),
        np.searchsorted(reals, nearest, "right"),
    ).astype(np.int64)
    own = np.arange(len(reals))
    return own + np.searchsorted(below, own, "right"), np.arange(len(integers)) + below


def _span(values: Values, value: Any) -> tuple[int, int, bool]:
    """As `Ranks.place`, ascending."""
    numbers = len(values.reals) + len(values.integers)
    kind = type(value)
    if kind is bool:
        return int(value), int(value) + 1, False
    if kind is str:
        key = key_of(value)
        first = _BOOLEANS + numbers
        low, high = values.strings.left(key), values.strings.right(key)
        return first + low, first + high, is_cut(key) and low < high
    if kind is list or kind is dict:
        first = _BOOLEANS + numbers + len(values.strings) + (kind is dict)
        return first, first + 1, False
    low, high = column_ranges.number_places(values, value)
    return _BOOLEANS + low, _BOOLEANS + high, False
