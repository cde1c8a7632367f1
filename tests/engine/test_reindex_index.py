"""Another index for a collection: its vectors stay, it serves all the time, and a crash takes
nothing back."""

import io
from pathlib import Path

import attrs
import numpy as np
import pytest
import trio

from kissvdb.config import Config, Search, Storage
from kissvdb.core.rows.rules import Upsert
from kissvdb.core.store.options import IndexOptions, Rung, Tuning
from kissvdb.engine.opening import open_database
from kissvdb.engine.owner import Many
from kissvdb.engine.vectors.collection import Tune
from kissvdb.errors import AlreadyExists, PersistenceFailed
from kissvdb.storage import backup
from kissvdb.storage.check import check
from tests.engine.sse import collect
from tests.engine.test_reindex import lose_all_but_the_log
from tests.patience import PATIENCE_SECS

DIM = 8


@pytest.fixture
def config(tmp_path):
    return Config(storage=Storage(data_dir=str(tmp_path / "data")), search=Search(compile=False))


def shape(**changes):
    return lambda spec: attrs.evolve(spec, **changes)


async def fill(db, count=40):
    chance = np.random.default_rng(1)
    await db.vectors.create("c", dim=DIM, m=8)
    upserts = [
        Upsert(
            f"v{n}",
            chance.normal(size=DIM).astype("<f4").tobytes(),
            b'{"n":%d}' % n,
            text=f"text {n}" if n % 3 else None,
            ttl_ms=10**9 if n % 5 == 0 else None,
        )
        for n in range(count)
    ]
    for answer in await db.vectors.owner("c").ask(Many(tuple(upserts))):
        assert answer.offset


def content(db):
    """All rows in their order, without their numbers."""
    view = db.vectors.find("c").actor.view()
    rows = [view.stored(row) for row in view.hidden.living(view.data.count).tolist()]
    return [(r.id, r.vector, r.meta, r.expires_at_ms, r.text) for r in rows]


async def done(db):
    deadline = trio.current_time() + PATIENCE_SECS
    while db.vectors.reindex_of("c") is not None:
        assert trio.current_time() < deadline
        await trio.sleep(0.01)


async def test_the_rows_are_the_same_and_the_index_is_another(config):
    async with open_database(config) as db:
        await fill(db)
        await db.vectors.delete("c", "v3")
        before = content(db)
        job = await db.vectors.reindex("c", shape=shape(index="flat", quantization="q8"))
        assert job.keeps_vectors
        with pytest.raises(AlreadyExists, match="DELETE"):
            await db.vectors.reindex("c", shape=shape(m=12))
        await done(db)
        spec = db.vectors.find("c").spec
        assert (spec.name, spec.index, spec.m, spec.quantization) == ("c", "flat", 8, "q8")
        assert content(db) == before
        await db.vectors.reindex("c", shape=shape(index="hnsw", m=12))
        await db.vectors.upsert("c", "late", [1.0] * DIM)
        await done(db)
        (hit,) = await db.vectors.search("c", [1.0] * DIM, 1)
        assert hit.id == "late"
        events = await collect(db, 2, types=("vector_collection_reindexed",), since=0)
        assert [each["data"]["index"] for _, _, each in events] == ["flat", "hnsw"]
        before = content(db)
    async with open_database(config) as db:
        spec = db.vectors.find("c").spec
        assert (spec.index, spec.m, spec.quantization) == ("hnsw", 12, "q8")
        assert (content(db), db.vectors.reindex_of("c")) == (before, None)
    assert check(config.storage.data_dir).ok


async def test_writes_go_on_meanwhile_and_none_is_lost(config):
    async with open_database(config) as db:
        await fill(db, 400)
        known = {row[0] for row in content(db)}
        await db.vectors.reindex("c", shape=shape(index="flat"))
        number = 0
        while db.vectors.reindex_of("c") is not None:
            number += 1
            id_ = f"v{number * 7 % 420}"
            if number % 4:
                await db.vectors.upsert("c", id_, [float(number)] + [0.0] * (DIM - 1))
                known.add(id_)
            elif id_ in known:
                await db.vectors.delete("c", id_)
                known.remove(id_)
        assert number
        assert {row[0] for row in content(db)} == known
        assert db.vectors.find("c").spec.index == "flat"


async def test_it_is_given_up_and_a_start_does_not_go_on(config):
    async with open_database(config) as db:
        await fill(db)
        upkeep = db.vectors.find("c").upkeep
        async with upkeep.alone("something else"):
            await db.vectors.reindex("c", shape=shape(index="flat"))
            assert await db.vectors.end_reindex("c")
            assert db.vectors.reindex_of("c") is None
            assert await db.vectors.end_reindex("c") is None
        await db.vectors.reindex("c", shape=shape(m=20))
        await done(db)
    async with open_database(config) as db:
        assert db.vectors.reindex_of("c") is None
        spec = db.vectors.find("c").spec
        assert (spec.index, spec.m) == ("hnsw", 20)


async def test_a_start_goes_on_with_what_was_begun(config):
    async with open_database(config) as db:
        await fill(db)
        before = content(db)
        async with db.vectors.find("c").upkeep.alone("something else"):
            await db.vectors.reindex("c", shape=shape(index="flat"))
            # Its files do not know.
            db.vectors.find("c").actor.rows.convert(None)
        # As if the process had ended: only the log knows.
    lose_all_but_the_log(Path(config.storage.data_dir))
    async with open_database(config) as db:
        await done(db)
        assert (content(db), db.vectors.find("c").spec.index) == (before, "flat")


