"""What state shards have installed of documents and the rows do not hold yet.

A shard's install is told here, on the event loop, after its memtable has it. Per collection it is
kept in order, in groups: what became visible in one turn of the loop is applied as one, so that no
reader of rows sees half a batch.
"""

from collections import deque
from collections.abc import Callable, Sequence

import attrs
import msgspec
import trio

from kissvdb.core.state import reserved_keys
from kissvdb.core.state.put_many import Run
from kissvdb.errors import PersistenceFailed, Refused
from kissvdb.records import Item, KeyDeleted, KeyWritten, Record

PENDING_MAX = 32_768
PENDING_BYTES_MAX = 64 * 1024 * 1024
"""With as many changes pending, or so many bytes of them, shards wait before they write more."""
LITTLE_MAX = 8
LITTLE_BYTES_MAX = 32 * 1024
"""So many changes are applied on the event loop, in some 0.5 ms; more go to a thread."""
CHANGE_BYTES = 100
"""About what a change takes besides its document."""


class Told(msgspec.Struct, frozen=True, gc=False):
    """What a shard has told: the record of a document, its offset, and the document's id."""

    id: str
    offset: int
    record: KeyWritten | KeyDeleted


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
        # (group, its lowest offset, its changes)
        self._groups: deque[tuple[int, int, list[Told]]] = deque()
        self._total = total

    def add(self, group: int, first_offset: int, changes: Sequence[Told], bytes_: int) -> None:
        """Changes, of offsets from the first on. Those of one group are never taken apart."""
        groups = self._groups
        if groups and groups[-1][0] == group:
            _, before, some = groups.pop()
            groups.append((group, min(before, first_offset), [*some, *changes]))
        else:
            groups.append((group, first_offset, list(changes)))
        self._count(len(changes), bytes_)
        self.added_total += len(changes)
        if self.copies_to is not None:
            self.copies_to.add(group, first_offset, changes, bytes_)
        self.wake()

    def take(self, count_max: int) -> "Portion":
        """The oldest groups: about so many changes, but whole groups. There is one."""
        groups = self._groups
        _, first_offset, taken = groups.popleft()
        while groups and len(taken) + len(groups[0][2]) <= count_max:
            _, offset, changes = groups.popleft()
            first_offset = min(first_offset, offset)
            taken += changes
        # What the changes take is not counted for each: it is theirs in the mean.
        share = self.bytes * len(taken) // self.count
        self._count(-len(taken), -share)
        return Portion(first_offset, taken, share)

    def put_back(self, portion: "Portion") -> None:
        """What was taken could not be applied: it is the oldest again."""
        self._groups.appendleft((-1, portion.first_offset, portion.changes))
        self._count(len(portion.changes), portion.bytes)

    def forget(self) -> None:
        """Nobody will apply what is pending."""
        self._groups.clear()
        self._count(-self.count, -self.bytes)

    @property
    def is_little(self) -> bool:
        """Whether the event loop may apply it."""
        return self.count <= LITTLE_MAX and self.bytes <= LITTLE_BYTES_MAX

    @property
    def first_offset(self) -> int | None:
        """The lowest offset that is pending; None when nothing is."""
        # Those of several shards come in no order.
        return min((offset for _, offset, _ in self._groups), default=None)

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
    """Changes that are applied as one, their lowest offset, and about how many bytes they are."""

    first_offset: int
    changes: list[Told]
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
        self.builds_no_more = False
        """The server stops: rows that are being built are for the next start."""
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

    def installed(
        self, first_offset: int, records: Sequence[Record], runs: Sequence[Run] = ()
    ) -> None:
        """Records with consecutive offsets are in the memtable of a shard. On the loop. ``runs``:
        those of them that are columns."""
        start = 0
        for run in runs:
            self._installed_each(first_offset + start, records[start : run.start])
            start = run.start + len(run.keys)
            if run.documents is not None:
                first, ids = first_offset + run.start, run.documents.ids
                offsets, written = range(first, first_offset + start), records[run.start : start]
                changes: list[Told] = list(map(Told, ids, offsets, written))  # type: ignore[arg-type]
                size = run.bytes + CHANGE_BYTES * len(changes)
                waiting = self.pending(run.documents.collection)
                waiting.add(self._committed_offset(), first, changes, size)
        self._installed_each(first_offset + start, records[start:] if start else records)

    def _installed_each(self, first_offset: int, records: Sequence[Record]) -> None:
        found: dict[str, tuple[int, list[Told]]] = {}
        size = 0
        document_of = reserved_keys.document_of
        for offset, record in enumerate(records, first_offset):
            if not isinstance(record, (KeyWritten, KeyDeleted)):
                continue
            place = document_of(record.key)
            if place is None:
                self._note_settings(record.key)
                continue
            collection, id_ = place
            try:
                mine = found[collection]
            except KeyError:
                mine = found[collection] = (offset, [])
            mine[1].append(Told(id_, offset, record))
            size += CHANGE_BYTES + (len(record.value) if isinstance(record, KeyWritten) else 0)
        # Of all that is applied in one turn of the loop this is the same.
        group = self._committed_offset()
        count = sum(len(changes) for _, changes in found.values())
        for collection, (first, changes) in found.items():
            share = size * len(changes) // count
            self.pending(collection).add(group, first, changes, share)

    def scanned(self, collection: str, target: Pending, items: Sequence[Item]) -> None:
        """Documents that were found in a shard are to go into rows that are built anew."""
        start = len(reserved_keys.document_prefix(collection))
        changes = [
            Told(
                item.key[start:],
                item.offset,
                KeyWritten(item.key, item.value, item.revision, item.expires_at_ms),
            )
            for item in items
        ]
        size = sum(CHANGE_BYTES + len(item.value) for item in items)
        if changes:
            target.add(-1, min(item.offset for item in items), changes, size)

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
        while self.is_full():
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

    def refuse(self, refusal: PersistenceFailed) -> None:
        """Nobody can take what is pending of some collection. Until something is applied, shards
        that have to wait for room refuse."""
        self.refusal = refusal
        self.applied()

    def end(self) -> None:
        """The end: what comes now stays pending. The log has it."""
        self._ended = True
        self.applied()

    def is_full(self) -> bool:
        total = self.total
        full = total.count >= PENDING_MAX or total.bytes >= PENDING_BYTES_MAX
        return full and not self._ended

    def _note_settings(self, key: str) -> None:
        collection = reserved_keys.settings_of(key)
        if collection is not None:
            self.configured.add(collection)
            self.pending(collection)
            self.news.set()


def _nobody() -> None:
    """Nobody looks after it yet."""


def _too_many(collection: str, count_max: int) -> Refused:
    return Refused(
        f"there are {count_max} collections of documents already, and {collection!r} is none of "
        "them: delete one, or raise limits.collections_max (KISSVDB_LIMITS_COLLECTIONS_MAX)"
    )
