"""Vector collections in a program of one's own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kissvdb.core.filters import parse as filter_rules
from kissvdb.core.rows.rules import DeletedVector, WrittenVector
from kissvdb.embedding import json_values
from kissvdb.embedding.items import VectorItem
from kissvdb.engine.vectors import model as engine
from kissvdb.engine.vectors.model import Found

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
        self, collection: str, *, dim: int, metric: str = "cosine", **options: Any
    ) -> int:
        """Create a collection; answers the offset.

        ``metric``: cosine, dot or l2. ``options``: index, m and others, as the page on vectors has
        them. Raises AlreadyExists, and InvalidArgument for a name or a dim that cannot be.
        """
        return await self._vectors.create(collection, dim=dim, metric=metric, **options)

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
        vector: Sequence[float],
        meta: Any = None,
        *,
        ttl_ms: int | None = None,
    ) -> WrittenVector:
        """Write a vector whether or not its id has one.

        ``vector``: ``dim`` finite numbers, kept as float32. ``meta``: what JSON can hold.
        """
        if meta is not None:
            json_values.encode(meta, "meta")
        return await self._vectors.upsert(collection, id_, vector, meta, ttl_ms=ttl_ms)

    async def update(
        self,
        collection: str,
        id_: str,
        *,
        vector: Sequence[float] | None = None,
        meta: Any = None,
    ) -> WrittenVector:
        """Replace the parts that are given. Raises NotFound."""
        if meta is not None:
            json_values.encode(meta, "meta")
        return await self._vectors.update(collection, id_, vector=vector, meta=meta)

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
            row.id, np.frombuffer(row.vector, "<f4").tolist(), meta, row.expires_at_ms
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
        """The ``k`` nearest vectors that pass, best first: each with id, score (higher is nearer)
        and meta.

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
