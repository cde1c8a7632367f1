"""Atomic batches in the engine: whole for every reader and every stream, and never in the way."""

import errno
import json
from contextlib import aclosing, asynccontextmanager

import attrs
import numpy as np
import pytest
import trio
import trio.lowlevel
from trio.testing import wait_all_tasks_blocked

from kissvdb.config import Config, Log, Search, State, Storage, Stream
from kissvdb.core.events.publishing import Publish, StreamQuery
from kissvdb.core.filters import parse as filters
from kissvdb.core.rows.rules import Add, Delete, Upsert
from kissvdb.core.state import rules as state
from kissvdb.engine.batches import Batch, Count
from kissvdb.engine.opening import open_database
from kissvdb.engine.vectors.collection import ReplaceMatching, VectorCommand
from kissvdb.errors import NotFound, OpIdReused, PersistenceFailed, RevisionMismatch
from tests.engine.sse import parse
from tests.patience import PATIENCE_SECS

QUICK = Config(search=Search(compile=False))
IN_MEMORY = attrs.evolve(QUICK, storage=Storage(memory=True), state=State(shards=3))


def on_disk(path, **sections):
    return attrs.evolve(QUICK, storage=Storage(data_dir=str(path)), **sections)


@asynccontextmanager
async def opened(config=IN_MEMORY):
    async with open_database(config) as db:
        if not db.vectors.all:
            for name in "cd":
                await db.vectors.create(name, dim=2, metric="l2")
        with trio.fail_after(PATIENCE_SECS):
            yield db


def put(key, n):
    return state.Put(key, b"%d" % n)


def upsert(collection, id_, n):
    vector = np.array([n, 0], "<f4").tobytes()
    return VectorCommand(collection, Upsert(id_, vector, b'{"n":%d}' % n))


def mixed(n):
    return [
        put("a", n),
        upsert("c", "x", n),
        put("b", n),
        upsert("d", "y", n),
        Publish("step", b"%d" % n),
    ]


async def test_readers_see_whole_batches_while_they_are_written(tmp_path):
    config = on_disk(tmp_path, state=State(shards=2))
    ends = set()
    seen = set()

    def look(db):
        """What is there in this turn of the loop, by every way to it."""
        items = [db.get("a"), db.get("b")]
        rows = [db.vectors.get("c", "x"), db.vectors.get("d", "y")]
        values = {int(each.value) for each in items if each is not None}
        values |= {_number(each) for each in rows if each is not None}
        assert len(values) <= 1, values
        assert {each is None for each in (*items, *rows)} in ({True}, {False})
        seen.update(values)

    async def read(db, done):
        while not done.is_set():
            look(db)
            page = await db.list("")
            values = {each.value for each in page.items if each.key in "ab"}
            assert len(values) <= 1
            # A batch is in the list, or begins behind the offset that the list is true at.
            later = [each.offset for each in page.items if each.offset > page.offset]
            assert not later, (page.offset, later)
            seen.add(("offset", page.offset))
            await trio.lowlevel.checkpoint()

    async with opened(config) as db, trio.open_nursery() as readers:
        start = db.last_offset
        done = trio.Event()
        for _ in range(3):
            readers.start_soon(read, db, done)
        for n in range(1, 30):
            answer = await db.batch(Batch(mixed(n)))
            assert answer.last_offset - answer.first_offset == 5
            ends.add(answer.last_offset)
            look(db)
        done.set()
    offsets = {each[1] for each in seen if isinstance(each, tuple)}
    assert offsets <= ends | {start}
    assert len(offsets) > 5


def _number(row):
    return int(np.frombuffer(row.vector, "<f4")[0])


@pytest.mark.parametrize("ring_events", [16, 10_000], ids=["from the log", "from the ring"])
async def test_a_stream_gets_a_batch_in_one_piece(tmp_path, ring_events):
    stream = Stream(ring_events=ring_events, send_bytes_max=4096)
    async with opened(on_disk(tmp_path, stream=stream)) as db:
        value = b'"%b"' % (b"x" * 3000)
        for n in range(8):
            await db.put("alone", n)
            await db.batch(Batch([state.Put(f"k{each}", value) for each in range(40)]))
        blobs, count = [], 0
        async with aclosing(db.subscribe(StreamQuery())) as following:
            async for blob in following:
                blobs.append(blob)
                count += blob.count(b"event: ")
                if count == db.last_offset:
                    break
        assert len(blobs) > 3
        batches = [piece for blob in blobs for piece in whole_batches(parse(blob))]
        assert len(batches) == 8


