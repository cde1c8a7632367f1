"""Collections as keys of the state: what ``vector:<collection>:manifest`` shows."""

from typing import Any

import msgspec

from kissvdb.core.state.reserved_keys import manifest_key
from kissvdb.core.state.rules import Item
from kissvdb.core.store.spec import CollectionSpec


def content(spec: CollectionSpec) -> dict[str, Any]:
    """What is shown of a collection."""
    shown: dict[str, Any] = {
        "collection": spec.name,
        "dim": spec.dim,
        "metric": spec.metric,
        "created_at_ms": spec.created_at_ms,
        "updated_at_ms": spec.created_at_ms,
    }
    if spec.embedder is not None:
        shown |= {"embedder": spec.embedder, "embedder_model": spec.embedder_model}
    return shown


def item(spec: CollectionSpec, created_offset: int) -> Item:
    """A collection as a key, of a new revision whenever it got another embedder."""
    return Item(
        manifest_key(spec.name),
        msgspec.json.encode(content(spec)),
        1 + spec.reindexed,
        created_offset,
    )


def was_ours(stored: Item, collection: str) -> bool:
    """Whether a key that is stored was written by an earlier version, which stored manifests, and
    not by a user."""
    try:
        value = msgspec.json.decode(stored.value)
    except msgspec.DecodeError:
        # A number that is too large for a float: JSON, but nothing we wrote.
        return False
    names = {"collection", "dim", "metric", "created_at_ms", "updated_at_ms"}
    return isinstance(value, dict) and set(value) == names and value["collection"] == collection
