"""The owner of the SQL database: executes what waits, logs what changed, commits, answers.

As every owner does, with two differences. Commands are decided by executing them, in a thread, in a
transaction that stays open until the log has its records; its commit is what applies them. And one
that cannot be committed then ends the process: recovery does it again.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apsw
import attrs
import trio

from actors import Actor, Address, Envelope, Workers
from kissvdb.engine.asking import answered, submit, watched
from kissvdb.engine.log.writer import Append
from kissvdb.engine.owner import Held, Hold, Many
from kissvdb.engine.sql.batch import SqlBatch
from kissvdb.engine.sql.group import HELD_CHANGES_MAX, Run, Unit, Writer, answer_of
from kissvdb.engine.state.model import State
from kissvdb.errors import Damaged, OutcomeUnknown, PersistenceFailed, Refused, Unavailable
from kissvdb.records import Record, SqlExecuted
from kissvdb.telemetry.parts import APPLY, DECIDE, Group

INLINE_BYTES_MAX = 32 * 1024
"""Changes of so many bytes are committed on the event loop."""


@attrs.frozen
class Save:
    """Make the database file durable as it is now. Answers up to which offset it is."""


class SqlOwner(Actor):
    """Owns the writing connection. One transaction, one append, one commit for all that waits."""

    batch_max = 256
    mailbox_size = 4096
    name = "sql"

    def __init__(
        self,
        writer: Writer,
        log: Address,
        committed_offset: Callable[[], int],
        state: State,
        workers: Workers,
        *,
        checkpoint_pages: int,
    ) -> None:
        """``state`` remembers what has an op_id."""
        self._writer = writer
        self._file = writer.file
        self._log = log
        self._committed_offset = committed_offset
        self._state = state
        self._workers = workers
        self._checkpoint_pages = checkpoint_pages
        self._asked_at: int | None = None
        self._failure: BaseException | None = None
        self.checkpoint_due = trio.Event()
        """Set when the WAL has grown large; whoever waits for it makes a new one."""

    @property
    def true_offset(self) -> int:
        """An offset up to which the committed database holds everything of SQL."""
        return self._committed_offset() if self._asked_at is None else self._asked_at

    @property
    def wal_factor(self) -> float:
        """How large the WAL is, by that from which on a checkpoint is due."""
        return self._file.wal_pages / self._checkpoint_pages

    def hurry(self) -> None:
        """Stop a statement whose time is over."""
        self._writer.hurry()

    async def handle(self, batch: list[Envelope]) -> None:
        writes: list[Envelope] = []
        for envelope in batch:
            if not isinstance(envelope.message, (Hold, Save)):
                writes.append(envelope)
                continue
            await self._write(writes)
            writes = []
            try:
                if isinstance(envelope.message, Hold):
                    await self._hold(envelope)
                else:
                    envelope.answer(await self._save())
            except (PersistenceFailed, Refused, Damaged) as refusal:
                envelope.refuse(refusal)
        await self._write(writes)

    async def close(self) -> None:
        self._file.rollback()

    async def _save(self) -> int:
        offset = self.true_offset

        def save() -> None:
            self._file.advance(offset)
            self._file.checkpoint()

        await self._workers.run(save)
        return offset

    async def _write(self, envelopes: Sequence[Envelope]) -> None:
        if not envelopes:
            return
        group = watched(envelopes)
        units: list[Unit] = []
        for envelope in envelopes:
            message = envelope.message
            units += message.commands if isinstance(message, Many) else (message,)
        answers: list[Any] = []
        refusal: Unavailable | Refused | Damaged | None = None
        while len(answers) < len(units):
            try:
                answers += await self._execute(units[len(answers) :], group)
            except (Unavailable, Refused, Damaged) as error:
                refusal = error
                break
        place = 0
        for envelope in envelopes:
            several = isinstance(envelope.message, Many)
            count = len(envelope.message.commands) if several else 1
            mine = answers[place : place + count]
            if refusal is not None:
                # An exception of its own for each asker.
                left = count - len(mine)
                mine += [type(refusal)(refusal.message) for _ in range(left)]
            place += count
            if several:
                envelope.answer(mine)
            elif isinstance(mine[0], BaseException):
                envelope.refuse(mine[0])
            else:
                envelope.answer(mine[0])

    async def _execute(self, units: Sequence[Unit], group: Group | None) -> list[Any]:
        """Do the first units; answers and refusals of these. Raises what the disk or the log
        refuses all of them with."""
        operations = {}
        for op_id in filter(None, (unit.op_id for unit in units)):
            found = self._state.operation(op_id)
            if found is not None:
                operations[op_id] = found
        run: Run = await self._workers.run(self._writer.run, units, operations)
        records = run.decided.records
        if group is not None:
            group.mark(DECIDE)
        first = await self._log_and_commit(run.decided, group) if records else 0
        return [answer_of(outcome, first) for outcome in run.outcomes]

    async def _log_and_commit(self, decided: SqlBatch, group: Group | None) -> int:
        records = decided.records
        keepers = await self._keepers(records)
        try:
            try:
                first = await self._append(records, group)
            except BaseException:
                self._file.rollback()
                raise
            if group is not None:
                group.resume()
            await self._commit(first + len(records) - 1, decided)
            if group is not None:
                group.mark(APPLY)
            for place, record in enumerate(records):
                if isinstance(record, SqlExecuted) and record.op_id is not None:
                    self._state.note(first + place, record)
        finally:
            for keeper in keepers:
                keeper.release()
        return first

    async def _keepers(self, records: Iterable[Record]) -> list[Held]:
        """Hold those who are to remember op_ids, in the order in which batches hold them."""
        op_ids = [each.op_id for each in records if isinstance(each, SqlExecuted) and each.op_id]
        owners = {owner.name: owner for owner in map(self._state.keeper, op_ids)}
        helds: list[Held] = []
        try:
            for _, owner in sorted(owners.items()):
                held = await answered(submit(owner, Hold(())))
                helds.append(held)
        except BaseException:
            for held in helds:
                held.release()
            self._file.rollback()
            raise
        return helds

    async def _append(self, records: Sequence[Record], group: Group | None) -> int:
        self._asked_at = self._committed_offset()
        try:
            first: int = await self._log.ask(Append(records, group))
        except PersistenceFailed:
            self._asked_at = None
            raise
        return first

    async def _commit(self, offset: int, decided: SqlBatch) -> None:
        """What escapes here ends the process: the log has what this has not."""
        records = decided.records
        is_large = decided.bytes_changed > INLINE_BYTES_MAX or len(records) > HELD_CHANGES_MAX
        try:
            # What a change of the schema writes, as an index of many rows, no record tells.
            if is_large or any(
                isinstance(each, SqlExecuted) and each.statements for each in records
            ):
                await self._workers.run(self._file.commit, offset)
            else:
                # Without an fsync, and of few pages: a thread would cost more.
                self._file.commit(offset)
        except apsw.Error as error:
            raise OutcomeUnknown(f"SQLite could not commit what is in the log: {error}") from error
        self._committed()

    def _committed(self) -> None:
        self._asked_at = None
        if self._file.wal_pages > self._checkpoint_pages:
            self.checkpoint_due.set()

    async def _hold(self, envelope: Envelope) -> None:
        commands = envelope.message.commands
        decided, decisions = await self._workers.run(self._writer.hold, commands)
        if envelope.abandoned:
            self._file.rollback()
            return
        self._asked_at = self._committed_offset()
        held = Held(decisions, decided, self._install, self._settle)
        envelope.answer(held)
        await held.over()
        if self._failure is not None:
            raise self._failure

    def _install(self, first_offset: int, decided: SqlBatch) -> None:
        """Commit what is held. It is in the log: that it fails is told by the end of the owner."""
        try:
            self._file.commit(first_offset + len(decided.records) - 1)
        except apsw.Error as error:
            self._failure = OutcomeUnknown(f"SQLite could not commit what is in the log: {error}")

    def _settle(self) -> None:
        self._file.rollback()
        if self._failure is None:
            self._committed()
