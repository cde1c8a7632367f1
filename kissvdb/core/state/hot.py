"""The keys that are asked for, in memory: bounded by bytes, and never older than the table.

It holds every key that the table has not got yet, and of the others those that were written or
read last. So a look here answers for most keys, and one that misses is a look into the table.

What goes first is what came first (a queue), unless it was asked for since room ran out: then it
gets another turn (second chance, as CLOCK: Corbató, A Paging Experiment with the Multics System,
1968). Noting who asked costs nothing before that.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final

from kissvdb.core.state.put_many import Run
from kissvdb.records import Item, KeyWritten

ENTRY_BYTES = 320
"""About what an entry takes besides its key and value (CPython 3.11, and half a slot more)."""

AT_ONCE = 512
"""So many entries go, or stay, together: some 0.1 ms."""

TURNS = 4
"""So many times some go after one write, and twice as many as were written after several."""

GRACE = 8
"""With a larger part than this of the room too much, nothing gets another turn."""

LARGE = 16
"""A value that is read and takes a larger part than this of the room is not kept."""

MISSING: Final[Any] = object()


class Hot:
    """Items by key; None: there is surely no such key."""

    def __init__(self, bytes_max: int, is_stored: Callable[[str, Item | None], bool]) -> None:
        """``is_stored``: whether the table has the key as it is here, so that it may go."""
        self.items: dict[str, Item | None] = {}
        self.bytes = 0
        self.bytes_max = bytes_max
        self._is_stored = is_stored
        # Each key of ``items`` stands in one of these, once; the oldest are to the left.
        self._queue: deque[list[str]] = deque([[]])
        self._asked: set[str] | None = None

    def get(self, key: str) -> Any:
        """An Item, None, or MISSING: then the table is to be asked; `keep` what it says."""
        item = self.items.get(key, MISSING)
        if self._asked is not None and item is not MISSING:
            self._asked.add(key)
        return item

    def put(self, key: str, item: Item | None) -> None:
        """The key was written: it is this from now on."""
        items = self.items
        old = items.get(key, MISSING)
        items[key] = item
        if old is MISSING:
            self._add(key, item)
        elif old is None or item is None:
            self.bytes += _value_bytes(item) - _value_bytes(old)
        else:
            self.bytes += len(item.value) - len(old.value)

    def put_many(self, run: Run, new: Sequence[Item]) -> None:
        """`put` of many, which are these now."""
        keys: Iterable[str] = run.keys
        replaced: Iterable[Item | KeyWritten | None] = run.replaced
        items, before = self.items, len(self.items)
        items.update(zip(keys, new, strict=True))
        # What is new in a dict stands at its end.
        added = list(islice(reversed(items), len(items) - before))
        values: Iterable[bytes] = run.values
        if run.repeats:
            once = dict(zip(keys, zip(run.values, run.replaced, strict=True), strict=True))
            keys, values = once, [value for value, _ in once.values()]
            replaced = [item for _, item in once.values()]
        self.bytes += sum(map(len, values))
        self.bytes -= sum([len(item.value) for item in replaced if item is not None])
        if added:
            was = dict(zip(keys, replaced, strict=True))
            for key in reversed(added):
                # It was in the table, and not here.
                old = was[key]
                self.bytes += 0 if old is None else len(old.value)
                self._enqueue(key)

    def keep(self, key: str, item: Item | None) -> None:
        """The table says so, of a key that is missing here."""
        if item is not None and len(item.value) * LARGE > self.bytes_max:
            return
        self.items[key] = item
        self._add(key, item)
        self.make_room()

    def make_room(self, writes: int = 1) -> None:
        """Let some go if there is too much. To be called after so many writes: more go than came,
        unless the table has not got them yet."""
        if self.bytes <= self.bytes_max:
            return
        for _ in range(TURNS + 2 * writes // AT_ONCE):
            self._drop_some()
            if self.bytes <= self.bytes_max:
                return

    def _add(self, key: str, item: Item | None) -> None:
        self._enqueue(key)
        self.bytes += _value_bytes(item)

    def _enqueue(self, key: str) -> None:
        newest = self._queue[-1]
        if len(newest) >= AT_ONCE:
            newest = []
            self._queue.append(newest)
        newest.append(key)
        self.bytes += ENTRY_BYTES + len(key)

    def _drop_some(self) -> None:
        items, is_stored = self.items, self._is_stored
        asked = self._asked
        if asked is None:
            asked = self._asked = set()
        patient = (self.bytes - self.bytes_max) * GRACE <= self.bytes_max
        staying = []
        for key in self._queue.popleft():
            item = items[key]
            is_asked = key in asked
            if is_asked:
                asked.discard(key)
            if is_asked and patient:
                staying.append(key)
            elif is_stored(key, item):
                del items[key]
                self.bytes -= ENTRY_BYTES + len(key) + _value_bytes(item)
            else:
                staying.append(key)
        # Into the newest list if they fit: of many small ones a turn would free next to nothing.
        queue = self._queue
        if queue and len(queue[-1]) + len(staying) <= AT_ONCE:
            queue[-1].extend(staying)
        else:
            queue.append(staying)


def _value_bytes(item: Item | None) -> int:
    return 0 if item is None else len(item.value)
