"""The keys and collections of a running server, for a shell that completes a word.

A person waits for it with a finger on a key: it asks once, waits for little, and whatever goes
wrong is nothing to complete.
"""

from collections.abc import Iterable

import msgspec

from kissvdb.client import Client, Config
from kissvdb.errors import KissError

TIMEOUT_SECS = 1.5
VALUES_MAX = 200


def found(kind: str, prefix: str, url: str | None, key: str | None) -> list[str]:
    """At most VALUES_MAX that begin so. Keys are listed up to the next separator, as paths are."""
    try:
        config = msgspec.structs.replace(Config.from_env(), timeout_secs=TIMEOUT_SECS, retries=0)
        with Client(url, key, config=config) as client:
            if kind == "keys":
                items, _ = client.state.list(prefix, limit=VALUES_MAX)
                names: Iterable[str] = (item.key for item in items)
            else:
                listed = client.vector.collections() if kind == "vectors" else _documents(client)
                names = (str(each["collection"]) for each in listed)
            return [name for name in names if name.startswith(prefix) and name.isprintable()][
                :VALUES_MAX
            ]
    except (KissError, OSError, ValueError):
        return []


def _documents(client: Client) -> list[dict[str, object]]:
    return client.doc.collections()
