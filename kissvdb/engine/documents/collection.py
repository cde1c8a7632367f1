"""The document collection actor: owner of the rows of one collection of documents.

The documents themselves are keys of the state; rows are derived from them. What shards install
comes as `Pending`. It is applied by this actor, many changes in a thread, or by a reader who needs
it now, if it is little: a reader never sees less than was installed when it asked.
"""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from actors import Actor, Address, Envelope, MailboxClosed, MailboxFull
from kissvdb import logs
from kissvdb.core.state import reserved_keys
from kissvdb.engine.documents.document_store import apply
from kissvdb.engine.documents.pending import DocumentTap, Pending, Portion
from kissvdb.engine.rows.stored import StoredCollection
from kissvdb.engine.rows.upkeep import FinishWork, TakeWork
from kissvdb.engine.state.shard import StateShard
from kissvdb.engine.threads import Threads
from kissvdb.errors import Damaged, NotFound, PersistenceFailed, Refused, Stopping

if TYPE_CHECKING:
    # Not at run time: numpy comes with them, and a server without documents starts faster without.
    from kissvdb.core.rows.owner import Rows, RowsView
    from kissvdb.core.rows.work import Work

logger = logging.getLogger("kissvdb.documents")

PORTION_CHANGES = 4096
"""So many are applied between two views, in some 300 ms: as long may a reader have to wait. In more
at once there are fewer segments to merge, and words that come again are looked at less often."""
LINGER_SECONDS = 0.005
"""Writes that come one by one are applied together, unless a reader wants them."""
SCANNED_AT_ONCE = 256
BEHIND_MAX = 4096
"""New rows replace the old ones when no more changes than this are missing in them."""


@attrs.frozen
class Advance:
    """Apply what is pending."""


@attrs.frozen
class Replace:
    """Go on with the rows that were built."""


@attrs.frozen
class DocumentsContext:
    """What every collection of documents works with."""

    tap: DocumentTap
    shards: Sequence[StateShard]
    clock_ms: Callable[[], int]
    threads: Threads


@attrs.define(eq=False)
class _Index:
    """Rows, and what they do not hold yet."""

    rows: "Rows"
    pending: Pending


