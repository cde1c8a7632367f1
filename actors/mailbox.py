"""The bounded queue in front of one actor: many senders, one receiver, mail taken in batches."""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import attrs
import trio

from .errors import MailboxClosed
from .reply import Reply


class Envelope:
    """One message as the actor gets it, with the way back to whoever asked."""

    __slots__ = ("message", "reply")

    def __init__(self, message: Any, reply: Reply | None = None) -> None:
        self.message = message
        self.reply = reply
        """None for a message that was told: nobody waits for an answer."""

    def answer(self, value: Any = None) -> None:
        """Give the asker `value`; without effect for a told message. Twice is a bug."""
        if self.reply is not None:
            self.reply.set(value)

    def refuse(self, error: BaseException) -> None:
        """Raise `error` in the asker; without effect for a told message. Twice is a bug."""
        if self.reply is not None:
            self.reply.fail(error)

    @property
    def abandoned(self) -> bool:
        """True when the asker left, so the answer is of no use. Never for a told message."""
        return self.reply is not None and self.reply.abandoned

    @property
    def settled(self) -> bool:
        """True when nobody waits for an answer."""
        return self.reply is None or self.reply.settled

    @property
    def answered(self) -> bool:
        """True when no answer is owed any more: it was given, or the message was told."""
        return self.reply is None or self.reply.answered


@attrs.frozen
class MailboxStatistics:
    """A mailbox at one moment; counters are since the actor was first started."""

    depth: int
    """Messages that wait in the mailbox."""
    size: int
    """Messages it has room for."""
    waiting_senders: int
    """Tasks that wait for room."""
    owed: int
    """Answers the actor has put off."""
    handled: int
    batches: int
    batch_largest: int
    depth_largest: int
    """The deepest the mailbox was when a batch was taken."""
    crashes: int


MakeError = Callable[[bool], BaseException]
"""From ``delivered`` (the actor had the message in hand) to the error for one asker."""


class Mailbox:
    """Room for `size` messages; senders beyond that wait first come, first served.

    Invariant: while senders wait, the queue is full. So a new sender can never overtake them.
    """

    def __init__(self, name: str, size: int) -> None:
        if size < 1:
            raise ValueError(f"a mailbox has room for at least one message, not {size}")
        self.name = name
        self.size = size
        self.closed = False
        self.owner: trio.lowlevel.Task | None = None
        """The task that runs the actor, so that an actor asking itself is caught."""
        self._queue: deque[Envelope] = deque()
        self._waiting: OrderedDict[Envelope, Reply | None] = OrderedDict()
        self._batch: list[Envelope] = []
        self._owed: set[Reply] = set()
        self._receiver: trio.lowlevel.Task | None = None
        self._handled = 0
        self._batches = 0
        self._batch_largest = 0
        self._depth_largest = 0
        self.crashes = 0

    def put(self, envelope: Envelope) -> bool:
        """Queue `envelope`, or return False when there is no room. Raises `MailboxClosed`."""
        if self.closed:
            raise MailboxClosed(self.name)
        if len(self._queue) >= self.size:
            return False
        self._queue.append(envelope)
        if self._receiver is not None:
            trio.lowlevel.reschedule(self._receiver)
            self._receiver = None
        return True

    def wait_in_line(self, envelope: Envelope, room: Reply | None = None) -> None:
        """Queue `envelope` as soon as there is room, in turn; `room`, if any, is set then.

        Only after `put` returned False, with no checkpoint in between.
        """
        self._waiting[envelope] = room

    def withdraw(self, envelope: Envelope) -> None:
        """Forget `envelope` if it still waits in line; what is queued stays."""
        self._waiting.pop(envelope, None)

    async def receive(self, batch_max: int) -> list[Envelope]:
        """Take 1 to `batch_max` envelopes in order; none when closed and drained."""
        if self._queue:
            await trio.lowlevel.checkpoint()
        elif not self.closed:
            self._receiver = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_receiving)
        self._batch = self._take(batch_max)
        return self._batch

    def take(self, batch_max: int) -> list[Envelope]:
        """Take up to `batch_max` envelopes that wait now, while a batch is in hand."""
        if not self._queue:
            return []
        in_hand = [each for each in self._batch if not each.settled]
        self._handled += len(self._batch) - len(in_hand)
        self._batches += 1
        taken = self._take(batch_max)
        self._batch = in_hand + taken
        return taken

    def _take(self, batch_max: int) -> list[Envelope]:
        queue = self._queue
        depth = len(queue)
        if depth <= batch_max:
            batch = list(queue)
            queue.clear()
        else:
            batch = [queue.popleft() for _ in range(batch_max)]
        if self._waiting:
            self._admit()
        self._depth_largest = max(self._depth_largest, depth)
        self._batch_largest = max(self._batch_largest, len(batch))
        return batch

    def settle(self) -> None:
        """The batch was handled: count it, and remember the answers that were put off."""
        batch, self._batch = self._batch, []
        self._handled += len(batch)
        self._batches += 1
        for envelope in batch:
            reply = envelope.reply
            if reply is not None and not reply.settled:
                reply.owe(self._owed)

    def close(self, make_error: MakeError | None = None) -> None:
        """Take no new mail and turn away who waits in line; what is queued stays."""
        self.closed = True
        waiting, self._waiting = self._waiting, OrderedDict()
        for envelope, room in waiting.items():
            sender = room if room is not None else envelope.reply
            assert sender is not None
            sender.revoke(make_error(False) if make_error else MailboxClosed(self.name))
        if self._receiver is not None:
            trio.lowlevel.reschedule(self._receiver)
            self._receiver = None

    def refuse_all(self, make_error: MakeError) -> None:
        """Refuse every unanswered message in hand, put off or queued; then admit who waits."""
        batch, self._batch = self._batch, []
        queue, self._queue = self._queue, deque()
        owed, self._owed = self._owed, set()
        for reply in [envelope.reply for envelope in batch] + list(owed):
            if reply is not None and not reply.settled:
                reply.revoke(make_error(True))
        for envelope in queue:
            if envelope.reply is not None and not envelope.reply.settled:
                envelope.reply.revoke(make_error(False))
        self._admit()

    def statistics(self) -> MailboxStatistics:
        return MailboxStatistics(
            depth=len(self._queue),
            size=self.size,
            waiting_senders=len(self._waiting),
            owed=len(self._owed),
            handled=self._handled,
            batches=self._batches,
            batch_largest=self._batch_largest,
            depth_largest=self._depth_largest,
            crashes=self.crashes,
        )

    def _admit(self) -> None:
        while self._waiting and len(self._queue) < self.size:
            envelope, room = self._waiting.popitem(last=False)
            self._queue.append(envelope)
            if room is not None:
                room.set()

    def _stop_receiving(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._receiver = None
        return trio.lowlevel.Abort.SUCCEEDED
