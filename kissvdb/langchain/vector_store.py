"""Texts in a vector collection, found by vectors, by words, or by both."""

from collections.abc import Iterable, Sequence
from typing import Any, cast
from uuid import uuid4

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from kissvdb.adapters.loads import load
from kissvdb.adapters.spread import spread
from kissvdb.adapters.threads import in_thread
from kissvdb.client import Client
from kissvdb.client.results import Hit
from kissvdb.errors import AlreadyExists, NotFound
from kissvdb.langchain.scoring import relevance

Scored = list[tuple[Document, float]]


class KissVectorStore(VectorStore):
    """Documents in one vector collection of a server.

    With ``embedding`` the vectors are made by it, here; without, by the server's own ``embedder``.
    The collection is made with the first text. A document is written whole or not at all, is
    durable when the call returns, and found from then on; its id is the vector's, so that adding it
    again replaces it. After a crash within a call some documents are written, and the same call
    again, with the same ids, does the rest.
    """

    def __init__(
        self,
        collection: str,
        embedding: Embeddings | None = None,
        *,
        client: Client | None = None,
        mode: str = "vector",
        metric: str = "cosine",
        embedder: str = "default",
        **settings: Any,
    ) -> None:
        """``client`` None: the server that the environment says. ``mode``: how to search unless a
        search says it. ``metric`` and ``settings``: of the collection when it is made, see
        docs/vectors.md."""
        self.collection = collection
        self.client = client or Client()
        self.mode = mode
        self.metric = metric if embedding is not None else "cosine"
        self._embedding = embedding
        self._embedder = embedder
        self._settings = settings

    @property
    def embeddings(self) -> Embeddings | None:
        """What makes vectors here; None: the server does."""
        return self._embedding

    # Write

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Write texts; their ids. ``ttl_secs``: how long they live."""
        texts = list(texts)
        vectors = self._embedding.embed_documents(texts) if self._embedding and texts else None
        return self._write(texts, vectors, metadatas, ids, **kwargs)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """As `add_texts`."""
        texts, vectors = list(texts), None
        if self._embedding and texts:
            vectors = await self._embedding.aembed_documents(texts)
        return await in_thread(self._write, texts, vectors, metadatas, ids, **kwargs)

    def _write(
        self,
        texts: list[str],
        vectors: list[list[float]] | None,
        metadatas: list[dict[str, Any]] | None,
        ids: Sequence[str | None] | None,
        ttl_secs: float | None = None,
    ) -> list[str]:
        for name, given in (("metadatas", metadatas), ("ids", ids), ("vectors", vectors)):
            if given is not None and len(given) != len(texts):
                raise ValueError(f"{name}: {len(given)} of them for {len(texts)} texts")
        named = [each or str(uuid4()) for each in ids or [None] * len(texts)]
        operations: list[dict[str, Any]] = []
        for place, text in enumerate(texts):
            meta = (metadatas[place] if metadatas else None) or {}
            operation: dict[str, Any] = {"op": "upsert", "collection": self.collection}
            operation |= {"id": named[place], "meta": meta}
            if text or vectors is None:
                operation["text"] = text
            if vectors is not None:
                operation["vector"] = vectors[place]
            if ttl_secs is not None:
                operation["ttl_ms"] = max(1, int(ttl_secs * 1000))
            operations.append(operation)
        if operations:
            try:
                load(self.client, operations)
            except NotFound:
                self._create(len(vectors[0]) if vectors else None)
                load(self.client, operations)
        return named

    def _create(self, dim: int | None) -> None:
        try:
            if dim is None:
                self.client.vector.create(
                    self.collection, embedder=self._embedder, **self._settings
                )
            else:
                self.client.vector.create(self.collection, dim, self.metric, **self._settings)
        except AlreadyExists:
            pass  # somebody else was first

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Remove documents; None: all, and the collection with them."""
        if ids is None:
            try:
                self.client.vector.drop(self.collection)
            except NotFound:
                return True
            return True
        gone = {"op": "vector_delete", "collection": self.collection}
        load(self.client, ({**gone, "id": each} for each in ids), forgive="not_found")
        return True

    async def adelete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """As `delete`."""
        return await in_thread(self.delete, ids, **kwargs)

    # Read

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Those that are there, in the order of ``ids``."""
        found = ((each, self.client.vector.get(self.collection, each)) for each in ids)
        return [
            Document(id=id, page_content=vector.text or "", metadata=vector.meta or {})
            for id, vector in found
            if vector is not None
        ]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """As `get_by_ids`."""
        return await in_thread(self.get_by_ids, ids)

    def _hits(
        self,
        query: str | None,
        vector: list[float] | None,
        k: int,
        filter: dict[str, Any] | None = None,
        mode: str | None = None,
        **more: Any,
    ) -> list[Hit]:
        """``more``: what else a search of the server takes (docs/vectors.md)."""
        mode = mode or (self.mode if query is not None else "vector")
        wanted = {"include_text": True, **more}
        if query is not None and (vector is None or mode != "vector"):
            wanted |= {"text": query, "mode": mode}
        try:
            return self.client.vector.search(self.collection, vector, k, filter, **wanted).hits
        except NotFound:
            # Nothing was written yet; a search makes no collection.
            return []

    def _vector(self, query: str, mode: str | None) -> list[float] | None:
        embeds = self._embedding is not None and (mode or self.mode) != "text"
        return cast(Embeddings, self._embedding).embed_query(query) if embeds else None

    async def _avector(self, query: str, mode: str | None) -> list[float] | None:
        embeds = self._embedding is not None and (mode or self.mode) != "text"
        return await cast(Embeddings, self._embedding).aembed_query(query) if embeds else None

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The ``k`` best first. ``filter=``: docs/filters.md; ``mode=``: vector, text, hybrid; also
        ``hybrid=``, ``match=``, ``min_score=`` and what else docs/vectors.md lists."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """As `similarity_search`."""
        found = await self.asimilarity_search_with_score(query, k, **kwargs)
        return [document for document, _ in found]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> Scored:
        """As `similarity_search`, with the server's scores: higher is better."""
        vector = self._vector(query, kwargs.get("mode"))
        return [_scored(hit) for hit in self._hits(query, vector, k, **kwargs)]

    async def asimilarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> Scored:
        """As `similarity_search_with_score`."""
        vector = await self._avector(query, kwargs.get("mode"))
        return [_scored(hit) for hit in await in_thread(self._hits, query, vector, k, **kwargs)]

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """The nearest to a vector."""
        return [_scored(hit)[0] for hit in self._hits(None, embedding, k, **kwargs)]

    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """As `similarity_search_by_vector`."""
        return await in_thread(self.similarity_search_by_vector, embedding, k, **kwargs)

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> Scored:
        score = relevance(kwargs.get("mode") or self.mode, self.metric)
        found = self.similarity_search_with_score(query, k, **kwargs)
        return [(document, score(each)) for document, each in found]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> Scored:
        score = relevance(kwargs.get("mode") or self.mode, self.metric)
        found = await self.asimilarity_search_with_score(query, k, **kwargs)
        return [(document, score(each)) for document, each in found]

    # Near, and unlike each other

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Of the ``fetch_k`` best, ``k`` that are near to the query and unlike each other."""
        vector = self._vector(query, "vector")
        return self._spread(query, vector, k, fetch_k, lambda_mult, **kwargs)

    async def amax_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """As `max_marginal_relevance_search`."""
        vector = await self._avector(query, "vector")
        return await in_thread(self._spread, query, vector, k, fetch_k, lambda_mult, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search`, to a vector."""
        return self._spread(None, embedding, k, fetch_k, lambda_mult, **kwargs)

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **kwargs: Any,
    ) -> list[Document]:
        """As `max_marginal_relevance_search_by_vector`."""
        return await in_thread(self._spread, None, embedding, k, fetch_k, lambda_mult, **kwargs)

    def _spread(
        self,
        query: str | None,
        vector: list[float] | None,
        k: int,
        fetch_k: int,
        lambda_mult: float,
        **kwargs: Any,
    ) -> list[Document]:
        kwargs |= {"mode": "vector", "include_vector": True}
        hits = self._hits(query, vector, max(k, fetch_k), **kwargs)
        return [_scored(hit)[0] for hit in spread(hits, vector, k, lambda_mult)]

    # Make

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        collection: str = "langchain",
        **kwargs: Any,
    ) -> "KissVectorStore":
        """A store with these texts in it. ``kwargs``: of the constructor."""
        store = cls(collection, embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        collection: str = "langchain",
        **kwargs: Any,
    ) -> "KissVectorStore":
        """As `from_texts`."""
        store = cls(collection, embedding, **kwargs)
        await store.aadd_texts(texts, metadatas, ids=ids)
        return store


def _scored(hit: Hit) -> tuple[Document, float]:
    document = Document(id=hit.id, page_content=hit.text or "", metadata=hit.meta or {})
    return document, hit.score
