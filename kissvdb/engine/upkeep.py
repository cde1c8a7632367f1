"""Upkeep: the tasks that own no data and ask the owners to look after theirs."""

from collections.abc import Awaitable, Callable, Sequence

import trio

from actors import Address, Workers
from kissvdb.core.state import Expire
from kissvdb.engine.hub import Hub
from kissvdb.engine.state_shard import FinishCheckpoint, StateShard
from kissvdb.storage import state_table

EXPIRY_TICK_SECONDS = 0.25
CHECKPOINT_TICK_SECONDS = 0.1

Shards = Sequence[tuple[StateShard, Address]]


async def expire_keys(shards: Shards, clock_ms: Callable[[], int]) -> None:
    """Have keys whose time has come deleted, within a second and without any read."""
    while True:
        for shard, address in shards:
            # Looked at first, so that an idle server sends no messages.
            while shard.table.expired(clock_ms(), 1):
                await address.ask(Expire())
        await trio.sleep(EXPIRY_TICK_SECONDS)


async def keep_streams_alive(hub: Callable[[], Hub], heartbeat_secs: int) -> None:
    """Give idle streams something to send before proxies and clients give up on them."""
    while True:
        await trio.sleep(heartbeat_secs)
        hub().beat()


async def keep_checkpoints(
    shards: Shards,
    workers: Workers,
    *,
    pages_max: int,
    interval_secs: int,
    then: Callable[[], Awaitable[None]],
) -> None:
    """Checkpoint a table when its WAL has grown, and every table now and then.

    ``then`` runs after a round in which something became durable: old log segments may go.
    """
    due_at = trio.current_time() + interval_secs
    while True:
        await trio.sleep(CHECKPOINT_TICK_SECONDS)
        due = trio.current_time() >= due_at
        moved = False
        for shard, address in shards:
            if due or shard.table.wal_pages > pages_max:
                await checkpoint(shard, address, workers)
                moved = True
        if due:
            due_at = trio.current_time() + interval_secs
        if moved:
            await then()


async def checkpoint(shard: StateShard, address: Address, workers: Workers) -> int:
    """Checkpoint one shard; answers the offset its table now holds durably.

    Most pages are moved beside the running owner; it is only held for the rest.
    """
    if shard.path is not None and shard.table.wal_pages:
        await workers.run(state_table.checkpoint, shard.path)
    offset: int = await address.ask(FinishCheckpoint())
    return offset
