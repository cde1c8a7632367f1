"""POST /v1/sql/exec and /v1/sql/batch: what writes, through the log."""

from functools import partial
from typing import Any

import msgspec

from kissvdb.api.access.commands import check_command
from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.reading.json_body import Body, off_loop
from kissvdb.api.sql.bodies import ExecBody, SqlBatchBody
from kissvdb.api.sql.queries import sql_of
from kissvdb.api.sql.values import params_of
from kissvdb.core.sql.commands import SqlCommand, SqlExecutedAnswer, Statement
from kissvdb.errors import InvalidArgument

EXEC = Body(ExecBody)
BATCH = Body(SqlBatchBody)

_json = msgspec.json.encode


async def execute(context: Context, request: Request) -> Response:
    sql_of(context)
    body = await off_loop(request.body, partial(EXEC.read, strict=context.strict), request.body)
    statements = (Statement(body.sql, params_of(body.params)),)
    answer = await _done(context, request, statements, body.op_id)
    return Response(
        b'{"rows_affected":%d,"offset":%b,"changes":%d,"repeated":%b}'
        % (
            answer.rows_affected[0],
            _json(answer.offset),
            answer.changes,
            _json(answer.repeated),
        )
    )


async def batch(context: Context, request: Request) -> Response:
    sql_of(context)
    body = await off_loop(request.body, partial(BATCH.read, strict=context.strict), request.body)
    most = context.config.limits.batch_operations_max
    if not 0 < len(body.statements) <= most:
        raise InvalidArgument(
            f"body.statements: 1 to {most} statements, not {len(body.statements)}: split the batch,"
            " or raise limits.batch_operations_max (KISSVDB_LIMITS_BATCH_OPERATIONS_MAX)"
        )
    statements = tuple(
        Statement(each.sql, params_of(each.params, f"statements[{place}].params"))
        for place, each in enumerate(body.statements)
    )
    answer = await _done(context, request, statements, body.op_id)
    return Response(msgspec.json.encode(answer))


async def _done(
    context: Context, request: Request, statements: tuple[Statement, ...], op_id: str | None
) -> SqlExecutedAnswer:
    op_id = limits.checked_op_id(op_id, "body.op_id")
    command = check_command(request.principal.grants, SqlCommand(statements, op_id))
    answer: Any = await context.database.write(command)
    assert isinstance(answer, SqlExecutedAnswer)
    if context.executed is not None and not answer.repeated:
        context.executed(request, [each.sql for each in statements])
    return answer