class DocumentCollection(Actor):
    """Owns the rows of one collection. On the event loop, except while ``_busy``."""

    mailbox_size = 1024

    def __init__(
        self, collection: str, stored: StoredCollection, around: DocumentsContext, *, built: bool
    ) -> None:
        """``built``: the rows hold all but what is pending. Else `build` them."""
        self.name = f"documents-{collection}"
        self.collection = collection
        self.stored = stored
        self.built = built
        self.dropped = False
        self._other_changes = 0
        self.updated_at_ms = stored.updated_at_ms
        self._around = around
        self._index = _Index(stored.rows, around.tap.pending(collection))
        # Rows that are being built to replace the others, of other settings.
        self._next: _Index | None = None
        # A thread works on rows. Their changes are neither pending nor applied, and up to this
        # offset the rows held all before.
        self._busy = 0
        self._offset_before = stored.rows.applied_offset
        self._view: RowsView | None = None
        self._refusal: PersistenceFailed | None = None
        self._advanced = trio.lowlevel.ParkingLot()
        self._changed = trio.Event()
        self._told = False
        self._address: Address | None = None
        self._closed = False

    # As `rows.upkeep.RowsOwner`

    @property
    def rows(self) -> "Rows":
        return self._index.rows

    @property
    def changes(self) -> int:
        """Rises with whatever makes the rows other than the last checkpoint."""
        return self._other_changes + self._index.pending.added_total

    @property
    def true_offset(self) -> int:
        """An offset up to which the rows hold every change of theirs."""
        return self._offset_before if self._busy else self._held_offset(self._index)

    def look_after(self) -> None:
        self._changed.set()

    async def changed(self) -> None:
        await self._changed.wait()
        self._changed = trio.Event()

    # Readers, on the loop

    async def view(self) -> "RowsView":
        """All documents as of now, or later: with everything that was installed until now.

        Raises PersistenceFailed when the rows have no room for it, and Stopping.
        """
        goal = self._index.pending.added_total
        while True:
            found = self.view_now(goal)
            if found is not None:
                return found
            if self._closed:
                raise Stopping("the server is shutting down: retry when it is back")
            self._wake()
            await self._advanced.park()
            if self._refusal is not None and self._applied_total < goal:
                raise PersistenceFailed(self._refusal.message)

    @property
    def pending_count(self) -> int:
        """Changes that are not in the rows yet."""
        return self._index.pending.count + self._busy

    def newest_view(self) -> "RowsView | None":
        """What was applied a short time ago: for statistics. None while they are built."""
        if not self.built:
            return None
        return self._view if self._busy else self.rows.view(self._around.clock_ms())

    def view_now(self, goal: int | None = None) -> "RowsView | None":
        """The view as of now if so many changes (all) are in it, or can be at once."""
        goal = self._index.pending.added_total if goal is None else goal
        if not self.built:
            return None
        now_ms = self._around.clock_ms()
        if self._busy:
            view = self._view
            if view is None or self._applied_total < goal or self.rows.has_overdue(now_ms):
                return None
            return view
        pending = self._index.pending
        is_missing = pending.count > 0 and self._applied_total < goal
        if is_missing and not (pending.is_little and self._apply_here(self._index)):
            return None
        self._view = self.rows.view(now_ms)
        return self._view

    @property
    def _applied_total(self) -> int:
        pending = self._index.pending
        return pending.added_total - pending.count - self._busy

    # The actor

    def begin(self, address: Address) -> None:
        """It runs, behind this address: what is pending may be applied."""
        self._address = address
        self._index.pending.wake = self._wake
        if self._index.pending.count:
            self._wake()

    async def handle(self, batch: list[Envelope]) -> None:
        for envelope in batch:
            message = envelope.message
            try:
                if isinstance(message, Advance):
                    await self._advance_all()
                    envelope.answer(None)
                elif isinstance(message, FinishWork):
                    self._finish(message)
                    envelope.answer(None)
                elif isinstance(message, Replace):
                    self._replace()
                    envelope.answer(None)
                else:
                    assert isinstance(message, TakeWork)
                    envelope.answer(await self._take_work(message))
            except (PersistenceFailed, Damaged) as refusal:
                envelope.refuse(refusal)

    async def close(self) -> None:
        self._closed = True
        self._index.pending.wake = _nobody
        self._advanced.unpark_all()

    def _wake(self) -> None:
        if self._told or self._address is None:
            return
        try:
            self._address.tell_nowait(Advance())
        except (MailboxFull, MailboxClosed):
            return
        self._told = True

    async def _advance_all(self) -> None:
        if self._index.pending.is_little and not self._advanced:
            await trio.sleep(LINGER_SECONDS)
        self._told, done = False, True
        while done:
            done = await self._advance(self._index)
            if self._next is not None:
                await self._advance(self._next)
            if self._told or not self._index.pending.count:
                # What came meanwhile is told of anew, behind whoever waits by now.
                return

    async def _advance(self, index: _Index) -> bool:
        """Apply all that is pending by now; False if rows cannot take it."""
        pending = index.pending
        goal = pending.added_total
        while pending.added_total - pending.count < goal:
            done = await self._apply_next(index)
            self._around.tap.applied()
            self._advanced.unpark_all()
            if not done:
                return False
            # Readers come before the next portion: they see these rows as of now.
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        return True

    async def _apply_next(self, index: _Index) -> bool:
        if index.pending.is_little:
            return self._apply_here(index)
        if index is self._index:
            self._offset_before = self.true_offset
        portion = index.pending.take(PORTION_CHANGES)
        offset = self._held_offset(index)
        self._busy = len(portion.changes) if index is self._index else 0
        try:
            with trio.CancelScope(shield=True):
                await self._around.threads.commits.run(apply, index.rows, portion.changes, offset)
        except (PersistenceFailed, Refused, Damaged) as refusal:
            self._note_refusal(index, portion, refusal)
            return False
        finally:
            self._busy = 0
        self._note_applied(index)
        return True

    def _apply_here(self, index: _Index) -> bool:
        """Apply what is pending, which is little, on the loop. False if rows cannot take it."""
        portion = index.pending.take(PORTION_CHANGES)
        try:
            apply(index.rows, portion.changes, self._held_offset(index))
        except (PersistenceFailed, Refused, Damaged) as refusal:
            self._note_refusal(index, portion, refusal)
            return False
        self._note_applied(index)
        return True

    def _note_applied(self, index: _Index) -> None:
        self._refusal = self._around.tap.refusal = None
        if index is not self._index:
            return
        now_ms = self._around.clock_ms()
        self._view = index.rows.view(now_ms) if self.built else None
        self.updated_at_ms = now_ms
        self.look_after()

    def _note_refusal(
        self, index: _Index, portion: Portion, refusal: PersistenceFailed | Refused | Damaged
    ) -> None:
        index.pending.put_back(portion)
        message = f"the index of documents {self.collection!r} cannot grow: {refusal.message}"
        if self._refusal is None:
            logs.event(logger, logging.WARNING, message)
        self._refusal = self._around.tap.refusal = PersistenceFailed(message)

    def _held_offset(self, index: _Index) -> int:
        """Up to where rows hold everything once nothing is in hand."""
        installed = min(shard.true_offset for shard in self._around.shards)
        first = index.pending.first_offset
        return installed if first is None else min(installed, first - 1)

    async def _take_work(self, message: TakeWork) -> "Work | None":
        if self.dropped or not self.built:
            return None
        if message.wish == "checkpoint":
            if not await self._advance(self._index):
                # A checkpoint without what rows cannot take would be said to have it later.
                return None
            self.rows.note_offset(self.true_offset)
            return self.rows.checkpoint()
        return self.rows.vacuum() if message.wish == "vacuum" else self.rows.work_due()

    def _finish(self, message: FinishWork) -> None:
        if message.failed:
            self.rows.abandon(message.work)
            return
        self.rows.install(message.work)
        if message.work.kind != "checkpoint":
            self._other_changes += 1

    # Rows built anew, from the keys

    async def build(self, rows: "Rows | None" = None) -> None:
        """Fill the rows, which are empty; or ``rows``, which then replace them.

        No other upkeep meanwhile. Raises Stopping.
        """
        target = self._index
        if rows is not None:
            # What is pending by now is in the shards: the scan finds it.
            target = self._next = _Index(rows, Pending(self._around.tap.total))
            target.pending.wake = self._wake
            self._index.pending.copies_to = target.pending
        try:
            for shard in self._around.shards:
                await self._scan(shard, target)
            await self._until_behind_by(target, BEHIND_MAX)
        except BaseException:
            self._index.pending.copies_to = self._next = None
            if target is not self._index:
                target.pending.forget()
                target.rows.space.close()
            raise
        assert self._address is not None
        # While nobody is at work on rows.
        await self._address.ask(Replace())

    async def _scan(self, shard: StateShard, target: _Index) -> None:
        """All keys there are. A key that is written meanwhile comes behind, by the tap."""
        after, more = None, True
        prefix = reserved_keys.document_prefix(self.collection)
        while more:
            now_ms = self._around.clock_ms()
            items, more = shard.view.scan(prefix, after=after, limit=SCANNED_AT_ONCE, now_ms=now_ms)
            self._around.tap.scanned(self.collection, target.pending, items)
            after = items[-1].key if items else None
            # Also where the scan waits for nothing it may have to end.
            self._check_goes_on()
            await self._until_behind_by(target, BEHIND_MAX)
            await trio.lowlevel.checkpoint()

    async def _until_behind_by(self, target: _Index, count: int) -> None:
        while target.pending.count > count:
            self._check_goes_on()
            self._wake()
            await self._advanced.park()
            if self._refusal is not None:
                raise PersistenceFailed(self._refusal.message)

    def _check_goes_on(self) -> None:
        if self._closed or self._around.tap.builds_no_more:
            raise Stopping("the server is shutting down: retry when it is back")

    def _replace(self) -> None:
        if self._next is not None:
            before, known = self._index.rows, self._index.pending
            known.become(self._next.pending)
            self._index, self._next = _Index(self._next.rows, known), None
            self.stored.rows = self._index.rows
            self._view = None
            before.space.close()
        self.built = True
        self._other_changes += 1
        self.look_after()
        self._advanced.unpark_all()
        if self._index.pending.count:
            self._wake()


def no_such_documents(collection: str) -> NotFound:
    """The refusal of whatever is asked of a collection that is not there."""
    return NotFound(
        f"no documents {collection!r}: the collection begins with its first document, "
        f"PUT /v1/doc/{collection}/<id>"
    )


def _nobody() -> None:
    """It is closed."""
