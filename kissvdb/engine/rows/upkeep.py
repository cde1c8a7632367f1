"""Upkeep of a collection: threads do what its owner hands out, while reads and writes go on."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, Protocol

import attrs
import trio

from actors import ActorCrashed, Address, MailboxClosed, Workers
from kissvdb import logs
from kissvdb.engine.rows.stored import StoredCollection
from kissvdb.errors import Damaged, PersistenceFailed
from kissvdb.storage.backup import Entry

if TYPE_CHECKING:
    # Not at run time: numpy comes with them, and a server without rows starts faster without.
    from kissvdb.core.rows.owner import Rows
    from kissvdb.core.rows.work import Work

logger = logging.getLogger("kissvdb.collections")

START_PAUSE_SECONDS = 0.5
"""What clients ask first, and the loading of compiled code, go before the comparing of rows."""
TICK_SECONDS = 0.05
RETRY_SECONDS = 5.0
HURRIED_CHANGES = 2048
HURRIED_ROUNDS_MAX = 12
HURRIED_SECONDS_MAX = 1.0
"""With so many changes waiting a round is put off, by so many portions that are applied, each at
most so long: what is merged with them is merged once. A search meets as many segments more."""
SAVE_SHARE = 20.0
"""A checkpoint that takes a second is done every twenty at most."""
PRESSING_SHARE = 2.0
"""Or every two, while more is not in it than a start should replay:"""
REPLAYED_NUMBERS_MAX = 6 * 1024 * 1024
"""so many numbers of vectors, of each row REPLAYED_ROW more for all the rest: a quarter second."""
REPLAYED_ROW = 400


Wish = Literal["due", "vacuum", "drain", "checkpoint"]


@attrs.frozen
class TakeWork:
    """Hand out a piece of upkeep: what is due next, a vacuum, a drain though none is due, or a
    checkpoint. Answers the work, or None when there is nothing to do."""

    wish: Wish = "due"


@attrs.frozen
class FinishWork:
    """Take over a piece of upkeep, or forget it because it failed."""

    work: "Work"
    failed: bool = False


class RowsOwner(Protocol):
    """The actor that owns a collection's rows: it answers TakeWork and FinishWork."""

    dropped: bool
    updated_at_ms: int

    @property
    def changes(self) -> int:
        """Rises with whatever makes the rows other than the last checkpoint."""

    @property
    def pending_count(self) -> int:
        """Changes that are not in the rows yet."""

    @property
    def rows(self) -> "Rows": ...

    @property
    def true_offset(self) -> int:
        """An offset up to which the rows hold every record of theirs."""

    def look_after(self) -> None:
        """Say that upkeep may be due."""

    async def changed(self) -> None:
        """Wait until upkeep may be due, since the last call."""


async def look_after_all(upkeeps: "trio.MemoryReceiveChannel[CollectionUpkeep]") -> None:
    """Run the upkeep of every collection that comes."""
    async with upkeeps, trio.open_nursery() as nursery:
        async for upkeep in upkeeps:
            nursery.start_soon(upkeep.run)


