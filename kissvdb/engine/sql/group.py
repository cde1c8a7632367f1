"""What waits at the owner of SQL, executed as one transaction. For a thread, one at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from kissvdb.config import Sql as SqlSettings
from kissvdb.core.atomic import Atomic
from kissvdb.core.sql.commands import SqlCommand, SqlDecision
from kissvdb.engine.sql.batch import SqlBatch, TransactionLost
from kissvdb.engine.sql.execution import Executor
from kissvdb.errors import Damaged, KissError, PayloadTooLarge, Refused
from kissvdb.records import Operation
from kissvdb.storage.sql.connecting import translated
from kissvdb.storage.sql.file import SqlFile

Unit = SqlCommand | Atomic
"""What is done or refused for itself."""

RECORDS_PER_APPEND_MAX = 4096
"""About as many become one append; a command is not taken apart."""

BYTES_PER_APPEND_MAX = 4 * 1024 * 1024

HELD_CHANGES_MAX = 1000
"""Rows that commands may change whose transaction is committed on the event loop."""


@attrs.frozen
class Run:
    """The first units of several, executed: the transaction is open if there are records."""

    decided: SqlBatch
    outcomes: Sequence[Any]
    """A decision or a refusal for each."""


class Writer:
    """The writing connection and its rules."""

    def __init__(self, file: SqlFile, settings: SqlSettings) -> None:
        self.file = file
        self._changes_max = settings.changes_max
        self._executor = Executor(
            file, seconds_max=settings.exec_timeout_ms / 1000, bytes_max=settings.bytes_max
        )

    def hurry(self) -> None:
        """Stop a statement whose time is over."""
        self._executor.hurry()

    def run(self, units: Sequence[Unit], operations: Mapping[str, Operation]) -> Run:
        """Execute units in order, as many as fit into one append; at least one. ``operations``:
        those that have the op_ids of these already. Raises PersistenceFailed and Damaged for all
        of them.

        One that rolls back what others did before it is refused, and those are done again.
        """
        lost: dict[int, Refused] = {}
        count = len(units)
        while True:
            decided = self._begin(operations)
            try:
                outcomes: list[Any] = []
                for place, unit in enumerate(units[:count]):
                    with translated("execute SQL"):
                        outcomes.append(lost.get(place) or _outcome(decided, unit))
                    if (
                        len(decided.records) > RECORDS_PER_APPEND_MAX
                        or decided.bytes_changed > BYTES_PER_APPEND_MAX
                    ):
                        break
                self._check_room(decided)
            except TransactionLost as loss:
                count = len(outcomes) + 1
                lost[count - 1] = loss.refusal
                self.file.rollback()
                continue
            except BaseException:
                self.file.rollback()
                raise
            if not decided.records:
                self.file.rollback()
            return Run(decided, outcomes)

    def hold(self, commands: Sequence[Any]) -> tuple[SqlBatch, list[SqlDecision]]:
        """Execute commands, all or none; the transaction stays open. Raises the first refusal, with
        its place among them, PersistenceFailed and Damaged."""
        decided = self._begin({})
        try:
            with translated("execute SQL"):
                decisions = decided.decide_all(commands)
            changes = sum(each.changes for each in decisions)
            if changes > HELD_CHANGES_MAX:
                raise PayloadTooLarge(
                    f"its SQL changes {changes} rows, and in a batch with other operations "
                    f"{HELD_CHANGES_MAX} may change: split it, or send the SQL alone"
                )
            self._check_room(decided)
        except TransactionLost as loss:
            self.file.rollback()
            raise loss.refusal from loss
        except BaseException:
            self.file.rollback()
            raise
        return decided, decisions

    def _check_room(self, decided: SqlBatch) -> None:
        if decided.records:
            self.file.check_room(decided.bytes_changed)

    def _begin(self, operations: Mapping[str, Operation]) -> SqlBatch:
        self.file.begin()
        return SqlBatch(self.file, self._executor, dict(operations), changes_max=self._changes_max)


def _outcome(decided: SqlBatch, unit: Unit) -> Any:
    try:
        return decided.decide_atomic(unit) if isinstance(unit, Atomic) else decided.decide(unit)
    except (Refused, Damaged) as refusal:
        return refusal


def answer_of(outcome: Any, first_offset: int) -> Any:
    """The answer to a unit, or its refusal, once the first record has got this offset."""
    return outcome if isinstance(outcome, KissError) else outcome.at(first_offset)
