"""Followers of the log: told of everything that is committed, and never waited for."""

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import open_supervisor
from kissvdb.config import Config, Storage
from kissvdb.core.events.publishing import Publish, StreamQuery
from kissvdb.engine.followers import Follower, Followers
from kissvdb.engine.log.memory import MemoryLog
from kissvdb.engine.log.writer import Append, LogWriter
from kissvdb.engine.opening import open_database
from kissvdb.engine.stream.hub import Hub
from kissvdb.errors import Stopping
from kissvdb.metrics import Metrics
from kissvdb.records import EventPublished
from tests.engine.sse import parse, places
from tests.patience import PATIENCE_SECS


class Listener(Follower):
    """Keeps what it hears, when ``gate`` lets it."""

    mailbox_size = 3

    def __init__(self, writer):
        super().__init__(lambda: writer.committed_offset, writer.committed_offset)
        self.heard = []
        self.skipped = []
        self.gate = trio.Event()

    async def apply(self, committed):
        await self.gate.wait()
        assert committed.after == self.applied_offset
        assert len(committed.records) == len(committed.payloads)
        self.heard += enumerate(committed.records, committed.first_offset)

    async def catch_up(self, offset):
        assert offset > self.applied_offset
        self.skipped += range(self.applied_offset + 1, offset + 1)


@attrs.frozen
class World:
    followers: Followers
    writer: LogWriter
    log: object
    supervisor: object

    async def listen(self):
        listener = Listener(self.writer)
        address = await self.supervisor.start(listener)
        self.followers.add(address)
        return listener, address


@pytest.fixture
async def world():
    async with open_supervisor() as supervisor:
        followers = Followers()
        writer = LogWriter(MemoryLog(), followers, lambda: 7, Metrics())
        yield World(followers, writer, await supervisor.start(writer), supervisor)


def event(number):
    return EventPublished("log", b"%d" % number)


async def write(world, count):
    """One record at a time, each in an append of its own."""
    with trio.fail_after(PATIENCE_SECS):
        return [await world.log.ask(Append([event(number)])) for number in range(count)]


async def test_a_follower_hears_the_records_themselves_with_their_offsets(world):
    listener, _ = await world.listen()
    listener.gate.set()
    records = [event(number) for number in range(5)]
    assert await world.log.ask(Append(records)) == 1
    await listener.reached(5)
    assert [offset for offset, _ in listener.heard] == [1, 2, 3, 4, 5]
    # Decoded once: by whoever made them.
    assert all(heard is made for (_, heard), made in zip(listener.heard, records, strict=True))


async def test_a_slow_follower_holds_no_writer_and_finds_out_what_it_missed(world):
    slow, _ = await world.listen()
    quick, _ = await world.listen()
    quick.gate.set()
    assert await write(world, 50) == list(range(1, 51))
    await quick.reached(50)
    assert [offset for offset, _ in quick.heard] == list(range(1, 51))
    assert slow.applied_offset == 0
    slow.gate.set()
    # Nobody writes any more: it sees for itself that it is behind.
    await slow.reached(50)
    assert slow.skipped
    assert sorted([offset for offset, _ in slow.heard] + slow.skipped) == list(range(1, 51))
    assert await write(world, 2) == [51, 52]
    await slow.reached(52)
    assert [offset for offset, _ in slow.heard][-2:] == [51, 52]


async def test_who_waits_for_an_offset_is_told_when_it_never_comes(world, nursery):
    listener, address = await world.listen()
    told = trio.Event()

    async def wait():
        with pytest.raises(Stopping):
            await listener.reached(9)
        told.set()

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    await world.supervisor.stop(address)
    with trio.fail_after(PATIENCE_SECS):
        await told.wait()
    # One that has stopped is passed over, and one that is removed hears nothing.
    assert await write(world, 2) == [1, 2]
    world.followers.remove(address)
    assert await write(world, 1) == [3]
    assert listener.heard == []


async def test_a_hub_that_missed_records_makes_its_streams_read_the_log(monkeypatch):
    gate = trio.Event()
    apply = Hub.apply

    async def wait_then_apply(hub, committed):
        await gate.wait()
        await apply(hub, committed)

    monkeypatch.setattr(Hub, "mailbox_size", 3)
    monkeypatch.setattr(Hub, "apply", wait_then_apply)
    async with open_database(Config(storage=Storage(memory=True))) as db:
        first = db.last_offset + 1
        live = db.subscribe(StreamQuery())
        await anext(live)
        async with trio.open_nursery() as nursery:
            frames = []

            async def follow():
                async for blob in live:
                    frames.extend(parse(blob))
                    if frames[-1][1] == first + 50:
                        return

            nursery.start_soon(follow)
            await wait_all_tasks_blocked()
            with trio.fail_after(PATIENCE_SECS):
                for number in range(50):
                    await db.publish(Publish("log", b"%d" % number))
                gate.set()
                await db.hub.reached(first + 49)
                assert db.hub.ring.next_place < 50
                await db.publish(Publish("log", b"50"))
        assert places(frames) == list(range(first, first + 51))
        await live.aclose()
