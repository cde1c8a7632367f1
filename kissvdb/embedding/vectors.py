"""Vector collections in a program of one's own."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kissvdb.api.vectors import text_search
from kissvdb.api.vectors.bodies import TextBody
from kissvdb.api.vectors.collections import text_settings
from kissvdb.api.vectors.forms import packed
from kissvdb.api.vectors.search_bodies import Match, Mode, Typos
from kissvdb.api.vectors.search_requests import Words, check_dim, query_off_loop
from kissvdb.core.filters import parse as filter_rules
from kissvdb.core.rows.rules import DeletedVector, WrittenVector
from kissvdb.core.search import Search
from kissvdb.embedding import json_values
from kissvdb.embedding.items import VectorItem
from kissvdb.engine.vectors import model as engine
from kissvdb.engine.vectors.model import Found, found_in
from kissvdb.errors import InvalidArgument

if TYPE_CHECKING:
    from kissvdb.core.rows.view import RowsView


class Vectors:
    """The collections of a database; reached as ``db.vectors``.

    Writes answer when they are durable and visible to every later search. A collection that is not
    there raises NotFound.
    """

    __slots__ = ("_vectors",)

    def __init__(self, vectors: engine.Vectors) -> None:
        self._vectors = vectors

    def names(self) -> list[str]:
        """All collections, in order."""
        return [each.name for each in self._vectors.all]

    async def create(
        self,
        collection: str,
        *,
        dim: int | None = None,
        metric: str | None = None,
        embedder: str | None = None,
        text: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> int:
        """Create a collection; answers the offset.

        ``metric``: cosine (without one), dot or l2. ``embedder``: the name of what makes vectors of
        texts, in place of dim and metric. ``text``: language, tokenizer, k1, b. ``options``: index,
        m and others, as the page on vectors has them. Raises AlreadyExists, and InvalidArgument for
        a name or a dim that cannot be.
        """
        if text is not None:
            options |= text_settings(_text_body(text))
        return await self._vectors.create(
            collection, dim=dim, metric=metric, embedder=embedder, **options
        )

    async def drop(self, collection: str) -> int:
        """Delete a collection and everything in it; answers the offset."""
        return await self._vectors.drop(collection)

    async def vacuum(self, collection: str) -> int:
        """Write the live vectors anew; answers how many dead ones went."""
        return await self._vectors.vacuum(collection)

    async def upsert(
        self,
        collection: str,
        id_: str,
        vector: Sequence[float] | None = None,
        meta: Any = None,
        *,
        text: str | None = None,
        ttl_ms: int | None = None,
    ) -> WrittenVector:
        """Write a vector whether or not its id has one.

        ``vector``: ``dim`` finite numbers, kept as float32; without it the collection's embedder
        makes it of the ``text``. ``meta``: what JSON can hold. Raises EmbedderUnavailable.
        """
        if meta is not None:
            json_values.encode(meta, "meta")
        return await self._vectors.upsert(collection, id_, vector, meta, text=text, ttl_ms=ttl_ms)

    async def update(
        self,
        collection: str,
        id_: str,
        *,
        vector: Sequence[float] | None = None,
        meta: Any = None,
        text: str | None = None,
    ) -> WrittenVector:
        """Replace the parts that are given; a new text brings a new vector where there is an
        embedder, an empty one takes the text away. Raises NotFound."""
        if meta is not None:
            json_values.encode(meta, "meta")
        return await self._vectors.update(collection, id_, vector=vector, meta=meta, text=text)

    async def delete(self, collection: str, id_: str) -> DeletedVector:
        """Remove a vector. Raises NotFound."""
        return await self._vectors.delete(collection, id_)

    async def delete_matching(
        self, collection: str, filters: Any, *, namespace: str | None = None
    ) -> int:
        """Remove the vectors that pass; answers how many. Not atomic: writes come between."""
        tree = filter_rules.parse(filters)
        count, _ = await self._vectors.delete_matching(collection, tree, namespace)
        return count

    def get(self, collection: str, id_: str) -> VectorItem | None:
        """A vector as of the last answered write; None when absent or expired. Never waits."""
        row = self._vectors.get(collection, id_)
        if row is None:
            return None
        import numpy as np

        meta = None if row.meta is None else msgspec.json.decode(row.meta)
        return VectorItem(
            row.id, np.frombuffer(row.vector, "<f4").tolist(), meta, row.expires_at_ms, row.text
        )

    async def search(
        self,
        collection: str,
        vector: Sequence[float],
        k: int = 10,
        *,
        filters: Any = None,
        namespace: str | None = None,
        ef: int | None = None,
        exact: bool = False,
        offset: int = 0,
        min_score: float | None = None,
    ) -> list[Found]:
        """The ``k`` nearest vectors that pass, best first: each with id, score (higher is nearer),
        meta and text.

        ``filters``: as over HTTP, ``{"year": {"$gte": 2020}}``. ``ef``: rows that a walk keeps in
        view; None chooses. ``exact`` compares all. ``offset``: leave out so many of the best.
        Raises DimMismatch and InvalidArgument.
        """
        return await self._vectors.search(
            collection,
            vector,
            k,
            filters=filters,
            namespace=namespace,
            ef=ef,
            exact=exact,
            offset=offset,
            min_score=min_score,
        )

    async def search_text(
        self,
        collection: str,
        text: str,
        k: int = 10,
        *,
        vector: Sequence[float] | None = None,
        mode: Mode | None = None,
        hybrid: Mapping[str, Any] | None = None,
        match: Match = "any",
        typos: Typos = "auto",
        filters: Any = None,
        namespace: str | None = None,
        offset: int = 0,
        min_score: float | None = None,
    ) -> list[Found]:
        """The ``k`` best that pass by words, by the vector made of them (or ``vector``), or both.

        ``mode``: text, vector or hybrid; without it hybrid where there is a vector or an embedder.
        ``hybrid``: method, text, k, depth, as the page on vectors has them. Raises InvalidArgument,
        DimMismatch, EmbedderUnavailable and EmbedderMismatch.
        """
        # numpy comes with it.
        from kissvdb.core.fusion import Fusion

        fusion = Fusion() if hybrid is None else Fusion.from_json(dict(hybrid))
        parsed = None
        if mode != "vector":
            parsed = await query_off_loop(text, match, typos, "text")
        numbers = None if vector is None else packed(list(vector), "vector")
        spec = self._vectors.find(collection).actor.rows.spec
        query = await text_search.query_of_words(
            self._vectors.texts, spec, Words(text, parsed, mode, fusion), numbers
        )
        if query.vector is not None:
            check_dim(len(query.vector), spec)
        search = Search(k, offset, filter_rules.parse(filters), namespace, min_score=min_score)

        def job(view: "RowsView") -> list[Found]:
            find, _, _ = text_search.finder(view, query)
            return found_in(view, find(search).hits[0])

        return await self._vectors.look(collection, job)

    async def count(
        self, collection: str, *, filters: Any = None, namespace: str | None = None
    ) -> int:
        """How many vectors pass."""
        tree = filter_rules.parse(filters)

        def count(view: "RowsView") -> int:
            return view.count(tree, namespace)

        return await self._vectors.look(collection, count)

    async def wait_compiled(self) -> None:
        """Wait until the kernels are loaded, or will not be: before, every search is exact."""
        await self._vectors.compiled.wait()


def _text_body(text: Mapping[str, Any]) -> TextBody:
    try:
        return msgspec.convert(dict(text), TextBody)
    except msgspec.ValidationError as problem:
        raise InvalidArgument(f"text: {problem}") from None
