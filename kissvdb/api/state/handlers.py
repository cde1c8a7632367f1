"""Key-value state over HTTP."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable
from functools import partial

import msgspec

from actors import Reply
from kissvdb.api.access.commands import check_command, check_each
from kissvdb.api.bodies import BatchPutBody, PutBody, PutOperation
from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Pending, Request, Response
from kissvdb.api.frame.preconditions import of_existing, precondition
from kissvdb.api.reading.json_body import (
    INLINE_BYTES_MAX,
    MARK,
    Body,
    compact,
    off_loop,
    read_then,
)
from kissvdb.api.reading.query import parse_query, u64
from kissvdb.api.state import parts, plain_puts
from kissvdb.api.state.parts import number
from kissvdb.core.state import reserved_keys
from kissvdb.core.state.put_many import WrittenMany
from kissvdb.core.state.rules import (
    Answer,
    Command,
    Delete,
    Item,
    Page,
    Patch,
    Put,
    Written,
)
from kissvdb.errors import InvalidArgument, KissError, MistypedField, NotFound, Unavailable

LIST_LIMIT_DEFAULT = 100
LIST_BYTES_MAX = 8 * 1024 * 1024
"""A page of a list ends early rather than grow beyond this; its cursor goes on from there."""

SHOWN_BYTES_MAX = 100
"""A body of at most this length is shown in a message as it should have been."""

PUT = Body(PutBody)
PUT_FIELDS = frozenset(PutBody.__struct_fields__)
BATCH_PUT = Body(BatchPutBody)

Prompt = Response | Pending

_json = msgspec.json.encode


def get_item(context: Context, request: Request) -> Response | Awaitable[Response]:
    key = request.params["key"]
    limits.check_key(key, context.config.limits)
    if not request.query:
        return _answer(request, key, context.database.get(key))
    return parts.find(context, request, key, partial(_answer, request, key))


def _answer(request: Request, key: str, item: Item | None) -> Response:
    if item is None:
        raise NotFound(f"no such key: {key}")
    return parts.read(request, item, _item)


def put_item(context: Context, request: Request) -> Pending | Awaitable[Pending]:
    key = request.params["key"]
    limits.check_key(key, context.config.limits)
    reply = None if request.query else _put_soon(context, request, key)
    if reply is not None:
        return Pending(reply, _written)

    creates = not request.query or parts.creates(parse_query(request.query))

    def put(read: tuple[PutBody, bytes]) -> Pending:
        body, value = read
        look = partial(context.database.get, key)
        condition = precondition(request.headers, body.if_revision, body.if_offset, look)
        if not creates:
            condition = of_existing(condition)
        command = Put(key, value, body.ttl_ms, condition, body.op_id)
        return Pending(_submit(context, request, command), _written)

    return read_then(request.body, _read_put, context, request.body, then=put)


def _put_soon(context: Context, request: Request, key: str) -> Reply | None:
    """Begin a put that says nothing but its key and value; None, and nothing is done, where it may
    say more."""
    headers = request.headers
    if "if-match" in headers or "if-none-match" in headers:
        return None
    if len(request.body) > INLINE_BYTES_MAX or key.startswith(reserved_keys.WATCHED):
        return None
    value = plain_puts.read_one(request.body, context.config.limits)
    return None if value is None else context.database.put_soon(key, value)


def patch_item(context: Context, request: Request) -> Pending | Awaitable[Pending]:
    key = request.params["key"]
    limits.check_key(key, context.config.limits)
    query = parse_query(request.query)
    ttl_ms = u64(query, "ttl_ms")
    limits.check_ttl(ttl_ms, "query.ttl_ms", InvalidArgument)

    creates, op_id = parts.creates(query), parts.op_id(query)

    def merge(patch: bytes) -> Pending:
        limits.check_json_size(patch, context.config.limits, "body")
        condition = parts.condition(context, request, key, query, creates=creates)
        command = Patch(key, patch, ttl_ms, condition, op_id)
        return Pending(_submit(context, request, command), _written)

    return read_then(request.body, compact, request.body, "body", then=merge)


def delete_item(context: Context, request: Request) -> Pending:
    key = request.params["key"]
    limits.check_key(key, context.config.limits)
    query = parse_query(request.query)
    condition = parts.condition(context, request, key, query)
    command = Delete(key, condition, parts.op_id(query))
    return Pending(_submit(context, request, command), parts.deleted)


def _submit(context: Context, request: Request, command: Command) -> Reply:
    if command.op_id is not None:
        # Its key was granted with the path; the op_id is among those of this key's holder.
        command = check_command(request.principal.grants, command)
    return context.database.submit(command)


async def list_items(context: Context, request: Request) -> Response:
    query = parse_query(request.query)
    prefix = query.get("prefix", "")
    limits.check_prefix(prefix, context.config.limits)
    limit = u64(query, "limit")
    limit = LIST_LIMIT_DEFAULT if limit is None else limit
    cursor = query.get("cursor")
    most = max(1, min(limit, context.config.limits.list_limit_max))
    after = key_of(cursor) if cursor else None
    at = parts.at_offset(query)
    if at is None:
        page = await context.database.list(prefix, limit=most, after=after)
    else:
        page = await context.database.past.page(prefix, most, after, at)
    if limit == 0:
        page = Page((), page.offset)
    return _page(page)


def batch_put(context: Context, request: Request) -> Prompt | Awaitable[Prompt]:
    if len(request.body) > INLINE_BYTES_MAX:
        return _batch_put(context, request, maybe_plain=True)
    outcome = None
    if request.principal.grants is None:
        outcome = _put_all(context, plain_puts.read(request.body, context.config.limits))
    return _batch_put(context, request) if outcome is None else outcome


def _put_all(context: Context, columns: plain_puts.Columns | None) -> Prompt | None:
    """Begin to write what can be written as columns; None where it cannot, and nothing is done."""
    if columns is None:
        return None
    refused = partial(_all_refused, columns[0])
    try:
        reply = context.database.put_many(*columns)
    except Unavailable as refusal:
        return refused(refusal)
    return None if reply is None else Pending(reply, partial(_put_together, columns[0]), refused)


def _put_together(keys: list[str], written: WrittenMany) -> Response:
    return Response(b'{"results":%b}' % plain_puts.results(keys, written))


def _all_refused(keys: list[str], refusal: KissError) -> Response:
    """As `write_many` answers it."""
    return Response(b'{"results":[%b]}' % b",".join([_result(key, refusal) for key in keys]))


async def _batch_put(context: Context, request: Request, *, maybe_plain: bool = False) -> Prompt:
    if maybe_plain and request.principal.grants is None:
        look = partial(plain_puts.read, request.body, context.config.limits)
        outcome = _put_all(context, await off_loop(request.body, look))
        if outcome is not None:
            return outcome
    read = partial(BATCH_PUT.read, request.body, strict=context.strict)
    body = await off_loop(request.body, read)
    operations = body.operations
    if not 0 < len(operations) <= context.config.limits.state_batch_max:
        raise InvalidArgument(
            f"body.operations: 1 to {context.config.limits.state_batch_max} operations, not "
            f"{len(operations)}: send several batches, or raise limits.state_batch_max "
            "(MAX_STATE_BATCH)"
        )
    read_puts = await off_loop(request.body, _puts, context, operations)
    outcomes = check_each(request.principal.grants, read_puts)
    commands = [outcome for outcome in outcomes if isinstance(outcome, Put)]
    answers = iter(await context.database.write_many(commands) if commands else ())
    results = [
        _result(operation.key, next(answers) if isinstance(outcome, Put) else outcome)
        for operation, outcome in zip(operations, outcomes, strict=True)
    ]
    return Response(b'{"results":[%b]}' % b",".join(results))


def _read_put(context: Context, text: bytes) -> tuple[PutBody, bytes]:
    try:
        body = PUT.read(text, strict=context.strict)
    except MistypedField as problem:
        message = f"{problem.message}{_wrapped(text)}"
        raise MistypedField(message, logged=problem.message) from None
    value = compact(body.value, "body.value")
    limits.check_json_size(value, context.config.limits, "body.value")
    if body.ttl_ms is not None:
        limits.check_ttl(body.ttl_ms, "body.ttl_ms")
    if body.if_revision is not None or body.if_offset is not None:
        limits.check_u64(body.if_revision, "body.if_revision")
        limits.check_u64(body.if_offset, "body.if_offset")
    limits.checked_op_id(body.op_id, "body.op_id")
    return body, value


def _wrapped(text: bytes) -> str:
    """What to do with a body that is the value itself, without what goes around it."""
    try:
        sent = msgspec.json.decode(text.removeprefix(MARK))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        # Wrong in more than one way: the first was told.
        return ""
    if isinstance(sent, dict) and "value" in sent:
        return ""
    looks_wrapped = isinstance(sent, dict) and not PUT_FIELDS.isdisjoint(sent)
    value = "..." if looks_wrapped or len(text) > SHOWN_BYTES_MAX else _json(sent).decode()
    return f'; wrap the value, as {{"value": {value}}}'


def _puts(context: Context, operations: list[PutOperation]) -> list[Put | KissError]:
    """A command for each operation, or what is wrong with it. What is not JSON at all
    (a number out of range, broken UTF-8) raises and so rejects the whole batch."""
    outcomes: list[Put | KissError] = []
    for place, operation in enumerate(operations):
        where = f"body.operations[{place}]"
        value = compact(operation.value, f"{where}.value")
        limits.check_ttl(operation.ttl_ms, f"{where}.ttl_ms")
        limits.check_u64(operation.if_revision, f"{where}.if_revision")
        limits.check_u64(operation.if_offset, f"{where}.if_offset")
        op_id = limits.checked_op_id(operation.op_id, f"{where}.op_id")
        condition = precondition({}, operation.if_revision, operation.if_offset, lambda: None)
        try:
            limits.check_key(operation.key, context.config.limits, f"{where}.key")
            limits.check_json_size(value, context.config.limits, f"{where}.value")
        except KissError as problem:
            outcomes.append(problem)
        else:
            outcomes.append(Put(operation.key, value, operation.ttl_ms, condition, op_id))
    return outcomes


def _written(answer: Answer) -> Response:
    assert isinstance(answer, Written)
    if answer.expires_at_ms is None and not answer.repeated:
        # Nearly all: the same text, in one go.
        said = (_json(answer.key), answer.revision, answer.offset)
        return Response(b'{"key":%b,"revision":%d,"expires_at_ms":null,"offset":%d}' % said)
    return Response(b"{%b}" % _written_members(answer))


def _written_members(answer: Written) -> bytes:
    return b'"key":%b,"revision":%d,"expires_at_ms":%b,"offset":%d%b' % (
        _json(answer.key),
        answer.revision,
        number(answer.expires_at_ms),
        answer.offset,
        parts.repeated(answer.repeated),
    )


def _result(key: str, outcome: object) -> bytes:
    if isinstance(outcome, Written):
        return b'{"status":"ok",%b}' % _written_members(outcome)
    assert isinstance(outcome, KissError)
    return b'{"status":"error","key":%b,"error":{"error":%b,"message":%b}}' % (
        _json(key),
        _json(outcome.code),
        _json(outcome.message),
    )


def _item(item: Item) -> bytes:
    return b'{"key":%b,"value":%b,"revision":%d,"expires_at_ms":%b,"offset":%d}' % (
        _json(item.key),
        item.value,
        item.revision,
        number(item.expires_at_ms),
        item.offset,
    )


def _page(page: Page) -> Response:
    texts: list[bytes] = []
    size = 0
    last: str | None = None
    cursor = page.cursor
    for item in page.items:
        text = _item(item)
        size += len(text)
        if size > LIST_BYTES_MAX and last is not None:
            cursor = last
            break
        texts.append(text)
        last = item.key
    headers = [("kissvdb-offset", str(page.offset))]
    if cursor is not None:
        headers.append(("kissvdb-cursor", cursor_of(cursor)))
    return Response(b"[%b]" % b",".join(texts), headers=tuple(headers))


def cursor_of(key: str) -> str:
    """A page that begins there, as clients hand it back."""
    return urlsafe_b64encode(key.encode()).rstrip(b"=").decode()


def key_of(cursor: str) -> str:
    """The key of a cursor. Raises InvalidArgument."""
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        key = urlsafe_b64decode(padded.encode("ascii")).decode()
    except (binascii.Error, UnicodeError, ValueError):
        key = ""
    if not key:
        raise InvalidArgument("query.cursor: not one that a list answered in Kissvdb-Cursor")
    return key
