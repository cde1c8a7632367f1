"""What an item of the store is at the server: a document, and a vector for each text of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
from langgraph.store.base import Item, SearchItem

from kissvdb.client import Document
from kissvdb.client.results import float32

Namespace = tuple[str, ...]
Condition = dict[str, Any]


@attrs.frozen
class Text:
    """A text that an item is found by; ``vector`` None: the server makes it."""

    path: str
    text: str
    vector: Sequence[float] | None = None


@attrs.frozen
class Change:
    """An item as it is to be; ``value`` None: gone."""

    namespace: Namespace
    key: str
    value: Mapping[str, Any] | None
    texts: Sequence[Text]
    ttl_minutes: float | None

    @property
    def id(self) -> str:
        """Of its document."""
        return id_of(self.namespace, self.key)


def id_of(namespace: Namespace, key: str) -> str:
    """Namespaces and keys may be of any length and in any script."""
    return hashlib.sha256(json.dumps([*namespace, key]).encode()).hexdigest()[:40]


def path_of(namespace: Namespace) -> str:
    """Labels have no periods, so one path begins with another only if the namespace does."""
    return "".join(label + "." for label in namespace)


def namespace_of(path: str) -> Namespace:
    """The other way."""
    return tuple(path.split(".")[:-1])


def operations(change: Change, name: str, old: Document | None) -> list[dict[str, Any]]:
    """What makes the item so, if it is as it was read (``old``)."""
    document: dict[str, Any] = {"collection": name, "id": change.id}
    document["if_revision"] = 0 if old is None else old.revision
    former = set() if old is None else set(old.doc["vectors"])
    if change.value is None:
        done = [] if old is None else [{"op": "doc_delete", **document}]
        return [*done, *map(vector_delete(name), sorted(former))]
    now = datetime.now(UTC).isoformat()
    body = {
        "ns": path_of(change.namespace),
        "key": change.key,
        "value": dict(change.value),
        "created": now if old is None else old.doc["created"],
        "updated": now,
    }
    vectors = {f"{change.id}:{number}": text for number, text in enumerate(change.texts)}
    whole = {**body, "ttl": change.ttl_minutes, "vectors": list(vectors)}
    lives = {} if change.ttl_minutes is None else {"ttl_ms": milliseconds(change.ttl_minutes)}
    made = [{"op": "doc_put", **document, "doc": whole, **lives}]
    for id, text in vectors.items():
        meta = {**body, "item": change.id, "path": text.path}
        upsert = {"op": "upsert", "collection": name, "id": id, "meta": meta, **lives}
        if text.vector is None:
            upsert["text"] = text.text
        else:
            upsert["vector"] = float32(text.vector)
        made.append(upsert)
    return [*made, *map(vector_delete(name), sorted(former - set(vectors)))]


def vector_delete(name: str) -> Any:
    """Of an id, the operation that removes it."""
    return lambda id: {"op": "vector_delete", "collection": name, "id": id}


def refreshing(document: Document, name: str) -> list[dict[str, Any]]:
    """What begins an item's time to live anew."""
    minutes = document.doc.get("ttl")
    if minutes is None:
        return []
    lives = {"collection": name, "ttl_ms": milliseconds(minutes)}
    # Not over another write, which has its own time.
    over = {"if_revision": document.revision, "patch": {}}
    vectors = [{"op": "update", "id": id, **lives} for id in document.doc["vectors"]]
    return [{"op": "doc_patch", "id": document.id, **over, **lives}, *vectors]


def milliseconds(minutes: float) -> int:
    """At least one."""
    return max(1, int(minutes * 60_000))


def item_of(body: Mapping[str, Any]) -> Item:
    """From a document."""
    return Item(
        value=body["value"],
        key=body["key"],
        namespace=namespace_of(body["ns"]),
        created_at=datetime.fromisoformat(body["created"]),
        updated_at=datetime.fromisoformat(body["updated"]),
    )


def found_item(body: Mapping[str, Any], score: float | None = None) -> SearchItem:
    """From a document, or from what a vector says about its item."""
    item = item_of(body)
    return SearchItem(item.namespace, item.key, item.value, item.created_at, item.updated_at, score)


def conditions(namespace: Namespace, filter: Mapping[str, Any] | None) -> Condition:
    """The filter of the server for items below a namespace whose value passes. A member of
    ``filter`` is a value to equal, operators (``$gt``), or an object that the other contains."""
    wanted: list[Condition] = []
    if namespace:
        wanted.append({"ns": {"$prefix": path_of(namespace)}})
    for name, value in (filter or {}).items():
        wanted += _compared(f"value.{name}", value)
    return {"$and": wanted} if wanted else {}


def _compared(path: str, value: Any) -> list[Condition]:
    if value is None:
        return [{"$or": [{path: {"$eq": None}}, {path: {"$exists": False}}]}]
    if not isinstance(value, dict):
        return [{path: {"$eq": value}}]
    if any(name.startswith("$") for name in value):
        return [{path: value}]
    found = [each for name, inner in value.items() for each in _compared(f"{path}.{name}", inner)]
    return found or [{path: {"$exists": True}}]
