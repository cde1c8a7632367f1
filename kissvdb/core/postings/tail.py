"""The youngest rows: their terms in arrays that grow, and an index of them when one is needed.

The index is of blocks of rows, which are kept while rows are added behind them: what is new costs
a search the postings of less than BLOCK_ROWS rows, and sometimes those of a full block.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.postings.segment import Forward, Segment

Array = npt.NDArray[Any]
Build = Callable[[Forward], Segment]

BLOCK_ROWS: Final = 8
_BLOCK_SIZES: Final = (64, BLOCK_ROWS)


@attrs.frozen(eq=False)
class Tail:
    """``forward`` may have room behind its rows. Only the newest tail is extended: it shares
    its arrays with those before it, which do not look behind their own ends."""

    forward: Forward
    _blocks: dict[tuple[int, int], Segment] = attrs.field(factory=dict)
    """Segments of full blocks by first row and row behind, shared as the arrays are."""

    @classmethod
    def empty(cls) -> "Tail":
        return cls(Forward(0, np.zeros(1, np.int64), np.zeros(0, np.int32)))

    @property
    def row_count(self) -> int:
        return self.forward.row_count

    def extended(self, more: Forward) -> "Tail":
        """The tail with more rows behind it."""
        mine = self.forward
        rows, end = mine.row_count, int(mine.ptr[mine.row_count])
        new_end = end + int(more.ptr[more.row_count])
        ptr = _with_room(mine.ptr, rows + 1, rows + 1 + more.row_count)
        stream = _with_room(mine.stream, end, new_end)
        ptr[rows + 1 : rows + 1 + more.row_count] = more.ptr[1 : more.row_count + 1] + end
        stream[end:new_end] = more.stream[: new_end - end]
        return Tail(Forward(rows + more.row_count, ptr, stream), self._blocks)

    def segments(self, build: Build) -> list[Segment]:
        """All rows as segments, of which those that are not there yet are made."""
        made = []
        for first, stop in _borders(self.row_count):
            segment = self._blocks.get((first, stop))
            if segment is None:
                segment = build(self._block(first, stop))
                if stop - first in _BLOCK_SIZES:
                    self._blocks[first, stop] = segment
            made.append(segment)
        return made

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
