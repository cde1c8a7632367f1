"""The youngest rows: their terms in arrays that grow, and an index of them when one is needed."""

from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.postings.segment import Forward

Array = npt.NDArray[Any]


@attrs.frozen(eq=False)
class Tail:
    """``forward`` may have room behind its rows. Only the newest tail is extended: it shares
    its arrays with those before it, which do not look behind their own ends."""

    forward: Forward

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
        return Tail(Forward(rows + more.row_count, ptr, stream))


def _with_room(array: Array, used: int, need: int) -> Array:
    if need <= len(array) and array.flags.writeable:
        return array
    grown = np.zeros(max(2 * need, 64), array.dtype)
    grown[:used] = array[:used]
    return grown
