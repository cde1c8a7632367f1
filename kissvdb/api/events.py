"""User events and the stream over HTTP."""

import msgspec

from kissvdb.api import limits
from kissvdb.api.bodies import EventBody
from kissvdb.api.context import Context
from kissvdb.api.http import Request, Response, StreamResponse
from kissvdb.api.json_body import Body, compact, off_loop
from kissvdb.api.query import parse_query, parse_u64, u64
from kissvdb.core.events import Publish, StreamQuery

EVENT = Body(EventBody)

# Proxies must not keep events back, nor answer a stream from a cache.
STREAM_HEADERS = (("cache-control", "no-cache"), ("x-accel-buffering", "no"))


async def publish(context: Context, request: Request) -> Response:
    event = await off_loop(request.body, _event, context, request)
    published = await context.database.publish(event)
    return Response(b'{"offset":%b}' % msgspec.json.encode(published.offset))


async def stream(context: Context, request: Request) -> Response | StreamResponse:
    query = _stream_query(context, request)
    if request.method == "HEAD":
        return Response(content_type="text/event-stream", headers=STREAM_HEADERS)
    return StreamResponse(context.database.subscribe(query), headers=STREAM_HEADERS)


def _event(context: Context, request: Request) -> Publish:
    bounds = context.config.limits
    body = EVENT.read(request.body)
    limits.check_event_type(body.type, bounds)
    data = compact(body.data, "body.data")
    limits.check_json_size(data, bounds, "body.data")
    if body.key is not None:
        limits.check_key(body.key, bounds, "body.key")
    tags = limits.check_tags(body.tags, bounds)
    return Publish(body.type, data, body.key, tags, bool(body.transient))


def _stream_query(context: Context, request: Request) -> StreamQuery:
    """Last-Event-ID wins over ``since`` when it is a number, else it is ignored; ``prefix`` is
    the old name of ``key_prefix``. An empty parameter filters nothing."""
    query = parse_query(request.query)
    since = u64(query, "since") or 0
    resumed = parse_u64(request.headers.get("last-event-id", ""))
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
        job_id=query.get("job_id") or None,
        tag=query.get("tag") or None,
    )
