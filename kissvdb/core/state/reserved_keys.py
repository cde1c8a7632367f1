"""Keys of the state that are the database's own: they show what it is made of.

There is one for each vector collection, ``vector:<collection>:manifest``. It is a view, and stored
nowhere.
"""

from kissvdb.errors import ReservedKey

PREFIX = "vector:"
_SUFFIX = ":manifest"


def manifest_key(collection: str) -> str:
    """The key that shows a collection."""
    return f"{PREFIX}{collection}{_SUFFIX}"


def collection_of(key: str) -> str | None:
    """The collection that a key shows, whether or not there is one; None for a user's key."""
    if key.startswith(PREFIX) and key.endswith(_SUFFIX):
        return key[len(PREFIX) : -len(_SUFFIX)]
    return None


def check_key(key: str) -> None:
    """Raises ReservedKey for a key that users cannot write."""
    name = collection_of(key)
    if name is not None:
        raise ReservedKey(
            f"key {key!r} shows the vector collection {name!r} and cannot be written: use another "
            f"key, or change the collection with /v1/vector/{name}"
        )
