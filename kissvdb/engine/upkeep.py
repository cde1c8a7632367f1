"""Upkeep: the tasks that own no data and ask the owners to look after theirs."""

import logging
from collections.abc import Callable, Sequence

import trio

from actors import Address
from kissvdb import logs
from kissvdb.engine.owner import Expire
from kissvdb.engine.state.shard import StateShard
from kissvdb.engine.stream.hub import Hub
from kissvdb.errors import PersistenceFailed

logger = logging.getLogger("kissvdb.state")

EXPIRY_TICK_SECONDS = 0.25
REFUSED_PAUSE_SECONDS = 5.0

Shards = Sequence[tuple[StateShard, Address]]


async def expire_keys(shards: Shards, clock_ms: Callable[[], int]) -> None:
    """Have keys whose time has come deleted, within a second and without any read."""
    while True:
        for shard, address in shards:
            # Looked at first, so that an idle server sends no messages.
            try:
                while shard.view.expired(clock_ms(), 1):
                    await address.ask(Expire())
            except PersistenceFailed as error:
                # They are hidden from readers already; the disk may have room again later.
                logs.event(logger, logging.WARNING, error.message, trying="to delete expired keys")
                await trio.sleep(REFUSED_PAUSE_SECONDS)
        await trio.sleep(EXPIRY_TICK_SECONDS)


async def keep_streams_alive(hub: Callable[[], Hub], heartbeat_secs: int) -> None:
    """Give idle streams something to send before proxies and clients give up on them."""
    while True:
        await trio.sleep(heartbeat_secs)
        hub().beat()
