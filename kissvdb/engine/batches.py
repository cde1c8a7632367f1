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
from kissvdb.engine.asking import answered, submit, unavailable
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

Route = Callable[[Any], tuple[Address, Any]]


@attrs.frozen
class Count:
    """How many things there must be for a batch. ``owners`` are those who could change that: they
    are held while ``count`` counts."""

    owners: Sequence[Address]
    count: Callable[[], Awaitable[int]]
    at_least: int = 0
    at_most: int | None = None

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

    With an ``op_id`` a repeat is answered as the first time.
    """

    commands: Sequence[Any]
    conditions: Sequence[Any] = ()
    op_id: str | None = None


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

    async def write(self, batch: Batch) -> BatchAnswer:
        """Do all of a batch or nothing; answers when it is durable and visible.

        Raises what an operation or precondition is refused with, naming it, OpIdReused,
        PayloadTooLarge, Overloaded, Stopping and PersistenceFailed. A caller that is cancelled
        before the append leaves nothing behind; after that it happens all the same.
        """
        while True:
            parts, counts = self._parts(batch)
            try:
                return await self._write(batch, parts, counts)
            except Stopping:
                # An owner may have been dropped, and be there anew or not: nothing was done.
                if list(self._parts(batch)[0]) == list(parts):
                    raise

    async def _write(
        self,
        batch: Batch,
        parts: "dict[Address, _Part]",
        counts: Sequence[tuple[int, Count]],
    ) -> BatchAnswer:
        found = None if batch.op_id is None else _fingerprint(parts)
        owners = {owner.name: owner for owner in parts}
        if batch.op_id is not None:
            keeper = self._state.keeper(batch.op_id)
            owners[keeper.name] = keeper
        if len(owners) == 1 and not counts:
            (owner,) = owners.values()
            part = parts.get(owner) or _Part(owner)
            message = Atomic(
                tuple(part.conditions), tuple(part.commands), self._bytes_max, batch.op_id, found
            )
            with part.named():
                alone: BatchAnswer = await answered(submit(owner, message))
            return alone
        for _, count in counts:
            owners |= {owner.name: owner for owner in count.owners}
        try:
            return self._again(batch.op_id, found) or await self._write_held(
                batch, parts, counts, [owners[name] for name in sorted(owners)], found
            )
        except (Refused, Damaged):
            # What it would change may be as it is because the same batch was done meanwhile.
            former = self._again(batch.op_id, found)
            if former is None:
                raise
            return former

    def _parts(self, batch: Batch) -> tuple[dict[Address, _Part], list[tuple[int, Count]]]:
        """What falls to each owner, in the order of their first operations; and the counts."""
        parts: dict[Address, _Part] = {}
        counts: list[tuple[int, Count]] = []
        for place, command in enumerate(batch.commands):
            try:
                owner, message = self._routes[type(command)](command)
            except (NotFound, Damaged) as refusal:
                _name_operation(refusal, place)
                raise
            part = parts.setdefault(owner, _Part(owner))
            part.commands.append(message)
            part.places.append(place)
        for place, condition in enumerate(batch.conditions):
            if isinstance(condition, Count):
                counts.append((place, condition))
                continue
            try:
                owner, message = self._routes[type(condition)](condition)
            except (NotFound, Damaged) as refusal:
                _name_condition(refusal, place)
                raise
            part = parts.setdefault(owner, _Part(owner))
            part.conditions.append(message)
            part.condition_places.append(place)
        return parts, counts

    async def _write_held(
        self,
        batch: Batch,
        parts: Mapping[Address, _Part],
        counts: Sequence[tuple[int, Count]],
        owners: Sequence[Address],
        found: bytes | None,
    ) -> BatchAnswer:
        helds: dict[Address, Held] = {}
        try:
            for owner in owners:
                part = parts.get(owner) or _Part(owner)
                with part.named():
                    message = Hold((*part.conditions, *part.commands))
                    helds[owner] = await answered(submit(owner, message))
            former = self._again(batch.op_id, found)
            if former is not None:
                return former
            for place, count in counts:
                try:
                    await count.check()
                except Refused as refusal:
                    _name_condition(refusal, place)
                    raise
            # The last moment to leave: what is sent to the log happens.
            await trio.lowlevel.checkpoint_if_cancelled()
            with trio.CancelScope(shield=True):
                answer = await self._log_and_apply(batch, list(parts.values()), helds, found)
        finally:
            for held in helds.values():
                held.release()
        return answer

    async def _log_and_apply(
        self,
        batch: Batch,
        parts: Sequence[_Part],
        helds: dict[Address, Held],
        found: bytes | None,
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
            start = await self._append(records if mark is None else [mark, *records])
            start -= mark is None
        # No checkpoint from here on: readers see all of it at once.
        if mark is not None and mark.op_id is not None:
            self._state.note(start, mark)
        for part in parts:
            helds.pop(part.owner).apply(start + begins[part.owner])
        return atomic.answer(results, start, len(records), marked=mark is not None)

    async def _append(self, records: Sequence[Record | BatchCommitted]) -> int:
        try:
            first: int = await self._log.ask(Append(records))
        except (MailboxClosed, ActorCrashed) as error:
            raise unavailable(error) from error
        return first

    def _again(self, op_id: str | None, found: bytes | None) -> BatchAnswer | None:
        """The answer of the first time, if there was one. Raises OpIdReused."""
        operation = None if op_id is None else self._state.operation(op_id)
        if op_id is None or operation is None:
            return None
        check_same_batch(op_id, operation, found)
        results = atomic.decode_results(operation.key)
        return atomic.answer(
            results, operation.offset, operation.revision, marked=True, repeated=True
        )


def _fingerprint(parts: Mapping[Address, _Part]) -> bytes:
    """What tells a batch from another: its operations, in their order."""
    said = sorted(
        (place, owner.name.encode(), fingerprint(command))
        for owner, part in parts.items()
        for place, command in zip(part.places, part.commands, strict=True)
    )
    text = b"".join(b"%b\0%b" % (name, each) for _, name, each in said)
    return blake2b(text, digest_size=FINGERPRINT_BYTES).digest()


def _name_operation(refusal: KissError, place: int) -> None:
    refusal.operation = place
    _say_where(refusal, f"operations[{place}]")


def _name_condition(refusal: KissError, place: int) -> None:
    refusal.precondition = place
    _say_where(refusal, f"preconditions[{place}]")


def _say_where(refusal: KissError, where: str) -> None:
    refusal.reword(f"{where}: {refusal.message}; nothing of the batch was done")
    refusal.logged = f"{where}: {refusal.logged}"
