"""Commands of SQL executed in one transaction, each all or nothing, and their records.

For a thread. The transaction is left open: it is committed when the log has the records.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import apsw
import msgspec

from kissvdb.core.batch import Batch
from kissvdb.core.sql.commands import SqlCommand, SqlDecision, Statement
from kissvdb.engine.sql.execution import EmptiesFirst, Executor
from kissvdb.errors import Damaged, PayloadTooLarge, Refused, SqliteError
from kissvdb.records import Operation, SqlChanged, SqlExecuted
from kissvdb.storage.sql.capture import Capture
from kissvdb.storage.sql.connecting import translated
from kissvdb.storage.sql.file import SqlFile

_SAVEPOINT = "kissvdb"


class TransactionLost(Exception):
    """A statement rolled back everything (``OR ROLLBACK``, ``RAISE(ROLLBACK)``), also what others
    had done before it. ``refusal``: of the command that it belongs to."""

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class SqlBatch(Batch[SqlDecision]):
    """Decides commands by executing them. ``operations``: former ones with the op_ids of these."""

    def __init__(
        self,
        file: SqlFile,
        executor: Executor,
        operations: dict[str, Operation],
        *,
        changes_max: int,
    ) -> None:
        super().__init__(operations.get)
        self.records: list[Any] = []
        self._db = file.db
        self._executor = executor
        self.bytes_changed = 0
        """About how much the records take in the log."""
        self._changes_max = changes_max
        self._depth = 0

    def _decide(self, command: SqlCommand) -> SqlDecision:
        position = len(self.records)
        with self._undone_if_refused():
            self._executor.start_command()
            script = _Script(self._executor, self._db, command, self._changes_max)
            try:
                script.run()
            finally:
                script.close()
            self._executor.check_foreign_keys()
        records, changes = script.records(command.op_id, self._fingerprint)
        self.records += records
        self.bytes_changed += script.bytes_changed
        return SqlDecision(tuple(script.rows_affected), changes, len(records), position)

    def _decide_again(self, operation: Operation) -> SqlDecision:
        return SqlDecision.of_operation(operation)

    @contextmanager
    def _undone_if_refused(self) -> Iterator[None]:
        name = f"{_SAVEPOINT}{self._depth}"
        self._db.execute(f"SAVEPOINT {name}")
        self._depth += 1
        try:
            with super()._undone_if_refused():
                yield
        except (Refused, Damaged) as refusal:
            self._undo(name, refusal)
            raise
        else:
            self._db.execute(f"RELEASE {name}")
        finally:
            self._depth -= 1

    def _undo(self, name: str, refusal: Refused | Damaged) -> None:
        self._executor.schema.forget()
        if self._db.in_transaction:
            self._db.execute(f"ROLLBACK TO {name}")
            self._db.execute(f"RELEASE {name}")
        elif isinstance(refusal, Refused):
            raise TransactionLost(refusal) from refusal


class _Script:
    """The statements of one command. Rows that change between two changes of the schema are noted
    together: a part has the text of the one, and the others that came after it."""

    def __init__(self, executor: Executor, db: Any, command: SqlCommand, changes_max: int) -> None:
        self.rows_affected: list[int] = []
        self._executor = executor
        self._db = db
        self._command = command
        self._changes_max = changes_max
        self._changes = 0
        self._version = 0
        self.bytes_changed = 0
        self._capture: Capture | None = None
        self._parts: list[tuple[list[str], list[SqlChanged]]] = [([], [])]

    def run(self) -> None:
        """Execute them all. Raises what the first that is refused is refused with; one of several
        says which it is."""
        for place, statement in enumerate(self._command.statements):
            try:
                self.rows_affected.append(self._execute(statement))
            except Refused as refusal:
                if len(self._command.statements) > 1:
                    refusal.reword(f"statements[{place}]: {refusal.message}")
                raise
        self._take()

    def close(self) -> None:
        """Let go of what notes changes."""
        if self._capture is not None:
            self._capture.close()
            self._capture = None

    def records(
        self, op_id: str | None, fingerprint: bytes | None
    ) -> tuple[list[SqlExecuted | SqlChanged], int]:
        """What to log, and how many rows changed. Nothing where nothing did, unless a repeat must
        know."""
        parts = [part for part in self._parts if part[0] or part[1]]
        if op_id is not None and not parts:
            parts = [([], [])]
        records: list[SqlExecuted | SqlChanged] = []
        for statements, changes in parts:
            tables = tuple(sorted({change.table for change in changes}))
            records.append(SqlExecuted(tuple(statements), tables, len(changes)))
            records += changes
        if records:
            answers = None
            if op_id is not None:
                answers = SqlDecision(tuple(self.rows_affected), self._changes, 0, 0).encoded()
            records[0] = msgspec.structs.replace(
                records[0],
                together=len(records) - 1,
                op_id=op_id,
                fingerprint=fingerprint,
                answers=answers,
            )
        return records, self._changes

    def _execute(self, statement: Statement) -> int:
        executor, grants = self._executor, self._command.grants
        if self._capture is None:
            self._capture = Capture(self._db, executor.schema)
        note = partial(self._note_schema_change, statement.sql)
        try:
            affected = executor.execute(statement, grants, self._capture, note)
        except EmptiesFirst as found:
            executor.empty(found.table, self._capture)
            with executor.no_foreign_keys():
                affected = executor.execute(statement, grants, self._capture, note)
        rules = executor.rules
        same = executor.schema_version == self._version
        if rules.changes_schema and same and not rules.analyzes:
            # IF NOT EXISTS, and it was there.
            self._parts[-1][0].pop()
        return affected

    def _note_schema_change(self, text: str) -> None:
        """Before it happens: what was noted belongs in front of it, and what SQLite itself does to
        rows is done again by the text."""
        self._take()
        if self._parts[-1][1]:
            self._parts.append(([], []))
        self._parts[-1][0].append(text)
        self._version = self._executor.schema_version

    def _take(self) -> None:
        capture, self._capture = self._capture, None
        if capture is None:
            return
        try:
            with translated("note what changed"):
                changes = capture.take()
        except UnicodeDecodeError as error:
            raise SqliteError(f"a text is not UTF-8 ({error})") from error
        except apsw.Error as error:
            raise SqliteError(f"what changed cannot be noted: {error}") from error
        finally:
            capture.close()
        self._changes += len(changes)
        self.bytes_changed += capture.bytes_taken
        if self._changes > self._changes_max:
            raise PayloadTooLarge(
                f"it changes {self._changes} rows, and {self._changes_max} may change at once: do "
                "it in parts, or raise sql.changes_max (KISSVDB_SQL_CHANGES_MAX)"
            )
        self._parts[-1][1].extend(changes)
