"""The stream: replay joins live, filters, slow readers, gaps, heartbeats, transients."""

from contextlib import aclosing

import attrs
import pytest
import trio

from kissvdb.config import Config, Log, Storage, Stream
from kissvdb.core.events.publishing import Publish, StreamQuery
from kissvdb.engine.opening import open_database
from kissvdb.errors import Overloaded, Stopping
from tests.engine.sse import collect, parse, places

IN_MEMORY = Config(storage=Storage(memory=True))
SMALL_RING = attrs.evolve(IN_MEMORY, stream=Stream(ring_events=16))


def on_disk(tmp_path, **stream):
    return Config(storage=Storage(data_dir=str(tmp_path / "data")), stream=Stream(**stream))


async def test_replay_joins_live_without_loss_or_duplicate(tmp_path):
    config = on_disk(tmp_path, ring_events=16)
    async with open_database(config) as db, trio.open_nursery() as nursery:
        for number in range(100):
            await db.put("a", number)

        async def keep_writing():
            for number in range(100):
                await db.put("b", number)

        nursery.start_soon(keep_writing)
        for since in (0, 50, 95):
            frames = await collect(db, 200 - since, since=since)
            assert places(frames) == list(range(since + 1, 201))


async def test_a_reader_that_stalls_catches_up_from_the_log(tmp_path):
    async with (
        open_database(on_disk(tmp_path, ring_events=16)) as db,
        aclosing(db.subscribe(StreamQuery())) as blobs,
    ):
        await anext(blobs)
        for number in range(200):
            await db.put("a", number)
        frames = []
        while len(frames) < 200:
            frames += parse(await anext(blobs))
        assert places(frames) == list(range(1, 201))


async def test_a_reader_that_stalls_beyond_history_gets_one_exact_gap():
    async with open_database(SMALL_RING) as db:
        async with aclosing(db.subscribe(StreamQuery())) as blobs:
            await anext(blobs)
            await db.put("a", 0)
            assert places(parse(await anext(blobs))) == [1]
            for number in range(1, 40):
                await db.put("a", number)
            frames = parse(await anext(blobs))
            while frames[-1][1] != 40:
                frames += parse(await anext(blobs))
        gap, *rest = frames
        assert gap[0] == "gap"
        assert gap[1] == gap[2]["to_offset"]
        assert gap[2]["from_offset"] == 2
        assert gap[2]["dropped"] == gap[2]["to_offset"] - 1
        assert places(rest) == list(range(gap[2]["to_offset"] + 1, 41))


async def test_a_place_past_the_end_of_the_log_is_answered_with_a_gap():
    async with open_database(IN_MEMORY) as db:
        await db.put("a", 1)
        async with aclosing(db.subscribe(StreamQuery(since=500))) as blobs:
            await anext(blobs)
            gap = parse(await anext(blobs))[0]
            assert gap[0] == "gap"
            assert gap[2]["reason"] == "ahead"
            await db.put("a", 2)
            assert places(parse(await anext(blobs))) == [2]


async def test_a_write_of_which_the_ring_has_not_heard_is_no_gap():
    async with open_database(IN_MEMORY) as db:
        for number in range(20):
            offset = (await db.publish(Publish("log", b"%d" % number))).offset
            # With nothing awaited that the hub could use.
            async with aclosing(db.subscribe(StreamQuery(since=offset))) as blobs:
                await anext(blobs)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(db.put, "b", number)
                    assert places(parse(await anext(blobs))) == [offset + 1]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"types": frozenset({"state_deleted", "log"})}, [3, 5]),
        ({"key": "job:1"}, [1, 3, 4]),
        ({"key_prefix": "job:"}, [1, 2, 3, 4]),
        ({"job_id": "7"}, [2, 4]),
        ({"tag": "red"}, [1, 5]),
        ({"collection": "c"}, []),
        ({"key_prefix": "job:", "types": frozenset({"progress"})}, [4]),
    ],
)
async def test_filters_pass_the_same_on_replay_and_live(query, expected, live):
    async with open_database(IN_MEMORY) as db:
        got = []

        async def read(task_status):
            async with aclosing(db.subscribe(StreamQuery(**query))) as blobs:
                await anext(blobs)
                task_status.started()
                async for blob in blobs:
                    got.extend(parse(blob))

        async def write():
            await db.put("job:1", {"tags": ["red", "blue"]})
            await db.put("job:2", {"job_id": "7"})
            await db.delete("job:1")
            await db.publish(Publish("progress", b'{"job_id":"7"}', key="job:1"))
            await db.publish(Publish("log", b'{"text":"x"}', tags=("red",)))

        async with trio.open_nursery() as nursery:
            if live:
                await nursery.start(read)
                await write()
            else:
                await write()
                await nursery.start(read)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert places(got) == expected


async def test_a_transient_event_is_streamed_without_a_place():
    async with open_database(IN_MEMORY) as db:
        async with aclosing(db.subscribe(StreamQuery())) as blobs:
            await anext(blobs)
            published = await db.publish(Publish("tick", b'{"n":1}', key="k", transient=True))
            assert published.offset is None
            kind, place, event = parse(await anext(blobs))[0]
            assert (kind, place) == ("tick", None)
            assert event["offset"] is None
            assert (event["key"], event["data"]) == ("k", {"n": 1})
        assert db.last_offset == 0


async def test_an_idle_stream_gets_heartbeats():
    config = attrs.evolve(IN_MEMORY, stream=Stream(heartbeat_secs=1))
    async with open_database(config) as db:
        assert await collect(db, 1) == [("", None, "keepalive")]


async def test_the_number_of_streams_is_bounded_and_freed():
    config = attrs.evolve(IN_MEMORY, stream=Stream(clients_max=2))
    async with open_database(config) as db:
        streams = [db.subscribe(StreamQuery()) for _ in range(2)]
        with pytest.raises(Overloaded, match=r"stream\.clients_max"):
            db.subscribe(StreamQuery())
        for stream in streams:
            await anext(stream)
        await streams[0].aclose()
        async with aclosing(db.subscribe(StreamQuery())) as blobs:
            await anext(blobs)
        await streams[1].aclose()


async def test_ended_streams_finish_and_new_ones_are_refused():
    async with open_database(IN_MEMORY) as db:
        stream = db.subscribe(StreamQuery())
        await anext(stream)
        db.end_streams()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        with pytest.raises(Stopping):
            db.subscribe(StreamQuery())


async def test_a_list_and_a_stream_from_its_offset_miss_nothing(tmp_path):
    async with open_database(on_disk(tmp_path)) as db:

        async def keep_writing():
            for number in range(200):
                await db.put(f"k{number % 20}", number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_writing)
            state = {}
            while not state:
                await trio.lowlevel.checkpoint()
                page = await db.list(limit=1000)
                state = {item.key: item.value for item in page.items}
        frames = await collect(db, 200 - page.offset, since=page.offset)
        for _, _, event in frames:
            state[event["data"]["key"]] = b"%d" % event["data"]["value"]
        final = await db.list(limit=1000)
        assert state == {item.key: item.value for item in final.items}


async def test_retention_never_removes_what_the_tables_still_need(tmp_path):
    config = attrs.evolve(on_disk(tmp_path), log=Log(segment_max_bytes=2**20, retention_segments=1))
    value = "x" * 60_000
    async with open_database(config) as db:
        for number in range(40):
            await db.put(f"k{number}", value)
        # No checkpoint yet: the tables are not durable, so the whole log must still be there.
        assert places(await collect(db, 1)) == [1]
