"""Vector collections over HTTP: create, list, look at, vacuum, delete."""

import attrs
import msgspec

from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.reading.json_body import off_loop
from kissvdb.api.vectors.bodies import (
    CollectionDetail,
    CollectionInfo,
    Collections,
    CreateBody,
    IndexBody,
    IndexInfo,
    UpkeepInfo,
    Vacuumed,
)
from kissvdb.api.vectors.forms import Form
from kissvdb.engine.vectors import manifests
from kissvdb.engine.vectors.model import check_name
from kissvdb.engine.vectors.registry import OpenCollection

CREATE = Form(CreateBody)

_json = msgspec.json.encode


def collection_of(context: Context, request: Request) -> str:
    """The collection that the path names. Raises InvalidArgument for a name that cannot be."""
    name = request.params["collection"]
    check_name(name, context.config.limits)
    return name


async def create(context: Context, request: Request) -> Response:
    name = collection_of(context, request)
    body = await off_loop(request.body, CREATE.read, context, request)
    limits.check_ttl(body.ttl_ms, "body.ttl_ms")
    metric = body.metric or "cosine"
    index = body.index or IndexBody()
    offset = await context.database.vectors.create(
        name,
        dim=body.dim,
        metric=metric,
        index=index.kind,
        m=index.m,
        ef_construction=index.ef_construction,
        quantization=body.quantization or "auto",
        ttl_ms=body.ttl_ms,
    )
    answer = {"collection": name, "dim": body.dim, "metric": metric, "offset": offset}
    return Response(_json(answer))


async def drop(context: Context, request: Request) -> Response:
    offset = await context.database.vectors.drop(collection_of(context, request))
    return Response(b'{"deleted":true,"offset":%d}' % offset)


def list_collections(context: Context, request: Request) -> Response:
    vectors = context.database.vectors
    return Response(_json(Collections([_info(each) for each in vectors.all], dict(vectors.broken))))


def detail(context: Context, request: Request) -> Response:
    found = context.database.vectors.find(collection_of(context, request))
    return Response(_json(_detail(context, found)))


async def vacuum(context: Context, request: Request) -> Response:
    removed = await context.database.vectors.vacuum(collection_of(context, request))
    return Response(_json(Vacuumed(ok=True, removed=removed)))


def _info(found: OpenCollection) -> CollectionInfo:
    spec, view = found.actor.rows.spec, found.actor.view()
    numbers = view.statistics()
    size = numbers.row_bytes + numbers.index_bytes
    return CollectionInfo(
        collection=spec.name,
        dim=spec.dim,
        metric=spec.metric,
        count=numbers.live_rows,
        deleted=numbers.deleted_rows,
        bytes=size,
        segments=int(numbers.tail_rows < view.data.count),
        applied_offset=found.actor.true_offset,
        created_at_ms=spec.created_at_ms,
        updated_at_ms=found.actor.updated_at_ms,
        name=spec.name,
        live_count=numbers.live_rows,
        deleted_count=numbers.deleted_rows,
        file_len=size,
        total_records=view.data.count,
        upsert_count=view.data.count,
    )


def _detail(context: Context, found: OpenCollection) -> CollectionDetail:
    spec = found.actor.rows.spec
    numbers = found.actor.view().statistics()
    return CollectionDetail(
        **attrs.asdict(_info(found)),
        manifest=manifests.content(spec),
        notes=_notes(context, found),
        index=IndexInfo(spec.index, spec.m, spec.ef_construction),
        quantization=spec.quantization,
        precision=numbers.precision,
        ttl_ms=spec.ttl_ms,
        tail=numbers.tail_rows,
        upkeep=UpkeepInfo(found.upkeep.working, found.upkeep.done_total),
        recall=found.audit.recall,
        damage=found.upkeep.damage,
    )


def _notes(context: Context, found: OpenCollection) -> list[str]:
    """What an operator should know of the collection."""
    notes = []
    if not context.database.vectors.compiled.is_set():
        notes.append("compiled code is not loaded yet: until then every search is exact")
    if found.upkeep.damage is not None:
        notes.append(found.upkeep.damage)
    progress = found.actor.rows.vacuum_progress
    if progress is not None:
        notes.append(f"vacuum: {progress[0]} of {progress[1]} rows done")
    return notes
