"""Records: the facts the log holds. Everything else in the database is a view of these.

A record's payload is one msgpack array ``[tag, field, ...]``. Fields are only ever added at the
end, with a default, so that an older log stays readable. ``op_id`` is the client's idempotency
key: it is part of the record so that a replay rebuilds the table of answered operations.
"""

import msgspec


class Item(msgspec.Struct, frozen=True):
    """A state key as it is stored. ``offset`` is that of the record that wrote it."""

    key: str
    value: bytes
    revision: int
    offset: int
    expires_at_ms: int | None = None


class KeyWritten(msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="kw"):
    """A state key got a new value. ``value`` is compact JSON text in UTF-8."""

    key: str
    value: bytes
    revision: int
    expires_at_ms: int | None = None
    op_id: str | None = None


class KeyDeleted(msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="kd"):
    """A state key went away; ``reason`` is ``explicit`` or ``ttl``."""

    key: str
    reason: str
    op_id: str | None = None


class EventPublished(msgspec.Struct, frozen=True, array_like=True, tag_field="record", tag="ev"):
    """A user event. ``data`` is compact JSON text in UTF-8."""

    type: str
    data: bytes
    key: str | None = None
    tags: tuple[str, ...] = ()
    op_id: str | None = None


Record = KeyWritten | KeyDeleted | EventPublished

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def encode(record: Record) -> bytes:
    """The log payload of a record."""
    return _encoder.encode(record)


def decode(payload: bytes) -> Record:
    """The record of a log payload. Raises msgspec.DecodeError on anything else."""
    return _decoder.decode(payload)


class Operation(msgspec.Struct, frozen=True):
    """What is remembered of a write that carried an ``op_id``: enough to answer it again."""

    kind: str
    key: str
    offset: int
    revision: int = 0
    expires_at_ms: int | None = None


class Committed(msgspec.Struct, frozen=True):
    """A record with its place in the log: global ``offset`` (from 1) and Unix time in ms.

    ``payload_bytes`` is its size in the log.
    """

    offset: int
    ts_ms: int
    record: Record
    payload_bytes: int
