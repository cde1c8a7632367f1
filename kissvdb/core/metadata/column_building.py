"""How columns come to be: from the values of new rows, and from columns of fewer rows."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kissvdb.core.bitmaps import Rows
from kissvdb.core.metadata import columns, string_table
from kissvdb.core.metadata.columns import VALUES, Column, Values
from kissvdb.core.metadata.string_table import KEY_BYTES_MAX, StringTable

_I64_MIN, _I64_MAX = -(2**63), 2**63 - 1
_FLOAT_EXACT_MAX = 2**53
_KEY_CHARS = KEY_BYTES_MAX + 1
# Not bool: Python's True is the same key as 1.
_TOLD = {str, int, float, type(None)}


def encode(
    row_count: int, rows: Rows, found: Sequence[Any], kinds: set[type] | None = None
) -> Column:
    """The column in which row rows[i] (uint32, ascending) holds the JSON value found[i].

    ``kinds``: the types of all values, if they are known.
    """
    kinds = set(map(type, found)) if kinds is None else kinds
    numbers: set[Any] = set()
    if kinds == {str}:
        if max(map(len, found)) > KEY_BYTES_MAX:
            # What a key is made of: the rest of a long text is not looked at.
            found = [text[:_KEY_CHARS] for text in found]
        texts = set(found)
    else:
        told = set(found if kinds <= _TOLD else (v for v in found if type(v) in _TOLD))
        texts = {value for value in told if type(value) is str}
        numbers = told - texts - {None}
    values, code_of = _dictionary(numbers, texts)
    code_of[None] = columns.NULL
    codes: Iterable[int]
    if kinds <= _TOLD:
        codes = map(code_of.__getitem__, found)
    else:
        codes = (code_of[v] if type(v) in _TOLD else _kind(v) for v in found)
    return columns.make(
        row_count,
        np.fromiter(codes, np.uint32, len(found)),
        rows,
        values,
    )


def _kind(value: Any) -> int:
    """The code of a value that has no place in the tables."""
    if type(value) is bool:
        return columns.TRUE if value else columns.FALSE
    if type(value) is list:
        return columns.ARRAY if value else columns.EMPTY_ARRAY
    return columns.OBJECT if type(value) is dict else columns.OTHER


def _dictionary(numbers: set[Any], texts: set[str]) -> tuple[Values, dict[Any, int]]:
    """The tables of distinct values, and the code of each value."""
    reals = sorted(number for number in numbers if _is_real(number))
    integers = sorted(
        number
        for number in numbers
        if type(number) is int and _I64_MIN <= number <= _I64_MAX and not _is_real(number)
    )
    # In code point order, and so are their keys; a cut key may stand for several in a row.
    ordered = sorted(texts)
    keys = string_table.keys_of(ordered)
    distinct = list(dict.fromkeys(keys))
    values = Values(
        np.array(reals, np.float64), np.array(integers, np.int64), StringTable.of(distinct)
    )
    code_of: dict[Any, int] = dict.fromkeys(numbers, columns.OTHER)
    code_of.update(zip(reals, range(VALUES, values.integers_from), strict=True))
    code_of.update(zip(integers, range(values.integers_from, values.strings_from), strict=True))
    codes: Iterable[int] = range(values.strings_from, values.codes_end)
    if len(distinct) < len(keys):
        codes = map(dict(zip(distinct, codes, strict=True)).__getitem__, keys)
    code_of.update(zip(ordered, codes, strict=True))
    return values, code_of


def _is_real(number: int | float) -> bool:
    """Whether a float64 holds the number exactly."""
    if type(number) is float:
        return number == number
    if -_FLOAT_EXACT_MAX <= number <= _FLOAT_EXACT_MAX:
        return True
    try:
        return float(number) == number
    except OverflowError:
        return False


def merge(parts: Iterable[tuple[Column | None, int, Rows]]) -> Column:
    """One column of the rows of all parts, one part after the other.

    A part is the field's column in some rows, or None where it has none; how many rows they are;
    and which of them may have the field although it was not indexed.
    """
    parts = list(parts)
    dictionaries = [column.values for column, _, _ in parts if column is not None]
    strings, string_places = string_table.merge(one.strings for one in dictionaries)
    values = Values(
        np.unique(np.concatenate([one.reals for one in dictionaries])),
        np.unique(np.concatenate([one.integers for one in dictionaries])),
        strings,
    )
    codes, rows, base = [], [], 0
    remaining = iter(string_places)
    for column, row_count, unindexed in parts:
        if column is None:
            rows.append(base + unindexed)
            codes.append(np.full(len(unindexed), columns.UNKNOWN, np.uint32))
        else:
            own = column.rows
            rows.append(base + (np.arange(row_count, dtype=np.uint32) if own is None else own))
            codes.append(_moved(column.values, values, next(remaining))[column.codes])
        base += row_count
    return columns.make(base, np.concatenate(codes), np.concatenate(rows), values)


def _moved(own: Values, merged: Values, string_places: Rows) -> Rows:
    """uint32[own.codes_end]: the code in the merged dictionary of every code of one's own."""
    return np.concatenate(
        [
            np.arange(VALUES, dtype=np.uint32),
            (VALUES + np.searchsorted(merged.reals, own.reals)).astype(np.uint32),
            (merged.integers_from + np.searchsorted(merged.integers, own.integers)).astype(
                np.uint32
            ),
            (merged.strings_from + string_places).astype(np.uint32),
        ]
    )
