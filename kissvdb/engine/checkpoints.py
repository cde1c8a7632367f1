"""Checkpoints: what the owners have applied becomes durable files, and old log may go."""

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from actors import ActorCrashed, MailboxClosed, Workers
from kissvdb import logs
from kissvdb.config import Config
from kissvdb.engine.asking import unavailable
from kissvdb.engine.collections import OpenCollection
from kissvdb.engine.state_upkeep import StateUpkeep
from kissvdb.engine.store import Store
from kissvdb.engine.upkeep import Shards
from kissvdb.errors import Damaged, PersistenceFailed

logger = logging.getLogger("kissvdb.checkpoints")


class Checkpoints:
    """Of one database. ``holds`` are offsets after which readers still need the log."""

    def __init__(
        self,
        config: Config,
        store: Store,
        workers: Workers,
        shards: Shards,
        collections: Callable[[], Sequence[OpenCollection]],
        holds: Sequence[int],
    ) -> None:
        self._config = config
        self._store = store
        self._tables = [
            StateUpkeep(
                shard,
                workers,
                wal_pages_max=config.state.checkpoint_pages,
                then=self._retain,
            )
            for shard, _ in shards
        ]
        self._collections = collections
        self._holds = holds

    async def keep(self) -> None:
        """The task that checkpoints now and then, and what has grown."""
        async with trio.open_nursery() as tasks:
            for each in self._tables:
                tasks.start_soon(each.run)
            while True:
                await trio.sleep(self._config.storage.snapshot_interval_secs)
                for each in self._tables:
                    await _warned(each.checkpoint)
                try:
                    await self._save_collections(lambda each: each.upkeep.save_is_due)
                except (MailboxClosed, ActorCrashed):
                    # The database stops: see `finish`.
                    return
                await self._retain()

    async def now(self) -> int:
        """Checkpoint everything; answers the offset up to which all are durable files.

        Raises Stopping and PersistenceFailed.
        """
        for each in self._collections():
            try:
                await each.upkeep.save()
            except (MailboxClosed, ActorCrashed) as error:
                if not each.actor.dropped:
                    raise unavailable(error) from error
        offsets = [await each.checkpoint() for each in self._tables]
        await self._retain()
        return min([*offsets, *self._store.collections.durable_offsets], default=0)

    async def finish(self) -> None:
        """Store everything as the last thing: it then opens without a replay."""
        for each in self._tables:
            await _warned(each.store)
            each.shard.view.store_no_more()
        try:
            await self._save_collections(lambda each: True)
        except (MailboxClosed, ActorCrashed):
            return

    async def _save_collections(self, chosen: Callable[[OpenCollection], bool]) -> None:
        for each in self._collections():
            if chosen(each):
                try:
                    await _warned(each.upkeep.save, collection=each.name)
                except (MailboxClosed, ActorCrashed):
                    if not each.actor.dropped:
                        raise

    async def _retain(self) -> None:
        tables = [each.durable_offset for each in self._tables]
        durable = min([*tables, *self._store.collections.durable_offsets], default=0)
        # What follows a hold is promised to a reader.
        through = min([durable, *(hold - 1 for hold in self._holds)])
        try:
            await self._store.log.truncate(through)
        except OSError as error:
            # Kept for longer than asked for: nothing is lost, and it is tried again.
            message = "old segments of the log could not be removed"
            logs.event(logger, logging.WARNING, message, error=str(error))


async def _warned(save: Callable[[], Awaitable[object]], **about: str) -> None:
    """What the disk refuses is tried again the next time: the log has it."""
    try:
        await save()
    except (PersistenceFailed, Damaged) as error:
        logs.event(logger, logging.WARNING, error.message, **about)
