"""Searching vectors over HTTP."""

import math
import time
from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.reading.json_body import INLINE_BYTES_MAX, MistypedField, off_loop, read_then
from kissvdb.api.vectors import json_text as vector_json
from kissvdb.api.vectors.collections import collection_of
from kissvdb.api.vectors.forms import (
    OCTETS,
    Form,
    check_namespace,
    filter_of,
    from_query,
    media_of,
    packed,
    vector_of,
)
from kissvdb.api.vectors.search_bodies import K_DEFAULT, Explanation, SearchBatchBody, SearchBody
from kissvdb.core.events.publishing import Publish
from kissvdb.core.filters import notes as filter_notes
from kissvdb.core.filters import parse as filters
from kissvdb.core.filters.parse import MISSING
from kissvdb.core.search import Search
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.engine.vectors.registry import OpenCollection
from kissvdb.errors import DimMismatch, InvalidArgument, NotFound

if TYPE_CHECKING:
    from kissvdb.core.rows.view import RowsView

OFFSET_MAX = 10_000
EF_SEARCH_MAX = 4096
GROUP_LIMIT_MAX = 100
FIELD_BYTES_MAX = 256
# What a search may be to be done on the event loop.
QUICK_HITS_MAX = 64
QUICK_META_BYTES_MAX = 64 * 1024
QUICK_WALKED_NUMBERS_MAX = 100_000
QUICK_SCANNED_NUMBERS_MAX = 500_000
QUICK_FILTERED_ROWS_MAX = 100_000
QUICK_FILTER_MAX = 16
QUICK_FILTER_STEPS_MAX = 1000

SEARCH = Form(SearchBody)
SEARCH_BATCH = Form(SearchBatchBody)

_json = msgspec.json.encode


class Asked(msgspec.Struct, frozen=True):
    """What a request asks for besides its vectors, checked: the search, and what hits hold."""

    search: Search
    meta: bool
    vector: bool
    text: bool
    group_by: str | None = None
    group_limit: int = 1

    @property
    def is_audited(self) -> bool:
        """Whether the index alone answers it."""
        return self.search.is_plain and not self.group_by


def search(context: Context, request: Request) -> Response | Awaitable[Response]:
    collection = collection_of(context, request)
    context.database.vectors.find(collection)
    then = partial(_search_one, context, collection, large=len(request.body) > INLINE_BYTES_MAX)
    return read_then(request.body, _read, context, request, then=then)


def _search_one(
    context: Context,
    collection: str,
    read: tuple[SearchBody, bytes | None, Asked],
    *,
    large: bool,
) -> Response | Awaitable[Response]:
    """A quick search is done here: the way to a thread and back costs more than 100 us."""
    body, vector, asked = read
    found = context.database.vectors.find(collection)
    view = found.actor.view()
    if vector is None:
        assert body.id is not None
        stored = view.get(body.id)
        if stored is None:
            raise NotFound(f"no vector {body.id!r} in collection {collection!r} to search with")
        vector = stored.vector
    _check_dim(len(vector), view.spec)
    if body.emit or large or not _is_quick(asked, view):
        return _search_in_thread(context, found, body, vector, asked)
    from kissvdb.core.rows.view import SearchTooNarrow

    try:
        answer = _search(view, vector, asked, time.perf_counter_ns(), may_scan=False)
    except SearchTooNarrow:
        return _search_in_thread(context, found, body, vector, asked)
    if asked.is_audited:
        found.audit.note(vector, asked.search)
    return _answered(answer)


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
    return _answered(answer)


async def search_batch(context: Context, request: Request) -> Response:
    collection = collection_of(context, request)
    vectors = context.database.vectors
    spec = vectors.find(collection).actor.rows.spec
    queries, asked = await off_loop(request.body, _read_batch, context, request, spec)
    return _answered(
        await vectors.look(collection, lambda view: _search_batch(view, queries, asked))
    )


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
    if (data.count - view.indexed_rows) * dim > QUICK_SCANNED_NUMBERS_MAX:
        return False
    if view.index.cost(want, search.ef) > QUICK_WALKED_NUMBERS_MAX:
        return False
    if not search.narrowed:
        return True
    if data.count > QUICK_FILTERED_ROWS_MAX or filters.size(search.tree) > QUICK_FILTER_MAX:
        return False
    return view.knows_bitmap(search.tree, search.namespace, steps_max=QUICK_FILTER_STEPS_MAX)


class Answer(msgspec.Struct, frozen=True):
    """The body of an answer, the ids in it, and the offset it is true at."""

    text: bytes
    offset: int
    ids: tuple[str, ...] = ()


def _answered(answer: Answer) -> Response:
    return Response(answer.text, headers=(("kissvdb-offset", str(answer.offset)),))


def _search(
    view: "RowsView", vector: bytes, asked: Asked, started_ns: int, *, may_scan: bool = True
) -> Answer:
    queue_us = (time.perf_counter_ns() - started_ns) // 1000
    import numpy as np

    query = np.frombuffer(vector, "<f4")
    if asked.group_by is not None:
        return _search_groups(view, query, asked)
    found = view.search(query[None], asked.search, may_scan=may_scan)
    hits = found.hits[0]
    text = b'{"hits":' + _texts(view, asked).array(hits) + _exhausted(asked, len(hits))
    if found.explanation is not None:
        steps = attrs.asdict(found.explanation)
        count = partial(view.count, namespace=asked.search.namespace)
        notes = filter_notes.about(asked.search.tree, count)
        text += b',"explain":' + _json(Explanation(queue_us=queue_us, notes=notes, **steps))
    return Answer(text + b"}", view.offset, hits.ids)