def whole_batches(frames):
    """Checks that every batch that begins in these frames ends in them, too."""
    for place, (type_, offset, event) in enumerate(frames):
        if type_ == "batch_committed":
            count = event["data"]["records"]
            mine = frames[place + 1 : place + 1 + count]
            assert [each[1] for each in mine] == list(range(offset + 1, offset + 1 + count))
            assert event["data"]["last_offset"] == offset + count
            yield mine


async def test_who_follows_live_gets_each_batch_in_one_piece():
    async with opened() as db, trio.open_nursery() as nursery:

        async def write():
            for n in range(30):
                await db.batch(Batch(mixed(n), op_id=f"b{n}"))

        async with aclosing(db.subscribe(StreamQuery(since=None))) as following:
            await anext(following)
            nursery.start_soon(write)
            found = []
            while len(found) < 30:
                found += whole_batches(parse(await anext(following)))
        assert all(len(each) == 5 for each in found)


async def test_what_is_replaced_comes_to_the_stream_in_one_piece():
    async with opened() as db:
        for count in (3, 2, 1):
            upserts = [upsert("c", f"{n}", n).command for n in range(count)]
            await db.vectors.replace(
                "c", ReplaceMatching(filters.parse({"n": {"$gte": 0}}), upserts)
            )
        async with aclosing(db.subscribe(StreamQuery())) as following:
            await anext(following)
            found = parse(await anext(following))
        kinds = [[each[0] for each in batch] for batch in whole_batches(found)]
        wrote, gone = "vector_upserted", "vector_deleted"
        assert kinds == [[wrote] * 3, [gone, wrote, wrote], [gone, wrote]]
        assert db.vectors.find("c").actor.view().count() == 1


async def test_a_client_that_leaves_before_the_append_leaves_nothing_behind():
    async with opened() as db:
        gate, counted = trio.Event(), trio.Event()

        async def count():
            counted.set()
            await gate.wait()
            return 1

        owners = [db.vectors.owner("c"), db.vectors.owner("d")]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                db.batch, Batch(mixed(1), [Count(lambda: owners, count, collection="c")])
            )
            await counted.wait()
            before = db.last_offset
            nursery.cancel_scope.cancel()
        assert db.last_offset == before
        assert db.get("a") is None
        # Nobody is held any more.
        await db.batch(Batch(mixed(2)))
        assert db.get("a").value == b"2"


async def test_a_client_that_leaves_while_it_is_logged_changes_nothing(tmp_path):
    async with opened(on_disk(tmp_path)) as db:
        before = db.last_offset
        async with trio.open_nursery() as nursery:
            nursery.start_soon(db.batch, Batch(mixed(1)))
            while db._writer.committed_offset == before and not db._store.log._underway:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert db.get("a").value == b"1"
        assert _number(db.vectors.get("d", "y")) == 1


