"""Collections of documents in a program of one's own."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from kissvdb.api.documents.names import key_of
from kissvdb.api.documents.texts import document_of
from kissvdb.api.documents.wishes import cursor_of, place_of, sort_keys
from kissvdb.api.frame import limits
from kissvdb.core.filters import parse as filter_rules
from kissvdb.core.find import Find
from kissvdb.core.search import Search
from kissvdb.core.state.rules import (
    ALWAYS,
    Command,
    Delete,
    Deleted,
    Patch,
    Precondition,
    Put,
    Written,
)
from kissvdb.embedding import json_values
from kissvdb.embedding.items import DocumentHit, DocumentItem, DocumentPage
from kissvdb.engine import database as engine
from kissvdb.engine.documents.settings import DocumentSettings
from kissvdb.engine.vectors.model import check_name
from kissvdb.errors import NotFound

if TYPE_CHECKING:
    from kissvdb.core.rows.view import RowsView
    from kissvdb.core.text.query import Match, Typos


class Documents:
    """The collections of documents of a database; reached as ``db.documents``.

    A document is the key ``doc:<collection>:<id>``. What is written is found by every later call.
    """

    __slots__ = ("_database", "_documents")

    def __init__(self, database: engine.Database) -> None:
        self._database = database
        self._documents = database.documents

    async def names(self) -> list[str]:
        """All collections that hold a document or were configured, in order."""
        return [each.name for each in await self._documents.collections()]

    async def configure(self, collection: str, settings: Mapping[str, Any]) -> None:
        """Set how a collection is searched: ``{"text": {...}}``, as over HTTP.

        Texts are indexed anew, and searched by the former settings until that is done.
        """
        value = msgspec.json.decode(json_values.encode(settings, "settings"))
        found = DocumentSettings.from_json(value, "settings")
        await self._documents.configure(collection, found)

    async def drop(self, collection: str) -> int:
        """Delete all documents there are, and the settings; answers how many. Raises NotFound."""
        count, _ = await self._documents.drop(collection)
        return count

    async def vacuum(self, collection: str) -> int:
        """Write the living rows anew; answers how many dead ones went. Raises NotFound."""
        return await self._documents.vacuum(collection)

    async def put(
        self,
        collection: str,
        id_: str,
        document: Any,
        *,
        ttl_ms: int | None = None,
        if_revision: int | None = None,
        op_id: str | None = None,
    ) -> Written:
        """Write a document: what JSON can hold. Raises RevisionMismatch; ``if_revision`` 0 is for
        one that is not there."""
        key, text = self._checked(collection, id_, document, ttl_ms)
        return await self._written(Put(key, text, ttl_ms, _condition(if_revision), op_id))

    async def patch(
        self,
        collection: str,
        id_: str,
        patch: Any,
        *,
        ttl_ms: int | None = None,
        if_revision: int | None = None,
        op_id: str | None = None,
    ) -> Written:
        """Merge a patch (RFC 7396) into a document: None removes a member."""
        key, text = self._checked(collection, id_, patch, ttl_ms)
        return await self._written(Patch(key, text, ttl_ms, _condition(if_revision), op_id))

    async def delete(
        self,
        collection: str,
        id_: str,
        *,
        if_revision: int | None = None,
        op_id: str | None = None,
    ) -> Deleted:
        """Remove a document; ``deleted`` is False when there was none."""
        command = Delete(self._key(collection, id_), _condition(if_revision), op_id)
        answer = await self._database.write(command)
        assert isinstance(answer, Deleted)
        return answer

    async def delete_matching(self, collection: str, filters: Any) -> int:
        """Remove the documents that pass; answers how many. Not atomic: writes come between."""
        tree = filter_rules.parse(filters)
        try:
            count, _ = await self._documents.delete_matching(collection, tree)
        except NotFound:
            return 0
        return count

    def get(self, collection: str, id_: str) -> DocumentItem | None:
        """A document as of the last answered write; None when absent or expired. Never waits."""
        found = self._database.get(self._key(collection, id_))
        if found is None:
            return None
        return DocumentItem(id_, found.value, found.revision, found.offset, found.expires_at_ms)

    async def find(
        self,
        collection: str,
        filters: Any = None,
        *,
        sort: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> DocumentPage:
        """The documents that pass, in an order: ``"-year,title"``, and then by id.

        ``filters``: as over HTTP, ``{"year": {"$gte": 2020}}``. ``cursor``: that of the page
        before. Without the collection nothing is found.
        """
        keys = sort_keys(sort, "sort")
        place = place_of(cursor, keys, "cursor")
        asked = Find(filter_rules.parse(filters), keys, limit, place)

        def job(view: "RowsView") -> DocumentPage:
            from kissvdb.core.rows import find as row_find

            found = row_find.find(view, asked)
            items = [_item(view, row) for row in found.rows]
            more = cursor_of(found.places[-1], keys) if found.more else None
            return DocumentPage(items, view.offset, more)

        try:
            return await self._documents.look(collection, job)
        except NotFound:
            return DocumentPage([], self._database.last_offset, None)

    async def search(
        self,
        collection: str,
        text: str,
        k: int = 10,
        *,
        filters: Any = None,
        match: "Match" = "any",
        typos: "Typos" = "auto",
        fields: Mapping[str, float] | None = None,
        offset: int = 0,
    ) -> list[DocumentHit]:
        """The ``k`` documents that the words find best (BM25), among those that pass.

        ``match``: "any" of the words, or "all". ``typos``: "auto" takes a word that no text has
        for one nearly like it. ``fields``: where to look, with weights. Raises InvalidArgument for
        a query that cannot be read.
        """
        tree = filter_rules.parse(filters)
        asked = Search(k, offset=offset, tree=tree)
        options = {"match": match, "typos": typos, "fields": fields}
        try:
            return await self._documents.look(collection, partial(_search, text, options, asked))
        except NotFound:
            return []

    async def count(self, collection: str, filters: Any = None) -> int:
        """How many documents pass."""
        tree = filter_rules.parse(filters)
        try:
            return await self._documents.look(collection, lambda view: view.count(tree))
        except NotFound:
            return 0

    async def _written(self, command: Command) -> Written:
        answer = await self._database.write(command)
        assert isinstance(answer, Written)
        return answer

    def _key(self, collection: str, id_: str) -> str:
        bounds = self._database.config.limits
        check_name(collection, bounds)
        return key_of(collection, id_, bounds, "id_")

    def _checked(
        self, collection: str, id_: str, document: Any, ttl_ms: int | None
    ) -> tuple[str, bytes]:
        """The key, and the JSON of a document, once all is as the server wants it."""
        limits.check_ttl(ttl_ms, "ttl_ms")
        text = json_values.encode(document, "document")
        bounds = self._database.config.limits
        return self._key(collection, id_), document_of(text, bounds, "document")


def _search(
    text: str, options: Mapping[str, Any], asked: Search, view: "RowsView"
) -> list[DocumentHit]:
    from kissvdb.core.text.query import QueryOptions, parse
    from kissvdb.core.text.typos import corrected

    known = [*([] if view.texts is None else view.texts.paths), *(options["fields"] or ())]
    query = parse(text, QueryOptions(known=frozenset(known), **options))
    query, _ = corrected(query, view.texts)
    hits = view.search_text(query, asked).hits[0]
    return [
        DocumentHit(score, _item(view, row))
        for score, row in zip(hits.scores.tolist(), hits.rows.tolist(), strict=True)
    ]


def _item(view: "RowsView", row: int) -> DocumentItem:
    found = view.stored(row)
    text = b"null" if found.meta is None else found.meta
    return DocumentItem(found.id, text, found.revision, found.offset, found.expires_at_ms)


def _condition(if_revision: int | None) -> Precondition:
    return ALWAYS if if_revision is None else attrs.evolve(ALWAYS, revision=if_revision)
