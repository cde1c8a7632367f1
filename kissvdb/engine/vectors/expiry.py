"""Vectors whose time has come: their end is logged, without any read."""

from collections.abc import Callable, Iterable

import trio

from actors import ActorCrashed, Address, MailboxClosed
from kissvdb.engine.owner import Expire
from kissvdb.engine.vectors.collection import Collection
from kissvdb.errors import Damaged, NotFound, PersistenceFailed

EXPIRY_TICK_SECONDS = 0.25


async def expire_vectors(all_: Callable[[], Iterable[tuple[Collection, Address]]]) -> None:
    """Have vectors whose time has come deleted, within a second and without any read."""
    while True:
        for collection, address in list(all_()):
            # Looked at first, so that an idle server sends no messages.
            while collection.expired():
                try:
                    await address.ask(Expire())
                except (NotFound, PersistenceFailed, Damaged, MailboxClosed, ActorCrashed):
                    # This collection's wait for the next round, and no other's.
                    break
        await trio.sleep(EXPIRY_TICK_SECONDS)
