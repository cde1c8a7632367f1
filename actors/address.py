"""Where an actor is reached: the only thing the rest of a program holds of it."""

from typing import Any

import trio

from .errors import MailboxFull
from .mailbox import Envelope, Mailbox, MailboxStatistics
from .reply import Reply


class Address:
    """Send messages to one actor. Stays valid when the actor is restarted.

    There is no timeout argument: use ``trio.fail_after``. Every method raises `MailboxClosed`
    once the actor is stopping.
    """

    __slots__ = ("_mailbox",)

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    @property
    def name(self) -> str:
        return self._mailbox.name

    async def ask(self, message: Any) -> Any:
        """Send `message` and return the answer, or raise the actor's refusal.

        Waits for room, first come, first served, then for the answer. Cancelling it while it
        waits for room withdraws the message; after that it abandons the answer, never the work.
        Raises `ActorCrashed` or `MailboxClosed` when no answer will come.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._refuse_own_task()
        reply = Reply()
        envelope = Envelope(message, reply)
        if self._mailbox.put(envelope):
            return await reply.wait()
        self._mailbox.wait_in_line(envelope)
        try:
            return await reply.wait()
        finally:
            self._mailbox.withdraw(envelope)

    async def tell(self, message: Any) -> None:
        """Send `message` as soon as there is room; no answer. Cancelling it withdraws it."""
        await trio.lowlevel.checkpoint_if_cancelled()
        envelope = Envelope(message)
        if self._mailbox.put(envelope):
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        self._refuse_own_task()
        room = Reply()
        self._mailbox.wait_in_line(envelope, room)
        try:
            await room.wait()
        finally:
            self._mailbox.withdraw(envelope)

    def submit(self, message: Any) -> Reply:
        """Send `message` now and return the reply to wait for later, or raise `MailboxFull`."""
        reply = Reply()
        if not self._mailbox.put(Envelope(message, reply)):
            raise self._full()
        return reply

    def tell_nowait(self, message: Any) -> None:
        """Send `message` now, or raise `MailboxFull`."""
        if not self._mailbox.put(Envelope(message)):
            raise self._full()

    def statistics(self) -> MailboxStatistics:
        return self._mailbox.statistics()

    def __repr__(self) -> str:
        return f"<Address of {self.name}>"

    def _full(self) -> MailboxFull:
        return MailboxFull(self.name, self._mailbox.size)

    def _refuse_own_task(self) -> None:
        own = self._mailbox.owner is trio.lowlevel.current_task()
        assert not own, f"{self.name} waits for itself: a deadlock"
