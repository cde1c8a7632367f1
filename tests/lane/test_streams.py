"""SSE over the lane: the same frames as everywhere, pushed."""

import json

import attrs
import pytest
import trio

from kissvdb.config import Stream
from tests.lane.peers import IN_MEMORY, Gone, open_lane, put, request, until
from tests.patience import PATIENCE_SECS

STREAM = request("GET", "/v1/stream")


def pushed(served):
    """Streams that the pusher serves now."""
    return served.lane.statistics().pushed


def places(text):
    return [int(line[4:]) for line in text.split(b"\n") if line.startswith(b"id: ")]


async def write(served, key, value):
    return await served.database.put(key, value)


async def test_a_stream_starts_at_once_replays_and_goes_on_live(lane):
    await write(lane, "old", 1)
    async with lane.connect() as peer:
        await peer.send(STREAM)
        head = await peer.stream_head()
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert "content-type: text/event-stream\r\n" in head
        assert "transfer-encoding: chunked\r\n" in head
        assert "cache-control: no-cache\r\n" in head
        assert await peer.chunk() == b": ok\n\n"
        assert b'"key":"old"' in await peer.sse(b"\n\n")
        await until(lambda: pushed(lane) == 1)
        await write(lane, "new", 2)
        assert b"id: 2\n" in await peer.sse(b"\n\n")


async def test_http_1_0_gets_the_stream_without_chunks(lane):
    await write(lane, "a", 1)
    async with lane.connect() as peer:
        await peer.send(b"GET /v1/stream HTTP/1.0\r\n\r\n")
        assert "transfer-encoding" not in await peer.stream_head()
        await peer._until(b'"key":"a"')
        await until(lambda: pushed(lane) == 1)
        await write(lane, "b", 1)
        await peer._until(b'"key":"b"')


async def test_head_of_a_stream_has_no_body_and_leaves_no_client(lane):
    async with lane.connect() as peer:
        await peer.send(STREAM.replace(b"GET", b"HEAD", 1) + put("a", 1))
        assert "text/event-stream" in await peer.stream_head()
        assert (await peer.answer()).status == 200
    assert lane.database.hub.client_count == 0


async def test_a_stream_may_follow_other_requests_on_its_connection(lane):
    async with lane.connect() as peer:
        await peer.send(put("a", 1) + STREAM)
        assert (await peer.answer()).status == 200
        await peer.stream_head()
        assert b"id: 1\n" in await peer.sse(b'"key":"a"')


async def test_every_client_gets_every_event_in_order(lane, nursery):
    count, clients = 300, 20
    complete = trio.Event()
    seen = []

    async def follow(key_prefix):
        async with lane.connect() as peer:
            await peer.send(request("GET", f"/v1/stream?key_prefix={key_prefix}"))
            await peer.stream_head()
            text = await peer.sse(b'"value":"last"')
            seen.append(places(text))
            if len(seen) == clients:
                complete.set()

    for n in range(clients):
        nursery.start_soon(follow, "" if n % 2 else "k")
    await until(lambda: pushed(lane) == clients)
    for n in range(count):
        await write(lane, f"k{n}", n)
    await write(lane, "k-last", "last")
    with trio.fail_after(PATIENCE_SECS):
        await complete.wait()
    assert seen == [list(range(1, count + 2))] * clients


async def test_filters_keep_their_streams_apart(lane):
    async with lane.connect() as a, lane.connect() as b:
        await a.send(request("GET", "/v1/stream?key=a"))
        await b.send(request("GET", "/v1/stream?key=b"))
        await until(lambda: pushed(lane) == 2)
        await write(lane, "a", 1)
        await write(lane, "b", 2)
        await a.stream_head()
        await b.stream_head()
        assert b'"key":"b"' not in await a.sse(b'"key":"a"')
        assert b'"key":"a"' not in await b.sse(b'"key":"b"')


async def test_transient_events_are_pushed_once(lane):
    event = b'{"type":"log","data":{"n":%d},"transient":true}'
    async with lane.connect() as peer, lane.connect() as writer:
        await peer.send(STREAM)
        await until(lambda: pushed(lane) == 1)
        for n in range(5):
            await writer.send(request("POST", "/v1/events", event % n))
            assert (await writer.answer()).json() == {"offset": None}
        await peer.stream_head()
        text = await peer.sse(b'{"n":4}')
        assert [text.count(b'{"n":%d}' % n) for n in range(5)] == [1] * 5


async def test_a_slow_client_leaves_the_push_and_loses_nothing():
    value, count = "x" * 50_000, 200
    async with open_lane() as served, served.connect(receive_buffer_bytes=4096) as slow:
        await slow.send(STREAM)
        await until(lambda: pushed(served) == 1)
        for n in range(count):
            await write(served, f"k{n}", value)
        await until(lambda: pushed(served) == 0)
        await slow.stream_head()
        text = await slow.sse(b'"key":"k%d"' % (count - 1))
        assert places(text) == list(range(1, count + 1))
        await until(lambda: pushed(served) == 1)


async def test_slow_clients_cost_the_others_nothing():
    value, count = "x" * 50_000, 200
    async with open_lane() as served, served.connect(receive_buffer_bytes=4096) as slow:
        await slow.send(STREAM)
        async with served.connect() as quick:
            await quick.send(STREAM)
            await until(lambda: pushed(served) == 2)
            await quick.stream_head()
            for n in range(count):
                await write(served, f"k{n}", value)
                await quick.sse(b'"key":"k%d"' % n)
            assert pushed(served) == 1


