"""A connection that reads for anybody: what a statement may do, and how much.

SQLite decides while it prepares a statement, by its authorizer; the text is never looked at. What
may be read is listed; so is what may be called. Then there are limits, so that no single step of
SQLite's machine, between two of which alone a statement can be stopped, takes long.
"""

from collections.abc import Collection, Mapping
from functools import cache
from typing import Final

import apsw

from kissvdb.core.grants import Grants
from kissvdb.engine.sql.statements import TEXT_CHARACTERS_MAX, Params
from kissvdb.errors import Forbidden, InvalidArgument, KissError, SqliteError
from kissvdb.storage.sql import functions

REACH_BYTES: Final = 16 * 1024 * 1024
"""Values times their length: one row of a result, or all calls of functions that follow each other
without a turn. So the longer a statement is, the shorter are the values it may have."""
WRITE_REACH_BYTES: Final = 4 * REACH_BYTES
"""The same of a statement that writes: its text may have long values in it."""
_TEXT_BYTES_A_VALUE: Final = 64
_WRITE_TEXT_BYTES_A_VALUE: Final = 256
_VALUE_BYTES_MIN: Final = 1024

_DECISIONS_MAX: Final = 20_000
"""Questions about one statement: one for each column that it uses, also behind views."""

_LIMITS: Final = {
    apsw.SQLITE_LIMIT_LENGTH: functions.VALUE_BYTES_MAX,
    apsw.SQLITE_LIMIT_SQL_LENGTH: 4 * TEXT_CHARACTERS_MAX,
    apsw.SQLITE_LIMIT_COLUMN: 200,
    apsw.SQLITE_LIMIT_EXPR_DEPTH: 200,
    apsw.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    apsw.SQLITE_LIMIT_VDBE_OP: 100_000,
    apsw.SQLITE_LIMIT_FUNCTION_ARG: 127,
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    apsw.SQLITE_LIMIT_TRIGGER_DEPTH: 10,
    apsw.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_WRITE_LIMITS: Final = {
    limit: _LIMITS[limit]
    for limit in (
        apsw.SQLITE_LIMIT_COLUMN,
        apsw.SQLITE_LIMIT_EXPR_DEPTH,
        apsw.SQLITE_LIMIT_FUNCTION_ARG,
        apsw.SQLITE_LIMIT_ATTACHED,
        apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH,
        apsw.SQLITE_LIMIT_TRIGGER_DEPTH,
    )
}
_SWITCHES: Final = {
    apsw.SQLITE_DBCONFIG_DEFENSIVE: 1,
    apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA: 0,
    apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION: 0,
    apsw.SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER: 0,
    apsw.SQLITE_DBCONFIG_DQS_DML: 0,
    apsw.SQLITE_DBCONFIG_DQS_DDL: 0,
    apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER: 0,
}

# Built-in functions that reach out of the statement, or are for finding faults of indexes.
_NOT_CALLED: Final = frozenset(
    {
        "load_extension",
        "fts3_tokenizer",
        "fts5",
        "sqlite_log",
        "rtreecheck",
        "rtreenode",
        "rtreedepth",
        "geopoly_debug",
        "optimize",
    }
)
_SLOW: Final = {"glob": 8, "like": 4, "json_patch": 4, "jsonb_patch": 4, "strftime": 2}
"""How many others a call of these takes as long as, at the same length."""
# Tables that SQLite has without anybody's having made them, and that show nothing but arguments.
_VALUE_TABLES: Final = frozenset({"json_each", "json_tree"})
# What full text and spatial indexes ask for themselves; the others tell of the schema.
_INNER_PRAGMAS: Final = frozenset({"data_version", "page_size", "encoding"})
_SCHEMA_PRAGMAS: Final = frozenset(
    {
        "foreign_key_list",
        "index_info",
        "index_list",
        "index_xinfo",
        "table_info",
        "table_list",
        "table_xinfo",
    }
)
_SCHEMA_TABLES: Final = frozenset({"sqlite_master", "sqlite_schema"})
_WRITES: Final = frozenset({apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE})


def harden(db: apsw.Connection) -> None:
    """Make a connection, opened to read only, safe for statements of anybody."""
    for switch, value in _SWITCHES.items():
        db.config(switch, value)
    for limit, value in _LIMITS.items():
        db.limit(limit, value)
    functions.bound(db)
    # What does not fit into caches goes to files: see `watch`.
    db.execute("PRAGMA query_only=1; PRAGMA temp_store=1; PRAGMA mmap_size=0").fetchall()


def limit_writes(db: apsw.Connection) -> None:
    """No step of a statement that writes takes long, either: the same functions, the same limits.

    What may be written may be read: tables have no more columns than queries."""
    for limit, value in _WRITE_LIMITS.items():
        db.limit(limit, value)
    functions.bound(db)


def calls_of(name: str) -> int:
    """How many calls of a plain function a call of this one counts as."""
    return _SLOW.get(name, 1)


def limit_values(db: apsw.Connection, parts: int, reach: int) -> int:
    """Let no value be longer than ``reach`` allows for so many; answers how long."""
    most = min(functions.VALUE_BYTES_MAX, max(_VALUE_BYTES_MIN, reach // max(1, parts)))
    db.limit(apsw.SQLITE_LIMIT_LENGTH, most)
    return most


def check_params(params: Params, bytes_max: int) -> None:
    """Raises apsw.TooBigError: values that were bound before the limit was set are not looked at
    by SQLite."""
    given = params.values() if isinstance(params, Mapping) else params
    if any(isinstance(each, str | bytes) and len(each) > bytes_max for each in given):
        raise apsw.TooBigError("string or blob too big")


_SPATIAL_TABLES = ("_node", "_parent", "_rowid")


class WriteReach:
    """Limits the values of statements that write, as they are prepared."""

    def __init__(self, db: apsw.Connection) -> None:
        limit_writes(db)
        self._db = db

    def begin(self, sql: str, calls: int, params: Params) -> None:
        """A statement is prepared. Raises apsw.TooBigError."""
        parts = calls + len(sql) // _WRITE_TEXT_BYTES_A_VALUE
        check_params(params, limit_values(self._db, parts, WRITE_REACH_BYTES))

    def end(self) -> None:
        """It is over: what follows is the server's own."""
        self._db.limit(apsw.SQLITE_LIMIT_LENGTH, functions.VALUE_BYTES_MAX)


class ReadRules:
    """The authorizer of one such connection: what it lets through, and what it counts.

    ``tables``: names of ours that anybody may read besides those of the schema; they look for
    themselves what their reader may see.
    """

    def __init__(self, db: apsw.Connection, tables: Collection[str] = ()) -> None:
        self._db = db
        self._ours = frozenset(tables)
        # A module is a table of its own name, unless the name is taken: nobody sees these.
        listed = _names(db, "SELECT name FROM pragma_module_list")
        modules = {each for each in listed if not each.startswith("pragma_")}
        self._modules = frozenset(modules - self._ours - _VALUE_TABLES)
        self._sight: Grants | None = None
        self._shadows: frozenset[str] = frozenset()
        self._active = False
        self._calls = 0
        self._decisions = 0
        db.authorizer = self._decide

    def begin(self, sight: Grants | None) -> None:
        """A statement of a client's follows; ``sight`` None sees all tables."""
        self._sight = sight
        self._shadows = frozenset() if sight is None else self._shadows_of(sight)
        self._calls = self._decisions = 0
        self._active = True

    def end(self) -> None:
        """What follows is the server's own."""
        self._active = False

    def limit_values(self, sql: str, columns: int) -> int:
        """How long values may be in a statement that is prepared: sets it, and answers it."""
        parts = self._calls + columns + len(sql) // _TEXT_BYTES_A_VALUE
        return limit_values(self._db, parts, REACH_BYTES)

    def _decide(
        self, action: int, first: str | None, second: str | None, place: str | None, by: str | None
    ) -> int:
        if self._active:
            self._decisions += 1
            if self._decisions > _DECISIONS_MAX:
                raise SqliteError(
                    "sql: the statement is too large: it uses too many columns, or views of views"
                )
            refusal = self._refusal(action, first or "", second or "", place)
            if refusal is not None:
                raise refusal
        return int(apsw.SQLITE_OK)

    def _refusal(self, action: int, first: str, second: str, place: str | None) -> KissError | None:
        if action == apsw.SQLITE_READ:
            return self._read_refusal(first.lower(), first)
        if action in (apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE):
            return None
        if action == apsw.SQLITE_FUNCTION:
            return self._call_refusal(second.lower())
        if action == apsw.SQLITE_PRAGMA:
            return self._pragma_refusal(first.lower(), second)
        if action in _WRITES:
            if self._prepares_index(first.lower()):
                return None
            return InvalidArgument(
                f"sql: a query only reads, and this writes {first}: send it to /v1/sql/exec"
            )
        return InvalidArgument(
            "sql: a query only reads: no transactions, no other databases, no changes of the "
            "schema (those go to /v1/sql/exec)"
        )

    def _prepares_index(self, name: str) -> bool:
        """A spatial index prepares its writes when a connection first uses it, also to be read.
        The connection is a read-only one: whoever does write such a table is refused by that."""
        if not name.endswith(_SPATIAL_TABLES):
            return False
        return self._sight is None or name in self._shadows

    def _read_refusal(self, name: str, as_written: str) -> KissError | None:
        if name in self._ours or name in _VALUE_TABLES:
            return None
        if name in self._modules or name == "sqlite_temp_master":
            return SqliteError(f"sql: {as_written} is not for queries")
        if self._sight is None or name in self._shadows:
            return None
        # What tells of everybody's tables is for who may have all of them.
        is_sqlites = name.startswith(("sqlite_", "pragma_"))
        if self._sight.may_table("" if is_sqlites else as_written):
            return None
        if name in _SCHEMA_TABLES or name.startswith("pragma_"):
            return Forbidden(
                "the scopes of this API key have some tables only: GET /v1/sql/schema shows them"
            )
        return Forbidden(
            f"the scopes of this API key do not have the table {as_written[:200]!r}: use another "
            "key, or one whose scopes name it"
        )

    def _call_refusal(self, name: str) -> KissError | None:
        self._calls += calls_of(name)
        if name in _NOT_CALLED or name not in _callable():
            return SqliteError(f"sql: the function {name} is not for queries")
        return None

    def _pragma_refusal(self, name: str, argument: str) -> KissError | None:
        if name in _INNER_PRAGMAS and not argument:
            return None
        if name in _SCHEMA_PRAGMAS and self._sight is None:
            return None
        return SqliteError(f"sql: PRAGMA {name} is not for queries")

    def _shadows_of(self, sight: Grants) -> frozenset[str]:
        """The tables behind full text and spatial indexes that may be read: they read them."""
        sql = "SELECT name FROM pragma_table_list WHERE schema='main' AND type=?"
        virtual = _names(self._db, sql, "virtual")
        owners = tuple(f"{each}_".lower() for each in virtual if sight.may_table(each))
        shadows = [each.lower() for each in _names(self._db, sql, "shadow")]
        return frozenset(each for each in shadows if each.startswith(owners))


def _names(db: apsw.Connection, sql: str, *params: str) -> list[str]:
    return [str(row[0]) for row in db.execute(sql, params).fetchall()]


@cache
def _callable() -> frozenset[str]:
    """All functions that SQLite is built with."""
    return frozenset(_names(apsw.Connection(":memory:"), "SELECT name FROM pragma_function_list"))
