"""Facets: how often each value of a field occurs in the rows that pass.

An array counts for each of its elements, once a row. Null, arrays in arrays, objects and strings of
more than VALUE_CHARS_MAX characters are no values to count. Numbers count by value: 1 and 1.0 are
one.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.bitmaps import Flags, Rows
from kissvdb.core.filters.tree import lookup
from kissvdb.core.metadata.columns import ARRAY, FALSE, OTHER, TRUE, UNKNOWN, VALUES, Column, Values
from kissvdb.core.metadata.index import DocumentAt, MetadataView
from kissvdb.core.metadata.segment import Segment
from kissvdb.core.metadata.sorting import order_of
from kissvdb.core.metadata.string_table import CUT

Count = tuple[Any, int]
"""A value and the rows that have it."""

VALUE_CHARS_MAX = 256
"""A longer string is a text, which hardly comes twice; to count texts is to hold them all."""

_SHIFTS_MAX = 16
"""Longer arrays are cheaper to sort than to compare with themselves."""

_Key = tuple[bool, Any]
"""Whether it is a boolean, and the value: True and 1 are the same key in Python."""


@attrs.frozen
class Facet:
    """The commonest values of a field, equally common ones in the order of values; ``distinct``
    values there are in all."""

    counts: list[Count]
    distinct: int


def count(
    view: MetadataView, passing: Flags | None, path: str, want: int, document_at: DocumentAt
) -> Facet:
    """The ``want`` commonest values of a field. ``passing``: bool[view.row_count], None for all
    rows. ``document_at`` is called for rows whose columns do not tell the value."""
    found: Counter[_Key] = Counter()
    first = 0
    for segment in view.segments:
        last = first + segment.row_count
        flags = None if passing is None else passing[first:last]
        unsure = _count_segment(segment, flags, path, found)
        found.update(_keys(lookup(document_at(first + row), path) for row in unsure))
        first = last
    for row, document in enumerate(view.tail, first):
        if passing is None or passing[row]:
            found.update(_keys([lookup(document, path)]))
    least = min(heapq.nlargest(want, found.values()), default=0)
    common = (one for one in found.items() if one[1] >= least)
    best = heapq.nsmallest(want, common, key=lambda one: (-one[1], order_of(one[0][1])))
    return Facet([(value, number) for (_, value), number in best], len(found))


def _keys(values: Iterable[Any]) -> Iterator[_Key]:
    """What the values of rows count for."""
    for value in values:
        if type(value) is not list:
            yield from _scalar(value)
        else:
            yield from {key for element in value for key in _scalar(element)}


def _scalar(value: Any) -> Iterator[_Key]:
    if type(value) in (int, float, bool) or (type(value) is str and len(value) <= VALUE_CHARS_MAX):
        yield type(value) is bool, value


def _count_segment(
    segment: Segment, flags: Flags | None, path: str, found: "Counter[_Key]"
) -> Iterable[int]:
    """Add what the columns tell; the rows whose documents must be asked instead."""
    if flags is None:
        flags = np.ones(segment.row_count, np.bool_)
    column, elements = segment.fields.get(path), segment.elements.get(path)
    if column is None:
        rows: list[int] = segment.unindexed[flags[segment.unindexed]].tolist()
        return rows
    untold = _untold(column)
    if elements is not None and column.kinds >> ARRAY & 1:
        untold = untold | _untold(elements)
    asked = np.flatnonzero(untold & flags)
    if len(asked):
        flags = flags & ~untold
    _add(column.values, _codes(column, flags), found)
    if elements is not None and elements.rows is not None:
        chosen = flags[elements.rows]
        codes = _once_a_row(elements.rows[chosen], elements.codes[chosen])
        _add(elements.values, codes, found)
    elif elements is not None:
        _add(elements.values, _codes(elements, flags), found)
    return asked.tolist()


def _once_a_row(rows: Rows, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The codes without those that their row has already. ``rows``: ascending."""
    if not len(rows):
        return codes
    longest = int(np.diff(np.flatnonzero(np.diff(rows, prepend=-1, append=-1))).max())
    if longest > _SHIFTS_MAX:
        pairs = np.unique(rows.astype(np.int64) << 32 | codes)
        return pairs & 0xFFFFFFFF
    again = np.zeros(len(rows), np.bool_)
    for shift in range(1, longest):
        again[shift:] |= (rows[shift:] == rows[:-shift]) & (codes[shift:] == codes[:-shift])
    return codes[~again]


def _codes(column: Column, flags: Flags) -> npt.NDArray[Any]:
    return column.codes[flags if column.rows is None else flags[column.rows]]


def _add(values: Values, codes: npt.NDArray[Any], found: "Counter[_Key]") -> None:
    counts = np.bincount(codes, minlength=VALUES)
    counts[:FALSE] = 0
    counts[TRUE + 1 : VALUES] = 0
    for code in np.flatnonzero(counts).tolist():
        found[code < VALUES, values.decode(code)] += int(counts[code])


def _untold(column: Column) -> Flags:
    """bool[row_count]: the rows that have a value here which its code does not tell."""
    strings = column.values.strings
    ranges = column.occurring([(UNKNOWN, OTHER + 1)])
    ends = strings.offsets[1:].astype(np.int64) - 1
    # Only the empty string has no last byte, and it is the first.
    cut = np.flatnonzero((ends >= strings.offsets[:-1]) & (strings.blob[ends] == CUT[0]))
    start = column.values.strings_from
    ranges += [(start + code, start + code + 1) for code in cut.tolist()]
    return column.mask(ranges) if ranges else np.zeros(column.row_count, np.bool_)
