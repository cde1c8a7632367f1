"""Collections of documents as handlers and embedders call them.

A document is the key ``doc:<collection>:<id>`` of the state, and is written as a key is. Here is
what comes with that: collections, rows with an index of every field and text, deletions of many.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import msgspec
import trio

from actors import ActorCrashed, Address, MailboxClosed
from kissvdb.config import Limits
from kissvdb.core.filters.parse import Node
from kissvdb.core.state.reserved_keys import document_key, document_prefix, settings_key
from kissvdb.core.state.rules import Configure, Delete, Deleted, Precondition, Written
from kissvdb.engine.asking import answered, submit, unavailable
from kissvdb.engine.documents.collection import no_such_documents
from kissvdb.engine.documents.document_store import DocumentStore
from kissvdb.engine.documents.pending import DocumentTap
from kissvdb.engine.documents.registry import DocumentRegistry, OpenDocuments
from kissvdb.engine.documents.settings import DocumentSettings
from kissvdb.engine.model import Retain
from kissvdb.engine.rows.upkeep import CollectionUpkeep
from kissvdb.engine.state.model import State
from kissvdb.engine.threads import Threads
from kissvdb.engine.vectors.model import check_name
from kissvdb.errors import NotFound, PersistenceFailed, Refused, Stopping
from kissvdb.storage.backup import Entry

if TYPE_CHECKING:
    # Not at run time: numpy comes with it, and a server without documents starts faster without.
    from kissvdb.core.rows.owner import RowsView

T = TypeVar("T")

DELETED_AT_ONCE_MAX = 1024
"""A deletion of many does so many at a time, so that other writes come between."""


@attrs.frozen
class DocumentsInfo:
    """What is known of a collection.

    ``count``: documents; ``bytes``: about what rows and indexes take; ``offset``: up to where the
    rows hold every change; ``working``: the upkeep that is under way; ``damage``: what was found
    wrong with the rows. Times are Unix milliseconds, ``created_at_ms`` that of the index.
    """

    name: str
    count: int
    bytes: int
    offset: int
    created_at_ms: int
    updated_at_ms: int
    settings: DocumentSettings
    configured: bool
    working: str | None
    damage: str | None


class Documents:
    """The collections of documents of a database; reached as ``database.documents``."""

    commands: tuple[type, ...] = ()
    """Documents are written by the commands of the state."""

    def __init__(
        self,
        registry: DocumentRegistry,
        tap: DocumentTap,
        store: DocumentStore,
        state: State,
        threads: Threads,
        limits: Limits,
    ) -> None:
        self.compiled = store.kernels.compiled
        """The kernels are loaded, or will not be."""
        self._registry = registry
        self._tap = tap
        self._store = store
        self._state = state
        self._threads = threads
        self._limits = limits

    # As `model.Model`

    def route(self, command: Any) -> tuple[Address, Any]:
        raise TypeError("documents are written by the commands of the state")

    async def settle(self) -> None:
        for name in list(self._tap.collections):
            with suppress(PersistenceFailed, Stopping):
                await self._registry.find(name)

    def build_no_more(self) -> None:
        """The server stops. What is not built is built at the next start."""
        self._tap.builds_no_more = True

    def targets(self) -> list[CollectionUpkeep]:
        return [each.upkeep for each in self._registry.opened.values()]

    @property
    def durable_offset(self) -> int | None:
        return min(self._store.durable_offsets, default=None)

    async def note_files(self, entries: list[Entry]) -> None:
        await self.settle()
        for each in list(self._registry.opened.values()):
            # One that is being built has no whole files, and is built anew from a backup's keys.
            if each.actor.built:
                entries += await each.upkeep.files()

    async def look_after(self, retain: Retain) -> None:
        await self._registry.run()

    # Collections

    async def collections(self, wanted: Callable[[str], bool] | None = None) -> list[DocumentsInfo]:
        """All that hold a document or are configured, by name. ``wanted``: of which names only; the
        others are not looked at."""
        names = sorted(filter(wanted or bool, self._tap.collections))
        found = [await self._info(name) for name in names]
        return [info for info in found if info is not None]

    async def info(self, collection: str) -> DocumentsInfo:
        """What is known of a collection. Raises NotFound."""
        found = await self._info(collection)
        if found is None:
            raise no_such_documents(collection)
        return found

    async def _info(self, name: str) -> DocumentsInfo | None:
        opened = await self._registry.find(name)
        settings = self._registry.settings(name)
        if opened is None:
            return None
        view = await opened.actor.view()
        if not view.live_count and settings is None:
            return None
        numbers = view.statistics()
        return DocumentsInfo(
            name,
            numbers.live_rows,
            numbers.row_bytes + numbers.index_bytes,
            opened.actor.true_offset,
            view.spec.created_at_ms,
            opened.actor.updated_at_ms,
            DocumentSettings() if settings is None else settings,
            settings is not None,
            opened.upkeep.working,
            opened.upkeep.damage,
        )

    def settings(self, collection: str) -> DocumentSettings | None:
        """What was configured for a collection, documents or not; None if nothing was."""
        return self._registry.settings(collection)

    async def configure(
        self, collection: str, settings: DocumentSettings, *, op_id: str | None = None
    ) -> Written:
        """Set how a collection is searched. Other text settings take a while to hold: its texts are
        indexed anew, and searched by the former settings until that is done.

        Raises InvalidArgument for a name that cannot be, and Refused for one collection too many.
        """
        check_name(collection, self._limits)
        self._tap.admit(document_key(collection, "new"))
        value = msgspec.json.encode(settings.to_json())
        command = Configure(settings_key(collection), value, op_id=op_id)
        answer: Written = await answered(submit(*self._state.route(command)))
        return answer

    async def vacuum(self, collection: str) -> int:
        """Write the living rows anew; answers how many dead ones went. Raises NotFound."""
        opened, before = await self._opened(collection)
        try:
            await opened.upkeep.vacuum()
        except (MailboxClosed, ActorCrashed) as error:
            raise unavailable(error) from error
        after = await opened.actor.view()
        return max(0, before.data.count - after.data.count)

    async def drop(self, collection: str) -> tuple[int, int | None]:
        """Delete all documents there are now, and the settings; answers how many documents, and
        the offset of the last deletion.

        Not atomic: other writes come between, and a document that is written meanwhile may stay.
        Raises NotFound.
        """
        await self._opened(collection)
        prefix = document_prefix(collection)
        total, last, after = 0, None, None
        while True:
            page = self._state.page(prefix, DELETED_AT_ONCE_MAX, after, ())
            # A page may have none where many are gone already.
            await trio.lowlevel.checkpoint()
            count, offset = await self._delete([Delete(item.key) for item in page.items])
            total, last, after = total + count, offset or last, page.cursor
            if after is None:
                break
        command = Configure(settings_key(collection), None)
        answer: Deleted = await answered(submit(*self._state.route(command)))
        self._registry.retire(collection)
        return total, answer.offset or last

    async def delete_matching(self, collection: str, tree: Node | None) -> tuple[int, int | None]:
        """Delete the documents that pass; answers how many, and the offset of the last deletion.

        Not atomic: other writes come between. A document is deleted as it passed: one that is
        written at that moment is looked at again. Raises NotFound.
        """
        total, last = 0, None
        while True:
            found = await self.look(collection, lambda view: _matching(view, tree, collection))
            count, offset = await self._delete(found)
            total, last = total + count, offset or last
            if len(found) < DELETED_AT_ONCE_MAX and count == len(found):
                return total, last

    async def _delete(self, commands: list[Delete]) -> tuple[int, int | None]:
        """How many there were to delete, and the offset of the last. Raises PersistenceFailed."""
        try:
            answers = await self._state.ask_each(commands)
        except (MailboxClosed, ActorCrashed) as error:
            raise unavailable(error) from error
        last, count = None, 0
        for answer in answers:
            if isinstance(answer, Deleted) and answer.deleted:
                last, count = answer.offset, count + 1
            elif not isinstance(answer, (Deleted, Refused)):
                raise answer
        return count, last

    # Reads

    async def view(self, collection: str) -> "RowsView":
        """All documents of a collection, with everything that was answered until now.

        Raises NotFound, Stopping, and PersistenceFailed while the rows have no room for it.
        """
        return (await self._opened(collection))[1]

    def view_now(self, collection: str) -> "RowsView | None":
        """The same, if nothing has to be waited for; None also where ``view`` would raise."""
        try:
            return self.view_here(collection)
        except NotFound:
            return None

    def view_here(self, collection: str) -> "RowsView | None":
        """The same, if nothing has to be waited for, else None. Raises NotFound."""
        if not self.has(collection):
            raise no_such_documents(collection)
        opened = self._registry.opened.get(collection)
        view = None if opened is None else opened.actor.view_now()
        if view is None:
            return None
        if not view.live_count and self._registry.settings(collection) is None:
            raise no_such_documents(collection)
        return view

    def has(self, collection: str) -> bool:
        """Whether there may be such a collection: surely not if this says no."""
        return collection in self._tap.collections

    async def look(self, collection: str, job: "Callable[[RowsView], T]") -> T:
        """``job(view)`` in one of the search threads, with all that was answered until now.

        A caller that is cancelled leaves at once; the thread finishes alone.
        """
        view = await self.view(collection)
        return await self._threads.search(job, view)

    def applied_offset(self, collection: str) -> int:
        """Up to where the rows of a collection hold every change; 0 without it."""
        opened = self._registry.opened.get(collection)
        return 0 if opened is None else opened.actor.true_offset

    async def _opened(self, collection: str) -> "tuple[OpenDocuments, RowsView]":
        opened = await self._registry.find(collection)
        if opened is not None:
            view = await opened.actor.view()
            if view.live_count or self._registry.settings(collection) is not None:
                return opened, view
        raise no_such_documents(collection)


def _matching(view: "RowsView", tree: Node | None, collection: str) -> list[Delete]:
    """Deletions of the documents that pass, as they are in this view; DELETED_AT_ONCE_MAX."""
    rows = view.scroll(limit=DELETED_AT_ONCE_MAX, tree=tree)
    return [
        Delete(document_key(collection, row.id), Precondition(offset=row.offset)) for row in rows
    ]
