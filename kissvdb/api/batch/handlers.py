"""POST /v1/batch: operations that happen together, all or none.

The operations are those of /v1/bulk. What is refused names the operation or the precondition, with
the code and the status it would have alone, and nothing of the batch is done.
"""

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec

from kissvdb.api.access.commands import check_command
from kissvdb.api.batch.bodies import BatchText
from kissvdb.api.batch.preconditions import conditions
from kissvdb.api.bulk.operations import read_line
from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.reading.json_body import Body, off_loop
from kissvdb.core.atomic import BatchAnswer
from kissvdb.core.grants import Grants
from kissvdb.core.op_ids import owned
from kissvdb.core.rows import rules as collection
from kissvdb.core.state.rules import Delete
from kissvdb.engine.batches import Batch, fingerprint_of
from kissvdb.engine.vectors.collection import VectorCommand
from kissvdb.errors import Forbidden, InvalidArgument, KissError

KEY_HEADER = "idempotency-key"

BATCH = Body(BatchText)

_OP_ID = (
    ".op_id: an operation of a batch has none; give the batch one (op_id, or the header "
    "Idempotency-Key)"
)
_IF_CHANGED = ".if_changed: belongs to /v1/bulk; what a batch says is done, or the batch refused"

_json = msgspec.json.encode


async def batch(context: Context, request: Request) -> Response:
    found = await off_loop(request.body, read, context, request)
    return Response(_answer(found, await write(context, found)))


async def write(context: Context, found: Batch) -> BatchAnswer:
    """Do a batch. One that is done already needs no embedder to be answered again."""
    former = context.database.batch_answered_before(found)
    return former or await context.database.batch(await _prepared(context, found))


async def _prepared(context: Context, found: Batch) -> Batch:
    """The batch with the vectors of its texts. Raises what an embedder is refused with."""
    texts = context.database.vectors.texts
    if not any(map(texts.concerns, found.commands)):
        return found
    outcomes = await texts.prepared(found.commands)
    for place, outcome in enumerate(outcomes):
        if isinstance(outcome, KissError):
            raise _of_operation(outcome, place)
    return attrs.evolve(found, commands=outcomes)


def read(context: Context, request: Request) -> Batch:
    """The batch of a request. Raises what its first bad part is refused with."""
    body = BATCH.read(request.body, strict=context.strict)
    operations_max = context.config.limits.batch_operations_max
    if not 0 < len(body.operations) <= operations_max:
        raise InvalidArgument(
            f"body.operations: 1 to {operations_max} operations, not {len(body.operations)}: split "
            "the batch, or raise limits.batch_operations_max "
            "(KISSVDB_LIMITS_BATCH_OPERATIONS_MAX)"
        )
    preconditions = body.preconditions or []
    if len(preconditions) > operations_max:
        raise InvalidArgument(
            f"body.preconditions: at most {operations_max}, not {len(preconditions)}: "
            "limits.batch_operations_max (KISSVDB_LIMITS_BATCH_OPERATIONS_MAX)"
        )
    grants = request.principal.grants
    operations = commands(context, body.operations, grants)
    op_id = owned(_op_id(request, body.op_id), grants)
    return Batch(
        operations,
        conditions(context, request, preconditions),
        op_id,
        None if op_id is None else fingerprint_of(operations),
    )


def commands(
    context: Context, operations: Sequence[msgspec.Raw], grants: Grants | None = None
) -> list[Any]:
    """A command for each operation. Raises what the first bad one is refused with."""
    found = []
    for place, operation in enumerate(operations):
        outcome = read_line(context, bytes(operation))
        if isinstance(outcome, KissError):
            outcome.reword(outcome.message.removeprefix("line"))
            raise _of_operation(outcome, place)
        if isinstance(outcome, VectorCommand) and outcome.if_changed:
            raise _of_operation(InvalidArgument(_IF_CHANGED), place)
        if _op_id_of(outcome) is not None:
            raise _of_operation(InvalidArgument(_OP_ID), place)
        try:
            found.append(check_command(grants, outcome))
        except Forbidden as refusal:
            raise _of_operation(refusal, place) from None
    return found


def _of_operation(refusal: KissError, place: int) -> KissError:
    separator = "" if refusal.message[:1] in (".", ":", "[") else ": "
    refusal.reword(f"body.operations[{place}]{separator}{refusal.message}")
    refusal.operation = place
    return refusal


def _op_id_of(command: Any) -> str | None:
    inner = command.command if isinstance(command, VectorCommand) else command
    op_id: str | None = inner.op_id
    return op_id


def _op_id(request: Request, op_id: str | None) -> str | None:
    header = request.headers.get(KEY_HEADER)
    if header is not None and op_id is not None and header != op_id:
        raise InvalidArgument("give either Idempotency-Key or op_id, or both the same")
    if header is not None:
        return limits.checked_op_id(header, "Idempotency-Key")
    return limits.checked_op_id(op_id, "body.op_id")


def _answer(batch: Batch, answer: BatchAnswer) -> bytes:
    results = []
    for command, result in zip(batch.commands, answer.results, strict=True):
        text = b'{"offset":%b' % _json(result.offset)
        if result.revision is not None:
            text += b',"revision":%d' % result.revision
        if result.expires_at_ms is not None:
            text += b',"expires_at_ms":%d' % result.expires_at_ms
        if result.rows_affected is not None:
            text += b',"rows_affected":%d' % result.rows_affected
        if _deletes(command):
            text += b',"deleted":%b' % _json(result.offset is not None)
        results.append(text + b"}")
    return b'{"first_offset":%b,"last_offset":%b,"repeated":%b,"results":[%b]}' % (
        _json(answer.first_offset),
        _json(answer.last_offset),
        _json(answer.repeated),
        b",".join(results),
    )


def _deletes(command: Any) -> bool:
    inner = command.command if isinstance(command, VectorCommand) else command
    return isinstance(inner, Delete | collection.Delete)
