"""Records: the facts the log holds. Everything else in the database is a view of these.

A record's payload is one msgpack array ``[tag, field, ...]``. Fields are only ever added at the
end, with a default, so that an older log stays readable. ``gc=False``: they hold no cycles, and the
collector need not walk the thousands that are in memory. ``op_id`` is the client's idempotency
key: it is part of the record so that a replay rebuilds the table of answered operations; the
``fingerprint`` beside it tells the operation from another one (see `core.batch`).
"""

from collections.abc import Iterable
from typing import Any, get_args

import msgspec


class Item(msgspec.Struct, frozen=True, gc=False):
    """A state key as it is stored. ``offset`` is that of the record that wrote it."""

    key: str
    value: bytes
    revision: int
    offset: int
    expires_at_ms: int | None = None


class KeyWritten(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag_field="record", tag="kw"
):
    """A state key got a new value. ``value`` is compact JSON text in UTF-8."""

    key: str
    value: bytes
    revision: int
    expires_at_ms: int | None = None
    op_id: str | None = None
    fingerprint: bytes | None = None


class KeyDeleted(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag_field="record", tag="kd"
):
    """A state key went away; ``reason`` is ``explicit`` or ``ttl``."""

    key: str
    reason: str
    op_id: str | None = None
    fingerprint: bytes | None = None


class EventPublished(
    msgspec.Struct, frozen=True, gc=False, array_like=True, tag_field="record", tag="ev"
):
    """A user event. ``data`` is compact JSON text in UTF-8."""

    type: str
    data: bytes
    key: str | None = None
    tags: tuple[str, ...] = ()
    op_id: str | None = None
    fingerprint: bytes | None = None


class CollectionCreated(msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="cc"):
    """A vector collection came to be, empty. ``ttl_ms`` is the default of its vectors.

    ``embedder`` is the name under which the configuration has what makes vectors of its texts, and
    ``embedder_model`` the model that was behind it. ``text`` is how its texts are searched: compact
    JSON. ``options`` is what the index was told beyond its kind: compact JSON.
    """

    collection: str
    dim: int
    metric: str
    index: str
    m: int
    ef_construction: int
    quantization: str
    ttl_ms: int | None = None
    created_at_ms: int = 0
    op_id: str | None = None
    embedder: str | None = None
    embedder_model: str | None = None
    text: bytes | None = None
    reindexed: int = 0
    options: bytes | None = None


class CollectionDeleted(msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="cd"):
    """A vector collection went away, and its vectors with it."""

    collection: str
    op_id: str | None = None


class VectorWritten(msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="vw"):
    """A vector as it is now, whole; ``kind`` is ``added``, ``upserted`` or ``updated``.

    ``vector`` is little-endian float32 as it was sent, ``meta`` compact JSON text in UTF-8,
    ``text`` what full text search finds it by.
    """

    kind: str
    collection: str
    id: str
    vector: bytes
    meta: bytes | None = None
    expires_at_ms: int | None = None
    op_id: str | None = None
    fingerprint: bytes | None = None
    text: str | None = None


class VectorDeleted(msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="vd"):
    """A vector went away; ``reason`` is ``explicit`` or ``ttl``."""

    collection: str
    id: str
    reason: str
    op_id: str | None = None
    fingerprint: bytes | None = None


class BatchCommitted(msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="bc"):
    """The next ``records`` records were written together, all or none. It stands before them.

    ``op_id`` is the batch's, and ``answers`` what it was answered (see `core.batch`), for a repeat.
    """

    records: int
    op_id: str | None = None
    fingerprint: bytes | None = None
    answers: str | None = None


class CollectionReplaced(
    msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="cr"
):
    """The vector collection ``by`` took the place and the name of ``collection``, whose own vectors
    went away: they are of another embedder now. Or the two are one: its vectors are the same, and
    have another index. ``options`` as in CollectionCreated; ``index`` None: an older kissvdb."""

    collection: str
    by: str
    dim: int
    metric: str
    embedder: str | None = None
    embedder_model: str | None = None
    index: str | None = None
    m: int = 0
    ef_construction: int = 0
    quantization: str = ""
    options: bytes | None = None


class CollectionReindexing(
    msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="cx"
):
    """The vectors of a collection are to have another index; ``index`` None: no more."""

    collection: str
    index: str | None = None
    m: int = 0
    ef_construction: int = 0
    quantization: str = ""
    options: bytes | None = None


class CollectionTuned(msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="ct"):
    """How hard searches of a collection try was measured, and set. ``options`` as in
    CollectionCreated; ``tuning``: what was measured, compact JSON."""

    collection: str
    options: bytes | None
    tuning: bytes


