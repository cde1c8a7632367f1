"""The metadata index: every field of every row, without being declared; a filter to a bitmap.

One writer appends rows 0, 1, 2, ...; readers hold immutable views. New rows wait in a short tail
that is evaluated document by document; full tails become segments, and small segments are merged
into larger ones (a log-structured merge, O'Neil et al. 1996), so each row is rewritten a
logarithmic number of times. The index is derived: it can always be built again from the rows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core import bitmaps, merging
from kissvdb.core.bitmaps import Flags, Words
from kissvdb.core.filters import parse as filters
from kissvdb.core.filters.parse import Node
from kissvdb.core.metadata import segment as metadata_segment
from kissvdb.core.metadata import segment_arrays
from kissvdb.core.metadata.columns import UNTOLD
from kissvdb.core.metadata.segment import FIELDS_MAX, Segment

TAIL_ROWS_MAX = 256
INLINE_MERGE_ROWS_MAX = 1024
"""``add`` merges young segments to at most this itself; what is larger waits for ``merge_due``."""
SEGMENT_ROWS_MAX = 2**18
"""Larger ones are not made: a merge stays a second's work, and one more segment costs a filter
some 10 us."""
# More at once cost 2-3x as much a row: their values fall out of the CPU's caches.
_BUILD_ROWS_MAX = 4096
_SEGMENT_STEPS = 15

DocumentAt = Callable[[int], Any]
"""The decoded metadata of a row. Called only for rows whose indexed form leaves a filter open."""


@attrs.frozen(eq=False)
class MetadataView:
    """The rows 0..row_count - 1 as they were when the view was taken; good for any thread."""

    row_count: int
    _segments: tuple[Segment, ...]
    _tail: Sequence[Any]
    _tail_rows: int
    _fields_max: int

    @property
    def segments(self) -> tuple[Segment, ...]:
        """What is known by columns: the first rows, in order."""
        return self._segments

    @property
    def tail(self) -> Sequence[Any]:
        """The documents of the rows behind them, decoded."""
        return self._tail[: self._tail_rows]

    def bitmap(self, tree: Node | None, document_at: DocumentAt) -> Words | None:
        """The rows that pass, uint64[ceil(row_count / 64)]; None for all, without a filter.

        Exactly the rows whose document ``filters.matches``, deleted ones included: the index
        knows no tombstones.
        """
        if tree is None:
            return None
        sure, possible = self._evaluate(tree)
        if sure is not possible:
            sure = sure.copy()
            for row in np.flatnonzero(possible & ~sure).tolist():
                sure[row] = tree.matches(document_at(row))
        return bitmaps.pack(sure)

    def steps(self, tree: Node | None) -> int:
        """How much work ``sure_bitmap`` is, in conditions asked of a document: some 0.5 us each.
        A segment costs as much as that many documents of the tail (measured)."""
        return filters.size(tree) * (_SEGMENT_STEPS * len(self._segments) + self._tail_rows)

    def sure_bitmap(self, tree: Node | None) -> Words | None:
        """As ``bitmap``, unless a document would have to be read: then None."""
        if tree is None:
            return None
        sure, possible = self._evaluate(tree)
        return bitmaps.pack(sure) if sure is possible else None

    def count(self, tree: Node | None, document_at: DocumentAt) -> int:
        """How many rows pass."""
        words = self.bitmap(tree, document_at)
        return self.row_count if words is None else bitmaps.count(words)

    def bounds(self, tree: Node | None) -> tuple[int, int]:
        """How many rows pass at least and at most, without a look at a document."""
        if tree is None:
            return self.row_count, self.row_count
        sure, possible = self._evaluate(tree)
        return int(np.count_nonzero(sure)), int(np.count_nonzero(possible))

    def value_at(self, row: int, path: str, document_at: DocumentAt) -> Any:
        """The value of a field in a row, ``filters.MISSING`` without one. To group hits by.

        A number is given by value: 2.0 may come as 2.
        """
        first = 0
        for segment in self._segments:
            if row < first + segment.row_count:
                value = segment.value_at(row - first, path)
                return filters.lookup(document_at(row), path) if value is UNTOLD else value
            first += segment.row_count
        return filters.lookup(self._tail[row - first], path)

    def fields(self) -> list[str]:
        """The paths of all indexed fields, in order. Some milliseconds while the tail is long."""
        known = {path for segment in self._segments for path in segment.fields}
        return sorted(known | metadata_segment.paths(self.tail, self._fields_max))

    def remap(self, keep_rows: npt.NDArray[np.integer[Any]]) -> "MetadataIndex":
        """A new index of the rows ``keep_rows`` (ascending) only, renumbered from 0: a vacuum."""
        keep = np.asarray(keep_rows, np.intp)
        segments, first = [], 0
        for segment in self._segments:
            last = first + segment.row_count
            inside = keep[np.searchsorted(keep, first) : np.searchsorted(keep, last)] - first
            if len(inside):
                segments.append(segment.take(inside))
            first = last
        tail = [self._tail[row - first] for row in keep[np.searchsorted(keep, first) :].tolist()]
        index = MetadataIndex._of(segments, tail, self._fields_max)
        index.settle()
        return index

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The view as named arrays to store; ``MetadataIndex.from_arrays`` opens them again."""
        segments = list(self._segments)
        if self._tail_rows:
            tail = self._tail[: self._tail_rows]
            segments.append(metadata_segment.build(tail, self._fields_max))
        return segment_arrays.pack(segments)

    def _evaluate(self, tree: Node) -> tuple[Flags, Flags]:
        outcomes = [segment.evaluate(tree) for segment in self._segments]
        tail = np.fromiter(
            map(tree.matches, self._tail[: self._tail_rows]), np.bool_, self._tail_rows
        )
        sure = np.concatenate([*(sure for sure, _ in outcomes), tail])
        if all(sure is possible for sure, possible in outcomes):
            return sure, sure
        return sure, np.concatenate([*(possible for _, possible in outcomes), tail])


