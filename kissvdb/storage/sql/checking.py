"""Whether a SQL database is sound, and whether two are the same. Changes neither."""

from collections.abc import Iterator
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import Any

from kissvdb.errors import Damaged
from kissvdb.storage.sql.connecting import read_offset, read_only
from kissvdb.storage.sql.schema import Schema, quoted

_PROBLEMS_MAX = 10
_MASTER = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
_TABLES = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')"


def sound_offset(file: Path) -> int:
    """The applied offset of a database that SQLite finds sound, its indexes too. Raises Damaged and
    apsw.Error."""
    with closing(read_only(file)) as db:
        found = [str(row[0]) for row in db.execute(f"PRAGMA integrity_check({_PROBLEMS_MAX})")]
        if found != ["ok"]:
            raise Damaged("; ".join(found))
        return read_offset(db)


def difference(one: Path, other: Path) -> str | None:
    """Where two databases begin to differ, but for statistics; None: they are the same.

    Rows are compared in the order of their keys, so that it takes no memory. Raises apsw.Error.
    """
    with closing(read_only(one)) as first, closing(read_only(other)) as second:
        for mine, its in zip_longest(_definitions(first), _definitions(second)):
            if mine != its:
                return f"the schema: {(mine or its)[1]!r}"
        schema = Schema(first)
        for (name,) in first.execute(_TABLES).fetchall():
            if name.startswith("sqlite_") and name != "sqlite_sequence":
                continue
            order = schema.table(name).key if name != "sqlite_sequence" else ("name",)
            listed = ",".join(quoted(each) for each in order)
            rows = f"SELECT {listed}, * FROM {quoted(name)} ORDER BY {listed}"
            for mine, its in zip_longest(first.execute(rows), second.execute(rows)):
                if _typed(mine) != _typed(its):
                    return f"table {name!r}, the row of key {(mine or its)[: len(order)]!r}"
    return None


def _definitions(db: Any) -> Iterator[tuple[Any, ...]]:
    for row in db.execute(_MASTER):
        if not row[1].startswith("sqlite_stat"):
            yield row


def _typed(row: tuple[Any, ...] | None) -> list[tuple[type, Any]] | None:
    """1 and 1.0 are equal, and not the same."""
    return None if row is None else [(type(value), value) for value in row]
