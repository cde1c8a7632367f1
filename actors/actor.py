"""The base class: one owner of some data, and the only task that touches it."""

from abc import ABC, abstractmethod

from .mailbox import Envelope, Mailbox


class Actor(ABC):
    """Subclass it, keep the data in attributes, and answer messages in `handle`.

    `open`, `handle` and `close` run in one task, never at the same time, so the data needs no
    lock. What escapes `handle` is a crash: answer a request that cannot be met with
    ``envelope.refuse(error)`` instead.
    """

    mailbox_size: int = 1024
    """Messages that may wait; senders beyond that wait for room."""
    batch_max: int = 256
    """Messages that `handle` gets at once, at most."""

    _name: str | None = None
    _mailbox: Mailbox | None = None

    @property
    def name(self) -> str:
        """Appears in errors and logs. The class's name unless the subclass sets another."""
        return self._name or type(self).__name__

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    async def open(self) -> None:  # noqa: B027 - optional: many actors own nothing to open
        """Run before the first batch. If it raises, the actor is not started, nor closed."""

    @abstractmethod
    async def handle(self, batch: list[Envelope]) -> None:
        """Handle 1 to `batch_max` envelopes, in the order in which they were sent.

        An envelope may be kept and answered later; what is still owed when the actor stops is
        refused. A cancellation here means that the drain took longer than it may.
        """

    def take_waiting(self) -> list[Envelope]:
        """Within `handle`: up to `batch_max` further envelopes that wait now, or none.

        For an actor that waits for others: it may begin the next work while it still answers what
        is done. What is not answered yet stays the actor's to answer.
        """
        return [] if self._mailbox is None else self._mailbox.take(self.batch_max)

    async def close(self) -> None:  # noqa: B027 - optional, as is open
        """Run after the last batch, also after a crash of `handle` or a cancellation."""
