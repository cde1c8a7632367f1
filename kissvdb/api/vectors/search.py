"""Searching vectors over HTTP."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from kissvdb.api.compiled import ready, searching
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.reading.json_body import INLINE_BYTES_MAX, off_loop, read_then
from kissvdb.api.vectors import text_search
from kissvdb.api.vectors.collections import collection_of
from kissvdb.api.vectors.json_text import HITS_BYTES_MAX
from kissvdb.api.vectors.search_answers import Answer, exhausted, hits_of, of_found, of_groups
from kissvdb.api.vectors.search_bodies import K_DEFAULT, SearchBody
from kissvdb.api.vectors.search_requests import Asked, check_dim, inline_max, read
from kissvdb.core.events.publishing import Publish
from kissvdb.core.filters import parse as filters
from kissvdb.engine.vectors.registry import OpenCollection
from kissvdb.errors import NotFound

if TYPE_CHECKING:
    from kissvdb.core.rows.view import RowsView

# What a search may be to be done on the event loop.
QUICK_HITS_MAX = 64
QUICK_META_BYTES_MAX = 64 * 1024
QUICK_WALKED_NUMBERS_MAX = 100_000
QUICK_SCANNED_NUMBERS_MAX = 500_000
QUICK_ROW_NUMBERS_MIN = 16
"""A row that is scanned is no shorter."""
QUICK_FILTERED_ROWS_MAX = 100_000
QUICK_FILTER_MAX = 16
QUICK_FILTER_STEPS_MAX = 1000

_json = msgspec.json.encode


def search(context: Context, request: Request) -> Response | Awaitable[Response]:
    collection = collection_of(context, request)
    found = context.database.vectors.find(collection)
    view = found.actor.view()
    known = ready.answer(request, found, view)
    if known is not None:
        return known
    plain = searching.read(context, request, view)
    if plain is not None:
        return _search_plain(context, request, found, view, plain)
    then = partial(_search_one, context, collection, large=len(request.body) > INLINE_BYTES_MAX)
    if b"text" in request.body:
        # Its answer waits for a thread anyway, and so nothing is read before there is a task.
        return _search_text(context, request, then)
    return read_then(request.body, read, context, request, then=then)


def _search_plain(
    context: Context,
    request: Request,
    found: OpenCollection,
    view: "RowsView",
    plain: searching.Plain,
) -> Response | Awaitable[Response]:
    """As `_search_one`, for what compiled code reads and writes."""
    from kissvdb.core.rows.view import SearchTooNarrow

    asked, answer = plain.asked, None
    if _is_quick(asked, view):
        try:
            answer = searching.answer(view, asked, plain.vector)
        except SearchTooNarrow:
            return _search_in_thread(context, found, plain.body, plain.vector.tobytes(), asked)
    if answer is None:
        return _search_by(context, found, view, plain.body, plain.vector.tobytes(), asked)
    ready.keep(context, request, view, asked, plain.text)
    if asked.is_audited:
        found.audit.note(plain.vector.tobytes(), asked.search)
    return answer.response()


async def _search_text(
    context: Context,
    request: Request,
    then: Callable[[tuple[SearchBody, bytes | None, Asked]], Response | Awaitable[Response]],
) -> Response:
    size = inline_max(request.body)
    outcome = then(await off_loop(request.body, read, context, request, inline_max=size))
    return await outcome if isinstance(outcome, Awaitable) else outcome


def _search_one(
    context: Context,
    collection: str,
    request: tuple[SearchBody, bytes | None, Asked],
    *,
    large: bool,
) -> Response | Awaitable[Response]:
    """A quick search is done here: the way to a thread and back costs more than 100 us."""
    body, vector, asked = request
    found = context.database.vectors.find(collection)
    view = found.actor.view()
    if vector is None and body.id is not None:
        stored = view.get(body.id)
        if stored is None:
            raise NotFound(f"no vector {body.id!r} in collection {collection!r} to search with")
        vector = stored.vector
    if asked.words is not None:
        now = None if body.emit or large else text_search.search_now(view, vector, asked)
        if now is not None:
            return now.response()
        return _search_words(context, found, body, vector, asked)
    assert vector is not None, "there is no text, and nothing else to search by"
    check_dim(len(vector), view.spec)
    if large:
        return _search_in_thread(context, found, body, vector, asked)
    return _search_by(context, found, view, body, vector, asked)


def _search_by(
    context: Context,
    found: OpenCollection,
    view: "RowsView",
    body: SearchBody,
    vector: bytes,
    asked: Asked,
) -> Response | Awaitable[Response]:
    if body.emit or not _is_quick(asked, view):
        return _search_in_thread(context, found, body, vector, asked)
    from kissvdb.core.rows.view import SearchTooNarrow

    try:
        answer = _search(view, vector, asked, time.perf_counter_ns(), may_scan=False)
    except SearchTooNarrow:
        return _search_in_thread(context, found, body, vector, asked)
    if asked.is_audited:
        found.audit.note(vector, asked.search)
    return answer.response()


async def _search_in_thread(
    context: Context, found: OpenCollection, body: SearchBody, vector: bytes, asked: Asked
) -> Response:
    if asked.is_audited:
        found.audit.note(vector, asked.search)
    started_ns = time.perf_counter_ns()
    answer = await context.database.vectors.look(
        found.name, lambda view: _search(view, vector, asked, started_ns)
    )
    if body.emit:
        await context.database.publish(_search_event(found.name, body, answer))
    return answer.response()


async def _search_words(
    context: Context, found: OpenCollection, body: SearchBody, vector: bytes | None, asked: Asked
) -> Response:
    answer = await text_search.search(context, found, vector, asked)
    if body.emit:
        await context.database.publish(_search_event(found.name, body, answer))
    return answer.response()


async def search_batch(context: Context, request: Request) -> Response:
    collection = collection_of(context, request)
    found = context.database.vectors.find(collection)
    spec = found.actor.rows.spec
    size = inline_max(request.body)
    json = found.actor.view().kernels.json
    batch = await off_loop(
        request.body, searching.read_any_batch, context, request, spec, json, inline_max=size
    )
    if batch.words:
        return (await text_search.search_batch(context, found, batch)).response()
    queries, asked = batch.vectors, batch.asked
    assert queries is not None, "there are no texts, and nothing else to search by"
    answer = await context.database.vectors.look(
        collection, lambda view: _search_batch(view, queries, asked, spec.vector_bytes)
    )
    return answer.response()


def _is_quick(asked: Asked, view: "RowsView") -> bool:
    """Whether the search takes about as long as any other handler: some 100 us, half a millisecond
    at most.

    It walks the graph with little to scan behind it, or scans what fits into the CPU's caches, and
    looks at rows that are known to be sound. A filter is one that the metadata index answers alone.
    """
    search = asked.search
    if (
        search.exact
        or search.offset
        or asked.group_by
        or asked.facets
        or asked.vector
        or asked.text
        or not view.kernels.ready
    ):
        return False
    if search.explain and search.tree is not None:
        return False
    data, dim, want = view.data, view.spec.dim, search.k
    if want > QUICK_HITS_MAX or data.guard is not None:
        return False
    if asked.meta and want * data.blob_bytes > QUICK_META_BYTES_MAX * data.count:
        return False
    row_numbers = max(dim, QUICK_ROW_NUMBERS_MIN)
    if (data.count - view.indexed_rows) * row_numbers > QUICK_SCANNED_NUMBERS_MAX:
        return False
    if view.index.cost(want, search.ef) > QUICK_WALKED_NUMBERS_MAX:
        return False
    if not search.narrowed:
        return True
    if data.count > QUICK_FILTERED_ROWS_MAX or filters.size(search.tree) > QUICK_FILTER_MAX:
        return False
    return view.knows_bitmap(search.tree, search.namespace, steps_max=QUICK_FILTER_STEPS_MAX)


def _search(
    view: "RowsView", vector: bytes, asked: Asked, started_ns: int, *, may_scan: bool = True
) -> Answer:
    queue_us = (time.perf_counter_ns() - started_ns) // 1000
    import numpy as np

    # It may be another one than when the request came: see `engine.vectors.reindex`.
    check_dim(len(vector), view.spec)
    query = np.frombuffer(vector, "<f4")
    if asked.group_by is not None:
        groups = view.search_groups(query, asked.search, asked.group_by, asked.group_limit)
        return of_groups(view, groups, asked)
    found = view.search(query[None], asked.search, may_scan=may_scan)
    return of_found(view, found, asked, queue_us)


def _search_batch(view: "RowsView", queries: bytes, asked: Asked, vector_bytes: int) -> Answer:
    import numpy as np

    check_dim(vector_bytes, view.spec)

    rows = np.frombuffer(queries, "<f4").reshape(-1, view.spec.dim)
    arrays = hits_of(view, asked)
    written: list[tuple[bytes, int] | None] = [None] * len(rows)
    if not (asked.vector or asked.text):
        written = view.search_as_texts(
            rows, asked.search, meta=asked.meta, bytes_max=HITS_BYTES_MAX
        )
    left = [place for place, each in enumerate(written) if each is None]
    others = iter(view.search(rows[left], asked.search).hits if left else ())
    texts = []
    for each in written:
        if each is None:
            hits = next(others)
            text, count = arrays.array(hits), len(hits)
        else:
            # All but its brackets and commas: what is counted where hits are made one by one.
            text, count = each
            arrays.make_room(len(text) - 1 - max(count, 1))
        texts.append(b'{"hits":%b%b}' % (text, exhausted(asked, count)))
    return Answer(b'{"results":[%b]}' % b",".join(texts), view.offset)


def _search_event(collection: str, body: SearchBody, answer: Answer) -> Publish:
    data: dict[str, Any] = {
        "collection": collection,
        "k": K_DEFAULT if body.k is None else body.k,
        "filters": body.filters,
        "namespace": body.namespace,
        "hits": answer.ids,
    }
    if body.text is not None:
        data["text"] = body.text
    return Publish("vector_search", _json(data), transient=True, collection=collection)
