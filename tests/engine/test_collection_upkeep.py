"""Upkeep of collections that come and go, on a disk that has no room at times."""

import attrs
import trio

from kissvdb.core.rows.vacuum import Vacuum
from kissvdb.core.state.rules import Put
from kissvdb.engine.opening import open_database
from kissvdb.engine.rows import upkeep
from kissvdb.errors import PersistenceFailed
from tests.engine.test_collection import config, directory, fill, ids
from tests.patience import PATIENCE_SECS

__all__ = ["config"]


async def test_the_upkeep_of_a_dropped_collection_leaves_its_successor_alone(config):
    async with open_database(config) as db:
        await fill(db, 5)
        await db.snapshot()
        old = db.vectors.find("c")
        # Now there is something new to say of the old one: that nothing changed since.
        await db.put("k", 1)
        await db.vectors.drop("c")
        await old.upkeep.save()
        assert not directory(config).exists()
        await db.vectors.create("c", dim=2, metric="dot")
        manifest = (directory(config) / "manifest.json").read_bytes()
        await db.put("k", 2)
        await old.upkeep.save()
        assert await old.upkeep.files() == []
        assert (directory(config) / "manifest.json").read_bytes() == manifest
        await db.vectors.upsert("c", "a", [1, 2])
    async with open_database(config) as db:
        assert ids(await db.vectors.search("c", [1, 2], 9)) == ["a"]


async def test_collections_come_and_go_beside_checkpoints(config):
    rounds = 30

    async def come_and_go(db, name):
        for number in range(rounds):
            await db.vectors.create(name, dim=2, metric="dot")
            await db.vectors.upsert(name, f"id{number}", [1, 2])
            if number < rounds - 1:
                await db.vectors.drop(name)

    async with open_database(config) as db:
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as users:
                nursery.start_soon(checkpoints, db)
                for name in ("a", "b"):
                    users.start_soon(come_and_go, db, name)
            nursery.cancel_scope.cancel()
        assert not list(directory(config).parent.glob("*/*.tmp"))
    async with open_database(config) as db:
        for name in ("a", "b"):
            assert ids(await db.vectors.search(name, [1, 2], 9)) == [f"id{rounds - 1}"]


async def checkpoints(db):
    while True:
        await db.put("k", 1)
        await db.snapshot()


async def test_a_vacuum_without_room_for_its_last_rows_changes_nothing(config, monkeypatch):
    def refuse(vacuum):
        raise PersistenceFailed("no room for rows")

    async with open_database(config) as db:
        await fill(db, 60)
        for number in range(0, 60, 2):
            await db.vectors.delete("c", f"id{number:03}")
        before = await db.vectors.search("c", [7, 0, 0], 99)
        with monkeypatch.context() as patch:
            patch.setattr(Vacuum, "take_rest", refuse)
            await db.vectors.vacuum("c")
        assert db.vectors.find("c").actor.view().data.count == 60
        assert await db.vectors.search("c", [7, 0, 0], 99) == before
        await db.vectors.upsert("c", "new", [7, 0, 0])
        assert await db.vectors.vacuum("c") == 30
        assert len(await db.vectors.search("c", [7, 0, 0], 99)) == 31
    async with open_database(config) as db:
        assert len(await db.vectors.search("c", [7, 0, 0], 99)) == 31


async def test_whoever_asks_for_a_checkpoint_and_leaves_breaks_nothing(config):
    async with open_database(config) as db:
        await fill(db, 60)
        for number in range(20):
            await db.vectors.upsert("c", f"id{number:03}", [number, 1, 1])
            with trio.move_on_after(number / 2000):
                await db.snapshot()
        await db.snapshot()
        with trio.move_on_after(0.001):
            await db.vectors.vacuum("c")
        await db.vectors.vacuum("c")
        assert db.vectors.find("c").actor.view().data.count == 60


def seldom(config):
    """No checkpoint comes by its time."""
    return attrs.evolve(config, storage=attrs.evolve(config.storage, snapshot_interval_secs=86_400))


async def test_a_load_does_not_leave_much_to_replay_until_the_next_interval(config, monkeypatch):
    monkeypatch.setattr(upkeep, "REPLAYED_NUMBERS_MAX", 100 * (2 + upkeep.REPLAYED_ROW))
    async with open_database(seldom(config)) as db:
        await fill(db, 150)
        found = db.vectors.find("c")
        with trio.fail_after(PATIENCE_SECS):
            while found.stored.durable_offset < 100:  # noqa: ASYNC110
                await trio.sleep(0.01)
        before = found.stored.durable_offset
        await db.vectors.upsert("c", "one more", [1, 2, 3])
        await trio.sleep(3 * upkeep.TICK_SECONDS)
        assert found.stored.durable_offset == before, "each write makes no checkpoint"


async def test_what_a_vacuum_drops_does_not_hide_what_was_written_since(config, monkeypatch):
    monkeypatch.setattr(upkeep, "REPLAYED_NUMBERS_MAX", 100 * (3 + upkeep.REPLAYED_ROW))
    async with open_database(config) as db:
        await fill(db, 150)
        found = db.vectors.find("c")
        await found.upkeep.save()
        before = found.stored.durable_offset
        for number in range(60):
            await db.vectors.upsert("c", f"id{number:03}", [number, 1, 1])
        await db.vectors.vacuum("c")
        assert found.actor.rows.counts[1] == 150
        for number in range(20):
            await db.vectors.upsert("c", f"more{number}", [number, 1, 1])
            await trio.sleep(upkeep.TICK_SECONDS)
        assert found.stored.durable_offset > before


async def test_nor_does_a_load_of_documents(config, monkeypatch):
    monkeypatch.setattr(upkeep, "REPLAYED_NUMBERS_MAX", 100 * upkeep.REPLAYED_ROW)
    async with open_database(seldom(config)) as db:
        for some in range(15):
            await db.write_many([Put(f"doc:d:{some}-{n}", b"{}") for n in range(10)])
        with trio.fail_after(PATIENCE_SECS):
            while (db.documents.durable_offset or 0) < 100:  # noqa: ASYNC110
                await trio.sleep(0.01)


async def test_a_checkpoint_of_documents_does_not_wait_for_the_end_of_a_load(config):
    async def load(number):
        while True:
            puts = [Put(f"doc:d:{number}-{n}", b'{"text":"some words"}') for n in range(500)]
            await db.write_many(puts)

    async with open_database(config) as db, trio.open_nursery() as nursery:
        for number in range(16):
            nursery.start_soon(load, number)
        await trio.sleep(0.5)
        with trio.fail_after(PATIENCE_SECS):
            await db.snapshot()
        nursery.cancel_scope.cancel()