async def test_a_client_too_slow_for_the_ring_is_told_exactly_what_it_missed():
    config = attrs.evolve(IN_MEMORY, stream=Stream(ring_events=16, ring_bytes_max=1_000_000))
    value, count = "x" * 50_000, 300
    async with open_lane(config) as served, served.connect(receive_buffer_bytes=4096) as slow:
        await slow.send(STREAM)
        await until(lambda: pushed(served) == 1)
        for n in range(count):
            await write(served, f"k{n}", value)
        await slow.stream_head()
        text = await slow.sse(b'"key":"k%d"' % (count - 1))
    assert b"event: gap\n" in text
    told = []
    for frame in text.split(b"\n\n"):
        if frame.startswith(b"event: gap\n"):
            gap = json.loads(frame.partition(b"data: ")[2])
            assert places(frame) == [gap["to_offset"]]
            told += range(gap["from_offset"], gap["to_offset"] + 1)
        else:
            told += places(frame)
    assert told == list(range(1, count + 1))


async def test_idle_streams_get_heartbeats(lane):
    async with lane.connect() as peer:
        await peer.send(STREAM)
        await until(lambda: pushed(lane) == 1)
        lane.database.hub.beat()
        await peer.stream_head()
        await peer.sse(b": keepalive\n\n")


async def test_streams_over_the_limit_are_refused_and_free_again():
    config = attrs.evolve(IN_MEMORY, stream=Stream(clients_max=1))
    async with open_lane(config) as served:
        async with served.connect() as first, served.connect() as second:
            await first.send(STREAM)
            await first.stream_head()
            await second.send(STREAM)
            answer = await second.answer()
            assert (answer.status, answer.error) == (503, "overloaded")
            assert "retry-after" in answer.headers
        await until(lambda: served.database.hub.client_count == 0)
        async with served.connect() as third:
            await third.send(STREAM)
            assert "200" in await third.stream_head()


@pytest.mark.parametrize("leave", ["reset", "half_close"])
async def test_a_client_that_leaves_its_stream_is_forgotten(lane, leave):
    async with lane.connect() as peer:
        await peer.send(STREAM)
        await until(lambda: pushed(lane) == 1)
        getattr(peer, leave)()
        await until(lambda: lane.database.hub.client_count == 0)
        await until(lambda: lane.lane.statistics().connections == 0)
        assert pushed(lane) == 0


async def test_what_a_client_says_during_its_stream_is_dropped(lane):
    async with lane.connect() as peer:
        await peer.send(STREAM)
        await until(lambda: pushed(lane) == 1)
        await peer.send(put("ignored", 1))
        await write(lane, "a", 1)
        await peer.stream_head()
        await peer.sse(b'"key":"a"')
    assert lane.database.get("ignored") is None


async def test_streams_end_with_a_last_chunk_when_the_hub_ends_them(lane):
    async with lane.connect() as peer:
        await peer.send(STREAM)
        await peer.stream_head()
        await until(lambda: pushed(lane) == 1)
        lane.database.end_streams()
        with pytest.raises(Gone, match="ok"):
            await peer.sse(b"never")
        assert await peer.rest() == b""


async def test_a_stream_with_the_last_event_id_goes_on_after_it(lane):
    for n in range(3):
        await write(lane, f"k{n}", n)
    async with lane.connect() as peer:
        await peer.send(request("GET", "/v1/stream", b"", "Last-Event-ID: 2"))
        await peer.stream_head()
        text = await peer.sse(b"id: 3\n")
        assert b"id: 2\n" not in text


async def test_a_live_stream_has_no_task_and_ends_like_one_that_has(lane):
    def tasks():
        return trio.lowlevel.current_statistics().tasks_living

    async with lane.connect() as first:
        await first.send(STREAM)
        await until(lambda: pushed(lane) == 1)
        before = tasks()
        async with lane.connect() as gone, lane.connect() as loud:
            await gone.send(STREAM)
            await loud.send(STREAM)
            await until(lambda: pushed(lane) == 3)
            await until(lambda: tasks() == before)
            assert lane.lane.statistics().connections == 3
            with trio.move_on_after(PATIENCE_SECS):
                # Who sends and sends does not listen.
                try:
                    while pushed(lane) == 3:
                        await loud.send(b"x" * 2**20)
                except OSError:
                    pass
            await until(lambda: pushed(lane) == 2)
            await write(lane, "a", 1)
            await gone._until(b'"key":"a"')
        await until(lambda: pushed(lane) == 1 and lane.lane.statistics().connections == 1)
        assert lane.database.hub.client_count == 1
        await write(lane, "b", 2)
        await first._until(b'"key":"b"')


async def test_a_client_that_has_just_reset_its_stream_does_not_hinder_its_end(lane):
    async with lane.connect() as peer:
        await peer.send(STREAM)
        await peer.stream_head()
        await until(lambda: pushed(lane) == 1)
        peer.reset()
        # Nobody has told the server yet.
        for connection in list(lane.lane._connections):
            connection.stop()
    assert pushed(lane) == 0
    assert lane.lane.statistics().connections == 0
    assert lane.database.hub.client_count == 0
