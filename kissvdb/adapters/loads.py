"""Many operations, of which none may be refused."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from kissvdb.client import Client
from kissvdb.client.errors import of_body

PART = 1000
"""Operations a request: of one load no more refusals than that are told, and all must be seen."""


def load(client: Client, operations: Iterable[Mapping[str, Any]], *, forgive: str = "") -> int:
    """Do all of them, each for itself; how many were done. ``forgive``: the code of a refusal that
    is none here, as ``not_found`` of a deletion. Raises what the first other one was refused with.
    """
    remaining, done = iter(operations), 0
    while part := list(islice(remaining, PART)):
        loaded = client.bulk(part, progress=False)
        for refusal in loaded.refusals:
            if refusal.code != forgive:
                raise of_body(0, refusal.code, refusal.message)
        done += loaded.done
    return done


def delete_keys(client: Client, prefix: str) -> int:
    """Remove all keys with this prefix; how many there were."""
    keys = (item.key for item in client.state.items(prefix))
    return load(client, ({"op": "delete", "key": key} for key in keys))
