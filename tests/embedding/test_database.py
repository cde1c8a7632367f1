"""The database in a program of one's own, as `kissvdb.open_database` gives it."""

import asyncio
import gc
import math

import pytest
import trio

import kissvdb
from kissvdb.config import Config, Limits, Storage, Stream
from kissvdb.errors import (
    InvalidArgument,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    RevisionMismatch,
)
from tests.patience import PATIENCE_SECS

MEMORY = Config(storage=Storage(memory=True))
VALUES = [None, True, 7, -0.5, "text", "\u2603", [1, [2]], {"a": {"b": None}}, 2**63]


async def take(events, count):
    found = []
    with trio.fail_after(PATIENCE_SECS):
        while len(found) < count:
            found.append(await anext(events))
    return found


async def test_values_come_back_as_python_values_and_as_the_bytes_they_are_kept_as():
    async with kissvdb.open_database(MEMORY) as db:
        for value in VALUES:
            written = await db.put("k", value)
            item = db.get("k")
            assert (item.key, item.value) == ("k", value)
            assert (item.revision, item.offset) == (written.revision, written.offset)
        await db.put("k", {"a": [1.5, "x"]})
        assert db.get("k").json == b'{"a":[1.5,"x"]}'
        # Each is the caller's own to change.
        db.get("k").value["a"].append(1)
        assert db.get("k").value == {"a": [1.5, "x"]}
        assert db.get("absent") is None


async def test_what_json_cannot_hold_is_refused_and_nothing_is_written():
    circle = []
    circle.append(circle)
    async with kissvdb.open_database(MEMORY) as db:
        for value in (math.nan, [None, math.inf], {"a": -math.inf}, object(), circle, "\ud800"):
            with pytest.raises(InvalidArgument, match="value: JSON cannot hold it"):
                await db.put("k", value)
            with pytest.raises(InvalidArgument, match="JSON cannot hold it"):
                await db.publish({"type": "t", "data": value})
        with pytest.raises(InvalidArgument, match="key: must have 1 to"):
            await db.put("", 1)
        assert db.last_offset == 0


async def test_the_limits_of_the_server_hold():
    config = Config(storage=Storage(memory=True), limits=Limits(json_bytes_max=100))
    async with kissvdb.open_database(config) as db:
        with pytest.raises(PayloadTooLarge, match=r"limits\.json_bytes_max"):
            await db.put("k", "x" * 100)
        with pytest.raises(InvalidArgument, match="ttl_ms must be at least 1"):
            await db.put("k", 1, ttl_ms=0)


async def test_keys_are_patched_listed_and_deleted_with_preconditions():
    async with kissvdb.open_database(MEMORY) as db:
        first = await db.put("a", {"x": 1}, if_revision=0)
        await db.patch("a", {"y": 2, "x": None}, if_revision=first.revision)
        with pytest.raises(RevisionMismatch):
            await db.put("a", 1, if_revision=first.revision)
        with pytest.raises(RevisionMismatch):
            await db.delete("a", if_offset=first.offset)
        await db.put("b", 2)
        page = await db.list(limit=1)
        assert [(item.key, item.value) for item in page.items] == [("a", {"y": 2})]
        rest = await db.list(after=page.cursor)
        assert [item.key for item in rest.items] == ["b"]
        assert rest.cursor is None
        assert (await db.delete("a")).deleted
        assert not (await db.delete("a")).deleted


async def test_a_repeated_op_id_does_nothing_again():
    async with kissvdb.open_database(MEMORY) as db:
        first = await db.put("a", 1, op_id="x")
        again = await db.put("a", 1, op_id="x")
        assert (again.offset, again.repeated) == (first.offset, True)
        event = {"type": "t", "data": 1}
        published = await db.publish(event, op_id="y")
        assert (await db.publish(event, op_id="y")).offset == published.offset
        assert db.last_offset == 2


async def test_events_are_plain_dicts_and_come_back_as_objects():
    async with kissvdb.open_database(MEMORY) as db:
        told = {"type": "step", "data": {"n": [1, None]}, "key": "job:1", "tags": ["a", "b"]}
        assert (await db.publish(told)).offset == 1
        assert await db.publish_batch([{"type": "other", "data": n} for n in range(2)]) == 2
        await db.put("k", {"v": 1})
        await db.delete("k")
        async with db.subscribe() as events:
            step, *others, put, deleted = await take(events, 5)
            assert (step.type, step.data, step.offset) == ("step", {"n": [1, None]}, 1)
            assert (step.key, step.tags) == ("job:1", ("a", "b"))
            assert step.ts_ms > 0
            assert [(each.data, each.offset) for each in others] == [(0, 2), (1, 3)]
            assert (put.type, put.key, put.data["value"]) == ("state_updated", "k", {"v": 1})
            assert (deleted.type, deleted.key) == ("state_deleted", "k")
            # And then what comes.
            await db.publish({"type": "late", "data": 1, "transient": True})
            [late] = await take(events, 1)
            assert (late.type, late.data, late.offset) == ("late", 1, None)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"type": "state_x", "data": 1}, "type"),
        ({"type": "t"}, "data"),
        ({"type": "t", "data": 1, "tag": ["x"]}, "tags"),
        ({"type": "t", "data": 1, "key": 5}, "key"),
    ],
)
async def test_an_event_that_the_server_would_refuse_is_refused(event, message):
    async with kissvdb.open_database(MEMORY) as db:
        with pytest.raises(InvalidArgument, match=message):
            await db.publish(event)
        assert db.last_offset == 0


