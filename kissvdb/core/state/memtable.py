"""The newest keys of a shard, as records left them, before its table has them.

Point writes to hot keys meet here: of a thousand puts to one key the table sees the last. Nothing
here is lost in a crash, because the log has every record.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice

from kissvdb.records import (
    BatchCommitted,
    EventPublished,
    Item,
    KeyDeleted,
    KeyWritten,
    Operation,
    Record,
    SqlExecuted,
)

ENTRY_BYTES = 200
"""About what an entry takes besides its key and value."""


class Memtable:
    """Keys and answered operations by name. ``None`` stands for a key that is gone."""

    def __init__(self) -> None:
        self.items: dict[str, Item | None] = {}
        self.operations: dict[str, Operation] = {}
        self.expiring: dict[str, int] = {}
        """When those keys expire that do, in Unix milliseconds."""
        self.bytes = 0
        """About what all this takes, keys that were written twice counted twice."""
        self.applied_offset = 0
        """The offset of the newest record."""
        # The first so many keys of ``items``, sorted: a key that is there stays.
        self._sorted: list[str] = []

    @property
    def entries(self) -> int:
        return len(self.items) + len(self.operations)

    def scan(self, prefix: str, after: str | None) -> Iterator[tuple[str, Item | None]]:
        """Keys that start with ``prefix`` and sort after ``after``, in byte order, with what they
        are. To be read at once: no key may be written meanwhile."""
        keys = self._sorted
        if len(keys) < len(self.items):
            # Two sorted runs are merged in linear time, and code points sort like UTF-8's bytes.
            keys += sorted(islice(self.items, len(keys), None))
            keys.sort()
        start = bisect_left(keys, prefix)
        if after is not None:
            start = max(start, bisect_right(keys, after))
        for place in range(start, len(keys)):
            key = keys[place]
            if not key.startswith(prefix):
                return
            yield key, self.items[key]

    def apply(self, offset: int, record: Record) -> None:
        """Take over what the record says. Records come in the order of their offsets."""
        self.applied_offset = offset
        if type(record) is KeyWritten:
            self._put(offset, record)
        elif isinstance(record, KeyDeleted):
            key = record.key
            self.items[key] = None
            self.expiring.pop(key, None)
            self.bytes += len(key) + ENTRY_BYTES
            if record.op_id is not None:
                self._remember(
                    record.op_id, Operation("delete", key, offset, 0, None, record.fingerprint)
                )
        elif isinstance(record, EventPublished) and record.op_id is not None:
            self._remember(
                record.op_id, Operation("event", "", offset, 0, None, record.fingerprint)
            )
        elif isinstance(record, (BatchCommitted, SqlExecuted)) and record.op_id is not None:
            kind, count = "batch", getattr(record, "records", 0)
            if isinstance(record, SqlExecuted):
                kind, count = "sql", record.together + 1
            answers = record.answers or ""
            self.bytes += len(answers)
            self._remember(
                record.op_id,
                Operation(kind, answers, offset, count, None, record.fingerprint),
            )

    def _put(self, offset: int, record: KeyWritten) -> None:
        key, expires_at_ms = record.key, record.expires_at_ms
        self.items[key] = Item(key, record.value, record.revision, offset, expires_at_ms)
        self.bytes += len(key) + len(record.value) + ENTRY_BYTES
        if expires_at_ms is not None:
            self.expiring[key] = expires_at_ms
        elif self.expiring:
            self.expiring.pop(key, None)
        if record.op_id is not None:
            operation = Operation(
                "put", key, offset, record.revision, expires_at_ms, record.fingerprint
            )
            self._remember(record.op_id, operation)

    def _remember(self, op_id: str, operation: Operation) -> None:
        self.operations[op_id] = operation
        self.bytes += len(op_id) + ENTRY_BYTES