class CollectionUpkeep:
    """One collection's upkeep. `run` is its task; `vacuum` and `save` ask for more."""

    def __init__(
        self, collection: RowsOwner, address: Address, stored: StoredCollection, workers: Workers
    ) -> None:
        self.working: str | None = None
        """What is being done now."""
        self.done_total = 0
        """Pieces of work that were finished."""
        self.problem: str | None = None
        """Why the last piece failed; None when it did not."""
        self._collection = collection
        self._address = address
        self._stored = stored
        self._workers = workers
        self._one_at_a_time = trio.Lock()
        self._changes_saved = -1 if stored.stale else collection.changes
        self._rows_saved = 0 if stored.stale else collection.rows.counts[1]
        # By vacuums, since the last checkpoint.
        self._rows_dropped = 0
        self._failed = False
        self._save_seconds = 0.0
        self._saved_at = trio.current_time()

    async def run(self) -> None:
        """Do what is due, until the collection is dropped or stops."""
        try:
            await trio.sleep(START_PAUSE_SECONDS)
            while not self._collection.dropped:
                await self._collection.changed()
                await self._while_hurried()
                while await self._work("due"):
                    await self._save_if_pressing()
                await self._save_if_pressing()
                if self._failed:
                    self._failed = False
                    await trio.sleep(RETRY_SECONDS)
                    self._collection.look_after()
                # Writes that come one by one must not each make a round.
                await trio.sleep(TICK_SECONDS)
        except (MailboxClosed, ActorCrashed):
            return

    async def _while_hurried(self) -> None:
        for _ in range(HURRIED_ROUNDS_MAX):
            if self._collection.pending_count < HURRIED_CHANGES:
                return
            with trio.move_on_after(HURRIED_SECONDS_MAX):
                await self._collection.changed()

    @asynccontextmanager
    async def alone(self, kind: str) -> AsyncIterator[None]:
        """Nothing else is done to the rows for the length of the block."""
        async with self._one_at_a_time:
            self.working = kind
            try:
                yield
            finally:
                self.working = None
        self.done_total += 1

    async def finished(self) -> None:
        """Wait until nothing is being done. A dropped collection's work does not go on."""
        async with self._one_at_a_time:
            pass

    async def vacuum(self) -> None:
        """Write the live rows anew and drop the dead ones, to the end.

        Raises Damaged when rows are, MailboxClosed and ActorCrashed.
        """
        await self._work("vacuum")
        while self._collection.rows.vacuum_progress is not None and await self._work("due"):
            pass

    async def index_all(self) -> None:
        """Have all rows that are there now in the index. Raises MailboxClosed and ActorCrashed."""
        (size, count), before = self._collection.rows.counts, -1
        while before < size <= count and await self._work("drain"):
            before, (size, _) = size, self._collection.rows.counts

    async def catch_up(self) -> None:
        """Do all that is due. Raises MailboxClosed and ActorCrashed."""
        while await self._work("due"):
            pass

    @property
    def saved(self) -> bool:
        """Whether the files are of this collection: from its creation, or later."""
        stored = self._stored
        return stored.directory is None or stored.durable_offset >= (stored.created_offset or 0)

    @property
    def damage(self) -> str | None:
        """What is wrong with the files. Sound rows are still served, and only a vacuum waits."""
        return self._collection.rows.damage

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._collection.rows.spec.name

    @property
    def gone(self) -> bool:
        """Whether the collection was dropped."""
        return self._collection.dropped

    @property
    def save_is_due(self) -> bool:
        """Whether the last checkpoint is old enough: what takes long is done less often. To note
        that nothing has changed takes a moment."""
        if self._collection.changes == self._changes_saved:
            return True
        waited = trio.current_time() - self._saved_at
        return waited >= SAVE_SHARE * self._save_seconds

    async def _save_if_pressing(self) -> None:
        """Make a checkpoint, if a start would have to replay much without it."""
        spec, (_, count) = self._collection.rows.spec, self._collection.rows.counts
        # All that were written since, and all that are in the files and not here.
        numbers = (count - self._rows_saved + 2 * self._rows_dropped) * (spec.dim + REPLAYED_ROW)
        if numbers < REPLAYED_NUMBERS_MAX or self._collection.dropped:
            return
        if self._failed:
            # It is tried again later.
            return
        if trio.current_time() - self._saved_at >= PRESSING_SHARE * self._save_seconds:
            try:
                await self.save()
            except (PersistenceFailed, Damaged) as error:
                self._note_failure("checkpoint", error)

    async def save(self) -> None:
        """Make the collection durable files, if it is not.

        Not one that is dropped meanwhile. Raises PersistenceFailed, Damaged, MailboxClosed and
        ActorCrashed.
        """
        collection, stored = self._collection, self._stored
        if stored.directory is None:
            return
        changes, (_, count) = collection.changes, collection.rows.counts
        dropped = self._rows_dropped
        stored.updated_at_ms = collection.updated_at_ms
        if changes != self._changes_saved:
            if await self._work("checkpoint"):
                self._changes_saved, self._rows_saved = changes, count
                self._rows_dropped = max(self._rows_dropped - dropped, 0)
        else:
            async with self._one_at_a_time:
                # A collection that was dropped may be made anew, in the same directory.
                offset = collection.true_offset
                unchanged = changes == collection.changes and not collection.dropped
                if unchanged and offset > stored.durable_offset:
                    await self._workers.run(stored.restate, offset)

    async def finish(self) -> None:
        """As `model.Target.finish`."""
        await self.save()

    async def files(self) -> list[Entry]:
        """The files of a checkpoint made now, open, for a backup. Whoever asks closes them.

        None of a collection that is dropped meanwhile. Raises PersistenceFailed, MailboxClosed and
        ActorCrashed.
        """
        try:
            await self.save()
        except (MailboxClosed, ActorCrashed):
            if not self._collection.dropped:
                raise
        async with self._one_at_a_time:
            if self._collection.dropped:
                return []
            # Nothing is rewritten meanwhile; later checkpoints replace files that are open here.
            return await self._workers.run(self._stored.entries)

    async def _work(self, wish: Wish) -> bool:
        """Do one piece of work. False when there is none, or it failed."""
        # What was handed out comes back, whoever asked for it and left: one piece at a time.
        did = False
        async with self._one_at_a_time:
            with trio.CancelScope(shield=True):
                did = await self._do_next(wish)
        return did

    async def _do_next(self, wish: Wish) -> bool:
        work: Work | None = await self._address.ask(TakeWork(wish))
        if work is None:
            return False
        self.working = work.kind
        started = time.perf_counter()
        try:
            await self._workers.run(self._stored.run, work)
        except (OSError, MemoryError, PersistenceFailed, Damaged) as error:
            await self._address.ask(FinishWork(work, failed=True))
            self._note_failure(work.kind, error)
            return False
        finally:
            self.working = None
        _, before = self._collection.rows.counts
        try:
            await self._address.ask(FinishWork(work))
        except (PersistenceFailed, Damaged) as error:
            self._note_failure(work.kind, error)
            return False
        self._rows_dropped += max(before - self._collection.rows.counts[1], 0)
        self._done(work.kind, time.perf_counter() - started)
        if work.kind == "verification" and self.damage is not None:
            name = self._collection.rows.spec.name
            logs.event(logger, logging.ERROR, self.damage, collection=name)
        if work.kind == "code verification" and self._collection.rows.is_exact:
            # There was an index, or it would not have been looked at.
            message = "the index is made anew from the rows: its codes do not match their checksum"
            logs.event(logger, logging.WARNING, message, collection=self.name)
        return True

    def _done(self, kind: str, seconds: float) -> None:
        self.done_total += 1
        self.problem = None
        if kind == "checkpoint":
            self._save_seconds, self._saved_at = seconds, trio.current_time()
        name = self._collection.rows.spec.name
        logs.event(logger, logging.DEBUG, kind, collection=name, seconds=round(seconds, 3))

    def _note_failure(self, kind: str, error: Exception) -> None:
        name = self._collection.rows.spec.name
        self._failed, self.problem = True, str(error)
        message = f"{kind} failed and is tried again"
        logs.event(logger, logging.WARNING, message, collection=name, error=str(error))
