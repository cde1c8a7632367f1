"""The operations of /v1/bulk: their types, and how one becomes a command."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from kissvdb.api.documents.names import key_of
from kissvdb.api.documents.texts import document_of
from kissvdb.api.events.plain import sound
from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.preconditions import precondition
from kissvdb.api.reading.fields import is_about_unknown, known_only
from kissvdb.api.reading.json_body import MARK, compact, has_mark
from kissvdb.api.reading.json_problems import explain
from kissvdb.api.sql.values import params_of
from kissvdb.api.vectors.bodies import NO_JSON
from kissvdb.api.vectors.forms import json_metadata, packed, vector_of, vector_or_none
from kissvdb.config import Limits
from kissvdb.core.events.publishing import Publish
from kissvdb.core.rows import rules as collection
from kissvdb.core.sql.commands import SqlCommand, Statement
from kissvdb.core.state.rules import ALWAYS, Delete, Patch, Precondition, Put
from kissvdb.core.state.rules import Command as StateCommand
from kissvdb.engine.vectors.collection import VectorCommand
from kissvdb.engine.vectors.model import check_name
from kissvdb.errors import InvalidArgument, KissError, NotEnabled
from kissvdb.records import EventPublished

Command = StateCommand | VectorCommand | SqlCommand
Outcome = Command | KissError

SQL_IS_OFF = "SQL is switched off: start the server with SQLITE_ENABLED=1 (sql.enabled = true)"


class _Line(msgspec.Struct, tag_field="op", forbid_unknown_fields=True):
    def command(self, bounds: Limits) -> Command:
        """The command, checked. Raises Refused errors that name the field."""
        raise AssertionError


class _KeepingLine(_Line):
    """A line whose JSON is kept as it is, but for whitespace."""

    def kept(self) -> bytes:
        """That JSON, as it came."""
        raise AssertionError

    def command(self, bounds: Limits, text: bytes | None = None) -> Command:
        """As that of every line. ``text``: what is kept, if it is known to be compact, sound and
        not too deep."""
        raise AssertionError


class PutLine(_KeepingLine, tag="put"):
    """Set a key."""

    key: str
    value: msgspec.Raw
    ttl_ms: int | None = None
    if_revision: int | None = None
    if_offset: int | None = None
    op_id: str | None = None

    def kept(self) -> bytes:
        return bytes(self.value)

    def command(self, bounds: Limits, text: bytes | None = None) -> Command:
        limits.check_key(self.key, bounds)
        limits.check_ttl(self.ttl_ms, "ttl_ms")
        text = compact(self.value, "value") if text is None else text
        limits.check_json_size(text, bounds, "value")
        condition = _condition(self.if_revision, self.if_offset)
        return Put(self.key, text, self.ttl_ms, condition, limits.checked_op_id(self.op_id))


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
        return Patch(self.key, patch, self.ttl_ms, condition, limits.checked_op_id(self.op_id))


class DeleteLine(_Line, tag="delete"):
    """Remove a key."""

    key: str
    if_revision: int | None = None
    if_offset: int | None = None
    op_id: str | None = None

    def command(self, bounds: Limits) -> Command:
        limits.check_key(self.key, bounds)
        condition = _condition(self.if_revision, self.if_offset)
        return Delete(self.key, condition, limits.checked_op_id(self.op_id))


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
        return Publish(self.type, data, self.key, tags, op_id=limits.checked_op_id(self.op_id))


class _PlainEventLine(msgspec.Struct, tag_field="op", tag="event", forbid_unknown_fields=True):
    """What most events are."""

    type: str
    data: msgspec.Raw
    key: str | None = None
    tags: list[str] | None = None


class UpsertLine(_Line, tag="upsert"):
    """Write a vector of a collection, whole. The numbers: an array, or base64 of float32; with an
    embedder a ``text`` in their place. ``if_changed``: not where the id has this text and meta
    already."""

    collection: str
    id: str
    vector: list[float] | bytes | None = None
    vector_b64: bytes | None = None
    text: str | None = None
    meta: msgspec.Raw = NO_JSON
    namespace: str | None = None
    ttl_ms: int | None = None
    op_id: str | None = None
    if_changed: bool | None = None

    def command(self, bounds: Limits) -> VectorCommand:
        limits.check_id(self.id, bounds)
        limits.check_ttl(self.ttl_ms, "ttl_ms")
        vector = vector_or_none(self.vector, self.vector_b64, self.text, "line")
        limits.check_text(self.text, bounds)
        meta = json_metadata(self.meta, self.namespace, bounds, "line")
        op_id = limits.checked_op_id(self.op_id)
        upsert = collection.Upsert(self.id, vector or b"", meta, self.ttl_ms, op_id, self.text)
        return VectorCommand(self.collection, upsert, bool(self.if_changed))


class AddLine(UpsertLine, tag="add"):
    """Write a vector under an id that has none; else as `UpsertLine`."""

    def command(self, bounds: Limits) -> VectorCommand:
        if self.if_changed:
            raise InvalidArgument("if_changed: belongs to an upsert: leave it out")
        upsert = super().command(bounds)
        fields = msgspec.structs.asdict(upsert.command)
        return msgspec.structs.replace(upsert, command=collection.Add(**fields))


class UpdateLine(_Line, tag="update"):
    """Replace the parts of a vector that are there; ``meta`` whole. With an embedder a new
    ``text`` brings a new vector."""

    collection: str
    id: str
    vector: list[float] | bytes | None = None
    vector_b64: bytes | None = None
    text: str | None = None
    meta: msgspec.Raw = NO_JSON
    namespace: str | None = None
    ttl_ms: int | None = None
    op_id: str | None = None

    def command(self, bounds: Limits) -> VectorCommand:
        limits.check_id(self.id, bounds)
        limits.check_ttl(self.ttl_ms, "ttl_ms")
        vector = vector_of(self.vector, self.vector_b64, "line")
        limits.check_text(self.text or None, bounds)
        meta = json_metadata(self.meta, self.namespace, bounds, "line")
        op_id = limits.checked_op_id(self.op_id)
        update = collection.Update(self.id, vector, meta, self.ttl_ms, op_id, self.text)
        return VectorCommand(self.collection, update)


class VectorDeleteLine(_Line, tag="vector_delete"):
    """Remove a vector of a collection."""

    collection: str
    id: str
    op_id: str | None = None

    def command(self, bounds: Limits) -> VectorCommand:
        limits.check_id(self.id, bounds)
        delete = collection.Delete(self.id, limits.checked_op_id(self.op_id))
        return VectorCommand(self.collection, delete)


class DocPutLine(_KeepingLine, tag="doc_put"):
    """Write a document of a collection, whole."""

    collection: str
    id: str
    doc: msgspec.Raw
    ttl_ms: int | None = None
    if_revision: int | None = None
    if_offset: int | None = None
    op_id: str | None = None

    def kept(self) -> bytes:
        return bytes(self.doc)

    def command(self, bounds: Limits, text: bytes | None = None) -> Command:
        key = _document_key(self.collection, self.id, bounds)
        limits.check_ttl(self.ttl_ms, "ttl_ms")
        text = document_of(self.doc, bounds, "doc") if text is None else text
        limits.check_json_size(text, bounds, "doc")
        condition = _condition(self.if_revision, self.if_offset)
        return Put(key, text, self.ttl_ms, condition, limits.checked_op_id(self.op_id))


class DocPatchLine(_Line, tag="doc_patch"):
    """Merge a patch (RFC 7396) into a document of a collection."""

    collection: str
    id: str
    patch: msgspec.Raw
    ttl_ms: int | None = None
    if_revision: int | None = None
    if_offset: int | None = None
    op_id: str | None = None

    def command(self, bounds: Limits) -> Command:
        key = _document_key(self.collection, self.id, bounds)
        limits.check_ttl(self.ttl_ms, "ttl_ms")
        patch = document_of(self.patch, bounds, "patch")
        condition = _condition(self.if_revision, self.if_offset)
        return Patch(key, patch, self.ttl_ms, condition, limits.checked_op_id(self.op_id))


class DocDeleteLine(_Line, tag="doc_delete"):
    """Remove a document of a collection."""

    collection: str
    id: str
    if_revision: int | None = None
    if_offset: int | None = None
    op_id: str | None = None

    def command(self, bounds: Limits) -> Command:
        key = _document_key(self.collection, self.id, bounds)
        condition = _condition(self.if_revision, self.if_offset)
        return Delete(key, condition, limits.checked_op_id(self.op_id))


class SqlLine(_Line, tag="sql"):
    """Execute a SQL statement that writes."""

    sql: str
    params: list[Any] | dict[str, Any] | None = None
    op_id: str | None = None

    def command(self, bounds: Limits) -> SqlCommand:
        statement = Statement(self.sql, params_of(self.params))
        return SqlCommand((statement,), limits.checked_op_id(self.op_id))


_Documents = DocPutLine | DocPatchLine | DocDeleteLine
_Keys = PutLine | PatchLine | DeleteLine
_Vectors = UpsertLine | AddLine | UpdateLine | VectorDeleteLine
Line = _Keys | EventLine | _Vectors | _Documents | SqlLine

_decode: Callable[[bytes], Line] = msgspec.json.Decoder(Line).decode
_decode_event = msgspec.json.Decoder(_PlainEventLine).decode


def read_line(context: Context, line: bytes, numbers: Any = None) -> Outcome:
    """The command of one line of JSON, or what is wrong with it. ``numbers``: its vector, when it
    came beside the line."""
    try:
        try:
            operation = _operation(line, context.strict)
            if numbers is not None and isinstance(operation, UpsertLine | UpdateLine):
                operation.vector = packed(numbers, "vector")
            if isinstance(operation, SqlLine) and not context.config.sql.enabled:
                raise NotEnabled(SQL_IS_OFF)
            command: Command = operation.command(context.config.limits)
            return command
        except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
            if has_mark(line):
                return read_line(context, line[len(MARK) :], numbers)
            explain(problem, line, "line", Line)
    except KissError as refusal:
        return refusal


def is_event(line: object) -> bool:
    """Whether a line begins as those of events do."""
    return type(line) is bytes and line.startswith(b'{"op":"event"')


def read_events(context: Context, lines: Sequence[bytes]) -> list[EventPublished] | None:
    """What is to be logged of some lines, if all are events as most are: a tenth of what
    `read_line` of each takes, and all that comes of it. None: they are not, or one is not right."""
    bounds = context.config.limits
    try:
        found = list(map(_decode_event, lines))
        checked = sound(found, bounds)
        if checked is None:
            return None
        types, texts = checked
        events = []
        for each, text in zip(found, texts, strict=True):
            if each.key is not None:
                limits.check_key(each.key, bounds)
            tags = limits.check_tags(each.tags, bounds) if each.tags else ()
            events.append(EventPublished(types[each.type], text, each.key, tags))
    except (KissError, msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return events


def read_lines(context: Context, lines: Sequence[bytes]) -> list[Outcome]:
    """`read_line` of each of many lines, for half of the time where their JSON is compact."""
    from kissvdb.api.reading.plain_texts import plain_texts

    outcomes: list[Any] = []
    for line in lines:
        try:
            outcomes.append(_operation(line, context.strict))
        except (KissError, msgspec.MsgspecError, ValueError, RecursionError):
            outcomes.append(None)
    bounds = context.config.limits
    keeping = [n for n, each in enumerate(outcomes) if isinstance(each, _KeepingLine)]
    texts = [outcomes[n].kept() for n in keeping]
    plain = plain_texts(texts, bounds.document_fields_max, bounds.document_depth_max)
    known = {n: text for n, text, is_plain in zip(keeping, texts, plain, strict=True) if is_plain}
    for n, line in enumerate(lines):
        text = known.get(n)
        if text is None:
            outcomes[n] = read_line(context, line)
            continue
        try:
            outcomes[n] = outcomes[n].command(bounds, text)
        except KissError as refusal:
            outcomes[n] = refusal
    return outcomes


def read_map(context: Context, operation: Any) -> Outcome:
    """The same for one operation that came as msgpack: its values become JSON, but for vectors."""
    numbers = operation.pop("vector", None) if isinstance(operation, dict) else None
    try:
        return read_line(context, json.dumps(operation, allow_nan=False).encode(), numbers)
    except (TypeError, ValueError, RecursionError) as problem:
        return InvalidArgument(f"operation: has no form in JSON ({problem})")


def _operation(line: bytes, strict: bool) -> Line:
    try:
        return _decode(line)
    except msgspec.ValidationError as problem:
        if not is_about_unknown(problem):
            raise
    return _decode(known_only(line, Line, "line", msgspec.json, strict=strict))


def _document_key(collection: str, id_: str, bounds: Limits) -> str:
    check_name(collection, bounds)
    return key_of(collection, id_, bounds)


def _condition(if_revision: int | None, if_offset: int | None) -> Precondition:
    if if_revision is None and if_offset is None:
        return ALWAYS
    limits.check_u64(if_revision, "if_revision")
    limits.check_u64(if_offset, "if_offset")
    return precondition({}, if_revision, if_offset, lambda: None)
