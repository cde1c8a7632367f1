"""Writing vectors over HTTP."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from kissvdb.api.compiled import columns, loading
from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Pending, Request, Response
from kissvdb.api.reading.json_body import Body, MistypedField, off_loop, read_then
from kissvdb.api.vectors.bodies import (
    NO_JSON,
    DeleteBatchBody,
    DeleteBody,
    DeleteByFilterBody,
    UpdateBody,
    UpsertBatchBody,
    UpsertBody,
    WriteBody,
)
from kissvdb.api.vectors.collections import collection_of
from kissvdb.api.vectors.forms import (
    MSGPACK,
    OCTETS,
    Form,
    check_namespace,
    filter_of,
    from_query,
    media_of,
    metadata,
    rows_of,
    split_batch,
    vector_of,
    vector_or_none,
)
from kissvdb.core.filters import parse as filters
from kissvdb.core.rows.rules import (
    Add,
    Answer,
    Delete,
    DeletedVector,
    Update,
    Upsert,
    WrittenVector,
)
from kissvdb.core.store.columns import UpsertMany, WrittenMany
from kissvdb.engine.vectors.collection import VectorCommand
from kissvdb.errors import Damaged, InvalidArgument, KissError, NotFound, Unavailable

C = TypeVar("C", Add, Upsert)

Begun = Response | Pending | Awaitable[Response | Pending]

WRITE = Form(WriteBody)
UPSERT = Form(UpsertBody)
UPDATE = Form(UpdateBody)
DELETE = Form(DeleteBody)
UPSERT_BATCH = Form(UpsertBatchBody)
DELETE_BATCH = Form(DeleteBatchBody)
DELETE_BY_FILTER = Form(DeleteByFilterBody)

_json = msgspec.json.encode
_REPEATED = {False: b"", True: b',"repeated":true'}
_UNCHANGED = b',"unchanged":true'
_NO_VECTOR = b""
"""Of a command with a text, before there is one."""


class BatchHead(msgspec.Struct, forbid_unknown_fields=True):
    """The line that a raw batch begins with."""

    ids: list[str]
    metas: list[msgspec.Raw] | None = None
    texts: list[str | None] | None = None
    namespace: str | None = None
    ttl_ms: int | None = None


_HEAD = Body(BatchHead)


def add(context: Context, request: Request) -> Begun:
    return _write(context, request, _add)


def upsert(context: Context, request: Request) -> Begun:
    return _write(context, request, _upsert)


def update(context: Context, request: Request) -> Begun:
    return _write(context, request, _update)


def delete(context: Context, request: Request) -> Pending | Awaitable[Pending]:
    collection = collection_of(context, request)

    def submit(body: DeleteBody) -> Pending:
        limits.check_id(body.id, context.config.limits, "body.id")
        command = Delete(body.id, limits.checked_op_id(body.op_id, "body.op_id"))
        return Pending(context.database.submit(VectorCommand(collection, command)), _deleted)

    return read_then(request.body, DELETE.read, context, request, then=submit)


async def upsert_batch(context: Context, request: Request) -> Response:
    collection = collection_of(context, request)
    # Before it is read: what waits here is a body each connection. The collection may be another
    # one afterwards.
    await context.database.vectors.keep_pace((collection,))
    view = context.database.vectors.find(collection).actor.view()
    json, dim = view.kernels.json, view.spec.dim
    read = await off_loop(request.body, _upserts, collection, context, request, json, dim)
    if isinstance(read, UpsertMany):
        return await _at_once(context, collection, read)
    ids, commands = read
    outcomes = await context.database.vectors.texts.prepared(commands)
    return await _each(context, "upserted", ids, outcomes)


async def delete_batch(context: Context, request: Request) -> Response:
    collection = collection_of(context, request)
    context.database.vectors.find(collection)
    ids = (await off_loop(request.body, DELETE_BATCH.read, context, request)).ids
    _check_batch(len(ids), "body.ids", context)
    commands: list[VectorCommand | KissError] = []
    for place, id_ in enumerate(ids):
        try:
            limits.check_id(id_, context.config.limits, f"body.ids[{place}]")
            commands.append(VectorCommand(collection, Delete(id_)))
        except InvalidArgument as refusal:
            commands.append(refusal)
    return await _each(context, "deleted", ids, commands)


async def delete_by_filter(context: Context, request: Request) -> Response:
    collection = collection_of(context, request)
    body = await off_loop(request.body, DELETE_BY_FILTER.read, context, request)
    tree = filter_of(context, request, body.filters)
    check_namespace(body.namespace, "body.namespace")
    if filters.asks_nothing(tree) and body.namespace is None and not body.all:
        raise InvalidArgument(
            'body: this would delete every vector: give filters or a namespace, or "all": true'
        )
    vectors = context.database.vectors
    count, offset = await vectors.delete_matching(collection, tree, body.namespace)
    return Response(b'{"deleted":%d,"offset":%b}' % (count, _json(offset)))


def _write(
    context: Context,
    request: Request,
    read: Callable[[str, Context, Request], VectorCommand],
) -> Begun:
    collection = collection_of(context, request)
    texts = context.database.vectors.texts
    context.database.vectors.find(collection)

    def write(command: VectorCommand) -> Begun:
        if texts.concerns(command):
            return _prepare(context, command)
        return Pending(context.database.submit(command), _written)

    return read_then(request.body, read, collection, context, request, then=write)


async def _prepare(context: Context, command: VectorCommand) -> Response | Pending:
    """Send a command once it has its vector."""
    (outcome,) = await context.database.vectors.texts.prepared([command])
    if isinstance(outcome, KissError):
        raise outcome
    if isinstance(outcome, WrittenVector):
        return _written(outcome)
    return Pending(context.database.submit(outcome), _written)


def _written(answer: WrittenVector) -> Response:
    return Response(b'{"ok":true,"offset":%d%b}' % (answer.offset, _marks(answer)))


def _marks(answer: Answer) -> bytes:
    """What more there is to say of what was done."""
    if isinstance(answer, WrittenVector) and answer.unchanged:
        return _UNCHANGED
    return _REPEATED[answer.repeated]


def _deleted(answer: Answer) -> Response:
    return Response(b'{"deleted":true,"offset":%d%b}' % (answer.offset, _REPEATED[answer.repeated]))


def _add(collection: str, context: Context, request: Request) -> VectorCommand:
    if media_of(request) == OCTETS:
        body = from_query(request, WriteBody, vector=request.body)
    else:
        body = WRITE.read(context, request)
    add = _command(Add, body, _vector(body, "body"), context, request, "body")
    return VectorCommand(collection, add)


def _upsert(collection: str, context: Context, request: Request) -> VectorCommand:
    if media_of(request) == OCTETS:
        body = from_query(request, UpsertBody, vector=request.body)
    else:
        body = UPSERT.read(context, request)
    upsert = _command(Upsert, body, _vector(body, "body"), context, request, "body")
    return VectorCommand(collection, upsert, bool(body.if_changed))


def _vector(body: WriteBody, where: str) -> bytes:
    return vector_or_none(body.vector, body.vector_b64, body.text, where) or _NO_VECTOR


def _command(
    kind: type[C],
    body: WriteBody,
    vector: bytes,
    context: Context,
    request: Request,
    where: str,
) -> C:
    bounds = context.config.limits
    limits.check_id(body.id, bounds, f"{where}.id")
    limits.check_ttl(body.ttl_ms, f"{where}.ttl_ms")
    limits.check_text(body.text, bounds, f"{where}.text")
    meta = metadata(body.meta, body.namespace, request, bounds, where)
    op_id = limits.checked_op_id(body.op_id, f"{where}.op_id")
    return kind(body.id, vector, meta, body.ttl_ms, op_id, body.text)


def _update(collection: str, context: Context, request: Request) -> VectorCommand:
    if media_of(request) == OCTETS:
        body = from_query(request, UpdateBody, vector=request.body)
    else:
        body = UPDATE.read(context, request)
    bounds = context.config.limits
    limits.check_id(body.id, bounds, "body.id")
    limits.check_ttl(body.ttl_ms, "body.ttl_ms")
    vector = vector_of(body.vector, body.vector_b64)
    if body.namespace is not None and body.meta is None:
        raise InvalidArgument("body.namespace: is part of meta, so give meta as well")
    limits.check_text(body.text or None, bounds, "body.text")
    meta = metadata(body.meta, body.namespace, request, bounds)
    op_id = limits.checked_op_id(body.op_id, "body.op_id")
    update = Update(body.id, vector, meta, body.ttl_ms, op_id, body.text)
    return VectorCommand(collection, update)


def _upserts(
    collection: str, context: Context, request: Request, json: Any, dim: int
) -> UpsertMany | tuple[Sequence[str], Sequence[VectorCommand | KissError]]:
    """A batch as columns; or its ids, and for each the command or what is wrong with it."""
    vectors: Sequence[bytes] | None = None
    items: Sequence[UpsertBody]
    bounds, media = context.config.limits, media_of(request)
    if media == OCTETS:
        head, numbers = _raw_head(request, context)
        if head.texts is None and head.namespace is None and head.ttl_ms is None:
            rows = columns.vectors_in(numbers, len(head.ids), dim)
            many = columns.of_columns(head.ids, rows, head.metas, bounds)
            if many is not None:
                return many
        items, vectors = _raw_items(head, numbers)
    else:
        cut = loading.read(context, request, json, dim)
        items = UPSERT_BATCH.read(context, request).items if cut is None else cut[0]
        _check_batch(len(items), "body.items", context)
        cut_out = None if cut is None else cut[1]
        many = columns.of_items(items, cut_out, dim, bounds, msgpack=media == MSGPACK)
        if many is not None:
            return many
        vectors = None if cut_out is None else [row.tobytes() for row in cut_out]
    commands: list[VectorCommand | KissError] = []
    for place, item in enumerate(items):
        where = f"body.items[{place}]"
        try:
            vector = _vector(item, where) if vectors is None else vectors[place]
            upsert = _command(Upsert, item, vector, context, request, where)
            commands.append(VectorCommand(collection, upsert, bool(item.if_changed)))
        except MistypedField:
            raise
        except KissError as refusal:
            commands.append(refusal)
    return [item.id for item in items], commands


def _raw_head(request: Request, context: Context) -> tuple[BatchHead, bytes]:
    """The line that a raw batch begins with, and its numbers."""
    line, numbers = split_batch(request.body)
    head = _HEAD.read(line, strict=context.strict)
    count = len(head.ids)
    _check_batch(count, "body.ids", context)
    if head.metas is not None and len(head.metas) != count:
        raise InvalidArgument(f"body: {count} ids, but {len(head.metas)} metas")
    if head.texts is not None and len(head.texts) != count:
        raise InvalidArgument(f"body: {count} ids, but {len(head.texts)} texts")
    return head, numbers


def _raw_items(head: BatchHead, numbers: bytes) -> tuple[list[UpsertBody], list[bytes]]:
    """The items of a raw batch without their vectors, and the vectors."""
    count = len(head.ids)
    metas = head.metas or [NO_JSON] * count
    texts = head.texts or [None] * count
    items = [
        UpsertBody(id_, None, None, text, meta, head.namespace, head.ttl_ms)
        for id_, meta, text in zip(head.ids, metas, texts, strict=True)
    ]
    return items, rows_of(numbers, count, "body")


def _check_batch(count: int, where: str, context: Context) -> None:
    count_max = context.config.limits.vector_batch_max
    if not 0 < count <= count_max:
        raise InvalidArgument(
            f"{where}: 1 to {count_max} vectors, not {count}: send several batches, or "
            "raise limits.vector_batch_max (MAX_VECTOR_BATCH)"
        )


async def _at_once(context: Context, collection: str, many: UpsertMany) -> Response:
    """Write a batch of columns, and answer for each."""
    ids = many.ids
    written: WrittenMany | Sequence[object]
    try:
        written = await context.database.vectors.upsert_many(collection, many)
    except (Unavailable, NotFound, Damaged) as refusal:
        # As `write_many` answers it: each of them is refused.
        written = [refusal] * len(ids)
    if isinstance(written, WrittenMany) and not _needs_escape("".join(ids)):
        results = ",".join(
            [
                f'{{"status":"upserted","id":"{id_}","offset":{offset}}}'
                for id_, offset in zip(ids, written.offsets, strict=True)
            ]
        ).encode()
    else:
        if isinstance(written, WrittenMany):
            written = list(map(WrittenVector, ids, written.offsets))
        results = b",".join(map(_result, ["upserted"] * len(ids), ids, written))
    return Response(b'{"results":[%b]}' % results)


def _needs_escape(text: str) -> bool:
    return '"' in text or "\\" in text or not text.isprintable()


async def _each(
    context: Context,
    done: str,
    ids: Sequence[str],
    commands: Sequence[VectorCommand | WrittenVector | KissError],
) -> Response:
    """Do what is sound, in order, and answer for each."""
    sound = [each for each in commands if isinstance(each, VectorCommand)]
    answers = iter(await context.database.write_many(sound) if sound else ())
    results = [
        _result(done, id_, next(answers) if isinstance(command, VectorCommand) else command)
        for id_, command in zip(ids, commands, strict=True)
    ]
    return Response(b'{"results":[%b]}' % b",".join(results))


def _result(done: str, id_: str, outcome: object) -> bytes:
    if isinstance(outcome, KissError):
        return b'{"status":"error","id":%b,"error":{"error":%b,"message":%b}}' % (
            _json(id_),
            _json(outcome.code),
            _json(outcome.message),
        )
    assert isinstance(outcome, (WrittenVector, DeletedVector))
    status, marks = done.encode(), _marks(outcome)
    return b'{"status":"%b","id":%b,"offset":%d%b}' % (status, _json(id_), outcome.offset, marks)
