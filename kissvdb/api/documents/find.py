"""Finding documents over HTTP, and deleting those that are found."""

import time
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from kissvdb.api.documents.find_bodies import (
    LIMIT_DEFAULT,
    DeleteDocumentsByFilterBody,
    Facet,
    FacetCount,
    FindBody,
    FindExplanation,
)
from kissvdb.api.documents.names import collection_of
from kissvdb.api.documents.projection import Projection
from kissvdb.api.documents.wishes import cursor_of, facet_wishes, place_of, projection, sort_keys
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.reading.json_body import INLINE_BYTES_MAX, Body, off_loop, read_then
from kissvdb.api.vectors import quick
from kissvdb.api.vectors.forms import filter_of
from kissvdb.core.filters import notes as filter_notes
from kissvdb.core.filters import parse as filters
from kissvdb.core.filters.parse import Node
from kissvdb.core.find import Find
from kissvdb.errors import InvalidArgument, NotFound
from kissvdb.telemetry.parts import SEARCH, timed

if TYPE_CHECKING:
    # Not at run time: numpy comes with it.
    from kissvdb.core.metadata.facets import Facet as Counted
    from kissvdb.core.rows.find import Found
    from kissvdb.core.rows.view import RowsView

FIND_BYTES_MAX = 8 * 1024 * 1024
"""A page ends early rather than grow beyond this; its cursor goes on from there."""

FIND = Body(FindBody)
DELETE_BY_FILTER = Body(DeleteDocumentsByFilterBody)

_json = msgspec.json.encode


class Asked(msgspec.Struct, frozen=True):
    """A find, checked, and which part of the documents is answered."""

    find: Find
    part: Projection | None


def find(context: Context, request: Request) -> Response | Awaitable[Response]:
    collection = collection_of(context, request)
    large = len(request.body) > INLINE_BYTES_MAX
    then = partial(_find_all, context, collection, large=large)
    return read_then(request.body, _read, context, request, then=then)


def _find_all(
    context: Context, collection: str, asked: Asked, *, large: bool
) -> Response | Awaitable[Response]:
    """A quick find is done here: the way to a thread and back costs more than 100 us."""
    view = None if large else context.database.documents.view_now(collection)
    if view is None or not quick.is_quick_find(view, asked.find):
        return _find_in_thread(context, collection, asked)
    return _response(*timed(SEARCH, _find, view, asked, time.perf_counter_ns()))


async def _find_in_thread(context: Context, collection: str, asked: Asked) -> Response:
    started_ns = time.perf_counter_ns()
    try:
        text, offset = await context.database.documents.look(
            collection, partial(_find, asked=asked, started_ns=started_ns)
        )
    except NotFound:
        # A collection is what its documents make of it: without any, nothing is found in it.
        text, offset = _nothing(asked, context.database.last_offset)
    return _response(text, offset)


def _response(text: bytes, offset: int) -> Response:
    return Response(text, headers=(("kissvdb-offset", str(offset)),))


async def delete_by_filter(context: Context, request: Request) -> Response:
    collection = collection_of(context, request)
    read = partial(DELETE_BY_FILTER.read, request.body, strict=context.strict)
    body = await off_loop(request.body, read)
    tree = tree_of(context, request, body.filter, body.filters)
    if filters.asks_nothing(tree) and not body.all:
        raise InvalidArgument(
            'body: this would delete every document: give a filter, or "all": true'
        )
    try:
        count, offset = await context.database.documents.delete_matching(collection, tree)
    except NotFound:
        count, offset = 0, None
    return Response(b'{"deleted":%d,"offset":%b}' % (count, _json(offset)))


def tree_of(context: Context, request: Request, one: Any, other: Any) -> Node | None:
    """The filter, which has two names. Raises InvalidArgument."""
    if one is not None and other is not None:
        raise InvalidArgument("body: filter and filters are the same: give one of them")
    return filter_of(context, request, other if one is None else one)


def _read(context: Context, request: Request) -> Asked:
    body = FIND.read(request.body, strict=context.strict) if request.body else FindBody()
    limit_max = context.config.limits.doc_find_max
    limit = min(LIMIT_DEFAULT, limit_max) if body.limit is None else body.limit
    if not 0 <= limit <= limit_max:
        raise InvalidArgument(
            f"body.limit: must be 0 to {limit_max}, not {limit}: the most is limits.doc_find_max "
            "(MAX_DOC_FIND); a page's cursor goes on from there"
        )
    keys = sort_keys(body.sort)
    asked = Find(
        tree_of(context, request, body.filter, body.filters),
        keys,
        limit,
        place_of(body.cursor, keys),
        bool(body.count),
        facet_wishes(body.facets),
        bool(body.explain),
    )
    return Asked(asked, projection(body.fields))


def _find(view: "RowsView", asked: Asked, started_ns: int) -> tuple[bytes, int]:
    queue_us = (time.perf_counter_ns() - started_ns) // 1000
    from kissvdb.core.rows import find as row_find

    found = row_find.find(view, asked.find)
    texts: list[bytes] = []
    size = 0
    for row in found.rows:
        text = b"{%b}" % document_members(view, row, asked.part)
        size += len(text)
        if texts and size > FIND_BYTES_MAX:
            break
        texts.append(text)
    cursor = None
    if texts and (found.more or len(texts) < len(found.rows)):
        cursor = cursor_of(found.places[len(texts) - 1], asked.find.sort)
    head = b'{"documents":[%b],"cursor":%b,"offset":%d' % (
        b",".join(texts),
        _json(cursor),
        view.offset,
    )
    return head + _rest(view, asked.find, found, queue_us) + b"}", view.offset


def document_members(view: "RowsView", row: int, part: Projection | None) -> bytes:
    """What is said of a document that was found."""
    data = view.data
    document = data.meta(row) or b"null"
    revision, offset = data.stamp(row)
    return b'"id":%b,"doc":%b,"revision":%d,"offset":%d' % (
        _json(data.id_at(row)),
        document if part is None else part.of(document),
        revision,
        offset,
    )


def facets_text(facets: "Mapping[str, Counted]") -> bytes:
    """The member of an answer that holds facets."""
    shown = {
        path: Facet([FacetCount(*each) for each in facet.counts], facet.distinct)
        for path, facet in facets.items()
    }
    return b',"facets":' + _json(shown)


def _rest(view: "RowsView", asked: Find, found: "Found", queue_us: int) -> bytes:
    text = b""
    if found.count is not None:
        text += b',"count":%d' % found.count
    if asked.facets:
        text += facets_text(found.facets)
    if found.explanation is not None:
        steps = attrs.asdict(found.explanation)
        notes = filter_notes.about(asked.tree, view.count)
        text += b',"explain":' + _json(FindExplanation(queue_us=queue_us, notes=notes, **steps))
    return text


def _nothing(asked: Asked, offset: int) -> tuple[bytes, int]:
    text = b'{"documents":[],"cursor":null,"offset":%d' % offset
    if asked.find.count:
        text += b',"count":0'
    if asked.find.facets:
        text += b',"facets":' + _json({path: Facet([], 0) for path in asked.find.facets})
    if asked.find.explain:
        nothing = FindExplanation("empty", 0.0, 0, 0, 0, 0, 0, 0, 0, 0, [])
        text += b',"explain":' + _json(nothing)
    return text + b"}", offset
