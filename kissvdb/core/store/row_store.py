"""Rows written: the one side of ``RowData`` that appends."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kissvdb.core.store.columns import Columns
from kissvdb.core.store.space import Guard, Row, RowData, Space
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.kernels import plain
from kissvdb.kernels.arrays import COSINE, METRICS, padded

Array = npt.NDArray[Any]

Prepare = Callable[[Array, str], Array]

_CAPACITY_ROWS_MIN = 64
_BLOB_BYTES_A_ROW = 64
_NEVER = 0
_TEXT_BYTES_MIN = 4096
_ADOPTED_ROWS = 1024
_PREPARED_ROWS = 64
_SURELY_UNIT = 0.99 * plain.UNIT
_NO_VECTORS: Array = np.zeros((0, 0), "<f4")

Sent = Literal["none", "some", "all"]
""""all" is what older versions wrote of each collection by cosine; "some" what comes to be with the
first vector whose length is not one."""


class RowStore:
    """The writer's side of ``RowData``: one thread."""

    def __init__(
        self,
        spec: CollectionSpec,
        space: Space,
        count: int = 0,
        *,
        texts: bool = False,
        sent: Sent = "none",
    ) -> None:
        """``count``: how many rows the arrays of the space hold already, and whether ``texts``.
        ``sent``: of which rows there is, beside the prepared vector, the one that was sent."""
        self._spec = spec
        self._space = space
        self._count = count
        self._sent_of = sent
        self._sent: Array | None = None
        self._sent_flags: Array | None = None
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

    def reserve(
        self, rows: int, blob_bytes: int, text_bytes: int = 0, vectors: Sequence[bytes] = ()
    ) -> None:
        """Make sure that so many more rows, with ids and metadata of so many bytes, and texts,
        have room. ``vectors``: theirs, as they are sent.

        Raises PersistenceFailed if they have not; then nothing changed.
        """
        self._grow(self._count + rows, self._blob_bytes + blob_bytes)
        if vectors and self._keeps_sent and self._sent_of == "none":
            sent = np.frombuffer(b"".join(vectors), "<f4").reshape(len(vectors), -1)
            prepared = plain.prepare(sent, METRICS[self._spec.metric])
            if _differs(prepared, sent).any():
                self._begin_sent(self._count, self._count + rows)
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
        texts: list[bytes] = []
        if self.has_texts or any(row.text for row in rows):
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
        if self.has_texts:
            sizes = np.fromiter(map(len, texts), np.int64, len(texts))
            self._put_texts(here, sizes, b"".join(texts))
        self._count += count
        return first

    def make_ready(
        self, columns: Sequence[Columns], prepare: Callable[[Array, str], Array]
    ) -> None:
        """As `reserve`, for `extend_by`; ``prepare`` makes of vectors what is stored for a metric.

        Raises PersistenceFailed if there is no room; then nothing changed.
        """
        rows = self._count + sum(map(len, columns))
        self._grow(rows, self._blob_bytes + sum(each.blob_bytes for each in columns))
        for each in columns:
            vectors = each.many.vectors
            assert np.isfinite(vectors).all(), "a vector that is not finite was let in"
            each.prepared = prepare(vectors, self._spec.metric)
            if self._keeps_sent:
                each.differing = _differs(each.prepared, vectors)
                if self._sent_of == "none" and each.differing.any():
                    self._begin_sent(self._count, rows)
        if self.has_texts:
            self._reserve_texts(rows - self._count, 0)

    def extend_by(self, columns: Columns) -> int:
        """Append rows that there is room for; answers the number of the first."""
        first, count = self._count, len(columns)
        here = slice(first, first + count)
        parts = [b""] * (2 * count)
        parts[::2] = columns.found.hashed.keys
        parts[1::2] = [meta or b"" for meta in columns.many.metas]
        lengths = np.fromiter(map(len, parts), np.int64, 2 * count)
        self._ends[here] = (self._blob_bytes + np.cumsum(lengths)).reshape(count, 2)
        self._put_blob(b"".join(parts))
        self._vectors[here, : columns.prepared.shape[1]] = columns.prepared
        if columns.differing is not None:
            self._put_sent(here, columns.differing, columns.many.vectors)
        self._expires[here] = columns.expires_at_ms or _NEVER
        if self.has_texts:
            self._put_texts(here, np.zeros(count, np.int64), b"")
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
        if self._spec.dim and data.vectors.dtype == self._vectors.dtype:
            self._vectors[here] = data.vectors[rows]
            self._adopt_sent(here, data, rows)
        elif self._spec.dim:
            # Of another form: as if what is answered of them was sent.
            vectors = b"".join(map(data.vector, rows.tolist()))
            self._prepare(here, np.frombuffer(vectors, "<f4").reshape(count, -1))
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
            self._sent_flags,
        )

    @property
    def sent(self) -> Sent:
        """Of which rows there is the vector that was sent, too."""
        return self._sent_of

    def guarded_by(self, guard: Guard | None) -> None:
        """Have the rows that were opened checked when they are first served."""
        self._guard = guard

    def _put_vectors(self, here: slice, rows: Sequence[Row]) -> None:
        vectors = np.frombuffer(b"".join(row.vector for row in rows), "<f4")
        assert np.isfinite(vectors).all(), "a vector that is not finite was let in"
        self._prepare(here, vectors.reshape(len(rows), self._spec.dim))

    def _prepare(self, here: slice, vectors: Array) -> None:
        if not len(vectors):
            return
        metric = METRICS[self._spec.metric]
        other = np.zeros(len(vectors), np.bool_)
        # Few at a time: what is between stays in the processor's cache.
        for first in range(0, len(vectors), _PREPARED_ROWS):
            some = vectors[first : first + _PREPARED_ROWS]
            prepared = some
            if metric == COSINE and not _are_unit(some):
                prepared = plain.prepare(some, metric)
                other[first : first + len(some)] = _differs(prepared, some)
            start, width = here.start + first, prepared.shape[1]
            self._vectors[start : start + len(some), :width] = prepared
            # A file may have something there that a crash has left.
            self._vectors[start : start + len(some), width:] = 0
        if self._keeps_sent:
            self._put_sent(here, other, vectors)

    @property
    def _keeps_sent(self) -> bool:
        """Whether what was sent may be another vector than the prepared one."""
        return self._spec.metric == "cosine" and self._spec.options.store == "f32"

    def _put_sent(self, here: slice, other: Array, vectors: Array) -> None:
        """Keep the vectors that were sent; ``other``: which of them are not the prepared ones."""
        if self._sent_of == "none" and other.any():
            self._begin_sent(here.start, here.stop)
        if self._sent is None:
            return
        if self._sent_flags is None:
            self._sent[here] = vectors
        else:
            self._sent_flags[here] = other
            self._sent[here][other] = vectors[other]

    def _adopt_sent(self, here: slice, data: RowData, rows: npt.NDArray[np.int64]) -> None:
        if data.sent is None:
            self._put_sent(here, np.zeros(len(rows), np.bool_), _NO_VECTORS)
            return
        sent = data.sent[rows]
        if data.sent_flags is None:
            # What older versions kept of each row is not kept of rows that are of length one.
            prepared = self._vectors[here, : self._spec.dim]
            other = (prepared.view(np.uint32) != sent.view(np.uint32)).any(axis=1)
        else:
            other = data.sent_flags[rows] != 0
        self._put_sent(here, other, sent)

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
            if spec.options.store == "f16":
                self._vectors = array("vectors", "<f2", padded(spec.dim, plain.HALF_LANES), rows)
            else:
                self._vectors = array("vectors", "<f4", padded(spec.dim, plain.LANES), rows)
        else:
            self._vectors = _NO_VECTORS
            self._stamps = array("stamps", "<i8", 2, rows)
        if self._sent_of != "none":
            self._grow_sent(rows, self._sent_of)
        self._ends = array("ends", "<i8", 2, rows)
        self._expires = array("expires", "<i8", 0, rows)
        self._blob = array("blob", "|u1", 0, max(blob_bytes, rows * _BLOB_BYTES_A_ROW))

    def _begin_sent(self, rows: int, capacity: int) -> None:
        """From now on vectors are kept as they were sent. Of ``rows`` rows nothing was."""
        self._grow_sent(max(capacity, _CAPACITY_ROWS_MIN), "some")
        assert self._sent_flags is not None
        # Files may be there of rows that never became part of a checkpoint.
        self._sent_flags[:rows] = 0
        self._sent_of = "some"

    def _grow_sent(self, rows: int, sent_of: Sent) -> None:
        array = self._space.array
        flags = array("sent_flags", "|u1", 0, rows) if sent_of == "some" else None
        self._sent, self._sent_flags = array("sent", "<f4", self._spec.dim, rows), flags

    def _grow_texts(self, rows: int, text_bytes: int) -> Array:
        rows = max(rows, _CAPACITY_ROWS_MIN)
        ends = self._space.array("text_ends", "<i8", 0, rows)
        self._texts = self._space.array("texts", "|u1", 0, max(text_bytes, _TEXT_BYTES_MIN))
        self._text_ends = ends
        return ends


def _are_unit(vectors: Array) -> bool:
    """Whether all lengths are surely one, as ``plain.prepare`` finds them: then it leaves vectors
    as they are. Its sums are in another order, so what is near the border is not said of any."""
    wide = vectors.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    return bool((abs(lengths - 1.0) <= _SURELY_UNIT).all())


def _differs(prepared: Array, sent: Array) -> Array:
    """bool [n]: which vectors are not as they were sent. As bits: 0.0 was not sent where -0.0 is
    answered."""
    bits = prepared[:, : sent.shape[1]].view(np.uint32)
    differing: Array = (bits != sent.view(np.uint32)).any(axis=1)
    return differing


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
