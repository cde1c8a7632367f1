"""Upkeep of one shard's table: memtables stored into it, its file made durable."""

import logging
from functools import partial

import trio

from actors import Workers
from kissvdb import logs
from kissvdb.core.state.memtable import Sealed
from kissvdb.engine.model import Retain
from kissvdb.engine.state import view as state_view
from kissvdb.engine.state.shard import StateShard
from kissvdb.engine.threads import switching
from kissvdb.errors import PersistenceFailed

logger = logging.getLogger("kissvdb.state")

STORE_SECONDS = 1.0
"""So often what was answered, and is in the log and in memory only, is stored in the table."""

SWITCH_SECONDS = 0.0001
"""While a thread stores, the event loop gets the interpreter back after this time: it lets go of it
five times and more for each group of requests, and half of storing is Python. (`bench writes`,
`batch_put`: a fourth more than with the usual 5 ms.)"""

LOAD_ENTRIES = 1024
LOAD_ROUNDS = 10
"""Where so much came meanwhile, more is to come: it is waited for so many times as long."""

REFUSED_PAUSE_SECONDS = 2.0
"""Between tries to store what the disk refused."""

WAL_FACTOR_MAX = 4
"""With a WAL so many times as large as one that is moved, no snapshot begins until it is moved."""

PINNED_PAUSE_SECONDS = 0.02
"""Between looks whether a table in memory may be written again."""


class StateUpkeep:
    """The one who writes a shard's table. `run` is its task."""

    def __init__(
        self,
        shard: StateShard,
        workers: Workers,
        *,
        wal_pages_max: int,
    ) -> None:
        self.shard = shard
        self.durable_offset = 0
        """Up to here the table's file has everything, whatever happens to the machine."""
        self._workers = workers
        self._wal_pages_max = wal_pages_max
        self._writing = trio.Lock()

    @property
    def name(self) -> str:
        """The shard's name."""
        return self.shard.name

    @property
    def gone(self) -> bool:
        """Shards stay."""
        return False

    @property
    def save_is_due(self) -> bool:
        """A table's checkpoint costs what is new in it: it is always due."""
        return True

    async def save(self) -> None:
        """As `model.Target.save`."""
        await self.checkpoint()

    async def finish(self) -> None:
        """As `model.Target.finish`."""
        try:
            await self.store()
        finally:
            self.shard.view.store_no_more()

    async def run(self, retain: Retain) -> None:
        """Store what was written, soon and in large pieces, until cancelled."""
        view = self.shard.view
        while True:
            for waited in range(LOAD_ROUNDS):
                if view.store_due.is_set() or (waited and view.pending_entries < LOAD_ENTRIES):
                    break
                with trio.move_on_after(STORE_SECONDS):
                    await view.store_due.wait()
            if view.is_pinned:
                await trio.sleep(PINNED_PAUSE_SECONDS)
                continue
            try:
                if view.pending_entries:
                    await self.store()
                await self.bound_wal(retain)
            except PersistenceFailed as error:
                logs.event(logger, logging.WARNING, error.message)
                await trio.sleep(REFUSED_PAUSE_SECONDS)

    async def bound_wal(self, retain: Retain) -> None:
        """Make the table's file durable if its WAL is large.

        What snapshots look at cannot be moved: where they follow each other without a gap, the
        next ones wait for one.
        """
        view, writer = self.shard.view, self.shard.view.table.writer
        if writer.wal_pages > self._wal_pages_max:
            await self.checkpoint()
            await retain()
        view.keep_readers_out(writer.wal_pages > WAL_FACTOR_MAX * self._wal_pages_max)

    async def store(self) -> None:
        """Bring the table to where its shard is now. Raises PersistenceFailed."""
        async with self._writing:
            await self._store()

    async def checkpoint(self) -> int:
        """Make the table's file durable as its shard is now; answers the durable offset. Raises
        PersistenceFailed."""
        table = self.shard.view.table
        async with self._writing:
            applied = await self._store()
            if table.path is None or await self._workers.run(table.writer.checkpoint):
                self.durable_offset = applied
        return self.durable_offset

    async def _store(self) -> int:
        view = self.shard.view
        while view.is_pinned:  # noqa: ASYNC110 - it is unpinned by any thread
            await trio.sleep(PINNED_PAUSE_SECONDS)
        if view.unstored is not None:
            # The disk refused it the last time. What came since is not in it.
            applied = max(view.unstored.applied_offset, view.table.applied_offset)
            await self._write(view.unstored, applied)
        # Records of other owners do not touch this table: it is true up to here without them.
        applied = self.shard.true_offset
        if view.pending_entries or applied > view.table.applied_offset:
            await self._write(view.freeze(), applied)
        return view.table.applied_offset

    async def _write(self, sealed: Sealed, applied: int) -> None:
        view = self.shard.view
        with trio.CancelScope(shield=True):
            try:
                if view.table.path is None:
                    # Its one connection is the loop's.
                    for _ in state_view.store_steps(view.table, sealed, applied):
                        await trio.lowlevel.checkpoint()
                else:
                    store = partial(state_view.store, view.table, sealed, applied)
                    with switching.within(SWITCH_SECONDS):
                        await self._workers.run(store)
            except PersistenceFailed as refusal:
                view.not_stored(refusal)
                raise
        view.stored(sealed)
