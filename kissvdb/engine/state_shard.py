"""The state shard: owner of the keys whose hash falls to it."""

from collections.abc import Callable, Iterator, Sequence

import attrs

from actors import Actor, Address, Envelope
from kissvdb.core.state import Answer, Batch, Command, Decision, Expire, Item
from kissvdb.engine.log_writer import Append
from kissvdb.engine.state_view import StateView
from kissvdb.errors import PersistenceFailed, Refused
from kissvdb.metrics import Metrics
from kissvdb.records import KeyDeleted, KeyWritten, Record

COMMANDS_PER_APPEND_MAX = 1024
"""About as many are decided together: everybody else has to wait for that long."""


@attrs.frozen
class Many:
    """Several commands in one message; the answer is a list of answers and refusals, in order."""

    commands: tuple[Command, ...]


Outcome = Decision | Refused


class StateShard(Actor):
    """Owns the keys of one view. Decide, log, apply, answer: no reader ever sees what a crash can
    take back.

    Reads (``view``) are done by anyone on the loop, synchronously: a batch is applied without a
    checkpoint, so they see whole batches and never wait for a fsync.
    """

    batch_max = 256

    def __init__(
        self,
        view: StateView,
        log: Address,
        committed_offset: Callable[[], int],
        clock_ms: Callable[[], int],
        metrics: Metrics,
        *,
        json_bytes_max: int,
        mailbox_size: int,
        name: str,
    ) -> None:
        self.view = view
        self.name = name
        self.mailbox_size = mailbox_size
        self._log = log
        self._committed_offset = committed_offset
        self._clock_ms = clock_ms
        self._metrics = metrics
        self._json_bytes_max = json_bytes_max
        self._asked_at: int | None = None

    @property
    def true_offset(self) -> int:
        """An offset up to which the view holds every record of this shard."""
        return self._committed_offset() if self._asked_at is None else self._asked_at

    async def handle(self, batch: list[Envelope]) -> None:
        for part in _parts(batch):
            await self._handle(part)

    async def _handle(self, batch: Sequence[Envelope]) -> None:
        try:
            await self.view.wait_for_room()
        except PersistenceFailed as refusal:
            for envelope in batch:
                envelope.refuse(PersistenceFailed(refusal.message))
            return
        decided = Batch(
            self.view.get,
            self.view.operation,
            self._clock_ms(),
            json_bytes_max=self._json_bytes_max,
        )
        waiting: list[tuple[Envelope, Outcome | list[Outcome]]] = []
        for envelope in batch:
            message = envelope.message
            if type(message) is Many:
                waiting.append((envelope, decided.decide_each(message.commands)))
            elif type(message) is Expire:
                decided.expire(self.view.expired(self._clock_ms(), message.limit))
                waiting.append((envelope, []))
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
            if isinstance(outcome, Decision):
                envelope.answer(outcome.at(first_offset))
            elif isinstance(outcome, Refused):
                envelope.refuse(outcome)
            else:
                envelope.answer([_answer(each, first_offset) for each in outcome])

    async def _log_and_apply(self, records: Sequence[Record]) -> int:
        self._asked_at = self._committed_offset()
        try:
            first: int = await self._log.ask(Append(records))
        except PersistenceFailed:
            self._asked_at = None
            raise
        # Left alone if it is not known what the log holds: the view must not claim to have it.
        self.view.apply(first, records)
        self._asked_at = None
        kinds = list(map(type, records))
        self._metrics.state_put_total.inc(kinds.count(KeyWritten))
        self._metrics.state_delete_total.inc(kinds.count(KeyDeleted))
        return first


def _parts(batch: Sequence[Envelope]) -> Iterator[Sequence[Envelope]]:
    """The batch in parts of about COMMANDS_PER_APPEND_MAX commands."""
    commands = start = 0
    for end, envelope in enumerate(batch):
        message = envelope.message
        commands += len(message.commands) if type(message) is Many else 1
        if commands > COMMANDS_PER_APPEND_MAX and end > start:
            yield batch[start:end]
            start, commands = end, 0
    yield batch[start:]


def _answer(outcome: Outcome, first_offset: int) -> Answer | Refused:
    return outcome if isinstance(outcome, Refused) else outcome.at(first_offset)


def live(item: Item | None, now_ms: int) -> Item | None:
    """The item, unless its time has come."""
    if item is None or (item.expires_at_ms is not None and item.expires_at_ms <= now_ms):
        return None
    return item
