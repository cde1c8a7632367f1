"""Checkpoints: what the owners have applied becomes durable files, and old log may go."""

from collections.abc import Callable, Sequence
from functools import partial

from actors import ActorCrashed, MailboxClosed, Workers, WorkerThread
from kissvdb.config import Config
from kissvdb.engine import upkeep
from kissvdb.engine.asking import unavailable
from kissvdb.engine.collections import OpenCollection
from kissvdb.engine.store import Store
from kissvdb.engine.upkeep import Shards


class Checkpoints:
    """Of one database. ``holds`` are offsets after which readers still need the log."""

    def __init__(
        self,
        config: Config,
        store: Store,
        log_thread: WorkerThread,
        workers: Workers,
        shards: Shards,
        collections: Callable[[], Sequence[OpenCollection]],
        holds: Sequence[int],
    ) -> None:
        self._config = config
        self._store = store
        self._log_thread = log_thread
        self._workers = workers
        self._shards = shards
        self._collections = collections
        self._holds = holds

    async def keep(self) -> None:
        """The task that checkpoints now and then, and what has grown."""
        await upkeep.keep_checkpoints(
            self._shards,
            self._workers,
            pages_max=self._config.state.checkpoint_pages,
            interval_secs=self._config.storage.snapshot_interval_secs,
            then=self._retain,
        )

    async def now(self) -> int:
        """Checkpoint everything; answers the offset up to which all are durable files.

        Raises Stopping.
        """
        try:
            offsets = [
                await upkeep.checkpoint(shard, address, self._workers)
                for shard, address in self._shards
            ]
        except (MailboxClosed, ActorCrashed) as error:
            raise unavailable(error) from error
        await self._retain()
        return min(offsets)

    async def _retain(self) -> None:
        durable = min(shard.durable_offset for shard, _ in self._shards)
        # In the writer's thread: the log has one writer, and removing is writing.
        await self._log_thread.run(
            partial(
                self._store.log.retain,
                applied_offset=durable,
                segments_max=self._config.log.retention_segments,
                hold_offset=min(self._holds, default=None),
            )
        )
