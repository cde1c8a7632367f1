"""The SQL database as it is opened: recovered from the log, then written by one owner."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kissvdb.errors import Damaged
from kissvdb.records import Record, SqlChanged, SqlExecuted
from kissvdb.storage.sql import applying
from kissvdb.storage.sql.connecting import connect, read_offset, translated, write_offset
from kissvdb.storage.sql.file import FILE_NAME, SqlFile, TemporaryPlace
from kissvdb.storage.sql.schema import Schema

_WAL_PAGES_MAX = 1000


class SqlStore:
    """One database directory's SQL. ``directory`` None: it lives as long as the process."""

    def __init__(self, directory: Path | None) -> None:
        self._temporary = None if directory is not None else TemporaryPlace()
        self.durable = directory is not None
        root = directory if self._temporary is None else self._temporary.path
        assert root is not None
        self.path = root / FILE_NAME
        try:
            self.replay = SqlReplay(self.path, durable=self.durable)
        except BaseException:
            self._remove_temporary()
            raise
        self._file: SqlFile | None = None

    @property
    def applied_offset(self) -> int:
        """The offset that the file is at."""
        return self.replay.applied_offset

    def open_file(self) -> SqlFile:
        """The file as its owner writes it: when everything is replayed."""
        self.replay.close()
        self._file = SqlFile(self.path, durable=self.durable)
        return self._file

    def close(self) -> None:
        self.replay.close()
        if self._file is not None:
            self._file.close()
        self._remove_temporary()

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            self._temporary.close()


class SqlReplay:
    """A `recovery.View`: does again what the log has and the file has not."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._db = connect(path, durable=durable)
        self._db.wal_autocheckpoint(_WAL_PAGES_MAX)
        applying.prepare(self._db)
        self._schema = Schema(self._db)
        self.applied_offset = read_offset(self._db)
        """The offset that the committed content is at."""
        # Of a transaction whose end has not come yet: records come in pieces of any size.
        self._begun: list[tuple[int, SqlExecuted | SqlChanged]] = []
        self._records_left = 0

    def replay(self, records: Sequence[tuple[int, Record]], upto: int) -> None:
        """Apply whole transactions. Raises Damaged and PersistenceFailed."""
        whole: list[list[tuple[int, SqlExecuted | SqlChanged]]] = []
        for offset, record in records:
            if offset <= self.applied_offset or not isinstance(record, (SqlExecuted, SqlChanged)):
                continue
            if not self._records_left:
                if not isinstance(record, SqlExecuted):
                    raise Damaged(f"the log has a changed row at offset {offset} without its begin")
                self._records_left = record.together + 1
            self._begun.append((offset, record))
            self._records_left -= 1
            if not self._records_left:
                whole.append(self._begun)
                self._begun = []
        # Up to before the first record of what has not come whole.
        reached = self._begun[0][0] - 1 if self._begun else upto
        if reached > self.applied_offset:
            self._apply(whole, reached)

    def close(self) -> None:
        self._db.close()

    def _apply(
        self, transactions: Sequence[Sequence[tuple[int, SqlExecuted | SqlChanged]]], offset: int
    ) -> None:
        with translated("replay the log"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for transaction in transactions:
                    for executed, changes in _parts(transaction):
                        applying.apply(self._db, self._schema, executed, changes)
                write_offset(self._db, offset, self.applied_offset)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._schema.forget()
                raise
        self.applied_offset = offset


def _parts(transaction: Sequence[tuple[int, Any]]) -> list[tuple[SqlExecuted, list[SqlChanged]]]:
    parts: list[tuple[SqlExecuted, list[SqlChanged]]] = []
    for _, record in transaction:
        if isinstance(record, SqlExecuted):
            parts.append((record, []))
        else:
            parts[-1][1].append(record)
    return parts
