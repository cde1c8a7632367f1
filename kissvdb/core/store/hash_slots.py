"""A hash table of row numbers in one array, with linear probing.

(Knuth, The Art of Computer Programming 3, section 6.4, algorithm L.) A slot is uint64: the
32-bit tag of a key above its row + 1; 0 is empty. The keys are kept elsewhere, so who looks one
up brings its own comparison; a key's tag decides where its probing starts.
"""

from collections.abc import Callable
from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt

ROWS_MAX = 2**32 - 2

Table = npt.NDArray[np.uint64]

SLOTS_MIN: Final = 16
NEW, UNDONE = -1, -2
"""In the place of a row: there was none; nobody knows."""
_ROW_MASK: Final = 0xFFFF_FFFF
# In the place of a deleted entry, where probing must go on. No entry has row + 1 this large.
_DELETED: Final = _ROW_MASK
# Beyond 0.7 linear probing takes long walks; a new table starts at no more than half of that.
_LOAD_MAX: Final = 0.7
_LOAD_NEW_MAX: Final = 0.35


@attrs.define(eq=False)
class HashSlots:
    """``used`` counts the slots that are not empty, deleted ones included."""

    table: Table = attrs.field(factory=lambda: np.zeros(SLOTS_MIN, np.uint64))
    used: int = 0
    # A memoryview hands out Python ints 3x faster than an array does.
    _slots: memoryview = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._slots = self.table.data

    @property
    def slots(self) -> memoryview:
        """The table, to be read. Where a tag's home is empty there is no entry with it."""
        return self._slots

    def find(self, tag: int, is_key: Callable[[int], bool]) -> int | None:
        """The row of the entry with this tag for which ``is_key(row)``."""
        slots = self._slots
        place = _probe(slots, tag, is_key)
        return None if place is None else (slots[place] & _ROW_MASK) - 1

    def put(self, tag: int, row: int, is_key: Callable[[int], bool]) -> int | None:
        """Set the row of the entry; answers the row it had, None if the entry is new."""
        self.make_room(1)
        slots = self._slots
        place = _probe(slots, tag, is_key)
        if place is not None:
            before = (slots[place] & _ROW_MASK) - 1
            slots[place] = tag << 32 | row + 1
            return before
        last = len(slots) - 1
        place = tag & last
        while slots[place] not in (0, _DELETED):
            place = place + 1 & last
        self.used += slots[place] == 0
        slots[place] = tag << 32 | row + 1
        return None

    def put_quickly(self, tag: int, row: int, key: bytes, key_at: Callable[[int], Any]) -> int:
        """`put` where nothing on the way was deleted, and no other key has this tag: the row the
        entry had, or NEW. Else nothing is done, and UNDONE answered. There is room."""
        slots = self._slots
        last = len(slots) - 1
        place = tag & last
        while slot := slots[place]:
            if slot >> 32 == tag:
                before = (slot & _ROW_MASK) - 1
                if slot == _DELETED or key_at(before) != key:
                    return UNDONE
                slots[place] = tag << 32 | row + 1
                return before
            if slot == _DELETED:
                return UNDONE
            place = place + 1 & last
        self.used += 1
        slots[place] = tag << 32 | row + 1
        return NEW

    def delete(self, tag: int, is_key: Callable[[int], bool]) -> int | None:
        """Take the entry out; answers its row, None if there is none."""
        self._make_writable()
        slots = self._slots
        place = _probe(slots, tag, is_key)
        if place is None:
            return None
        row = (slots[place] & _ROW_MASK) - 1
        slots[place] = _DELETED
        return row

    def entries(self) -> Table:
        """The slots that hold an entry."""
        return live_slots(self.table)

    def make_room(self, more: int) -> None:
        """Leave an empty slot for each of so many more, in a table that may be written."""
        if self.used + more > _LOAD_MAX * len(self.table):
            entries = self.entries()
            self.used = len(entries)
            self._replace(placed(entries, more))
        else:
            self._make_writable()

    def _make_writable(self) -> None:
        if not self.table.flags.writeable:
            self._replace(self.table.copy())

    def _replace(self, table: Table) -> None:
        # Readers in other threads finish in the old table.
        self.table, self._slots = table, table.data


def _probe(slots: memoryview, tag: int, is_key: Callable[[int], bool]) -> int | None:
    """The place of an entry. The load limit leaves an empty slot to stop at."""
    last = len(slots) - 1
    place = tag & last
    while slot := slots[place]:
        if slot >> 32 == tag and slot != _DELETED and is_key((slot & _ROW_MASK) - 1):
            return place
        place = place + 1 & last
    return None


def live_slots(table: Table) -> Table:
    """The slots of a table that hold an entry."""
    live: Table = table[(table != 0) & (table != _DELETED)]
    return live


def rows_of(entries: Table) -> npt.NDArray[np.int64]:
    """int64[n]: the rows of entries."""
    return (entries & np.uint64(_ROW_MASK)).astype(np.int64) - 1


def with_rows(entries: Table, rows: npt.NDArray[np.int64]) -> Table:
    """The entries with other rows."""
    return entries & ~np.uint64(_ROW_MASK) | (rows + 1).astype(np.uint64)


def placed(entries: Table, more: int = 1) -> Table:
    """The table of these entries, as probing leaves it if they come in the order of their homes.

    It has the smallest power of two of slots in which their number may double, and ``more`` have
    room.
    """
    slot_count = SLOTS_MIN
    while len(entries) > _LOAD_NEW_MAX * slot_count or len(entries) + more > _LOAD_MAX * slot_count:
        slot_count *= 2
    homes = ((entries >> np.uint64(32)) & np.uint64(slot_count - 1)).astype(np.int64)
    order = np.argsort(homes, kind="stable")
    number = np.arange(len(entries))
    # Each goes to its home or right behind the entry before it, whichever is later.
    places = np.maximum.accumulate(homes[order] - number) + number
    inside = places < slot_count
    table = np.zeros(slot_count, np.uint64)
    table[places[inside]] = entries[order[inside]]
    # What runs off the end goes on at the start, into the first free slots.
    over = entries[order[~inside]]
    table[np.flatnonzero(table == 0)[: len(over)]] = over
    return table
