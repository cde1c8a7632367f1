"""Reindexing: a collection gets another embedder, or its vectors another index.

Without another embedder they stay as they are: upkeep writes the rows anew, under what the
collection is to be (`core.rows.vacuum.Conversion`), and one record says that it is that from now
on. The log holds what is wanted, so a start begins anew with what was not done.

With another embedder all vectors are made anew of their texts. The new ones are written into a
collection of its own, the shadow, while the old ones serve (`copying`). When the two differ by
little the collection is held, the rest is written, and one record says that the shadow is the
collection from now on. Until that record nothing has happened to the collection, and a start goes
on with a shadow that is there. Then a checkpoint of the new rows is made, and the old files go: see
`collection_store`.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import attrs
import trio

from actors import ActorCrashed, MailboxClosed, Supervisor
from kissvdb import logs
from kissvdb.core.store.spec import CollectionSpec, shadow_of
from kissvdb.embedders.embedder import Embedder
from kissvdb.embedders.registry import Embedders
from kissvdb.engine.log.writer import Append
from kissvdb.engine.owner import Hold
from kissvdb.engine.vectors.collection import Collection, CollectionContext
from kissvdb.engine.vectors.collection_store import CollectionStore
from kissvdb.engine.vectors.copying import Copying
from kissvdb.errors import (
    AlreadyExists,
    Damaged,
    EmbedderMismatch,
    InvalidArgument,
    KissError,
    NotFound,
    PersistenceFailed,
)
from kissvdb.records import CollectionReplaced

if TYPE_CHECKING:
    # Not at run time: they import this.
    from kissvdb.engine.vectors.registry import Collections, OpenCollection

logger = logging.getLogger("kissvdb.collections")

REST_ROWS = 16
"""What may be left to write while the collection is held."""
PASSES_MAX = 8
"""After so many passes twice as much may be left, and so on: writers may be faster than a model."""
HELD_SECONDS_MAX = 10.0
RETRY_SECONDS = 0.5
RETRY_SECONDS_MAX = 30.0

State = Literal["running", "waiting", "finishing", "failed"]


@attrs.frozen
class BeginReindex:
    """Begin to make a collection of another spec. Answers the `Reindex`.

    ``shape``: what becomes of its index and quantization, of what they are. ``embedder``: what is
    to make its vectors anew; None: they stay.
    """

    name: str
    shape: Callable[[CollectionSpec], CollectionSpec]
    embedder: Embedder | None = None

    def spec_after(self, spec: CollectionSpec) -> CollectionSpec:
        """What it is to be. Raises InvalidArgument."""
        spec, made_by = attrs.evolve(self.shape(spec), tuning=None), self.embedder
        if made_by is None:
            return spec
        return attrs.evolve(
            spec,
            name=shadow_of(self.name),
            dim=made_by.dim,
            metric=made_by.metric,
            embedder=made_by.name,
            embedder_model=made_by.model,
            reindexed=spec.reindexed + 1,
        )


@attrs.frozen
class EndReindex:
    """Give up what was begun: the collection stays as it is. Answers an offset; None if there was
    nothing, or it is done."""

    name: str


@attrs.define(eq=False)
class Reindex:
    """What is being done to a collection. ``spec`` is what it is to be.

    ``waiting``: it is tried again, ``error`` says why. ``failed``: it is not. ``finishing``: the
    new vectors serve, and the old files are on their way out.
    """

    collection: str
    spec: CollectionSpec
    started_at_ms: int
    state: State = "running"
    error: str | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, repr=False)
    over: trio.Event = attrs.field(factory=trio.Event, repr=False)

    @property
    def keeps_vectors(self) -> bool:
        """Whether only the index is another."""
        return self.spec.name == self.collection


class Reindexing:
    """All that is under way in a database. ``jobs`` is read by anyone, on the loop."""

    def __init__(
        self,
        collections: "Collections",
        embedders: Embedders,
        around: CollectionContext,
        store: CollectionStore,
        supervisor: Supervisor,
        jobs_max: int,
    ) -> None:
        self.jobs: dict[str, Reindex] = {}
        """By the name of the collection."""
        self.still = trio.Lock()
        """Held while a collection changes over, and by who needs that none does."""
        self._collections = collections
        self._embedders = embedders
        self._around = around
        self._store = store
        self._supervisor = supervisor
        self._new, self._to_run = trio.open_memory_channel[Reindex](jobs_max)

    async def run(self) -> None:
        """The task that does what was begun, until cancelled."""
        try:
            async with self._to_run, trio.open_nursery() as nursery:
                async for job in self._to_run:
                    nursery.start_soon(self._run, job)
        finally:
            for job in self.jobs.values():
                job.over.set()

    def check_none(self, name: str) -> None:
        """Raises AlreadyExists if a collection is being reindexed."""
        job = self.jobs.get(name)
        if job is not None and job.state != "failed":
            raise AlreadyExists(
                f"collection {name!r} is being reindexed: wait until that is done, or end it with "
                f"DELETE /v1/vector/{name}/reindex"
            )

    def begin(self, name: str, spec: CollectionSpec) -> Reindex:
        """Let a collection become of ``spec``: its own rows, or those of its shadow."""
        job = self.jobs[name] = Reindex(name, spec, self._around.clock_ms())
        try:
            self._new.send_nowait(job)
        except trio.BrokenResourceError:
            # The database stops: the next start goes on.
            job.over.set()
        return job

    async def end(self, name: str) -> bool:
        """Stop working on a collection; answers whether that was in time."""
        job = self.jobs.pop(name, None)
        if job is None:
            return False
        job.scope.cancel()
        await job.over.wait()
        return job.state != "finishing"

    def progress(self, name: str) -> tuple[int, int]:
        """How many vectors are made, or have the new index, and of how many."""
        opened, job = self._collections.opened, self.jobs.get(name)
        if job is not None and job.keeps_vectors and name in opened:
            return _converted(opened[name], job)
        # It may have been deleted since the job was found.
        total = opened[name].actor.view().live_count if name in opened else 0
        shadow = opened.get(shadow_of(name))
        return (total if shadow is None else min(total, shadow.actor.view().live_count)), total

    async def _run(self, job: Reindex) -> None:
        if job.keeps_vectors:
            await self._convert(job)
            return
        opened = self._collections.opened
        source, shadow = opened[job.collection], opened[shadow_of(job.collection)]
        copying = Copying(source, shadow, self._embedders, self._around.threads)
        try:
            with job.scope:
                await self._replace(job, copying)
                if job.state == "finishing":
                    await self._settle(job, source)
                    for each in (source, shadow):
                        await self._supervisor.stop(each.address)
                    self._forget(job)
        except (MailboxClosed, ActorCrashed):
            # The database stops.
            return
        finally:
            job.over.set()

    async def _convert(self, job: Reindex) -> None:
        """Let upkeep give a collection another index, and make that durable files."""
        opened = self._collections.opened[job.collection]
        try:
            with job.scope:
                # Without compiled code nothing is indexed.
                await self._store.kernels.compiled.wait()
                opened.actor.rows.may_convert = True
                opened.actor.look_after()
                await opened.actor.converted.wait()
                job.state = "finishing"
                while opened.stored.directory is not None and not opened.is_converted_on_disk:
                    await opened.upkeep.save()
                    job.error = opened.upkeep.problem
                    if job.error is not None:
                        await trio.sleep(RETRY_SECONDS)
                self._forget(job)
        except (MailboxClosed, ActorCrashed):
            # The database stops.
            return
        finally:
            job.over.set()

    def _forget(self, job: Reindex) -> None:
        # Who ended it may have forgotten it, and begun another.
        if self.jobs.get(job.collection) is job:
            del self.jobs[job.collection]

    async def _replace(self, job: Reindex, copying: Copying) -> None:
        """Let the shadow take the collection's place, however long it takes: then it is
        "finishing". Or it is "failed"."""
        passes, pause = 0, RETRY_SECONDS
        while True:
            try:
                left = await copying.catch_up()
                job.state, job.error, pause = "running", None, RETRY_SECONDS
                passes += 1
                if left <= REST_ROWS << passes // PASSES_MAX:
                    await copying.shadow.upkeep.catch_up()
                    if await self._change_over(job, copying):
                        return
            except (EmbedderMismatch, NotFound, InvalidArgument, Damaged) as error:
                job.state, job.error = "failed", error.message
                message = "a reindex failed: end it, or begin it anew"
                logs.event(
                    logger, logging.ERROR, message, collection=job.collection, error=job.error
                )
                return
            except KissError as error:
                job.state, job.error = "waiting", error.message
                await trio.sleep(pause)
                pause = min(2 * pause, RETRY_SECONDS_MAX)

    async def _change_over(self, job: Reindex, copying: Copying) -> bool:
        source, shadow = copying.source, copying.shadow
        # The shadow's files are not written meanwhile: they would be of neither.
        async with self.still, shadow.upkeep.alone("reindex"):
            held = await source.address.ask(Hold(()))
            try:
                with trio.move_on_after(HELD_SECONDS_MAX):
                    # A vacuum that was finished meanwhile has everything compared: not now.
                    if copying.is_near:
                        await copying.catch_up()
                        with trio.CancelScope(shield=True):
                            await self._swap(job, source, shadow)
            finally:
                held.release()
        return job.state == "finishing"

    async def _swap(self, job: Reindex, source: "OpenCollection", shadow: "OpenCollection") -> None:
        """Both collections are the same, and the source is held. Raises PersistenceFailed."""
        spec, stored = shadow.spec, shadow.stored
        actor = Collection(stored.rows, self._around, job.collection)
        actor.updated_at_ms = source.actor.updated_at_ms
        # Its true offset must stay before the record: nobody may store that it is applied.
        held = await shadow.address.ask(Hold(()))
        try:
            address = await self._supervisor.start(actor)
            record = CollectionReplaced(
                job.collection,
                spec.name,
                spec.dim,
                spec.metric,
                spec.embedder,
                spec.embedder_model,
                *spec.shape,
            )
            try:
                offset = await self._around.log.ask(Append((record,)))
            except PersistenceFailed:
                await self._supervisor.stop(address)
                raise
            # No checkpoint from here on: readers see all of it at once.
            self._store.replace(job.collection, offset)
            self._collections.replaced(job.collection, actor, address, stored)
            job.state, job.error = "finishing", None
        finally:
            held.release()

    async def _settle(self, job: Reindex, source: "OpenCollection") -> None:
        """Make the new rows durable files, and remove the old ones."""
        opened = self._collections.opened[job.collection]
        await source.upkeep.finished()
        while True:
            try:
                await opened.upkeep.save()
                if opened.upkeep.saved:
                    await self._remove_former(opened)
                    return
                job.error = "the new vectors could not be stored: it is tried again"
            except (KissError, OSError) as error:
                job.error = str(error)
                message = "files of reindexed vectors are not in their place yet"
                logs.event(
                    logger, logging.WARNING, message, collection=job.collection, error=job.error
                )
            await trio.sleep(RETRY_SECONDS)

    async def _remove_former(self, opened: "OpenCollection") -> None:
        async with self.still, opened.upkeep.alone("reindex"):
            # Writes may ask for arrays, whose directory gets another name.
            held = await opened.address.ask(Hold(()))
            try:
                with trio.CancelScope(shield=True):
                    await self._around.threads.commits.run(self._store.settle, opened.name)
            finally:
                held.release()


def _converted(found: "OpenCollection", job: Reindex) -> tuple[int, int]:
    total = found.actor.view().live_count
    if job.state == "finishing":
        return total, total
    done, of = found.actor.rows.conversion_progress
    return min(done, total), max(of, total)
