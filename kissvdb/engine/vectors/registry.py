"""The registry of vector collections: the actor that creates, opens and deletes them."""

import logging
from collections.abc import Callable, Iterator
from math import nan
from typing import TYPE_CHECKING

import attrs
import trio

from actors import Actor, ActorCrashed, Address, Envelope, MailboxClosed, Supervisor
from kissvdb import logs
from kissvdb.config import Config
from kissvdb.core.quotas import Amount
from kissvdb.core.state import rules as state
from kissvdb.core.state.reserved_keys import manifest_key
from kissvdb.core.store.spec import CollectionSpec, is_shadow, shadow_of
from kissvdb.embedders.registry import Embedders
from kissvdb.engine.asking import unavailable
from kissvdb.engine.log.writer import Append
from kissvdb.engine.rows.stored import StoredCollection
from kissvdb.engine.rows.upkeep import CollectionUpkeep, look_after_all
from kissvdb.engine.state.model import State
from kissvdb.engine.vectors import manifests
from kissvdb.engine.vectors.collection import (
    Collection,
    CollectionContext,
    Convert,
    Drop,
    no_such_collection,
)
from kissvdb.engine.vectors.collection_store import CollectionStore
from kissvdb.engine.vectors.expiry import expire_vectors
from kissvdb.engine.vectors.recall_audit import RecallAudit, keep_audited
from kissvdb.engine.vectors.reindex import BeginReindex, EndReindex, Reindex, Reindexing
from kissvdb.errors import AlreadyExists, PersistenceFailed, Refused, Unavailable
from kissvdb.metrics import (
    COLLECTION_BYTES,
    COLLECTION_DAMAGED,
    COLLECTION_DEAD_ROWS,
    COLLECTION_RECALL,
    COLLECTION_TAIL_ROWS,
    COLLECTION_UPKEEP,
    COLLECTION_VECTORS,
    MAILBOX_DEPTH,
)
from kissvdb.records import CollectionDeleted
from kissvdb.storage.disk import refusal_of

if TYPE_CHECKING:
    from kissvdb.core.rows.view import Statistics

logger = logging.getLogger("kissvdb.collections")


@attrs.frozen
class CreateCollection:
    """Create a collection. Answers the offset of its beginning."""

    spec: CollectionSpec


@attrs.frozen
class DropCollection:
    """Delete a collection and everything in it. Answers the offset of its end."""

    name: str


@attrs.frozen
class ListCollections:
    """Answers the open collections: all whose creation, and none whose deletion, was answered or
    is in the log by now."""


@attrs.frozen(eq=False)
class OpenCollection:
    """A collection that runs: its owner, where to ask it, and its upkeep."""

    actor: Collection
    address: Address
    upkeep: CollectionUpkeep
    audit: RecallAudit
    stored: StoredCollection

    @property
    def name(self) -> str:
        """The collection's name."""
        return self.actor.rows.spec.name

    @property
    def spec(self) -> CollectionSpec:
        """What the collection is made of."""
        return self.actor.rows.spec

    @property
    def is_converted_on_disk(self) -> bool:
        """Whether the files have the index that the rows got last."""
        return self.stored.durable_offset >= (self.actor.converted_at or 0)

    def manifest(self) -> state.Item:
        """The collection as a key of the state."""
        return manifests.item(self.actor.rows.spec, self.stored.created_offset or 0)

    def gauges(self) -> dict[str, Callable[[], float]]:
        """What is measured of it, by the names of `kissvdb.metrics`."""

        def numbers() -> "Statistics":
            return self.actor.view().statistics()

        return {
            COLLECTION_VECTORS: lambda: numbers().live_rows,
            COLLECTION_DEAD_ROWS: lambda: numbers().deleted_rows,
            COLLECTION_TAIL_ROWS: lambda: numbers().tail_rows,
            COLLECTION_BYTES: lambda: numbers().row_bytes + numbers().index_bytes,
            COLLECTION_DAMAGED: lambda: self.upkeep.damage is not None,
            COLLECTION_UPKEEP: lambda: self.upkeep.done_total,
            COLLECTION_RECALL: lambda: nan if self.audit.recall is None else self.audit.recall,
        }


