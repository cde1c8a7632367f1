"""The rows themselves: vectors, ids, metadata and expiry times, in arrays that only grow.

A row is written once, behind the rows there are, and never changed: an update is a new row. So a
reader needs no more than the arrays and a count. A ``Space`` decides what the arrays lie in.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import attrs
import msgspec
import numpy as np
import numpy.typing as npt

from kissvdb.core.store.spec import CollectionSpec
from kissvdb.kernels import plain
from kissvdb.kernels.arrays import METRICS, aligned_zeros, padded

Array = npt.NDArray[Any]

ROWS_MAX = 2**31 - 2
"""A graph's ids are 31 bits."""
_CAPACITY_ROWS_MIN = 64
_BLOB_BYTES_A_ROW = 64
_NEVER = 0
_ADOPTED_ROWS = 1024


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
    """A row to append. ``vector``: little-endian float32 as it was sent; ``meta``: compact JSON."""

    id: str
    vector: bytes
    meta: bytes | None = None
    expires_at_ms: int | None = None


@attrs.frozen(eq=False)
class RowData:
    """The first ``count`` rows; good for any thread.

    vectors: float32 [>= count, dim padded to 16], prepared for the metric. sent: float32
    [>= count, dim], as they were sent; the same array unless the metric is cosine. ends: int64
    [>= count, 2], where a row's id and its metadata end in ``blob``. expires_at_ms: int64
    [>= count], 0 for never.
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

    @property
    def text_bytes(self) -> int:
        """What the ids and metadata of all rows take."""
        return int(self.ends[self.count - 1, 1]) if self.count else 0

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

    def __init__(self, spec: CollectionSpec, space: Space, count: int = 0) -> None:
        """``count``: how many rows the arrays of the space hold already."""
        self._spec = spec
        self._space = space
        self._count = count
        self._blob_bytes = 0
        self._guard: Guard | None = None
        self._grow(count, 0)
        if count:
            self._blob_bytes = int(self._ends[count - 1, 1])
            self._grow(count, self._blob_bytes)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self._count

    @property
    def blob_bytes(self) -> int:
        """How much of ``blob`` is written."""
        return self._blob_bytes

    def reserve(self, rows: int, text_bytes: int) -> None:
        """Make sure that so many more rows, with ids and metadata of so many bytes, have room.

        Raises PersistenceFailed if they have not; then nothing changed.
        """
        self._grow(self._count + rows, self._blob_bytes + text_bytes)

    def extend(self, rows: Sequence[Row]) -> int:
        """Append rows; answers the number of the first."""
        first, count = self._count, len(rows)
        texts: list[bytes] = []
        for row in rows:
            assert len(row.vector) == self._spec.vector_bytes, (row.id, len(row.vector))
            texts += (row.id.encode(), row.meta or b"")
        blob = b"".join(texts)
        self.reserve(count, len(blob))
        vectors = np.frombuffer(b"".join(row.vector for row in rows), "<f4")
        assert np.isfinite(vectors).all(), "a vector that is not finite was let in"
        vectors = vectors.reshape(count, self._spec.dim)
        here = slice(first, first + count)
        self._vectors[here] = plain.prepare(vectors, METRICS[self._spec.metric])
        if self._sent is not self._vectors:
            self._sent[here] = vectors
        lengths = np.fromiter(map(len, texts), np.int64, 2 * count)
        self._ends[here] = (self._blob_bytes + np.cumsum(lengths)).reshape(count, 2)
        self._blob[self._blob_bytes : self._blob_bytes + len(blob)] = np.frombuffer(blob, np.uint8)
        self._expires[here] = [row.expires_at_ms or _NEVER for row in rows]
        self._blob_bytes += len(blob)
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
        whole = zip(starts.tolist(), ends[:, 1].tolist(), strict=True)
        blob = b"".join([data.blob[start:end].data for start, end in whole])
        self.reserve(count, len(blob))
        here = slice(first, first + count)
        self._vectors[here] = data.vectors[rows]
        if self._sent is not self._vectors:
            self._sent[here] = data.sent[rows]
        self._expires[here] = data.expires_at_ms[rows]
        moved = self._blob_bytes + np.cumsum(ends[:, 1] - starts) - ends[:, 1]
        self._ends[here] = ends + moved[:, None]
        self._blob[self._blob_bytes : self._blob_bytes + len(blob)] = np.frombuffer(blob, np.uint8)
        self._blob_bytes += len(blob)
        self._count += count

    def distrust_end(self) -> None:
        """Write behind all there may be: where the last row's texts end cannot be known."""
        self._blob_bytes = len(self._blob)

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
        )

    def guarded_by(self, guard: Guard | None) -> None:
        """Have the rows that were opened checked when they are first served."""
        self._guard = guard

    def _grow(self, rows: int, blob_bytes: int) -> None:
        rows = max(rows, _CAPACITY_ROWS_MIN)
        array, width = self._space.array, padded(self._spec.dim, plain.LANES)
        self._vectors = array("vectors", "<f4", width, rows)
        self._sent = self._vectors
        if self._spec.metric == "cosine":
            self._sent = array("sent", "<f4", self._spec.dim, rows)
        self._ends = array("ends", "<i8", 2, rows)
        self._expires = array("expires", "<i8", 0, rows)
        self._blob = array("blob", "|u1", 0, max(blob_bytes, rows * _BLOB_BYTES_A_ROW))
