"""What a subscriber sees: records as events, their SSE frames, and the filters on them.

SSE framing after the WHATWG HTML standard, section 9.2. A frame holds no raw newline in its
data, because values and event data are kept as compact JSON.
"""

from collections.abc import Callable, Sequence

import msgspec

from kissvdb.core.events.marks import Mark, Marks, marks_of
from kissvdb.core.events.publishing import Publish, StreamQuery
from kissvdb.core.grants import is_private
from kissvdb.core.op_ids import shown
from kissvdb.core.sql.changes import changed_json, executed_json
from kissvdb.core.vector_json import json_numbers
from kissvdb.records import (
    ApiKeyIssued,
    ApiKeyRevoked,
    BatchCommitted,
    CollectionCreated,
    CollectionDeleted,
    CollectionReindexing,
    CollectionReplaced,
    CollectionTuned,
    EventPublished,
    KeyDeleted,
    KeyRecord,
    KeyWritten,
    Record,
    SqlChanged,
    SqlExecuted,
    VectorDeleted,
    VectorRecord,
    VectorWritten,
)

HEARTBEAT = b": keepalive\n\n"

BATCH_COMMITTED = "batch_committed"
"""The type of the mark that stands before the events of a batch."""

WORK_MAX = 1_000_000
"""So much is done for one subscription before others have their turn: about a byte of JSON each."""
WORK_PER_EVENT = 1000
"""What an event costs whatever its size, in bytes of JSON that take as long."""
WORK_PER_READ = 4000
"""As that, where its JSON is read."""

_MARKS_KEPT_BYTES_MAX = 256
"""Of one event: larger ones are read again, so that a filter costs no memory."""

_json = msgspec.json.encode


class Event:
    """One event of the stream. ``offset`` None means transient: streamed, not in the log.

    The frames and the marks are made when first asked for and then shared by all
    subscribers; an event nobody listens to costs neither. ``data`` is without the numbers of a
    vector: they are most of it, and not everybody wants them.
    """

    __slots__ = (
        "_frame",
        "_marks",
        "_numbers",
        "_short_frame",
        "_tags",
        "collection",
        "data",
        "key",
        "offset",
        "table",
        "tables",
        "together",
        "ts_ms",
        "type",
    )

    def __init__(
        self,
        offset: int | None,
        ts_ms: int,
        type_: str,
        data: bytes,
        *,
        key: str | None = None,
        collection: str | None = None,
        table: str | None = None,
        tags: tuple[str, ...] = (),
        numbers: bytes | None = None,
    ) -> None:
        """``numbers``: the vector's, little-endian float32."""
        self.offset = offset
        self.ts_ms = ts_ms
        self.type = type_
        self.data = data
        self.key = key
        self.collection = collection
        self.table = table
        self.tables: tuple[str, ...] = () if table is None else (table,)
        """Who may see all of these may see the event; without any, nobody who has grants."""
        self.together = 0
        """So many events after this one are of one batch: who gets the first gets them all."""
        self._tags = tags
        self._numbers = numbers
        self._frame: bytes | None = None
        self._short_frame: bytes | None = None
        self._marks: Marks | None = None

    def envelope(self, *, vectors: bool = True) -> bytes:
        """The event as one line of JSON: ``{"offset","ts_ms","type",["key","tags",]"data"}``.

        Without ``vectors`` the numbers of a vector are left out.
        """
        parts = [b'{"offset":%b,"ts_ms":%d' % (_json(self.offset), self.ts_ms)]
        parts.append(b',"type":' + _json(self.type))
        if not self.type.startswith("state_"):
            if self.key is not None:
                parts.append(b',"key":' + _json(self.key))
            if self._tags:
                parts.append(b',"tags":' + _json(self._tags))
        parts.append(b',"data":' + self.data)
        if vectors and self._numbers is not None:
            parts[-1] = b'%b,"vector":%b}' % (parts[-1][:-1], json_numbers(self._numbers))
        parts.append(b"}")
        return b"".join(parts)

    def frame(self, *, vectors: bool = True) -> bytes:
        """The SSE frame. A transient event has no ``id:``, so it never moves a client's place."""
        if vectors or self._numbers is None:
            if self._frame is None:
                self._frame = self._framed(vectors=True)
            return self._frame
        if self._short_frame is None:
            self._short_frame = self._framed(vectors=False)
        return self._short_frame

    def has_frame(self, *, vectors: bool) -> bool:
        """Whether `frame` has nothing to make."""
        found = self._frame if vectors or self._numbers is None else self._short_frame
        return found is not None

    def _framed(self, *, vectors: bool) -> bytes:
        place = b"" if self.offset is None else b"id: %d\n" % self.offset
        head = b"event: " + self.type.encode() + b"\n" + place
        return head + b"data: " + self.envelope(vectors=vectors) + b"\n\n"

    def has_job_id(self, job_id: Mark) -> bool:
        """Whether ``job_id`` stands at the top of the event's value or data."""
        return job_id.is_job_id(self._read_marks())

    def has_tag(self, tag: str, mark: Mark) -> bool:
        """Whether the tag is one of the event's own, or in ``tags`` of its value or data."""
        return tag in self._tags or mark.is_tag(self._read_marks())

    @property
    def marked(self) -> bool:
        """Whether the JSON need not be read again for what a filter asks."""
        return self._marks is not None

    def _read_marks(self) -> Marks:
        if self._marks is not None:
            return self._marks
        member = None
        if self.type == "state_updated":
            member = "value"
        elif self.collection is not None:
            member = "meta"
        marks = marks_of(self.data, member)
        if len(marks.job_id) + len(marks.tags) <= _MARKS_KEPT_BYTES_MAX:
            self._marks = marks
        return marks


