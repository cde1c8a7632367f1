"""Documents: JSON under an id in a collection, found by fields and by words."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from kissvdb.client.blocking.http import Http
from kissvdb.client.results import Deleted, Document, Found, Search, Written, decode
from kissvdb.client.wire import MERGE_PATCH, Call, given, segment, to_json

_json = to_json


class Documents:
    """``client.doc``. A collection comes to be with its first document."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def get(self, collection: str, id: str, *, at: int | None = None) -> Document | None:
        """The document, or None. ``at``: as it was at that offset."""
        call = Call("GET", _path(collection, id), query=given(at=at), safe=True, reads=True)
        answer = self._http.call(call, none_at=404)
        return None if answer is None else decode(Document, answer.body)

    def put(
        self,
        collection: str,
        id: str,
        doc: Any,
        *,
        ttl_ms: int | None = None,
        if_revision: int | None = None,
        op_id: str | None = None,
    ) -> Written:
        """Write a document whole. ``if_revision``: only over this revision (0: only if there is
        none), else RevisionMismatch."""
        op_id = self._http.op_id(op_id)
        query = given(ttl_ms=ttl_ms, if_revision=if_revision, op_id=op_id)
        call = Call("PUT", _path(collection, id), _json(doc), query=query, safe=op_id is not None)
        return self._written(call)

    def put_batch(
        self, collection: str, documents: Iterable[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Write several, each for itself: ``{"id", "doc", "ttl_ms", "if_revision"}``. What
        became of each. For more than some hundreds see ``client.bulk``."""
        named = self._http.with_op_ids(documents)
        body, safe = _json({"documents": named}), all("op_id" in each for each in named)
        call = Call("POST", _path(collection, "put_batch"), body, safe=safe)
        return self._http.note_results((self._http.answer(call)).body)

    def delete_batch(self, collection: str, ids: Iterable[str]) -> list[dict[str, Any]]:
        """Remove several; what became of each."""
        call = Call("POST", _path(collection, "delete_batch"), _json({"ids": list(ids)}))
        return self._http.note_results((self._http.answer(call)).body)

    def patch(
        self,
        collection: str,
        id: str,
        patch: Any,
        *,
        ttl_ms: int | None = None,
        if_revision: int | None = None,
        create: bool | None = None,
        op_id: str | None = None,
    ) -> Written:
        """Merge a patch (RFC 7396) into a document."""
        op_id = self._http.op_id(op_id)
        query = given(ttl_ms=ttl_ms, if_revision=if_revision, create=create, op_id=op_id)
        path, safe = _path(collection, id), op_id is not None
        return self._written(Call("PATCH", path, _json(patch), MERGE_PATCH, query, safe=safe))

    def delete(
        self,
        collection: str,
        id: str,
        *,
        if_revision: int | None = None,
        op_id: str | None = None,
    ) -> Deleted:
        """Remove a document."""
        op_id = self._http.op_id(op_id)
        query = given(if_revision=if_revision, op_id=op_id)
        call = Call("DELETE", _path(collection, id), query=query, safe=op_id is not None)
        deleted: Deleted = decode(Deleted, (self._http.answer(call)).body)
        self._http.note_offset(deleted.offset)
        return deleted

    def find(
        self,
        collection: str,
        filter: Mapping[str, Any] | None = None,
        *,
        limit: int = 20,
        sort: Any = None,
        fields: Sequence[str] | None = None,
        cursor: str | None = None,
        **more: Any,
    ) -> Found:
        """A page of the documents that pass. ``more``: what else the route takes, as count, facets,
        explain."""
        body = given(filter=filter, limit=limit, sort=sort, fields=fields, cursor=cursor, **more)
        found: Found = decode(Found, self._read(_path(collection, "find"), body))
        return found

    def all(
        self, collection: str, filter: Mapping[str, Any] | None = None, **more: Any
    ) -> Iterator[Document]:
        """Every document that passes, a page at a time."""
        cursor = None
        while True:
            page = self.find(collection, filter, limit=100, cursor=cursor, **more)
            for document in page.documents:
                yield document
            cursor = page.cursor
            if cursor is None:
                return

    def search(self, collection: str, text: str, k: int = 10, **more: Any) -> Search:
        """The documents that match the words best. ``more``: what else the route takes, as filters,
        match, typos, highlight, facets."""
        body = given(text=text, k=k, **more)
        found: Search = decode(Search, self._read(_path(collection, "search"), body))
        return found

    def delete_by_filter(self, collection: str, filter: Mapping[str, Any]) -> int:
        """Remove all that pass; how many."""
        call = Call("POST", _path(collection, "delete_by_filter"), _json({"filter": filter}))
        return int(msgspec.json.decode((self._http.answer(call)).body)["deleted"])

    def collections(self) -> list[dict[str, Any]]:
        """What there is."""
        answer = self._http.answer(Call("GET", "/v1/doc", safe=True, reads=True))
        listed: list[dict[str, Any]] = msgspec.json.decode(answer.body)["collections"]
        return listed

    def info(self, collection: str) -> dict[str, Any]:
        """One collection, closely. Raises NotFound."""
        return self._json(Call("GET", _path(collection), safe=True, reads=True))

    def configure(self, collection: str, **settings: Any) -> dict[str, Any]:
        """Set how words are read: ``text={"default": {"language": "german"}}``."""
        return self._json(Call("PUT", _path(collection), _json(settings), safe=True))

    def vacuum(self, collection: str) -> int:
        """Drop dead rows now; how many."""
        found = self._json(Call("POST", _path(collection, "vacuum"), safe=True))
        return int(found["removed"])

    def drop(self, collection: str) -> dict[str, Any]:
        """Remove a collection and all that is in it."""
        return self._json(Call("DELETE", _path(collection)))

    def _json(self, call: Call) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode((self._http.answer(call)).body)
        self._http.note_offset(found.get("offset"))
        return found

    def _read(self, path: str, body: dict[str, Any]) -> bytes:
        call = Call("POST", path, _json(body), safe=True, reads=True)
        return (self._http.answer(call)).body

    def _written(self, call: Call) -> Written:
        written: Written = decode(Written, (self._http.answer(call)).body)
        self._http.note_offset(written.offset)
        return written


def _path(collection: str, id: str = "") -> str:
    path = "/v1/doc/" + segment(collection)
    return f"{path}/{segment(id)}" if id else path
