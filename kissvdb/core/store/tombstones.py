"""Which rows are dead: replaced or deleted, and not yet vacuumed away."""

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core import bitmaps
from kissvdb.core.bitmaps import Words
from kissvdb.errors import Damaged


@attrs.frozen(eq=False)
class TombstoneView:
    """The dead rows at one moment; nobody writes to ``words``. Good for any thread.

    ``words`` may be shorter than the rows of a collection: rows past its end live.
    """

    words: Words
    count: int

    def is_dead(self, row: int) -> bool:
        word = row >> 6
        return word < len(self.words) and bool(int(self.words[word]) >> (row & 63) & 1)

    def allowed(self, row_count: int, passing: Words | None = None) -> Words | None:
        """The living among rows 0..row_count - 1, or among those of the bitmap ``passing``.

        uint64[ceil(row_count / 64)]; None for all rows: without tombstones and ``passing``.
        """
        if not self.count:
            return passing
        allowed = bitmaps.full(row_count) if passing is None else passing.copy()
        shared = min(len(allowed), len(self.words))
        allowed[:shared] &= ~self.words[:shared]
        return allowed

    def living(self, row_count: int) -> npt.NDArray[np.uint32]:
        """The living rows, ascending: what a vacuum keeps."""
        allowed = self.allowed(row_count)
        if allowed is None:
            return np.arange(row_count, dtype=np.uint32)
        return bitmaps.row_numbers(allowed)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """``words``, uint64."""
        return {"words": self.words}


class Tombstones:
    """The writer's side, for one thread. A view costs the next ``bury`` a copy: rows / 8 bytes."""

    def __init__(self) -> None:
        self._words: Words = np.zeros(0, np.uint64)
        self._count = 0
        self._shared = False

    def __len__(self) -> int:
        """How many rows are dead."""
        return self._count

    def bury(self, row: int) -> bool:
        """Mark a row dead; False if it was."""
        word, bit = row >> 6, np.uint64(1 << (row & 63))
        if word >= len(self._words):
            # Doubling keeps the cost of growth constant a row.
            self._words = bitmaps.resize(self._words, 64 * max(word + 1, 2 * len(self._words)))
        elif self._words[word] & bit:
            return False
        elif self._shared:
            self._words = self._words.copy()
        self._shared = False
        self._words[word] |= bit
        self._count += 1
        return True

    def bury_all(self, rows: npt.NDArray[np.int64]) -> None:
        """`bury` each, for a tenth of the time where they are many."""
        if not len(rows):
            return
        words = int(rows.max() >> 6) + 1
        if words > len(self._words):
            self._words = bitmaps.resize(self._words, 64 * max(words, 2 * len(self._words)))
        elif self._shared:
            self._words = self._words.copy()
        self._shared = False
        places, bits = rows >> 6, np.uint64(1) << (rows & 63).astype(np.uint64)
        np.bitwise_or.at(self._words, places, bits)
        self._count = bitmaps.count(self._words)

    def view(self) -> TombstoneView:
        """The dead rows as of now."""
        self._shared = True
        return TombstoneView(self._words, self._count)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "Tombstones":
        """The tombstones of ``to_arrays``; that memory is only read. Raises Damaged."""
        words = arrays.get("words")
        if words is None or words.dtype != np.uint64:
            raise Damaged("tombstones: no array of uint64 'words'")
        opened = cls()
        opened._words, opened._count, opened._shared = words, bitmaps.count(words), True
        return opened
