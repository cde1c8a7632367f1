"""What a statement that writes may do, told by SQLite's authorizer while it is prepared.

Nothing is decided by looking at the text. What the log could not follow is refused: transactions of
one's own, other databases, temporary objects, settings; and what the caller has no grant for.
"""

import re
from collections.abc import Callable

import apsw

from kissvdb.core.sql.grants import TableGrants
from kissvdb.engine.sql.guard import calls_of

MODULES = frozenset({"fts5", "fts5vocab", "rtree", "rtree_i32", "geopoly"})
"""The kinds of virtual tables that may be made: their rows lie in tables of this database."""

_READABLE_PRAGMAS = frozenset({"data_version", "page_size", "encoding", "table_xinfo"})
"""Asked for by full text and spatial indexes themselves."""

_SCHEMA_CHANGES = frozenset(
    {
        apsw.SQLITE_CREATE_INDEX,
        apsw.SQLITE_CREATE_TABLE,
        apsw.SQLITE_CREATE_TRIGGER,
        apsw.SQLITE_CREATE_VIEW,
        apsw.SQLITE_CREATE_VTABLE,
        apsw.SQLITE_DROP_INDEX,
        apsw.SQLITE_DROP_TABLE,
        apsw.SQLITE_DROP_TRIGGER,
        apsw.SQLITE_DROP_VIEW,
        apsw.SQLITE_DROP_VTABLE,
        apsw.SQLITE_ALTER_TABLE,
        apsw.SQLITE_REINDEX,
        apsw.SQLITE_ANALYZE,
    }
)
_TEMPORARY = frozenset(
    {
        apsw.SQLITE_CREATE_TEMP_INDEX,
        apsw.SQLITE_CREATE_TEMP_TABLE,
        apsw.SQLITE_CREATE_TEMP_TRIGGER,
        apsw.SQLITE_CREATE_TEMP_VIEW,
        apsw.SQLITE_DROP_TEMP_INDEX,
        apsw.SQLITE_DROP_TEMP_TABLE,
        apsw.SQLITE_DROP_TEMP_TRIGGER,
        apsw.SQLITE_DROP_TEMP_VIEW,
    }
)
# ALTER TABLE looks into it.
_TEMPORARY_SCHEMA = frozenset({"sqlite_temp_master", "sqlite_temp_schema"})
_WRITES = frozenset({apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE})
_DEFINITIONS = frozenset(
    {
        apsw.SQLITE_CREATE_TRIGGER,
        apsw.SQLITE_CREATE_VIEW,
        apsw.SQLITE_DROP_TRIGGER,
        apsw.SQLITE_DROP_VIEW,
        apsw.SQLITE_CREATE_VTABLE,
        apsw.SQLITE_DROP_VTABLE,
        apsw.SQLITE_ANALYZE,
        apsw.SQLITE_REINDEX,
    }
)
_SCHEMA_TABLES = frozenset({"sqlite_master", "sqlite_schema", *_TEMPORARY_SCHEMA})
HARMLESS = frozenset({"json_each", "json_tree"})
"""Tables that hold what they are given."""
# Those that reach out of a statement, or are for finding faults of indexes.
_FORBIDDEN_FUNCTIONS = frozenset(
    {
        "load_extension",
        "fts3_tokenizer",
        "fts5",
        "sqlite_log",
        "rtreecheck",
        "rtreenode",
        "rtreedepth",
        "geopoly_debug",
    }
)
_OWN = ("sqlite_", "pragma_")
_QUOTE = re.compile(r"""["'`\]]""")
"""In a name: the statement may have it written otherwise."""
_TABLE_MADE = frozenset({apsw.SQLITE_CREATE_TABLE, apsw.SQLITE_CREATE_VTABLE})

Authorizer = Callable[[int, str | None, str | None, str | None, str | None], int]


