"""Keys of the state that mean something: documents, and keys that are the database's own.

``doc:<collection>:<id>`` is a document. No name of a collection has a colon, so a key is of one
document, whatever its id holds. Anybody may write it, as a document or as a key.

Reserved are, for each vector collection, ``vector:<collection>:manifest``, a view that is stored
nowhere; and ``docs:<collection>:manifest``, the settings of a collection of documents, which is
written by what changes these.
"""

import re
from functools import lru_cache

from kissvdb.errors import ReservedKey

PREFIX = "vector:"
DOCUMENT_PREFIX = "doc:"
SETTINGS_PREFIX = "docs:"
WATCHED = (PREFIX, "doc")
"""All these keys begin so: one look tells the others apart."""
_SUFFIX = ":manifest"

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
COLLECTION_BYTES_MAX = 255
"""Of any name: it also names a directory. `limits.collection_bytes_max` may want less."""


@lru_cache(4096)
def is_name(collection: str) -> bool:
    """Whether a collection, of vectors or of documents, can have this name."""
    return len(collection) <= COLLECTION_BYTES_MAX and _NAME.fullmatch(collection) is not None


def manifest_key(collection: str) -> str:
    """The key that shows a vector collection."""
    return f"{PREFIX}{collection}{_SUFFIX}"


def collection_of(key: str) -> str | None:
    """The vector collection that a key shows, whether or not there is one; None for another."""
    if key.startswith(PREFIX) and key.endswith(_SUFFIX):
        return key[len(PREFIX) : -len(_SUFFIX)]
    return None


def document_prefix(collection: str) -> str:
    """How the keys of a collection's documents begin."""
    return f"{DOCUMENT_PREFIX}{collection}:"


def document_key(collection: str, id_: str) -> str:
    """The key of a document."""
    return f"{DOCUMENT_PREFIX}{collection}:{id_}"


def document_of(key: str) -> tuple[str, str] | None:
    """The collection and the id of a document; None for a key that is none."""
    if not key.startswith(DOCUMENT_PREFIX):
        return None
    collection, _, id_ = key[len(DOCUMENT_PREFIX) :].partition(":")
    return (collection, id_) if id_ and is_name(collection) else None


def settings_key(collection: str) -> str:
    """The key that holds the settings of a collection of documents."""
    return f"{SETTINGS_PREFIX}{collection}{_SUFFIX}"


def settings_of(key: str) -> str | None:
    """The collection of documents whose settings a key holds; None for another key."""
    if key.startswith(SETTINGS_PREFIX) and key.endswith(_SUFFIX):
        collection = key[len(SETTINGS_PREFIX) : -len(_SUFFIX)]
        return collection if is_name(collection) else None
    return None


def check_key(key: str) -> None:
    """Raises ReservedKey for a key that users cannot write."""
    if key.startswith(DOCUMENT_PREFIX):
        return
    name = collection_of(key)
    if name is not None:
        raise ReservedKey(
            f"key {key!r} shows the vector collection {name!r} and cannot be written: use another "
            f"key, or change the collection with /v1/vector/{name}"
        )
    name = settings_of(key)
    if name is not None:
        raise ReservedKey(
            f"key {key!r} holds the settings of the documents {name!r} and cannot be written: use "
            f"another key, or change the settings with PUT /v1/doc/{name}"
        )
