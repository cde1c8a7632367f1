"""The newest keys of a shard, as records left them, before its table has them.

Point writes to hot keys meet here: of a thousand puts to one key the table sees the last. Nothing
here is lost in a crash, because the log has every record.
"""

from kissvdb.records import EventPublished, Item, KeyDeleted, KeyWritten, Operation, Record

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

    @property
    def empty(self) -> bool:
        return not (self.items or self.operations)

    @property
    def entries(self) -> int:
        return len(self.items) + len(self.operations)

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
                self._remember(record.op_id, Operation("delete", key, offset))
        elif isinstance(record, EventPublished) and record.op_id is not None:
            self._remember(record.op_id, Operation("event", "", offset))

    def _put(self, offset: int, record: KeyWritten) -> None:
        key, expires_at_ms = record.key, record.expires_at_ms
        self.items[key] = Item(key, record.value, record.revision, offset, expires_at_ms)
        self.bytes += len(key) + len(record.value) + ENTRY_BYTES
        if expires_at_ms is not None:
            self.expiring[key] = expires_at_ms
        elif self.expiring:
            self.expiring.pop(key, None)
        if record.op_id is not None:
            operation = Operation("put", key, offset, record.revision, expires_at_ms)
            self._remember(record.op_id, operation)

    def _remember(self, op_id: str, operation: Operation) -> None:
        self.operations[op_id] = operation
        self.bytes += len(op_id) + ENTRY_BYTES
