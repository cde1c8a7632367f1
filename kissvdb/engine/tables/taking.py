"""Snapshots of the database at one offset, while everybody writes.

An owner has a time in which something of its is in the log and not in its view: usually one turn
of the loop, of SQL a COMMIT. A snapshot is taken in a turn in which no owner that it looks at has;
then all they hold is what the log holds up to its last offset. Where such a turn does not come
soon, because all of them write without a break, they are held for one, as for a batch.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Protocol

import apsw
import attrs
import trio
import trio.from_thread
import trio.lowlevel

from actors import Address
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.engine.asking import answered, submit
from kissvdb.engine.documents.model import Documents
from kissvdb.engine.log.event_log import EventLog
from kissvdb.engine.owner import Held, Hold
from kissvdb.engine.state.model import State
from kissvdb.engine.tables.keys import Keys, ShardKeys
from kissvdb.engine.tables.sight import Bounds
from kissvdb.engine.tables.snapshot import Snapshot
from kissvdb.engine.tables.uses import Uses
from kissvdb.engine.threads import Threads
from kissvdb.engine.vectors.model import Vectors
from kissvdb.errors import KissError, NotFound

TURNS_MAX = 32
"""So many turns of the loop are waited before owners are held."""
HELD_TURNS_MAX = 8
"""So many times owners are held: a collection may be dropped just then, a table be busy."""


class SqlFile(Protocol):
    """The user's tables: up to which offset they are true, and where to ask their owner."""

    @property
    def applied_offset(self) -> int: ...

    @property
    def address(self) -> Address: ...


@attrs.frozen(eq=False)
class Sources:
    """Where snapshots come from."""

    state: State
    documents: Documents
    vectors: Vectors
    log: EventLog
    committed_offset: Callable[[], int]
    clock_ms: Callable[[], int]
    threads: Threads

    def has_documents(self, name: str) -> bool:
        """Whether there may be such a collection."""
        return self.documents.has(name)

    def has_vectors(self, name: str) -> bool:
        """Whether there is such a collection."""
        try:
            self.vectors.find(name)
        except KissError:
            return False
        return True


async def take(
    sources: Sources,
    uses: Uses,
    bounds: Bounds,
    sql: SqlFile | None = None,
    begin: Callable[[], None] | None = None,
) -> Snapshot:
    """Everything that is used, at one offset, with all that was answered before.

    ``begin`` holds on to this moment of the user's tables, in a few microseconds; it may raise
    apsw.BusyError. Raises NotFound, Stopping, PersistenceFailed, and apsw.InterruptError.
    """
    taking = _Taking(sources, uses, bounds, sql, begin)
    for _ in range(TURNS_MAX):
        await taking.get_ready()
        found = taking.now()
        if found is not None:
            return found
        await trio.lowlevel.checkpoint()
    for _ in range(HELD_TURNS_MAX):
        found = await taking.held()
        if found is not None:
            return found
    raise apsw.BusyError("the tables are busy: try again")


class _Taking:
    def __init__(
        self,
        sources: Sources,
        uses: Uses,
        bounds: Bounds,
        sql: SqlFile | None,
        begin: Callable[[], None] | None,
    ) -> None:
        self._sources = sources
        self._uses = uses
        self._bounds = bounds
        self._sql = sql
        self._begin = begin
        self._token = trio.lowlevel.current_trio_token()

    async def get_ready(self) -> None:
        """Do what takes its time: rows take what is pending, connections are opened."""
        sources = self._sources
        if self._bounds.is_over():
            raise apsw.InterruptError("interrupted")
        for name in self._uses.documents:
            try:
                if sources.documents.view_here(name) is None:
                    await sources.documents.view(name)
            except NotFound:
                continue
        if self._uses.keys:
            for shard in sources.state.shards:
                table = shard.view.table
                await shard.view.wait_until_readable()
                if table.path is not None and not table.idle_readers:
                    await sources.threads.commits.run(table.open_reader)

    def now(self, *, is_held: bool = False) -> Snapshot | None:
        """All as of now, if everything is true at one offset now. ``is_held``: it is."""
        sources, uses = self._sources, self._uses
        offset = sources.committed_offset()
        if not is_held and any(each != offset for each in self._true_offsets()):
            return None
        documents = {}
        for name in uses.documents:
            try:
                view = sources.documents.view_here(name)
            except NotFound:
                continue
            if view is None:
                return None
            documents[name] = view
        vectors = {name: sources.vectors.find(name).actor.view() for name in uses.vectors}
        with ExitStack() as stack:
            try:
                keys = self._keys(stack) if uses.keys else None
                if self._begin is not None:
                    self._begin()
            except apsw.BusyError:
                return None
            ends = stack.pop_all()
        return Snapshot(
            offset,
            keys,
            documents,
            vectors,
            sources.log,
            self._bounds,
            self._embed,
            uses.names,
            [ends.close],
        )

    async def held(self) -> Snapshot | None:
        """The same while nobody writes. None where it has to be tried again."""
        await self.get_ready()
        owners = self._owners()
        helds: list[Held] = []
        try:
            for owner in owners:
                # One by one: whoever is held is released, whatever comes.
                helds.append(await answered(submit(owner, Hold(()))))  # noqa: PERF401
            # What shards have installed by now is all there is.
            await self.get_ready()
            return self.now(is_held=True) if self._owners() == owners else None
        finally:
            for held in helds:
                held.release()

    def _owners(self) -> list[Address]:
        sources, uses = self._sources, self._uses
        owners = [sources.vectors.owner(name) for name in uses.vectors]
        if uses.keys or uses.documents:
            owners += sources.state.owners
        if self._sql is not None:
            owners.append(self._sql.address)
        return sorted(owners, key=lambda owner: owner.name)

    def _true_offsets(self) -> Sequence[int]:
        sources, uses = self._sources, self._uses
        offsets = [sources.vectors.find(name).actor.true_offset for name in uses.vectors]
        if uses.keys or uses.documents:
            offsets += [shard.true_offset for shard in sources.state.shards]
        if self._sql is not None:
            offsets.append(self._sql.applied_offset)
        return offsets

    def _keys(self, stack: ExitStack) -> Keys:
        shards = []
        for shard in self._sources.state.shards:
            table = shard.view.table
            reader = None if table.path is None else table.reader()
            keys = ShardKeys(shard.view, reader)
            stack.callback(keys.close)
            keys.begin(self._bounds.is_over)
            stack.callback(keys.end)
            shards.append(keys)
        return Keys(tuple(shards), self._sources.clock_ms())

    def _embed(self, spec: CollectionSpec, text: str) -> bytes:
        """Asks the loop, in the thread of the statement, which waits meanwhile."""
        embedded = partial(self._embedded, spec, text)
        found: bytes = trio.from_thread.run(embedded, trio_token=self._token)
        return found

    async def _embedded(self, spec: CollectionSpec, text: str) -> bytes:
        with trio.move_on_after(max(0.0, self._bounds.seconds_left())):
            return await self._sources.vectors.texts.query_vector(spec, text)
        raise apsw.InterruptError("interrupted")
