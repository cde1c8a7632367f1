"""Nodes in a vector collection, found by vectors, by words, or by both."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from kissvdb.adapters.loads import load
from kissvdb.adapters.spread import spread
from kissvdb.adapters.threads import in_thread
from kissvdb.client import Client
from kissvdb.errors import AlreadyExists, NotFound
from kissvdb.llamaindex.filters import condition

MODES = {
    VectorStoreQueryMode.DEFAULT: "vector",
    VectorStoreQueryMode.MMR: "vector",
    VectorStoreQueryMode.TEXT_SEARCH: "text",
    VectorStoreQueryMode.HYBRID: "hybrid",
}
MMR_FETCH = 4
"""So many times as many as are wanted are looked at."""


class KissVectorStore(BasePydanticVectorStore):
    """Nodes of one collection, which is made with the first of them. A node is written whole, is
    durable when the call returns, and replaces the one with its id."""

    stores_text: bool = True
    collection: str
    _client: Client = PrivateAttr()

    def __init__(self, collection: str, client: Client | None = None) -> None:
        """``client`` None: the server that the environment says."""
        fields: dict[str, Any] = {"collection": collection}
        super().__init__(**fields)
        self._client = client or Client()

    @property
    def client(self) -> Client:
        """Of the server."""
        return self._client

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Write nodes; their ids. One without an embedding needs a collection with an embedder."""
        operations = []
        for node in nodes:
            meta = {**node_to_metadata_dict(node, remove_text=True), "_id": node.node_id}
            upsert = {"op": "upsert", "collection": self.collection, "id": node.node_id}
            text = node.get_content(metadata_mode=MetadataMode.NONE)
            made: dict[str, Any] = {} if node.embedding is None else {"vector": node.embedding}
            if text or not made:
                made["text"] = text
            operations.append({**upsert, "meta": meta, **made})
        if operations:
            try:
                load(self._client, operations)
            except NotFound:
                self._create(nodes[0].embedding)
                load(self._client, operations)
        return [node.node_id for node in nodes]

    def _create(self, vector: list[float] | None) -> None:
        try:
            if vector is None:
                self._client.vector.create(self.collection, embedder="default")
            else:
                self._client.vector.create(self.collection, len(vector), "cosine")
        except AlreadyExists:
            pass  # somebody else was first

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Remove the nodes of a document."""
        self._delete({"ref_doc_id": {"$eq": ref_doc_id}})

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Remove the nodes with these ids that pass."""
        wanted = [] if node_ids is None else [{"_id": {"$in": node_ids}}]
        wanted += [] if filters is None else [condition(filters)]
        if not any(wanted):
            raise ValueError("which nodes? give node_ids or filters, or call clear")
        self._delete({"$and": wanted})

    def _delete(self, where: dict[str, Any]) -> None:
        with suppress(NotFound):  # nothing was written yet
            self._client.vector.delete_by_filter(self.collection, where)

    def clear(self) -> None:
        """Remove all, and the collection."""
        with suppress(NotFound):
            self._client.vector.drop(self.collection)

    def get_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Those of these ids that are there."""
        if node_ids is None or filters is not None:
            raise NotImplementedError("by their ids only: use query for filters")
        found = (self._client.vector.get(self.collection, each) for each in node_ids)
        return [metadata_dict_to_node(each.meta, each.text) for each in found if each is not None]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The nearest nodes. ``alpha`` of a hybrid query: 1 vectors alone, 0 words alone. Raises
        ValueError for modes that there are not."""
        if query.mode not in MODES:
            raise ValueError(f"mode: {', '.join(each.value for each in MODES)}, not {query.mode}")
        mode, k = MODES[query.mode], query.similarity_top_k
        vector = None if mode == "text" else query.query_embedding
        if mode == "hybrid":
            k = query.hybrid_top_k or k
            kwargs["hybrid"] = {"text": 0.5 if query.alpha is None else 1.0 - query.alpha}
        if mode != "vector" or vector is None:
            kwargs |= {"text": query.query_str, "mode": mode}
        spreads = query.mode == VectorStoreQueryMode.MMR
        fetched = min(256, k * MMR_FETCH) if spreads else k
        asked = {"include_text": True, "include_vector": spreads, **kwargs}
        try:
            hits = self._client.vector.search(
                self.collection, vector, fetched, _filters(query), **asked
            ).hits
        except NotFound:
            hits = []
        if spreads:
            weight = 0.5 if query.mmr_threshold is None else query.mmr_threshold
            hits = spread(hits, vector, k, weight)
        return VectorStoreQueryResult(
            nodes=[metadata_dict_to_node(hit.meta, hit.text) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """As `add`."""
        return await in_thread(self.add, nodes, **kwargs)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """As `query`."""
        return await in_thread(self.query, query, **kwargs)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """As `delete`."""
        await in_thread(self.delete, ref_doc_id)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """As `delete_nodes`."""
        await in_thread(self.delete_nodes, node_ids, filters)

    async def aclear(self) -> None:
        """As `clear`."""
        await in_thread(self.clear)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """As `get_nodes`."""
        return await in_thread(self.get_nodes, node_ids, filters)


def _filters(query: VectorStoreQuery) -> dict[str, Any] | None:
    wanted = [] if query.filters is None else [condition(query.filters)]
    # An index that keeps its texts at the server asks with lists that are empty.
    if query.node_ids:
        wanted.append({"_id": {"$in": query.node_ids}})
    if query.doc_ids:
        wanted.append({"ref_doc_id": {"$in": query.doc_ids}})
    return {"$and": wanted} if any(wanted) else None
