"""The collection actor: owner of one vector collection."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import attrs
import msgspec
import trio

from actors import Actor, Address, Envelope
from kissvdb.core.collection import Answer, Batch, Command, Decision
from kissvdb.core.filters import Node
from kissvdb.engine.log_writer import Append
from kissvdb.engine.threads import Threads
from kissvdb.errors import Damaged, KissError, NotFound, PersistenceFailed, Refused
from kissvdb.metrics import Metrics
from kissvdb.records import CollectionDeleted, Record

if TYPE_CHECKING:
    # Not at run time: numpy comes with them, and a server without vectors starts faster without.
    from kissvdb.core.row_work import Work
    from kissvdb.core.rows import Rows, RowsView


class VectorCommand(msgspec.Struct, frozen=True):
    """A command and the collection whose vector it is about."""

    collection: str
    command: Command


@attrs.frozen
class Writes:
    """Several commands in one message; the answer is a list of answers and refusals, in order."""

    commands: tuple[VectorCommand, ...]


@attrs.frozen
class ExpireVectors:
    """Delete the vectors whose time has come, at most ``limit`` of them."""

    limit: int = 256


@attrs.frozen
class DeleteMatching:
    """Delete the vectors that pass a filter, at most ``limit`` of them. Answers how many were
    deleted, and the offset of the last deletion (None without any)."""

    tree: Node | None
    namespace: str | None
    limit: int


@attrs.frozen
class Drop:
    """Delete the collection. Answers the offset of its end; whatever comes later is refused."""


@attrs.frozen
class TakeWork:
    """Hand out a piece of upkeep: what is due next, a vacuum, or a checkpoint. Answers the work,
    or None when there is nothing to do."""

    wish: Literal["due", "vacuum", "checkpoint"] = "due"


@attrs.frozen
class FinishWork:
    """Take over a piece of upkeep, or forget it because it failed."""

    work: "Work"
    failed: bool = False


@attrs.frozen
class Surroundings:
    """What every collection works with."""

    log: Address
    committed_offset: Callable[[], int]
    clock_ms: Callable[[], int]
    threads: Threads
    metrics: Metrics


@attrs.frozen
class Refine:
    """Search by a finer code from now on. Answers which; None when there is none."""


Outcome = Decision | KissError


class Collection(Actor):
    """Owns the rows. Decide, log, apply, answer, as the state shard does.

    Reads (`view`) are done by anyone on the loop, synchronously: rows are applied without a
    checkpoint, so a view holds whole batches and never waits for a fsync.
    """

    mailbox_size = 1024
    batch_max = 256

    def __init__(self, rows: "Rows", around: Surroundings) -> None:
        self.name = f"collection-{rows.spec.name}"
        self.rows = rows
        self.dropped = False
        self.changes = 0
        """Rises with whatever makes the rows other than the last checkpoint."""
        self._around = around
        self.updated_at_ms = rows.spec.created_at_ms
        """Unix time of the last write."""
        self._asked_at: int | None = None
        self._changed = trio.Event()

    @property
    def true_offset(self) -> int:
        """An offset up to which the rows hold every record of this collection."""
        return self._around.committed_offset() if self._asked_at is None else self._asked_at

    def view(self) -> "RowsView":
        """Everything that was answered, without what has expired."""
        return self.rows.view(self._around.clock_ms())

    def expired(self) -> bool:
        """Whether there are vectors whose end is not in the log yet."""
        return bool(self.rows.expired(self._around.clock_ms(), 1))

    def look_after(self) -> None:
        """Say that upkeep may be due."""
        self._changed.set()

    async def changed(self) -> None:
        """Wait until upkeep may be due, since the last call."""
        await self._changed.wait()
        self._changed = trio.Event()

    async def handle(self, batch: list[Envelope]) -> None:
        writes: list[Envelope] = []
        for envelope in batch:
            if isinstance(envelope.message, (VectorCommand, Writes)):
                writes.append(envelope)
            else:
                await self._write(writes)
                writes = []
                await self._do(envelope)
        await self._write(writes)

    async def _write(self, envelopes: Sequence[Envelope]) -> None:
        if not envelopes:
            return
        decided = self._batch()
        waiting: list[tuple[Envelope, Outcome | list[Outcome]]] = []
        for envelope in envelopes:
            message = envelope.message
            if self.dropped:
                envelope.refuse(self._gone())
            elif isinstance(message, Writes):
                each = [_decide(decided, one.command) for one in message.commands]
                waiting.append((envelope, each))
            else:
                waiting.append((envelope, _decide(decided, message.command)))
        try:
            first_offset = await self._log_and_apply(decided)
        except (PersistenceFailed, Refused) as refusal:
            for envelope, _ in waiting:
                envelope.refuse(type(refusal)(refusal.message))
            return
        for envelope, outcome in waiting:
            if isinstance(outcome, list):
                envelope.answer([_answer(one, first_offset) for one in outcome])
            elif isinstance(outcome, KissError):
                envelope.refuse(outcome)
            else:
                envelope.answer(outcome.at(first_offset))

    async def _do(self, envelope: Envelope) -> None:
        message = envelope.message
        try:
            if isinstance(message, FinishWork):
                self._finish(message)
                envelope.answer(None)
            elif isinstance(message, TakeWork):
                envelope.answer(None if self.dropped else self._take_work(message))
            elif self.dropped:
                raise self._gone()
            elif isinstance(message, ExpireVectors):
                await self._expire(message.limit)
                envelope.answer(None)
            elif isinstance(message, DeleteMatching):
                envelope.answer(await self._delete_matching(message))
            elif isinstance(message, Drop):
                envelope.answer(await self._drop())
            else:
                assert isinstance(message, Refine)
                self.changes += 1
                envelope.answer(self.rows.refine())
        except (PersistenceFailed, Refused, Damaged) as refusal:
            envelope.refuse(refusal)

    async def _log_and_apply(self, decided: Batch) -> int:
        """Offset of the first record; 0 without records. Raises PersistenceFailed, Refused."""
        records = decided.records
        if not records:
            return 0
        try:
            # Before anything is logged: what is in the log must be possible to apply.
            self.rows.reserve(decided.rows, decided.text_bytes)
        except OSError as error:
            raise PersistenceFailed(f"no room for more vectors: {error}") from error
        first = await self._append(records)
        self.rows.apply_all(list(enumerate(records, start=first)))
        self._asked_at = None
        self.updated_at_ms = self._around.clock_ms()
        self.changes += 1
        self._around.metrics.vector_ops_total.inc(len(records))
        self.look_after()
        return first

    async def _append(self, records: Sequence[Record]) -> int:
        """Log records. Until what was logged is applied, ``true_offset`` stays behind it."""
        self._asked_at = self._around.committed_offset()
        try:
            first: int = await self._around.log.ask(Append(tuple(records)))
        except PersistenceFailed as refusal:
            self._asked_at = None
            raise PersistenceFailed(refusal.message) from refusal
        return first

    async def _expire(self, limit: int) -> None:
        decided = self._batch()
        decided.expire(self.rows.expired(self._around.clock_ms(), limit))
        await self._log_and_apply(decided)

    async def _delete_matching(self, message: DeleteMatching) -> tuple[int, int | None]:
        # The mailbox waits meanwhile, so what passes now is what is deleted.
        ids = await self._around.threads.searches.run(
            _ids_matching, self.view(), message.tree, message.namespace, message.limit
        )
        decided = self._batch()
        count = decided.delete_all(ids)
        first = await self._log_and_apply(decided)
        return count, first + len(decided.records) - 1 if count else None

    async def _drop(self) -> int:
        offset = await self._append([CollectionDeleted(self.rows.spec.name)])
        self._asked_at = None
        self.dropped = True
        self.look_after()
        return offset

    def _take_work(self, message: TakeWork) -> "Work | None":
        self.rows.note_offset(self.true_offset)
        if message.wish == "checkpoint":
            return self.rows.checkpoint()
        return self.rows.vacuum() if message.wish == "vacuum" else self.rows.work_due()

    def _finish(self, message: FinishWork) -> None:
        if message.failed:
            self.rows.abandon(message.work)
            return
        self.rows.install(message.work)
        if message.work.kind != "checkpoint":
            self.changes += 1

    def _batch(self) -> Batch:
        return Batch(self.rows.spec, self.rows, self._around.clock_ms())

    def _gone(self) -> NotFound:
        return no_such_collection(self.rows.spec.name)


def no_such_collection(name: str) -> NotFound:
    """The refusal of whatever is asked of a collection that is not there."""
    return NotFound(f"no collection {name!r}: create it with POST /v1/vector/{name}")


def _ids_matching(
    view: "RowsView", tree: Node | None, namespace: str | None, limit: int
) -> list[str]:
    return view.ids_matching(tree, limit=limit, namespace=namespace)


def _decide(decided: Batch, command: Command) -> Outcome:
    try:
        return decided.decide(command)
    except (Refused, Damaged) as refusal:
        # A row that is damaged on disk is nothing to decide about; the others are.
        return refusal


def _answer(outcome: Outcome, first_offset: int) -> Answer | KissError:
    return outcome if isinstance(outcome, KissError) else outcome.at(first_offset)
