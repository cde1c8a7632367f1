"""One connection that reads, and the one statement that it has at a time."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import Any, Final, Protocol

import apsw
import msgspec

from kissvdb.core.grants import Grants
from kissvdb.core.sql import views
from kissvdb.engine.sql import blind
from kissvdb.engine.sql.guard import ReadRules, check_params, harden
from kissvdb.engine.sql.reader_threads import ReaderThread
from kissvdb.engine.sql.statements import Params, check_alone, check_bindings, translated
from kissvdb.engine.sql.watch import Watch
from kissvdb.errors import KissError
from kissvdb.storage.sql.functions import VALUE_BYTES_MAX

CHUNK_ROWS_MAX: Final = 512
CHUNK_BYTES: Final = 256 * 1024
"""A chunk ends when it has so many, about, as JSON."""
BUSY_MS_MAX: Final = 1000

Row = tuple[Any, ...]


class SqlQuery(msgspec.Struct, frozen=True):
    """What to read, and how much at most. ``params``: by position, or by name without the ``:``.

    ``timeout_ms``: for all of it, from the wait for a connection to the last row that is taken.
    ``sight``: the grants of who asks; None sees everything. ``private``: whether the events of keys
    and audits are to be seen among the others.
    """

    sql: str
    params: Params = ()
    rows_max: int = 10_000
    bytes_max: int = 16 * 1024 * 1024
    timeout_ms: int = 5_000
    sight: Grants | None = None
    private: bool = True


class Closing(Protocol):
    """What our tables show during one statement, true at one offset."""

    offset: int

    def close(self) -> None: ...


class OurTables(Protocol):
    """Read-only tables on a connection, beside the user's."""

    def attach(self, db: apsw.Connection) -> Callable[[Any], AbstractContextManager[None]]:
        """Put them on a connection; answers what makes a block in which they show a snapshot."""
        ...

    async def take(
        self, query: SqlQuery, watch: Watch, begin: Callable[[], None]
    ) -> Closing | None:
        """A snapshot of what a statement reads of them, or None if nothing.

        ``begin`` holds on to the same moment of the user's tables; it is called on the loop."""
        ...


