"""Vector collections: written and searched with numbers in binary, or with texts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from kissvdb.client.blocking.http import Http
from kissvdb.client.results import Scrolled, Search, Vector, Written, decode, float32
from kissvdb.client.wire import MSGPACK, Call, given, segment
from kissvdb.errors import AlreadyExists

_pack = msgspec.msgpack.encode


class Vectors:
    """``client.vector``. A vector is a sequence of numbers, a numpy array, or float32 in bytes."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def create(
        self,
        collection: str,
        dim: int | None = None,
        metric: str | None = None,
        *,
        exist_ok: bool = False,
        **settings: Any,
    ) -> dict[str, Any]:
        """Make a collection: of ``dim`` numbers by ``metric`` (cosine, dot, l2), or with
        ``embedder="default"``, which makes the vectors of texts. ``settings``: what else the
        description of the route lists. Raises AlreadyExists, but with ``exist_ok`` answers what is
        there."""
        body = given(dim=dim, metric=metric, **settings)
        try:
            return self._json(Call("POST", _path(collection), msgspec.json.encode(body)))
        except AlreadyExists:
            if not exist_ok:
                raise
        return self.info(collection)

    create_collection = create

    def drop(self, collection: str) -> dict[str, Any]:
        """Remove a collection and all that is in it."""
        return self._json(Call("DELETE", _path(collection)))

    def collections(self) -> list[dict[str, Any]]:
        """What there is."""
        found = self._json(Call("GET", "/v1/vector", safe=True, reads=True))
        listed: list[dict[str, Any]] = found["collections"]
        return listed

    def info(self, collection: str) -> dict[str, Any]:
        """One collection, closely. Raises NotFound."""
        return self._json(Call("GET", _path(collection), safe=True, reads=True))

    def upsert(
        self,
        collection: str,
        id: str,
        vector: Any = None,
        meta: Any = None,
        **more: Any,
    ) -> Written:
        """Write a vector, or what the collection's embedder makes of ``text=``. ``more``: text,
        namespace, ttl_ms, if_changed, op_id."""
        return self._write("upsert", collection, id, vector, meta, more)

    def add(
        self, collection: str, id: str, vector: Any = None, meta: Any = None, **more: Any
    ) -> Written:
        """As `upsert`, of a new id: else AlreadyExists."""
        return self._write("add", collection, id, vector, meta, more)

    def update(
        self, collection: str, id: str, vector: Any = None, meta: Any = None, **more: Any
    ) -> Written:
        """Change what is given of an id that is there: else NotFound."""
        return self._write("update", collection, id, vector, meta, more)

    def upsert_batch(
        self, collection: str, items: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Write several, each for itself, in order: items as ``{"id", "vector", "meta", "text"}``.
        For more than some hundreds see ``client.bulk``."""
        named = [_packed(item) for item in self._http.with_op_ids(items)]
        body, safe = _pack({"items": named}), all("op_id" in each for each in named)
        call = Call("POST", _path(collection, "upsert_batch"), body, MSGPACK, safe=safe)
        return self._http.note_results((self._http.answer(call)).body)

    def delete_batch(self, collection: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Remove several; what became of each."""
        body = msgspec.json.encode({"ids": list(ids)})
        call = Call("POST", _path(collection, "delete_batch"), body)
        return self._http.note_results((self._http.answer(call)).body)

    def get(self, collection: str, id: str) -> Vector | None:
        """The vector with this id, or None."""
        call = Call("GET", _path(collection, "get"), query={"id": id}, safe=True, reads=True)
        answer = self._http.call(call, none_at=404)
        return None if answer is None else decode(Vector, answer.body)

    def delete(self, collection: str, id: str, *, op_id: str | None = None) -> bool:
        """Remove a vector; whether there was one."""
        op_id = self._http.op_id(op_id)
        body = msgspec.json.encode({"id": id, **given(op_id=op_id)})
        call = Call("POST", _path(collection, "delete"), body, safe=op_id is not None)
        return self._http.call(call, none_at=404) is not None

    def delete_by_filter(self, collection: str, filters: Mapping[str, Any]) -> int:
        """Remove all that pass; how many."""
        body = msgspec.json.encode({"filters": filters})
        found = self._json(Call("POST", _path(collection, "delete_by_filter"), body))
        return int(found["deleted"])

    def count(self, collection: str, filters: Mapping[str, Any] | None = None) -> int:
        """How many pass."""
        body = msgspec.json.encode(given(filters=filters))
        call = Call("POST", _path(collection, "count"), body, safe=True, reads=True)
        return int((self._json(call))["count"])

    def search(
        self,
        collection: str,
        vector: Any = None,
        k: int = 10,
        filters: Mapping[str, Any] | None = None,
        *,
        text: str | None = None,
        include_meta: bool = True,
        **more: Any,
    ) -> Search:
        """The nearest, best first: to a ``vector``, to a ``text``, or by both (``mode``). ``more``:
        what else the route takes, as id, namespace, ef_search, exact, group_by, hybrid, explain."""
        body = given(k=k, filters=filters, text=text, include_meta=include_meta, **more)
        if vector is not None:
            body["vector"] = float32(vector)
        call = Call(
            "POST", _path(collection, "search"), _pack(body), MSGPACK, safe=True, reads=True
        )
        found: Search = decode(Search, (self._http.answer(call)).body)
        return found

    def search_batch(
        self, collection: str, vectors: Any, k: int = 10, *, include_meta: bool = True, **more: Any
    ) -> list[Search]:
        """A search for each of the vectors (a matrix [n, dim] or a sequence)."""
        body = given(k=k, include_meta=include_meta, **more)
        body["vectors"] = [float32(vector) for vector in vectors]
        call = Call(
            "POST", _path(collection, "search_batch"), _pack(body), MSGPACK, safe=True, reads=True
        )
        found: _Searches = decode(_Searches, (self._http.answer(call)).body)
        return found.results

    def scroll(
        self, collection: str, *, limit: int = 100, cursor: str | None = None, **more: Any
    ) -> Scrolled:
        """A page of all vectors, in the order they were written. ``more``: filters, namespace,
        include_meta, include_vector, include_text."""
        body = msgspec.json.encode(given(limit=limit, cursor=cursor, **more))
        call = Call("POST", _path(collection, "scroll"), body, safe=True, reads=True)
        found: Scrolled = decode(Scrolled, (self._http.answer(call)).body)
        return found

    def all(self, collection: str, **more: Any) -> Iterator[Vector]:
        """Every vector, as `scroll`, a page at a time."""
        cursor = None
        while True:
            page = self.scroll(collection, cursor=cursor, **more)
            for vector in page.items:
                yield vector
            cursor = page.cursor
            if cursor is None:
                return

    def vacuum(self, collection: str) -> int:
        """Drop dead rows now; how many."""
        found = self._json(Call("POST", _path(collection, "vacuum"), safe=True))
        return int(found["removed"])

    def reindex(
        self,
        collection: str,
        embedder: str | None = None,
        *,
        index: Mapping[str, Any] | None = None,
        quantization: str | None = None,
    ) -> dict[str, Any]:
        """Begin to give a collection another index, or to make all vectors anew of their texts, by
        another embedder; `info` tells how far it is."""
        wanted = given(embedder=embedder, index=index, quantization=quantization)
        body = msgspec.json.encode(wanted)
        return self._json(Call("POST", _path(collection, "reindex"), body))

    def tune(
        self, collection: str, recall: float = 0.95, *, k: int = 10, queries: int = 200
    ) -> dict[str, Any]:
        """Measure how hard searches have to try to find so much of the ``k`` nearest, and have
        them do so from now on; what was measured. It may take a minute."""
        body = msgspec.json.encode({"recall": recall, "k": k, "queries": queries})
        return self._json(Call("POST", _path(collection, "tune"), body))

    def end_reindex(self, collection: str) -> bool:
        """Give up a `reindex`; whether one was going on."""
        return bool((self._json(Call("DELETE", _path(collection, "reindex"))))["ended"])

    def diskann_build(
        self,
        collection: str,
        *,
        max_degree: int | None = None,
        build_threads: int | None = None,
        search_list_size: int | None = None,
    ) -> dict[str, Any]:
        """Give a collection a graph on disk; answers when all that was written is in it."""
        wanted = given(
            max_degree=max_degree, build_threads=build_threads, search_list_size=search_list_size
        )
        body = msgspec.json.encode(wanted)
        return self._json(Call("POST", _path(collection, "diskann/build"), body))

    def diskann_tune(self, collection: str, *, search_list_size: int) -> dict[str, Any]:
        """Have searches of a graph on disk keep so many vectors in view."""
        body = msgspec.json.encode({"search_list_size": search_list_size})
        return self._json(Call("POST", _path(collection, "diskann/tune"), body, safe=True))

    def diskann_status(self, collection: str) -> dict[str, Any]:
        """Whether a collection has a graph on disk, and what it was told."""
        return self._json(Call("GET", _path(collection, "diskann/status")))

    def _write(
        self, kind: str, collection: str, id: str, vector: Any, meta: Any, more: dict[str, Any]
    ) -> Written:
        op_id = self._http.op_id(more.pop("op_id", None))
        body = given(id=id, vector=vector, meta=meta, op_id=op_id, **more)
        call = Call(
            "POST",
            _path(collection, kind),
            _pack(_packed(body)),
            MSGPACK,
            safe=op_id is not None,
        )
        written: Written = decode(Written, (self._http.answer(call)).body)
        self._http.note_offset(written.offset)
        return written

    def _json(self, call: Call) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode((self._http.answer(call)).body)
        self._http.note_offset(found.get("offset"))
        return found


class _Searches(msgspec.Struct):
    results: list[Search]


def _path(collection: str, rest: str = "") -> str:
    path = "/v1/vector/" + segment(collection)
    return f"{path}/{rest}" if rest else path


def _packed(item: Mapping[str, Any]) -> dict[str, Any]:
    packed = dict(item)
    if packed.get("vector") is not None:
        packed["vector"] = float32(packed["vector"])
    return packed
