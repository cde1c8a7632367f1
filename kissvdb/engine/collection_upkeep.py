"""Upkeep of a collection: threads do what its owner hands out, while reads and writes go on."""

import logging
import time
from collections.abc import Callable, Iterable

import trio

from actors import ActorCrashed, Address, MailboxClosed, Workers
from kissvdb import logs
from kissvdb.engine.collection import Collection, ExpireVectors, FinishWork, TakeWork
from kissvdb.errors import NotFound, PersistenceFailed

logger = logging.getLogger("kissvdb.collections")

TICK_SECONDS = 0.05
RETRY_SECONDS = 5.0
EXPIRY_TICK_SECONDS = 0.25


async def look_after_all(upkeeps: "trio.MemoryReceiveChannel[CollectionUpkeep]") -> None:
    """Run the upkeep of every collection that comes."""
    async with upkeeps, trio.open_nursery() as nursery:
        async for upkeep in upkeeps:
            nursery.start_soon(upkeep.run)


async def expire_vectors(all_: Callable[[], Iterable[tuple[Collection, Address]]]) -> None:
    """Have vectors whose time has come deleted, within a second and without any read."""
    while True:
        for collection, address in list(all_()):
            # Looked at first, so that an idle server sends no messages.
            while collection.expired():
                try:
                    await address.ask(ExpireVectors())
                except (NotFound, PersistenceFailed, MailboxClosed):
                    break
        await trio.sleep(EXPIRY_TICK_SECONDS)


class CollectionUpkeep:
    """One collection's upkeep. `run` is its task; `vacuum` asks it for more."""

    def __init__(self, collection: Collection, address: Address, workers: Workers) -> None:
        self.working: str | None = None
        """What is being done now."""
        self.done_total = 0
        """Pieces of work that were finished."""
        self._collection = collection
        self._address = address
        self._workers = workers
        self._one_at_a_time = trio.Lock()

    async def run(self) -> None:
        """Do what is due, until the collection is dropped or stops."""
        try:
            while not self._collection.dropped:
                await self._collection.changed()
                while not self._collection.dropped and await self._work_once():
                    pass
                # Writes that come one by one must not each make a round.
                await trio.sleep(TICK_SECONDS)
        except (MailboxClosed, ActorCrashed):
            return

    async def vacuum(self) -> None:
        """Write the live rows anew and drop the dead ones now."""
        await self._work_once(vacuum=True)

    async def _work_once(self, *, vacuum: bool = False) -> bool:
        """Do one piece of work. False when there is none, or it failed."""
        async with self._one_at_a_time:
            work = await self._address.ask(TakeWork(vacuum))
            if work is None:
                return False
            self.working = work.kind
            started = time.perf_counter()
            try:
                await self._workers.run(work.run)
            except (OSError, MemoryError) as error:
                await self._address.ask(FinishWork(work, failed=True))
                name = self._collection.rows.spec.name
                logger.warning("%s of %s failed and is tried again: %s", work.kind, name, error)
                await trio.sleep(RETRY_SECONDS)
                self._collection.look_after()
                return False
            finally:
                self.working = None
            await self._address.ask(FinishWork(work))
            self.done_total += 1
            logs.event(
                logger,
                logging.DEBUG,
                work.kind,
                collection=self._collection.rows.spec.name,
                seconds=round(time.perf_counter() - started, 3),
            )
            return True
