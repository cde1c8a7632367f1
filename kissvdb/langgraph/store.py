"""The long memory of LangGraph: items in namespaces, found by what they say and mean."""

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
from langgraph.store.base import (
    BaseStore,
    Embeddings,
    GetOp,
    IndexConfig,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    ensure_embeddings,
    get_text_at_path,
    tokenize_path,
    validate_op_namespace,
)

from kissvdb.adapters.loads import load
from kissvdb.adapters.threads import in_thread
from kissvdb.client import Client, Document
from kissvdb.errors import AlreadyExists, NotFound, RevisionMismatch
from kissvdb.langgraph import items, namespaces
from kissvdb.langgraph.items import Change, Namespace, Text

BATCH_OPERATIONS = 500
BATCH_BYTES = 500_000
ATTEMPTS = 16
PAUSE_MAX_SECS = 0.3

Vectors = dict[str, list[float]]


class KissStore(BaseStore):
    """Items are documents of the collection ``name``; with ``index`` their texts are vectors of a
    collection of the same name, written in the same atomic batch: what is found by meaning is never
    of another version than what is read.

    ``index`` is as for other stores; without ``embed`` the server's own embedder makes the vectors
    (``{"fields": ["text"]}``). The server ends items at their time; ``ttl`` says the defaults.
    Of a call of ``batch`` the reads come first, then its writes, together up to some hundreds.
    """

    supports_ttl = True

    def __init__(
        self,
        client: Client | None = None,
        *,
        name: str = "langgraph-store",
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        embedder: str = "default",
    ) -> None:
        """``client`` None: the server that the environment says."""
        self._client = client or Client()
        self._name = name
        self._embedder = embedder
        self.ttl_config = ttl
        self.index_config = index
        self.embeddings: Embeddings | None = None
        self._fields: list[str] = []
        if index is not None:
            self._fields = list(index.get("fields") or ["$"])
            if index.get("embed") is not None:
                self.embeddings = ensure_embeddings(index["embed"])

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do all of them."""
        ops = list(ops)
        texts, queries = self._texts(ops), self._queries(ops)
        vectors: Vectors = {}
        if self.embeddings is not None:
            made = self.embeddings.embed_documents(texts) if texts else []
            vectors = dict(zip(texts, made, strict=True))
            vectors |= {_query(each): self.embeddings.embed_query(each) for each in queries}
        return self._do(ops, vectors)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`."""
        ops = list(ops)
        texts, queries = self._texts(ops), self._queries(ops)
        vectors: Vectors = {}
        if self.embeddings is not None:
            made = await self.embeddings.aembed_documents(texts) if texts else []
            vectors = dict(zip(texts, made, strict=True))
            for each in queries:
                vectors[_query(each)] = await self.embeddings.aembed_query(each)
        return await in_thread(self._do, ops, vectors)

    # What is to be embedded

    def _texts(self, ops: Sequence[Op]) -> list[str]:
        puts = (op for op in ops if isinstance(op, PutOp))
        return list(dict.fromkeys(text.text for op in puts for text in self._texts_of(op)))

    def _texts_of(self, op: PutOp) -> Iterator[Text]:
        if self.index_config is None or op.value is None or op.index is False:
            return
        for path in self._fields if op.index is None else op.index:
            for text in get_text_at_path(op.value, path if path == "$" else tokenize_path(path)):
                if text:
                    yield Text(path, text)

    def _queries(self, ops: Sequence[Op]) -> list[str]:
        asked = (op.query for op in ops if isinstance(op, SearchOp))
        return list(dict.fromkeys(query for query in asked if query))

    # Reads, then writes

    def _do(self, ops: Sequence[Op], vectors: Vectors) -> list[Result]:
        results: list[Result] = []
        changes: dict[str, Change] = {}
        for op in ops:
            validate_op_namespace(op)
        for op in ops:
            result: Result = None
            if isinstance(op, GetOp):
                result = self._get(op)
            elif isinstance(op, SearchOp):
                result = self._search(op, vectors)
            elif isinstance(op, ListNamespacesOp):
                result = namespaces.listed(self._client, self._name, op)
            elif isinstance(op, PutOp):
                change = self._change(op, vectors)
                changes[change.id] = change
            else:
                raise ValueError(f"an operation of a store, not {op!r}")
            results.append(result)
        if changes:
            self._write(list(changes.values()))
        return results

    def _get(self, op: GetOp) -> Item | None:
        document = self._client.doc.get(self._name, items.id_of(op.namespace, op.key))
        if document is None:
            return None
        if op.refresh_ttl:
            self._refresh([document])
        return items.item_of(document.doc)

    def _refresh(self, documents: Iterable[Document]) -> None:
        found = [each for one in documents for each in items.refreshing(one, self._name)]
        # What is written or ends in this moment needs no other time.
        if found:
            self._client.bulk(found, progress=False)

    def _search(self, op: SearchOp, vectors: Vectors) -> list[SearchItem]:
        where = items.conditions(op.namespace_prefix, op.filter)
        if op.query and self.index_config is not None:
            return self._nearest(op, where, vectors.get(_query(op.query)))
        documents: list[Document] = []
        for document in self._client.doc.all(self._name, where, sort="-updated"):
            if len(documents) >= op.offset + op.limit:
                break
            documents.append(document)
        documents = documents[op.offset :]
        if op.refresh_ttl:
            self._refresh(documents)
        return [items.found_item(document.doc) for document in documents]

    def _nearest(
        self, op: SearchOp, where: Mapping[str, Any], vector: list[float] | None
    ) -> list[SearchItem]:
        """An item is as near as the nearest of its texts."""
        asked: dict[str, Any] = {"group_by": "item", "group_limit": 1}
        if vector is None:
            asked |= {"text": op.query, "mode": "vector"}
        try:
            found = self._client.vector.search(
                self._name, vector, op.offset + op.limit, where, **asked
            )
        except NotFound:
            return []
        hits = [group.hits[0] for group in found.groups or ()][op.offset :]
        if op.refresh_ttl and any("item" in hit.meta for hit in hits):
            every = (self._client.doc.get(self._name, hit.meta["item"]) for hit in hits)
            self._refresh(document for document in every if document is not None)
        return [items.found_item(hit.meta, hit.score) for hit in hits]

    def _change(self, op: PutOp, vectors: Vectors) -> Change:
        texts = [attrs.evolve(text, vector=vectors.get(text.text)) for text in self._texts_of(op)]
        return Change(op.namespace, op.key, op.value, texts, op.ttl)

    def _write(self, changes: list[Change]) -> None:
        portion: list[Change] = []
        size = count = 0
        for change in changes:
            # Before it is read: about, and each of its texts at most once more.
            bytes_of = (len(str(change.value)) + 300) * (1 + len(change.texts))
            bytes_of += sum(6 * len(text.vector or ()) for text in change.texts)
            full = size + bytes_of > BATCH_BYTES or count + len(change.texts) > BATCH_OPERATIONS
            if portion and full:
                self._commit(portion)
                portion, size, count = [], 0, 0
            portion.append(change)
            size, count = size + bytes_of, count + 2 + 2 * len(change.texts)
        self._commit(portion)

    def _commit(self, changes: list[Change]) -> None:
        """All of them, over what was there when they were read."""
        stale: list[dict[str, Any]] = []
        drops_apart = False
        for attempt in range(ATTEMPTS):
            batch: list[dict[str, Any]] = []
            for change in changes:
                old = self._client.doc.get(self._name, change.id)
                batch += items.operations(change, self._name, old)
            if drops_apart:
                stale = [each for each in batch if each["op"] == "vector_delete"]
                batch = [each for each in batch if each["op"] != "vector_delete"]
            try:
                if batch:
                    self._client.batch(batch)
                load(self._client, stale, forgive="not_found")
                return
            except RevisionMismatch:
                # Whoever writes the same item writes it soon again; not all of them at once.
                time.sleep(random.uniform(0.0, min(PAUSE_MAX_SECS, 0.005 * 2**attempt)))
            except NotFound:
                # No collection yet, or a former vector has just ended by itself.
                drops_apart = True
                self._create(changes)
        raise RevisionMismatch(f"{self._name}: these items are written by others all the time")

    def _create(self, changes: Iterable[Change]) -> None:
        texts = [text for change in changes for text in change.texts]
        if not texts:
            return
        vector = texts[0].vector
        try:
            if vector is None:
                self._client.vector.create(self._name, embedder=self._embedder)
            else:
                self._client.vector.create(self._name, len(vector), "cosine")
        except AlreadyExists:
            pass  # somebody else was first


def _query(text: str) -> str:
    # Some embedders make other vectors of questions than of texts.
    return "?" + text


__all__ = ["KissStore", "Namespace"]
