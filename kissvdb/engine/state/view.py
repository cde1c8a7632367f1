"""A shard's keys as of the last answered write: a table, and over it what it does not hold yet.

Writes go to a memtable. One with many entries is sealed, and the next one takes the writes; when
there is enough, all that are sealed are stored into the table by a thread. SQLite is then never
written on the event loop, and a key that is written again and again is stored once. Reads find
keys in the `Hot` ones, which are never older than any of these, and else in the table.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing

import trio

from kissvdb.core.state.hot import MISSING, Hot
from kissvdb.core.state.memtable import Memtable, Sealed
from kissvdb.core.state.put_many import Run
from kissvdb.errors import PersistenceFailed
from kissvdb.records import Item, KeyDeleted, KeyWritten, Operation, Record
from kissvdb.storage.state.table import StateTable

ENTRIES_MAX = 131_072
"""So many changes are to be stored, and with half as many more, besides those that are being
stored, no more are taken: at a start after a crash all of them are read from the log, about a
microsecond each. The more are stored at once, the fewer pages are written for each
(docs/state_storage.md has the figures)."""

BYTES_MAX = 64 * 1024 * 1024
"""The same of bytes. With less room for hot keys, half of that."""

BYTES_LEAST = 16 * 1024 * 1024

SEALED_ENTRIES = 16_384
"""A memtable of so many is sealed: a snapshot copies one that is not, in less than a
millisecond, and a list may have to sort it."""

LIST_BYTES_MAX = 4 * 1024 * 1024

PASSED_MAX = 1000
"""A page ends where it has passed by so many keys that are gone: a few milliseconds."""

HOT_BYTES = 64 * 1024 * 1024

FULL = 1.5


class StateView:
    """Lives on the event loop; every method is one look, or one change, at one moment."""

    def __init__(
        self,
        table: StateTable,
        recovered: Iterable[Memtable] = (),
        *,
        hot_bytes: int = HOT_BYTES,
    ) -> None:
        """``recovered``: what the log has and the table has not, oldest first."""
        self.table = table
        self.store_due = trio.Event()
        """Set when there is enough to store."""
        self.cold_reads = 0
        """How many point reads the table was asked for."""
        self.written_bytes = 0
        """Of keys and values, as clients wrote them."""
        self._hot = Hot(hot_bytes, self._is_stored)
        self._bytes_max = min(BYTES_MAX, max(BYTES_LEAST, hot_bytes // 2))
        self._young = Memtable()
        # Oldest first; the first so many are being stored.
        self._sealed: tuple[Memtable, ...] = ()
        self._storing = 0
        self._refusal: PersistenceFailed | None = None
        self._stores_no_more = False
        self._room = trio.Event()
        self._pins: set[object] = set()
        self._readable = trio.Event()
        self._readable.set()
        # Of what the table holds, the ends before this were found to be no more.
        self._passed_ms = 0
        for memtable in recovered:
            self._sealed += (memtable,)
            for key, item in memtable.items.items():
                self._hot.put(key, item)

    @property
    def known(self) -> Mapping[str, Item | None]:
        """Keys that `get` answers for from memory, as it answers: to be looked into at once."""
        return self._hot.items

    @property
    def hot_bytes(self) -> int:
        """About what the keys in memory take."""
        return self._hot.bytes

    def get(self, key: str) -> Item | None:
        """The key as it was written last, expired or not."""
        item: Item | None = self._hot.get(key)
        if item is MISSING:
            item = self.table.get(key)
            self.cold_reads += 1
            self._hot.keep(key, item)
        return item

    def absent(self, keys: Sequence[str]) -> set[str]:
        """Keys of these that are surely not there, not even expired: cheaper than many times `get`.
        The others are in memory after this, unless they are large.

        Not all of them: one that was deleted lately may be missing here, and so is one with a NUL,
        behind which SQLite does not read what it is asked.
        """
        hot = self._hot
        unknown = set(keys).difference(hot.items)
        if not unknown:
            return unknown
        unknown = {key for key in unknown if "\0" not in key}
        self.cold_reads += len(unknown)
        for item in self.table.get_many(unknown):
            unknown.discard(item.key)
            hot.keep(item.key, item)
        return unknown

    def operation(self, op_id: str) -> Operation | None:
        """What a former write with this ``op_id`` did."""
        found = self._young.operations.get(op_id)
        if found is None:
            for memtable in reversed(self._sealed):
                found = memtable.operations.get(op_id)
                if found is not None:
                    break
        return found or self.table.operation(op_id)

    def scan(
        self, prefix: str, *, after: str | None, limit: int, now_ms: int
    ) -> tuple[list[Item], bool]:
        """Live keys that start with ``prefix`` and sort after ``after``, in byte order.

        Returns at most ``limit`` items and about LIST_BYTES_MAX bytes (at least one item), and
        whether there are more.
        """
        items, known = self.page(prefix, after, limit, now_ms, whole=True)
        return items, known is not None

    def page(
        self, prefix: str, after: str | None, limit: int, now_ms: int, *, whole: bool = False
    ) -> tuple[list[Item], str | None]:
        """As `scan`, but with the key up to which these are all instead of whether there are more;
        None: there are no more. It may be behind the last of them, and there may be none, unless
        the page is to be ``whole``."""
        if limit <= 0:
            return [], None
        items: list[Item] = []
        size = passed = 0
        last: str | None = None
        with closing(self.table.items(prefix, after=after, now_ms=now_ms)) as stored:
            newest_first = (self._young, *reversed(self._sealed))
            runs = [
                _run(place, memtable.scan(prefix, after))
                for place, memtable in enumerate(newest_first)
                if memtable.items
            ]
            older = ((item.key, len(newest_first), item) for item in stored)
            for key, _, item in heapq.merge(*runs, older) if runs else older:
                # Of a key the newest comes first.
                if key == last or item is None or _is_over(item, now_ms):
                    last = key
                    passed += 1
                    if passed == PASSED_MAX and not whole:
                        return items, last
                    continue
                if len(items) == limit or (items and size + len(item.value) > LIST_BYTES_MAX):
                    return items, items[-1].key
                last = key
                items.append(item)
                size += len(item.value)
        return items, None

    def unsorted(self) -> bool:
        """Whether the next `scan` would take long, unless `sort` was called before."""
        return any(not each.is_sorted for each in self._sealed)

    def sort(self) -> None:
        """For a thread."""
        for each in self._sealed:
            each.sort()

    def expired(self, now_ms: int, limit: int) -> list[str]:
        """Keys whose time has come. What was found over already is not looked at again."""
        found: dict[str, None] = {}
        for memtable in (self._young, *self._sealed):
            if memtable.ends_at_ms <= now_ms and len(found) < limit:
                self._expired_of(memtable, now_ms, limit, found)
        hot, passed = self._hot.items, True
        with closing(self.table.expired(now_ms, self._passed_ms)) as stored:
            for key, at_ms in stored:
                if len(found) >= limit:
                    break
                item = hot.get(key, MISSING)
                if item is MISSING or _is_over(item, now_ms):
                    found[key] = None
                    passed = False
                elif passed:
                    self._passed_ms = at_ms
        return list(found)

    def _expired_of(
        self, memtable: Memtable, now_ms: int, limit: int, found: dict[str, None]
    ) -> None:
        """Add those of a memtable to ``found``."""
        hot, newer = self._hot.items, []
        for key, at_ms in memtable.expiring.items():
            if at_ms > now_ms:
                continue
            # Of what the thread has stored by now some may have left: the table tells.
            item = hot.get(key, MISSING)
            if item is MISSING:
                continue
            if not _is_over(item, now_ms):
                newer.append(key)
                continue
            found[key] = None
            if len(found) >= limit:
                break
        for key in newer:
            # It was written, or ended, since.
            del memtable.expiring[key]

    def apply(self, first_offset: int, records: Sequence[Record], runs: Sequence[Run] = ()) -> None:
        """Take over records with consecutive offsets; from now on they are seen. ``runs``: those of
        them that are columns."""
        young, hot = self._young, self._hot
        start = 0
        for run in runs:
            self._apply_each(first_offset + start, records[start : run.start])
            hot.put_many(run, young.write_many(first_offset + run.start, run))
            self.written_bytes += run.bytes
            start = run.start + len(run.keys)
        self._apply_each(first_offset + start, records[start:] if start else records)
        hot.make_room(len(records))
        if young.entries >= min(SEALED_ENTRIES, ENTRIES_MAX):
            self._seal()
        if self.is_full():
            self.store_due.set()

    def _apply_each(self, first_offset: int, records: Sequence[Record]) -> None:
        young, hot = self._young, self._hot
        put, write, written_bytes = hot.put, young.write, 0
        for offset, record in enumerate(records, first_offset):
            if type(record) is KeyWritten:
                item = write(offset, record)
                written_bytes += len(item.key) + len(item.value)
                put(item.key, item)
            else:
                young.apply(offset, record)
                if type(record) is KeyDeleted:
                    put(record.key, None)
        self.written_bytes += written_bytes

    async def wait_for_room(self) -> None:
        """Return when a batch of records may be applied. Raises PersistenceFailed when there is no
        room because the table could not be stored."""
        while self.is_full(FULL) and not (self._stores_no_more or self.is_pinned):
            if self._refusal is not None:
                raise PersistenceFailed(self._refusal.message)
            self.store_due.set()
            await self._room.wait()

    def freeze(self) -> Sealed:
        """What the table does not hold yet: `store` it, then pass it to `stored`.

        Not before the one frozen before was stored.
        """
        if self._storing:
            raise RuntimeError("a memtable that is not stored would be lost")
        # One that holds nothing says how far it is, and that there is something to be stored.
        self._seal()
        self._storing = len(self._sealed)
        self.store_due = trio.Event()
        self._wake_writers()
        return Sealed(self._sealed)

    def stored(self, sealed: Sealed) -> None:
        """The table holds it now."""
        count = len(sealed.memtables)
        assert count == self._storing
        self._sealed = self._sealed[count:]
        self._storing = 0
        self._refusal = None
        self._passed_ms = 0
        # What came meanwhile may be enough again.
        if self.is_full():
            self.store_due.set()

    def not_stored(self, refusal: PersistenceFailed) -> None:
        """The frozen memtable could not be stored; it is `unstored` until it is."""
        self._refusal = refusal
        self._wake_writers()

    @property
    def unstored(self) -> Sealed | None:
        """What is frozen, if it is not stored yet."""
        return Sealed(self._sealed[: self._storing]) if self._storing else None

    def store_no_more(self) -> None:
        """The end: what is still written stays in memory and in the log."""
        self._stores_no_more = True
        self._wake_writers()

    # Snapshots

    def overlay(self) -> tuple[dict[str, Item | None], ...]:
        """What the table may not hold yet, newest first: it is to be looked at before the table as
        the table is now, and not to be changed. None: the key is gone."""
        found = [memtable.items for memtable in reversed(self._sealed) if memtable.items]
        if self._young.items:
            found.insert(0, self._young.items.copy())
        return tuple(found)

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
        while self.is_full() and not self._stores_no_more and self._refusal is None:
            self.store_due.set()
            await self._room.wait()

    def _wake_writers(self) -> None:
        room, self._room = self._room, trio.Event()
        room.set()

    @property
    def pending_entries(self) -> int:
        """How much the table does not hold yet."""
        return self._young.entries + sum(each.entries for each in self._sealed)

    def _seal(self) -> None:
        self._sealed += (self._young,)
        self._young = Memtable()

    def is_full(self, times: float = 1) -> bool:
        """Whether so much waits, besides what is being stored."""
        waiting = (self._young, *self._sealed[self._storing :])
        return (
            sum(each.changes for each in waiting) >= times * ENTRIES_MAX
            or sum(each.bytes for each in waiting) >= times * self._bytes_max
        )

    def _is_stored(self, key: str, item: Item | None) -> bool:
        if item is not None:
            # The table's offset is not above that of a change that it does not hold.
            return item.offset <= self.table.applied_offset
        return key not in self._young.items and not any(key in each.items for each in self._sealed)


def store(table: StateTable, sealed: Sealed, offset: int = 0) -> None:
    """Bring the table to where these are, or to a later ``offset`` that changed no key."""
    for _ in store_steps(table, sealed, offset):
        pass


def store_steps(table: StateTable, sealed: Sealed, offset: int = 0) -> Iterator[None]:
    """`store` in steps of a millisecond at most. It is done when the last one is."""
    applied = max(offset, sealed.applied_offset)
    return table.writer.store_steps(sealed.changes(), sealed.operations, applied)


def _run(
    place: int, changes: Iterable[tuple[str, Item | None]]
) -> Iterator[tuple[str, int, Item | None]]:
    return ((key, place, item) for key, item in changes)


def _is_over(item: Item | None, now_ms: int) -> bool:
    """Whether it is past its time; what is not there is not."""
    return item is not None and item.expires_at_ms is not None and item.expires_at_ms <= now_ms