@attrs.frozen(eq=False)
class _State:
    """Replaced whole, so that a view taken from any thread is of one moment.

    The tail is only appended to; readers hold it with a length.
    """

    segments: tuple[Segment, ...] = ()
    indexed_rows: int = 0
    tail: list[Any] = attrs.field(factory=list)


class MetadataIndex:
    """The writer's side: one thread at a time, but ``view``, which any thread may call."""

    def __init__(self, *, tail_rows_max: int = TAIL_ROWS_MAX, fields_max: int = FIELDS_MAX) -> None:
        self._tail_rows_max = tail_rows_max
        self._fields_max = fields_max
        self._state = _State()

    @property
    def row_count(self) -> int:
        return self._state.indexed_rows + len(self._state.tail)

    @property
    def fields_max(self) -> int:
        """Fields with a column in one segment."""
        return self._fields_max

    def view(self) -> MetadataView:
        """All rows added so far. Costs a microsecond."""
        state = self._state
        tail_rows = len(state.tail)
        return MetadataView(
            state.indexed_rows + tail_rows, state.segments, state.tail, tail_rows, self._fields_max
        )

    def add(self, row: int, document: Any) -> None:
        """Append a row; rows come in order, from 0. ``document`` must not change any more.

        None, and any metadata that is not an object, has no fields.
        """
        self.extend(row, [document])

    def extend(self, first_row: int, documents: Sequence[Any]) -> None:
        """Append rows first_row, first_row + 1, ..."""
        if first_row != self.row_count:
            raise ValueError(f"row {first_row} does not follow {self.row_count} rows")
        self._state.tail.extend(documents)
        if len(self._state.tail) >= self._tail_rows_max:
            self._seal()

    def extend_by(self, first_row: int, segment: Segment) -> None:
        """Append rows that are a segment already."""
        if first_row != self.row_count:
            raise ValueError(f"row {first_row} does not follow {self.row_count} rows")
        if self._state.tail:
            self._seal()
        self._append([segment])

    def _seal(self) -> None:
        state = self._state
        sealed = [
            metadata_segment.build(state.tail[start : start + _BUILD_ROWS_MAX], self._fields_max)
            for start in range(0, len(state.tail), _BUILD_ROWS_MAX)
        ]
        self._append(sealed)

    def _append(self, sealed: Sequence[Segment]) -> None:
        """Segments behind the others, in place of the tail."""
        state, rows = self._state, sum(each.row_count for each in sealed)
        self._state = _State((*state.segments, *sealed), state.indexed_rows + rows)
        while (due := self._young_due()) is not None:
            self.install(due, self.merge(due))

    def _young_due(self) -> tuple[Segment, ...] | None:
        return merging.due(self._state.segments[self._stable_count() :], INLINE_MERGE_ROWS_MAX)

    def _stable_count(self) -> int:
        """How many segments ``add`` leaves alone; so a merge of these never comes too late."""
        segments = self._state.segments
        count = len(segments)
        while count and segments[count - 1].row_count <= INLINE_MERGE_ROWS_MAX // 2:
            count -= 1
        return count

    def merge_due(self) -> tuple[Segment, ...] | None:
        """Segments that it is time to ``merge``, and then to ``install``; None if there are none.

        An owner that never merges keeps correct answers; they take longer as segments pile up.
        """
        return merging.due(self._state.segments[: self._stable_count()], SEGMENT_ROWS_MAX)

    def merge(self, due: tuple[Segment, ...]) -> Segment:
        """One segment of several. May run in another thread while rows are added."""
        return metadata_segment.merge(due, self._fields_max)

    def install(self, due: tuple[Segment, ...], merged: Segment) -> None:
        """Put the merge of ``due`` in their place. ValueError if they are not there any more."""
        segments = merging.replaced(self._state.segments, due, merged)
        self._state = attrs.evolve(self._state, segments=segments)

    def settle(self) -> None:
        """Do all merges that make fewer segments, small or large, here and now."""
        while (due := merging.due(self._state.segments, SEGMENT_ROWS_MAX)) is not None:
            self.install(due, self.merge(due))

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, npt.NDArray[Any]], *, fields_max: int = FIELDS_MAX
    ) -> "MetadataIndex":
        """The index of ``MetadataView.to_arrays``. The arrays are used as they are, not copied,
        so they may be memory-mapped, read-only. Raises Damaged if they do not fit together.
        """
        return cls._of(segment_arrays.unpack(arrays), [], fields_max)

    @classmethod
    def _of(cls, segments: Sequence[Segment], tail: list[Any], fields_max: int) -> "MetadataIndex":
        index = cls(fields_max=fields_max)
        rows = sum(segment.row_count for segment in segments)
        index._state = _State(tuple(segments), rows, tail)
        return index
