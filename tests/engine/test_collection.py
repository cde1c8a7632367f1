"""Vector collections as an embedder uses them: writes, reads, expiry, recovery, backup."""

import io
import json
import shutil
import threading
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from kissvdb.config import Config, Limits, Log, Search, State, Storage, Stream
from kissvdb.core import search as core
from kissvdb.core.filters import parse as filters
from kissvdb.core.rows.rules import Add, Delete, Update, Upsert
from kissvdb.core.state.rules import Put
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.engine.opening import open_database
from kissvdb.engine.vectors.collection import VectorCommand
from kissvdb.engine.vectors.collection_store import CollectionStore
from kissvdb.engine.vectors.recall_audit import RecallAudit, Sample, recall
from kissvdb.errors import (
    AlreadyExists,
    DimMismatch,
    InvalidArgument,
    NotFound,
    Refused,
)
from kissvdb.storage import backup
from tests.engine.sse import collect
from tests.engine.test_database import Clock

# Compiled code is for the tests of kernels; here it would only take time.
IN_NUMPY = Search(compile=False)
IN_MEMORY = Config(storage=Storage(memory=True), search=IN_NUMPY)


@pytest.fixture
def config(tmp_path):
    return Config(storage=Storage(data_dir=str(tmp_path / "data")), search=IN_NUMPY)


def directory(config, name="c"):
    return Path(config.storage.data_dir) / "vectors" / name


def ids(hits):
    return [hit.id for hit in hits]


async def fill(db, count, *, collection="c", dim=3):
    await db.vectors.create(collection, dim=dim, metric="l2")
    for number in range(count):
        await db.vectors.upsert(
            collection, f"id{number:03}", [number] + [0] * (dim - 1), {"n": number}
        )


async def test_a_vector_is_found_once_it_is_answered():
    async with open_database(IN_MEMORY) as db:
        assert await db.vectors.create("c", dim=2, metric="cosine") == 1
        written = await db.vectors.upsert("c", "a", [3, 4], {"x": 1})
        assert (written.id, written.offset) == ("a", 2)
        (hit,) = await db.vectors.search("c", [3, 4], 5)
        assert (hit.id, hit.score, hit.meta) == ("a", 1.0, {"x": 1})
        await db.vectors.update("c", "a", meta={"x": 2})
        assert await db.vectors.search("c", [3, 4], 5, filters={"x": 1}) == []
        assert ids(await db.vectors.search("c", [3, 4], 5, filters={"x": 2})) == ["a"]
        await db.vectors.delete("c", "a")
        assert await db.vectors.search("c", [3, 4], 5) == []
        assert db.vectors.get("c", "a") is None


async def test_refusals_change_nothing_and_say_why():
    async with open_database(IN_MEMORY) as db:
        await fill(db, 1)
        last = db.last_offset
        refused = (
            (Add("id000", bytes(12)), AlreadyExists),
            (Upsert("x", bytes(8)), DimMismatch),
            (Update("x", bytes(12)), NotFound),
            (Delete("x"), NotFound),
        )
        for command, kind in refused:
            with pytest.raises(kind):
                await db.vectors.write("c", command)
        with pytest.raises(InvalidArgument, match="beyond 1e"):
            await db.vectors.upsert("c", "x", [1e39, 0, 0])
        with pytest.raises(DimMismatch):
            await db.vectors.search("c", [1, 2], 3)
        with pytest.raises(NotFound):
            await db.vectors.search("other", [1, 2, 3], 3)
        assert db.last_offset == last


@pytest.mark.parametrize("saved", [True, False], ids=["checkpointed", "from the log"])
async def test_a_collection_is_as_it_was_after_a_restart(config, saved):
    async with open_database(config) as db:
        await fill(db, 40)
        if saved:
            assert await db.snapshot() == db.last_offset
        await db.vectors.delete("c", "id003")
        await db.vectors.upsert("c", "id004", [0, 9, 0], {"n": "new"})
        repeated = Upsert("once", bytes(12), op_id="op")
        first = await db.vectors.write("c", repeated)
        before = await db.vectors.search("c", [4, 0, 0], 50)
        updated_at_ms = db.vectors.find("c").actor.updated_at_ms
    async with open_database(config) as db:
        assert await db.vectors.search("c", [4, 0, 0], 50) == before
        assert len(before) == 40
        assert db.vectors.find("c").actor.updated_at_ms == updated_at_ms
        assert db.vectors.get("c", "id004").meta == b'{"n":"new"}'
        again = await db.vectors.write("c", repeated)
        assert (again.offset, again.repeated) == (first.offset, True)
        assert db.vectors.find("c").actor.rows.spec.metric == "l2"


