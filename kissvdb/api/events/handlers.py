"""User events and the stream over HTTP."""

from collections.abc import Awaitable
from functools import lru_cache, partial

import msgspec

from kissvdb.api.access.commands import check_command, check_commands
from kissvdb.api.bodies import EventBody
from kissvdb.api.events.plain import sound
from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Pending, Request, Response, StreamResponse
from kissvdb.api.reading.json_body import (
    Body,
    compact,
    read_then,
)
from kissvdb.api.reading.query import parse_query, parse_u64, switch
from kissvdb.api.state.parts import repeated
from kissvdb.config import Limits
from kissvdb.core.events.publishing import Publish, Published, StreamQuery, record_of
from kissvdb.core.state.rules import U64_MAX
from kissvdb.engine.stream.subscription import Lease
from kissvdb.errors import InvalidArgument
from kissvdb.records import EventPublished

EVENT = Body(EventBody)
EVENTS = Body(list[EventBody])
EVENTS_PER_BATCH_MAX = 1000
_FROM_NOW_ON = ("now", "latest", "-1")


class _PlainEvent(msgspec.Struct, forbid_unknown_fields=True):
    """What most events of a batch are."""

    type: str
    data: msgspec.Raw


_decode_plain = msgspec.json.Decoder(list[_PlainEvent]).decode

Prompt = Response | Pending

# Proxies must not keep events back, nor answer a stream from a cache.
STREAM_HEADERS = (("cache-control", "no-cache"), ("x-accel-buffering", "no"))


def publish(context: Context, request: Request) -> Prompt | Awaitable[Prompt]:
    if request.body[:1] == b"[":
        return _publish_batch(context, request)

    def append(event: Publish) -> Response | Pending:
        event = check_command(request.principal.grants, event)
        if event.transient:
            context.database.stream_only(event)
            return Response(b'{"offset":null}')
        if event.op_id is not None:
            return Pending(context.database.submit(event), _decided)
        return Pending(context.database.append_events([record_of(event)]), _published)

    return read_then(request.body, _event, context, request, then=append)


def _publish_batch(context: Context, request: Request) -> Pending | Awaitable[Pending]:
    """All or nothing: the events are one append and get consecutive offsets."""

    def append(events: list[EventPublished]) -> Pending:
        if request.principal.grants is not None:
            check_commands(request.principal.grants, events)
        reply = context.database.append_events(events)
        return Pending(reply, partial(_published_batch, len(events)))

    return read_then(request.body, _events, context, request.body, then=append)


def _decided(answer: Published) -> Response:
    assert answer.offset is not None
    return Response(b'{"offset":%d%b}' % (answer.offset, repeated(answer.repeated)))


def _published(offset: int) -> Response:
    return Response(b'{"offset":%d}' % offset)


def _published_batch(count: int, first: int) -> Response:
    return Response(b'{"offset":%d,"last_offset":%d}' % (first, first + count - 1))


async def stream(context: Context, request: Request) -> Response | StreamResponse:
    query = _stream_query(context, request)
    if request.method == "HEAD":
        return Response(content_type="text/event-stream", headers=STREAM_HEADERS)
    who = request.principal
    lease = None if who.key_id is None else Lease(who.key_id, who.secret)
    return StreamResponse(context.database.subscribe(query, lease), headers=STREAM_HEADERS)


def _event(context: Context, request: Request) -> Publish:
    return checked(EVENT.read(request.body, strict=context.strict), context.config.limits, "body")


def _events(context: Context, body: bytes) -> list[EventPublished]:
    """The records of a batch of events."""
    bounds = context.config.limits
    records = _plain_events(body, bounds)
    if records is not None:
        return records
    found = EVENTS.read(body, strict=context.strict)
    if not 0 < len(found) <= EVENTS_PER_BATCH_MAX:
        raise InvalidArgument(
            f"body: 1 to {EVENTS_PER_BATCH_MAX} events, not {len(found)}: send several batches"
        )
    return [record_of(checked(each, bounds, f"body[{place}]")) for place, each in enumerate(found)]


def _plain_events(body: bytes, bounds: Limits) -> list[EventPublished] | None:
    """The records of a batch whose events are a type and data; None when any has more, or is not
    right."""
    try:
        found = _decode_plain(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    checked_all = sound(found, bounds) if 0 < len(found) <= EVENTS_PER_BATCH_MAX else None
    if checked_all is None:
        return None
    types, texts = checked_all
    return [EventPublished(types[each.type], text) for each, text in zip(found, texts, strict=True)]


@lru_cache(maxsize=1024)
def _places(where: str) -> tuple[str, str, str]:
    """How messages name the type, the data and the tags; they are needed for every event."""
    return f"{where}.type", f"{where}.data", f"{where}.tags"


def checked(body: EventBody, bounds: Limits, where: str) -> Publish:
    """One event, looked at closely."""
    type_place, data_place, tags_place = _places(where)
    limits.check_event_type(body.type, bounds, type_place)
    data = compact(body.data, data_place)
    limits.check_json_size(data, bounds, data_place)
    if body.key is not None:
        limits.check_key(body.key, bounds, f"{where}.key")
    if body.transient and where != "body":
        raise InvalidArgument(f"{where}.transient: a batch is logged; send transients alone")
    op_id = limits.checked_op_id(body.op_id, f"{where}.op_id")
    if op_id is not None and (body.transient or where != "body"):
        raise InvalidArgument(
            f"{where}.op_id: for an event that is kept and sent alone; several have one each in "
            "/v1/bulk, or one together in /v1/batch"
        )
    tags = limits.check_tags(body.tags, bounds, tags_place)
    return Publish(body.type, data, body.key, tags, bool(body.transient), op_id)


def _stream_query(context: Context, request: Request) -> StreamQuery:
    """Last-Event-ID wins over ``since`` when it is a number, else it is ignored; ``prefix`` is
    the old name of ``key_prefix``. An empty parameter filters nothing. ``epoch`` belongs to
    ``since``: a browser that reconnects sends the same address again, but another place."""
    query = parse_query(request.query)
    since = _since(query.get("since", "").strip())
    resumed = parse_u64(request.headers.get("last-event-id", "").strip())
    said = query.get("epoch") if resumed is None else None
    key_prefix = query.get("key_prefix") or query.get("prefix")
    if key_prefix:
        limits.check_prefix(key_prefix, context.config.limits, "query.key_prefix")
    types = (each.strip() for each in query.get("types", "").split(","))
    return StreamQuery(
        since=since if resumed is None else resumed,
        types=frozenset(each for each in types if each),
        key=query.get("key") or None,
        key_prefix=key_prefix or None,
        collection=query.get("collection") or None,
        table=query.get("table") or None,
        job_id=query.get("job_id") or None,
        tag=query.get("tag") or None,
        vectors=switch(query, "vectors", default=True),
        epoch=request.headers.get("kissvdb-epoch") or said or None,
        grants=request.principal.grants,
        private=request.principal.is_admin,
    )


def _since(text: str) -> int | None:
    """The offset after which a stream starts; None: from now on."""
    if text in _FROM_NOW_ON:
        return None
    since = parse_u64(text or "0")
    if since is None:
        raise InvalidArgument(
            f"query.since: must be an offset, 0 to {U64_MAX}, or now (also: latest, -1) for new "
            "events only"
        )
    return since
