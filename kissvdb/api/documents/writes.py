"""Reading and writing documents over HTTP, one by one and in batches."""

from collections.abc import Awaitable, Mapping, Sequence
from functools import partial

import msgspec

from actors import Reply
from kissvdb.api.access.commands import check_command, check_each
from kissvdb.api.documents.bodies import DeleteDocumentsBody, PutDocument, PutDocumentsBody
from kissvdb.api.documents.names import collection_of, key_of, key_of_path
from kissvdb.api.documents.texts import document_of
from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Pending, Request, Response
from kissvdb.api.frame.preconditions import precondition
from kissvdb.api.reading.json_body import Body, off_loop, read_then
from kissvdb.api.reading.query import parse_query, u64
from kissvdb.api.state import parts
from kissvdb.core.state.rules import Answer, Command, Delete, Deleted, Item, Patch, Put, Written
from kissvdb.errors import InvalidArgument, KissError, NotFound

PUT_BATCH = Body(PutDocumentsBody)
DELETE_BATCH = Body(DeleteDocumentsBody)

_json = msgspec.json.encode


def get(context: Context, request: Request) -> Response | Awaitable[Response]:
    id_, key = key_of_path(context, request)

    def answer(item: Item | None) -> Response:
        if item is None:
            raise NotFound(f"no document {id_!r} in collection {request.params['collection']!r}")
        return parts.read(request, item, partial(_document, id_))

    return parts.find(context, request, key, answer)


def put(context: Context, request: Request) -> Pending | Awaitable[Pending]:
    id_, key = key_of_path(context, request)
    query = parse_query(request.query)
    ttl_ms, op_id = _wishes(query)
    creates = parts.creates(query)

    def submit(document: bytes) -> Pending:
        condition = parts.condition(context, request, key, query, creates=creates)
        command = Put(key, document, ttl_ms, condition, op_id)
        return Pending(_submit(context, request, command), partial(_put, id_, document))

    return read_then(
        request.body, document_of, request.body, context.config.limits, "body", then=submit
    )


def patch(context: Context, request: Request) -> Pending | Awaitable[Pending]:
    id_, key = key_of_path(context, request)
    query = parse_query(request.query)
    ttl_ms, op_id = _wishes(query)
    creates = parts.creates(query)

    def submit(changes: bytes) -> Pending:
        condition = parts.condition(context, request, key, query, creates=creates)
        command = Patch(key, changes, ttl_ms, condition, op_id)
        return Pending(_submit(context, request, command), partial(_patched, id_))

    return read_then(
        request.body, document_of, request.body, context.config.limits, "body", then=submit
    )


def delete(context: Context, request: Request) -> Pending:
    _, key = key_of_path(context, request)
    query = parse_query(request.query)
    condition = parts.condition(context, request, key, query)
    op_id = parts.op_id(query)
    return Pending(_submit(context, request, Delete(key, condition, op_id)), parts.deleted)


async def put_batch(context: Context, request: Request) -> Response:
    collection = collection_of(context, request)
    read = partial(PUT_BATCH.read, request.body, strict=context.strict)
    documents = (await off_loop(request.body, read)).documents
    _check_batch(len(documents), "body.documents", context)
    outcomes = await off_loop(request.body, _puts, context, collection, documents)
    return await _each(context, request, [document.id for document in documents], outcomes)


async def delete_batch(context: Context, request: Request) -> Response:
    collection = collection_of(context, request)
    read = partial(DELETE_BATCH.read, request.body, strict=context.strict)
    ids = (await off_loop(request.body, read)).ids
    _check_batch(len(ids), "body.ids", context)
    outcomes: list[Command | KissError] = []
    for place, id_ in enumerate(ids):
        try:
            key = key_of(collection, id_, context.config.limits, f"body.ids[{place}]")
            outcomes.append(Delete(key))
        except KissError as refusal:
            outcomes.append(refusal)
    return await _each(context, request, ids, outcomes)


