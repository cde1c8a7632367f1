"""Reading a state table from a thread, as it is at one moment, while its owner goes on."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw

from kissvdb.errors import PersistenceFailed

_READ = (
    "PRAGMA query_only=1; PRAGMA cache_size=-1024; PRAGMA temp_store=MEMORY;"
    " PRAGMA automatic_index=0;"
)
_LIVING = "(expires_at IS NULL OR expires_at > :now_ms)"
_GET = (
    "SELECT key, value, revision, off, expires_at FROM kv"
    " WHERE key = ? AND (expires_at IS NULL OR expires_at > ?)"
)
STEPS_BETWEEN_CHECKS = 5000
"""Of SQLite's virtual machine: some 0.1 ms."""

Row = tuple[str, str | None, int, int, int | None]
"""Key, value (None if it is not asked for), revision, offset, and when it expires."""


class TableReader:
    """A connection of its own. One thread at a time; between `begin` and `end` it sees one moment.

    An open moment keeps the WAL from starting anew, so it must end soon.
    """

    def __init__(self, path: Path) -> None:
        """Raises PersistenceFailed."""
        try:
            self._db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            self._db.execute(_READ).fetchall()
        except apsw.Error as error:
            raise PersistenceFailed(
                f"{path} cannot be read ({error}): are too many files open?"
            ) from error

    def begin(self, is_over: Callable[[], bool]) -> None:
        """Hold on to this moment, in some 10 us. What is read ends where ``is_over`` says so.

        Raises apsw.BusyError where it has to be tried again.
        """
        self._db.execute("BEGIN")
        try:
            self._db.execute("SELECT v FROM meta WHERE k='applied'").get  # noqa: B018
        except apsw.Error:
            self.end()
            raise
        self._db.set_progress_handler(is_over, STEPS_BETWEEN_CHECKS)

    def end(self) -> None:
        """Let go of the moment. It can be begun again."""
        self._db.set_progress_handler(None)
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def get(self, key: str, now_ms: int) -> Row | None:
        """A living key."""
        found: Row | None = self._db.execute(_GET, (key, now_ms)).get
        return found

    def rows(
        self,
        low: str | None,
        high: str | None,
        now_ms: int,
        *,
        values: bool,
        glob: str | None = None,
        like: str | None = None,
    ) -> Iterator[Row]:
        """Living keys with ``low`` <= key < ``high``, in byte order; only those that match the
        patterns of SQLite's GLOB and LIKE.

        The iterator is to be closed, or dropped. Raises apsw.InterruptError where ``is_over`` says
        so."""
        given: dict[str, Any] = {"now_ms": now_ms}
        tests = [_LIVING]
        for name, value, test in (
            ("low", low, "key >= :low"),
            ("high", high, "key < :high"),
            ("glob", glob, "key GLOB :glob"),
            ("like", like, "key LIKE :like"),
        ):
            if value is not None:
                given[name] = value
                tests.append(test)
        value_column = "value" if values else "NULL"
        sql = (
            f"SELECT key, {value_column}, revision, off, expires_at FROM kv"
            f" WHERE {' AND '.join(tests)} ORDER BY key"
        )
        found: Iterator[Row] = self._db.cursor().execute(sql, given)
        return found

    def close(self) -> None:
        """It is not needed any more."""
        self._db.close()