async def test_a_subscription_is_filtered_and_starts_where_it_is_told():
    async with kissvdb.open_database(MEMORY) as db:
        for n in range(4):
            await db.publish({"type": f"t{n % 2}", "data": {"job_id": n}})
        async with db.subscribe(types="t1") as one, db.subscribe(types=["t0"], since=1) as other:
            assert [event.offset for event in await take(one, 2)] == [2, 4]
            assert [event.offset for event in await take(other, 1)] == [3]
        async with db.subscribe(job_id="2") as events:
            assert [event.offset for event in await take(events, 1)] == [3]
        async with db.subscribe(since=None) as events:
            await db.put("k", 1)
            assert [event.offset for event in await take(events, 1)] == [5]


async def test_what_the_log_no_longer_holds_is_a_gap_to_go_on_from():
    config = Config(storage=Storage(memory=True), stream=Stream(ring_events=16))
    async with kissvdb.open_database(config) as db:
        for n in range(40):
            await db.put("k", n)
        async with db.subscribe(since=3) as events:
            gap, first = await take(events, 2)
        assert (gap.type, gap.data["from_offset"], gap.ts_ms) == ("gap", 4, None)
        assert first.offset == gap.offset + 1 == gap.data["to_offset"] + 1


async def test_a_loop_that_is_left_gives_its_place_up():
    config = Config(storage=Storage(memory=True), stream=Stream(clients_max=1))
    async with kissvdb.open_database(config) as db:
        await db.put("k", 1)
        for _ in range(3):
            async for event in db.subscribe():
                assert event.offset == 1
                break
            gc.collect()
        async with db.subscribe():
            with pytest.raises(Overloaded):
                db.subscribe()


async def test_a_stream_ends_with_the_database():
    async with kissvdb.open_database(MEMORY) as db:
        await db.put("k", 1)
        events = db.subscribe()
        await take(events, 1)
    with trio.fail_after(PATIENCE_SECS):
        assert [event async for event in events] == []


async def test_vectors_are_found_with_filters_and_come_back_as_python_values():
    async with kissvdb.open_database(MEMORY) as db:
        await db.vectors.create("c", dim=2)
        assert db.vectors.names() == ["c"]
        for n in range(5):
            await db.vectors.upsert("c", f"id{n}", [n, 1], {"n": n})
        hits = await db.vectors.search("c", [4, 1], 2, filters={"n": {"$lt": 3}})
        assert [(hit.id, hit.meta) for hit in hits] == [("id2", {"n": 2}), ("id1", {"n": 1})]
        found = db.vectors.get("c", "id3")
        assert (found.vector, found.meta, found.expires_at_ms) == ([3, 1], {"n": 3}, None)
        assert await db.vectors.count("c", filters={"n": 3}) == 1
        await db.vectors.update("c", "id3", meta={"n": 30})
        assert db.vectors.get("c", "id3").meta == {"n": 30}
        with pytest.raises(InvalidArgument, match="meta: JSON cannot hold it"):
            await db.vectors.upsert("c", "id9", [1, 1], {"n": math.nan})
        assert await db.vectors.delete_matching("c", {"n": {"$lt": 2}}) == 2
        assert (await db.vectors.delete("c", "id2")).offset == db.last_offset
        assert await db.vectors.count("c") == 2
        await db.vectors.drop("c")
        with pytest.raises(NotFound):
            db.vectors.get("c", "id3")


async def test_what_was_written_is_there_after_a_restart(tmp_path):
    config = Config(storage=Storage(data_dir=str(tmp_path / "data")))
    async with kissvdb.open_database(config) as db:
        await db.put("k", {"a": 1})
        epoch = db.epoch
        assert await db.snapshot() == 1
    async with kissvdb.open_database(config) as db:
        assert (db.get("k").value, db.last_offset, db.epoch) == ({"a": 1}, 1, epoch)


async def test_only_what_is_public_is_seen():
    async with kissvdb.open_database(MEMORY) as db:
        for thing in (db, db.vectors, db.subscribe()):
            shown = {name for name in dir(thing) if not name.startswith("_")}
            assert all(getattr(type(thing), name).__doc__ for name in shown)
        assert {name for name in dir(db) if not name.startswith("_")} == {
            *("get", "list", "put", "patch", "delete", "documents", "batch"),
            *("publish", "publish_batch", "subscribe"),
            *("vectors", "last_offset", "epoch", "snapshot", "sql", "backup"),
        }


def test_under_asyncio_one_sentence_says_what_to_do():
    async def main():
        async with kissvdb.open_database(MEMORY):
            pass

    with pytest.raises(RuntimeError, match=r"runs on Trio.*trio\.run\(main\).*kissvdb serve"):
        asyncio.run(main())


async def test_a_batch_happens_whole_or_not_at_all():
    config = Config(storage=Storage(memory=True))
    async with kissvdb.open_database(config) as db:
        put = {"op": "put", "key": "a", "value": [1]}
        answer = await db.batch([put, {"op": "event", "type": "t", "data": None}], op_id="k")
        assert [each.offset for each in answer.results] == [2, 3]
        assert (
            await db.batch([put, {"op": "event", "type": "t", "data": None}], op_id="k")
        ).repeated
        with pytest.raises(RevisionMismatch, match=r"preconditions\[0\]") as refusal:
            await db.batch([put | {"key": "b"}], [{"key": "a", "if_absent": True}])
        assert refusal.value.precondition == 0
        assert (db.get("a").value, db.get("b")) == ([1], None)
