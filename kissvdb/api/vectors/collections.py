"""Vector collections over HTTP: create, list, look at, vacuum, delete."""

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec
from msgspec import UNSET

from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.indexes.bodies import TuningInfo
from kissvdb.api.indexes.shapes import GRAPH, SUITS, reshaped, shape_of
from kissvdb.api.reading.json_body import off_loop
from kissvdb.api.vectors.bodies import (
    CollectionCreated,
    CollectionDetail,
    CollectionInfo,
    Collections,
    CreateBody,
    EmbedderInfo,
    IndexInfo,
    MemoryInfo,
    ReindexBody,
    ReindexEnded,
    ReindexInfo,
    RowBytes,
    TextBody,
    TextInfo,
    UpkeepInfo,
    Vacuumed,
)
from kissvdb.api.vectors.forms import Form
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.core.text.fields import TEXT_FIELD
from kissvdb.core.text.settings import FieldSettings, TextSettings
from kissvdb.engine.vectors import manifests
from kissvdb.engine.vectors.model import check_name
from kissvdb.engine.vectors.registry import OpenCollection
from kissvdb.engine.vectors.reindex import Reindex
from kissvdb.errors import MistypedField

if TYPE_CHECKING:
    # Not at run time: numpy comes with it, and a server without vectors starts faster without.
    from kissvdb.engine.rows.footprint import Footprint

CREATE = Form(CreateBody)
REINDEX = Form(ReindexBody)
GROWN: Final = 4
"""A tuning says little of so many times more rows than it was measured with."""

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
    if body.dim is None and body.embedder is None:
        raise MistypedField("body: object missing required field dim (or embedder)")
    shape = shape_of(body.index)
    vectors = context.database.vectors
    offset = await vectors.create(
        name,
        dim=body.dim,
        metric=body.metric,
        embedder=body.embedder,
        **shape,
        quantization=body.quantization or "auto",
        ttl_ms=body.ttl_ms,
        **text_settings(body.text),
    )
    spec = vectors.find(name).actor.rows.spec
    created = CollectionCreated(name, spec.dim, spec.metric, offset, spec.embedder or UNSET)
    return Response(_json(created))


async def drop(context: Context, request: Request) -> Response:
    offset = await context.database.vectors.drop(collection_of(context, request))
    return Response(b'{"deleted":true,"offset":%d}' % offset)


def list_collections(context: Context, request: Request) -> Response:
    vectors, grants = context.database.vectors, request.principal.grants
    opened, broken = vectors.all, dict(vectors.broken)
    if grants is not None:
        opened = [each for each in opened if grants.may_vectors(each.name)]
        broken = {name: problem for name, problem in broken.items() if grants.may_vectors(name)}
    return Response(_json(Collections([_info(each) for each in opened], broken)))


async def detail(context: Context, request: Request) -> Response:
    name, vectors = collection_of(context, request), context.database.vectors
    memory = await vectors.memory(name)
    # Found anew: it may have gone, or got another index, meanwhile.
    return Response(_json(_detail(context, vectors.find(name), memory)))


async def vacuum(context: Context, request: Request) -> Response:
    removed = await context.database.vectors.vacuum(collection_of(context, request))
    return Response(_json(Vacuumed(ok=True, removed=removed)))


async def reindex(context: Context, request: Request) -> Response:
    name = collection_of(context, request)
    body = await off_loop(request.body, REINDEX.read, context, request)
    if body.embedder is None and body.index is None and body.quantization is None:
        raise MistypedField("body: give an embedder, an index or a quantization")
    job = await context.database.vectors.reindex(
        name, body.embedder, partial(reshaped, index=body.index, quantization=body.quantization)
    )
    return Response(_json(_reindex_info(context, job)), 202)


async def end_reindex(context: Context, request: Request) -> Response:
    offset = await context.database.vectors.end_reindex(collection_of(context, request))
    return Response(_json(ReindexEnded(offset is not None, offset)))


