"""The collections of documents that there are: begun with their first document, built from the
keys where they have no files, let go when they are empty."""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import trio
import trio.lowlevel

from actors import ActorCrashed, Address, MailboxClosed, Supervisor
from kissvdb import logs
from kissvdb.core.state.reserved_keys import document_prefix, settings_key
from kissvdb.engine.documents import settings as document_settings
from kissvdb.engine.documents.collection import DocumentCollection, DocumentsContext
from kissvdb.engine.documents.document_store import DocumentStore
from kissvdb.engine.documents.settings import DocumentSettings
from kissvdb.engine.rows.upkeep import CollectionUpkeep
from kissvdb.engine.state.model import State
from kissvdb.errors import PersistenceFailed, Stopping
from kissvdb.metrics import (
    DOCUMENTS,
    DOCUMENTS_BYTES,
    DOCUMENTS_DEAD_ROWS,
    DOCUMENTS_PENDING,
    DOCUMENTS_UPKEEP,
    MAILBOX_DEPTH,
    Metrics,
)

if TYPE_CHECKING:
    # Not at run time: a stemmer comes with it, and a server without documents starts faster.
    from kissvdb.core.text.settings import TextSettings

logger = logging.getLogger("kissvdb.documents")

RETRY_SECONDS = 2.0


@attrs.frozen(eq=False)
class OpenDocuments:
    """A collection that runs: its owner, where to ask it, and its upkeep."""

    actor: DocumentCollection
    address: Address
    upkeep: CollectionUpkeep

    @property
    def name(self) -> str:
        return self.actor.collection

    def gauges(self) -> dict[str, Callable[[], float]]:
        """What is measured of it, by the names of `kissvdb.metrics`."""
        actor = self.actor

        def of_view(name: str) -> float:
            view = actor.newest_view()
            return 0 if view is None else getattr(view.statistics(), name)

        return {
            DOCUMENTS: lambda: of_view("live_rows"),
            DOCUMENTS_DEAD_ROWS: lambda: of_view("deleted_rows"),
            DOCUMENTS_BYTES: lambda: of_view("row_bytes"),
            DOCUMENTS_PENDING: lambda: actor.pending_count,
            DOCUMENTS_UPKEEP: lambda: self.upkeep.done_total,
        }


