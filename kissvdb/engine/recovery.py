"""Recovery: feed the log's records after each view's applied offset to the view. Sync."""

import zlib
from collections.abc import Callable, Sequence
from typing import Protocol, get_args

from kissvdb import records
from kissvdb.core.state.memtable import Memtable, Sealed
from kissvdb.engine.log.event_log import EventLog
from kissvdb.engine.state.view import BYTES_MAX, SEALED_ENTRIES, store
from kissvdb.errors import ConfigError, Damaged, OffsetTruncated
from kissvdb.records import (
    OFFSET_MAX,
    BatchCommitted,
    CollectionCreated,
    CollectionDeleted,
    EventPublished,
    KeyDeleted,
    KeyWritten,
    LogRecord,
    Record,
    Respecified,
    SqlChanged,
    SqlExecuted,
    VectorWritten,
)
from kissvdb.storage.state.table import StateTable

_CHUNK_BYTES = 4 * 1024 * 1024

_STATE_RECORDS = (KeyWritten, KeyDeleted, EventPublished, BatchCommitted, SqlExecuted)

_ABOUT_COLLECTIONS = (CollectionCreated, CollectionDeleted, *get_args(Respecified))

_MANY = (*_STATE_RECORDS, VectorWritten, SqlChanged)
"""Kinds of which a log may hold millions."""

_VECTOR_TAG = records.tag_of(VectorWritten)

REPLAYED_BYTES_MAX = 3 * BYTES_MAX
"""More than a running database leaves to be stored."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how far it is and how far it goes (offsets or bytes)."""


def shard_of(key: str, shards: int) -> int:
    """The shard that owns a key: CRC-32 of its UTF-8 bytes, modulo the number of shards."""
    return zlib.crc32(key.encode()) % shards if shards > 1 else 0


def shard_of_record(record: Record, shards: int) -> int | None:
    """The shard whose table a record changes; None when it changes none."""
    if isinstance(record, (EventPublished, BatchCommitted, SqlExecuted)):
        return None if record.op_id is None else shard_of(record.op_id, shards)
    if isinstance(record, (KeyWritten, KeyDeleted)):
        return shard_of(record.key, shards)
    return None


def claim_shards(tables: Sequence[StateTable], *, free: bool) -> None:
    """Refuse to spread keys over another number of shards than they were written with. ``free``:
    nothing was ever written."""
    for table in tables:
        noted = table.writer.claim_shards(len(tables), free=free)
        if noted != len(tables):
            raise ConfigError(
                f"state.shards is {len(tables)}, but the keys in this data directory are spread "
                f"over {noted}: set STATE_SHARDS={noted}"
            )


class View(Protocol):
    """What the log is fed to."""

    @property
    def kinds(self) -> tuple[type[Record], ...]:
        """Of which records it is told."""

    @property
    def applied_offset(self) -> int:
        """Up to where it holds all that concerns it."""

    def replay(self, records: Sequence[tuple[int, Record]], upto: int) -> None:
        """Apply those of the records (offset, record) that concern it and are not applied yet.

        ``records`` are all there are of its ``kinds``, from before ``applied_offset`` on up to
        ``upto``.
        """


class TableReplay:
    """One shard's table, which takes the records of its keys: many are stored into it, the last
    ones stay in memory, and are stored when the database is open."""

    kinds = _STATE_RECORDS

    def __init__(self, table: StateTable, shard: int, shards: int) -> None:
        self.memtables: list[Memtable] = [Memtable()]
        """What the table does not hold, oldest first."""
        self._table = table
        self._shard = shard
        self._shards = shards
        self._upto = 0

    @property
    def applied_offset(self) -> int:
        return max(self._table.applied_offset, self._upto)

    def replay(self, records: Sequence[tuple[int, Record]], upto: int) -> None:
        applied, shard, shards = self.applied_offset, self._shard, self._shards
        memtable = self.memtables[-1]
        for offset, record in records:
            if offset <= applied:
                continue
            # What most records are is asked for first: all of them are looked at.
            if type(record) is KeyWritten and shards == 1:
                memtable.write(offset, record)
            elif shard_of_record(record, shards) == shard:
                memtable.apply(offset, record)
            else:
                continue
            if memtable.changes >= SEALED_ENTRIES:
                memtable = Memtable()
                self.memtables.append(memtable)
        self._upto = max(applied, upto)
        if sum(each.bytes for each in self.memtables) > REPLAYED_BYTES_MAX:
            self.store()

    def store(self) -> None:
        """Store all of it into the table."""
        store(self._table, Sealed(self.memtables), self.applied_offset)
        self.memtables = [Memtable()]


def replay(log: EventLog, last_offset: int, views: Sequence[View], progress: Progress) -> int:
    """Bring every view to ``last_offset``. Returns how many records were read.

    Raises Damaged when the log no longer holds what a view is missing.
    """
    wanted = _Wanted(views)
    start = after = min(view.applied_offset for view in views)
    count = 0
    while after < last_offset:
        try:
            found = log.read(after, bytes_max=_CHUNK_BYTES, until=last_offset)
        except OffsetTruncated as error:
            raise Damaged(
                f"the tables and collections hold offsets up to {after}, but the log begins at "
                f"{log.first_offset}: the records between are gone. Restore a backup, or move "
                "the data directory away and start anew"
            ) from error
        # Offsets may have been skipped, also at the end: a cut tail's are not used again.
        after = found[-1].offset if found else last_offset
        count += len(found)
        for view, told in wanted.of(found):
            view.replay(told, after)
        progress("replaying the log", after - start, last_offset - start)
    return count


class _Wanted:
    """Which records which views are told of. A record that all have who are told of its kind is not
    even decoded: a view that is far behind may lack nothing but a note that nothing was for it."""

    def __init__(self, views: Sequence[View]) -> None:
        self._views = views
        # By the tag of a record: up to where everybody has it.
        self._passed: dict[bytes, int] = {
            records.tag_of(kind): min(
                (view.applied_offset for view in views if kind in view.kinds), default=OFFSET_MAX
            )
            for kind in _MANY
        }

    def of(self, found: Sequence[LogRecord]) -> list[tuple[View, list[tuple[int, Record]]]]:
        """For each view, those of the records (offset, record) that it is to be told of."""
        told = [(view, list[tuple[int, Record]]()) for view in self._views]
        takers = {
            kind: [taken for view, taken in told if kind in view.kinds] for kind in records.KINDS
        }
        passed = self._passed
        for each in found:
            if each.offset <= passed.get(each.payload[1:4], 0):
                continue
            record = records.decode(each.payload)
            kind = type(record)
            if kind in _ABOUT_COLLECTIONS:
                # A collection may be made anew by what the log says of it: then all its vectors
                # count from here on.
                passed[_VECTOR_TAG] = 0
            for taken in takers[kind]:
                taken.append((each.offset, record))
        return told
