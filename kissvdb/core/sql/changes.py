"""Records of SQL as JSON, for the stream.

A blob is base64 without padding, what no JSON number can be is null: as in the answer of a query.
"""

from base64 import b64encode
from collections.abc import Sequence
from math import isfinite
from typing import Any

import msgspec

from kissvdb.records import SqlChanged, SqlExecuted, SqlValue

ROWID = "_rowid_"
"""The key of a row whose table has no primary key."""

_json = msgspec.json.encode


def executed_json(record: SqlExecuted) -> bytes:
    """The data of ``sql_executed``."""
    return _json(
        {"statements": record.statements, "tables": record.tables, "changes": record.changes}
    )


def changed_json(record: SqlChanged) -> bytes:
    """The data of ``sql_row_changed``. A whole row has its key's columns, too; of an update there
    are only the columns that changed."""
    key = _row(record.key_columns, record.key)
    whole = {} if record.op == "update" or record.key_columns == (ROWID,) else key
    old = None if record.op == "insert" else {**whole, **_row(record.columns, record.old)}
    new = None if record.op == "delete" else {**whole, **_row(record.columns, record.new)}
    return _json({"table": record.table, "op": record.op, "key": key, "old": old, "new": new})


def json_value(value: SqlValue) -> Any:
    """A SQLite value as JSON has it."""
    if isinstance(value, bytes):
        return b64encode(value).rstrip(b"=").decode()
    if isinstance(value, float) and not isfinite(value):
        return None
    return value


def _row(columns: Sequence[str], values: Sequence[SqlValue]) -> dict[str, Any]:
    return dict(zip(columns, map(json_value, values), strict=True))
