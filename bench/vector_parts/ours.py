"""Our server as the vector bench uses it: collections made, filled and looked at over HTTP."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from bench.load import protocols
from bench.load.process import Server
from bench.vector_parts.data import Data, K
from bench.vector_parts.wire import Connection

OCTETS = "application/octet-stream"
MSGPACK = "application/msgpack"
BATCH = 256
SETTLE_SECS_MAX = 300.0
# The tail is drained when it holds so many rows; what is left stays there.
TAIL_ROWS_MAX = 256


def create(connection: Connection, name: str, dim: int) -> None:
    """Make a collection with the settings it has by default."""
    body = protocols.compact({"dim": dim, "metric": "cosine"})
    connection.ask(protocols.http("POST", f"/v1/vector/{name}", body))


def drop(connection: Connection, name: str) -> None:
    """Delete a collection."""
    connection.ask(protocols.http("DELETE", f"/v1/vector/{name}"))


def fill(server: Server, name: str, data: Data) -> None:
    """Make a collection of all rows, and wait until they are indexed."""
    with Connection(server) as connection:
        create(connection, name, data.base.shape[1])
    # Another connection: the one that created went to Hypercorn and stays there.
    with Connection(server) as connection:
        upsert(connection, name, data.ids, data.base, data.metas)
    settle(server, name)


def upsert(
    connection: Connection, name: str, ids: Sequence[str], vectors: Any, metas: Sequence[Any]
) -> None:
    """Write vectors in raw batches."""
    for request in raw_batches(name, ids, vectors, metas):
        answer = connection.ask(request)
        if b'"error"' in answer:
            raise SystemExit(f"the server refused vectors: {answer[:500]!r}")


def raw_batches(
    name: str, ids: Sequence[str], vectors: Any, metas: Sequence[Any]
) -> Iterator[bytes]:
    """upsert_batch requests of BATCH vectors: a line of JSON and raw float32."""
    for start in range(0, len(ids), BATCH):
        part = slice(start, start + BATCH)
        head = msgspec.json.encode({"ids": ids[part], "metas": metas[part]})
        body = head + b"\n" + np.ascontiguousarray(vectors[part], "<f4").tobytes()
        yield protocols.http("POST", f"/v1/vector/{name}/upsert_batch", body, OCTETS)


def delete(connection: Connection, name: str, ids: Sequence[str]) -> None:
    """Delete vectors by id, in batches."""
    for start in range(0, len(ids), BATCH):
        body = protocols.compact({"ids": list(ids[start : start + BATCH])})
        connection.ask(protocols.http("POST", f"/v1/vector/{name}/delete_batch", body))


def look(server: Server, name: str) -> dict[str, Any]:
    """What the server says about a collection."""
    with Connection(server) as connection:
        found: dict[str, Any] = json.loads(
            connection.ask(protocols.http("GET", f"/v1/vector/{name}"))
        )
    return found


def settle(server: Server, name: str) -> float:
    """Wait until nothing is left to index or to tidy up; answers the seconds it took."""
    began = last_busy = time.monotonic()
    while time.monotonic() - last_busy < 0.5:
        found = look(server, name)
        now = time.monotonic()
        if found["tail"] >= TAIL_ROWS_MAX or found["upkeep"]["working"]:
            last_busy = now
        if now - began > SETTLE_SECS_MAX:
            raise SystemExit(f"the server is still busy with {name}: {found}")
        time.sleep(0.02)
    return last_busy - began


def json_search(name: str, query: Any, **wishes: Any) -> bytes:
    """One search, its vector as an array of numbers."""
    body = protocols.compact({"vector": numbers(query), "k": K, **wishes})
    return protocols.http("POST", f"/v1/vector/{name}/search", body)


def raw_search(name: str, query: Any, **wishes: Any) -> bytes:
    """One search, its vector as raw float32."""
    asked = "".join(f"&{key}={value}" for key, value in wishes.items())
    body = np.ascontiguousarray(query, "<f4").tobytes()
    return protocols.http("POST", f"/v1/vector/{name}/search?k={K}{asked}", body, OCTETS)


def hits(answer: bytes) -> list[str]:
    """The ids of an answer, best first."""
    return [hit["id"] for hit in json.loads(answer)["hits"]]


def search_all(server: Server, name: str, queries: Any, ef: int | None = None) -> list[list[str]]:
    """The ids found for each query, by one search each."""
    wishes = {} if ef is None else {"ef_search": ef}
    with Connection(server) as connection:
        return [hits(connection.ask(raw_search(name, query, **wishes))) for query in queries]


def numbers(vector: Any) -> list[float]:
    """A vector as JSON is to hold it: with no more digits than float32 has."""
    rounded: list[float] = np.round(vector.astype(np.float64), 9).tolist()
    return rounded
