"""The youngest rows: their terms in arrays that grow, and an index of them when one is needed.

The index is of blocks of rows, which are kept while rows are added behind them: what is new costs
a search the postings of less than BLOCK_ROWS rows, and sometimes those of a full block.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.postings.segment import Forward, Parts, Segment
from kissvdb.core.postings.vocabulary import FIELDS_MAX

Array = npt.NDArray[Any]
Build = Callable[[Forward], Segment]

BLOCK_ROWS: Final = 8
LARGE_BLOCK_ROWS: Final = 64
_BLOCK_SIZES: Final = (LARGE_BLOCK_ROWS, BLOCK_ROWS)


@attrs.frozen(eq=False)
class Tail:
    """``forward`` may have room behind its rows. Only the newest tail is extended: it shares
    its arrays with those before it, which do not look behind their own ends."""

    forward: Forward
    totals: Array
    """int64[2, FIELDS_MAX]: how many rows have a term in each field, and how many terms."""
    places: tuple[int, int] = (0, 0)
    """Where ``ptr`` and ``stream`` of ``forward`` are."""
    _blocks: dict[tuple[int, int], Segment] = attrs.field(factory=dict)
    """Segments of full blocks by first row and row behind, shared as the arrays are."""
    _joined: dict[int, tuple[Parts, Parts]] = attrs.field(factory=dict)
    """By number of large blocks: what they follow, and all of it."""

    @classmethod
    def empty(cls) -> "Tail":
        nothing = Forward(0, np.zeros(1, np.int64), np.zeros(0, np.int32))
        return cls(nothing, np.zeros((2, FIELDS_MAX), np.int64))

    @property
    def row_count(self) -> int:
        return self.forward.row_count

    def terms_from(self, row: int) -> int:
        """How many terms that row and those behind it have together."""
        ptr = self.forward.ptr
        return int(ptr[self.forward.row_count] - ptr[row])

    def extended(self, more: Forward, totals: Array) -> "Tail":
        """The tail with more rows behind it; ``totals``: theirs."""
        mine = self.forward
        rows, end = mine.row_count, int(mine.ptr[mine.row_count])
        new_end = end + int(more.ptr[more.row_count])
        ptr = _with_room(mine.ptr, rows + 1, rows + 1 + more.row_count)
        stream = _with_room(mine.stream, end, new_end)
        ptr[rows + 1 : rows + 1 + more.row_count] = more.ptr[1 : more.row_count + 1] + end
        stream[end:new_end] = more.stream[: new_end - end]
        forward = Forward(rows + more.row_count, ptr, stream)
        places = self.places
        if ptr is not mine.ptr or stream is not mine.stream:
            places = ptr.ctypes.data, stream.ctypes.data
        return Tail(forward, self.totals + totals, places, self._blocks, self._joined)

    def segments(self, build: Build) -> list[Segment]:
        """All rows as segments, of which those that are not there yet are made."""
        return [self._segment(first, stop, build) for first, stop in _borders(self.row_count)]

    def behind(self, parts: Parts, build: Build) -> Parts:
        """``parts`` and then as many rows as there are in large blocks."""
        count = self.row_count // LARGE_BLOCK_ROWS
        if not count:
            return parts
        before, joined = self._joined.get(count, (None, parts))
        if before is not parts:
            firsts = range(0, count * LARGE_BLOCK_ROWS, LARGE_BLOCK_ROWS)
            blocks = [self._segment(first, first + LARGE_BLOCK_ROWS, build) for first in firsts]
            joined = Parts((*parts, *blocks))
            self._joined[count] = parts, joined
        return joined

    def _segment(self, first: int, stop: int, build: Build) -> Segment:
        segment = self._blocks.get((first, stop))
        if segment is None:
            segment = build(self._block(first, stop))
            if stop - first in _BLOCK_SIZES:
                self._blocks[first, stop] = segment
        return segment

    def _block(self, first: int, stop: int) -> Forward:
        ptr = self.forward.ptr[first : stop + 1]
        start, end = int(ptr[0]), int(ptr[-1])
        return Forward(stop - first, ptr - start, self.forward.stream[start:end])


def _borders(rows: int) -> Iterator[tuple[int, int]]:
    """Blocks of ``rows`` rows: as many as there are of each size, and what is left."""
    first = 0
    for size in _BLOCK_SIZES:
        while rows - first >= size:
            yield first, first + size
            first += size
    if first < rows:
        yield first, rows


def _with_room(array: Array, used: int, need: int) -> Array:
    if need <= len(array) and array.flags.writeable:
        return array
    grown = np.zeros(max(2 * need, 64), array.dtype)
    grown[:used] = array[:used]
    return grown