SqlValue = Any
"""What a SQLite column holds: None, int, float, str or bytes, and each is itself in msgpack."""


class SqlExecuted(msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="sx"):
    """SQL was executed: ``statements`` are the text of what changed the schema, in order, and the
    next ``changes`` records the rows that changed after that, each a `SqlChanged`.

    One transaction is one or more of these, and one append; ``together`` says how many records
    follow the first one. ``op_id``, ``fingerprint`` and ``answers`` are the transaction's, in its
    first record.
    """

    statements: tuple[str, ...]
    tables: tuple[str, ...]
    changes: int
    together: int = 0
    op_id: str | None = None
    fingerprint: bytes | None = None
    answers: str | None = None


class SqlChanged(msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="sc"):
    """A row of a table changed; ``op`` is ``insert``, ``update`` or ``delete``.

    The row is the one whose ``key_columns`` are ``key``. ``columns`` are the others: all that are
    stored, or, of an update, those that changed. ``old`` and ``new`` are their values, empty where
    there was no row, or is none any more.
    """

    table: str
    op: str
    key_columns: tuple[str, ...]
    key: tuple[SqlValue, ...]
    columns: tuple[str, ...]
    old: tuple[SqlValue, ...] = ()
    new: tuple[SqlValue, ...] = ()


class ApiKeyIssued(msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="ki"):
    """An API key came to be, or got another secret: the record is all that is known of the key.

    ``hash`` is of its secret text (see `core.keys.secret`). ``scopes`` and ``permissions`` are
    compact JSON: what it may touch (None: everything) and what its issuer wants to remember.
    ``former_hash`` is of the secret before, which works until ``former_until_ms``. ``limits`` are
    compact JSON (`core.quotas.KeyLimits`).
    """

    id: str
    name: str
    role: str
    hash: bytes
    created_at_ms: int
    scopes: bytes | None = None
    permissions: bytes = b"{}"
    expires_at_ms: int | None = None
    rotated_at_ms: int | None = None
    former_hash: bytes | None = None
    former_until_ms: int | None = None
    limits: bytes | None = None


class ApiKeyRevoked(msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="kr"):
    """An API key went away; ``reason`` is ``explicit`` or ``expired``."""

    id: str
    reason: str


Respecified = CollectionReplaced | CollectionReindexing | CollectionTuned
KeyRecord = ApiKeyIssued | ApiKeyRevoked
VectorRecord = CollectionCreated | CollectionDeleted | Respecified | VectorWritten | VectorDeleted
SqlRecord = SqlExecuted | SqlChanged
Record = (
    KeyWritten | KeyDeleted | EventPublished | VectorRecord | BatchCommitted | SqlRecord | KeyRecord
)

OFFSET_MAX = 2**63 - 1
"""Behind every record."""

KINDS: tuple[type[Record], ...] = get_args(Record)
"""All of them."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def tag_of(kind: type[Record]) -> bytes:
    """What stands at [1:4] of its payloads, if it has less than 15 fields: the tag follows the head
    of the array, as a text of two characters."""
    tag = kind.__struct_config__.tag
    assert isinstance(tag, str)
    assert len(tag) == 2
    assert len(kind.__struct_fields__) < 15
    return b"\xa2" + tag.encode()


_KEY_TAGS = (tag_of(KeyWritten), tag_of(KeyDeleted))


def encode(record: Record) -> bytes:
    """The log payload of a record."""
    return _encoder.encode(record)


def encode_all(records: Iterable[Record]) -> list[bytes]:
    """The log payloads of several records."""
    return list(map(_encoder.encode, records))


def decode(payload: bytes) -> Record:
    """The record of a log payload. Raises msgspec.DecodeError on anything else."""
    return _decoder.decode(payload)


def is_of_a_key(payload: bytes) -> bool:
    """Whether a log payload is a KeyWritten or a KeyDeleted: its tag tells, without decoding."""
    return payload[1:4] in _KEY_TAGS


class LogRecord(msgspec.Struct, frozen=True):
    """A record as the log holds it: ``ts_ms`` is Unix time in milliseconds."""

    offset: int
    ts_ms: int
    payload: bytes


class Operation(msgspec.Struct, frozen=True):
    """What is remembered of a write that carried an ``op_id``: enough to answer it again."""

    kind: str
    key: str
    offset: int
    revision: int = 0
    expires_at_ms: int | None = None
    fingerprint: bytes | None = None
    """None: an older kissvdb noted it."""
