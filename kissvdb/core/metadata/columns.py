"""A column: one field of many rows, dictionary-encoded in sorted order.

Every value is a small code, and codes ascend with the values: all conditions of a filter become
a few ranges of codes, so that one comparison over a dense array answers them. (The order-preserving
dictionary of column stores: Abadi, Madden, Ferreira, "Integrating compression and execution in
column-oriented database systems", SIGMOD 2006.)

Codes below VALUES are kinds. Then come the real numbers, the wide integers, the strings, each
ascending. A kind that does not tell the value (ARRAY, OBJECT, OTHER) leaves it to the document.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.bitmaps import Flags
from kissvdb.core.filters.tree import MISSING
from kissvdb.core.metadata.string_table import StringTable, is_cut

# UNKNOWN: this row may have the field, it was not indexed. OTHER: a number in neither table.
ABSENT, UNKNOWN, OTHER, NULL, FALSE, TRUE, EMPTY_ARRAY, ARRAY, OBJECT, VALUES = range(10)

Codes = npt.NDArray[np.unsignedinteger[Any]]
Range = tuple[int, int]
"""Codes from the first to before the second."""


class _Untold:
    def __repr__(self) -> str:
        return "UNTOLD"


UNTOLD: Final = _Untold()
"""Instead of a value: it is in the document, not in the column."""

_TOLD = {ABSENT: MISSING, NULL: None, FALSE: False, TRUE: True}
# Sparse costs 4 bytes a value for its row; this keeps it the smaller form and the faster one.
_SPARSE_RATIO = 4
_TABLE_LOOKUP_RANGES_MIN = 8


@attrs.frozen(eq=False)
class Values:
    """The distinct values of a column, each table strictly ascending.

    ``reals`` float64: numbers that a float holds exactly. ``integers`` int64: those it does not.
    """

    reals: npt.NDArray[np.float64]
    integers: npt.NDArray[np.int64]
    strings: StringTable

    @property
    def integers_from(self) -> int:
        return VALUES + len(self.reals)

    @property
    def strings_from(self) -> int:
        return self.integers_from + len(self.integers)

    @property
    def codes_end(self) -> int:
        """One past the highest code."""
        return self.strings_from + len(self.strings)

    def decode(self, code: int) -> Any:
        """The value of a code; MISSING for ABSENT; UNTOLD where the code does not tell it."""
        if code >= self.strings_from:
            key = self.strings.key(code - self.strings_from)
            return UNTOLD if is_cut(key) else key.decode("utf-8", "surrogatepass")
        if code >= self.integers_from:
            return int(self.integers[code - self.integers_from])
        if code >= VALUES:
            real = float(self.reals[code - VALUES])
            return int(real) if real.is_integer() else real
        return _TOLD.get(code, UNTOLD)


@attrs.frozen(eq=False)
class Column:
    """Codes of ``row_count`` rows.

    Dense (``rows`` None): codes[i] is that of row i. Sparse: codes[j] is that of row rows[j],
    rows ascending, the rest ABSENT; a row may come more than once (elements of an array).
    ``codes`` is the narrowest of uint8, uint16, uint32. ``kinds`` has bit k set if code k occurs.
    """

    row_count: int
    codes: Codes
    rows: npt.NDArray[np.uint32] | None
    values: Values
    kinds: int

    def occurring(self, ranges: Iterable[Range]) -> list[Range]:
        """The ranges that have a code of this column in them."""
        return [
            (start, stop)
            for start, stop in ranges
            if stop > VALUES or self.kinds >> start & ((1 << (stop - start)) - 1)
        ]

    def mask(self, ranges: Sequence[Range]) -> Flags:
        """bool[row_count]: which rows have a code in one of the ranges (each not empty)."""
        chosen = _within(self.codes, ranges, self.values.codes_end)
        if self.rows is None:
            return chosen
        flags = np.zeros(self.row_count, np.bool_)
        flags[self.rows[chosen]] = True
        return flags

    def present(self) -> npt.NDArray[np.uint32]:
        """The rows that have a value, ascending, each once."""
        if self.rows is None:
            return np.flatnonzero(self.codes).astype(np.uint32)
        return np.unique(self.rows)

    def value_at(self, row: int) -> Any:
        """The value of a row: MISSING without one, UNTOLD where only the document has it.

        Numbers come back by value: what was 2.0 may be 2.
        """
        return self.values.decode(self._code_at(row))

    def _code_at(self, row: int) -> int:
        if self.rows is None:
            return int(self.codes[row])
        place = int(np.searchsorted(self.rows, np.uint32(row)))
        if place == len(self.rows) or self.rows[place] != row:
            return ABSENT
        return int(self.codes[place])

    def take(self, keep: npt.NDArray[np.intp]) -> "Column":
        """The column of the rows ``keep`` (ascending), renumbered 0..len(keep) - 1."""
        if self.rows is None:
            codes, rows = self.codes[keep], np.arange(len(keep), dtype=np.uint32)
        else:
            renumbered = np.full(self.row_count, -1, np.int64)
            renumbered[keep] = np.arange(len(keep))
            moved = renumbered[self.rows]
            kept = moved >= 0
            codes, rows = self.codes[kept], moved[kept].astype(np.uint32)
        used = np.unique(codes[codes >= VALUES]).astype(np.int64)
        values, start = self.values, self.values.integers_from
        stop = values.strings_from
        strings = used[used >= stop] - stop
        left = Values(
            values.reals[used[used < start] - VALUES],
            values.integers[used[(used >= start) & (used < stop)] - start],
            values.strings.take(strings),
        )
        moved_codes = np.arange(self.values.codes_end, dtype=np.uint32)
        moved_codes[used] = VALUES + np.arange(len(used), dtype=np.uint32)
        return make(len(keep), moved_codes[codes], rows, left)


def make(
    row_count: int, codes: npt.NDArray[np.uint32], rows: npt.NDArray[np.uint32], values: Values
) -> Column:
    """The column of these codes in its smallest form; ABSENT codes are left out of a sparse one.

    ``rows`` uint32, ascending; a dense column is made only where each row comes once.
    """
    if len(codes) and codes.min() == ABSENT:
        present = codes != ABSENT
        codes, rows = codes[present], rows[present]
    kinds = 0
    for kind in np.unique(codes[codes < VALUES]).tolist():
        kinds |= 1 << kind
    narrow = np.min_scalar_type(max(values.codes_end - 1, 0))
    once = len(rows) < 2 or bool((rows[1:] > rows[:-1]).all())
    if not once or len(codes) * _SPARSE_RATIO < row_count:
        return Column(row_count, codes.astype(narrow), rows, values, kinds)
    dense = np.zeros(row_count, narrow)
    dense[rows] = codes
    return Column(row_count, dense, None, values, kinds)


def _within(codes: Codes, ranges: Sequence[Range], codes_end: int) -> Flags:
    if len(ranges) == 1:
        return _in_range(codes, *ranges[0])
    if len(ranges) >= _TABLE_LOOKUP_RANGES_MIN:
        table = np.zeros(codes_end, np.bool_)
        for start, stop in ranges:
            table[start:stop] = True
        return table[codes]
    chosen = np.zeros(len(codes), np.bool_)
    for start, stop in ranges:
        chosen |= _in_range(codes, start, stop)
    return chosen


def _in_range(codes: Codes, start: int, stop: int) -> Flags:
    one = codes.dtype.type
    if stop == start + 1:
        same: Flags = codes == one(start)
        return same
    # Unsigned wrap-around puts what is below the range above it: one comparison, not two.
    inside: Flags = (codes - one(start)) < one(stop - start)
    return inside
