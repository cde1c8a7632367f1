"""Checkpoints: what the owners have applied becomes durable files, and old log may go."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence

import trio

from actors import ActorCrashed, MailboxClosed
from kissvdb import logs
from kissvdb.engine.asking import unavailable
from kissvdb.engine.log.event_log import EventLog
from kissvdb.engine.model import Model, Target
from kissvdb.errors import Damaged, PersistenceFailed

logger = logging.getLogger("kissvdb.checkpoints")

RECORDS_MAX = 250_000
"""After so many there is a checkpoint, however little time has passed: a start reads what the log
has had since, about a microsecond each."""

LOOK_SECONDS = 0.25
"""Between looks whether there are so many."""

REST_SHARE = 4
"""A checkpoint that takes a second, of many collections say, is followed by so many without one."""


class Checkpoints:
    """Of one database. ``holds`` are offsets after which readers still need the log."""

    def __init__(
        self,
        models: Sequence[Model],
        log: EventLog,
        holds: Sequence[int],
        *,
        interval_secs: float,
    ) -> None:
        self._models = models
        self._log = log
        self._holds = holds
        self._interval_secs = interval_secs

    async def keep(self) -> None:
        """The task that checkpoints now and then."""
        took, since = 0.0, self._log.last_offset
        while True:
            await self._until_due(since, REST_SHARE * took)
            began, since = trio.current_time(), self._log.last_offset
            try:
                for each in self._targets():
                    if each.save_is_due:
                        await _warned(each, each.save)
            except (MailboxClosed, ActorCrashed):
                # The database stops: see `finish`.
                return
            await self.retain()
            took = trio.current_time() - began

    async def _until_due(self, since: int, rest_secs: float) -> None:
        """Return when the time is over, or, after a rest, the log has grown by so much since."""
        with trio.move_on_after(self._interval_secs):
            await trio.sleep(rest_secs)
            while self._log.last_offset - since < RECORDS_MAX:  # noqa: ASYNC110 - it has no event
                await trio.sleep(LOOK_SECONDS)

    async def now(self) -> int:
        """Checkpoint everything; answers the offset up to which all are durable files.

        Raises Stopping and PersistenceFailed.
        """
        for each in await self._settled():
            try:
                await each.save()
            except (MailboxClosed, ActorCrashed) as error:
                if not each.gone:
                    raise unavailable(error) from error
        await self.retain()
        return self._durable_offset()

    async def finish(self) -> None:
        """Store everything as the last thing: it then opens without a replay."""
        try:
            for each in await self._settled():
                await _warned(each, each.finish)
        except (MailboxClosed, ActorCrashed):
            return

    async def retain(self) -> None:
        """Let the log go of what is durable elsewhere, and nobody needs."""
        # What follows a hold is promised to a reader.
        through = min([self._durable_offset(), *(hold - 1 for hold in self._holds)])
        try:
            await self._log.truncate(through)
        except OSError as error:
            # Kept for longer than asked for: nothing is lost, and it is tried again.
            message = "old segments of the log could not be removed"
            logs.event(logger, logging.WARNING, message, error=str(error))

    async def _settled(self) -> list[Target]:
        for model in self._models:
            await model.settle()
        return list(self._targets())

    def _targets(self) -> Iterator[Target]:
        for model in self._models:
            yield from model.targets()

    def _durable_offset(self) -> int:
        offsets = [model.durable_offset for model in self._models]
        return min([offset for offset in offsets if offset is not None], default=0)


async def _warned(target: Target, save: Callable[[], Awaitable[None]]) -> None:
    """What the disk refuses is tried again the next time: the log has it."""
    try:
        await save()
    except (PersistenceFailed, Damaged) as error:
        logs.event(logger, logging.WARNING, error.message, of=target.name)
    except (MailboxClosed, ActorCrashed):
        if not target.gone:
            raise
