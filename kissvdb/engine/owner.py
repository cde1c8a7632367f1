"""What all owners of data have in common: decide, log, apply, answer.

An owner is rules (a `core.batch.Batch` that decides) and a view (what readers look at). A command
is decided against the view plus the batch so far: it is refused, or becomes a record. Records are
logged, then applied, then answered: no reader ever sees what a crash can take back.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import attrs
import trio

from actors import Actor, Address, Envelope
from kissvdb.core.atomic import Atomic
from kissvdb.core.batch import Batch
from kissvdb.core.state.put_many import PutMany
from kissvdb.core.store.columns import UpsertMany
from kissvdb.engine.asking import watched
from kissvdb.engine.log.writer import Append
from kissvdb.engine.state.gathered import Gathered
from kissvdb.errors import Damaged, KissError, PersistenceFailed, Refused
from kissvdb.records import Record
from kissvdb.telemetry.parts import APPLY, DECIDE, Group

COMMANDS_PER_APPEND_MAX = 1024
"""About as many are decided together: everybody else has to wait for that long."""

B = TypeVar("B", bound=Batch[Any])


@attrs.frozen
class Many:
    """Several commands in one message; the answer is a list of answers and refusals, in order."""

    commands: tuple[Any, ...]


_SEVERAL = frozenset((Atomic, Gathered, Many, PutMany, UpsertMany))


@attrs.frozen
class Expire:
    """Delete what is past its time, at most ``limit`` of it."""

    limit: int = 256


@attrs.frozen
class Hold:
    """Decide commands, all or none, and decide nothing else until they are applied or released.

    Answers a `Held`; raises the first refusal, with its ``place`` among the commands. For a batch
    over several owners: hold all, append all records at once, apply all. Owners are held in one
    order, by name: else two batches could wait for each other.
    """

    commands: tuple[Any, ...]


class Held:
    """Commands that an owner has decided and waits with: `apply` or `release` them, once."""

    def __init__(
        self,
        decisions: Sequence[Any],
        decided: Batch[Any],
        install: Callable[[int, Any], None],
        settled: Callable[[], None],
    ) -> None:
        self.records: Sequence[Record] = decided.records
        """What is to be logged: with the offsets that `apply` is told, or not at all."""
        self._decisions = decisions
        self._decided = decided
        self._install = install
        self._settled = settled
        self._over = trio.Event()

    def apply(self, first_offset: int) -> list[Any]:
        """They are in the log, from this offset on: readers see them now. Returns the answers.

        Without a checkpoint, so that readers see the batches of several owners at once.
        """
        assert not self._over.is_set(), "applied or released once"
        if self.records:
            self._install(first_offset, self._decided)
            self._decided.settle()
        self._settled()
        self._over.set()
        return self.answers(first_offset)

    def release(self) -> None:
        """They are not in the log and never will be: the owner goes on as if nothing was."""
        assert not self._over.is_set(), "applied or released once"
        self._decided.settle()
        self._settled()
        self._over.set()

    def answers(self, first_offset: int) -> list[Any]:
        """What `apply` would answer."""
        return [each.at(first_offset) for each in self._decisions]

    async def over(self) -> None:
        """Wait until they are applied or released."""
        await self._over.wait()


class Owner(Actor, Generic[B]):
    """The one who changes some data. Subclasses have its rules and its view.

    Reads are done by anyone on the loop, synchronously: a batch is applied without a checkpoint, so
    they see whole batches and never wait for a fsync.
    """

    batch_max = 256
    asides: frozenset[type] = frozenset((Expire, Hold))
    """Messages that are no commands: each is done for itself, between batches."""
    answers_late = False
    """Whether what is done is answered while what came meanwhile is being written. It is decided
    first; where that may have to wait for room, say what is done before (`_tell`)."""

    def __init__(self, log: Address, committed_offset: Callable[[], int]) -> None:
        self._log = log
        self._committed_offset = committed_offset
        self._asked_at: int | None = None
        # What was done last, and is not answered yet.
        self._untold: tuple[Sequence[Envelope], list[Any], int] | None = None
        # Somebody else's write is under way: what is to be logged next waits for its end, and what
        # is done must not.
        self._disk_is_busy = False

    @property
    def true_offset(self) -> int:
        """An offset up to which the view holds every record of this owner."""
        return self._committed_offset() if self._asked_at is None else self._asked_at

    @abstractmethod
    def _batch(self) -> B:
        """What decides the next commands."""

    @abstractmethod
    def _install(self, first_offset: int, decided: B) -> None:
        """Take over what is in the log, from this offset on. It cannot fail: see `_reserve`."""

    @abstractmethod
    def _expire(self, decided: B, limit: int) -> None:
        """Decide the end of what is past its time."""

    async def _make_room(self) -> None:
        """Return when commands may be decided. Raises PersistenceFailed and Refused for all."""

    def _reserve(self, decided: B) -> None:
        """Make sure that what is decided can be applied: it is going to be logged.

        Raises PersistenceFailed and Refused.
        """

    async def _do(self, envelope: Envelope) -> None:
        """Do one of the ``asides``."""
        message = envelope.message
        self._tell()
        try:
            await self._make_room()
            if type(message) is Hold:
                await self._hold(envelope)
            else:
                decided = self._batch()
                self._expire(decided, message.limit)
                await self._log_and_apply(decided)
                envelope.answer(None)
        except (PersistenceFailed, Refused, Damaged) as refusal:
            envelope.refuse(refusal)

    async def handle(self, batch: list[Envelope]) -> None:
        try:
            await self._handle(batch)
            # What is logged before the last answers are given is logged while they are given.
            while self._untold is not None:
                waiting = self.take_waiting()
                if not waiting:
                    break
                await self._handle(waiting)
        finally:
            self._tell()

    async def _handle(self, batch: list[Envelope]) -> None:
        asides = self.asides
        writes: list[Envelope] = []
        commands = 0
        for envelope in batch:
            kind = type(envelope.message)
            if kind in asides:
                await self._write(writes)
                await self._do(envelope)
                writes, commands = [], 0
                continue
            if kind is Gathered:
                envelope.message.close()
            commands += len(envelope.message.commands) if kind in _SEVERAL else 1
            if commands > COMMANDS_PER_APPEND_MAX and writes:
                await self._write(writes)
                writes, commands = [], 0
            writes.append(envelope)
        await self._write(writes)

    async def _write(self, envelopes: Sequence[Envelope]) -> None:
        if not envelopes:
            return
        first_offset = 0
        try:
            await self._make_room()
            group = watched(envelopes)
            decided = self._batch()
            outcomes: list[Any] = []
            for envelope in envelopes:
                message = envelope.message
                try:
                    if type(message) is Many:
                        outcomes.append(decided.decide_each(message.commands))
                    elif type(message) is Gathered:
                        outcomes.append(message.decide(decided))
                    elif type(message) is Atomic:
                        outcomes.append(decided.decide_atomic(message))
                    else:
                        outcomes.append(decided.decide(message))
                except (Refused, Damaged) as refusal:
                    outcomes.append(refusal)
            if group is not None:
                group.mark(DECIDE)
            if decided.records:
                first_offset = await self._log_and_apply(decided, group)
        except (PersistenceFailed, Refused) as refusal:
            for envelope in envelopes:
                # An exception of its own for each asker.
                envelope.refuse(type(refusal)(refusal.message))
            return
        self._tell()
        self._untold = envelopes, outcomes, first_offset
        if not (self.answers_late and decided.records):
            self._tell()

    def _tell(self) -> None:
        """Answer what was done last, if it is not yet."""
        if self._untold is None:
            return
        (envelopes, outcomes, first_offset), self._untold = self._untold, None
        for envelope, outcome in zip(envelopes, outcomes, strict=True):
            if type(outcome) is list:
                envelope.answer([_answer(each, first_offset) for each in outcome])
            elif isinstance(outcome, KissError):
                envelope.refuse(outcome)
            else:
                envelope.answer(outcome.at(first_offset))

    async def _log_and_apply(self, decided: B, group: Group | None = None) -> int:
        """Offset of the first record; 0 without records. Raises PersistenceFailed and Refused."""
        records = decided.records
        if not records:
            return 0
        try:
            self._reserve(decided)
            first = await self._append(records, group)
        except (PersistenceFailed, Refused):
            decided.settle()
            raise
        # Left alone if it is not known what the log holds: the view must not claim to have it.
        if group is not None:
            group.resume()
        self._install(first, decided)
        decided.settle()
        self._asked_at = None
        if group is not None:
            group.mark(APPLY)
        return first

    async def _append(self, records: Sequence[Record], group: Group | None = None) -> int:
        """Log records. Until ``_asked_at`` is None again, ``true_offset`` stays behind them."""
        self._asked_at = self._committed_offset()
        try:
            append = Append(records, group, self._tell)
            if self._disk_is_busy:
                self._tell()
            first: int = await self._log.ask(append)
        except PersistenceFailed:
            self._asked_at = None
            raise
        finally:
            # They are in the log, whatever became of these.
            self._tell()
            self._disk_is_busy = append.is_followed
        return first

    async def _hold(self, envelope: Envelope) -> None:
        decided = self._batch()
        decisions = decided.decide_all(envelope.message.commands)
        try:
            self._reserve(decided)
        except (PersistenceFailed, Refused):
            decided.settle()
            raise
        if envelope.abandoned:
            decided.settle()
            return
        self._asked_at = self._committed_offset()
        held = Held(decisions, decided, self._install, self._settle)
        envelope.answer(held)
        await held.over()

    def _settle(self) -> None:
        self._asked_at = None


def _answer(outcome: Any, first_offset: int) -> Any:
    return outcome if isinstance(outcome, KissError) else outcome.at(first_offset)
