"""Upkeep of one shard's table: memtables stored into it, its file made durable."""

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from actors import Workers
from kissvdb.engine import state_view
from kissvdb.engine.state_shard import StateShard

STORE_SECONDS = 1.0
"""At most so long what was answered is in the log and in memory only, not yet in the table."""


class StateUpkeep:
    """The one who writes a shard's table. `run` is its task."""

    def __init__(
        self,
        shard: StateShard,
        workers: Workers,
        *,
        wal_pages_max: int,
        then: Callable[[], Awaitable[None]],
    ) -> None:
        """``then`` is called when something has become durable."""
        self.shard = shard
        self.durable_offset = 0
        """Up to here the table's file has everything, whatever happens to the machine."""
        self._workers = workers
        self._wal_pages_max = wal_pages_max
        self._then = then
        self._writing = trio.Lock()

    async def run(self) -> None:
        """Store what was written, soon and in large pieces, until cancelled."""
        view = self.shard.view
        while True:
            with trio.move_on_after(STORE_SECONDS):
                await view.store_due.wait()
            if view.pending_entries:
                await self.store()
            if view.table.writer.wal_pages > self._wal_pages_max:
                await self.checkpoint()
                await self._then()

    async def store(self) -> None:
        """Bring the table to where its shard is now."""
        async with self._writing:
            await self._store()

    async def checkpoint(self) -> int:
        """Make the table's file durable as its shard is now; answers the durable offset."""
        table = self.shard.view.table
        async with self._writing:
            applied = await self._store()
            if table.path is None or await self._workers.run(table.writer.checkpoint):
                self.durable_offset = applied
        return self.durable_offset

    async def _store(self) -> int:
        # Records of other owners do not touch this table: it is true up to here without them.
        applied = self.shard.true_offset
        view = self.shard.view
        if view.pending_entries == 0 and applied <= view.table.applied_offset:
            return view.table.applied_offset
        memtable = view.freeze()
        with trio.CancelScope(shield=True):
            if view.table.path is None:
                # Its one connection is the loop's.
                for _ in state_view.store_steps(view.table, memtable, applied):
                    await trio.lowlevel.checkpoint()
            else:
                await self._workers.run(partial(state_view.store, view.table, memtable, applied))
        view.stored(memtable)
        return view.table.applied_offset
