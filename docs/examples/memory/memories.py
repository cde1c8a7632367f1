"""Memories of an agent: kept as the MCP tools keep them, so both may share a collection.

A memory is a document, and a vector of the same collection, written in one batch: never one without
the other. What is true no longer is superseded: kept, told by `as_of`, and recalled no more.
"""

import contextlib
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

from kissvdb.client import Client
from kissvdb.errors import AlreadyExists

CHANGES = """
SELECT "offset", type, key, data FROM events
WHERE "offset" > ? AND key >= ? AND key < ? AND type IN ('state_updated', 'state_deleted')
ORDER BY "offset" LIMIT 1000"""


@dataclass(frozen=True)
class Memory:
    """One fact."""

    id: str
    text: str
    meta: dict[str, Any] = field(default_factory=dict)
    remembered_at: str = ""
    score: float = 0.0


class Memories:
    """Of one collection. Needs an embedder on the server."""

    def __init__(self, client: Client, collection: str = "memories") -> None:
        self.client = client
        self.collection = collection
        with contextlib.suppress(AlreadyExists):
            client.vector.create(collection, embedder="default")

    def remember(
        self,
        text: str,
        *,
        id: str | None = None,
        supersedes: str | None = None,
        ttl_ms: int | None = None,
        **meta: Any,
    ) -> str:
        """Keep a fact; its id. ``supersedes``: the id of the one that it takes the place of."""
        id = id or f"{time.time_ns() // 1_000_000:011x}-{token_hex(4)}"
        kept = {"remembered_at": datetime.now(UTC).isoformat(timespec="milliseconds"), "meta": meta}
        named = {"collection": self.collection, "id": id}
        ends = {"ttl_ms": ttl_ms} if ttl_ms else {}
        conditions = []
        operations: list[dict[str, Any]] = [
            {"op": "doc_put", **named, "doc": {"text": text, **kept}, **ends},
            {"op": "upsert", **named, "text": text, "meta": kept, **ends},
        ]
        if supersedes is not None:
            former = {"collection": self.collection, "id": supersedes}
            operations.append({"op": "doc_patch", **former, "patch": {"superseded_by": id}})
            if self.client.vector.get(self.collection, supersedes) is not None:
                operations.append({"op": "vector_delete", **former})
            # Without it the patch would make a document of its own.
            conditions = [{"documents": self.collection, "id": supersedes, "if_absent": False}]
        self.client.batch(operations, preconditions=conditions)
        return id

    def recall(
        self, query: str, k: int = 5, *, min_score: float = 0.2, **meta: Any
    ) -> list[Memory]:
        """The best memories about something, by words and meaning; with ``meta`` only those."""
        filters = {f"meta.{name}": value for name, value in meta.items()} or None
        hits = self.client.vector.search(
            self.collection,
            text=query,
            k=k,
            filters=filters,
            include_text=True,
            min_score=min_score,
        )
        return [
            Memory(hit.id, hit.text or "", hit.meta["meta"], hit.meta["remembered_at"], hit.score)
            for hit in hits
        ]

    def forget(self, id: str) -> bool:
        """Delete a memory for good; whether there was one."""
        named = {"collection": self.collection, "id": id}
        operations = [{"op": "doc_delete", **named}]
        if self.client.vector.get(self.collection, id) is not None:
            operations.append({"op": "vector_delete", **named})
        return bool(self.client.batch(operations).results[0].deleted)

    def as_of(self, offset: int) -> list[Memory]:
        """What was remembered when this offset was the newest."""
        prefix = f"doc:{self.collection}:"
        return [
            _memory(item.key.removeprefix(prefix), item.value)
            for item in self.client.state.items(prefix, at=offset)
            if "superseded_by" not in item.value
        ]

    def changed_since(self, offset: int) -> list[tuple[int, str, Memory | str]]:
        """In order: the offset, what happened (remembered, superseded, forgotten), and the memory,
        or the id of what is gone. Ask again with the last offset for what comes later."""
        prefix = f"doc:{self.collection}:"
        # What begins with the prefix lies between it and the same with the character after ":".
        bounds = [offset, prefix, prefix[:-1] + ";"]
        found: list[tuple[int, str, Memory | str]] = []
        for row in self.client.sql.query(CHANGES, bounds):
            id, data = row["key"].removeprefix(prefix), json.loads(row["data"])
            if row["type"] == "state_deleted":
                found.append((row["offset"], "forgotten", id))
                continue
            what = "superseded" if "superseded_by" in data["value"] else "remembered"
            found.append((row["offset"], what, _memory(id, data["value"])))
        return found


def _memory(id: str, doc: dict[str, Any]) -> Memory:
    return Memory(id, doc["text"], doc.get("meta", {}), doc.get("remembered_at", ""))