async def test_the_log_alone_brings_the_same(config):
    async with open_database(config) as db:
        await fill(db)
        await db.vectors.reindex("c", shape=shape(index="flat"))
        await done(db)
        await db.vectors.delete("c", "v1")
        await db.vectors.upsert("c", "new", [1.0] * DIM)
        before = content(db)
    lose_all_but_the_log(Path(config.storage.data_dir))
    async with open_database(config) as db:
        assert (content(db), db.vectors.find("c").spec.index) == (before, "flat")
        assert db.vectors.reindex_of("c") is None


async def test_a_disk_that_is_full_at_the_end_is_tried_again(config, monkeypatch):
    async with open_database(config) as db:
        await fill(db)
        before = content(db)
        actor = db.vectors.find("c").actor
        append, failures = actor._append, []

        async def failing(records, group=None):
            if not failures and type(records[0]).__name__ == "CollectionReplaced":
                failures.append(records)
                raise PersistenceFailed("no room")
            return await append(records, group)

        monkeypatch.setattr(actor, "_append", failing)
        monkeypatch.setattr("kissvdb.engine.rows.upkeep.RETRY_SECONDS", 0.01)
        await db.vectors.reindex("c", shape=shape(index="flat"))
        await done(db)
        assert failures
        assert (content(db), db.vectors.find("c").spec.index) == (before, "flat")


async def test_what_was_written_for_one_that_is_given_up_leaves_the_disk(config, monkeypatch):
    def generations():
        files = (Path(config.storage.data_dir) / "vectors" / "c").glob("*.rows")
        return {path.name.split(".")[1] for path in files}

    async with open_database(config) as db:
        await fill(db)
        before = content(db)
        actor = db.vectors.find("c").actor
        append, tried = actor._append, trio.Event()

        async def failing(records, group=None):
            if type(records[0]).__name__ == "CollectionReplaced":
                tried.set()
                raise PersistenceFailed("no room")
            return await append(records, group)

        monkeypatch.setattr(actor, "_append", failing)
        await db.vectors.reindex("c", shape=shape(index="flat"))
        await tried.wait()
        await db.vectors.find("c").upkeep.save()
        assert len(generations()) == 2, "it may still become what serves"
        assert await db.vectors.end_reindex("c")
        await db.vectors.find("c").upkeep.save()
        assert len(generations()) == 1
        assert content(db) == before
    async with open_database(config) as db:
        assert content(db) == before


async def test_a_backup_meanwhile_is_whole_and_goes_on_where_it_is_restored(config, tmp_path):
    async with open_database(config) as db:
        await fill(db)
        before = content(db)
        await db.vectors.reindex("c", shape=shape(index="flat"))
        tar = b"".join([block async for block in db.backup()])
        await done(db)
    backup.unpack(io.BytesIO(tar), tmp_path / "backup")
    backup.restore(tmp_path / "backup", tmp_path / "restored")
    again = attrs.evolve(config, storage=Storage(data_dir=str(tmp_path / "restored")))
    async with open_database(again) as db:
        await done(db)
        assert (content(db), db.vectors.find("c").spec.index) == (before, "flat")


async def test_what_was_measured_outlives_a_start_and_comes_of_the_log_alone(config):
    tuning = Tuning(10, 40, 40, 1_000, (Rung(16, 0.9, 20.5), Rung(32, 1.0, 31.25)))
    async with open_database(config) as db:
        await fill(db)
        options = IndexOptions(ef_search=32)
        offset = await db.vectors.owner("c").ask(Tune(options, tuning))
        (event,) = await collect(db, 1, types=("vector_collection_tuned",), since=offset - 1)
        assert event[2]["data"]["options"] == {"ef_search": 32}
        wanted = db.vectors.find("c").spec
        assert (wanted.options, wanted.tuning) == (options, tuning)
    async with open_database(config) as db:
        assert db.vectors.find("c").spec == wanted
    lose_all_but_the_log(Path(config.storage.data_dir))
    async with open_database(config) as db:
        assert db.vectors.find("c").spec == wanted
        await db.vectors.reindex("c", shape=shape(m=9))
        await done(db)
        spec = db.vectors.find("c").spec
        assert (spec.options, spec.tuning) == (options, None)


async def test_what_is_finishing_is_not_given_up_and_a_drop_ends_it(config, monkeypatch):
    monkeypatch.setattr("kissvdb.engine.vectors.reindex.RETRY_SECONDS", 0.01)
    async with open_database(config) as db:
        await fill(db)
        upkeep, may_save = db.vectors.find("c").upkeep, trio.Event()
        save = upkeep.save

        async def slow():
            await may_save.wait()
            await save()

        monkeypatch.setattr(upkeep, "save", slow)
        await db.vectors.reindex("c", shape=shape(index="flat"))
        while db.vectors.reindex_of("c").state != "finishing":
            await trio.lowlevel.checkpoint()
        assert await db.vectors.end_reindex("c") is None
        assert db.vectors.find("c").spec.index == "flat"
        assert db.vectors.reindex_of("c").state == "finishing"
        await db.vectors.drop("c")
        may_save.set()
        assert db.vectors.reindex_of("c") is None
        await fill(db)
        await db.vectors.reindex("c", shape=shape(m=10))
        monkeypatch.undo()
        await done(db)
        assert db.vectors.find("c").spec.m == 10