class Reading:
    """The connection. Made in a thread; then used by one thread, or the loop, at a time.

    Raises what apsw raises, and what `ReadRules` and `statements` do.
    """

    def __init__(
        self,
        thread: ReaderThread,
        path: Path,
        names: Collection[str],
        ours: OurTables | None,
    ) -> None:
        self.thread = thread
        """Its own; closed with it."""
        self.offset = 0
        """Of the moment that is read."""
        self.is_well = True
        self._names, self._ours = names, ours
        self._db = db = apsw.Connection(
            str(path), flags=apsw.SQLITE_OPEN_READONLY, statementcachesize=8
        )
        try:
            db.set_busy_timeout(BUSY_MS_MAX)
            self._showing = None if ours is None else ours.attach(db)
            harden(db)
            self._rules = ReadRules(db, names)
            self.watch = Watch(db, thread.take_turns)
        except BaseException:
            db.close()
            raise
        self._ends = ExitStack()
        self._cursor: apsw.Cursor | None = None
        self._columns: tuple[str, ...] = ()
        self._row_size = 0
        self._is_prepared = False
        self._views: dict[str, str] = {}
        self._view_sizes: dict[str, int] = {}
        self._views_version = -1
        self._query = SqlQuery("")

    def begin(self) -> None:
        """Hold on to this moment of the database. Raises apsw.BusyError, and holds nothing then."""
        try:
            self._db.execute("BEGIN").fetchall()
            high: int = self._db.execute("PRAGMA application_id").get
            low: int = self._db.execute("PRAGMA user_version").get
        except apsw.BusyError:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK").fetchall()
            raise
        self.offset = (high & 0xFFFFFFFF) << 32 | (low & 0xFFFFFFFF)

    def show(self, snapshot: Closing | None) -> None:
        """Have our tables show it, until `end` closes it."""
        if snapshot is not None:
            self.offset = snapshot.offset
            self._ends.callback(snapshot.close)
            assert self._showing is not None
            self._ends.enter_context(self._showing(snapshot))

    def start(self, query: SqlQuery, true_offset: int) -> tuple[str, ...]:
        """Begin the statement; answers the names of its columns, each once.

        ``true_offset``: the file held all of SQL up to there before; later ones are only of it."""
        if not self._db.in_transaction:
            self.begin()
            self.offset = max(self.offset, true_offset)
        # What was changed by others is noticed when a statement runs, not when it is prepared.
        self._db.execute("SELECT 1 FROM sqlite_schema LIMIT 0").fetchall()
        self._query = query
        self._is_prepared = False
        self._cursor = cursor = self._db.cursor()
        cursor.exec_trace = self._check
        self._check_views(query)
        self._rules.begin(query.sight)
        if query.sight is None:
            cursor.execute(query.sql, query.params, can_cache=False)
            return self._columns
        try:
            with translated():
                cursor.execute(query.sql, query.params, can_cache=False)
        except KissError as refusal:
            if self._is_prepared:
                raise
            raise self._told(query, query.sight) from refusal
        return self._columns

    def fetch(self, rows_max: int) -> tuple[list[Row], int, bool]:
        """Rows, a chunk at most; about how many bytes of JSON they are; whether there may be
        more."""
        assert self._cursor is not None
        rows: list[Row] = []
        size = 0
        most = min(rows_max, CHUNK_ROWS_MAX)
        while len(rows) < most and size < CHUNK_BYTES:
            row = self._cursor.fetchone()
            if row is None:
                return rows, size, False
            rows.append(row)
            size += self._row_size + sum(map(_size, row))
        return rows, size, True

    def has_another(self) -> bool:
        """Whether there is a further row; it is lost."""
        assert self._cursor is not None
        return self._cursor.fetchone() is not None

    def end(self) -> None:
        """Let go of the statement and its moment."""
        cursor, self._cursor = self._cursor, None
        try:
            if cursor is not None:
                cursor.close(force=True)
            self._rules.end()
            self.watch.end()
            self._db.limit(apsw.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
            if self._db.in_transaction:
                self._db.execute("ROLLBACK").fetchall()
        except apsw.Error:
            # Whatever it was, the next statement gets another connection.
            self.is_well = False
        finally:
            ends, self._ends = self._ends, ExitStack()
            ends.close()

    def close(self) -> None:
        self._db.close()
        self.watch.close()
        self.thread.close()

    def _check_views(self, query: SqlQuery) -> None:
        """Raises SqliteError, which tells of views that its reader may see."""
        version: int = self._db.execute("PRAGMA schema_version").get
        if version != self._views_version:
            found = self._db.execute("SELECT name, sql FROM sqlite_schema WHERE type='view'")
            self._views = {str(name): str(sql) for name, sql in found.fetchall()}
            self._view_sizes = views.sizes_of(self._views)
            self._views_version = version
        try:
            views.check(query.sql, self._view_sizes)
        except KissError as refusal:
            if query.sight is None:
                raise
            seen = {name: sql for name, sql in self._views.items() if query.sight.may_table(name)}
            views.check(query.sql, views.sizes_of(seen))
            raise self._told(query, query.sight) from refusal

    def _told(self, query: SqlQuery, sight: Grants) -> KissError:
        """What the statement, which cannot be prepared, is refused with: see `blind`."""
        self._rules.end()
        with closing(blind.schema_of(self._db, sight.may_table)) as shadow:
            if self._ours is not None:
                self._ours.attach(shadow)
            harden(shadow)
            ReadRules(shadow, self._names).begin(sight)
            return blind.refusal(shadow, query.sql, query.params, sight.may_table, translated)

    def _check(self, cursor: apsw.Cursor, first: str, params: object) -> bool:
        """Called when the statement is prepared and nothing has happened yet."""
        if self._is_prepared:
            # What follows the statement: nothing, as was seen.
            return True
        self._is_prepared = True
        query = self._query
        check_alone(query.sql, first)
        check_bindings(cursor, query.params)
        names = [name for name, *_ in cursor.get_description()]
        self._columns = _each_once(names)
        self._row_size = sum(map(len, self._columns)) + 4 * len(self._columns) + 3
        check_params(query.params, self._rules.limit_values(query.sql, len(names)))
        return True


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value) + 2
    if isinstance(value, bytes):
        return len(value) * 4 // 3 + 2
    return 8


def _each_once(names: Sequence[str]) -> tuple[str, ...]:
    """As SQLite names the columns of a subquery: a second ``id`` is ``id:1``."""
    found: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for name in names:
        unique = name
        while unique in found:
            numbers[name] = numbers.get(name, 0) + 1
            unique = f"{name}:{numbers[name]}"
        found[unique] = None
    return tuple(found)