async def test_a_deleted_collection_leaves_nothing_behind(config):
    async with open_database(config) as db:
        await fill(db, 5)
        assert json.loads(db.get("vector:c:manifest").value)["dim"] == 3
        await db.vectors.drop("c")
        assert db.get("vector:c:manifest") is None
        assert not directory(config).exists()
        with pytest.raises(NotFound):
            await db.vectors.upsert("c", "a", [1, 2, 3])
        await db.vectors.create("c", dim=2, metric="dot")
        await db.vectors.upsert("c", "a", [1, 2])
    async with open_database(config) as db:
        assert [each.name for each in db.vectors.all] == ["c"]
        assert ids(await db.vectors.search("c", [1, 2], 9)) == ["a"]


async def test_a_deletion_whose_files_stayed_is_finished_at_the_next_start(config, tmp_path):
    async with open_database(config) as db:
        await fill(db, 5)
        await db.snapshot()
        # What a crash right behind the record of the deletion leaves.
        kept = tmp_path / "kept"
        directory(config).rename(kept)
        await db.vectors.drop("c")
        kept.rename(directory(config))
    async with open_database(config) as db:
        assert db.vectors.all == []
        assert not directory(config).exists()


async def test_what_was_prepared_for_a_creation_that_was_not_logged_is_removed(config):
    async with open_database(config) as db:
        await fill(db, 1)
        last = db.last_offset
    spec = CollectionSpec("never", 3, "dot")
    store = CollectionStore(directory(config).parent.parent)
    store.create(spec, last)
    store.close()
    cut_off = directory(config, "cut-off")
    cut_off.mkdir()
    (cut_off / "vectors.0.rows").write_bytes(b"")
    foreign = directory(config, "foreign")
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    async with open_database(config) as db:
        assert [each.name for each in db.vectors.all] == ["c"]
    assert sorted(path.name for path in directory(config).parent.iterdir()) == ["c", "foreign"]


async def test_names_dims_and_their_number_are_limited():
    config = attrs.evolve(IN_MEMORY, limits=Limits(collections_max=1, vector_dim_max=8))
    async with open_database(config) as db:
        for name in ("", ".", "..", ".hidden", "a/b", "a b", "ä", "x" * 65, "a\n"):
            with pytest.raises(InvalidArgument):
                await db.vectors.create(name, dim=3, metric="dot")
        for dim in (0, 9):
            with pytest.raises(InvalidArgument):
                await db.vectors.create("c", dim=dim, metric="dot")
        await db.vectors.create("c", dim=8, metric="dot")
        with pytest.raises(AlreadyExists):
            await db.vectors.create("c", dim=8, metric="dot")
        with pytest.raises(Refused, match="collections_max"):
            await db.vectors.create("d", dim=8, metric="dot")


async def test_an_expired_vector_is_hidden_at_once_and_its_end_is_logged():
    clock = Clock()
    async with open_database(IN_MEMORY, clock_ms=clock) as db:
        await db.vectors.create("c", dim=1, metric="l2", ttl_ms=10_000)
        await db.vectors.upsert("c", "short", [1], ttl_ms=1000)
        await db.vectors.upsert("c", "default", [2])
        clock.now_ms += 1000
        assert ids(await db.vectors.search("c", [1], 9)) == ["default"]
        assert db.vectors.get("c", "short") is None
        (*_, (kind, _, event)) = await collect(db, 4)
        assert kind == "vector_deleted"
        assert event["data"] == {"collection": "c", "id": "short", "reason": "ttl"}
        clock.now_ms += 9000
        assert await db.vectors.search("c", [1], 9) == []


async def test_delete_by_filter_deletes_what_passes_and_nothing_else():
    async with open_database(IN_MEMORY) as db:
        await fill(db, 30)
        tree = filters.parse({"n": {"$lt": 10}})
        assert await db.vectors.delete_matching("c", tree) == (10, db.last_offset)
        assert await db.vectors.delete_matching("c", tree) == (0, None)
        assert len(await db.vectors.search("c", [0, 0, 0], 99)) == 20


async def test_bulk_of_several_owners_refuses_only_what_has_none():
    async with open_database(IN_MEMORY) as db:
        await fill(db, 1)
        outcomes = await db.write_many(
            [
                Put("k", b"1"),
                VectorCommand("c", Upsert("a", bytes(12))),
                VectorCommand("nowhere", Upsert("a", bytes(12))),
                VectorCommand("c", Delete("id000")),
                VectorCommand("c", Delete("id000")),
            ]
        )
        assert [type(each).__name__ for each in outcomes] == [
            "Written",
            "WrittenVector",
            "NotFound",
            "DeletedVector",
            "NotFound",
        ]
        assert ids(await db.vectors.search("c", [0, 0, 0], 9)) == ["a"]


