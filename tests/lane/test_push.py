"""The pusher: many live subscriptions served by one task."""

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.config import Stream
from kissvdb.core.events.publishing import Publish, StreamQuery
from kissvdb.core.state.rules import Put
from kissvdb.engine.opening import open_database
from kissvdb.engine.stream import push
from kissvdb.engine.stream.push import Pushers
from tests.lane.peers import IN_MEMORY, until
from tests.patience import PATIENCE_SECS

SMALL_RING = attrs.evolve(IN_MEMORY, stream=Stream(ring_events=16))


class Collector:
    """A sink that keeps what it is given; ``room`` False makes it as full as a stalled socket."""

    def __init__(self):
        self.blobs = []
        self.room = True
        self.behind = self.ended = False

    def push(self, blob):
        self.blobs.append(blob)
        return self.room

    def fall_behind(self):
        self.behind = True

    def end(self):
        self.ended = True

    async def send(self, blob):
        self.blobs.append(blob)

    @property
    def text(self):
        return b"".join(self.blobs)


async def live(db, pushers, **query):
    """A subscription that has caught up and joined, with its sink."""
    sink = Collector()
    subscription = db.subscribe(StreamQuery(**query))
    assert await subscription.catch_up(sink.send)
    assert subscription.is_live
    pushers.of(subscription).join(subscription, sink)
    return subscription, sink


@pytest.fixture
async def db():
    async with open_database(SMALL_RING) as database:
        yield database


async def test_all_who_wait_for_the_same_get_the_same_blob(db, nursery):
    pushers = Pushers(nursery)
    sinks = [(await live(db, pushers))[1] for _ in range(3)]
    await db.put("a", 1)
    await until(lambda: all(b'"key":"a"' in sink.text for sink in sinks))
    first = sinks[0].blobs[-1]
    assert all(sink.blobs[-1] is first for sink in sinks)
    nursery.cancel_scope.cancel()


async def test_catching_up_and_joining_loses_and_repeats_nothing(db, nursery):
    pushers = Pushers(nursery)
    await db.put("before", 1)
    _, sink = await live(db, pushers)
    await db.put("after", 2)
    await until(lambda: b"id: 2\n" in sink.text)
    assert [sink.text.count(b"id: %d\n" % n) for n in (1, 2)] == [1, 1]
    nursery.cancel_scope.cancel()


async def test_a_full_sink_is_left_alone_until_it_joins_again(db, nursery):
    pushers = Pushers(nursery)
    subscription, sink = await live(db, pushers)
    sink.room = False
    await db.put("a", 1)
    await until(lambda: pushers.sink_count == 0)
    await db.put("b", 2)
    await wait_all_tasks_blocked()
    assert b'"key":"b"' not in sink.text
    assert await subscription.catch_up(sink.send)
    assert [sink.text.count(b"id: %d\n" % n) for n in (1, 2)] == [1, 1]
    nursery.cancel_scope.cancel()


async def test_a_sink_whose_place_left_the_ring_is_told(db, nursery):
    pushers = Pushers(nursery)
    _, sink = await live(db, pushers)
    # Written together they are announced together: no turn for the pusher in between.
    await db.write_many([Put(f"k{n}", b"1") for n in range(20)])
    await until(lambda: sink.behind)
    assert pushers.sink_count == 0
    nursery.cancel_scope.cancel()


async def test_filtered_events_are_not_pushed(db, nursery):
    pushers = Pushers(nursery)
    _, sink = await live(db, pushers, key="a")
    await db.put("b", 1)
    await db.put("a", 2)
    await until(lambda: b'"key":"a"' in sink.text)
    assert b'"key":"b"' not in sink.text
    nursery.cancel_scope.cancel()


async def test_rounds_in_turns_lose_nothing(nursery, monkeypatch):
    # As if joining the blob of each took too long for one turn.
    monkeypatch.setattr(push, "TURN_SECS_MAX", 0.0)
    async with open_database(IN_MEMORY) as db:
        pushers = Pushers(nursery)
        joined = [await live(db, pushers, types=frozenset({"log", f"x{n}"})) for n in range(5)]
        *sinks, leaver = [sink for _, sink in joined]
        first = db.last_offset + 1

        async def publish(name):
            for number in range(50):
                await db.publish(Publish("log", b'"%b%d"' % (name, number)))

        async with trio.open_nursery() as writing:
            for name in (b"a", b"b", b"c"):
                writing.start_soon(publish, name)
            await until(lambda: db.last_offset > first + 20)
            pushers.of(joined[4][0]).leave(joined[4][0])
            left = leaver.text
        for sink in sinks:
            await until(lambda sink=sink: b"id: %d\n" % (first + 149) in sink.text)
            ids = [int(line[4:]) for line in sink.text.split(b"\n") if line.startswith(b"id: ")]
            assert ids == list(range(first, first + 150))
        assert leaver.text == left
        nursery.cancel_scope.cancel()


async def test_the_end_of_the_streams_ends_every_sink(db, nursery):
    pushers = Pushers(nursery)
    sinks = [(await live(db, pushers))[1] for _ in range(2)]
    db.end_streams()
    await until(lambda: all(sink.ended for sink in sinks))
    assert pushers.sink_count == 0


async def test_a_beat_reaches_the_idle_and_only_once(db, nursery):
    pushers = Pushers(nursery)
    _, sink = await live(db, pushers)
    await wait_all_tasks_blocked()
    db.hub.beat()
    await until(lambda: b"keepalive" in sink.text)
    await wait_all_tasks_blocked()
    assert sink.text.count(b"keepalive") == 1
    nursery.cancel_scope.cancel()


async def test_a_subscription_after_the_end_does_not_go_live(db, nursery):
    sink = Collector()
    subscription = db.subscribe(StreamQuery())
    db.end_streams()
    assert not await subscription.catch_up(sink.send)
    with trio.fail_after(PATIENCE_SECS):
        await subscription.aclose()
