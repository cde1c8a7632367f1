"""Atomic batches: operations over any owners, all or none.

A batch of one owner is one message to it, and shares an append with whatever else waits there. One
over several holds them all, in order of their names, so that two batches never wait for each other;
then its records are logged in one append and applied in one turn of the loop. Whatever goes wrong
before that releases all of them.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

import attrs
import trio

from actors import ActorCrashed, Address, MailboxClosed
from kissvdb.core import atomic
from kissvdb.core.atomic import Atomic, BatchAnswer, Result
from kissvdb.core.batch import FINGERPRINT_BYTES, check_same_batch, fingerprint
from kissvdb.engine.asking import alone, answered, submit, unavailable
from kissvdb.engine.log.writer import Append
from kissvdb.engine.owner import Held, Hold
from kissvdb.engine.state.model import State
from kissvdb.errors import (
    Damaged,
    KissError,
    NotFound,
    OpIdReused,
    PayloadTooLarge,
    Refused,
    RevisionMismatch,
    Stopping,
)
from kissvdb.records import BatchCommitted, Record
from kissvdb.telemetry.parts import APPLY, DECIDE, Group

Route = Callable[[Any], tuple[Address, Any]]


@attrs.frozen
class Count:
    """How many things there must be for a batch. ``owners`` answers those who could change that
    (or raises NotFound): they are held while ``count`` counts. ``collection``: what is counted, of
    vectors or, with ``of_documents``, of documents."""

    owners: Callable[[], Sequence[Address]]
    count: Callable[[], Awaitable[int]]
    at_least: int = 0
    at_most: int | None = None
    collection: str = attrs.field(kw_only=True)
    of_documents: bool = attrs.field(default=False, kw_only=True)

    async def check(self) -> None:
        """Raises RevisionMismatch."""
        found = await self.count()
        if found < self.at_least:
            raise RevisionMismatch(f"{found} pass the filters, and at least {self.at_least} must")
        if self.at_most is not None and found > self.at_most:
            raise RevisionMismatch(f"{found} pass the filters, and at most {self.at_most} may")


@attrs.frozen
class Batch:
    """``commands`` in order, if all ``conditions`` hold before the first one: commands that change
    nothing (`Require`), and counts.

    With an ``op_id`` a repeat is answered as the first time. ``fingerprint``: `fingerprint_of` the
    commands, where somebody had a thread to make it in.
    """

    commands: Sequence[Any]
    conditions: Sequence[Any] = ()
    op_id: str | None = None
    fingerprint: bytes | None = None


@attrs.define
class _Part:
    """What of a batch falls to one owner, and where in the batch it stands."""

    owner: Address
    conditions: list[Any] = attrs.field(factory=list)
    condition_places: list[int] = attrs.field(factory=list)
    commands: list[Any] = attrs.field(factory=list)
    places: list[int] = attrs.field(factory=list)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Says in a refusal which operation or precondition of the batch was refused."""
        try:
            yield
        except (Refused, Damaged) as refusal:
            if refusal.place < 0:
                # Not one of them alone: the whole owner, as a collection that is gone.
                refusal.place = 0
                if isinstance(refusal, PayloadTooLarge | OpIdReused) or not self.commands:
                    raise
            if refusal.place < len(self.conditions):
                _name_condition(refusal, self.condition_places[refusal.place])
            else:
                _name_operation(refusal, self.places[refusal.place - len(self.conditions)])
            raise


@attrs.frozen
class _Plan:
    """Who decides what of a batch, in the order of their first operations.

    ``counts``: with the place and the owners of each. ``refusal``: of the first operation that has
    no owner; the preconditions come before it all the same.
    """

    parts: dict[Address, _Part] = attrs.field(factory=dict)
    counts: list[tuple[int, Count, Sequence[Address]]] = attrs.field(factory=list)
    refusal: KissError | None = None

    @property
    def owners(self) -> list[Address]:
        """All of them."""
        return [*self.parts, *(owner for _, _, owners in self.counts for owner in owners)]


