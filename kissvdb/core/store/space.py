"""The rows themselves: vectors, ids, metadata, texts and expiry times, in arrays that only grow.

A row is written once, behind the rows there are, and never changed: an update is a new row. So a
reader needs no more than the arrays and a count. A ``Space`` decides what the arrays lie in.

Rows of documents have no vector; their metadata is the document, and each has a stamp: the
document's revision, and the offset of the record that wrote it. Arrays of texts come to be with the
first text, zero for all rows before.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import attrs
import msgspec
import numpy as np
import numpy.typing as npt

from kissvdb.core.store.spec import CollectionSpec, StoredRow
from kissvdb.kernels import plain
from kissvdb.kernels.arrays import METRICS, aligned_zeros, padded

Array = npt.NDArray[Any]

ROWS_MAX = 2**31 - 2
"""A graph's ids are 31 bits."""
_CAPACITY_ROWS_MIN = 64
_BLOB_BYTES_A_ROW = 64
_NEVER = 0
_TEXT_BYTES_MIN = 4096
_ADOPTED_ROWS = 1024
_NO_VECTORS: Array = np.zeros((0, 0), "<f4")


class Space(Protocol):
    """Where arrays lie: ``HeapSpace``, or files that are memory-mapped."""

    def array(self, name: str, dtype: str, width: int, rows: int) -> Array:
        """An array [at least ``rows``, width], or [at least ``rows``] for width 0, C-contiguous.

        It begins with what the array of that name held; what was never written is zero. An array
        handed out before stays as it is, for its readers. Raises PersistenceFailed when there is
        no room.
        """

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

    def forget(self, name: str) -> None:
        """As ``Space.forget``."""
        self._arrays.pop(name, None)

    def successor(self) -> "HeapSpace":
        """As ``Space.successor``."""
        return HeapSpace()

    def close(self) -> None:
        """As ``Space.close``."""
        self._arrays.clear()


