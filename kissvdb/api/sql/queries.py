"""POST /v1/sql/query: rows as one answer, or as lines while they are read."""

from functools import partial
from typing import TYPE_CHECKING, Any, Self

import msgspec

from kissvdb.api.bulk.operations import SQL_IS_OFF
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response, StreamResponse
from kissvdb.api.reading.json_body import Body, MistypedField, off_loop
from kissvdb.api.sql.bodies import QueryBody
from kissvdb.api.sql.values import params_of, row_lines, rows_json
from kissvdb.engine.sql.reading import Row, SqlQuery
from kissvdb.engine.sql.statements import check_query, plan_of
from kissvdb.errors import KissError, NotEnabled

if TYPE_CHECKING:
    from kissvdb.engine.sql.model import Sql
    from kissvdb.engine.sql.readers import Rows

NDJSON = "application/x-ndjson"
UNLIMITED = 2**62

QUERY = Body(QueryBody)

_json = msgspec.json.encode


def sql_of(context: Context) -> "Sql":
    """The SQL database. Raises NotEnabled."""
    found = context.database.sql
    if found is None:
        raise NotEnabled(SQL_IS_OFF)
    return found


async def query(context: Context, request: Request) -> Response | StreamResponse:
    sql = sql_of(context)
    body = await off_loop(request.body, partial(QUERY.read, strict=context.strict), request.body)
    wants_lines = _wants_lines(request, body)
    asked = _asked(context, request, body, lines=wants_lines)
    if wants_lines:
        lines = Lines(sql, asked)
        await lines.begin()
        return StreamResponse(lines, NDJSON)
    async with _rows(sql, asked) as rows:
        texts = [text async for text in rows if text]
    answer = b'{"rows":[%b],"columns":%b,"offset":%d,"truncated":%b}' % (
        b",".join(texts),
        _json(rows.columns),
        rows.offset,
        _json(rows.truncated),
    )
    return Response(answer)


class Lines:
    """The body of an answer in lines: a head (an object), rows (arrays), an end (an object), which
    says what was wrong if not all rows came. Without its end it is not whole."""

    def __init__(self, sql: "Sql", asked: SqlQuery) -> None:
        self._rows: Rows[bytes] = sql.reader(asked, shape=row_lines)
        self._head = b""
        self._ended = False

    async def begin(self) -> None:
        """Raises what the statement is refused with before its first rows."""
        await self._rows.__aenter__()
        head = {"columns": self._rows.columns, "offset": self._rows.offset}
        self._head = _json(head) + b"\n"

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        head, self._head = self._head, b""
        end: dict[str, Any]
        try:
            return head + await anext(self._rows)
        except StopAsyncIteration:
            end = {"rows": self._rows.count, "truncated": self._rows.truncated}
        except KissError as refusal:
            end = {"error": refusal.code, "message": refusal.message}
        await self.aclose()
        return head + _json(end) + b"\n"

    async def aclose(self) -> None:
        """End the statement."""
        self._ended = True
        await self._rows.__aexit__(None, None, None)


def _rows(sql: "Sql", asked: SqlQuery) -> "Rows[bytes]":
    def shape(chunk: list[Row]) -> bytes:
        return rows_json(rows.columns, chunk)

    rows = sql.reader(asked, shape)
    return rows


def _wants_lines(request: Request, body: QueryBody) -> bool:
    if body.format is not None:
        return body.format == "ndjson"
    return NDJSON in request.headers.get("accept", "")


def _asked(context: Context, request: Request, body: QueryBody, *, lines: bool) -> SqlQuery:
    settings = context.config.sql
    check_query(body.sql)
    rows_most = UNLIMITED if lines else settings.query_rows_max
    return SqlQuery(
        plan_of(body.sql) if body.explain else body.sql,
        params_of(body.params),
        _within(body.rows_max, rows_most, "rows_max", "sql.query_rows_max, or ask for NDJSON"),
        UNLIMITED if lines else settings.query_bytes_max,
        _within(
            body.timeout_ms, settings.query_timeout_ms, "timeout_ms", "sql.query_timeout_ms", 1
        ),
        request.principal.grants,
        request.principal.is_admin,
    )


def _within(wanted: int | None, most: int, name: str, setting: str, least: int = 0) -> int:
    if wanted is None:
        return most
    if not least <= wanted <= most:
        raise MistypedField(f"body.{name}: must be {least} to {most}, not {wanted}: see {setting}")
    return wanted
