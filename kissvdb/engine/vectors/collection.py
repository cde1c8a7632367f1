"""The collection actor: owner of one vector collection."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import msgspec
import trio

from actors import Address, Envelope, Reply
from kissvdb.core.filters.parse import Node
from kissvdb.core.rows.rules import Command, Upsert, VectorBatch
from kissvdb.engine.asking import answered, submit, watched
from kissvdb.engine.owner import Held, Owner
from kissvdb.engine.quotas.quotas import Quotas
from kissvdb.engine.rows.upkeep import FinishWork, TakeWork
from kissvdb.engine.threads import Threads
from kissvdb.engine.vectors.memory import VectorMemory
from kissvdb.errors import (
    Damaged,
    KissError,
    NotFound,
    PersistenceFailed,
    Refused,
    Unavailable,
)
from kissvdb.metrics import Metrics
from kissvdb.records import (
    BatchCommitted,
    CollectionDeleted,
    CollectionReindexing,
    CollectionReplaced,
    CollectionTuned,
    VectorDeleted,
    VectorWritten,
)
from kissvdb.storage.disk import refusal_of
from kissvdb.telemetry.parts import DECIDE, Group

if TYPE_CHECKING:
    # Not at run time: numpy comes with them, and a server without vectors starts faster without.
    from kissvdb.core.rows.owner import Rows, RowsView
    from kissvdb.core.rows.work import Work
    from kissvdb.core.store.options import IndexOptions, Tuning
    from kissvdb.core.store.spec import CollectionSpec


class VectorCommand(msgspec.Struct, frozen=True):
    """A command and the collection whose vector it is about. ``if_changed``: an upsert is left out
    where it would change nothing (see `texts`)."""

    collection: str
    command: Command
    if_changed: bool = False


@attrs.frozen
class DeleteMatching:
    """Delete the vectors that pass a filter, at most ``limit`` of them. Answers how many were
    deleted, and the offset of the last deletion (None without any)."""

    tree: Node | None
    namespace: str | None
    limit: int


@attrs.frozen
class ReplaceMatching:
    """Write vectors in the place of those that pass a filter: of the two, readers see one, and so
    do those of the stream. All or nothing; answers the offset of the last record."""

    tree: Node
    upserts: Sequence[Upsert]


@attrs.frozen
class Copy:
    """Write rows as they are, and delete those of the ids that are there. All or nothing."""

    rows: Sequence[VectorWritten]
    gone: Sequence[str]


@attrs.frozen
class Convert:
    """Have the rows get the index of ``spec``, as upkeep; None: no more. Answers an offset."""

    spec: "CollectionSpec | None"


@attrs.frozen
class Tune:
    """Have searches try as hard as was found. Answers an offset."""

    options: "IndexOptions"
    tuning: "Tuning"


@attrs.frozen
class Drop:
    """Delete the collection. Answers the offset of its end; whatever comes later is refused."""


@attrs.frozen
class CollectionContext:
    """What every collection works with."""

    log: Address
    committed_offset: Callable[[], int]
    clock_ms: Callable[[], int]
    threads: Threads
    metrics: Metrics
    quotas: Quotas = attrs.field(factory=Quotas)
    memory: VectorMemory = attrs.field(factory=VectorMemory)


@attrs.frozen
class Refine:
    """Search by a finer code from now on. Answers which; None when there is none."""


class Collection(Owner[VectorBatch]):
    """Owns the rows of one collection."""

    mailbox_size = 1024
    asides = Owner.asides | {
        *(DeleteMatching, ReplaceMatching, Copy, Convert, Tune, Drop),
        *(TakeWork, FinishWork, Refine),
    }

    def __init__(self, rows: "Rows", around: CollectionContext, name: str | None = None) -> None:
        """``name``: what the rows will be called, if not as now."""
        super().__init__(around.log, around.committed_offset)
        self.name = f"collection-{name or rows.spec.name}"
        self.rows = rows
        self.dropped = False
        self.successor: Address | None = None
        """Who has taken this one's place, and does what was asked of it and not yet done."""
        self.converted_at: int | None = None
        """The offset at which the rows got another index; None: not since the start."""
        self.converted = trio.Event()
        self.changes = 0
        self._around = around
        self.updated_at_ms = rows.spec.created_at_ms
        """Unix time of the last write."""
        self._changed = trio.Event()

    def view(self) -> "RowsView":
        """Everything that was answered, without what has expired."""
        return self.rows.view(self._around.clock_ms())

    def expired(self) -> bool:
        """Whether there are vectors whose end is not in the log yet."""
        return bool(self.rows.expired(self._around.clock_ms(), 1))

    def look_after(self) -> None:
        """Say that upkeep may be due."""
        self._changed.set()

    @property
    def pending_count(self) -> int:
        """None: what is logged is in the rows."""
        return 0

    async def changed(self) -> None:
        """Wait until upkeep may be due, since the last call."""
        await self._changed.wait()
        self._changed = trio.Event()

    async def _do(self, envelope: Envelope) -> None:
        message = envelope.message
        try:
            if isinstance(message, FinishWork):
                await self._finish(message)
                envelope.answer(None)
            elif isinstance(message, TakeWork):
                envelope.answer(None if self.dropped else self._take_work(message))
            elif self.successor is not None:
                await self._hand_on((envelope,))
            elif self.dropped:
                raise self._gone()
            elif isinstance(message, DeleteMatching):
                envelope.answer(await self._delete_matching(message, watched((envelope,))))
            elif isinstance(message, ReplaceMatching):
                envelope.answer(await self._replace_matching(message, watched((envelope,))))
            elif isinstance(message, Copy):
                await self._copy(message)
                envelope.answer(None)
            elif isinstance(message, Convert):
                envelope.answer(await self._convert(message.spec))
            elif isinstance(message, Tune):
                envelope.answer(await self._tune(message))
            elif isinstance(message, Drop):
                envelope.answer(await self._drop())
            elif isinstance(message, Refine):
                self.changes += 1
                envelope.answer(self.rows.refine())
            else:
                await super()._do(envelope)
        except (PersistenceFailed, Refused, Damaged) as refusal:
            envelope.refuse(refusal)

    async def _write(self, envelopes: Sequence[Envelope]) -> None:
        if self.successor is None:
            await super()._write(envelopes)
        else:
            await self._hand_on(envelopes)

    async def _hand_on(self, envelopes: Sequence[Envelope]) -> None:
        assert self.successor is not None
        sent: list[tuple[Envelope, Reply]] = []
        for envelope in envelopes:
            try:
                sent.append((envelope, submit(self.successor, envelope.message)))
            except Unavailable as refusal:
                envelope.refuse(refusal)
        for envelope, reply in sent:
            try:
                answer = await answered(reply)
            except KissError as refusal:
                envelope.refuse(refusal)
                continue
            if isinstance(answer, Held) and envelope.abandoned:
                # Nobody else would.
                answer.release()
            envelope.answer(answer)

    async def _make_room(self) -> None:
        if self.dropped:
            raise self._gone()

    def _reserve(self, decided: VectorBatch) -> None:
        try:
            if decided.is_columns:
                self.rows.make_ready(decided.columns)
                return
            self.rows.reserve(decided.rows, decided.blob_bytes, decided.text_bytes, decided.vectors)
        except OSError as error:
            raise refusal_of(error, "no room for more vectors") from error

    def _install(self, first_offset: int, decided: VectorBatch) -> None:
        records: Sequence[VectorWritten | VectorDeleted | BatchCommitted] = decided.records
        count = len(records)
        if decided.is_columns:
            self.rows.apply_columns(first_offset, decided.columns)
        else:
            # The mark in front of a batch is of the log, and no row's.
            changes = [
                (offset, each)
                for offset, each in enumerate(records, start=first_offset)
                if not isinstance(each, BatchCommitted)
            ]
            self.rows.apply_all(changes)
            count = len(changes)
        self.updated_at_ms = self._around.clock_ms()
        self.changes += 1
        self._around.metrics.vector_ops_total.inc(count)
        self.look_after()

    def _expire(self, decided: VectorBatch, limit: int) -> None:
        decided.expire(self.rows.expired(self._around.clock_ms(), limit))

    async def _delete_matching(
        self, message: DeleteMatching, group: Group | None
    ) -> tuple[int, int | None]:
        # The mailbox waits meanwhile, so what passes now is what is deleted.
        ids = await self._around.threads.searches.run(
            _ids_matching, self.view(), message.tree, message.namespace, message.limit
        )
        decided = self._batch()
        count = decided.delete_all(ids)
        if group is not None:
            group.mark(DECIDE)
        first = await self._log_and_apply(decided, group)
        return count, first + len(decided.records) - 1 if count else None

    async def _replace_matching(self, message: ReplaceMatching, group: Group | None) -> int:
        ids = await self._around.threads.searches.run(
            _ids_matching, self.view(), message.tree, None, None
        )
        kept = {each.id for each in message.upserts}
        decided = self._batch()
        decided.delete_all([id_ for id_ in ids if id_ not in kept])
        for each in message.upserts:
            decided.decide(each)
        decided.mark_together()
        if group is not None:
            group.mark(DECIDE)
        return await self._log_and_apply(decided, group) + len(decided.records) - 1

    async def _copy(self, message: Copy) -> None:
        decided = self._batch()
        decided.records += message.rows
        decided.delete_all(message.gone)
        await self._log_and_apply(decided)

    async def _convert(self, spec: "CollectionSpec | None") -> int:
        shape = () if spec is None else spec.shape
        offset = await self._append([CollectionReindexing(self.rows.spec.name, *shape)])
        self.rows.convert(spec)
        self._asked_at, self.converted = None, trio.Event()
        if spec is None:
            # A checkpoint takes away what was written for it.
            self.changes += 1
        self.look_after()
        return offset

    async def _take_converted(self) -> None:
        """The rows that have another index are the collection's from here on."""
        spec = self.rows.converted
        if spec is None:
            return
        names = (spec.name, spec.name, spec.dim, spec.metric, spec.embedder, spec.embedder_model)
        offset = await self._append([CollectionReplaced(*names, *spec.shape)])
        self.rows.take_converted()
        self.rows.note_offset(offset)
        self._asked_at, self.converted_at = None, offset
        self.converted.set()

    async def _tune(self, message: Tune) -> int:
        spec = self.rows.spec
        record = CollectionTuned(spec.name, message.options.encoded(), message.tuning.encoded())
        offset = await self._append([record])
        self.rows.tune(spec.tuned(record))
        self._asked_at = None
        self.changes += 1
        return offset

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
        if message.wish == "drain":
            return self.rows.drain()
        return self.rows.vacuum() if message.wish == "vacuum" else self.rows.work_due()

    async def _finish(self, message: FinishWork) -> None:
        if message.failed:
            self.rows.abandon(message.work)
            return
        self.rows.install(message.work)
        if message.work.kind == "reindex" and not self.dropped:
            await self._take_converted()
        if message.work.kind != "checkpoint":
            self.changes += 1

    def _batch(self) -> VectorBatch:
        batch = VectorBatch(self.rows.spec, self.rows, self._around.clock_ms())
        batch.growth = self._around.quotas.growth()
        batch.room = self._around.memory.room(self.rows)
        return batch

    def _gone(self) -> NotFound:
        return no_such_collection(self.rows.spec.name)


def no_such_collection(name: str) -> NotFound:
    """The refusal of whatever is asked of a collection that is not there."""
    return NotFound(f"no collection {name!r}: create it with POST /v1/vector/{name}")


def _ids_matching(
    view: "RowsView", tree: Node | None, namespace: str | None, limit: int | None
) -> list[str]:
    return view.ids_matching(tree, limit=limit, namespace=namespace)
