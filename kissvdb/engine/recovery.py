"""Recovery: feed the log's records after each table's applied offset to the table. Sync."""

import zlib
from collections.abc import Callable, Sequence

from kissvdb import records
from kissvdb.engine.history import ReadableLog
from kissvdb.errors import ConfigError, Damaged
from kissvdb.records import EventPublished, KeyDeleted, KeyWritten, Record
from kissvdb.storage.log import OffsetTruncated
from kissvdb.storage.state_table import ROWS_PER_TRANSACTION, StateTable

_CHUNK_BYTES = 1024 * 1024

Progress = Callable[[str, int, int], None]
"""Told what is being done, how far it is and how far it goes (offsets or bytes)."""


def shard_of(key: str, shards: int) -> int:
    """The shard that owns a key: CRC-32 of its UTF-8 bytes, modulo the number of shards."""
    return zlib.crc32(key.encode()) % shards if shards > 1 else 0


def shard_of_record(record: Record, shards: int) -> int | None:
    """The shard whose table a record changes; None when it changes none."""
    if isinstance(record, EventPublished):
        return None if record.op_id is None else shard_of(record.op_id, shards)
    if isinstance(record, (KeyWritten, KeyDeleted)):
        return shard_of(record.key, shards)
    return None


def claim_shards(tables: Sequence[StateTable], last_offset: int) -> None:
    """Refuse to spread keys over another number of shards than they were written with."""
    for table in tables:
        noted = table.claim_shards(len(tables), free=last_offset == 0)
        if noted != len(tables):
            raise ConfigError(
                f"state.shards is {len(tables)}, but the keys in this data directory are spread "
                f"over {noted}: set STATE_SHARDS={noted}"
            )


def replay(
    log: ReadableLog, last_offset: int, tables: Sequence[StateTable], progress: Progress
) -> int:
    """Bring every table to ``last_offset``. Returns how many records were read.

    Raises Damaged when the log no longer holds what a table is missing.
    """
    start = after = min(table.applied_offset for table in tables)
    count = 0
    while after < last_offset:
        try:
            found = log.read(after, bytes_max=_CHUNK_BYTES, until=last_offset)
        except OffsetTruncated as error:
            raise Damaged(
                f"the state tables hold offsets up to {after}, but the log begins at "
                f"{log.first_offset}: the records between are gone. Restore a backup, or move "
                "the data directory away and start anew"
            ) from error
        rows: list[list[tuple[int, Record]]] = [[] for _ in tables]
        for each in found:
            record = records.decode(each.payload)
            shard = shard_of_record(record, len(tables))
            if shard is not None and each.offset > tables[shard].applied_offset:
                rows[shard].append((each.offset, record))
        # Offsets may have been skipped, also at the end: a cut tail's are not used again.
        after = found[-1].offset if found else last_offset
        count += len(found)
        for table, mine in zip(tables, rows, strict=True):
            for first in range(0, len(mine), ROWS_PER_TRANSACTION):
                part = mine[first : first + ROWS_PER_TRANSACTION]
                table.apply(part, part[-1][0])
            if table.applied_offset < after:
                table.apply((), after)
        progress("replaying the log", after - start, last_offset - start)
    return count