class DocumentRegistry:
    """One task begins and ends collections: `run`. ``opened`` is read by anyone, on the loop."""

    def __init__(
        self,
        store: DocumentStore,
        around: DocumentsContext,
        state: State,
        supervisor: Supervisor,
        metrics: Metrics,
    ) -> None:
        self.opened: dict[str, OpenDocuments] = {}
        self._store = store
        self._around = around
        self._tap = around.tap
        self._state = state
        self._supervisor = supervisor
        self._metrics = metrics
        self._retiring: set[str] = set()
        self._to_build: set[str] = set()
        self._started = trio.lowlevel.ParkingLot()
        self._refusal: PersistenceFailed | None = None
        self._ended = False

    # Readers

    def settings(self, collection: str) -> DocumentSettings | None:
        """What was configured; None if nothing was."""
        item = self._state.get(settings_key(collection))
        return None if item is None else document_settings.stored(item.value, collection)

    async def find(self, collection: str) -> OpenDocuments | None:
        """A collection, once it runs; None if there is none. Raises Stopping, and
        PersistenceFailed while it cannot begin."""
        while True:
            found = self.opened.get(collection)
            if found is not None:
                return found
            if collection not in self._tap.collections:
                return None
            if self._ended:
                raise Stopping("the server is shutting down: retry when it is back")
            if self._refusal is not None:
                raise PersistenceFailed(self._refusal.message)
            await self._started.park()

    def retire(self, collection: str) -> None:
        """Let go of it, if it is empty and nothing is configured."""
        self._retiring.add(collection)
        self._tap.news.set()

    # The task

    async def open(self, found: set[str]) -> None:
        """Begin with the collections whose rows were opened, and those ``found`` in the keys.

        Raises OSError and PersistenceFailed.
        """
        for name in list(self._store.collections):
            if name not in found and self.settings(name) is None:
                await self._around.threads.commits.run(self._store.remove, name)
        for name in sorted(found | set(self._store.collections)):
            self._tap.pending(name)
            self._tap.unknown.discard(name)
            whole = name in self._store.collections
            await self._start(name, built=whole)

    async def run(self) -> None:
        """Begin and end collections as documents come and go, until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                for each in self.opened.values():
                    self._look_after(each, nursery)
                while True:
                    await self._tap.news.wait()
                    self._tap.news = trio.Event()
                    try:
                        await self._attend(nursery)
                    except (PersistenceFailed, OSError) as error:
                        self._note_refusal(error)
                        await trio.sleep(RETRY_SECONDS)
                        self._tap.news.set()
                    except (MailboxClosed, ActorCrashed):
                        # The database stops.
                        return
        finally:
            self._ended = True
            self._tap.end()
            self._started.unpark_all()

    async def _attend(self, nursery: trio.Nursery) -> None:
        tap = self._tap
        if len(tap.collections) >= tap.collections_max:
            # Some may be empty by now.
            self._retiring.update(self.opened)
        while self._retiring:
            await self._retire(self._retiring.pop())
        while tap.unknown:
            name = next(iter(tap.unknown))
            # Of one that begins now every document is, or will be, pending.
            self._look_after(await self._start(name, built=True), nursery)
            tap.unknown.discard(name)
        self._refusal = None
        while tap.configured:
            name = tap.configured.pop()
            opened = self.opened.get(name)
            if opened is not None and self._is_out_of_date(opened):
                nursery.start_soon(self._rebuild, opened)

    async def _start(self, name: str, *, built: bool) -> OpenDocuments:
        stored = self._store.collections.get(name)
        if stored is None:
            now_ms = self._around.clock_ms()
            stored = await self._around.threads.commits.run(
                self._store.create, name, now_ms, self._text(name)
            )
        actor = DocumentCollection(name, stored, self._around, built=built)
        address = await self._supervisor.start(actor)
        upkeep = CollectionUpkeep(actor, address, stored, self._around.threads.upkeep)
        opened = self.opened[name] = OpenDocuments(actor, address, upkeep)
        actor.begin(address)
        for gauge, read in opened.gauges().items():
            self._metrics.watch(gauge, read, name)
        self._metrics.watch(MAILBOX_DEPTH, lambda: address.statistics().depth, actor.name)
        self._store.kernels.want()
        actor.look_after()
        self._started.unpark_all()
        return opened

    def _look_after(self, opened: OpenDocuments, nursery: trio.Nursery) -> None:
        nursery.start_soon(opened.upkeep.run)
        if not opened.actor.built:
            nursery.start_soon(self._build, opened)
        elif self._is_out_of_date(opened):
            nursery.start_soon(self._rebuild, opened)

    async def _build(self, opened: OpenDocuments) -> None:
        """Fill the rows of a collection from the keys."""
        while not opened.actor.built:
            try:
                await opened.actor.build()
            except PersistenceFailed:
                await trio.sleep(RETRY_SECONDS)
            except (Stopping, MailboxClosed, ActorCrashed):
                return
        logs.event(logger, logging.INFO, "rows are built from the keys", documents=opened.name)
        await self._rebuild(opened)

    def _text(self, name: str) -> "TextSettings | None":
        settings = self.settings(name)
        return None if settings is None else settings.text

    def _is_out_of_date(self, opened: OpenDocuments) -> bool:
        """Whether the texts are indexed by other settings than are configured."""
        spec = opened.actor.rows.spec
        wanted = attrs.evolve(spec, text=self._text(opened.name))
        return opened.actor.built and wanted.text_settings != spec.text_settings

    async def _rebuild(self, opened: OpenDocuments) -> None:
        """Have documents searched by the settings that are configured. Until then they are by
        those before."""
        while self._is_out_of_date(opened) and not opened.actor.dropped:
            async with opened.upkeep.alone("text settings"):
                if not self._is_out_of_date(opened):
                    # Somebody else did it, who was told of the same settings.
                    return
                # Its rows lie where the new ones are to.
                opened.actor.rows.forget_vacuum()
                spec, text = opened.actor.rows.spec, self._text(opened.name)
                space = opened.actor.rows.space.successor()
                rows = self._store.rows(opened.name, spec.created_at_ms, text, space)
                try:
                    await opened.actor.build(rows)
                except PersistenceFailed:
                    await trio.sleep(RETRY_SECONDS)
                except (Stopping, MailboxClosed, ActorCrashed):
                    return

    async def _retire(self, name: str) -> None:
        found = self.opened.get(name)
        # There may be very many of them.
        await trio.lowlevel.checkpoint()
        if found is None or not found.actor.built:
            return
        pending = self._tap.collections[name]
        told = pending.added_total
        if await self._holds_something(found):
            return
        with suppress(PersistenceFailed, Stopping):
            # Its last readers must not miss the deletions.
            await found.actor.view()
        if pending.added_total > told or self.settings(name) is not None:
            # Something was written meanwhile: look again.
            self.retire(name)
            return
        # From here on a document of that name begins another collection.
        del self.opened[name]
        self._tap.collections.pop(name).forget()
        found.actor.dropped = True
        found.actor.look_after()
        for gauge in found.gauges():
            self._metrics.forget(gauge, name)
        self._metrics.forget(MAILBOX_DEPTH, found.actor.name)
        await found.upkeep.finished()
        await self._supervisor.stop(found.address)
        await self._around.threads.commits.run(self._store.remove, name)

    async def _holds_something(self, found: OpenDocuments) -> bool:
        # Keys, not rows, are the truth.
        return self.settings(found.name) is not None or await self._state.holds(
            document_prefix(found.name)
        )

    def _note_refusal(self, error: PersistenceFailed | OSError) -> None:
        message = f"a collection of documents could not begin: {error}"
        logs.event(logger, logging.WARNING, message)
        self._refusal = PersistenceFailed(message)
        self._tap.refuse(self._refusal)
        self._started.unpark_all()
