"""Documents taken apart by compiled kernels: the same columns as ``segment.build`` makes."""

import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from kissvdb.core.metadata import column_building, columns
from kissvdb.core.metadata.columns import VALUES, Column, Values
from kissvdb.core.metadata.flat import BYTES_MAX, DOCUMENTS_MIN, Flat, Strings
from kissvdb.core.metadata.segment import Segment, indexable
from kissvdb.core.metadata.string_table import KEY_BYTES_MAX, StringTable
from kissvdb.kernels.documents import dictionary, scanning

Array = npt.NDArray[Any]

_SALT: Final = secrets.randbits(62)
"""Nobody can choose strings that fall into one place of a table."""
_DOCUMENT, _FIELD, _KIND, _START, _END = range(5)
_PLAIN: Final = {
    scanning.NULL: None,
    scanning.FALSE: False,
    scanning.TRUE: True,
    scanning.EMPTY_ARRAY: [],
    scanning.ARRAY: [None],
}


def taken_apart(documents: Sequence[bytes]) -> Flat | None:
    """Documents, each JSON or nothing; None unless they are many, flat, and in compact JSON."""
    ends = np.cumsum(np.fromiter(map(len, documents), np.int64, len(documents)))
    if len(documents) < DOCUMENTS_MIN or ends[-1] > BYTES_MAX:
        return None
    blob = np.frombuffer(bytearray(b"".join(documents)), np.uint8)
    fields = np.full((scanning.FIELDS_MAX + 1, 4), scanning.FIELDS_MAX, np.int64)
    text, sizes = np.empty(len(blob), np.uint8), np.zeros(3, np.int64)
    values = np.empty((len(blob) // 2 + 1, 5), np.int64)
    if not scanning.scan(blob, ends, fields, text, values, sizes):
        return None
    count, octets, found = sizes.tolist()
    text, values = text[:octets], values[:found]
    paths = [blob[start:end].tobytes().decode() for start, end in fields[:count, :2].tolist()]
    if not all(map(indexable, paths)):
        return None
    kinds = values[:, _KIND]
    is_wide = kinds == scanning.WIDE
    is_string = (is_wide | (kinds == scanning.STRING)) & (values[:, _END] > values[:, _START])
    chosen = values[is_string]
    strings = Strings(
        chosen[:, _DOCUMENT], chosen[:, _FIELD] >> 1, chosen[:, _START], chosen[:, _END],
        is_wide[is_string],
    )  # fmt: skip
    try:
        if strings.wide.any():
            # Were they no UTF-8, none of them would be known to be text.
            text.tobytes().decode()
        segment = _segment(len(documents), paths, blob, text, values)
    except (UnicodeDecodeError, msgspec.DecodeError):
        return None
    return Flat(len(documents), paths, text, strings, segment)


def _segment(
    row_count: int, paths: Sequence[str], blob: Array, text: Array, values: Array
) -> Segment:
    order = np.argsort(values[:, _FIELD].astype(np.int16), kind="stable")
    counts = np.bincount(values[:, _FIELD], minlength=2 * len(paths))
    parts = np.split(order, np.cumsum(counts)[:-1])
    encoder = _Encoder(row_count, blob, text, values, int(counts.max(initial=0)))
    made = [encoder.column(part) if len(part) else None for part in parts]
    fields = {path: made[2 * n] for n, path in enumerate(paths)}
    elements = {path: made[2 * n + 1] for n, path in enumerate(paths)}
    return Segment(row_count, _there(fields), _there(elements), np.zeros(0, np.uint32))


def _there(columns_: dict[str, Column | None]) -> dict[str, Column]:
    return {path: column for path, column in columns_.items() if column is not None}


class _Encoder:
    """Columns of values of ``scanning.scan``, one after the other, in the same working memory."""

    def __init__(self, row_count: int, blob: Array, text: Array, values: Array, most: int) -> None:
        """``most``: how many values a column has at most."""
        self._row_count = row_count
        self._blob, self._text, self._values = blob, text, values
        self._strings = np.empty((most, 3), np.int64)
        self._prefixes = np.empty(most, np.uint64)
        self._order, self._spare = np.empty(most, np.int64), np.empty(most, np.int64)
        self._keys = np.empty(most * (KEY_BYTES_MAX + 1), np.uint8)

    def column(self, records: Array) -> Column:
        """The column of some of the values, by their numbers, int64[n]."""
        rows = self._values[records, _DOCUMENT].astype(np.uint32)
        kinds = self._values[records, _KIND]
        if (kinds == scanning.NUMBER).any():
            return column_building.encode(self._row_count, rows, [*map(self._decoded, records)])
        is_number = kinds == scanning.INTEGER
        numbers = self._values[records[is_number], _START].astype(np.float64)
        reals, places = np.unique(numbers, return_inverse=True)
        codes = np.empty(len(records), np.uint32)
        base = VALUES + len(reals)
        keys = self._encode(records, base, codes)
        codes[is_number] = VALUES + places
        found = Values(reals, np.zeros(0, np.int64), keys)
        return columns.make(self._row_count, codes, rows, found)

    def _encode(self, records: Array, base: int, codes: Array) -> StringTable:
        """The keys of the strings, and into ``codes`` what all but integers are."""
        size = len(records)
        offsets = np.empty(size + 1, np.uint32)
        count = dictionary.encode(
            self._text,
            self._values,
            records,
            base,
            _SALT,
            np.zeros(1 << (2 * size).bit_length(), np.int32),
            self._strings,
            self._prefixes,
            self._order,
            self._spare,
            codes,
            self._keys,
            offsets,
        )
        offsets = offsets[: count + 1].copy()
        return StringTable(offsets, self._keys[: offsets[-1]].copy())

    def _decoded(self, record: int) -> Any:
        _, _, kind, start, end = self._values[record].tolist()
        if kind == scanning.INTEGER:
            return start
        if kind == scanning.NUMBER:
            return msgspec.json.decode(self._blob[start:end].tobytes())
        if kind in _PLAIN:
            return _PLAIN[kind]
        return self._text[start:end].tobytes().decode()