class ExecRules:
    """The authorizer of the connection that writes, and what it learns of a statement.

    ``preparing``: a statement of a user is prepared. Else SQLite, or an index, asks for itself.
    """

    def __init__(self) -> None:
        self.preparing = False
        self.grants: TableGrants | None = None
        self.reset(None)

    def reset(
        self,
        grants: TableGrants | None,
        sql: str = "",
        triggers: frozenset[str] = frozenset(),
        modules: frozenset[str] = frozenset(),
    ) -> None:
        """Before a statement, ``sql``. ``triggers``: the names of all there are; ``modules``: of
        tables that nobody made."""
        self.grants = grants
        self._sql = sql
        self._triggers = triggers
        self._modules = modules
        self.calls = 0
        """Of functions, those that take long more often."""
        self.changes_schema = False
        self.reason: str | None = None
        """What it wanted that is denied."""
        self.forbidden = False
        """Whether it is denied to this key only."""
        self.written: set[str] = set()
        """Tables whose rows it may change."""
        self.made: set[str] = set()
        """Tables that it makes."""
        self.altered: set[str] = set()
        self.dropped: set[str] = set()
        self.changes_rows = False
        self.makes_index = False
        self.writes_statistics = False
        self.analyzes = False
        self.empties = 0
        """How often it deletes from a table that it drops: twice if foreign keys point to it."""

    def __call__(
        self, action: int, first: str | None, second: str | None, place: str | None, by: str | None
    ) -> int:
        if not self.preparing:
            return int(apsw.SQLITE_OK)
        reason = self._problem(action, first or "", second or "", place, by)
        if reason is None:
            return int(apsw.SQLITE_OK)
        self.reason = self.reason or reason
        return int(apsw.SQLITE_DENY)

    def _problem(
        self, action: int, first: str, second: str, place: str | None, by: str | None
    ) -> str | None:
        if action in _SCHEMA_CHANGES:
            return self._schema_problem(action, first, second, place)
        if action in _TEMPORARY or (place == "temp" and first.lower() not in _TEMPORARY_SCHEMA):
            return "temporary tables, views and triggers: nothing of them would be in the log"
        if action in _WRITES:
            return self._write_problem(action, first, by)
        if action == apsw.SQLITE_READ:
            return self._read_problem(first, by)
        if action == apsw.SQLITE_SELECT:
            return "CREATE TABLE AS: create the table, then insert" if self.made else None
        if action == apsw.SQLITE_FUNCTION:
            self.calls += calls_of(second.lower())
            if second.lower() in _FORBIDDEN_FUNCTIONS:
                return f"the function {second}"
            return None
        if action == apsw.SQLITE_RECURSIVE:
            return None
        if action in (apsw.SQLITE_TRANSACTION, apsw.SQLITE_SAVEPOINT):
            return "BEGIN, COMMIT, ROLLBACK and SAVEPOINT: a request is a transaction of its own"
        if action == apsw.SQLITE_PRAGMA:
            if first.lower() in _READABLE_PRAGMAS:
                return None
            return f"PRAGMA {first}: the settings of this database are the server's"
        return "ATTACH, DETACH and VACUUM: this database is one file, which the server keeps"

    def _schema_problem(
        self, action: int, first: str, second: str, place: str | None
    ) -> str | None:
        # A new index is filled.
        follows_index = action == apsw.SQLITE_REINDEX and self.makes_index
        self.changes_schema = True
        if place == "temp" or (action == apsw.SQLITE_ALTER_TABLE and first == "temp"):
            return "temporary tables, views and triggers: nothing of them would be in the log"
        if follows_index:
            return None
        if self.grants is not None and action in _DEFINITIONS:
            return "triggers, views, virtual tables, ANALYZE and REINDEX with a key of some tables"
        if action in _TABLE_MADE:
            if action == apsw.SQLITE_CREATE_VTABLE and second.lower() not in MODULES:
                return f"virtual tables of {second}: there are {', '.join(sorted(MODULES))}"
            if not first.startswith("sqlite_"):
                self.made.add(first)
        elif action in (apsw.SQLITE_CREATE_INDEX, apsw.SQLITE_DROP_INDEX):
            # Indexes have names among those of everybody.
            self.makes_index = action == apsw.SQLITE_CREATE_INDEX
            # That of a UNIQUE or PRIMARY KEY is SQLite's own: nobody else may give such a name.
            implied = self.makes_index and first.startswith("sqlite_autoindex_")
            problem = None if implied else self._grant_problem(first, write=True)
            if problem is not None:
                return problem
        elif action == apsw.SQLITE_ALTER_TABLE:
            self.altered.add(second)
        elif action == apsw.SQLITE_DROP_TABLE:
            self.dropped.add(first)
        elif action == apsw.SQLITE_ANALYZE:
            self.analyzes = True
        table = first if action in (*_TABLE_MADE, apsw.SQLITE_DROP_TABLE) else second
        return None if self.grants is None else self._grant_problem(table, write=True)

    def _write_problem(self, action: int, table: str, by: str | None) -> str | None:
        if action == apsw.SQLITE_DELETE and table in self.dropped:
            self.empties += 1
        self.changes_rows = True
        if table.lower().startswith("sqlite_"):
            return self._own_table_problem(action, table.lower())
        self.written.add(table)
        return None if by is not None else self._grant_problem(table, write=True)

    def _own_table_problem(self, action: int, table: str) -> str | None:
        if self.changes_schema or table in _SCHEMA_TABLES:
            # A user's own statement could not do it: SQLite is in defensive mode.
            return None
        if table.startswith("sqlite_stat"):
            # ANALYZE says what it is only afterwards.
            self.writes_statistics = True
            return None
        if table == "sqlite_sequence" and action != apsw.SQLITE_INSERT and self.grants is None:
            return None
        return f"writing {table}: it is SQLite's own"

    def _read_problem(self, table: str, by: str | None) -> str | None:
        if self.grants is None or self.changes_schema:
            return None
        if table in HARMLESS or (by is not None and self._is_trigger(by)):
            return None
        return self._grant_problem(table, write=False)

    def _is_trigger(self, by: str) -> bool:
        """Whether a trigger reads, and not the statement: SQLite names also a ``WITH`` here, which
        may be called as a trigger is. Then the statement has the name in its text."""
        if by not in self._triggers or _QUOTE.search(by):
            return False
        return re.search(rf"(?<![\w$]){re.escape(by)}(?![\w$])", self._sql) is None

    def _grant_problem(self, table: str, *, write: bool) -> str | None:
        grants = self.grants
        if grants is None:
            return None
        may = grants.may_write if write else grants.may_read
        # What tells of everybody's tables is for who may have all of them.
        if may("" if self._is_sqlites(table) else table):
            return None
        self.forbidden = True
        return outside(table)

    def _is_sqlites(self, table: str) -> bool:
        name = table.lower()
        return name.startswith(_OWN) or name in self._modules


def outside(name: str) -> str:
    """Says that a key may not touch it. The same whether it is there or not: in small letters, for
    SQLite knows it as it was made, and the caller may have written it otherwise."""
    return (
        f"the scopes of this API key do not have the table {name.lower()!r}: use another key, or "
        "one whose scopes name it"
    )
