"""The rows themselves: vectors, ids, metadata, texts and expiry times, in arrays that only grow.

A row is written once, behind the rows there are, and never changed: an update is a new row. So a
reader needs no more than the arrays and a count. A ``Space`` decides what the arrays lie in.

Rows of documents have no vector; their metadata is the document, and each has a stamp: the
document's revision, and the offset of the record that wrote it. Arrays of texts come to be with the
first text, zero for all rows before.
"""

from collections.abc import Iterable
from typing import Any, Protocol

import attrs
import msgspec
import numpy as np
import numpy.typing as npt

from kissvdb.core.store.spec import StoredRow
from kissvdb.kernels.arrays import aligned_zeros, padded
from kissvdb.kernels.plain import LANES

Array = npt.NDArray[Any]

ROWS_MAX = 2**31 - 2
"""A graph's ids are 31 bits."""


class Space(Protocol):
    """Where arrays lie: ``HeapSpace``, or files that are memory-mapped."""

    def array(self, name: str, dtype: str, width: int, rows: int) -> Array:
        """An array [at least ``rows``, width], or [at least ``rows``] for width 0, C-contiguous.

        It begins with what the array of that name held; what was never written is zero. An array
        handed out before stays as it is, for its readers. Raises PersistenceFailed when there is
        no room.
        """

    def open_file(self, name: str) -> tuple[int, int] | None:
        """A descriptor of the file that an array of this space lies in, for reading, and the byte
        where it begins; whoever asks closes it. None if it lies in memory. Raises OSError."""

    def forget(self, name: str) -> None:
        """Let go of an array; its readers keep what they have."""

    def successor(self) -> "Space":
        """An empty space to write the rows into anew."""

    def close(self) -> None:
        """Let go of all arrays; readers keep what they have."""


class Guard(Protocol):
    """Knows whether rows that were opened from files are what was written."""

    def check(self, rows: Iterable[int]) -> None: ...