class Batches:
    """Does batches. Any number may be under way."""

    def __init__(
        self, routes: Mapping[type, Route], state: State, log: Address, bytes_max: int
    ) -> None:
        """``routes``: who decides a command, by its type. ``log``: where to append."""
        self._routes = routes
        self._state = state
        self._log = log
        self._bytes_max = bytes_max

    def answered_before(self, batch: Batch) -> BatchAnswer | None:
        """How a batch with this ``op_id`` was answered, if it is done. Raises OpIdReused.

        The vectors of texts need not be made yet.
        """
        operation = None if batch.op_id is None else self._state.operation(batch.op_id)
        if batch.op_id is None or operation is None:
            return None
        check_same_batch(batch.op_id, operation, _fingerprint(batch))
        results = atomic.decode_results(operation.key)
        return atomic.answer(
            results, operation.offset, operation.revision, marked=True, repeated=True
        )

    async def write(self, batch: Batch) -> BatchAnswer:
        """Do all of a batch or nothing; answers when it is durable and visible.

        Raises what a precondition is refused with, or else an operation, naming it; OpIdReused,
        PayloadTooLarge, Overloaded, Stopping and PersistenceFailed. A caller that is cancelled
        before the append leaves nothing behind; after that it happens all the same.
        """
        former = self.answered_before(batch)
        while former is None:
            plan = self._plan(batch)
            try:
                return await self._write(batch, plan)
            except Stopping:
                # An owner may have been dropped, and be there anew or not: nothing was done.
                if self._plan(batch).owners == plan.owners:
                    raise
            except (Refused, Damaged):
                # What it would change may be as it is because the same batch was done meanwhile.
                former = self.answered_before(batch)
                if former is None:
                    raise
        return former

    async def _write(self, batch: Batch, plan: _Plan) -> BatchAnswer:
        found = None if batch.op_id is None else _fingerprint(batch)
        owners = {owner.name: owner for owner in plan.owners}
        if batch.op_id is not None:
            keeper = self._state.keeper(batch.op_id)
            owners[keeper.name] = keeper
        if len(owners) > 1 or plan.counts or plan.refusal is not None:
            in_order = [owners[name] for name in sorted(owners)]
            return await self._write_held(batch, plan, in_order, found)
        (owner,) = owners.values()
        part = plan.parts.get(owner) or _Part(owner)
        message = Atomic(
            tuple(part.conditions), tuple(part.commands), self._bytes_max, batch.op_id, found
        )
        with part.named():
            answer: BatchAnswer = await answered(submit(owner, message))
        return answer

    def _plan(self, batch: Batch) -> _Plan:
        """Raises NotFound and Damaged for a precondition that nobody can check."""
        plan, refusal = _Plan(), None
        for place, command in enumerate(batch.commands):
            try:
                owner, message = self._routes[type(command)](command)
            except (NotFound, Damaged) as error:
                if refusal is None:
                    _name_operation(error, place)
                    refusal = error
                continue
            part = plan.parts.setdefault(owner, _Part(owner))
            part.commands.append(message)
            part.places.append(place)
        for place, condition in enumerate(batch.conditions):
            try:
                if isinstance(condition, Count):
                    plan.counts.append((place, condition, condition.owners()))
                    continue
                owner, message = self._routes[type(condition)](condition)
            except (NotFound, Damaged) as error:
                _name_condition(error, place)
                raise
            part = plan.parts.setdefault(owner, _Part(owner))
            part.conditions.append(message)
            part.condition_places.append(place)
        return attrs.evolve(plan, refusal=refusal)

    async def _write_held(
        self, batch: Batch, plan: _Plan, owners: Sequence[Address], found: bytes | None
    ) -> BatchAnswer:
        helds: dict[Address, Held] = {}
        group = alone()
        try:
            refusal = await self._hold(plan, owners, helds)
            former = self.answered_before(batch)
            if former is not None:
                return former
            for place, count, _ in plan.counts:
                try:
                    await count.check()
                except Refused as error:
                    _name_condition(error, place)
                    raise
            if refusal is not None:
                raise refusal
            if group is not None:
                group.mark(DECIDE)
            # The last moment to leave: what is sent to the log happens.
            await trio.lowlevel.checkpoint_if_cancelled()
            with trio.CancelScope(shield=True):
                answer = await self._log_and_apply(
                    batch, list(plan.parts.values()), helds, found, group
                )
        finally:
            for held in helds.values():
                held.release()
        return answer

    async def _hold(
        self, plan: _Plan, owners: Sequence[Address], helds: dict[Address, Held]
    ) -> KissError | None:
        """Hold the owners. Raises what a precondition is refused with; answers what an operation
        is: a precondition of a later owner would be told before it."""
        refusal = plan.refusal
        for owner in owners:
            part = plan.parts.get(owner) or _Part(owner)
            commands = part.commands if refusal is None else []
            if refusal is not None and not part.conditions:
                continue
            try:
                with part.named():
                    message = Hold((*part.conditions, *commands))
                    helds[owner] = await answered(submit(owner, message))
            except (Refused, Damaged) as error:
                if error.operation is None:
                    raise
                refusal = error
        return refusal

    async def _log_and_apply(
        self,
        batch: Batch,
        parts: Sequence[_Part],
        helds: dict[Address, Held],
        found: bytes | None,
        group: Group | None,
    ) -> BatchAnswer:
        """Append what is held, and apply it: then ``helds`` is empty."""
        records: list[Record] = []
        results: list[Result] = [Result(None)] * len(batch.commands)
        # Where the records of each begin, counted from the mark in front of them all.
        begins: dict[Address, int] = {}
        for part in parts:
            held = helds[part.owner]
            begins[part.owner] = len(records) + 1
            answers = held.answers(len(records) + 1)[len(part.conditions) :]
            for place, answer in zip(part.places, answers, strict=True):
                results[place] = atomic.result_of(answer)
            records += held.records
        atomic.check_size(records, self._bytes_max)
        mark = atomic.mark_of(results, len(records), batch.op_id, found)
        start = 0
        if mark is not None or records:
            start = await self._append(records if mark is None else [mark, *records], group)
            start -= mark is None
            if group is not None:
                group.resume()
        # No checkpoint from here on: readers see all of it at once.
        if mark is not None and mark.op_id is not None:
            self._state.note(start, mark)
        for part in parts:
            helds.pop(part.owner).apply(start + begins[part.owner])
        if group is not None:
            group.mark(APPLY)
        return atomic.answer(results, start, len(records), marked=mark is not None)

    async def _append(self, records: Sequence[Record | BatchCommitted], group: Group | None) -> int:
        try:
            first: int = await self._log.ask(Append(records, group))
        except (MailboxClosed, ActorCrashed) as error:
            raise unavailable(error) from error
        return first


def _fingerprint(batch: Batch) -> bytes:
    return batch.fingerprint or fingerprint_of(batch.commands)


def fingerprint_of(commands: Sequence[Any]) -> bytes:
    """What tells a batch from another: its operations, in their order. The same before and after
    their texts got vectors."""
    said = b"".join(map(fingerprint, commands))
    return blake2b(said, digest_size=FINGERPRINT_BYTES).digest()


def _name_operation(refusal: KissError, place: int) -> None:
    refusal.operation = place
    _say_where(refusal, f"operations[{place}]")


def _name_condition(refusal: KissError, place: int) -> None:
    refusal.precondition = place
    _say_where(refusal, f"preconditions[{place}]")


def _say_where(refusal: KissError, where: str) -> None:
    refusal.reword(f"{where}: {refusal.message}; nothing of the batch was done")
    refusal.logged = f"{where}: {refusal.logged}"
