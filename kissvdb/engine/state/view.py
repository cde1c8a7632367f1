"""A shard's keys as of the last answered write: a table, and over it what it does not hold yet.

Writes go to a memtable. A full one is frozen and stored into the table by a thread, while a new
one takes the next writes; a read looks at the newest first. SQLite is then never written on the
event loop, and a key that is written again and again is stored once.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

import trio

from kissvdb.core.state.memtable import Memtable
from kissvdb.errors import PersistenceFailed
from kissvdb.records import Item, Operation, Record
from kissvdb.storage.state.table import StateTable

ENTRIES_MAX = 16_384
BYTES_MAX = 16 * 1024 * 1024
"""A memtable with as much is to be stored. With twice as much it takes no more until it is. Of many
that are stored at once more share a page: half as many cost two fifths more each."""

LIST_BYTES_MAX = 4 * 1024 * 1024

_NOTHING = Memtable()


class StateView:
    """Lives on the event loop; every method is one look, or one change, at one moment."""

    def __init__(self, table: StateTable) -> None:
        self.table = table
        self.store_due = trio.Event()
        """Set when there is enough to store."""
        self._young = Memtable()
        # Kept when it is stored, until the next one: who writes a key has often written it before.
        self._frozen = Memtable()
        self._storing = False
        self._refusal: PersistenceFailed | None = None
        self._stores_no_more = False
        self._room = trio.Event()
        self._pins: set[object] = set()
        self._readable = trio.Event()
        self._readable.set()

    def get(self, key: str) -> Item | None:
        """The key as it was written last, expired or not."""
        items = self._young.items
        if key in items:
            return items[key]
        items = self._frozen.items
        if key in items:
            return items[key]
        return self.table.get(key)

    def absent(self, keys: Sequence[str]) -> set[str]:
        """Keys of these that are surely not there, not even expired: cheaper than many times `get`.

        Not all of them: one that was deleted lately may be missing here, and so is one with a NUL,
        behind which SQLite does not read what it is asked.
        """
        young, frozen = self._young.items, self._frozen.items
        unknown = {
            key for key in keys if key not in young and key not in frozen and "\0" not in key
        }
        return unknown.difference(self.table.present(unknown)) if unknown else unknown

    def operation(self, op_id: str) -> Operation | None:
        """What a former write with this ``op_id`` did."""
        found = self._young.operations.get(op_id) or self._frozen.operations.get(op_id)
        return found or self.table.operation(op_id)

    def scan(
        self, prefix: str, *, after: str | None, limit: int, now_ms: int
    ) -> tuple[list[Item], bool]:
        """Live keys that start with ``prefix`` and sort after ``after``, in byte order.

        Returns at most ``limit`` items and about LIST_BYTES_MAX bytes (at least one item), and
        whether there are more.
        """
        if limit <= 0:
            return [], False
        # What is stored needs no sorting here.
        young, frozen = self._young, self._frozen if self._storing else _NOTHING
        newest = (item for _, item in young.scan(prefix, after))
        newer = (item for key, item in frozen.scan(prefix, after) if key not in young.items)
        items: list[Item] = []
        size = 0
        with closing(self.table.items(prefix, after=after, now_ms=now_ms)) as stored:
            older = (
                item
                for item in stored
                if item.key not in young.items and item.key not in frozen.items
            )
            merged = heapq.merge(older, _living(newer, now_ms), _living(newest, now_ms), key=_key)
            for item in merged:
                if len(items) == limit or (items and size + len(item.value) > LIST_BYTES_MAX):
                    return items, True
                items.append(item)
                size += len(item.value)
        return items, False

    def expired(self, now_ms: int, limit: int) -> list[str]:
        """Keys whose time has come."""
        young, frozen = self._young, self._frozen
        keys = [key for key, at_ms in young.expiring.items() if at_ms <= now_ms]
        if self._storing:
            for key, at_ms in frozen.expiring.items():
                if at_ms <= now_ms and key not in young.items:
                    keys.append(key)
        with closing(self.table.expired(now_ms)) as stored:
            for key in stored:
                if len(keys) >= limit:
                    break
                if key not in young.items and not (self._storing and key in frozen.items):
                    keys.append(key)
        return keys[:limit]

    def apply(self, first_offset: int, records: Iterable[Record]) -> None:
        """Take over records with consecutive offsets; from now on they are seen."""
        young = self._young
        for offset, record in enumerate(records, first_offset):
            young.apply(offset, record)
        if _is_full(young):
            self.store_due.set()

    async def wait_for_room(self) -> None:
        """Return when a batch of records may be applied. Raises PersistenceFailed when there is no
        room because the table could not be stored."""
        while _is_full(self._young, 2) and not (self._stores_no_more or self.is_pinned):
            if self._refusal is not None:
                raise PersistenceFailed(self._refusal.message)
            self.store_due.set()
            await self._room.wait()

    def freeze(self) -> Memtable:
        """What the table does not hold yet: `store` it, then pass it to `stored`.

        Not before the one frozen before was stored.
        """
        if self._storing:
            raise RuntimeError("a memtable that is not stored would be lost")
        self._storing = True
        self._frozen, self._young = self._young, Memtable()
        self.store_due = trio.Event()
        self._wake_writers()
        return self._frozen

    def stored(self, memtable: Memtable) -> None:
        """The table holds it now."""
        assert memtable is self._frozen
        self._storing = False
        self._refusal = None

    def not_stored(self, refusal: PersistenceFailed) -> None:
        """The frozen memtable could not be stored; it is `unstored` until it is."""
        self._refusal = refusal
        self._wake_writers()

    @property
    def unstored(self) -> Memtable | None:
        """The frozen memtable, if it is not stored yet."""
        return self._frozen if self._storing else None

    def store_no_more(self) -> None:
        """The end: what is still written stays in memory and in the log."""
        self._stores_no_more = True
        self._wake_writers()

    # Snapshots

    def overlay(self) -> dict[str, Item | None]:
        """What the table may not hold yet, as a copy: it is to be looked at before the table as
        the table is now. None: the key is gone."""
        if not self._storing:
            return self._young.items.copy()
        return {**self._frozen.items, **self._young.items}

    def pin(self, reader: object) -> None:
        """Until ``reader`` is unpinned nothing new is stored into the table: for one in memory,
        which has no connection that sees a moment. Writes are in memory anyway, and go on."""
        assert self.table.path is None
        self._pins.add(reader)
        self._wake_writers()

    def unpin(self, reader: object) -> None:
        """As `pin` says. From any thread."""
        self._pins.discard(reader)

    @property
    def is_pinned(self) -> bool:
        """Whether nothing may be stored now."""
        return bool(self._pins)

    def keep_readers_out(self, wanted: bool) -> None:
        """Have snapshots wait before they begin, or let them in."""
        if not wanted:
            self._readable.set()
        elif self._readable.is_set():
            self._readable = trio.Event()

    async def wait_until_readable(self) -> None:
        """Return when a snapshot may begin: else the table might never be stored, or moved."""
        await self._readable.wait()
        if self.table.path is not None:
            return
        while _is_full(self._young) and not self._stores_no_more and self._refusal is None:
            self.store_due.set()
            await self._room.wait()

    def _wake_writers(self) -> None:
        room, self._room = self._room, trio.Event()
        room.set()

    @property
    def pending_entries(self) -> int:
        """How much the table does not hold yet."""
        return self._young.entries + (self._frozen.entries if self._storing else 0)


def store(table: StateTable, memtable: Memtable, offset: int = 0) -> None:
    """Bring the table to where the memtable is, or to a later ``offset`` that changed no key."""
    for _ in store_steps(table, memtable, offset):
        pass


def store_steps(table: StateTable, memtable: Memtable, offset: int = 0) -> Iterator[None]:
    """`store` in steps of some 100 us. It is done when the last one is."""
    applied = max(offset, memtable.applied_offset)
    return table.writer.store_steps(memtable.items, memtable.operations, applied)


def _is_full(memtable: Memtable, times: int = 1) -> bool:
    return memtable.entries >= times * ENTRIES_MAX or memtable.bytes >= times * BYTES_MAX


def _living(items: Iterable[Item | None], now_ms: int) -> Iterator[Item]:
    for item in items:
        if item is not None and (item.expires_at_ms is None or item.expires_at_ms > now_ms):
            yield item


def _key(item: Item) -> str:
    return item.key
