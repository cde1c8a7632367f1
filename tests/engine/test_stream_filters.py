"""What `job_id` and `tag` match: numbers and texts, at the top of the value, data or metadata."""

import tracemalloc
from contextlib import aclosing

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.config import Config, Storage, Stream
from kissvdb.core.events.publishing import Publish, StreamQuery
from kissvdb.engine.opening import open_database
from tests.engine.sse import parse, places

IN_MEMORY = Config(storage=Storage(memory=True))
LONG = "123456789012345678901234567890"
EVENTS = (
    b'{"job_id":1,"tags":[1,"y"]}',
    b'{"job_id":"1","tags":["x"]}',
    b'{"job_id":1.0,"tags":1}',
    b'{"job_id":"1.0","tags":"x"}',
    b'{"job_id":-5,"tags":{"x":1}}',
    b'{"job_id":%b,"tags":[null,true,[],{}]}' % LONG.encode(),
    b'{"job_id":"a","tags":["1","\\u0078\\n"]}',
    b'{"job_id":true,"nested":{"job_id":1,"tags":["x",1]}}',
    b'{"job_id":null}',
    b'[{"job_id":1,"tags":["x"]}]',
    b'"job_id"',
    b'{"a":%b,"job_id":"deep"}' % (b"[" * 120 + b"]" * 120),
    b'{"n":%b,"e":1e999,"job_id":"wide"}' % (b"9" * 400),
)


async def matching(query, *, live):
    """Offsets of those of EVENTS that a stream with this filter has."""
    got = []

    async def read(task_status):
        async with aclosing(db.subscribe(StreamQuery(**query))) as blobs:
            await anext(blobs)
            task_status.started()
            async for blob in blobs:
                got.extend(parse(blob))

    async with open_database(IN_MEMORY) as db, trio.open_nursery() as nursery:
        if live:
            await nursery.start(read)
        for data in EVENTS:
            await db.publish(Publish("log", data))
        if not live:
            await nursery.start(read)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return places(got)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("job_id", "expected"),
    [
        ("1", [1, 2, 3]),
        ("1.0", [1, 3, 4]),
        (" 1", []),
        ("-0.5e1", [5]),
        (LONG, [6]),
        (LONG[:-1] + "1", []),
        ("a", [7]),
        ("true", []),
        ("null", []),
        ("nan", []),
        ("Infinity", []),
        ("1_0", []),
        ("deep", [12]),
        ("wide", [13]),
    ],
)
async def test_a_job_id_matches_as_a_number_and_as_a_text(job_id, expected, live):
    assert await matching({"job_id": job_id}, live=live) == expected


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("tag", "expected"), [("1", [1, 3, 7]), ("x", [2, 4]), ("x\n", [7]), ("null", [])]
)
async def test_a_tag_matches_as_a_number_and_as_a_text(tag, expected, live):
    assert await matching({"tag": tag}, live=live) == expected


LARGE = b'{"rows":[%b],"job_id":7}' % b",".join(b'[%d,"x"]' % n for n in range(5000))


@pytest.mark.parametrize("ring_events", [16, 10_000], ids=["from the log", "from the ring"])
async def test_a_filter_on_json_leaves_the_loop_to_others_and_keeps_nothing(ring_events):
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async def send(blob):
        assert b"event: log" not in blob

    config = attrs.evolve(IN_MEMORY, stream=Stream(ring_events=ring_events))
    async with open_database(config) as db, trio.open_nursery() as nursery:
        for _ in range(200):
            await db.publish(Publish("log", LARGE))
        await wait_all_tasks_blocked()
        subscription = db.subscribe(StreamQuery(job_id="none"))
        nursery.start_soon(count_turns)
        tracemalloc.start()
        try:
            assert await subscription.catch_up(send)
            held = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        nursery.cancel_scope.cancel()
    assert subscription.offset == db.last_offset
    if ring_events > 200:
        assert turns > 5
    # The events as such; every list in them would be twenty times as much.
    assert held < 3 * 200 * len(LARGE)