class HeapSpace:
    """Arrays in ordinary memory. Growing copies them."""

    def __init__(self) -> None:
        self._arrays: dict[str, Array] = {}

    def array(self, name: str, dtype: str, width: int, rows: int) -> Array:
        """As ``Space.array``."""
        held = self._arrays.get(name)
        if held is None or held.shape[0] < rows:
            if held is not None:
                rows = max(rows, held.shape[0] * 3 // 2)
            larger = aligned_zeros((rows, width) if width else (rows,), np.dtype(dtype))
            if held is not None:
                larger[: held.shape[0]] = held
            held = self._arrays[name] = larger
        return held

    def open_file(self, name: str) -> None:
        """As ``Space.open_file``: there is none."""
        return

    def forget(self, name: str) -> None:
        """As ``Space.forget``."""
        self._arrays.pop(name, None)

    def successor(self) -> "HeapSpace":
        """As ``Space.successor``."""
        return HeapSpace()

    def close(self) -> None:
        """As ``Space.close``."""
        self._arrays.clear()


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row to append. ``vector``: little-endian float32 as it was sent, empty for a document;
    ``meta``: compact JSON; ``stamp``: a document's revision and offset."""

    id: str
    vector: bytes
    meta: bytes | None = None
    expires_at_ms: int | None = None
    text: str | None = None
    stamp: tuple[int, int] = (0, 0)


@attrs.frozen(eq=False)
class RowData:
    """The first ``count`` rows; good for any thread.

    vectors: float32 [>= count, dim padded to 16] or float16 [>= count, dim padded to 32], prepared
    for the metric; [0, 0] for documents. sent: float32 [>= count, dim], as they were sent, where
    that is another vector; of which rows, ``sent_flags`` says, uint8 [>= count]: of all if None.
    ``sent`` is None while it is of no row.

    ends: int64 [>= count, 2], where a row's id and its metadata end in ``blob``. expires_at_ms:
    int64 [>= count], 0 for never. stamps: int64 [>= count, 2], revision and offset of documents;
    else None. text_ends: int64 [>= count], where a row's text ends in ``texts``, uint8; both None
    while no row ever had one.
    """

    count: int
    dim: int
    metric: str
    vectors: Array
    sent: Array | None
    ends: Array
    blob: Array
    expires_at_ms: Array
    guard: "Guard | None" = None
    stamps: Array | None = None
    text_ends: Array | None = None
    texts: Array | None = None
    sent_flags: Array | None = None

    @property
    def blob_bytes(self) -> int:
        """What the ids and metadata of all rows take."""
        return int(self.ends[self.count - 1, 1]) if self.count else 0

    @property
    def text_bytes(self) -> int:
        """What the texts of all rows take."""
        return self.text_end(self.count - 1)

    @property
    def row_bytes(self) -> int:
        """What a row takes in the arrays that have a place for every row."""
        arrays = [self.vectors, self.sent, self.sent_flags, self.ends, self.expires_at_ms]
        arrays += [self.stamps, self.text_ends]
        return sum(each[:1].nbytes for each in arrays if each is not None)

    def check(self, rows: Iterable[int]) -> None:
        """Make sure that these rows are what was written. Raises Damaged."""
        if self.guard is not None:
            self.guard.check(rows)

    def vector(self, row: int) -> bytes:
        """The vector as it was sent: ``dim`` float32, little-endian; of float16 what they hold."""
        flags = self.sent_flags
        if self.sent is not None and (flags is None or flags[row]):
            return bytes(self.sent[row].data)
        return bytes(self.vectors[row, : self.dim].astype("<f4", copy=False).data)

    def prepared(self, rows: Any) -> Array:
        """The prepared vectors of some rows, as an index or a slice says: float32 [n, width], the
        width a multiple of 16 as that of a query."""
        width = padded(self.dim, LANES)
        return np.ascontiguousarray(self.vectors[rows, :width], np.float32)

    def id_at(self, row: int) -> str:
        """The row's id."""
        return self._text(self._start(row), int(self.ends[row, 0])).decode()

    def meta(self, row: int) -> bytes | None:
        """The row's metadata as JSON text; None if it has none."""
        return self._text(int(self.ends[row, 0]), int(self.ends[row, 1])) or None

    def document(self, row: int) -> Any:
        """The row's metadata, decoded."""
        return decoded(self.meta(row))

    def text(self, row: int) -> str | None:
        """The row's text; None if it has none."""
        start, end = self.text_end(row - 1), self.text_end(row)
        if start == end:
            return None
        assert self.texts is not None, "its end says that there is one"
        return self.texts[start:end].tobytes().decode()

    def text_end(self, row: int) -> int:
        """Where the row's text ends in ``texts``, whether it has one or not; row -1 is none."""
        return 0 if self.text_ends is None or row < 0 else int(self.text_ends[row])

    def stamp(self, row: int) -> tuple[int, int]:
        """A document's revision and the offset of the record that wrote it; zeros of a vector."""
        if self.stamps is None:
            return 0, 0
        revision, offset = self.stamps[row].tolist()
        return revision, offset

    def stored(self, row: int) -> StoredRow:
        """A row as it was written. Raises Damaged if that cannot be known."""
        self.check((row,))
        revision, offset = self.stamp(row)
        return StoredRow(
            row,
            self.id_at(row),
            self.vector(row) if self.dim else b"",
            self.meta(row),
            self.expiry(row),
            self.text(row),
            revision,
            offset,
        )

    def expiry(self, row: int) -> int | None:
        """When the row's time is over; None if it has no end."""
        return int(self.expires_at_ms[row]) or None

    def _start(self, row: int) -> int:
        return int(self.ends[row - 1, 1]) if row else 0

    def _text(self, start: int, end: int) -> bytes:
        return self.blob[start:end].tobytes()


def decoded(meta: bytes | None) -> Any:
    """The document of a metadata text; None, without a field, where Python has no value for it: a
    number beyond all floats, or nesting without end."""
    try:
        return None if meta is None else msgspec.json.decode(meta)
    except (msgspec.DecodeError, RecursionError):
        return None
