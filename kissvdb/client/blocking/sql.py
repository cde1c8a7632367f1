"""SQL: the user's own tables, in the same log."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kissvdb.client.blocking.http import Http
from kissvdb.client.results import Rows, decode
from kissvdb.client.wire import Call, given, sql_params, to_json

Params = Sequence[Any] | Mapping[str, Any]


class Sql:
    """``client.sql``."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def query(self, sql: str, params: Params = (), **more: Any) -> Rows:
        """Read. ``params`` by position or by name. ``more``: what else the route takes, as rows_max
        and explain."""
        body = given(sql=sql, params=sql_params(params) or None, **more)
        call = Call("POST", "/v1/sql/query", to_json(body), safe=True, reads=True)
        rows: Rows = decode(Rows, (self._http.answer(call)).body)
        return rows

    def exec(self, sql: str, params: Params = (), *, op_id: str | None = None) -> int:
        """Write, or change the schema; how many rows changed."""
        body = given(sql=sql, params=sql_params(params) or None)
        found = self._write("/v1/sql/exec", body, op_id)
        return int(found["rows_affected"])

    execute = exec

    def batch(
        self, statements: Sequence[tuple[str, Params]], *, op_id: str | None = None
    ) -> dict[str, Any]:
        """Several statements in one transaction, all or none."""
        listed = [given(sql=sql, params=sql_params(params)) for sql, params in statements]
        body = {"statements": listed}
        return self._write("/v1/sql/batch", body, op_id)

    def schema(self) -> dict[str, Any]:
        """The tables, views and indexes that there are."""
        answer = self._http.answer(Call("GET", "/v1/sql/schema", safe=True, reads=True))
        found: dict[str, Any] = msgspec.json.decode(answer.body)
        return found

    def _write(self, path: str, body: dict[str, Any], op_id: str | None) -> dict[str, Any]:
        op_id = self._http.op_id(op_id)
        body.update(given(op_id=op_id))
        call = Call("POST", path, to_json(body), safe=op_id is not None)
        found: dict[str, Any] = msgspec.json.decode((self._http.answer(call)).body)
        self._http.note_offset(found.get("offset"))
        return found
