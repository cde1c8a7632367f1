"""Chroma as the vector bench uses it: through its own Python client, and by requests as bytes."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bench.load import protocols
from bench.load.process import Server
from bench.vector_parts.contenders import M
from bench.vector_parts.data import Data, K
from bench.vector_parts.ours import numbers

EF_CONSTRUCTION = 200
_BASE = "/api/v2/tenants/default_tenant/databases/default_database/collections"


def create(server: Server, name: str) -> Any:
    """A new collection by cosine, built as ours is; answers the client's object for it."""
    hnsw = {"space": "cosine", "ef_construction": EF_CONSTRUCTION, "max_neighbors": M}
    return _client(server).create_collection(
        name, configuration={"hnsw": hnsw}, embedding_function=None
    )


def get(server: Server, name: str) -> Any:
    """The client's object for a collection."""
    return _client(server).get_collection(name, embedding_function=None)


def drop(server: Server, name: str) -> None:
    """Delete a collection."""
    _client(server).delete_collection(name)


def _client(server: Server) -> Any:
    import chromadb

    return chromadb.HttpClient(host="127.0.0.1", port=server.port)


def documents(data: Data) -> list[dict[str, Any]]:
    """The metadata as Chroma takes it: without null and without empty lists."""
    return [{k: v for k, v in meta.items() if v is not None and v != []} for meta in data.metas]


def add(collection: Any, data: Data, metas: Sequence[Any], batch: int) -> None:
    """Add all rows with the Python client."""
    for start in range(0, len(data.ids), batch):
        part = slice(start, start + batch)
        collection.add(ids=data.ids[part], embeddings=data.base[part], metadatas=metas[part])


def add_requests(collection: Any, data: Data, metas: Sequence[Any], batch: int) -> Iterator[bytes]:
    """The same as requests."""
    for start in range(0, len(data.ids), batch):
        part = slice(start, start + batch)
        body = msgspec.json.encode(
            {
                "ids": data.ids[part],
                "embeddings": [numbers(vector) for vector in data.base[part]],
                "metadatas": metas[part],
            }
        )
        yield protocols.http("POST", f"{_BASE}/{collection.id}/add", body)


def set_ef(collection: Any, ef: int) -> None:
    """What searches keep in view from now on."""
    collection.modify(configuration={"hnsw": {"ef_search": ef}})


def search(collection: Any, query: Any) -> bytes:
    """One search as a request: ids and distances, no more."""
    asked = {"query_embeddings": [numbers(query)], "n_results": K, "include": ["distances"]}
    return protocols.http("POST", f"{_BASE}/{collection.id}/query", protocols.compact(asked))


def hits(answer: bytes) -> list[str]:
    """The ids of an answer, best first."""
    found: list[str] = json.loads(answer)["ids"][0]
    return found
