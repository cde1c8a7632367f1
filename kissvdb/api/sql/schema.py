"""GET /v1/sql/schema: what tables there are."""

import attrs
import msgspec

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.sql.bodies import SqlSchema, TableInfo
from kissvdb.api.sql.queries import sql_of
from kissvdb.engine.sql.readers import Rows
from kissvdb.engine.sql.reading import Row, SqlQuery
from kissvdb.errors import PayloadTooLarge

TABLES_MAX = 10_000

# A view of a table that was dropped has no columns (ncol), and asking for them is an error.
_TABLES = """
SELECT json_object(
  'name', t.name, 'kind', t.type, 'strict', iif(t.strict, json('true'), json('false')),
  'without_rowid', iif(t.wr, json('true'), json('false')),
  'sql', (SELECT m.sql FROM sqlite_schema m WHERE m.name = t.name AND m.type IN ('table', 'view')),
  'columns', iif(t.type = 'view' AND t.ncol <= 0, json('[]'), json((
    SELECT json_group_array(json_object(
      'name', name, 'type', type, 'not_null', iif("notnull", json('true'), json('false')),
      'default', dflt_value, 'primary_key', pk,
      'generated', iif(hidden IN (2, 3), json('true'), json('false'))) ORDER BY cid)
    FROM pragma_table_xinfo(t.name) WHERE hidden <> 1))),
  'indexes', json((
    SELECT json_group_array(json_object(
      'name', i.name, 'unique', iif(i."unique", json('true'), json('false')),
      'partial', iif(i.partial, json('true'), json('false')),
      'columns', json((SELECT json_group_array(name ORDER BY seqno)
        FROM pragma_index_info(i.name))))
      ORDER BY i.name)
    FROM pragma_index_list(t.name) i)),
  'foreign_keys', json((
    SELECT json_group_array(json_object('column', f."from", 'table', f."table", 'to', f."to")
      ORDER BY f.id, f.seq)
    FROM pragma_foreign_key_list(t.name) f)))
FROM pragma_table_list t
WHERE t.schema = 'main' AND t.type IN ('table', 'view', 'virtual') AND t.name NOT GLOB 'sqlite_*'
ORDER BY t.name
"""

_table = msgspec.json.Decoder(TableInfo).decode


async def schema(context: Context, request: Request) -> Response:
    """One statement: all of it is of one moment."""
    settings, grants = context.config.sql, request.principal.grants
    query = SqlQuery(
        _TABLES,
        rows_max=TABLES_MAX,
        bytes_max=settings.query_bytes_max,
        timeout_ms=settings.query_timeout_ms,
    )
    rows: Rows[list[Row]] = sql_of(context).reader(query)
    async with rows:
        found = [_table(text) async for chunk in rows for (text,) in chunk]
    if rows.truncated:
        raise PayloadTooLarge(
            f"the schema has over {TABLES_MAX} tables, or is too long: read sqlite_schema in parts"
        )
    if grants is not None:
        # The text may name tables that the key does not have.
        mine = [each for each in found if grants.may_table(each.name)]
        found = [attrs.evolve(each, sql=None) for each in mine]
    return Response(msgspec.json.encode(SqlSchema(found, rows.offset)))
