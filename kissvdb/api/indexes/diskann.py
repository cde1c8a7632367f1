"""The seed's routes of a graph on disk: a collection gets one, is told how to search it, and says
how it stands."""

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec
import trio

from kissvdb.api.bodies import U64, RequestBody
from kissvdb.api.frame import reach as touches
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.frame.route import JSON, Operation, Route, Scope, Success
from kissvdb.api.indexes.shapes import reshaped
from kissvdb.api.reading.json_body import MistypedField, off_loop
from kissvdb.api.vectors.bodies import IndexBody
from kissvdb.api.vectors.collections import collection_of
from kissvdb.api.vectors.forms import MSGPACK, Form
from kissvdb.config import Search
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.engine.vectors.registry import OpenCollection
from kissvdb.errors import (
    AlreadyExists,
    InvalidArgument,
    KissError,
    NotFound,
    Overloaded,
    PersistenceFailed,
    Stopping,
)

if TYPE_CHECKING:
    # Not at run time: numpy comes with it, and a server without vectors starts faster without.
    from kissvdb.core.index.disk_pages import Pages

KIND: Final = "vamana"
DEGREE_MIN, DEGREE_MAX = 4, 1024
LIST_MIN, LIST_MAX = 8, 65_535
"""What the seed takes; what is beyond is brought in."""
USED_DEGREE_MIN, USED_DEGREE_MAX = 8, 128
"""What there is room for in a page."""
LIST_DEFAULT = 64
"""As ``core.index.disk`` has it, which is not imported before there are vectors."""
LOOK_SECONDS = 0.1


class DiskannBody(RequestBody, frozen=True):
    """``max_degree``: links of a vector, 4 to 1024, of which 8 to 128 are used;
    ``search_list_size``: vectors a search keeps in view, 8 to 65535; ``build_threads``: from 1 on,
    taken and answered: it is ``search.build_threads`` that counts."""

    max_degree: int | None = None
    build_threads: int | None = None
    search_list_size: int | None = None


@attrs.frozen
class DiskannParams:
    """See DiskannBody."""

    max_degree: int
    build_threads: int
    search_list_size: int


@attrs.frozen
class DiskannStatus:
    """``available``: the collection has a graph on disk, packed at the Unix time
    ``last_built_ms`` into so many files. ``params``: those that hold."""

    available: bool
    last_built_ms: U64 | None
    graph_files: int
    params: DiskannParams


@attrs.frozen
class DiskannDone:
    """``params``: what was asked for, within bounds."""

    ok: bool
    params: DiskannParams
    status: DiskannStatus


BODY = Form(DiskannBody)


async def build(context: Context, request: Request) -> Response:
    """The collection has its graph on disk, with all that is written by now, when it answers."""
    name = collection_of(context, request)
    body = await _read(context, request)
    vectors = context.database.vectors
    found, search = vectors.find(name), context.config.search
    asked = _asked(body, found.spec, search)
    if not _has(found.spec, asked):
        await _convert(context, name, asked)
    await vectors.compiled.wait()
    await vectors.find(name).upkeep.index_all()
    return _done(asked, vectors.find(name), search)


def status(context: Context, request: Request) -> Response:
    found = context.database.vectors.find(collection_of(context, request))
    return Response(msgspec.json.encode(_status(found, context.config.search)))


async def _read(context: Context, request: Request) -> DiskannBody:
    """All of it may be left unsaid, and so may the body."""
    if not request.body:
        return DiskannBody()
    return await off_loop(request.body, BODY.read, context, request)


async def _convert(context: Context, name: str, asked: DiskannParams) -> None:
    """Give a collection such a graph, and wait until it has it."""
    index = IndexBody(
        kind=KIND,
        max_degree=_used_degree(asked.max_degree),
        search_list_size=asked.search_list_size,
    )

    vectors = context.database.vectors
    await vectors.reindex(name, None, partial(reshaped, index=index, quantization=None))
    while (job := vectors.reindex_of(name)) is not None:
        if job.state == "failed":
            raise PersistenceFailed(f"the graph of {name!r} was not built: {job.error}")
        await trio.sleep(LOOK_SECONDS)