def _search_groups(view: "RowsView", query: Any, asked: Asked) -> Answer:
    assert asked.group_by is not None
    groups = view.search_groups(query, asked.search, asked.group_by, asked.group_limit)
    texts, arrays = [], _texts(view, asked)
    for group in groups:
        hits = arrays.array(group.hits)
        value = b"" if group.value is MISSING else b',"value":' + arrays.fitting(_json(group.value))
        texts.append(b'{"hits":%b%b}' % (hits, value))
    ids = tuple(id_ for group in groups for id_ in group.hits.ids)
    few = _exhausted(asked, len(groups))
    return Answer(b'{"groups":[%b]%b}' % (b",".join(texts), few), view.offset, ids)


def _exhausted(asked: Asked, found: int) -> bytes:
    """A member that says why there are fewer hits than were asked for: no more pass."""
    few = asked.search.narrowed and found < asked.search.k
    return b',"exhausted":true' if few else b""


def _search_batch(view: "RowsView", queries: bytes, asked: Asked) -> Answer:
    import numpy as np

    found = view.search(np.frombuffer(queries, "<f4").reshape(-1, view.spec.dim), asked.search)
    arrays = _texts(view, asked)
    texts = [
        b'{"hits":%b%b}' % (arrays.array(hits), _exhausted(asked, len(hits))) for hits in found.hits
    ]
    return Answer(b'{"results":[%b]}' % b",".join(texts), view.offset)


def _texts(view: "RowsView", asked: Asked) -> vector_json.Hits:
    return vector_json.Hits(view, meta=asked.meta, vector=asked.vector, text=asked.text)


def _read(context: Context, request: Request) -> tuple[SearchBody, bytes | None, Asked]:
    if media_of(request) == OCTETS:
        body = from_query(request, SearchBody, vector=request.body, vector_b64=None)
    else:
        body = SEARCH.read(context, request)
    vector = vector_of(body.vector, body.vector_b64)
    if (vector is None) == (body.id is None):
        raise InvalidArgument("body: give either a vector (vector, vector_b64) or an id")
    if body.id is not None:
        limits.check_id(body.id, context.config.limits, "body.id")
    _check_range(body.group_limit, 1, GROUP_LIMIT_MAX, "body.group_limit")
    if body.group_by is not None:
        if not 0 < limits.utf8_length(body.group_by) <= FIELD_BYTES_MAX:
            raise InvalidArgument(f"body.group_by: must have 1 to {FIELD_BYTES_MAX} bytes")
        if body.offset or body.explain:
            raise InvalidArgument("body.group_by: goes without offset and explain")
    asked = _asked(
        context, request, body, body.group_by, body.group_limit or 1, explain=bool(body.explain)
    )
    return body, vector, asked


def _read_batch(context: Context, request: Request, spec: CollectionSpec) -> tuple[bytes, Asked]:
    if media_of(request) == OCTETS:
        body = from_query(request, SearchBatchBody, vectors=request.body)
    else:
        body = SEARCH_BATCH.read(context, request)
    if isinstance(body.vectors, bytes):
        queries = packed(body.vectors, "body.vectors")
        if len(queries) % spec.vector_bytes:
            _check_dim(len(queries), spec)
        count = len(queries) // spec.vector_bytes
    else:
        each = [packed(one, f"body.vectors[{n}]") for n, one in enumerate(body.vectors)]
        for one in each:
            _check_dim(len(one), spec)
        queries, count = b"".join(each), len(each)
    count_max = context.config.limits.vector_batch_max
    if not 0 < count <= count_max:
        raise InvalidArgument(
            f"body.vectors: 1 to {count_max} vectors, not {count}: send several requests, or raise "
            "limits.vector_batch_max (MAX_VECTOR_BATCH)"
        )
    return queries, _asked(context, request, body)


def _asked(
    context: Context,
    request: Request,
    body: SearchBody | SearchBatchBody,
    group_by: str | None = None,
    group_limit: int = 1,
    *,
    explain: bool = False,
) -> Asked:
    k = K_DEFAULT if body.k is None else body.k
    _check_range(k, 1, context.config.limits.k_max, "body.k")
    _check_range(body.offset, 0, OFFSET_MAX, "body.offset")
    _check_range(body.ef_search, 1, EF_SEARCH_MAX, "body.ef_search")
    if body.min_score is not None and not math.isfinite(body.min_score):
        raise MistypedField("body.min_score: must be a finite number")
    check_namespace(body.namespace, "body.namespace")
    search = Search(
        k=k,
        offset=body.offset or 0,
        tree=filter_of(context, request, body.filters),
        namespace=body.namespace,
        ef=body.ef_search,
        exact=bool(body.exact),
        min_score=body.min_score,
        explain=explain,
    )
    return Asked(
        search,
        bool(body.include_meta),
        bool(body.include_vector),
        bool(body.include_text),
        group_by,
        group_limit,
    )


def _check_range(number: int | None, least: int, most: int, where: str) -> None:
    if number is not None and not least <= number <= most:
        setting = ": the most is limits.k_max (MAX_K)" if where == "body.k" else ""
        raise InvalidArgument(f"{where}: must be {least} to {most}, not {number}{setting}")


def _check_dim(length_bytes: int, spec: CollectionSpec) -> None:
    if length_bytes != spec.vector_bytes:
        raise DimMismatch(
            f"the vector has {length_bytes / 4:g} numbers, collection {spec.name!r} has dim "
            f"{spec.dim}: send {spec.dim} numbers"
        )


def _search_event(collection: str, body: SearchBody, answer: Answer) -> Publish:
    data = {
        "collection": collection,
        "k": K_DEFAULT if body.k is None else body.k,
        "filters": body.filters,
        "namespace": body.namespace,
        "hits": answer.ids,
    }
    return Publish("vector_search", _json(data), transient=True, collection=collection)
