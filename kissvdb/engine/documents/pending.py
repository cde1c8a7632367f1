"""What state shards have installed of documents and the rows do not hold yet.

A shard's install is told here, on the event loop, after its memtable has it. Per collection it is
kept in order, in groups: what became visible in one turn of the loop is applied as one, so that no
reader of rows sees half a batch.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from kissvdb.core.state import reserved_keys
from kissvdb.errors import PersistenceFailed, Refused
from kissvdb.records import Item, KeyDeleted, KeyWritten, Record

if TYPE_CHECKING:
    # Not at run time: numpy comes with it, and a server without documents starts faster without.
    from kissvdb.core.rows.changes import Change

PENDING_MAX = 16_384
PENDING_BYTES_MAX = 32 * 1024 * 1024
"""With as many changes pending, or so many bytes of them, shards wait before they write more."""
CHANGE_BYTES = 100
"""About what a change takes besides its document."""


class Total:
    """What is pending in all collections together."""

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0


class Pending:
    """The changes of one collection that wait for its rows, in groups."""

    def __init__(self, total: Total) -> None:
        self.count = 0
        self.bytes = 0
        self.added_total = 0
        """Changes that ever came: a reader waits until as many are applied."""
        self.wake: Callable[[], None] = _nobody
        """Called when something came."""
        self.copies_to: Pending | None = None
        """Gets all that comes, too: that of rows which are to replace those of this one."""
        self._groups: deque[tuple[int, list[tuple[int, Change]]]] = deque()
        self._total = total

    def add(self, group: int, changes: Sequence[tuple[int, "Change"]], bytes_: int) -> None:
        """Changes (offset, change). Those of one group, an offset, are never taken apart."""
        groups = self._groups
        if groups and groups[-1][0] == group:
            groups[-1][1].extend(changes)
        else:
            groups.append((group, list(changes)))
        self._count(len(changes), bytes_)
        self.added_total += len(changes)
        if self.copies_to is not None:
            self.copies_to.add(group, changes, bytes_)
        self.wake()

    def take(self, count_max: int) -> "Portion":
        """The oldest groups: about so many changes, but whole groups. There is one."""
        groups = self._groups
        _, taken = groups.popleft()
        while groups and len(taken) + len(groups[0][1]) <= count_max:
            taken += groups.popleft()[1]
        # What the changes take is not counted for each: it is theirs in the mean.
        share = self.bytes * len(taken) // self.count
        self._count(-len(taken), -share)
        return Portion(taken, share)

    def put_back(self, portion: "Portion") -> None:
        """What was taken could not be applied: it is the oldest again."""
        self._groups.appendleft((-1, portion.changes))
        self._count(len(portion.changes), portion.bytes)

    def forget(self) -> None:
        """Nobody will apply what is pending."""
        self._groups.clear()
        self._count(-self.count, -self.bytes)

    @property
    def first_offset(self) -> int | None:
        """The lowest offset that is pending; None when nothing is."""
        # Those of several shards come in no order.
        return min((offset for _, some in self._groups for offset, _ in some), default=None)

    def become(self, other: "Pending") -> None:
        """Wait for what the other waits for, which nobody will ask any more."""
        self.forget()
        self._groups, other._groups = other._groups, deque()
        self._count(other.count, other.bytes)
        other._count(-other.count, -other.bytes)
        self.copies_to = None

    def _count(self, count: int, bytes_: int) -> None:
        self.count += count
        self.bytes += bytes_
        self._total.count += count
        self._total.bytes += bytes_


@attrs.frozen(eq=False)
class Portion:
    """Changes (offset, change) that are applied as one, and about how many bytes they are."""

    changes: "list[tuple[int, Change]]"
    bytes: int


class DocumentTap:
    """What shards tell of their installs. ``collections`` has who waits for what, by name."""

    def __init__(self, committed_offset: Callable[[], int], collections_max: int) -> None:
        self.collections: dict[str, Pending] = {}
        self.news = trio.Event()
        """Set when there are collections that nobody looks after yet, or settings that changed."""
        self.unknown: set[str] = set()
        self.configured: set[str] = set()
        self.refusal: PersistenceFailed | None = None
        """Why rows could not take what is pending, while they cannot."""
        self._committed_offset = committed_offset
        self.collections_max = collections_max
        self.total = Total()
        self._room = trio.Event()
        self._ended = False

    def admit(self, key: str) -> None:
        """Raises Refused for a document of a collection that there is no room for."""
        found = reserved_keys.document_of(key)
        if found is None or found[0] in self.collections:
            return
        if len(self.collections) >= self.collections_max:
            self.news.set()
            raise _too_many(found[0], self.collections_max)

    def installed(self, first_offset: int, records: Sequence[Record]) -> None:
        """Records with consecutive offsets are in the memtable of a shard. On the loop."""
        found: dict[str, tuple[list[tuple[int, Change]], int]] = {}
        for offset, record in enumerate(records, first_offset):
            if not isinstance(record, (KeyWritten, KeyDeleted)):
                continue
            place = reserved_keys.document_of(record.key)
            if place is None:
                self._note_settings(record.key)
                continue
            collection, id_ = place
            size = CHANGE_BYTES
            if isinstance(record, KeyWritten):
                size += len(record.value)
            changes, before = found.get(collection) or ([], 0)
            changes.append((offset, change_of(offset, record, id_)))
            found[collection] = (changes, before + size)
        # Of all that is applied in one turn of the loop this is the same.
        group = self._committed_offset()
        for collection, (changes, size) in found.items():
            self.pending(collection).add(group, changes, size)

    def scanned(self, collection: str, target: Pending, items: Sequence[Item]) -> None:
        """Documents that were found in a shard are to go into rows that are built anew."""
        from kissvdb.core.rows.changes import DocumentWritten

        changes: list[tuple[int, Change]] = []
        start = len(reserved_keys.document_prefix(collection))
        size = 0
        for item in items:
            change = DocumentWritten(
                item.key[start:], item.value, item.revision, item.offset, item.expires_at_ms
            )
            changes.append((item.offset, change))
            size += len(item.value) + CHANGE_BYTES
        if changes:
            target.add(-1, changes, size)

    def pending(self, collection: str) -> Pending:
        """What waits for a collection, which has begun with this if it was not there."""
        found = self.collections.get(collection)
        if found is None:
            found = self.collections[collection] = Pending(self.total)
            self.unknown.add(collection)
            self.news.set()
        return found

    async def wait_for_room(self) -> None:
        """Return when a shard may write more. Raises PersistenceFailed when rows cannot take what
        is pending."""
        while self._is_full():
            for each in self.collections.values():
                if each.count:
                    each.wake()
            if self.refusal is not None:
                raise PersistenceFailed(self.refusal.message)
            await self._room.wait()

    def applied(self) -> None:
        """Rows have taken something, or could not."""
        room, self._room = self._room, trio.Event()
        room.set()

    def end(self) -> None:
        """The end: what comes now stays pending. The log has it."""
        self._ended = True
        self.applied()

    def _is_full(self) -> bool:
        total = self.total
        full = total.count >= PENDING_MAX or total.bytes >= PENDING_BYTES_MAX
        return full and not self._ended

    def _note_settings(self, key: str) -> None:
        collection = reserved_keys.settings_of(key)
        if collection is not None:
            self.configured.add(collection)
            self.pending(collection)
            self.news.set()


def change_of(offset: int, record: KeyWritten | KeyDeleted, id_: str) -> "Change":
    """What a record of a document does to rows."""
    from kissvdb.core.rows.changes import DocumentDeleted, DocumentWritten

    if isinstance(record, KeyDeleted):
        return DocumentDeleted(id_)
    return DocumentWritten(id_, record.value, record.revision, offset, record.expires_at_ms)


def _nobody() -> None:
    """Nobody looks after it yet."""


def _too_many(collection: str, count_max: int) -> Refused:
    return Refused(
        f"there are {count_max} collections of documents already, and {collection!r} is none of "
        "them: delete one, or raise limits.collections_max (KISSVDB_LIMITS_COLLECTIONS_MAX)"
    )