async def test_while_it_counts_nobody_changes_what_is_counted():
    async with opened() as db:
        counted = trio.Event()

        async def count():
            counted.set()
            await wait_all_tasks_blocked()
            return db.vectors.find("c").actor.view().count()

        batch = Batch(
            [put("a", 1)],
            [Count(lambda: [db.vectors.owner("c")], count, at_most=0, collection="c")],
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(db.batch, batch)
            await counted.wait()
            nursery.start_soon(db.batch, Batch([upsert("c", "x", 1)]))
        assert db.get("a") is not None
        assert db.vectors.get("c", "x") is not None
        with pytest.raises(RevisionMismatch, match=r"preconditions\[0\].*at most 0"):
            await db.batch(batch)


async def test_a_disk_without_room_refuses_all_of_it(tmp_path, monkeypatch):
    async with opened(on_disk(tmp_path, log=Log(io_uring=False))) as db:

        def refuse(data, at):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(db._store.log._log._file, "write_durable", refuse)
            for batch in (Batch(mixed(1), op_id="k"), Batch([put("a", 1)], op_id="k")):
                with pytest.raises(PersistenceFailed):
                    await db.batch(batch)
        assert db.get("a") is None
        assert not (await db.batch(Batch(mixed(2), op_id="k"))).repeated
        assert db.get("a").value == b"2"


async def test_batches_over_the_same_owners_bulk_and_drops_never_wait_for_each_other():
    async with opened() as db:
        refused = []

        async def write(turn):
            for n in range(40):
                # In another order each time.
                commands = mixed(n)[turn:] + mixed(n)[:turn]
                try:
                    await db.batch(Batch(commands, op_id=f"{turn}-{n}"))
                except NotFound as refusal:
                    refused.append(refusal.operation)

        async def bulk():
            for n in range(40):
                await db.write_many([put("a", n), upsert("c", "z", n), put("z", n)])
                await trio.lowlevel.checkpoint()

        async def drop():
            for _ in range(10):
                await db.vectors.drop("d")
                await trio.sleep(0.001)
                await db.vectors.create("d", dim=2, metric="l2")
                await db.vectors.vacuum("c")

        async with trio.open_nursery() as nursery:
            for turn in range(5):
                nursery.start_soon(write, turn)
            nursery.start_soon(bulk)
            nursery.start_soon(drop)
        assert None not in refused
        await db.batch(Batch(mixed(99)))
        assert db.get("a").value == b"99"


async def test_of_the_same_batch_sent_at_once_one_is_done():
    for commands in (
        [put("a", 1), put("b", 1)],
        [*mixed(1), VectorCommand("c", Add("n", b"0" * 8))],
    ):
        async with opened() as db:
            answers = []

            async def send(db, commands, answers):
                answers.append(await db.batch(Batch(commands, op_id="k")))

            async with trio.open_nursery() as nursery:
                for _ in range(6):
                    nursery.start_soon(send, db, commands, answers)
            assert sorted(each.repeated for each in answers) == [False] + [True] * 5
            assert len({each.first_offset for each in answers}) == 1
            with pytest.raises(OpIdReused):
                await db.batch(Batch(commands[:1], op_id="k"))


async def test_a_batch_of_one_owner_shares_its_append_with_others(tmp_path):
    async with opened(on_disk(tmp_path)) as db:
        before = db.metrics.log_batch_records.count
        async with trio.open_nursery() as nursery:
            for n in range(50):
                nursery.start_soon(db.batch, Batch([put("a", n), put("b", n)]))
        assert db.metrics.log_batch_records.count - before < 25


async def test_replay_brings_all_of_a_batch(tmp_path):
    async with opened(on_disk(tmp_path)) as db:
        await db.batch(Batch([*mixed(1), VectorCommand("c", Delete("x"))]))
        last = db.last_offset
        db._checkpoints.finish = trio.lowlevel.checkpoint
    async with opened(on_disk(tmp_path)) as db:
        assert db.last_offset == last
        assert (db.get("a").value, db.get("b").value) == (b"1", b"1")
        assert db.vectors.get("c", "x") is None
        assert _number(db.vectors.get("d", "y")) == 1


async def test_a_look_at_documents_sees_whole_batches():
    seen = []

    def values(view):
        return {json.loads(row.meta)["n"] for row in view.scroll(-1, 1000)}

    async def read(db, done):
        while not done.is_set():
            found = await db.documents.look("docs", values)
            assert len(found) == 1, found
            seen.extend(found)
            await trio.lowlevel.checkpoint()

    async with opened() as db, trio.open_nursery() as readers:
        # Over several shards, and of many sizes: applied by readers or in a thread.
        def all_of(n, count):
            return [state.Put(f"doc:docs:{each}", b'{"n":%d}' % n) for each in range(count)]

        await db.batch(Batch(all_of(0, 500)))
        done = trio.Event()
        for _ in range(2):
            readers.start_soon(read, db, done)
        n = 0
        with trio.fail_after(PATIENCE_SECS):
            while n < 20 or len(set(seen)) <= 2:
                n += 1
                await db.batch(Batch([*all_of(n, 500), upsert("c", "x", n)]))
                others = [state.Put(f"doc:others:{each}", b"{}") for each in range(n % 20 + 1)]
                await db.write_many(others)
        done.set()
