"""The table functions ``vector_search``, ``text_search`` and ``hybrid_search``: hits as rows, the
best first."""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from kissvdb.core.search import Search
from kissvdb.core.store.spec import NUMBER_MAX
from kissvdb.core.text.fields import TEXT_FIELD
from kissvdb.core.text.query import QueryOptions, TextQuery
from kissvdb.core.text.query import parse as parse_text
from kissvdb.core.text.typos import corrected
from kissvdb.engine.tables.module import Column, Given, Order, Plan, VirtualTable
from kissvdb.engine.tables.rows import filters_of, kind_of, metas_of, text_of
from kissvdb.engine.tables.sight import check_documents
from kissvdb.engine.tables.snapshot import Snapshot
from kissvdb.errors import DimMismatch, Forbidden, InvalidArgument, NotFound

if TYPE_CHECKING:
    # Not at run time: numpy comes with it.
    from kissvdb.core.rows.search import Hits
    from kissvdb.core.rows.view import RowsView

K_DEFAULT = 10
_HIT = (
    Column("id", "TEXT", ("=",)),
    Column("score", "REAL"),
    Column("rank", "INTEGER"),
)
_ARGUMENTS = (
    Column("k", "INTEGER", argument=True),
    Column("filters", "TEXT", argument=True),
)


@attrs.frozen(eq=False)
class _Answer:
    """The hits of one search and the view they are of. ``places``: of each id, from 0."""

    view: "RowsView"
    hits: "Hits"
    places: dict[str, int]


class _SearchTable(VirtualTable):
    key = "rank"
    meta: str
    """What the column with a hit's document or metadata is called."""

    def plan(self, plan: Plan) -> None:
        # Once for the whole statement, as far as its arguments stay the same.
        plan.cost, plan.rows = (100.0, 1) if "id=" in plan.names else (100.0, K_DEFAULT)
        order = plan.order
        if order is not None:
            plan.ordered = (order.column, order.descending) in (("rank", False), ("score", True))

    def takes_limit(self, names: Collection[str]) -> bool:
        return "k=" not in names and "id=" not in names

    def found(self, snapshot: Snapshot, given: Given, k: int) -> _Answer:
        """The search itself."""
        raise NotImplementedError

    def rows(
        self, snapshot: Snapshot, given: Given, used: frozenset[str], order: Order | None
    ) -> Iterator[tuple[Any, ...]]:
        k = self._k(snapshot, given)
        asked = (self.name, k, *(given.get(f"{each.name}=") for each in self.columns[5:]))
        answer: _Answer = snapshot.answer(asked, lambda: self.found(snapshot, given, k))
        view, hits = answer.view, answer.hits
        places: Any = range(len(hits))
        if isinstance(given.get("id="), str):
            place = answer.places.get(given["id="])
            places = () if place is None else (place,)
        with_meta, with_text = self.meta in used, "text" in used
        scores, rows = hits.scores.tolist(), hits.rows.tolist()
        for place in places:
            row = rows[place]
            yield (
                hits.ids[place],
                scores[place],
                place + 1,
                metas_of(view.data, [row])[0] if with_meta else None,
                view.data.text(row) if with_text else None,
            )

    def _k(self, snapshot: Snapshot, given: Given) -> int:
        k, k_max = given.get("k="), snapshot.bounds.k_max
        if k is None:
            # As many as are taken, if the statement says that.
            limit, offset = given.get("LIMIT", -1), given.get("OFFSET", 0)
            return min(K_DEFAULT if limit < 0 else max(limit + offset, 1), k_max)
        if not isinstance(k, int) or not 1 <= k <= k_max:
            said = k if isinstance(k, int) else kind_of(k)
            raise InvalidArgument(
                f"{self.name}: k must be an integer from 1 to {k_max}, not {said}: the most is "
                "limits.k_max (MAX_K)"
            )
        return k

    def _search(self, given: Given, k: int) -> Search:
        return Search(k, tree=filters_of(given.get("filters="), f"{self.name}: filters"))


class VectorSearchTable(_SearchTable):
    """``vector_search(collection, query, k, filters)``: the nearest vectors. ``query``: JSON text
    of numbers, a blob of float32, or a text that the collection's embedder makes a vector of."""

    name = "vector_search"
    meta = "meta"
    columns = (
        *_HIT,
        Column("meta", "TEXT"),
        Column("text", "TEXT"),
        Column("collection", "TEXT", argument=True, required=True),
        Column("query", argument=True, required=True),
        *_ARGUMENTS,
    )
    usage = "FROM vector_search('notes', '[0.1, 0.2]', 10), or with a text to embed"

    def found(self, snapshot: Snapshot, given: Given, k: int) -> _Answer:
        view = snapshot.of_vectors(text_of(given["collection="], f"{self.name}: collection"))
        vector = vector_of(snapshot, view, given["query="], self.name)
        return _answer(view, view.search(vector[None], self._search(given, k)).hits[0])


