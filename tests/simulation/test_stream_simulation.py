"""Streams of all kinds over a log whose segments are damaged while it grows. A seed repeats the
choices; which of them meet is the scheduler's affair."""

import random
from pathlib import Path

import attrs
import pytest
import trio

from kissvdb.config import Config, Log, Storage, Stream
from kissvdb.core.events.publishing import Publish, StreamQuery
from kissvdb.engine.opening import open_database
from kissvdb.storage.log.segment import HEADER_BYTES
from tests.engine.sse import parse
from tests.patience import PATIENCE_SECS

EVENTS = 400
TYPES = ("a", "b", "c")
FILTERS = (
    {},
    {"types": frozenset({"a", "b"})},
    {"key": "k1"},
    {"job_id": "2"},
    {"tag": "x", "types": frozenset({"c"})},
)


def wanted(query, number):
    """Whether event ``number`` passes: what the database is compared with."""
    passes = not query.get("types") or TYPES[number % 3] in query["types"]
    passes = passes and query.get("key") in (None, f"k{number % 4}")
    passes = passes and query.get("job_id") in (None, str(number % 5))
    return passes and (query.get("tag") is None or number % 2 == 0)


def event(number):
    data = b'{"n":%d,"job_id":%d,"pad":"%b"}' % (number, number % 5, b"p" * 15_000)
    tags = ("x",) if number % 2 == 0 else ()
    return Publish(TYPES[number % 3], data, key=f"k{number % 4}", tags=tags)


@attrs.define
class Follower:
    """One client: what it asked for, and what it was told."""

    query: dict
    since: int
    pace: float
    got: list = attrs.Factory(list)
    error: dict | None = None
    subscription: object = None

    async def run(self, db, until):
        """Read until the last event has passed, the stream has failed, or was ended."""
        subscription = self.subscription = db.subscribe(StreamQuery(since=self.since, **self.query))
        if self.pace < 0.5:
            # As the lane sends, and as slowly as its client reads.
            while await subscription.catch_up(self.hear) and subscription.offset < until:
                await subscription.pulse.waiting.park()
        else:
            async for blob in subscription:
                await self.hear(blob)
                if subscription.offset >= until:
                    break
        await subscription.aclose()

    def is_through(self, until):
        """Whether it has been given all that it will be."""
        return self.subscription.ended or self.subscription.offset >= until

    async def hear(self, blob):
        for kind, place, data in parse(blob):
            assert self.error is None, "an error is the last event"
            if kind == "error":
                self.error = data
            elif kind:
                assert kind != "gap", data
                self.got.append((place, data["data"]["n"]))
        for _ in range(int(self.pace * 20)):
            await trio.lowlevel.checkpoint()

    def check(self, first, damaged):
        """All that was wanted, in order and once; all of it unless there is damage ahead."""
        expected = [
            (first + number, number)
            for number in range(EVENTS)
            if first + number > self.since and wanted(self.query, number)
        ]
        assert self.got == expected[: len(self.got)]
        if self.error is None:
            assert len(self.got) == len(expected)
        else:
            assert self.error["error"] == "damaged"
            assert any(name in self.error["message"] for name in damaged)


def damage(chance, directory):
    """Flip a bit of a segment that is not written any more; its name."""
    sealed = sorted(Path(directory, "log").glob("*.log"))[:-1]
    if not sealed:
        return None
    segment = chance.choice(sealed)
    content = segment.read_bytes()
    at = chance.randrange(HEADER_BYTES, len(content.rstrip(b"\0")))
    with segment.open("r+b") as file:
        file.seek(at)
        file.write(bytes([content[at] ^ (1 << chance.randrange(8))]))
    return segment.name


@pytest.mark.parametrize("seed", range(6))
async def test_damage_under_running_streams_is_told_to_those_that_meet_it(tmp_path, seed):
    chance = random.Random(seed)
    config = Config(
        storage=Storage(data_dir=str(tmp_path / "data")),
        log=Log(segment_max_bytes=2**20),
        stream=Stream(ring_events=16),
    )
    followers, damaged = [], set()
    async with open_database(config) as db, trio.open_nursery() as nursery:
        first = db.last_offset + 1
        last = first + EVENTS - 1
        with trio.fail_after(PATIENCE_SECS):
            for number in range(EVENTS):
                published = await db.publish(event(number))
                assert published.offset == first + number, "writers notice nothing"
                if number % 20 == 0:
                    since = first - 1 + chance.randrange(number + 1)
                    follower = Follower(chance.choice(FILTERS), since, chance.random())
                    followers.append(follower)
                    nursery.start_soon(follower.run, db, last)
                if number > EVENTS // 2 and number % 50 == 0:
                    damaged.add(damage(chance, config.storage.data_dir))
            after = Follower({}, 0, 0.0)
            followers.append(after)
            await after.run(db, last)
            assert after.error is not None, "who reads it all meets the damage"
            while not all(each.subscription and each.is_through(last) for each in followers):
                await trio.lowlevel.checkpoint()
            # Those that wait for an event that their filter lets pass.
            db.end_streams()
    for follower in followers:
        follower.check(first, damaged)
