"""SQL as a model of the database: who executes it, what is checkpointed and backed up."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import trio

from actors import ActorCrashed, Address, MailboxClosed
from kissvdb import logs
from kissvdb.core.sql.commands import SqlCommand
from kissvdb.engine.model import Retain
from kissvdb.engine.sql.owner import Save, SqlOwner
from kissvdb.engine.sql.readers import Readers, Rows
from kissvdb.engine.sql.reading import Row, SqlQuery
from kissvdb.engine.threads import Threads
from kissvdb.errors import PersistenceFailed
from kissvdb.metrics import MAILBOX_DEPTH, VIEW_APPLIED_OFFSET, Metrics
from kissvdb.storage.backup import Entry
from kissvdb.storage.data_dir import DataDir
from kissvdb.storage.sql import copying

logger = logging.getLogger("kissvdb.sql")

REFUSED_PAUSE_SECONDS = 2.0
HURRY_SECONDS = 0.5
WAL_FACTOR_MAX = 4
"""With a WAL so many times as large as one that is moved, no query begins until it is moved."""

T = TypeVar("T")


class Sql:
    """The user's SQL database."""

    commands = (SqlCommand,)

    def __init__(
        self,
        owner: SqlOwner,
        address: Address,
        path: Path,
        directory: DataDir | None,
        threads: Threads,
        metrics: Metrics,
        readers: Readers,
    ) -> None:
        """``path``: of the file, which readers open for themselves."""
        self.path = path
        self.readers = readers
        self.address = address
        self._owner = owner
        self._directory = directory
        self._threads = threads
        durable = directory is not None
        self._upkeep = SqlUpkeep(owner, address, path, threads, readers, durable=durable)
        metrics.watch(MAILBOX_DEPTH, lambda: address.statistics().depth, address.name)
        metrics.watch(VIEW_APPLIED_OFFSET, lambda: owner.true_offset, address.name)

    @property
    def applied_offset(self) -> int:
        """Up to here a new reader sees everything."""
        return self._owner.true_offset

    def reader(self, query: SqlQuery, shape: Callable[[list[Row]], T] | None = None) -> Rows[T]:
        """A query as an async context manager: see `Rows`."""
        return self.readers.reader(query, shape)

    # As `model.Model`

    def route(self, command: SqlCommand) -> tuple[Address, SqlCommand]:
        return self.address, command

    async def settle(self) -> None:
        """There is one, and it stays."""

    def targets(self) -> Sequence["SqlUpkeep"]:
        return [self._upkeep]

    @property
    def durable_offset(self) -> int | None:
        return self._upkeep.durable_offset

    async def note_files(self, entries: list[Entry]) -> None:
        await self._threads.upkeep.run(self._copy, entries)

    def _copy(self, entries: list[Entry]) -> None:
        """Note a copy at one offset, in a file that is gone once it is closed."""
        assert self._directory is not None
        with self._directory.scratch([self.path.name]) as scratch:
            copy = scratch / self.path.name
            copying.copy(self.path, copy)
            entries.append(Entry(self.path.name, copy.stat().st_size, copy.open("rb")))

    async def look_after(self, retain: Retain) -> None:
        try:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self.readers.look_after)
                tasks.start_soon(self._hurry)
                await self._upkeep.run(retain)
        finally:
            self.readers.close()

    async def _hurry(self) -> None:
        """See to it that no statement holds up those that wait behind it."""
        while True:
            await trio.sleep(HURRY_SECONDS)
            self._owner.hurry()


class SqlUpkeep:
    """The `model.Target`: the one file."""

    name = "sql"
    gone = False
    save_is_due = True

    def __init__(
        self,
        owner: SqlOwner,
        address: Address,
        path: Path,
        threads: Threads,
        readers: Readers,
        *,
        durable: bool,
    ) -> None:
        self._owner = owner
        self._address = address
        self._path = path
        self._threads = threads
        self._readers = readers
        self._durable = durable
        self.durable_offset: int | None = 0 if durable else None

    async def save(self) -> None:
        """Most of the WAL is moved while writes go on, the rest between two of them."""
        await self._threads.upkeep.run(copying.move_wal, self._path)
        offset: int = await self._address.ask(Save())
        if self._durable:
            self.durable_offset = offset

    async def finish(self) -> None:
        await self.save()

    async def run(self, retain: Retain) -> None:
        """Checkpoint when the WAL is large, until cancelled."""
        while True:
            await self._owner.checkpoint_due.wait()
            self._owner.checkpoint_due = trio.Event()
            try:
                await self.save()
                if self._owner.wal_factor > WAL_FACTOR_MAX:
                    # What readers look at cannot be moved: where they follow each other without a
                    # gap, the next ones wait for one.
                    async with self._readers.kept_out():
                        await self.save()
                await retain()
            except PersistenceFailed as error:
                logs.event(logger, logging.WARNING, error.message)
                await trio.sleep(REFUSED_PAUSE_SECONDS)
            except (MailboxClosed, ActorCrashed):
                return
