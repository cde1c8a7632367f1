"""Opening a database: storage, actors and upkeep, in the order in which they need each other."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio

from actors import Address, Restart, open_supervisor
from kissvdb.config import Config
from kissvdb.engine import upkeep
from kissvdb.engine.clock import Clock, SteadyClock
from kissvdb.engine.collection import Surroundings
from kissvdb.engine.collections import Collections
from kissvdb.engine.database import Database
from kissvdb.engine.followers import Followers
from kissvdb.engine.log_writer import LogWriter
from kissvdb.engine.recovery import Progress
from kissvdb.engine.state_shard import StateShard
from kissvdb.engine.state_view import StateView
from kissvdb.engine.store import Store
from kissvdb.metrics import Metrics


@asynccontextmanager
async def open_database(
    config: Config | None = None,
    *,
    metrics: Metrics | None = None,
    clock_ms: Clock | None = None,
    progress: Progress = lambda what, done, total: None,
    memory_floor: int = 0,
) -> AsyncIterator["Database"]:
    """Open (or create) the database and run it for the length of the block.

    Recovers first: on entry every acknowledged write is there. ``memory_floor``: in memory the
    first offset is above it. ``clock_ms``: another clock than a `SteadyClock`. Raises
    DirectoryInUse, Damaged and ConfigError. The crash of an owner of data ends the block in an
    ExceptionGroup.
    """
    config = Config() if config is None else config
    metrics = Metrics() if metrics is None else metrics
    clock_ms = SteadyClock() if clock_ms is None else clock_ms
    async with AsyncExitStack() as stack:
        store = await trio.to_thread.run_sync(partial(Store, config, progress, memory_floor))
        stack.callback(store.close)
        await stack.enter_async_context(store.log)
        supervisor = await stack.enter_async_context(open_supervisor())
        database = Database(config, store, metrics, clock_ms)
        hub = await supervisor.start(database._make_hub, Restart.ON_CRASH)
        followers = Followers()
        followers.add(hub)
        writer = LogWriter(store.log, followers, _log_clock(clock_ms), metrics)
        log = await supervisor.start(writer)
        shards: list[tuple[StateShard, Address]] = []
        for number, table in enumerate(store.tables):
            shard = StateShard(
                StateView(table),
                log,
                lambda: writer.committed_offset,
                clock_ms,
                metrics,
                json_bytes_max=config.limits.json_bytes_max,
                mailbox_size=config.state.mailbox_size,
                name=f"state-{number}",
            )
            shards.append((shard, await supervisor.start(shard)))
        database._start(hub, writer, log, shards)
        registry = Collections(
            store.collections,
            supervisor,
            Surroundings(log, lambda: writer.committed_offset, clock_ms, database.threads, metrics),
            database._stored,
            database._ask,
            config,
        )
        database.vectors.start(await supervisor.start(registry), registry)
        database.ready = True
        async with trio.open_nursery() as tasks:
            if isinstance(clock_ms, SteadyClock):
                tasks.start_soon(clock_ms.watch)
            tasks.start_soon(registry.look_after)
            tasks.start_soon(upkeep.expire_keys, shards, clock_ms)
            tasks.start_soon(
                upkeep.keep_streams_alive, lambda: database.hub, config.stream.heartbeat_secs
            )
            tasks.start_soon(database._checkpoints.keep)
            yield database
            database._stop()
            await database._checkpoints.finish()
            tasks.cancel_scope.cancel()


def _log_clock(clock_ms: Clock) -> Clock:
    """What records are dated by: readers compare that with their own clocks."""
    return clock_ms.wall_ms if isinstance(clock_ms, SteadyClock) else clock_ms
