"""The SQL database in a program of one's own."""

from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
from msgspec import structs

from kissvdb.api.frame import limits
from kissvdb.core.sql.commands import SqlCommand, SqlExecutedAnswer, Statement
from kissvdb.engine import database as engine
from kissvdb.engine.sql.reading import SqlQuery
from kissvdb.engine.sql.statements import check_query, plan_of
from kissvdb.errors import NotEnabled, SqliteError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kissvdb.engine.sql.model import Sql as Model
    from kissvdb.engine.sql.readers import Rows

Params = Sequence[Any] | Mapping[str, Any]
Row = tuple[Any, ...]

_UNLIMITED = 2**62
_VALUES = (int, float, str, bytes, type(None))


@attrs.frozen
class QueryResult:
    """Rows, true at ``offset``. ``columns``: their names, each once."""

    columns: tuple[str, ...]
    rows: list[Row]
    offset: int
    truncated: bool
    """There are more rows than were asked for."""

    def dicts(self) -> list[dict[str, Any]]:
        """The rows by the names of their columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Sql:
    """The SQL database; reached as ``db.sql``.

    Values are those of SQLite: None, int, float, str and bytes. ``params``: a sequence for ``?``,
    a mapping for ``:name``. Raises SqliteError for what SQLite does not take, NotEnabled when SQL
    is switched off.
    """

    __slots__ = ("_database",)

    def __init__(self, database: engine.Database) -> None:
        self._database = database

    async def query(
        self,
        sql: str,
        params: Params = (),
        *,
        rows_max: int | None = None,
        timeout_ms: int | None = None,
        explain: bool = False,
    ) -> QueryResult:
        """The rows of one statement that reads; ``explain``: SQLite's plan in their place.

        Raises InvalidArgument for one that does not begin as such, RequestTimeout and Overloaded.
        """
        settings = self._database.config.sql
        asked = structs.replace(
            self._asked(sql, params, timeout_ms),
            rows_max=settings.query_rows_max if rows_max is None else rows_max,
            bytes_max=settings.query_bytes_max,
        )
        if explain:
            asked = structs.replace(asked, sql=plan_of(sql))
        rows: Rows[list[Row]] = self._model().reader(asked)
        async with rows:
            found = [row async for chunk in rows for row in chunk]
        return QueryResult(rows.columns, found, rows.offset, rows.truncated)

    @asynccontextmanager
    async def rows(
        self, sql: str, params: Params = (), *, timeout_ms: int | None = None
    ) -> "AsyncIterator[Rows[list[Row]]]":
        """The rows of a statement while they are read: ``async with db.sql.rows(...) as rows`` and
        then ``async for chunk in rows``, a list of rows each. It has ``columns`` and ``offset``.

        All of them must be taken within ``timeout_ms``, else RequestTimeout."""
        reader: Rows[list[Row]] = self._model().reader(self._asked(sql, params, timeout_ms))
        async with reader as found:
            yield found

    async def exec(
        self, sql: str, params: Params = (), *, op_id: str | None = None
    ) -> SqlExecutedAnswer:
        """Execute one statement that writes; answers when it is durable."""
        return await self.batch([(sql, params)], op_id=op_id)

    async def batch(
        self, statements: Sequence[tuple[str, Params]], *, op_id: str | None = None
    ) -> SqlExecutedAnswer:
        """Execute statements in order, all or none. With an ``op_id`` a repeat is answered as the
        first time. Raises OpIdReused, PayloadTooLarge."""
        self._model()
        checked = tuple(Statement(sql, _params(params)) for sql, params in statements)
        command = SqlCommand(checked, limits.checked_op_id(op_id))
        answer: Any = await self._database.write(command)  # type: ignore[arg-type]
        assert isinstance(answer, SqlExecutedAnswer)
        return answer

    def _model(self) -> "Model":
        if self._database.sql is None:
            raise NotEnabled("SQL is switched off: set sql.enabled")
        return self._database.sql

    def _asked(self, sql: str, params: Params, timeout_ms: int | None) -> SqlQuery:
        check_query(sql)
        settings = self._database.config.sql
        timeout_ms = settings.query_timeout_ms if timeout_ms is None else timeout_ms
        return SqlQuery(sql, _params(params), _UNLIMITED, _UNLIMITED, timeout_ms)


def _params(params: Params) -> tuple[Any, ...] | dict[str, Any]:
    values = params.values() if isinstance(params, Mapping) else params
    for value in values:
        if not isinstance(value, _VALUES):
            raise SqliteError(
                f"params: a value is None, int, float, str or bytes, not {type(value).__name__}"
            )
    return dict(params) if isinstance(params, Mapping) else tuple(params)
