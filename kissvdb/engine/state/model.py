"""Keys and their values: the model of state, over one owner or several."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio

from actors import Address, Reply
from kissvdb.config import Config
from kissvdb.core.events.publishing import Publish
from kissvdb.core.state.put_many import DocumentNames, PutMany
from kissvdb.core.state.rules import (
    Answer,
    Command,
    Configure,
    Delete,
    Item,
    Page,
    Patch,
    Put,
    Require,
)
from kissvdb.engine import upkeep
from kissvdb.engine.asking import submit
from kissvdb.engine.model import Retain
from kissvdb.engine.owner import Many
from kissvdb.engine.recovery import shard_of
from kissvdb.engine.state.gathered import Gathering
from kissvdb.engine.state.shard import StateShard, live
from kissvdb.engine.state.upkeep import StateUpkeep
from kissvdb.engine.state.view import StateView
from kissvdb.engine.threads import Threads
from kissvdb.engine.upkeep import Shards
from kissvdb.metrics import (
    MAILBOX_DEPTH,
    STATE_CACHE_BYTES,
    STATE_COLD_READS,
    STATE_TABLE_WRITTEN_BYTES,
    STATE_VALUE_BYTES,
    STATE_WRITE_AMPLIFICATION,
    VIEW_APPLIED_OFFSET,
    Metrics,
)
from kissvdb.records import BatchCommitted, Operation, SqlExecuted
from kissvdb.storage.backup import Entry
from kissvdb.storage.data_dir import DataDir
from kissvdb.storage.state import table as state_table


class State:
    """All keys. Reads never wait."""

    commands = (Put, Patch, Delete, Publish, Require, Configure)

    def __init__(
        self,
        shards: Shards,
        directory: DataDir | None,
        threads: Threads,
        config: Config,
        clock_ms: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        self._shards = shards
        self.shards = [shard for shard, _ in shards]
        self._directory = directory
        self._threads = threads
        self._clock_ms = clock_ms
        # Which of several a key falls to would have to be asked for each.
        self._gathering = Gathering(shards[0][1]) if len(shards) == 1 else None
        self._upkeeps = [
            StateUpkeep(shard, threads.commits, wal_pages_max=config.state.checkpoint_pages)
            for shard, _ in shards
        ]
        for shard, address in shards:
            metrics.watch(MAILBOX_DEPTH, self._depth_of(address), address.name)
            metrics.watch(VIEW_APPLIED_OFFSET, _offset_of(shard), shard.name)
            for gauge, read in _gauges_of(shard.view).items():
                metrics.watch(gauge, read, shard.name)

    def get(self, key: str) -> Item | None:
        """The key as of the last answered write; None when absent or expired."""
        shards = self._shards
        place = 0 if len(shards) == 1 else shard_of(key, len(shards))
        item = shards[place][0].view.get(key)
        if item is None or item.expires_at_ms is None:
            # Most keys have no end, and the clock costs as much as the look.
            return item
        return live(item, self._clock_ms())

    def stored(self, key: str) -> Item | None:
        """The key as it was written last, expired or not."""
        return self._shard_of(key).view.get(key)

    def stored_page(
        self, prefix: str, limit: int, after: str | None
    ) -> tuple[list[Item], str | None]:
        """Keys with this prefix in byte order, expired or not; and the last key up to which these
        are all, None when there are no more."""
        items: list[Item] = []
        horizons: list[str] = []
        for shard, _ in self._shards:
            found, known = shard.view.page(prefix, after, limit, 0)
            items.extend(found)
            if known is not None:
                horizons.append(known)
        horizon = min(horizons, default=None)
        return [each for each in items if horizon is None or each.key <= horizon], horizon

    def page(self, prefix: str, limit: int, after: str | None, shown: Sequence[Item]) -> Page:
        """Live keys with this prefix in byte order, from after ``after`` on; among them the keys
        ``shown``, which are stored nowhere, unless one is. It may have fewer than ``limit``, or
        none, and a cursor: where many keys are gone."""
        now_ms = self._clock_ms()
        items: list[Item] = []
        horizons: list[str] = []
        for shard, _ in self._shards:
            found, known = shard.view.page(prefix, after, limit, now_ms)
            items.extend(found)
            if known is not None:
                horizons.append(known)
        if shown:
            stored = {item.key for item in items}
            items.extend(
                item
                for item in shown
                if item.key.startswith(prefix)
                and (after is None or item.key > after)
                and item.key not in stored
            )
        if horizons:
            # Beyond what a shard that has more was asked for, it is not known what comes next.
            items = [item for item in items if item.key <= min(horizons)]
        # Code point order is the byte order of UTF-8.
        items.sort(key=lambda item: item.key)
        cursor = min(horizons, default=None)
        if len(items) > limit:
            items = items[: max(limit, 0)]
            cursor = items[-1].key if items else None
        return Page(items, self.applied_offset, cursor)

    async def next_page(
        self, prefix: str, limit: int, after: str | None, shown: Sequence[Item]
    ) -> Page:
        """As `page`, and there are some or no more. Where many keys are gone others have their
        turn: what changes meanwhile is behind the offset that the page is true at."""
        await self.get_ready()
        page = self.page(prefix, limit, after, shown)
        offset = page.offset
        while page.cursor is not None and not page.items:
            await trio.lowlevel.checkpoint()
            await self.get_ready()
            page = self.page(prefix, limit, page.cursor, shown)
        return attrs.evolve(page, offset=offset)

    async def holds(self, prefix: str) -> bool:
        """Whether there is a live key with this prefix, but for those written since it was asked.
        Where many keys are gone others have their turn."""
        return bool((await self.next_page(prefix, 1, None, ())).items)

    async def ask(self, command: Command) -> Answer:
        """Write, for an owner: it waits for room in the shard's mailbox."""
        owner, message = self.route(command)
        answer: Answer = await owner.ask(message)
        return answer

    def note(self, offset: int, mark: BatchCommitted | SqlExecuted) -> None:
        """Remember what has an ``op_id`` and is in the log. Its `keeper` is held."""
        assert mark.op_id is not None
        self._shard_of(mark.op_id).view.apply(offset, [mark])

    def operation(self, op_id: str) -> Operation | None:
        """What a former batch with this ``op_id`` did."""
        return self._shard_of(op_id).view.operation(op_id)

    def keeper(self, op_id: str) -> Address:
        """Who remembers a batch with this ``op_id``."""
        return self._shards[shard_of(op_id, len(self._shards))][1]

    def _depth_of(self, address: Address) -> Callable[[], float]:
        """What waits in a shard's mailbox, each of the puts that are gathered there counted."""
        gathering = self._gathering
        if gathering is None:
            return lambda: address.statistics().depth
        return lambda: max(address.statistics().depth, gathering.waiting)

    @property
    def applied_offset(self) -> int:
        """Up to here reads see everything."""
        return min(shard.true_offset for shard, _ in self._shards)

    @property
    def owners(self) -> list[Address]:
        """Where to ask all the shards."""
        return [address for _, address in self._shards]

    def _shard_of(self, name: str) -> StateShard:
        return self._shards[shard_of(name, len(self._shards))][0]

    async def ask_each(self, commands: Sequence[Command]) -> list[Any]:
        """Write several, each for itself: answers and refusals, in order. Waits for room."""
        places: dict[Address, list[int]] = {}
        for place, command in enumerate(commands):
            places.setdefault(self.route(command)[0], []).append(place)
        answers: list[Any] = [None] * len(commands)
        for owner, mine in places.items():
            found = await owner.ask(Many(tuple([commands[place] for place in mine])))
            for place, answer in zip(mine, found, strict=True):
                answers[place] = answer
        return answers

    async def get_ready(self) -> None:
        """Do in a thread what the next page would hold up everybody with."""
        for shard, _ in self._shards:
            if shard.view.unsorted():
                await self._threads.commits.run(shard.view.sort)

    def put_many(
        self, keys: Sequence[str], values: Sequence[bytes], documents: DocumentNames | None
    ) -> Reply | None:
        """Begin a `PutMany`; None where the keys may be of several owners: put them one by one.
        Raises Overloaded and Stopping."""
        if len(self._shards) > 1:
            return None
        return submit(self._shards[0][1], PutMany(keys, values, documents))

    def put_soon(self, key: str, value: bytes) -> Reply | None:
        """Begin to put one key, together with those of others; None: `submit` a Put instead. See
        `Gathering.put`."""
        return None if self._gathering is None else self._gathering.put(key, value)

    # As `model.Model`

    def route(self, command: Any) -> tuple[Address, Any]:
        shards = self._shards
        if len(shards) == 1:
            return shards[0][1], command
        key = (command.op_id or "") if isinstance(command, Publish) else command.key
        return shards[shard_of(key, len(shards))][1], command

    async def settle(self) -> None:
        """Shards stay."""

    def targets(self) -> Sequence[StateUpkeep]:
        return self._upkeeps

    @property
    def durable_offset(self) -> int:
        return min(each.durable_offset for each in self._upkeeps)

    async def note_files(self, entries: list[Entry]) -> None:
        await self._threads.upkeep.run(self._copy_tables, entries)

    def _copy_tables(self, entries: list[Entry]) -> None:
        """Note consistent copies of the tables, in files that are gone once they are closed."""
        assert self._directory is not None
        paths = [shard.view.table.path for shard, _ in self._shards]
        with self._directory.scratch(path.name for path in paths if path) as scratch:
            for path in paths:
                assert path is not None
                copy = scratch / path.name
                state_table.backup(path, copy)
                entries.append(Entry(path.name, copy.stat().st_size, copy.open("rb")))

    async def look_after(self, retain: Retain) -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(upkeep.expire_keys, self._shards, self._clock_ms)
            for each in self._upkeeps:
                tasks.start_soon(each.run, retain)


def _gauges_of(view: StateView) -> dict[str, Callable[[], float]]:
    writer = view.table.writer
    return {
        STATE_CACHE_BYTES: lambda: view.hot_bytes,
        STATE_COLD_READS: lambda: view.cold_reads,
        STATE_VALUE_BYTES: lambda: view.written_bytes,
        STATE_TABLE_WRITTEN_BYTES: lambda: writer.written_bytes,
        STATE_WRITE_AMPLIFICATION: lambda: writer.written_bytes / max(1, view.written_bytes),
    }


def _offset_of(shard: StateShard) -> Callable[[], float]:
    return lambda: shard.true_offset
