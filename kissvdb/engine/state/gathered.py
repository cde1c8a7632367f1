"""Puts of many askers, gathered: whatever comes before the shard decides is decided together.

A put that says nothing but its key and value can be decided among others as columns are
(`core.state.put_many`). So the first one is a message to the shard, and those that come while it
waits in the mailbox join it: nobody waits for others, and a busy server has one message, one
decision and one run of records for as many puts as clients had on their way.
"""

from collections.abc import Callable, Sequence
from typing import Any

from actors import ActorCrashed, Address, MailboxClosed, Reply
from kissvdb.core.batch import Batch
from kissvdb.core.state.put_many import PutMany, WrittenMany
from kissvdb.core.state.rules import Put, Written
from kissvdb.engine.asking import submit, unavailable
from kissvdb.errors import Damaged, KissError, Overloaded, Refused
from kissvdb.telemetry.parts import current

TOGETHER_MAX = 256
"""So many are one message: as many as an owner takes of single ones."""


class Gathered:
    """One message. Each asker has a reply: a `Written`, or why not."""

    __slots__ = ("_left", "_replies", "_reply", "_values", "commands", "is_open")

    def __init__(self, left: Callable[[int], None]) -> None:
        """``left`` hears how many are answered."""
        self.commands: list[str] = []
        """The keys, in order."""
        self.is_open = True
        """Whether others may join it."""
        self._values: list[bytes] = []
        self._replies: list[Reply] = []
        self._left = left
        self._reply: Reply | None = None

    def send(self, owner: Address) -> None:
        """Send it, with nobody in it. Raises Overloaded and Stopping."""
        reply = self._reply = submit(owner, self)
        reply.call(self._answer)

    def join(self, key: str, value: bytes) -> Reply:
        """One more put, while it is open."""
        keys, reply = self.commands, Reply()
        keys.append(key)
        self._values.append(value)
        self._replies.append(reply)
        if len(keys) == TOGETHER_MAX:
            self.is_open = False
        return reply

    def close(self) -> None:
        """It is going to be decided: who comes now is too late."""
        self.is_open = False

    def decide(self, batch: Batch[Any]) -> Any:
        """The decision of all, or a list with one of each, or its refusal. No put is refused for
        another's sake."""
        keys, values = self.commands, self._values
        if batch.growth is None:
            try:
                return batch.decide(PutMany(keys, values))
            except (Refused, Damaged):
                # What of them is on a damaged page is found out one by one.
                pass
        return batch.decide_each(list(map(Put, keys, values)))

    def _answer(self) -> None:
        """Tell each asker what became of its put."""
        self.is_open = False
        assert self._reply is not None
        replies = self._replies
        self._left(len(replies))
        try:
            found = self._reply.take()
        except KissError as refusal:
            for reply in replies:
                # An exception of its own for each asker.
                reply.fail(type(refusal)(refusal.message))
        except (MailboxClosed, ActorCrashed) as error:
            for reply in replies:
                reply.fail(unavailable(error))
        else:
            self._tell(found)

    def _tell(self, found: WrittenMany | Sequence[Any]) -> None:
        replies = self._replies
        if isinstance(found, WrittenMany):
            written = map(Written, self.commands, found.revisions, found.offsets)
            for reply, each in zip(replies, written, strict=True):
                reply.set(each)
            return
        for reply, answer in zip(replies, found, strict=True):
            if isinstance(answer, KissError):
                reply.fail(answer)
            else:
                reply.set(answer)


class Gathering:
    """The message to one shard that puts may join now."""

    def __init__(self, owner: Address) -> None:
        self._owner = owner
        self._waiting_max = owner.statistics().size
        self._waiting = 0
        self._now: Gathered | None = None

    def put(self, key: str, value: bytes) -> Reply | None:
        """Begin to set a key that means nothing to the database to a value (compact JSON). None:
        somebody wants to know the parts of this request, and it is to be sent for itself.

        Raises Overloaded and Stopping, as if it was.
        """
        if current() is not None:
            return None
        if self._waiting >= self._waiting_max:
            raise Overloaded("too many writes are waiting for the disk: retry in a second")
        gathered = self._now
        if gathered is None or not gathered.is_open:
            gathered = Gathered(self._leave)
            gathered.send(self._owner)
            self._now = gathered
        self._waiting += 1
        return gathered.join(key, value)

    @property
    def waiting(self) -> int:
        """How many puts are not answered yet."""
        return self._waiting

    def _leave(self, count: int) -> None:
        self._waiting -= count
