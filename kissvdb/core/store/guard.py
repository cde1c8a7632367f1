"""Checksums of stored rows: what is damaged is named, and never served.

A checksum covers BLOCK_ROWS rows: vectors, ids, metadata, expiry times, and stamps and texts where
there are any. Opening reads none of them. A block is checked when one of its rows is first served;
``check_all`` checks the rest.
"""

import zlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from kissvdb.core.store.space import RowData
from kissvdb.errors import Damaged

BLOCK_ROWS = 16

Sums = npt.NDArray[np.uint32]


def sums_of(data: RowData, first_block: int) -> Sums:
    """The checksums of all blocks from ``first_block``; the last may be of fewer rows."""
    blocks = range(first_block, -(-data.count // BLOCK_ROWS))
    return np.fromiter((_sum_of(data, block) for block in blocks), np.uint32, len(blocks))


def _sum_of(data: RowData, block: int) -> int:
    first = block * BLOCK_ROWS
    last = min(first + BLOCK_ROWS, data.count)
    ends = data.ends[first:last]
    start = int(data.ends[first - 1, 1]) if first else 0
    # Damaged ends could point anywhere: a slice of the blob is empty then, not an error.
    crc = zlib.crc32(data.blob[start : int(ends[-1, 1])].data, zlib.crc32(ends.data))
    if data.dim:
        crc = zlib.crc32(data.vectors[first:last].data, crc)
    if data.sent is not None:
        crc = _with_sent(data, data.sent, first, last, crc)
    crc = zlib.crc32(data.expires_at_ms[first:last].data, crc)
    if data.stamps is not None:
        crc = zlib.crc32(data.stamps[first:last].data, crc)
    return _with_texts(data, first, last, crc)


def _with_sent(
    data: RowData, sent: npt.NDArray[np.float32], first: int, last: int, crc: int
) -> int:
    if data.sent_flags is None:
        return zlib.crc32(sent[first:last].data, crc)
    flags = data.sent_flags[first:last]
    if not flags.any():
        # As it was when no row of the collection had been sent as another vector.
        return crc
    return zlib.crc32(sent[first:last][flags != 0].data, zlib.crc32(flags.data, crc))


def _with_texts(data: RowData, first: int, last: int, crc: int) -> int:
    if data.text_ends is None or data.texts is None:
        return crc
    ends, start = data.text_ends[first:last], data.text_end(first - 1)
    if (ends == start).all():
        # As it was when no row of the collection had a text yet.
        return crc
    return zlib.crc32(data.texts[start : int(ends[-1])].data, zlib.crc32(ends.data, crc))


class RowGuard:
    """The checksums of rows that were opened from files; any thread."""

    def __init__(self, name: str, data: RowData, sums: Sums) -> None:
        """``name``: what to call the rows in an error. ``data``: the rows that were opened."""
        self._name = name
        self._data = data
        self._sums = sums
        self._unchecked = np.ones(len(sums), np.bool_)
        self._damaged: dict[int, str] = {}
        self.searched = False
        """Whether all damage there is, is known."""
        if len(sums) != -(-data.count // BLOCK_ROWS):
            raise Damaged(f"{name}: {len(sums)} checksums do not fit {data.count} rows")

    @property
    def complete(self) -> bool:
        """Whether every block has been checked."""
        return not self._unchecked.any()

    def check(self, rows: Iterable[int]) -> None:
        """Check the blocks of these rows if they have not been. Raises Damaged."""
        # Rows written since share the last block's number, but not its checksum.
        opened = self._data.count
        for block in {row // BLOCK_ROWS for row in rows if row < opened}:
            if self._unchecked[block]:
                self._check_block(block)

    def check_all(self) -> None:
        """Check every block; for a thread. Raises Damaged at the first that is."""
        for block in np.flatnonzero(self._unchecked).tolist():
            self._check_block(block)

    def find_damage(self) -> None:
        """Check every block, so that all damage is known; for a thread."""
        for block in np.flatnonzero(self._unchecked).tolist():
            self._is_sound(block)
        self.searched = True

    def last_block_is_sound(self) -> bool:
        """Check the block that rows written next may share."""
        return not len(self._sums) or self._is_sound(len(self._sums) - 1)

    @property
    def damage(self) -> str | None:
        """What is known to be damaged; None while nothing is."""
        messages = list(self._damaged.values())
        if len(messages) < 2:
            return messages[0] if messages else None
        return f"{messages[0]} ({len(messages) - 1} more blocks of {BLOCK_ROWS} rows do not, too)"

    def is_damaged(self, row: int) -> bool:
        """Whether a row is known to be damaged. Checks nothing."""
        return row // BLOCK_ROWS in self._damaged and row < self._data.count

    def is_damaged_from(self, row: int) -> bool:
        """Whether ``row`` or one behind it is known to be damaged."""
        return max(self._damaged, default=-1) >= row // BLOCK_ROWS

    def _check_block(self, block: int) -> None:
        if not self._is_sound(block):
            raise Damaged(self._damaged[block])

    def _is_sound(self, block: int) -> bool:
        if block in self._damaged:
            return False
        if _sum_of(self._data, block) == self._sums[block]:
            self._unchecked[block] = False
            return True
        first = block * BLOCK_ROWS
        last = min(first + BLOCK_ROWS, self._data.count) - 1
        self._damaged[block] = (
            f"{self._name}: rows {first} to {last} do not match their checksum; restore a "
            "backup, or delete the collection and load it again"
        )
        return False
