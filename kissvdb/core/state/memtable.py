"""The newest keys of a shard, as records left them, before its table has them.

Point writes to hot keys meet here: of a thousand puts to one key the table sees the last. Nothing
here is lost in a crash, because the log has every record.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from kissvdb.core.state.put_many import Run
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

SORTED_AT_ONCE = 2048
"""Of keys: who sorts more holds up the event loop for more than a millisecond, from any thread."""

_NEVER = 2**63


class Memtable:
    """Keys and answered operations by name. ``None`` stands for a key that is gone."""

    def __init__(self) -> None:
        self.items: dict[str, Item | None] = {}
        self.operations: dict[str, Operation] = {}
        self.expiring: dict[str, int] = {}
        """When those keys expire that do, in Unix milliseconds."""
        self.ends_at_ms = _NEVER
        """No key here expires before."""
        self.changes = 0
        """How many records all this is made of: so many a replay would read."""
        self.bytes = 0
        """About what all this takes, keys that were written twice counted twice."""
        self.applied_offset = 0
        """The offset of the newest record."""
        # The first so many keys of ``items``, sorted: a key that is there stays.
        self._sorted: list[str] = []

    @property
    def entries(self) -> int:
        return len(self.items) + len(self.operations)

    def sort(self) -> None:
        """Have the keys in order, so that the next scan need not; for a thread, of a memtable that
        takes no more records. The event loop goes on meanwhile."""
        if len(self._sorted) < len(self.items):
            self._sorted = [key for some in in_order(self.items) for key in some]

    @property
    def is_sorted(self) -> bool:
        """Whether a scan costs no sorting."""
        return len(self._sorted) == len(self.items)

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
        if type(record) is KeyWritten:
            self.write(offset, record)
            return
        self.applied_offset = offset
        self.changes += 1
        if isinstance(record, KeyDeleted):
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

    def write(self, offset: int, record: KeyWritten) -> Item:
        """`apply` of what most records are; answers the key as it is now."""
        key, value, expires_at_ms = record.key, record.value, record.expires_at_ms
        item = self.items[key] = Item(key, value, record.revision, offset, expires_at_ms)
        self.applied_offset = offset
        self.changes += 1
        self.bytes += len(key) + len(value) + ENTRY_BYTES
        if expires_at_ms is not None:
            self.expiring[key] = expires_at_ms
            self.ends_at_ms = min(self.ends_at_ms, expires_at_ms)
        elif self.expiring:
            self.expiring.pop(key, None)
        if record.op_id is not None:
            operation = Operation(
                "put", key, offset, record.revision, expires_at_ms, record.fingerprint
            )
            self._remember(record.op_id, operation)
        return item

    def write_many(self, offset: int, run: Run) -> list[Item]:
        """`write` of many, the first of which has this offset: each key as it is now, in order."""
        keys, values = run.keys, run.values
        count = len(keys)
        last = offset + count
        items = list(map(Item, keys, values, run.revisions, range(offset, last)))
        self.items.update(zip(keys, items, strict=True))
        self.applied_offset = last - 1
        self.changes += count
        self.bytes += run.bytes + count * ENTRY_BYTES
        if self.expiring:
            for key in keys:
                self.expiring.pop(key, None)
        return items

    def _remember(self, op_id: str, operation: Operation) -> None:
        self.operations[op_id] = operation
        self.bytes += len(op_id) + ENTRY_BYTES


def in_order(items: Iterable[str]) -> Iterator[list[str]]:
    """The keys in byte order, in pieces; some are empty. Between two pieces it takes the
    interpreter for a millisecond at most, however many keys there are (a sample sort: the keys are
    spread over ranges that a sorted sample bounds, and each range is sorted for itself)."""
    keys = list(items)
    if len(keys) <= SORTED_AT_ONCE:
        keys.sort()
        yield keys
        return
    ranges = 2 * len(keys) // SORTED_AT_ONCE + 1
    sample = sorted(keys[:: max(1, len(keys) // (8 * ranges))])
    bounds = sample[8::8]
    found: list[list[str]] = [[] for _ in range(len(bounds) + 1)]
    for start in range(0, len(keys), SORTED_AT_ONCE):
        for key in keys[start : start + SORTED_AT_ONCE]:
            found[bisect_right(bounds, key)].append(key)
        yield []
    for some in found:
        some.sort()
        yield some


class Sealed:
    """Memtables that take no more records, oldest first: what is to be stored together."""

    def __init__(self, memtables: Sequence[Memtable]) -> None:
        self.memtables = tuple(memtables)

    @property
    def applied_offset(self) -> int:
        """The offset of the newest record."""
        return max((each.applied_offset for each in self.memtables), default=0)

    @property
    def operations(self) -> dict[str, Operation]:
        """The answered operations of all."""
        found: dict[str, Operation] = {}
        for each in self.memtables:
            found |= each.operations
        return found

    def changes(self) -> Iterator[list[tuple[str, Item | None]]]:
        """Each key once, in byte order, as it was written last; in pieces as `in_order` says."""
        newest: dict[str, Item | None] = {}
        for each in self.memtables:
            newest |= each.items
            yield []
        for keys in in_order(newest):
            yield [(key, newest[key]) for key in keys]