class Collections(Actor):
    """Owns the list of collections. ``opened`` is read by anyone, on the loop."""

    name = "collections"

    def __init__(
        self,
        store: CollectionStore,
        supervisor: Supervisor,
        around: CollectionContext,
        keys: State,
        config: Config,
        embedders: Embedders,
    ) -> None:
        self.opened: dict[str, OpenCollection] = {}
        """By name; shadows (`core.store.spec.shadow_of`) among them."""
        self.reindexing = Reindexing(
            self, embedders, around, store, supervisor, config.limits.collections_max
        )
        self._changing_at: int | None = None
        self._store = store
        self._supervisor = supervisor
        self._around = around
        self._keys = keys
        self._config = config
        self._upkeeps, self._upkeeps_to_run = trio.open_memory_channel[CollectionUpkeep](
            2 * config.limits.collections_max
        )

    async def look_after(self) -> None:
        """The task that does what collections need done while they are used."""
        async with trio.open_nursery() as tasks:
            tasks.start_soon(look_after_all, self._upkeeps_to_run)
            tasks.start_soon(expire_vectors, self.running)
            tasks.start_soon(
                keep_audited, self.audited, self._around.threads.upkeep, self._config.search
            )
            tasks.start_soon(self._use_kernels)
            tasks.start_soon(self.reindexing.run)

    async def _use_kernels(self) -> None:
        await self._store.kernels.compiled.wait()
        for each in self.opened.values():
            each.actor.look_after()

    @property
    def true_offset(self) -> int:
        """An offset up to which every collection there was is there, and no other."""
        changing_at = self._changing_at
        return self._around.committed_offset() if changing_at is None else changing_at

    def amounts(self) -> Iterator[tuple[str, Amount]]:
        """What each collection holds: its rows without those that were deleted, and the bytes of
        all of them. What is made anew beside one is not counted."""
        for each in self.opened.values():
            if not is_shadow(each.name):
                numbers = each.actor.view().statistics()
                yield each.name, Amount(numbers.live_rows, numbers.row_bytes)

    def running(self) -> list[tuple[Collection, Address]]:
        """The owners of all collections, and where to ask them."""
        return [(each.actor, each.address) for each in self.opened.values()]

    def audited(self) -> list[tuple[Collection, Address, RecallAudit]]:
        """The owners of all collections, where to ask them, and the audits of their searches."""
        return [
            (each.actor, each.address, each.audit)
            for each in self.opened.values()
            if not is_shadow(each.name)
        ]

    async def open(self) -> None:
        for stored in list(self._store.collections.values()):
            await self._start(stored)
            actor = self.opened[stored.rows.spec.name].actor
            # What the replay brought may be due for the index.
            actor.look_after()
            await self._forget_manifest(stored.rows.spec.name)
        await self._go_on_reindexing()
        for name in self._store.broken:
            self._around.metrics.watch(COLLECTION_DAMAGED, lambda: 1.0, name)

    async def handle(self, batch: list[Envelope]) -> None:
        for envelope in batch:
            message = envelope.message
            self._changing_at = self._around.committed_offset()
            try:
                if isinstance(message, CreateCollection):
                    envelope.answer(await self._create(message.spec))
                elif isinstance(message, BeginReindex):
                    envelope.answer(await self._begin_reindex(message))
                elif isinstance(message, EndReindex):
                    envelope.answer(await self._end_reindex(message.name))
                elif isinstance(message, ListCollections):
                    envelope.answer(list(self.opened.values()))
                else:
                    assert isinstance(message, DropCollection)
                    envelope.answer(await self._drop(message.name))
            except (Refused, Unavailable) as refusal:
                envelope.refuse(refusal)
            except (MailboxClosed, ActorCrashed) as error:
                # The database stops, and a collection stopped before this actor.
                envelope.refuse(unavailable(error))
            self._changing_at = None

    async def _create(self, spec: CollectionSpec) -> int:
        if spec.name in self.opened:
            raise AlreadyExists(
                f"collection {spec.name!r} already exists: use it, choose another name, or delete "
                "it first"
            )
        if spec.name in self._store.broken:
            raise AlreadyExists(
                f"collection {spec.name!r} exists and is damaged: delete it first, or restore a "
                f"backup ({self._store.broken[spec.name]})"
            )
        await self._drop_shadow(spec.name)
        count = sum(not is_shadow(name) for name in self.opened)
        if count >= self._config.limits.collections_max:
            raise Refused(
                "there are as many collections as there may be: delete one, or raise "
                "limits.collections_max (KISSVDB_LIMITS_COLLECTIONS_MAX)"
            )
        if self._key_is_a_users(spec.name):
            key = manifest_key(spec.name)
            raise AlreadyExists(
                f"key {key!r} has a value of yours, and would show collection {spec.name!r}: write "
                "the value under another key, delete this one, and create the collection then"
            )
        offset = await self._make(spec)
        await self._forget_manifest(spec.name)
        return offset

    async def _make(self, spec: CollectionSpec) -> int:
        try:
            stored = await self._around.threads.commits.run(
                self._store.create, spec, self._around.committed_offset()
            )
        except OSError as error:
            raise refusal_of(error, f"no room for collection {spec.name!r}") from error
        try:
            offset: int = await self._around.log.ask(Append((spec.record(),)))
        except PersistenceFailed:
            await self._remove(spec.name)
            raise
        stored.created_offset = offset
        stored.rows.note_offset(offset)
        await self._start(stored)
        return offset

    async def _begin_reindex(self, message: BeginReindex) -> Reindex:
        found = self.opened.get(message.name)
        if found is None:
            raise no_such_collection(message.name)
        self.reindexing.check_none(message.name)
        await self._drop_shadow(message.name)
        spec = message.spec_after(found.spec)
        if message.embedder is None:
            await found.address.ask(Convert(spec))
        else:
            await self._make(spec)
        return self.reindexing.begin(message.name, spec)

    async def _end_reindex(self, name: str) -> int | None:
        if name not in self.opened:
            raise no_such_collection(name)
        job = self.reindexing.jobs.get(name)
        if job is None or job.state == "finishing":
            return None
        found = await self.reindexing.end(name)
        shadow, collection = shadow_of(name), self.opened[name]
        if found and collection.actor.rows.wanted is not None:
            offset: int = await collection.address.ask(Convert(None))
            return offset
        return await self._drop(shadow) if found and shadow in self.opened else None

    async def _drop_shadow(self, name: str) -> None:
        """Remove what is left of an attempt to reindex a collection."""
        shadow = shadow_of(name)
        if shadow in self.opened or shadow in self._store.broken:
            await self._drop(shadow)

    async def _go_on_reindexing(self) -> None:
        """What was being reindexed goes on; what was left of others goes away."""
        for shadow in [name for name in (*self.opened, *self._store.broken) if is_shadow(name)]:
            name = shadow[1:]
            if name in self.opened and shadow in self.opened:
                self.reindexing.begin(name, self.opened[shadow].spec)
            elif name not in self._store.broken:
                await self._drop(shadow)
        for name, each in self.opened.items():
            wanted = each.actor.rows.wanted
            if wanted is not None:
                self.reindexing.begin(name, wanted)

    def replaced(
        self, name: str, actor: Collection, address: Address, stored: StoredCollection
    ) -> None:
        """Readers and writers go to another owner from now on: that of what was the shadow."""
        before, shadow = self.opened[name], self.opened.pop(shadow_of(name))
        before.actor.successor = address
        for each in (before, shadow):
            each.actor.dropped = True
            each.actor.look_after()
        self._forget_gauges(before)
        self._forget_gauges(shadow)
        self._open(actor, address, stored)

    async def _drop(self, name: str) -> int:
        if name in self._store.broken:
            return await self._drop_broken(name)
        await self.reindexing.end(name)
        found = self.opened.get(name)
        if found is None:
            raise no_such_collection(name)
        offset: int = await found.address.ask(Drop())
        del self.opened[name]
        self._forget_gauges(found)
        await found.upkeep.finished()
        await self._supervisor.stop(found.address)
        await self._remove(name)
        await self._drop_shadow(name)
        return offset

    def _forget_gauges(self, found: OpenCollection) -> None:
        for gauge in found.gauges():
            self._around.metrics.forget(gauge, found.name)
        self._around.metrics.forget(MAILBOX_DEPTH, found.actor.name)

    async def _drop_broken(self, name: str) -> int:
        offset: int = await self._around.log.ask(Append((CollectionDeleted(name),)))
        await self._remove(name)
        self._around.metrics.forget(COLLECTION_DAMAGED, name)
        return offset

    async def _start(self, stored: StoredCollection) -> None:
        actor = Collection(stored.rows, self._around)
        actor.updated_at_ms = stored.updated_at_ms
        self._open(actor, await self._supervisor.start(actor), stored)

    def _open(self, actor: Collection, address: Address, stored: StoredCollection) -> None:
        upkeep = CollectionUpkeep(actor, address, stored, self._around.threads.upkeep)
        audit = RecallAudit(self._config.search.audit_queries)
        opened = OpenCollection(actor, address, upkeep, audit, stored)
        self.opened[opened.name] = opened
        gauges = {} if is_shadow(opened.name) else opened.gauges()
        for gauge, read in gauges.items():
            self._around.metrics.watch(gauge, read, opened.name)
        self._around.metrics.watch(MAILBOX_DEPTH, lambda: address.statistics().depth, actor.name)
        self._store.kernels.want()
        try:
            self._upkeeps.send_nowait(upkeep)
        except trio.BrokenResourceError:
            # The database stops: nobody looks after anything any more.
            return

    def _key_is_a_users(self, collection: str) -> bool:
        stored = self._keys.get(manifest_key(collection))
        return stored is not None and not manifests.was_ours(stored, collection)

    async def _forget_manifest(self, collection: str) -> None:
        """Delete the key that an earlier version has stored for a collection."""
        key = manifest_key(collection)
        if self._keys.get(key) is None or self._key_is_a_users(collection):
            return
        try:
            await self._keys.ask(state.Delete(key))
        except PersistenceFailed as refusal:
            # It says what is so, and goes at the next start.
            logs.event(logger, logging.WARNING, refusal.message, key=key)

    async def _remove(self, name: str) -> None:
        try:
            await self._around.threads.commits.run(self._store.remove, name)
        except OSError as error:
            # Its end is in the log, which is kept: the next start removes what is left.
            message = "files of a deleted collection could not be removed"
            logs.event(logger, logging.WARNING, message, collection=name, error=str(error))
