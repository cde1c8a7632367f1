"""Doing what a transaction did again, from its records: the same schema, the same rows."""

from collections.abc import Sequence
from typing import Any

import apsw

from kissvdb.errors import Damaged
from kissvdb.records import SqlChanged, SqlExecuted
from kissvdb.storage.sql.capture import SEQUENCE
from kissvdb.storage.sql.schema import Schema, quoted


def prepare(db: Any) -> None:
    """Make a connection one that only follows: nothing happens but what the records say."""
    for switch, value in (
        (apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0),
        (apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0),
        # Rows of a full text index are written into its own tables.
        (apsw.SQLITE_DBCONFIG_DEFENSIVE, 0),
    ):
        db.config(switch, value)
    db.execute("PRAGMA ignore_check_constraints=1").fetchall()


def apply(db: Any, schema: Schema, executed: SqlExecuted, changes: Sequence[SqlChanged]) -> None:
    """Do one `SqlExecuted` and its changes, within a transaction. Raises Damaged.

    All rows that go or change are taken out before any is put in: so values that are unique may
    have changed places.
    """
    try:
        for statement in executed.statements:
            db.execute(statement, can_cache=False).fetchall()
            schema.forget()
        rows = [change for change in changes if change.table != SEQUENCE]
        kept = [_take_out(db, schema, change) for change in rows]
        for change, row in zip(rows, kept, strict=True):
            if change.op == "update":
                _put_in(db, change, row)
        for change in rows:
            if change.op == "insert":
                _put_in_anew(db, change)
        for change in changes:
            if change.table == SEQUENCE:
                _set_sequence(db, change)
    except apsw.Error as error:
        raise Damaged(
            f"the SQL database does not take a change that it took before ({error}): it is not "
            "what it was; move sql.db away, or restore a backup"
        ) from error


def _take_out(db: Any, schema: Schema, change: SqlChanged) -> dict[str, Any]:
    """Remove the row that changes; answers what an update keeps of it."""
    if change.op == "insert":
        return {}
    table, where = quoted(change.table), _is(change.key_columns)
    kept: dict[str, Any] = {}
    if change.op == "update":
        columns = [
            each for each in schema.table(change.table).columns if each not in change.columns
        ]
        if columns:
            listed = ",".join(map(quoted, columns))
            row = db.execute(f"SELECT {listed} FROM {table} WHERE {where}", change.key).fetchall()
            if len(row) == 1:
                kept = dict(zip(columns, row[0], strict=True))
    db.execute(f"DELETE FROM {table} WHERE {where}", change.key)
    if db.changes() != 1:
        raise Damaged(
            f"a row of {change.table} that the log says was changed is not in the SQL database: "
            "move sql.db away, or restore a backup"
        )
    return kept


def _put_in(db: Any, change: SqlChanged, kept: dict[str, Any]) -> None:
    row = {**kept, **dict(zip(change.columns, change.new, strict=True))}
    row.update(zip(change.key_columns, change.key, strict=True))
    listed = ",".join(map(quoted, row))
    places = ",".join("?" * len(row))
    db.execute(
        f"INSERT INTO {quoted(change.table)}({listed}) VALUES ({places})", tuple(row.values())
    )


def _put_in_anew(db: Any, change: SqlChanged) -> None:
    """Insert a row. A key that got another spelling which compares equal (``COLLATE NOCASE``, 1 and
    1.0) is an insert of the one, for the session extension, and no change, or an update, of the
    other: that goes."""
    try:
        _put_in(db, change, {})
    except apsw.ConstraintError:
        table, where = quoted(change.table), _is(change.key_columns)
        db.execute(f"DELETE FROM {table} WHERE {where}", change.key)
        if not db.changes():
            raise
        _put_in(db, change, {})


def _set_sequence(db: Any, change: SqlChanged) -> None:
    db.execute(f"DELETE FROM {SEQUENCE} WHERE name = ?", change.key)
    if change.op != "delete":
        db.execute(f"INSERT INTO {SEQUENCE}(name, seq) VALUES (?, ?)", (*change.key, *change.new))


def _is(columns: Sequence[str]) -> str:
    return " AND ".join(f"{quoted(column)} = ?" for column in columns)