def event_of(offset: int, ts_ms: int, record: Record) -> Event:
    """The event a record is streamed as."""
    if isinstance(record, KeyWritten):
        data = b'{"key":%b,"revision":%d,"value":%b,"expires_at_ms":%b}' % (
            _json(record.key),
            record.revision,
            record.value,
            b"null" if record.expires_at_ms is None else b"%d" % record.expires_at_ms,
        )
        return Event(offset, ts_ms, "state_updated", data, key=record.key)
    if isinstance(record, KeyDeleted):
        data = b'{"key":%b,"reason":%b}' % (_json(record.key), _json(record.reason))
        return Event(offset, ts_ms, "state_deleted", data, key=record.key)
    if isinstance(record, BatchCommitted):
        return _batch_event(offset, ts_ms, record)
    if isinstance(record, SqlChanged):
        data = changed_json(record)
        return Event(offset, ts_ms, "sql_row_changed", data, table=record.table)
    if isinstance(record, SqlExecuted):
        event = Event(offset, ts_ms, "sql_executed", executed_json(record))
        event.together = record.together
        # What a change of the schema is about, only its text says.
        event.tables = () if record.statements else record.tables
        return event
    if isinstance(record, ApiKeyIssued | ApiKeyRevoked):
        return _api_key_event(offset, ts_ms, record)
    if not isinstance(record, EventPublished):
        return _vector_event(offset, ts_ms, record)
    return Event(
        offset,
        ts_ms,
        record.type,
        record.data,
        key=record.key,
        tags=record.tags,
    )


def _batch_event(offset: int, ts_ms: int, record: BatchCommitted) -> Event:
    data = b'{"records":%d,"last_offset":%d,"op_id":%b}' % (
        record.records,
        offset + record.records,
        _json(shown(record.op_id)),
    )
    event = Event(offset, ts_ms, BATCH_COMMITTED, data)
    event.together = record.records
    return event


def _api_key_event(offset: int, ts_ms: int, record: KeyRecord) -> Event:
    """For admins: see `core.grants.is_private`. No hash leaves the log."""
    if isinstance(record, ApiKeyRevoked):
        data = b'{"id":%b,"reason":%b}' % (_json(record.id), _json(record.reason))
        return Event(offset, ts_ms, "api_key_revoked", data)
    data = b'{"id":%b,"name":%b,"role":%b,"scopes":%b,"expires_at_ms":%b,"rotated_at_ms":%b}' % (
        _json(record.id),
        _json(record.name),
        _json(record.role),
        b"null" if record.scopes is None else record.scopes,
        _json(record.expires_at_ms),
        _json(record.rotated_at_ms),
    )
    return Event(offset, ts_ms, "api_key_issued", data)


