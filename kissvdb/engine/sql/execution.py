"""One statement of a user's, executed: what it may do, what it did, and SQLite's word for why not.

For a thread, one at a time, within a transaction.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import apsw

from kissvdb.core.sql import views
from kissvdb.core.sql.commands import Statement
from kissvdb.core.sql.grants import TableGrants
from kissvdb.engine.sql import blind
from kissvdb.engine.sql.exec_rules import HARMLESS, ExecRules, outside
from kissvdb.engine.sql.guard import WriteReach
from kissvdb.engine.sql.statements import is_nothing
from kissvdb.errors import (
    Damaged,
    Forbidden,
    KissError,
    PayloadTooLarge,
    PersistenceFailed,
    SqliteError,
)
from kissvdb.storage.sql.capture import Capture
from kissvdb.storage.sql.connecting import translated
from kissvdb.storage.sql.file import SqlFile
from kissvdb.storage.sql.schema import Schema, quoted

_STEPS_PER_LOOK = 5000
_NO_RENAMING = "a key of some tables may not rename one"
# ALTER TABLE looks through all views and triggers, and names one that has lost a table.
_OF_ANOTHER = ("error in view ", "error in trigger ")
_CANNOT_ALTER = (
    "the table cannot be altered: a view or a trigger of this database is broken, or would be; ask "
    "whoever has a key without scopes"
)
_FOREIGN_KEYS = "FOREIGN KEY constraint failed"


class Executor:
    """The writing connection under its rules. ``bytes_max``: of what one command changes, about."""

    def __init__(self, file: SqlFile, *, seconds_max: float, bytes_max: int) -> None:
        self.schema = Schema(file.db)
        self.rules = ExecRules()
        self._db = file.db
        self._seconds_max = seconds_max
        self._bytes_max = bytes_max
        self._deadline = 0.0
        self._capture: Capture | None = None
        self._cursor: Any = None
        self._statements = 0
        self._reach = WriteReach(file.db)
        self._is_running = False
        self._sql = ""
        self._parents: dict[str, set[str]] = {}
        self._views: dict[str, str] | None = None
        self._view_sizes: dict[str, int] = {}
        listed = self._db.execute("SELECT lower(name) FROM pragma_module_list").fetchall()
        self._modules = frozenset(str(name) for (name,) in listed) - HARMLESS
        self._db.authorizer = self.rules
        self._db.exec_trace = self._prepared
        self._db.set_progress_handler(self._is_too_much, _STEPS_PER_LOOK)

    @property
    def schema_version(self) -> int:
        """Another number after each change of the schema."""
        version: int = self._db.execute("PRAGMA schema_version").get
        return version

    def start_command(self) -> None:
        """The time of a command runs from here."""
        self._deadline = time.monotonic() + self._seconds_max

    def hurry(self) -> None:
        """Stop a statement whose time is over at its next turn: thousands of steps, after which it
        is looked at, take long where each calls a slow function. From the event loop."""
        if self._is_running and time.monotonic() > self._deadline:
            self._db.interrupt()

    def execute(
        self,
        statement: Statement,
        grants: TableGrants | None,
        capture: Capture,
        before_schema_change: Callable[[], None],
    ) -> int:
        """Execute a statement; answers how many rows it affected. ``capture``: what notes them.

        ``before_schema_change`` is called when it is prepared and turns out to be one. Raises
        EmptiesFirst, before it did anything, and SqliteError, Forbidden, PayloadTooLarge,
        PersistenceFailed and Damaged. What it did before it was refused is to be undone by whoever
        began the transaction.
        """
        rules, db = self.rules, self._db
        self._check_views(statement, grants)
        if grants is None:
            rules.reset(None)
        else:
            rules.reset(grants, statement.sql, self.schema.triggers(), self._modules)
        self._parents = {}
        self._capture = capture
        self._before_schema_change = before_schema_change
        self._statements = 0
        self._sql = statement.sql
        try:
            with self._refusals():
                rules.preparing = self._is_running = True
                cursor = self._cursor = db.cursor()
                # A cached statement would not ask the rules again.
                cursor.execute(statement.sql, statement.params, can_cache=False).fetchall()
                counts = rules.changes_rows and not rules.changes_schema
                affected = db.changes() if counts else 0
        except (SqliteError, Forbidden) as problem:
            if grants is None:
                raise
            if problem.message.startswith(_OF_ANOTHER):
                raise SqliteError(_CANNOT_ALTER) from problem
            if self._statements:
                raise
            rules.preparing = False
            told = self._told(statement, grants)
            if told is not None:
                raise told from problem
            return 0
        finally:
            rules.preparing = self._is_running = False
            self._reach.end()
            self._capture = self._cursor = None
        if not self._statements:
            raise SqliteError("there is no statement in it")
        if rules.changes_schema:
            self.schema.forget()
            self._check_schema(grants)
        else:
            self._check_keys()
        return affected

    def _check_views(self, statement: Statement, grants: TableGrants | None) -> None:
        """Raises SqliteError, which tells of views that its key may read."""
        texts = self.schema.views()
        if texts is not self._views:
            self._views, self._view_sizes = texts, views.sizes_of(texts)
        try:
            views.check(statement.sql, self._view_sizes)
        except SqliteError as refusal:
            if grants is None:
                raise
            readable = {name: text for name, text in texts.items() if grants.may_read(name)}
            views.check(statement.sql, views.sizes_of(readable))
            raise self._told(statement, grants) or Forbidden(blind.HIDDEN) from refusal

    def _told(self, statement: Statement, grants: TableGrants) -> KissError | None:
        """What a statement, which cannot be prepared, is refused with: see `blind`. None: it is to
        do nothing, as one that drops what is not there if it is."""
        rules = ExecRules()
        rules.reset(grants, statement.sql, frozenset(), self._modules)

        def may_see(table: str) -> bool:
            return grants.may_read(table) or grants.may_write(table)

        with closing(blind.schema_of(self._db, may_see)) as shadow:
            rules.preparing = True
            shadow.authorizer = rules
            refusals = partial(self._refusals, rules)
            told = blind.refusal(shadow, statement.sql, statement.params, may_see, refusals)
        # Only the name that a table is to get may be another's.
        if told.message != blind.HIDDEN:
            return told
        if not rules.changes_schema and not rules.written:
            return None
        return Forbidden(_NO_RENAMING) if rules.altered else told

    def empty(self, table: str, capture: Capture) -> None:
        """Delete all rows of a table as SQLite does before it drops one that foreign keys point
        to: without triggers. Raises what `execute` does."""
        self._capture, self._is_running = capture, True
        self._db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
        try:
            with self._refusals():
                self._db.execute(f"DELETE FROM {quoted(table)}", can_cache=False).fetchall()
        finally:
            self._capture, self._is_running = None, False
            self._db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 1)

    @contextmanager
    def no_foreign_keys(self) -> Iterator[None]:
        """For as long as the block, nobody follows them."""
        self._db.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0)
        try:
            yield
        finally:
            self._db.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)

    def check_foreign_keys(self) -> None:
        """Raises SqliteError when a deferred foreign key is not met: COMMIT would be refused."""
        if self._db.status(apsw.SQLITE_DBSTATUS_DEFERRED_FKS)[0]:
            raise SqliteError(_FOREIGN_KEYS)

    def _prepared(self, cursor: Any, sql: str, params: Any) -> bool:
        """SQLite's hook between the preparation of a statement and its first step."""
        if cursor is not self._cursor or not cursor.has_vdbe:
            return True
        self._statements += 1
        if self._statements > 1 or not is_nothing(self._sql[len(sql) :]):
            raise SqliteError("one statement at a time: send several as a batch")
        if cursor.get_description():
            raise SqliteError(
                "the statement answers rows: leave RETURNING out, and read with /v1/sql/query"
            )
        if isinstance(params, dict):
            _check_names(cursor.bindings_names, params)
        elif self.rules.changes_schema and cursor.bindings_count:
            raise SqliteError("a statement that changes the schema takes no parameters")
        if self.rules.writes_statistics and not self.rules.analyzes:
            raise SqliteError("not allowed here: writing the statistics of ANALYZE")
        if self.rules.empties > 1:
            raise EmptiesFirst(next(iter(self.rules.dropped)))
        self.rules.preparing = False
        if self.rules.changes_schema:
            self._capture, self._is_running = None, False
            if self.rules.grants is not None:
                self._parents = {each: self._parents_of(each) for each in self.rules.altered}
            self._before_schema_change()
            self._is_running = True
        self._reach.begin(sql, self.rules.calls, params or ())
        return True

    def _is_too_much(self) -> bool:
        if not self._is_running:
            return False
        capture = self._capture
        if capture is not None and capture.bytes_used > self._bytes_max:
            return True
        return time.monotonic() > self._deadline

    @contextmanager
    def _refusals(self, rules: ExecRules | None = None) -> Iterator[None]:
        rules = rules or self.rules
        try:
            with translated("execute a statement"):
                yield
        except (SqliteError, EmptiesFirst, PersistenceFailed, Damaged):
            raise
        except apsw.InterruptError as error:
            if time.monotonic() > self._deadline:
                raise SqliteError(
                    f"the statement took longer than {self._seconds_max:g} s "
                    "(sql.exec_timeout_ms): nothing was done"
                ) from error
            raise PayloadTooLarge(
                "the statement changes more than one command may (sql.bytes_max): do it in parts"
            ) from error
        except apsw.AuthError as error:
            reason = rules.reason
            if reason is None:
                raise SqliteError(str(error)) from error
            if rules.forbidden:
                raise Forbidden(reason) from error
            raise SqliteError(f"not allowed here: {reason}") from error
        except KeyError as error:
            raise SqliteError(
                f"the statement has :{error.args[0]}, and params has no such name"
            ) from error
        except (apsw.Error, TypeError, ValueError, OverflowError) as error:
            raise SqliteError(_told(error)) from error

    def _check_schema(self, grants: TableGrants | None) -> None:
        """What the statement made must be something that the log can follow."""
        rules = self.rules
        for table in (*rules.made, *rules.altered):
            if self._db.table_exists("main", table):
                problem = self.schema.problem(table)
                if problem is not None:
                    raise SqliteError(problem)
        if grants is not None:
            self._check_names_granted(grants)
        texts = self.schema.views()
        sizes = views.sizes_of(texts)
        if any(size > self._view_sizes.get(name, 0) for name, size in views.too_large(sizes)):
            raise SqliteError(views.TOO_LARGE)
        self._views, self._view_sizes = texts, sizes

    def _check_names_granted(self, grants: TableGrants) -> None:
        for table in (*self.rules.made, *self.rules.altered):
            # A foreign key would keep others from deleting what it points to.
            for parent in self._parents_of(table) - self._parents.get(table, set()):
                if not grants.may_read(parent):
                    raise Forbidden(outside(parent))
        if self.rules.altered:
            # It may have got another name, which SQLite does not tell.
            for table in self.rules.altered:
                if not self._db.table_exists("main", table):
                    raise Forbidden(_NO_RENAMING)

    def _parents_of(self, table: str) -> set[str]:
        """The tables that its foreign keys point to."""
        found = self._db.execute('SELECT "table" FROM pragma_foreign_key_list(?)', (table,))
        return {str(parent) for (parent,) in found.fetchall()}

    def _check_keys(self) -> None:
        for table in self.rules.written:
            column = self.schema.nullable_key(table)
            if column is None:
                continue
            found = self._db.execute(
                f"SELECT 1 FROM {quoted(table)} WHERE {quoted(column)} IS NULL LIMIT 1"
            ).get
            if found is not None:
                raise SqliteError(f"NOT NULL constraint failed: {table}.{column} (a primary key)")


class EmptiesFirst(Exception):
    """A table that foreign keys point to is to be dropped: SQLite would empty it first, unseen."""

    def __init__(self, table: str) -> None:
        super().__init__(table)
        self.table = table


def _check_names(wanted: tuple[str | None, ...], params: dict[str, Any]) -> None:
    names = {name for name in wanted if name is not None}
    for name in params.keys() - names:
        raise SqliteError(f"params has {name!r}, and the statement has no :{name}")


def _told(error: BaseException) -> str:
    """SQLite's own words, and where in the statement it is."""
    place = getattr(error, "error_offset", -1)
    text = str(error) or type(error).__name__
    return text if place is None or place < 0 else f"{text} (at byte {place} of the statement)"
