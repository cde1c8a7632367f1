"""Why a statement cannot be prepared, told to a key of some tables.

SQLite names what it finds on its way, and which of two mistakes it meets first depends on tables
that the key must not know of: ``SELECT x FROM theirs`` would fail in one way where there is such a
table, in a second where it has no x, in a third where there is none. So such a key is told what
SQLite says of its statement in a database that has the key's tables and no others. A statement that
can be prepared pays nothing for it.
"""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, Final

import apsw

from kissvdb.engine.sql.exec_rules import outside
from kissvdb.errors import Forbidden, KissError, SqliteError

_NAMED: Final = re.compile(
    r"no such (?:table|view|index|trigger): (.+?)(?: \(at byte.*)?", re.DOTALL
)
_SCHEMA: Final = """
SELECT tbl_name, sql FROM sqlite_schema
WHERE sql IS NOT NULL AND type IN ('table', 'view', 'index') AND name NOT GLOB 'sqlite_*'
ORDER BY type = 'index', rowid
"""
HIDDEN: Final = (
    "the statement names something that is not there, or that the scopes of this API key do not "
    "have"
)


class _Prepared(Exception):
    """It could be."""


def schema_of(db: apsw.Connection, may_see: Callable[[str], bool]) -> apsw.Connection:
    """An empty database with the tables, views and indexes of ``db`` that one may see."""
    shadow = apsw.Connection(":memory:")
    for table, sql in db.execute(_SCHEMA).fetchall():
        if may_see(str(table)):
            # What an index for full text keeps its words in is there already.
            with suppress(apsw.Error):
                shadow.execute(str(sql)).fetchall()
    return shadow


def refusal(
    shadow: apsw.Connection,
    sql: str,
    params: Any,
    may_see: Callable[[str], bool],
    refusals: Callable[[], AbstractContextManager[None]],
) -> KissError:
    """What a statement is refused with that cannot be prepared where everything is. ``shadow``: of
    `schema_of`, with its rules; ``refusals`` raises in our words what it says."""
    cursor = shadow.cursor()
    cursor.exec_trace = _stop
    try:
        with refusals():
            cursor.execute(sql, params, can_cache=False)
    except _Prepared:
        return Forbidden(HIDDEN)
    except SqliteError as problem:
        named = _NAMED.fullmatch(problem.message)
        if named is not None:
            name = named[1].rpartition(".")[2]
            if not may_see(name):
                return Forbidden(outside(name))
        return problem
    except KissError as problem:
        return problem
    return Forbidden(HIDDEN)


def _stop(cursor: apsw.Cursor, sql: str, params: object) -> bool:
    raise _Prepared
