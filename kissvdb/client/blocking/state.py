"""Keys and their values."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from kissvdb.client.blocking.http import Http
from kissvdb.client.results import Deleted, Item, Written, decode
from kissvdb.client.wire import MERGE_PATCH, Call, given, segment, to_json

Items = list[Item]


class State:
    """``client.state``. A value is anything that JSON can hold."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def get(self, key: str, *, at: int | None = None) -> Item | None:
        """The key, or None where there is none. ``at``: as it was at that offset."""
        call = Call("GET", _path(key), query=given(at=at), safe=True, reads=True)
        answer = self._http.call(call, none_at=404)
        return None if answer is None else decode(Item, answer.body)

    def put(
        self,
        key: str,
        value: Any,
        *,
        ttl_ms: int | None = None,
        if_revision: int | None = None,
        if_offset: int | None = None,
        op_id: str | None = None,
    ) -> Written:
        """Set a key. ``if_revision``: only over this revision (0: only if it is absent), else
        RevisionMismatch."""
        op_id = self._http.op_id(op_id)
        body = {
            "value": value,
            **given(ttl_ms=ttl_ms, if_revision=if_revision, if_offset=if_offset, op_id=op_id),
        }
        call = Call("PUT", _path(key), to_json(body), safe=op_id is not None)
        return self._written(call)

    def put_batch(self, operations: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Set several keys, each for itself: ``{"key", "value", "ttl_ms", "if_revision"}``.
        What became of each; for all or none of them see ``client.batch``."""
        named = self._http.with_op_ids(operations)
        safe = all("op_id" in each for each in named)
        call = Call("POST", "/v1/state/batch_put", to_json({"operations": named}), safe=safe)
        return self._http.note_results((self._http.answer(call)).body)

    batch_put = put_batch

    def patch(
        self,
        key: str,
        patch: Any,
        *,
        ttl_ms: int | None = None,
        if_revision: int | None = None,
        create: bool | None = None,
        op_id: str | None = None,
    ) -> Written:
        """Merge a patch (RFC 7396) into the value. ``create`` False: not into a key that is
        absent, which is NotFound."""
        op_id = self._http.op_id(op_id)
        query = given(ttl_ms=ttl_ms, if_revision=if_revision, create=create, op_id=op_id)
        safe = op_id is not None
        return self._written(
            Call("PATCH", _path(key), to_json(patch), MERGE_PATCH, query, safe=safe)
        )

    def delete(
        self,
        key: str,
        *,
        if_revision: int | None = None,
        if_offset: int | None = None,
        op_id: str | None = None,
    ) -> Deleted:
        """Remove a key."""
        op_id = self._http.op_id(op_id)
        query = given(if_revision=if_revision, if_offset=if_offset, op_id=op_id)
        call = Call("DELETE", _path(key), query=query, safe=op_id is not None)
        deleted: Deleted = decode(Deleted, (self._http.answer(call)).body)
        self._http.note_offset(deleted.offset)
        return deleted

    def list(
        self,
        prefix: str = "",
        *,
        limit: int = 100,
        cursor: str | None = None,
        at: int | None = None,
    ) -> tuple[Items, str | None]:
        """A page of keys in order, and the cursor of the next one (None at the end)."""
        query = given(prefix=prefix or None, limit=limit, cursor=cursor, at=at)
        call = Call("GET", "/v1/state", query=query, safe=True, reads=True)
        answer = self._http.answer(call)
        return decode(Items, answer.body), answer.headers.get("kissvdb-cursor")

    def items(self, prefix: str = "", *, at: int | None = None) -> Iterator[Item]:
        """All keys with this prefix, in order, a page at a time."""
        cursor = None
        while True:
            found, cursor = self.list(prefix, limit=1000, cursor=cursor, at=at)
            for item in found:
                yield item
            if cursor is None:
                return

    def tree(
        self,
        prefix: str = "",
        *,
        separator: str = ":",
        limit: int = 100,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """A page of one level of keys as a tree: branches and keys below ``prefix``, which ends
        with the separator, or is empty for the root."""
        query = given(prefix=prefix or None, separator=separator, limit=limit, cursor=cursor)
        call = Call("GET", "/v1/tree", query=query, safe=True, reads=False)
        found: dict[str, Any] = msgspec.json.decode((self._http.answer(call)).body)
        return found

    def _written(self, call: Call) -> Written:
        written: Written = decode(Written, (self._http.answer(call)).body)
        self._http.note_offset(written.offset)
        return written


def _path(key: str) -> str:
    return "/v1/state/" + segment(key)