def _reindex_info(context: Context, job: Reindex) -> ReindexInfo:
    done, total = context.database.vectors.reindex_progress(job.collection)
    state, error, spec = job.state, job.error, job.spec
    found = context.database.vectors.find(job.collection)
    if state == "running" and job.keeps_vectors:
        error = found.upkeep.damage or found.upkeep.problem
        state = "running" if error is None else "waiting"
    return ReindexInfo(
        None if job.keeps_vectors else spec.embedder,
        None if job.keeps_vectors else spec.embedder_model,
        _index_info(spec),
        spec.quantization,
        state,
        done,
        total,
        job.started_at_ms,
        error,
    )


def _index_info(spec: CollectionSpec) -> IndexInfo:
    graph = {name: getattr(spec, name) for name in GRAPH if name in SUITS[spec.index]}
    return IndexInfo(spec.index, **graph, **spec.options.given())


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


def _detail(context: Context, found: OpenCollection, memory: "Footprint") -> CollectionDetail:
    spec = found.actor.rows.spec
    numbers = found.actor.view().statistics()
    job = context.database.vectors.reindex_of(spec.name)
    return CollectionDetail(
        **attrs.asdict(_info(found)),
        manifest=manifests.content(spec),
        notes=_notes(context, found),
        index=_index_info(spec),
        quantization=spec.quantization,
        precision=numbers.precision,
        ttl_ms=spec.ttl_ms,
        embedder=_embedder(spec),
        reindex=None if job is None else _reindex_info(context, job),
        text=_text_info(spec),
        tail=numbers.tail_rows,
        upkeep=UpkeepInfo(found.upkeep.working, found.upkeep.done_total),
        recall=found.audit.recall,
        damage=found.upkeep.damage,
        tuning=None if spec.tuning is None else TuningInfo.of(spec.tuning),
        memory=_memory_info(memory),
        indexed=_indexed(spec, *found.actor.rows.counts),
    )


def _indexed(spec: CollectionSpec, size: int, count: int) -> float:
    """Never 1 before all are; of what has no index there is nothing to come."""
    return math.floor(10_000 * size / count) / 10_000 if count and spec.index != "flat" else 1.0


def _memory_info(found: "Footprint") -> MemoryInfo:
    heap, mapped, disk = found.heap, found.mapped, found.disk
    rows = max(found.rows, 1)
    each = (round(size / rows, 1) if found.rows else 0.0 for size in (heap, mapped, disk))
    return MemoryInfo(heap, mapped, disk, RowBytes(*each))


def _embedder(spec: CollectionSpec) -> EmbedderInfo | None:
    if spec.embedder is None:
        return None
    return EmbedderInfo(spec.embedder, spec.embedder_model or "")


def _text_info(spec: CollectionSpec) -> TextInfo:
    settings = spec.text_settings
    field = settings.field(TEXT_FIELD) or settings.default
    return TextInfo(field.language, field.tokenizer, settings.k1, settings.b)


def text_settings(body: TextBody | None) -> dict[str, Any]:
    """How texts are searched, if it was said. Raises InvalidArgument."""
    if body is None:
        return {}
    field = {"language": body.language, "tokenizer": body.tokenizer}
    given = {name: each for name, each in field.items() if each is not None}
    others = {name: each for name, each in (("k1", body.k1), ("b", body.b)) if each is not None}
    fields = {TEXT_FIELD: FieldSettings.from_json(given, "body.text")}
    settings = TextSettings.from_json({**others, "others": True}, "body.text")
    return {"text": attrs.evolve(settings, fields=fields, others=False)}


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
    tuning, count = found.spec.tuning, found.actor.view().data.count
    if tuning is not None and count >= GROWN * tuning.rows:
        notes.append(
            f"how hard searches try was measured with {tuning.rows} vectors, and there are {count} "
            f"now: POST /v1/vector/{found.name}/tune measures it again"
        )
    return notes