async def tune(context: Context, request: Request) -> Response:
    """How searches of a graph on disk try, from now on; links are those it was built with."""
    name = collection_of(context, request)
    body = await _read(context, request)
    vectors, search = context.database.vectors, context.config.search
    found = vectors.find(name)
    if found.spec.index != KIND:
        raise MistypedField(
            f"collection {name!r} has an index of kind {found.spec.index}, not one on disk: "
            f"POST /v1/vector/{name}/diskann/build makes it one"
        )
    asked = _asked(body, found.spec, search)
    if asked.search_list_size != _list_size(found.spec):
        # Its links are those it was built with.
        await _convert(context, name, attrs.evolve(asked, max_degree=_degree(found.spec)))
    return _done(asked, vectors.find(name), search)


def _has(spec: CollectionSpec, asked: DiskannParams) -> bool:
    """Whether a collection is what was asked for already."""
    if spec.index != KIND or _degree(spec) != _used_degree(asked.max_degree):
        return False
    return _list_size(spec) == asked.search_list_size


def _asked(body: DiskannBody, spec: CollectionSpec, search: Search) -> DiskannParams:
    """Of what is not said, what the collection has stays; of a new graph it is as configured."""
    now = _params(spec, search)
    degree, threads, list_size = body.max_degree, body.build_threads, body.search_list_size
    return DiskannParams(
        now.max_degree if degree is None else min(max(degree, DEGREE_MIN), DEGREE_MAX),
        now.build_threads if threads is None else max(threads, 1),
        now.search_list_size if list_size is None else min(max(list_size, LIST_MIN), LIST_MAX),
    )


def _params(spec: CollectionSpec, search: Search) -> DiskannParams:
    threads = search.build_threads or max(1, (os.cpu_count() or 1) // 2)
    if spec.index != KIND:
        return DiskannParams(search.disk_max_degree, threads, search.disk_list_size)
    return DiskannParams(_degree(spec), threads, _list_size(spec))


def _degree(spec: CollectionSpec) -> int:
    return spec.options.max_degree or 2 * spec.m


def _list_size(spec: CollectionSpec) -> int:
    return spec.options.search_list_size or LIST_DEFAULT


def _used_degree(degree: int) -> int:
    return min(max(degree, USED_DEGREE_MIN), USED_DEGREE_MAX)


def _status(found: OpenCollection, search: Search) -> DiskannStatus:
    pages: Pages | None = getattr(found.actor.view().index, "pages", None)
    params = _params(found.spec, search)
    if pages is None:
        return DiskannStatus(False, None, 0, params)
    written_at_ms = pages.written_at_ms
    if written_at_ms is None:
        # It is in memory.
        written_at_ms = found.actor.updated_at_ms
    return DiskannStatus(True, written_at_ms, 1, params)


def _done(asked: DiskannParams, found: OpenCollection, search: Search) -> Response:
    return Response(msgspec.json.encode(DiskannDone(True, asked, _status(found, search))))


def _route(
    method: str,
    path: str,
    operation: Operation,
    summary: str,
    answer: Success,
    *errors: type[KissError],
    scope: Scope,
    body: Any = None,
) -> Route:
    return Route(
        method,
        f"/v1/vector/{{collection}}/diskann/{path}",
        operation,
        summary,
        "vectors",
        answer,
        scope=scope,
        reach=touches.VECTORS,
        body=body,
        body_media=() if body is None else (JSON, MSGPACK),
        body_optional=body is not None,
        errors=(InvalidArgument, NotFound, *errors),
        hot=True,
        bounded=body is None,
        audited=body is not None,
    )


_CHANGES = (MistypedField, AlreadyExists, Overloaded, Stopping, PersistenceFailed)

DISKANN = (
    _route(
        "POST",
        "build",
        build,
        "Give a collection a graph on disk, and wait until it has it",
        Success("Built, with all that was written before.", DiskannDone),
        *_CHANGES,
        scope=Scope.ADMIN,
        body=DiskannBody,
    ),
    _route(
        "POST",
        "tune",
        tune,
        "How many vectors searches of a graph on disk keep in view",
        Success("It holds from now on.", DiskannDone),
        *_CHANGES,
        scope=Scope.ADMIN,
        body=DiskannBody,
    ),
    _route(
        "GET",
        "status",
        status,
        "Whether a collection has a graph on disk",
        Success("How it stands.", DiskannStatus),
        scope=Scope.READ,
    ),
)
