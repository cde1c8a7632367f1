"""The operations of /v1/bulk: their types, and how one becomes a command."""

import json
from typing import Any

import msgspec

from kissvdb.api import limits
from kissvdb.api.json_body import compact, explain
from kissvdb.api.preconditions import precondition
from kissvdb.config import Limits
from kissvdb.core.events import Publish
from kissvdb.core.state import ALWAYS, Command, Delete, Patch, Precondition, Put
from kissvdb.errors import InvalidArgument, KissError

OP_ID_BYTES_MAX = 128

Outcome = Command | KissError


class _Line(msgspec.Struct, tag_field="op"):
    def command(self, bounds: Limits) -> Command:
        """The command, checked. Raises Refused errors that name the field."""
        raise AssertionError


class PutLine(_Line, tag="put"):
    """Set a key."""

    key: str
    value: msgspec.Raw
    ttl_ms: int | None = None
    if_revision: int | None = None
    if_offset: int | None = None
    op_id: str | None = None

    def command(self, bounds: Limits) -> Command:
        limits.check_key(self.key, bounds)
        limits.check_ttl(self.ttl_ms, "ttl_ms")
        value = compact(self.value, "value")
        limits.check_json_size(value, bounds, "value")
        condition = _condition(self.if_revision, self.if_offset)
        return Put(self.key, value, self.ttl_ms, condition, _op_id(self.op_id))


class PatchLine(_Line, tag="patch"):
    """Merge a patch (RFC 7396) into a key's value."""

    key: str
    patch: msgspec.Raw
    ttl_ms: int | None = None
    if_revision: int | None = None
    if_offset: int | None = None
    op_id: str | None = None

    def command(self, bounds: Limits) -> Command:
        limits.check_key(self.key, bounds)
        limits.check_ttl(self.ttl_ms, "ttl_ms")
        patch = compact(self.patch, "patch")
        limits.check_json_size(patch, bounds, "patch")
        condition = _condition(self.if_revision, self.if_offset)
        return Patch(self.key, patch, self.ttl_ms, condition, _op_id(self.op_id))


class DeleteLine(_Line, tag="delete"):
    """Remove a key."""

    key: str
    if_revision: int | None = None
    if_offset: int | None = None
    op_id: str | None = None

    def command(self, bounds: Limits) -> Command:
        limits.check_key(self.key, bounds)
        condition = _condition(self.if_revision, self.if_offset)
        return Delete(self.key, condition, _op_id(self.op_id))


class EventLine(_Line, tag="event"):
    """Append a user event."""

    type: str
    data: msgspec.Raw
    key: str | None = None
    tags: list[str] | None = None
    op_id: str | None = None

    def command(self, bounds: Limits) -> Command:
        limits.check_event_type(self.type, bounds)
        if self.key is not None:
            limits.check_key(self.key, bounds)
        tags = limits.check_tags(self.tags, bounds)
        data = compact(self.data, "data")
        limits.check_json_size(data, bounds, "data")
        return Publish(self.type, data, self.key, tags, op_id=_op_id(self.op_id))


Line = PutLine | PatchLine | DeleteLine | EventLine

_decode = msgspec.json.Decoder(Line).decode


def read_line(line: bytes, bounds: Limits) -> Outcome:
    """The command of one line of JSON, or what is wrong with it."""
    try:
        try:
            command: Command = _decode(line).command(bounds)
            return command
        except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
            explain(problem, line, "line")
    except KissError as refusal:
        return refusal


def read_map(operation: Any, bounds: Limits) -> Outcome:
    """The same for one operation that came as msgpack: its values become JSON."""
    try:
        return read_line(json.dumps(operation, allow_nan=False).encode(), bounds)
    except (TypeError, ValueError, RecursionError) as problem:
        return InvalidArgument(f"operation: has no form in JSON ({problem})")


def _condition(if_revision: int | None, if_offset: int | None) -> Precondition:
    if if_revision is None and if_offset is None:
        return ALWAYS
    limits.check_u64(if_revision, "if_revision")
    limits.check_u64(if_offset, "if_offset")
    return precondition({}, if_revision, if_offset, lambda: None)


def _op_id(op_id: str | None) -> str | None:
    if op_id is not None and not 0 < limits.utf8_length(op_id) <= OP_ID_BYTES_MAX:
        raise InvalidArgument(f"op_id: must have 1 to {OP_ID_BYTES_MAX} bytes")
    return op_id