@attrs.frozen(slots=True)
class Row:
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

    vectors: float32 [>= count, dim padded to 16], prepared for the metric. sent: float32
    [>= count, dim], as they were sent; the same array unless the metric is cosine. Both are
    [0, 0] for documents. ends: int64 [>= count, 2], where a row's id and its metadata end in
    ``blob``. expires_at_ms: int64 [>= count], 0 for never. stamps: int64 [>= count, 2], revision
    and offset of documents; else None. text_ends: int64 [>= count], where a row's text ends in
    ``texts``, uint8; both None while no row ever had one.
    """

    count: int
    dim: int
    metric: str
    vectors: Array
    sent: Array
    ends: Array
    blob: Array
    expires_at_ms: Array
    guard: "Guard | None" = None
    stamps: Array | None = None
    text_ends: Array | None = None
    texts: Array | None = None

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
        places = {id(each): each for each in (self.vectors, self.sent, self.ends)}
        arrays = [*places.values(), self.expires_at_ms, self.stamps, self.text_ends]
        return sum(each[:1].nbytes for each in arrays if each is not None)

    def check(self, rows: Iterable[int]) -> None:
        """Make sure that these rows are what was written. Raises Damaged."""
        if self.guard is not None:
            self.guard.check(rows)

    def vector(self, row: int) -> bytes:
        """The vector as it was sent: ``dim`` float32, little-endian."""
        return self.sent[row, : self.dim].tobytes()

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
    """The document of a metadata text."""
    return None if meta is None else msgspec.json.decode(meta)


class RowStore:
    """The writer's side of ``RowData``: one thread."""

    def __init__(
        self, spec: CollectionSpec, space: Space, count: int = 0, *, texts: bool = False
    ) -> None:
        """``count``: how many rows the arrays of the space hold already, and whether ``texts``."""
        self._spec = spec
        self._space = space
        self._count = count
        self._blob_bytes = 0
        self._text_bytes = 0
        self._text_ends: Array | None = None
        self._texts: Array | None = None
        self._guard: Guard | None = None
        self._grow(count, 0)
        if count:
            self._blob_bytes = int(self._ends[count - 1, 1])
            self._grow(count, self._blob_bytes)
        if texts:
            ends = self._grow_texts(count, 0)
            self._text_bytes = int(ends[count - 1]) if count else 0
            self._grow_texts(count, self._text_bytes)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self._count

    @property
    def has_texts(self) -> bool:
        """Whether a row ever had a text."""
        return self._text_ends is not None

    def reserve(self, rows: int, blob_bytes: int, text_bytes: int = 0) -> None:
        """Make sure that so many more rows, with ids and metadata of so many bytes, and texts,
        have room.

        Raises PersistenceFailed if they have not; then nothing changed.
        """
        self._grow(self._count + rows, self._blob_bytes + blob_bytes)
        if text_bytes or self._text_ends is not None:
            self._reserve_texts(rows, text_bytes)

    def extend(self, rows: Sequence[Row]) -> int:
        """Append rows; answers the number of the first."""
        first, count = self._count, len(rows)
        parts: list[bytes] = []
        for row in rows:
            assert len(row.vector) == self._spec.vector_bytes, (row.id, len(row.vector))
            parts += (row.id.encode(), row.meta or b"")
        blob = b"".join(parts)
        texts = [(row.text or "").encode() for row in rows]
        self.reserve(count, len(blob), sum(map(len, texts)))
        here = slice(first, first + count)
        if self._spec.dim:
            self._put_vectors(here, rows)
        if self._stamps is not None:
            self._stamps[here] = [row.stamp for row in rows]
        lengths = np.fromiter(map(len, parts), np.int64, 2 * count)
        self._ends[here] = (self._blob_bytes + np.cumsum(lengths)).reshape(count, 2)
        self._put_blob(blob)
        self._expires[here] = [row.expires_at_ms or _NEVER for row in rows]
        self._put_texts(here, np.fromiter(map(len, texts), np.int64, count), b"".join(texts))
        self._count += count
        return first

    def adopt(self, data: RowData, rows: npt.NDArray[np.int64]) -> int:
        """Append rows of another store as they are; answers the number of the first.

        Raises Damaged if one of them is not what was written.
        """
        first = self._count
        for start in range(0, len(rows), _ADOPTED_ROWS):
            self._adopt(data, rows[start : start + _ADOPTED_ROWS])
        return first

    def _adopt(self, data: RowData, rows: npt.NDArray[np.int64]) -> None:
        data.check(rows.tolist())
        first, count = self._count, len(rows)
        starts = np.where(rows > 0, data.ends[rows - 1, 1], 0)
        ends = data.ends[rows]
        blob = _pieces(data.blob, starts, ends[:, 1])
        text_lengths, texts = _texts_of(data, rows)
        self.reserve(count, len(blob), len(texts))
        here = slice(first, first + count)
        if self._spec.dim:
            self._vectors[here] = data.vectors[rows]
            if self._sent is not self._vectors:
                self._sent[here] = data.sent[rows]
        if self._stamps is not None:
            assert data.stamps is not None, "both are of one collection"
            self._stamps[here] = data.stamps[rows]
        self._expires[here] = data.expires_at_ms[rows]
        moved = self._blob_bytes + np.cumsum(ends[:, 1] - starts) - ends[:, 1]
        self._ends[here] = ends + moved[:, None]
        self._put_blob(blob)
        self._put_texts(here, text_lengths, texts)
        self._count += count

    def distrust_end(self) -> None:
        """Write behind all there may be: where the last row's parts end cannot be known."""
        self._blob_bytes = len(self._blob)
        if self._texts is not None:
            self._text_bytes = len(self._texts)

    def view(self) -> RowData:
        """The rows there are now."""
        return RowData(
            self._count,
            self._spec.dim,
            self._spec.metric,
            self._vectors,
            self._sent,
            self._ends,
            self._blob,
            self._expires,
            self._guard,
            self._stamps,
            self._text_ends,
            self._texts,
        )

    def guarded_by(self, guard: Guard | None) -> None:
        """Have the rows that were opened checked when they are first served."""
        self._guard = guard

    def _put_vectors(self, here: slice, rows: Sequence[Row]) -> None:
        vectors = np.frombuffer(b"".join(row.vector for row in rows), "<f4")
        assert np.isfinite(vectors).all(), "a vector that is not finite was let in"
        vectors = vectors.reshape(len(rows), self._spec.dim)
        self._vectors[here] = plain.prepare(vectors, METRICS[self._spec.metric])
        if self._sent is not self._vectors:
            self._sent[here] = vectors

    def _put_blob(self, blob: bytes) -> None:
        start, self._blob_bytes = self._blob_bytes, self._blob_bytes + len(blob)
        self._blob[start : self._blob_bytes] = np.frombuffer(blob, np.uint8)

    def _put_texts(self, here: slice, lengths: npt.NDArray[np.int64], texts: bytes) -> None:
        if self._text_ends is None or self._texts is None:
            assert not texts, "they have no room"
            return
        self._text_ends[here] = self._text_bytes + np.cumsum(lengths)
        start, self._text_bytes = self._text_bytes, self._text_bytes + len(texts)
        self._texts[start : self._text_bytes] = np.frombuffer(texts, np.uint8)

    def _reserve_texts(self, rows: int, text_bytes: int) -> None:
        had_texts = self.has_texts
        ends = self._grow_texts(self._count + rows, self._text_bytes + text_bytes)
        if not had_texts:
            # A file may be there of texts that were written, and never became part of a checkpoint.
            ends[: self._count] = 0

    def _grow(self, rows: int, blob_bytes: int) -> None:
        rows = max(rows, _CAPACITY_ROWS_MIN)
        array, spec = self._space.array, self._spec
        self._stamps: Array | None = None
        if spec.dim:
            self._vectors = array("vectors", "<f4", padded(spec.dim, plain.LANES), rows)
            self._sent = self._vectors
        else:
            self._vectors = self._sent = _NO_VECTORS
            self._stamps = array("stamps", "<i8", 2, rows)
        if spec.metric == "cosine":
            self._sent = array("sent", "<f4", spec.dim, rows)
        self._ends = array("ends", "<i8", 2, rows)
        self._expires = array("expires", "<i8", 0, rows)
        self._blob = array("blob", "|u1", 0, max(blob_bytes, rows * _BLOB_BYTES_A_ROW))

    def _grow_texts(self, rows: int, text_bytes: int) -> Array:
        rows = max(rows, _CAPACITY_ROWS_MIN)
        ends = self._space.array("text_ends", "<i8", 0, rows)
        self._texts = self._space.array("texts", "|u1", 0, max(text_bytes, _TEXT_BYTES_MIN))
        self._text_ends = ends
        return ends


def _texts_of(data: RowData, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], bytes]:
    """The lengths of the rows' texts, int64 [n], and the texts, joined."""
    if data.text_ends is None or data.texts is None:
        return np.zeros(len(rows), np.int64), b""
    ends = data.text_ends[rows]
    starts = np.where(rows > 0, data.text_ends[rows - 1], 0)
    return ends - starts, _pieces(data.texts, starts, ends)


def _pieces(blob: Array, starts: Array, ends: Array) -> bytes:
    """The parts of a blob, uint8, from each start to its end, joined."""
    places = zip(starts.tolist(), ends.tolist(), strict=True)
    return b"".join([blob[start:end].data for start, end in places])
