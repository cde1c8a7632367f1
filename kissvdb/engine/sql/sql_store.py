"""The SQL database as it is opened: recovered from the log, then written by one owner."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kissvdb import logs
from kissvdb.engine import recovery
from kissvdb.engine.log.event_log import EventLog
from kissvdb.errors import Damaged
from kissvdb.records import Record, SqlChanged, SqlExecuted
from kissvdb.storage.data_dir import DataDir
from kissvdb.storage.sql import applying
from kissvdb.storage.sql.connecting import connect, read_offset, translated, write_offset
from kissvdb.storage.sql.file import FILE_NAME, SqlFile, TemporaryPlace
from kissvdb.storage.sql.schema import Schema

logger = logging.getLogger("kissvdb.sql")

_WAL_PAGES_MAX = 1000


class SqlStore:
    """One database directory's SQL. ``directory`` None: it lives as long as the process.

    A file that is lost or damaged is made anew from the log, if that reaches back to the first
    offset; what is left of it is kept beside it.
    """

    replay: "SqlReplay"

    def __init__(self, directory: DataDir | None) -> None:
        self._directory = directory
        self._temporary = TemporaryPlace() if directory is None else None
        self.path = (directory or self._temporary_place()).path / FILE_NAME
        self._durable = directory is not None
        self._is_first = not self.path.exists() and not (directory and directory.has_sql)
        self._file: SqlFile | None = None
        self._damage: Damaged | None = None
        try:
            self._open()
        except Damaged as damage:
            self._damage = damage
        except BaseException:
            self.close()
            raise

    @property
    def applied_offset(self) -> int:
        """The offset that the file is at; 0 when it cannot be read."""
        return 0 if self._damage is not None else self.replay.applied_offset

    def prepare(self, log: EventLog) -> None:
        """Make the file one that the log can be replayed to. Raises Damaged."""
        if self._damage is not None:
            self._begin_anew(log, self._damage)
        elif self._is_first:
            # Whoever wrote the log until now had no SQL.
            self.replay.advance(log.last_offset)
        elif self.replay.applied_offset + 1 < log.first_offset <= log.last_offset:
            raise Damaged(
                f"{self.path} is missing, or of another time: it holds offsets up to "
                f"{self.replay.applied_offset}, and the log begins at {log.first_offset}: restore "
                "a backup"
            )
        if self._directory is not None:
            self._directory.note_sql()

    def mend(self, log: EventLog, progress: recovery.Progress) -> None:
        """Make the file anew if it was found damaged when the log was replayed. Raises Damaged."""
        damage = self.replay.damage
        if damage is not None:
            self._begin_anew(log, damage)
            recovery.replay(log, log.last_offset, [self.replay], progress)
            if self.replay.damage is not None:
                raise self.replay.damage

    def open_file(self) -> SqlFile:
        """The file as its owner writes it: when everything is replayed."""
        self.replay.close()
        self._file = SqlFile(self.path, durable=self._durable)
        return self._file

    def close(self) -> None:
        if hasattr(self, "replay"):
            self.replay.close()
        if self._file is not None:
            self._file.close()
        if self._temporary is not None:
            self._temporary.close()

    def _open(self) -> None:
        self.replay = SqlReplay(self.path, durable=self._durable)

    def _temporary_place(self) -> TemporaryPlace:
        assert self._temporary is not None
        return self._temporary

    def _begin_anew(self, log: EventLog, damage: Damaged) -> None:
        if log.first_offset > 1:
            raise damage
        if hasattr(self, "replay"):
            self.replay.close()
        for suffix in ("", "-wal", "-shm"):
            path = Path(f"{self.path}{suffix}")
            if path.exists():
                path.replace(path.with_name(f"damaged-{path.name}"))
        logs.event(
            logger,
            logging.WARNING,
            "the SQL database is made anew from the log; what there was is kept as damaged-sql.db",
            reason=damage.message,
        )
        self._damage = None
        self._open()


class SqlReplay:
    """A `recovery.View`: does again what the log has and the file has not."""

    kinds = (SqlExecuted, SqlChanged)

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._db = connect(path, durable=durable)
        self._db.wal_autocheckpoint(_WAL_PAGES_MAX)
        applying.prepare(self._db)
        self._schema = Schema(self._db)
        self.applied_offset = read_offset(self._db)
        """The offset that the committed content is at."""
        self.damage: Damaged | None = None
        """Why it follows no more."""
        # Of a transaction whose end has not come yet: records come in pieces of any size.
        self._begun: list[tuple[int, SqlExecuted | SqlChanged]] = []
        self._records_left = 0

    def replay(self, records: Sequence[tuple[int, Record]], upto: int) -> None:
        """Apply whole transactions. Raises PersistenceFailed; what is damaged is noted."""
        if self.damage is not None:
            return
        try:
            self._replay(records, upto)
        except Damaged as damage:
            # The others go on: see `SqlStore.mend`.
            self.damage = damage
            self.applied_offset = max(self.applied_offset, upto)

    def advance(self, offset: int) -> None:
        """Note that there is nothing for it up to ``offset``."""
        if offset > self.applied_offset:
            self._apply((), offset)

    def _replay(self, records: Sequence[tuple[int, Record]], upto: int) -> None:
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
