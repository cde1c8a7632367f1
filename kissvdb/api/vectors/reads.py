"""Reading vectors over HTTP: one, how many, page by page."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING

import msgspec

from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.reading.json_body import off_loop
from kissvdb.api.reading.query import parse_query
from kissvdb.api.vectors import json_text as vector_json
from kissvdb.api.vectors.collections import collection_of
from kissvdb.api.vectors.forms import Form, check_namespace, filter_of
from kissvdb.api.vectors.search_bodies import ScrollBody, SelectBody
from kissvdb.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from kissvdb.core.rows.view import RowsView
    from kissvdb.core.store.spec import StoredRow

SCROLL_LIMIT_DEFAULT = 100
SCROLL_BYTES_MAX = 8 * 1024 * 1024
"""A page ends early rather than grow beyond this; its cursor goes on from there."""

SELECT = Form(SelectBody)
SCROLL = Form(ScrollBody)

_json = msgspec.json.encode


def get(context: Context, request: Request) -> Response:
    collection = collection_of(context, request)
    id_ = parse_query(request.query).get("id", "")
    limits.check_id(id_, context.config.limits, "query.id")
    row = context.database.vectors.get(collection, id_)
    if row is None:
        raise NotFound(f"no vector {id_!r} in collection {collection!r}")
    return Response(vector_json.stored(row))


async def count(context: Context, request: Request) -> Response:
    collection = collection_of(context, request)
    body = SelectBody()
    if request.body:
        body = await off_loop(request.body, SELECT.read, context, request)
    tree = filter_of(context, request, body.filters)
    check_namespace(body.namespace, "body.namespace")
    number = await context.database.vectors.look(
        collection, lambda view: view.count(tree, body.namespace)
    )
    return Response(b'{"count":%d}' % number)


async def scroll(context: Context, request: Request) -> Response:
    collection = collection_of(context, request)
    body = ScrollBody()
    if request.body:
        body = await off_loop(request.body, SCROLL.read, context, request)
    limit_max = context.config.limits.list_limit_max
    limit = SCROLL_LIMIT_DEFAULT if body.limit is None else body.limit
    if not 1 <= limit <= limit_max:
        raise InvalidArgument(
            f"body.limit: must be 1 to {limit_max}, not {limit}: the most is "
            "limits.list_limit_max (KISSVDB_LIMITS_LIST_LIMIT_MAX)"
        )
    tree = filter_of(context, request, body.filters)
    check_namespace(body.namespace, "body.namespace")
    place = None if body.cursor is None else _place(body.cursor)

    def job(view: "RowsView") -> bytes:
        after_row = -1 if place is None else _after(view, *place)
        rows = view.scroll(after_row, limit + 1, tree, body.namespace)
        return _page(rows, limit, body)

    return Response(await context.database.vectors.look(collection, job))


def _page(rows: "list[StoredRow]", limit: int, asked: ScrollBody) -> bytes:
    meta, vector = bool(asked.include_meta), bool(asked.include_vector)
    texts: list[bytes] = []
    size = 0
    for row in rows[:limit]:
        text = vector_json.item(row, meta=meta, vector=vector, text=bool(asked.include_text))
        size += len(text)
        if texts and size > SCROLL_BYTES_MAX:
            break
        texts.append(text)
    cursor = b"null"
    if len(texts) < len(rows):
        last = rows[len(texts) - 1]
        cursor = _json(_cursor(last.row, last.id))
    return b'{"items":[%b],"cursor":%b}' % (b",".join(texts), cursor)


def _cursor(row: int, id_: str) -> str:
    return urlsafe_b64encode(f"{row}:{id_}".encode()).rstrip(b"=").decode()


def _place(cursor: str) -> tuple[int, str]:
    """The row and the id that a page ended with."""
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        row, colon, id_ = urlsafe_b64decode(padded.encode("ascii")).decode().partition(":")
    except (binascii.Error, UnicodeError, ValueError):
        row, colon, id_ = "", "", ""
    if not (colon and row.isascii() and row.isdigit() and len(row) <= 10):
        raise InvalidArgument("body.cursor: not one that a page of this collection answered")
    return int(row), id_


def _after(view: "RowsView", row: int, id_: str) -> int:
    """The row to go on behind. A vacuum keeps the order of rows but moves them to the front."""
    if row < view.data.count and view.data.id_at(row) == id_:
        return row
    moved = view.row_of(id_)
    if moved is None or moved > row:
        raise InvalidArgument(
            "body.cursor: the collection was vacuumed and the last vector of that page is gone: "
            "start again without a cursor"
        )
    return moved