async def test_writes_that_meet_a_deletion_are_done_before_it_or_refused():
    async with open_database(IN_MEMORY) as db:
        await fill(db, 0)
        done = []

        async def write(number):
            try:
                done.append((await db.vectors.upsert("c", str(number), [1, 2, 3])).offset)
            except NotFound:
                done.append(None)

        async def drop():
            done.append(-await db.vectors.drop("c"))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(write, number)
                if number == 10:
                    nursery.start_soon(drop)
        (dropped,) = [-offset for offset in done if offset is not None and offset < 0]
        assert all(offset < dropped for offset in done if offset is not None)
        assert len(done) == 21


async def test_a_vacuum_takes_the_dead_rows_and_nothing_else(config):
    async with open_database(config) as db:
        await fill(db, 60)
        for number in range(0, 60, 2):
            await db.vectors.delete("c", f"id{number:03}")
        before = await db.vectors.search("c", [7, 0, 0], 99)
        assert db.vectors.find("c").actor.view().data.count == 60
        assert await db.vectors.vacuum("c") == 30
        assert await db.vectors.vacuum("c") == 0
        assert await db.vectors.search("c", [7, 0, 0], 99) == before
    async with open_database(config) as db:
        assert await db.vectors.search("c", [7, 0, 0], 99) == before
        assert db.vectors.find("c").actor.view().data.count == 30


async def test_the_log_is_kept_until_collections_are_durable(config, tmp_path):
    # The table is checkpointed all the time, the collection only when asked.
    log, state = Log(segment_max_bytes=2**20, retention_segments=1), State(checkpoint_pages=1)
    config = attrs.evolve(config, log=log, state=state, stream=Stream(ring_events=16))
    async with open_database(config) as db:
        await fill(db, 3)
        for number in range(40):
            await db.put(f"k{number}", "x" * 60_000)
        await db.vectors.upsert("c", "late", [1, 1, 1])
        for number in range(40):
            await db.put(f"k{number}", "y" * 60_000)
        ((kind, _, _),) = await collect(db, 1, since=0)
        assert kind == "vector_collection_created"
        # What a crash would leave right now.
        shutil.copytree(config.storage.data_dir, tmp_path / "crashed")
        await db.snapshot()
        # Elsewhere than before: that chunk of the log may be remembered.
        ((kind, _, _),) = await collect(db, 1, since=1)
        assert kind == "gap", "all is durable, so the oldest segments went"
    crashed = attrs.evolve(config, storage=Storage(data_dir=str(tmp_path / "crashed")))
    async with open_database(crashed) as db:
        assert db.vectors.get("c", "late") is not None


async def test_a_backup_holds_collections_at_its_offset(config, tmp_path):
    async with open_database(config) as db:
        await fill(db, 20)
        await db.snapshot()
        await db.vectors.delete("c", "id001")
        blocks = [block async for block in db.backup()]
        await db.vectors.delete("c", "id002")
    backup.unpack(io.BytesIO(b"".join(blocks)), tmp_path / "backup")
    backup.restore(tmp_path / "backup", tmp_path / "restored")
    restored = attrs.evolve(config, storage=Storage(data_dir=str(tmp_path / "restored")))
    async with open_database(restored) as db:
        assert len(await db.vectors.search("c", [0, 0, 0], 99)) == 19
        assert db.vectors.get("c", "id001") is None
        assert db.vectors.get("c", "id002") is not None


async def test_a_searcher_that_leaves_does_not_wait_for_its_thread():
    config = attrs.evolve(IN_MEMORY, search=Search(threads=1, compile=False))
    async with open_database(config) as db:
        await fill(db, 1)
        started, gate = trio.Event(), threading.Event()

        def job(view):
            trio.from_thread.run_sync(started.set)
            gate.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(db.vectors.look, "c", job))
            await started.wait()
            nursery.cancel_scope.cancel()
        # Reads that need no thread and writes go on, whatever the searches do.
        await db.vectors.upsert("c", "a", [1, 2, 3])
        assert db.vectors.get("c", "a") is not None
        gate.set()
        assert len(await db.vectors.search("c", [1, 2, 3], 5)) == 2


async def test_an_audit_measures_the_searches_since_the_last_one():
    async with open_database(IN_MEMORY) as db:
        await fill(db, 30)
        audit = RecallAudit(2)
        for number in (1, 2, 3):
            audit.note(bytes([number]) + bytes(11), core.Search(3))
        assert [sample.vector[:1] for sample in audit.take()] == [b"\2", b"\3"]
        assert audit.take() == []
        passing = core.Search(5, tree=filters.parse({"n": {"$lt": 9}}))
        samples = [Sample(bytes(12), each) for each in (core.Search(5), core.Search(100), passing)]
        assert recall(db.vectors.find("c").actor.view(), samples) == 1.0
