"""The log is the truth for collections, too: what it says was created is there after a start."""

import shutil

import attrs
import pytest

from kissvdb.config import Storage
from kissvdb.engine.opening import open_database
from tests.engine.test_collection import config, directory, fill, ids

__all__ = ["config"]


async def crashed(config, tmp_path, *steps):
    """A copy of what a crash after these steps leaves, without any checkpoint at the end."""
    async with open_database(config) as db:
        for step in steps:
            await step(db)
        shutil.copytree(config.storage.data_dir, tmp_path / "crashed")
    return attrs.evolve(config, storage=Storage(data_dir=str(tmp_path / "crashed")))


async def remake(db):
    """Drop the collection and make another of its name."""
    await db.vectors.drop("c")
    await db.vectors.create("c", dim=2, metric="cosine", ttl_ms=10**9)
    await db.vectors.upsert("c", "new", [3, 4])


@pytest.mark.parametrize("left", ["nothing", "a part"])
async def test_a_collection_without_its_directory_is_made_from_the_log(config, tmp_path, left):
    config = await crashed(config, tmp_path, lambda db: fill(db, 5))
    shutil.rmtree(directory(config))
    if left == "a part":
        # What a crash in the middle of a replay leaves.
        directory(config).mkdir()
        (directory(config) / "vectors.0.rows").write_bytes(b"")
    for _ in range(2):
        async with open_database(config) as db:
            assert ids(await db.vectors.search("c", [4, 0, 0], 2)) == ["id004", "id003"]
            assert db.vectors.get("c", "id000").meta == b'{"n":0}'


async def test_a_name_that_was_used_twice_is_the_second_collection(config, tmp_path):
    config = await crashed(config, tmp_path, lambda db: fill(db, 5), remake)
    shutil.rmtree(directory(config))
    async with open_database(config) as db:
        spec = db.vectors.find("c").actor.rows.spec
        assert (spec.dim, spec.metric, spec.ttl_ms) == (2, "cosine", 10**9)
        assert ids(await db.vectors.search("c", [3, 4], 9)) == ["new"]


async def test_what_was_deleted_stays_deleted_however_much_is_replayed(config, tmp_path):
    async def drop(db):
        await db.vectors.drop("c")

    config = await crashed(config, tmp_path, lambda db: fill(db, 5), drop)
    async with open_database(config) as db:
        assert db.vectors.all == []
        assert not directory(config).exists()
        await db.vectors.create("c", dim=1, metric="l2")
    async with open_database(config) as db:
        assert db.vectors.find("c").actor.rows.spec.dim == 1


@pytest.mark.parametrize("lost", ["nothing", "a directory"])
async def test_each_collection_gets_what_it_lacks_of_the_log(config, tmp_path, lost):
    async def others(db):
        await db.vectors.create("d", dim=2, metric="cosine")
        await db.vectors.upsert("d", "held", [3, 4])
        await db.vectors.find("d").upkeep.save()
        await db.vectors.upsert("d", "new", [4, 3])

    config = await crashed(config, tmp_path, lambda db: fill(db, 5), others)
    if lost == "a directory":
        shutil.rmtree(directory(config))
    async with open_database(config) as db:
        assert ids(await db.vectors.search("c", [4, 0, 0], 2)) == ["id004", "id003"]
        assert ids(await db.vectors.search("d", [3, 4], 9)) == ["held", "new"]
