"""Batches of vectors that say nothing but ids, numbers and metadata, as columns: most of all loads.

None everywhere means that an item wants to be looked at for itself: it says more, or it is wrong.
"""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from kissvdb.api.reading.json_body import DEPTH_MAX, compact_with, may_be_deep
from kissvdb.api.vectors.bodies import WriteBody
from kissvdb.config import Limits
from kissvdb.core.store.columns import UpsertMany
from kissvdb.core.store.spec import NAMESPACE_FIELD, NUMBER_MAX

Metas = tuple[Sequence[bytes | None], Sequence[Any]]
"""Compact JSON of each, and the same, decoded."""

_as_json = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_NULL, _NIL = b"null", b"\xc0"
_ARRAY = b"\xdd"
"""Of msgpack: the head of an array whose length is in the next four bytes."""


def of_items(
    items: Sequence[WriteBody], vectors: Any, dim: int, bounds: Limits, *, msgpack: bool
) -> UpsertMany | None:
    """The columns of upserts. ``vectors``: float32 [n, dim] of all, sound; None: the items have
    them. ``msgpack``: the form of their metadata, which is JSON else."""
    ids = [
        each.id
        for each in items
        if each.text is None
        and each.namespace is None
        and each.ttl_ms is None
        and each.op_id is None
        and not getattr(each, "if_changed", None)
    ]
    if len(ids) < len(items):
        return None
    if vectors is None:
        vectors = _vectors_of(items, dim)
    return of_columns(ids, vectors, [each.meta for each in items], bounds, msgpack=msgpack)


def of_columns(
    ids: Sequence[str],
    vectors: Any,
    metas: Sequence[msgspec.Raw | None] | None,
    bounds: Limits,
    *,
    msgpack: bool = False,
    absent: bool = False,
) -> UpsertMany | None:
    """The columns of these; of None is made None. ``metas`` None: nothing has any."""
    if vectors is None or not _are_plain(ids, bounds):
        return None
    if metas is None or all(meta is None for meta in metas):
        nothing = [None] * len(ids)
        return UpsertMany(ids, vectors, nothing, nothing, absent)
    null = _NIL if msgpack else _NULL
    texts = [null if meta is None else bytes(meta) for meta in metas]
    read = _read_packed(texts) if msgpack else compact_with(texts)
    found = None if read is None else _checked(*read, bounds)
    return None if found is None else UpsertMany(ids, vectors, *found, absent)


def vectors_in(numbers: bytes, count: int, dim: int) -> Any:
    """Float32 [count, dim] of little-endian bytes; None unless these are sound and as many."""
    if not dim or len(numbers) != 4 * count * dim:
        return None
    # A server without vectors starts faster without it.
    import numpy as np

    vectors = np.frombuffer(numbers, "<f4").reshape(count, dim)
    return vectors if np.abs(vectors).max() <= NUMBER_MAX else None


def _vectors_of(items: Sequence[WriteBody], dim: int) -> Any:
    parts: list[bytes] = []
    for each in items:
        given = each.vector if each.vector_b64 is None else each.vector_b64
        both = each.vector is not None and each.vector_b64 is not None
        if both or type(given) is not bytes or len(given) != 4 * dim:
            return None
        parts.append(given)
    return vectors_in(b"".join(parts), len(parts), dim)


def _are_plain(ids: Sequence[str], bounds: Limits) -> bool:
    sizes = set(map(len, ids))
    return min(sizes) > 0 and max(sizes) <= bounds.id_bytes_max and "".join(ids).isascii()


def _read_packed(metas: Sequence[bytes]) -> tuple[list[bytes], list[Any]] | None:
    packed = b"".join((_ARRAY, len(metas).to_bytes(4, "big"), *metas))
    try:
        text = _as_json(msgspec.msgpack.decode(packed)).encode()
        return list(map(bytes, _decode_raws(text))), msgspec.json.decode(text)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError):
        return None


def _checked(texts: list[bytes], documents: list[Any], bounds: Limits) -> Metas | None:
    longest = max(map(len, texts))
    if longest > bounds.json_bytes_max or len(texts) != len(documents):
        return None
    if longest > 2 * DEPTH_MAX and any(map(may_be_deep, texts)):
        return None
    if any(type(each) is dict and NAMESPACE_FIELD in each for each in documents):
        return None
    return [None if text == _NULL else text for text in texts], documents
