"""Bytes of any length in keys whose values have a limit.

A short blob lies in its key: ``{"d": base64}``. Of a longer one the key says where its pieces are,
``{"x": id, "n": pieces}``; they lie under ``<pieces><id>:<number>`` and are never changed, so that
they may be written before the key: until then nobody sees them, and a key that is written anew
points to pieces of its own.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from kissvdb.adapters.loads import load
from kissvdb.client import Client

PIECE_BYTES = 45_000
"""In base64 and with what is around it under the default of ``limits.json_bytes_max``, 64 KiB."""


@attrs.frozen
class Packed:
    """``value``: the members of the key's value. ``pieces``: operations to be done before it."""

    value: dict[str, Any]
    pieces: list[dict[str, Any]]


def pack(
    data: bytes, pieces: str, *, ttl_ms: int | None = None, inline: int = PIECE_BYTES
) -> Packed:
    """``pieces``: the prefix of their keys. ``inline``: the longest that lies in the key itself."""
    if len(data) <= inline:
        return Packed({"d": b64encode(data).decode()}, [])
    name = os.urandom(8).hex()
    operations = []
    for number, start in enumerate(range(0, len(data), PIECE_BYTES)):
        piece = b64encode(data[start : start + PIECE_BYTES]).decode()
        operations.append(put(f"{pieces}{name}:{number:06}", {"d": piece}, ttl_ms))
    return Packed({"x": name, "n": len(operations)}, operations)


def put(key: str, value: Any, ttl_ms: int | None = None, **conditions: Any) -> dict[str, Any]:
    """The operation that writes a key."""
    operation = {"op": "put", "key": key, "value": value, **conditions}
    if ttl_ms is not None:
        operation["ttl_ms"] = ttl_ms
    return operation


def unpack(
    client: Client, value: Mapping[str, Any], pieces: str, *, at: int | None = None
) -> bytes | None:
    """The bytes again; None where a piece is missing, as when all of it has just expired."""
    if "x" not in value:
        return b64decode(value["d"])
    found = [item.value["d"] for item in client.state.items(prefix_of(value, pieces), at=at)]
    if len(found) < value["n"]:
        return None
    return b"".join(b64decode(piece) for piece in found)


def prefix_of(value: Mapping[str, Any], pieces: str) -> str:
    """Under which the pieces of a long blob lie."""
    return f"{pieces}{value['x']}:"


class Blobs:
    """Named bytes: the keys ``<name>:k:...``, the pieces of long ones ``<name>:x:...``."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self._keys = f"{name}:k:"
        self._pieces = f"{name}:x:"

    def get(self, key: str) -> bytes | None:
        """The bytes, or None."""
        seen = None
        while (item := self._client.state.get(self._keys + key)) is not None:
            data = unpack(self._client, item.value, self._pieces)
            if data is not None or item.value == seen:
                return data
            # Pieces are missing: it has been written anew meanwhile, or they have just expired.
            seen = item.value
        return None

    def put(self, pairs: Iterable[tuple[str, bytes]], ttl_ms: int | None = None) -> None:
        """Set all of them, each for itself. A reader sees the former bytes or the new ones."""
        packed = [(key, pack(data, self._pieces, ttl_ms=ttl_ms)) for key, data in pairs]
        # Read first, for what a long one was made of is to go with it.
        former = self._pieces_of([key for key, _ in packed])
        load(self._client, (piece for _, each in packed for piece in each.pieces))
        load(self._client, (put(self._keys + key, each.value, ttl_ms) for key, each in packed))
        self._drop(former)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove them; what is not there is no error."""
        keys = list(keys)
        former = self._pieces_of(keys)
        load(self._client, ({"op": "delete", "key": self._keys + key} for key in keys))
        self._drop(former)

    def names(self, prefix: str = "") -> Iterator[str]:
        """The names that begin so, in order."""
        for item in self._client.state.items(self._keys + prefix):
            yield item.key[len(self._keys) :]

    def _pieces_of(self, keys: Iterable[str]) -> list[dict[str, Any]]:
        items = (self._client.state.get(self._keys + key) for key in keys)
        return [item.value for item in items if item is not None and "x" in item.value]

    def _drop(self, values: Iterable[Mapping[str, Any]]) -> None:
        for value in values:
            pieces = self._client.state.items(prefix_of(value, self._pieces))
            load(self._client, ({"op": "delete", "key": item.key} for item in pieces))
