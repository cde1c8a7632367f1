"""The state shard: owner of the keys whose hash falls to it."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import attrs

from actors import Actor, Address, Envelope, Workers
from kissvdb.core.state import Answer, Batch, Command, Decision, Expire, Item
from kissvdb.engine.log_writer import Append
from kissvdb.errors import PersistenceFailed, Refused
from kissvdb.metrics import Metrics
from kissvdb.records import KeyDeleted, KeyWritten, Record
from kissvdb.storage import state_table
from kissvdb.storage.state_table import ROWS_PER_TRANSACTION, StateTable, changes_table


@attrs.frozen
class Many:
    """Several commands in one message; the answer is a list of answers and refusals, in order."""

    commands: tuple[Command, ...]


@attrs.frozen
class FinishCheckpoint:
    """Hold writes at a batch boundary and finish the checkpoint. Answers the durable offset."""


Outcome = Decision | Refused


class StateShard(Actor):
    """Owns one table. Decide, log, apply, answer: no reader ever sees what a crash can take back.

    Reads (``table``) are done by anyone on the loop, synchronously: a batch is applied without a
    checkpoint inside a transaction, so they see whole transactions and never wait for a fsync.
    """

    batch_max = 256

    def __init__(
        self,
        table: StateTable,
        path: Path | None,
        log: Address,
        committed_offset: Callable[[], int],
        clock_ms: Callable[[], int],
        workers: Workers,
        metrics: Metrics,
        *,
        json_bytes_max: int,
        mailbox_size: int,
        name: str,
    ) -> None:
        self.table = table
        self.name = name
        self.mailbox_size = mailbox_size
        self.durable_offset = 0
        self.path = path
        self._log = log
        self._committed_offset = committed_offset
        self._clock_ms = clock_ms
        self._workers = workers
        self._metrics = metrics
        self._json_bytes_max = json_bytes_max
        self._asked_at: int | None = None

    @property
    def true_offset(self) -> int:
        """An offset up to which the table holds every record of this shard."""
        return self._committed_offset() if self._asked_at is None else self._asked_at

    async def handle(self, batch: list[Envelope]) -> None:
        decided = Batch(
            self.table.get,
            self.table.operation,
            self._clock_ms(),
            json_bytes_max=self._json_bytes_max,
        )
        waiting: list[tuple[Envelope, Outcome | list[Outcome] | None]] = []
        for envelope in batch:
            message = envelope.message
            if isinstance(message, FinishCheckpoint):
                waiting.append((envelope, None))
            elif isinstance(message, Expire):
                decided.expire(self.table.expired(self._clock_ms(), message.limit))
                waiting.append((envelope, []))
            elif isinstance(message, Many):
                waiting.append((envelope, decided.decide_each(message.commands)))
            else:
                try:
                    waiting.append((envelope, decided.decide(message)))
                except Refused as refusal:
                    waiting.append((envelope, refusal))
        first_offset = 0
        if decided.records:
            try:
                first_offset = await self._log_and_apply(decided.records)
            except PersistenceFailed as refusal:
                for envelope, _ in waiting:
                    envelope.refuse(PersistenceFailed(refusal.message))
                return
        for envelope, outcome in waiting:
            if outcome is not None:
                _reply(envelope, outcome, first_offset)
        for envelope, outcome in waiting:
            if outcome is None:
                envelope.answer(await self._finish_checkpoint())

    async def _log_and_apply(self, records: Sequence[Record]) -> int:
        self._asked_at = self._committed_offset()
        try:
            first: int = await self._log.ask(Append(tuple(records)))
            numbered = [row for row in enumerate(records, start=first) if changes_table(row[1])]
            for start in range(0, len(numbered), ROWS_PER_TRANSACTION):
                rows = numbered[start : start + ROWS_PER_TRANSACTION]
                self.table.apply(rows, rows[-1][0])
        finally:
            self._asked_at = None
        written = sum(isinstance(record, KeyWritten) for record in records)
        deleted = sum(isinstance(record, KeyDeleted) for record in records)
        self._metrics.state_put_total.inc(written)
        self._metrics.state_delete_total.inc(deleted)
        return first

    async def _finish_checkpoint(self) -> int:
        applied = self.true_offset
        if applied > self.table.applied_offset:
            # Records of other owners do not touch this table: it is true up to here without them.
            self.table.apply((), applied)
        self.table.forget_operations()
        if self.path is not None and await self._workers.run(
            partial(state_table.checkpoint, self.path, finish=True)
        ):
            self.table.wal_pages = 0
            self.durable_offset = applied
        return self.durable_offset


def _reply(envelope: Envelope, outcome: Outcome | list[Outcome], first_offset: int) -> None:
    if isinstance(outcome, list):
        envelope.answer([_answer(each, first_offset) for each in outcome])
    elif isinstance(outcome, Refused):
        envelope.refuse(outcome)
    else:
        envelope.answer(outcome.at(first_offset))


def _answer(outcome: Outcome, first_offset: int) -> Answer | Refused:
    return outcome if isinstance(outcome, Refused) else outcome.at(first_offset)


def live(item: Item | None, now_ms: int) -> Item | None:
    """The item, unless its time has come."""
    if item is None or (item.expires_at_ms is not None and item.expires_at_ms <= now_ms):
        return None
    return item