class TextSearchTable(_SearchTable):
    """``text_search(collection, query, k, filters, kind)``: the best by their texts. ``doc``: a
    document, or the metadata of a vector. ``kind``: ``documents`` or ``vectors``, where both have a
    collection of this name."""

    name = "text_search"
    meta = "doc"
    columns = (
        *_HIT,
        Column("doc", "TEXT"),
        Column("text", "TEXT"),
        Column("collection", "TEXT", argument=True, required=True),
        Column("query", "TEXT", argument=True, required=True),
        *_ARGUMENTS,
        Column("kind", "TEXT", argument=True),
    )
    usage = "FROM text_search('notes', 'what to look for', 10)"

    def found(self, snapshot: Snapshot, given: Given, k: int) -> _Answer:
        collection = text_of(given["collection="], f"{self.name}: collection")
        view = self._view(snapshot, collection, given.get("kind="))
        query = query_of(view, given["query="], f"{self.name}: query")
        return _answer(view, view.search_text(query, self._search(given, k)).hits[0])

    def _view(self, snapshot: Snapshot, collection: str, kind: Any) -> "RowsView":
        if kind not in (None, "documents", "vectors"):
            raise InvalidArgument(f"{self.name}: kind must be 'documents' or 'vectors'")
        documents = vectors = None
        refusal: Forbidden | NotFound | None = None
        if kind != "vectors":
            try:
                documents = snapshot.of_documents(collection)
            except Forbidden as error:
                refusal = error
        if kind != "documents":
            try:
                vectors = snapshot.of_vectors(collection)
            except (Forbidden, NotFound) as error:
                refusal = refusal or error
        if documents is not None and vectors is not None:
            raise InvalidArgument(
                f"{self.name}: there are documents and vectors called {collection!r}: say which, "
                f"text_search({collection!r}, query, k, NULL, 'documents') or 'vectors'"
            )
        view = documents or vectors
        if view is not None:
            return view
        if isinstance(refusal, Forbidden):
            check_documents(snapshot.bounds.sight, collection)
            raise refusal
        raise NotFound(
            f"no documents and no vectors {collection!r}: write the name of a collection as it is, "
            "or bind it as a parameter"
        )


class HybridSearchTable(_SearchTable):
    """``hybrid_search(collection, query, k, filters, vector)``: the best vectors by text and vector
    at once. ``vector``: if it is not to be made of the ``query`` by the collection's embedder."""

    name = "hybrid_search"
    meta = "meta"
    columns = (
        *_HIT,
        Column("meta", "TEXT"),
        Column("text", "TEXT"),
        Column("collection", "TEXT", argument=True, required=True),
        Column("query", "TEXT", argument=True, required=True),
        *_ARGUMENTS,
        Column("vector", argument=True),
    )
    usage = "FROM hybrid_search('notes', 'what to look for', 10)"

    def found(self, snapshot: Snapshot, given: Given, k: int) -> _Answer:
        from kissvdb.core.fusion import Fusion

        view = snapshot.of_vectors(text_of(given["collection="], f"{self.name}: collection"))
        text = text_of(given["query="], f"{self.name}: query")
        query = query_of(view, text, f"{self.name}: query")
        given_vector = given.get("vector=")
        vector = vector_of(
            snapshot,
            view,
            text if given_vector is None else given_vector,
            self.name,
            is_text=given_vector is None,
        )
        found = view.search_hybrid(vector, query, self._search(given, k), Fusion())
        return _answer(view, found.hits[0])


def _answer(view: "RowsView", hits: "Hits") -> _Answer:
    return _Answer(view, hits, {id_: place for place, id_ in enumerate(hits.ids)})


def vector_of(
    snapshot: Snapshot, view: "RowsView", value: Any, name: str, *, is_text: bool = False
) -> Any:
    """float32 [dim] of an argument: a blob, JSON text that begins with ``[``, or a text that is
    embedded. ``is_text``: it is embedded, however it begins. Raises InvalidArgument and
    DimMismatch, and what embedding raises."""
    import numpy as np

    spec = view.spec
    if isinstance(value, str) and (is_text or not value.lstrip().startswith("[")):
        if not value.strip():
            raise InvalidArgument(f"{name}: an empty text has no vector")
        packed = snapshot.answer(
            ("embedded", spec.name, value), lambda: snapshot.embed(spec, value)
        )
        return np.frombuffer(packed, "<f4")
    if isinstance(value, bytes):
        if len(value) % 4:
            raise InvalidArgument(
                f"{name}: a blob of {len(value)} bytes is no vector of float32, of 4 bytes each"
            )
        vector = np.frombuffer(value, "<f4")
    elif isinstance(value, str):
        try:
            numbers = msgspec.json.decode(value, type=list[float])
        except msgspec.DecodeError as error:
            raise InvalidArgument(f"{name}: the vector is no JSON array of numbers: {error}") from (
                None
            )
        with np.errstate(over="ignore"):
            vector = np.asarray(numbers, "<f4")
    else:
        raise InvalidArgument(
            f"{name}: a vector is JSON text as '[0.1, 0.2]', a blob of float32, or a text to "
            f"embed, not {kind_of(value)}"
        )
    if len(vector) != spec.dim:
        raise DimMismatch(
            f"{name}: the vector has {len(vector)} numbers, collection {spec.name!r} has dim "
            f"{spec.dim}: send {spec.dim} numbers"
        )
    if not np.abs(vector).max() <= NUMBER_MAX:
        raise InvalidArgument(f"{name}: NaN, infinity or a number beyond {NUMBER_MAX:g} in it")
    return vector


def query_of(view: "RowsView", value: Any, what: str) -> TextQuery:
    """The words to look for, read as those of this collection. Raises InvalidArgument."""
    known = [TEXT_FIELD] if view.spec.dim else ([] if view.texts is None else view.texts.paths)
    try:
        query = parse_text(text_of(value, what), QueryOptions(known=frozenset(known)))
    except InvalidArgument as refusal:
        raise InvalidArgument(f"{what}: {refusal.message}") from None
    return corrected(query, view.texts)[0]
