"""Metadata segments as a few named arrays, to lie in files and be opened in place.

Arrays of one dtype are concatenated; the header, msgpack in uint8, says how many items of each
belong to which column, in the order they lie there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from kissvdb.core.metadata.columns import Column, Values
from kissvdb.core.metadata.segment import Segment
from kissvdb.core.metadata.string_table import StringTable
from kissvdb.errors import Damaged

FORMAT = 1

_DTYPES: dict[str, Any] = {
    "codes8": np.uint8,
    "codes16": np.uint16,
    "codes32": np.uint32,
    "rows": np.uint32,
    "reals": np.float64,
    "integers": np.int64,
    "offsets": np.uint32,
    "blob": np.uint8,
}


class _ColumnHeader(msgspec.Struct, array_like=True, frozen=True):
    """How many items a column has in each array; ``width`` of a code in bytes."""

    path: str
    width: int
    dense: bool
    kinds: int
    codes: int
    reals: int
    integers: int
    strings: int
    blob_bytes: int


class _SegmentHeader(msgspec.Struct, array_like=True, frozen=True):
    row_count: int
    unindexed: int
    fields: list[_ColumnHeader]
    elements: list[_ColumnHeader]


class _Header(msgspec.Struct, array_like=True, frozen=True):
    format: int
    segments: list[_SegmentHeader]


class _Writer:
    def __init__(self) -> None:
        self._parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in _DTYPES}

    def segment(self, segment: Segment) -> _SegmentHeader:
        self._parts["rows"].append(segment.unindexed)
        return _SegmentHeader(
            segment.row_count,
            len(segment.unindexed),
            [self._column(path, column) for path, column in segment.fields.items()],
            [self._column(path, column) for path, column in segment.elements.items()],
        )

    def _column(self, path: str, column: Column) -> _ColumnHeader:
        parts, values, width = self._parts, column.values, column.codes.itemsize
        parts[f"codes{width * 8}"].append(column.codes)
        if column.rows is not None:
            parts["rows"].append(column.rows)
        parts["reals"].append(values.reals)
        parts["integers"].append(values.integers)
        parts["offsets"].append(values.strings.offsets)
        parts["blob"].append(values.strings.blob)
        return _ColumnHeader(
            path,
            width,
            column.rows is None,
            column.kinds,
            len(column.codes),
            len(values.reals),
            len(values.integers),
            len(values.strings),
            len(values.strings.blob),
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            name: np.concatenate([np.zeros(0, _DTYPES[name]), *parts])
            for name, parts in self._parts.items()
        }


def pack(segments: Iterable[Segment]) -> dict[str, npt.NDArray[Any]]:
    """All arrays one-dimensional; the same names whatever is in the segments."""
    writer = _Writer()
    header = _Header(FORMAT, [writer.segment(segment) for segment in segments])
    encoded = np.frombuffer(msgspec.msgpack.encode(header), np.uint8)
    return {"header": encoded, **writer.arrays()}


class _Reader:
    """Hands out the next items of each array, as views."""

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._arrays = arrays
        self._taken = dict.fromkeys(_DTYPES, 0)

    def take(self, name: str, count: int) -> Any:
        start = self._taken[name]
        self._taken[name] = start + count
        array = self._arrays[name]
        if array.dtype != _DTYPES[name] or start + count > len(array):
            raise Damaged(f"metadata index: the array {name!r} is too short or of a wrong type")
        return array[start : start + count]

    def column(self, row_count: int, header: _ColumnHeader) -> Column:
        codes = self.take(f"codes{header.width * 8}", header.codes)
        rows = None if header.dense else self.take("rows", header.codes)
        reals = self.take("reals", header.reals)
        integers = self.take("integers", header.integers)
        strings = StringTable(
            self.take("offsets", header.strings + 1), self.take("blob", header.blob_bytes)
        )
        return Column(row_count, codes, rows, Values(reals, integers, strings), header.kinds)


def unpack(arrays: Mapping[str, npt.NDArray[Any]]) -> Sequence[Segment]:
    """The segments of ``pack``, on the same memory. Raises Damaged."""
    try:
        header = msgspec.msgpack.decode(arrays["header"].tobytes(), type=_Header)
        if header.format != FORMAT:
            raise Damaged(f"metadata index: unknown format {header.format}")
        reader = _Reader(arrays)
        segments = []
        for one in header.segments:
            unindexed = reader.take("rows", one.unindexed)
            fields = {field.path: reader.column(one.row_count, field) for field in one.fields}
            elements = {field.path: reader.column(one.row_count, field) for field in one.elements}
            segments.append(Segment(one.row_count, fields, elements, unindexed))
    except (msgspec.DecodeError, KeyError) as error:
        raise Damaged(f"metadata index: {error}") from error
    return segments
