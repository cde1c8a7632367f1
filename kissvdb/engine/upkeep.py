"""Upkeep: the tasks that own no data and ask the owners to look after theirs."""

from collections.abc import Callable, Sequence

import trio

from actors import Address
from kissvdb.core.state import Expire
from kissvdb.engine.hub import Hub
from kissvdb.engine.state_shard import StateShard

EXPIRY_TICK_SECONDS = 0.25

Shards = Sequence[tuple[StateShard, Address]]


async def expire_keys(shards: Shards, clock_ms: Callable[[], int]) -> None:
    """Have keys whose time has come deleted, within a second and without any read."""
    while True:
        for shard, address in shards:
            # Looked at first, so that an idle server sends no messages.
            while shard.view.expired(clock_ms(), 1):
                await address.ask(Expire())
        await trio.sleep(EXPIRY_TICK_SECONDS)


async def keep_streams_alive(hub: Callable[[], Hub], heartbeat_secs: int) -> None:
    """Give idle streams something to send before proxies and clients give up on them."""
    while True:
        await trio.sleep(heartbeat_secs)
        hub().beat()