def _vector_event(offset: int, ts_ms: int, record: VectorRecord) -> Event:
    collection = _json(record.collection)
    numbers: bytes | None = None
    if isinstance(record, VectorWritten):
        type_ = "vector_" + record.kind
        numbers = record.vector
        data = b'{"collection":%b,"id":%b,"meta":%b%b}' % (
            collection,
            _json(record.id),
            b"null" if record.meta is None else record.meta,
            b"" if record.text is None else b',"text":' + _json(record.text),
        )
    elif isinstance(record, VectorDeleted):
        type_ = "vector_deleted"
        data = b'{"collection":%b,"id":%b,"reason":%b}' % (
            collection,
            _json(record.id),
            _json(record.reason),
        )
    elif isinstance(record, CollectionCreated):
        type_ = "vector_collection_created"
        data = b'{"collection":%b,"dim":%d,"metric":%b}' % (
            collection,
            record.dim,
            _json(record.metric),
        )
    elif isinstance(record, CollectionReplaced):
        type_ = "vector_collection_reindexed"
        data = b'{"collection":%b,"dim":%d,"metric":%b,"embedder":%b,"embedder_model":%b%b}' % (
            collection,
            record.dim,
            _json(record.metric),
            _json(record.embedder),
            _json(record.embedder_model),
            b"" if record.index is None else b',"index":' + _json(record.index),
        )
    elif isinstance(record, CollectionReindexing):
        type_ = "vector_collection_reindexing"
        data = b'{"collection":%b,"index":%b}' % (collection, _json(record.index))
    elif isinstance(record, CollectionTuned):
        type_ = "vector_collection_tuned"
        options = b"{}" if record.options is None else record.options
        data = b'{"collection":%b,"options":%b,"tuning":%b}' % (collection, options, record.tuning)
    else:
        assert isinstance(record, CollectionDeleted)
        type_ = "vector_collection_deleted"
        data = b'{"collection":%b}' % collection
    return Event(
        offset,
        ts_ms,
        type_,
        data,
        collection=record.collection,
        numbers=numbers,
    )


def transient_event(event: Publish, ts_ms: int) -> Event:
    """The event of a transient publish."""
    return Event(
        None,
        ts_ms,
        event.type,
        event.data,
        key=event.key,
        collection=event.collection,
        tags=event.tags,
    )


class Filter(msgspec.Struct, frozen=True):
    """A query's filters as one: ``passes`` tells whether an event is wanted.

    ``reads_json``: it looks into the event's JSON, which takes as long as the event is large.
    ``sees``: whether an event is about what the subscriber may know of. It is a part of ``passes``,
    but for marks of batches: of these `mark_frame` says what may be known.
    """

    passes: Callable[[Event], bool]
    reads_json: bool
    sees: Callable[[Event], bool] | None = None

    def hides_parts_of(self, event: Event) -> bool:
        """Whether it is the mark of a batch, of which the subscriber may not know everything."""
        return self.sees is not None and event.type == BATCH_COMMITTED

    def work(self, event: Event) -> int:
        """How much there is to do for an event, in the unit of WORK_MAX."""
        if not self.reads_json or event.marked:
            return WORK_PER_EVENT
        return WORK_PER_READ + len(event.data)


def mark_frame(mark: Event, batch: Sequence[Event], sees: Callable[[Event], bool]) -> bytes:
    """The frame of a batch's mark for who sees a part of the ``batch``: it counts that part, as if
    there were no other. Empty where that needs no mark."""
    offsets = [each.offset for each in batch if sees(each)]
    if len(offsets) == mark.together and offsets:
        return mark.frame()
    if len(offsets) < 2:
        return b""
    data = b'{"records":%d,"last_offset":%d,"op_id":null}' % (len(offsets), offsets[-1] or 0)
    return Event(mark.offset, mark.ts_ms, mark.type, data).frame()


def compile_filter(query: StreamQuery) -> Filter | None:
    """The query's filters; None when everything passes."""
    tests: list[Callable[[Event], bool]] = []
    sees = None
    if query.grants is not None:
        sees = query.grants.may_see
        tests.append(lambda event: event.type == BATCH_COMMITTED or sees(event))
    elif not query.private:
        tests.append(lambda event: not is_private(event.type))
    if query.types:
        tests.append(lambda event: event.type in query.types)
    if query.key is not None:
        tests.append(lambda event: event.key == query.key)
    if query.key_prefix:
        prefix = query.key_prefix
        tests.append(lambda event: event.key is not None and event.key.startswith(prefix))
    if query.collection is not None:
        tests.append(lambda event: event.collection == query.collection)
    if query.table is not None:
        tests.append(lambda event: event.table == query.table)
    reads_json = query.job_id is not None or query.tag is not None
    if query.job_id is not None:
        job_id = Mark(query.job_id)
        tests.append(lambda event: event.has_job_id(job_id))
    if query.tag is not None:
        tag, mark = query.tag, Mark(query.tag)
        tests.append(lambda event: event.has_tag(tag, mark))
    if not tests:
        return None
    if len(tests) == 1:
        return Filter(tests[0], reads_json, sees)
    return Filter(lambda event: all(test(event) for test in tests), reads_json, sees)