def _puts(
    context: Context, collection: str, documents: Sequence[PutDocument]
) -> list[Command | KissError]:
    """A command for each document, or what is wrong with it."""
    bounds = context.config.limits
    outcomes: list[Command | KissError] = []
    for place, each in enumerate(documents):
        where = f"body.documents[{place}]"
        limits.check_ttl(each.ttl_ms, f"{where}.ttl_ms")
        limits.check_u64(each.if_revision, f"{where}.if_revision")
        limits.check_u64(each.if_offset, f"{where}.if_offset")
        condition = precondition({}, each.if_revision, each.if_offset, lambda: None)
        try:
            key = key_of(collection, each.id, bounds, f"{where}.id")
            document = document_of(each.doc, bounds, f"{where}.doc")
            op_id = limits.checked_op_id(each.op_id, f"{where}.op_id")
        except KissError as refusal:
            outcomes.append(refusal)
        else:
            outcomes.append(Put(key, document, each.ttl_ms, condition, op_id))
    return outcomes


def _submit(context: Context, request: Request, command: Command) -> Reply:
    return context.database.submit(check_command(request.principal.grants, command))


async def _each(
    context: Context, request: Request, ids: Sequence[str], outcomes: Sequence[Command | KissError]
) -> Response:
    """Do what is sound, in order and with one append, and answer for each."""
    outcomes = check_each(request.principal.grants, outcomes)
    commands = [each for each in outcomes if not isinstance(each, KissError)]
    answers = iter(await context.database.write_many(commands) if commands else ())
    results = [
        _result(id_, outcome if isinstance(outcome, KissError) else next(answers))
        for id_, outcome in zip(ids, outcomes, strict=True)
    ]
    return Response(b'{"results":[%b]}' % b",".join(results))


def _wishes(query: Mapping[str, str]) -> tuple[int | None, str | None]:
    """The ttl_ms and the op_id of a write: the body is the document, and has no room for them."""
    ttl_ms = u64(query, "ttl_ms")
    limits.check_ttl(ttl_ms, "query.ttl_ms", InvalidArgument)
    return ttl_ms, parts.op_id(query)


def _check_batch(count: int, where: str, context: Context) -> None:
    count_max = context.config.limits.state_batch_max
    if not 0 < count <= count_max:
        raise InvalidArgument(
            f"{where}: 1 to {count_max} documents, not {count}: send several batches, or raise "
            "limits.state_batch_max (MAX_STATE_BATCH)"
        )


def _document(id_: str, item: Item) -> bytes:
    return b'{"id":%b,"revision":%d,"doc":%b,"expires_at_ms":%b,"offset":%d}' % (
        _json(id_),
        item.revision,
        item.value,
        parts.number(item.expires_at_ms),
        item.offset,
    )


def _put(id_: str, document: bytes, answer: Answer) -> Response:
    assert isinstance(answer, Written)
    return Response(
        b'{"id":%b,"revision":%d,"doc":%b,"expires_at_ms":%b,"offset":%d%b}'
        % (
            _json(id_),
            answer.revision,
            document,
            parts.number(answer.expires_at_ms),
            answer.offset,
            parts.repeated(answer.repeated),
        )
    )


def _patched(id_: str, answer: Answer) -> Response:
    assert isinstance(answer, Written)
    return Response(b"{%b}" % _written_members(id_, answer))


def _written_members(id_: str, answer: Written) -> bytes:
    return b'"id":%b,"revision":%d,"expires_at_ms":%b,"offset":%d%b' % (
        _json(id_),
        answer.revision,
        parts.number(answer.expires_at_ms),
        answer.offset,
        parts.repeated(answer.repeated),
    )


def _result(id_: str, outcome: object) -> bytes:
    if isinstance(outcome, Written):
        return b'{"status":"ok",%b}' % _written_members(id_, outcome)
    if isinstance(outcome, Deleted):
        return b'{"status":"ok","id":%b,%b}' % (_json(id_), parts.deleted_members(outcome))
    assert isinstance(outcome, KissError)
    return b'{"status":"error","id":%b,"error":{"error":%b,"message":%b}}' % (
        _json(id_),
        _json(outcome.code),
        _json(outcome.message),
    )
