"""What the rest of the engine asks of a kind of data: keys, vectors, and whatever comes next.

The database, checkpoints, backup and recovery know models, and no model by its name.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from actors import Address
from kissvdb.storage.backup import Entry

Retain = Callable[[], Awaitable[None]]
"""To be called when more has become durable: old log may go."""


class Target(Protocol):
    """A part of a model that becomes durable files of its own: a table, a collection."""

    @property
    def name(self) -> str:
        """What to call it in a log line."""

    @property
    def gone(self) -> bool:
        """Whether it was deleted meanwhile: it is no loss that it cannot be saved."""

    @property
    def save_is_due(self) -> bool:
        """Whether its last checkpoint is old enough for another."""

    async def save(self) -> None:
        """Make it durable files, as it is now. Raises PersistenceFailed and Damaged, and
        MailboxClosed or ActorCrashed when it stops."""

    async def finish(self) -> None:
        """Store it as the last thing, so that the next start has nothing to replay. Raises what
        `save` does."""


class Model(Protocol):
    """One kind of data, while it runs. What the log is replayed to before that: `recovery.View`."""

    @property
    def commands(self) -> tuple[type, ...]:
        """The types of the commands that change it."""

    def route(self, command: Any) -> tuple[Address, Any]:
        """Who decides a command, and the message that asks for it. Raises NotFound, Damaged."""

    async def settle(self) -> None:
        """Return when all that has begun by now is among the targets, or cannot be."""

    def targets(self) -> Sequence[Target]:
        """What is to be made durable, now."""

    @property
    def durable_offset(self) -> int | None:
        """Up to where its files hold it; None when it has none. Any thread may ask."""

    async def note_files(self, entries: list[Entry]) -> None:
        """Note its files for a backup: open, and each true at an offset of its own. Whoever asks
        closes them, also when this raises."""

    async def look_after(self, retain: Retain) -> None:
        """The task that does what it needs done while it is used."""
