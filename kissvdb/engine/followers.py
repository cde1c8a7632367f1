"""Followers of the log: they derive something from its records, behind the answers to writers.

A follower is a view like any other: it knows the offset that it has applied, and what it has
missed is still in the log.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import msgspec
import trio

from actors import Actor, Address, Envelope, MailboxClosed, MailboxFull
from kissvdb.errors import Stopping
from kissvdb.records import Record


class Committed(msgspec.Struct, frozen=True):
    """Records that became durable together: offsets go on from the first, in both sequences.

    ``payloads`` are as the log has them, ``records`` what they say. ``after``: the newest offset
    before them; who has not applied that one has missed something.
    """

    after: int
    first_offset: int
    ts_ms: int
    records: Sequence[Record]
    payloads: Sequence[bytes]

    @property
    def last_offset(self) -> int:
        """The offset of the last of them."""
        return self.first_offset + len(self.records) - 1


class Followers:
    """Who hears of committed records, in the order in which they were added."""

    def __init__(self) -> None:
        self._addresses: list[Address] = []

    def add(self, address: Address) -> None:
        """Tell this follower of what is committed from now on."""
        self._addresses.append(address)

    def remove(self, address: Address) -> None:
        """Tell it no more. Removing twice is fine."""
        self._addresses = [each for each in self._addresses if each is not address]

    def tell(self, committed: Committed) -> None:
        """Tell all of them. Never waits: writers wait for their answers.

        One whose mailbox is full, or that is on its way out, misses it (see `Follower`).
        """
        for address in self._addresses:
            try:
                address.tell_nowait(committed)
            except (MailboxFull, MailboxClosed):
                continue


class Follower(Actor):
    """An actor that applies what is committed, in order, as far behind as it needs to be.

    While it is slow its mailbox fills; beyond that nothing is kept for it. It finds out from the
    offsets and goes on with `catch_up`.
    """

    def __init__(self, committed_offset: Callable[[], int], applied_offset: int) -> None:
        """``committed_offset``: the newest offset of which all followers have been told."""
        self.applied_offset = applied_offset
        """Everything up to here is applied."""
        self._committed_offset = committed_offset
        self._advanced = trio.lowlevel.ParkingLot()
        self._closed = False

    @abstractmethod
    async def apply(self, committed: Committed) -> None:
        """Apply records. Some may be known already, from before a restart or a `catch_up`."""

    @abstractmethod
    async def catch_up(self, offset: int) -> None:
        """Get, from the log or by doing without, to ``offset``: records up to there were missed."""

    async def attend(self, envelope: Envelope) -> None:
        """Handle a message that is not of the log."""
        raise TypeError(f"{self.name} has no use for a {type(envelope.message).__name__}")

    async def handle(self, batch: list[Envelope]) -> None:
        while batch:
            for envelope in batch:
                if type(envelope.message) is Committed:
                    await self._follow(envelope.message)
                else:
                    await self.attend(envelope)
            # Behind, with nothing in the mailbox: the last messages found it full.
            behind = self.applied_offset < self._committed_offset()
            batch = self.take_waiting() if behind else []
            if behind and not batch:
                await self._catch_up(self._committed_offset())
        self._advanced.unpark_all()

    async def close(self) -> None:
        self._closed = True
        self._advanced.unpark_all()

    async def reached(self, offset: int) -> None:
        """Wait until everything up to ``offset`` is applied. Raises Stopping when it never will."""
        while self.applied_offset < offset:
            if self._closed:
                raise Stopping("what follows the log is stopping: ask again in a moment")
            await self._advanced.park()

    async def _follow(self, committed: Committed) -> None:
        last = committed.last_offset
        if last <= self.applied_offset:
            return
        if committed.after > self.applied_offset:
            await self._catch_up(committed.after)
        await self.apply(committed)
        self.applied_offset = last

    async def _catch_up(self, offset: int) -> None:
        await self.catch_up(offset)
        self.applied_offset = offset
