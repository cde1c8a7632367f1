"""Damage of one collection: named, kept to itself, and no reason to wait for anything else."""

import io
import shutil
import tarfile
from pathlib import Path

import attrs
import pytest
import trio

from kissvdb.config import Log, State, Storage
from kissvdb.core.rows.rules import Upsert
from kissvdb.engine.opening import open_database
from kissvdb.errors import AlreadyExists, Damaged, NotFound
from kissvdb.storage import backup
from kissvdb.storage.rows.arrays import HEADER_BYTES
from tests.engine.sse import collect
from tests.engine.test_collection import config, directory, fill, ids
from tests.engine.test_database import Clock
from tests.patience import PATIENCE_SECS
from tests.storage.row_directory import flip

__all__ = ["config"]


async def upsert(db, id_, **options):
    return await db.vectors.write("c", Upsert(id_, bytes(12), **options))


async def found_damage(db):
    """What the upkeep says of collection c, once it has looked."""
    with trio.fail_after(PATIENCE_SECS):
        while True:
            damage = db.vectors.find("c").upkeep.damage
            if damage is not None:
                return damage
            await trio.sleep(0.01)


def damage_row(config, row):
    flip(directory(config) / "vectors.0.rows", HEADER_BYTES + row * 64)


def damage_manifest(config, name="c"):
    (directory(config, name) / "manifest.json").write_text("{}")


def replace_table(config, table):
    for path in Path(config.storage.data_dir).glob("state-*"):
        path.unlink()
    table.rename(Path(config.storage.data_dir) / table.name)


async def test_a_damaged_overdue_row_holds_up_no_other(config):
    clock = Clock()
    async with open_database(config, clock_ms=clock) as db:
        await db.vectors.create("c", dim=3, metric="l2")
        for number in range(40):
            await upsert(db, f"id{number:03}", ttl_ms=1000 + number)
    damage_row(config, 3)
    clock.now_ms += 5000
    async with open_database(config, clock_ms=clock) as db:
        # The others' ends are logged, though the damaged ones' time came first.
        frames = await collect(db, 24, since=0, types=frozenset({"vector_deleted"}))
        gone = [data["data"]["id"] for _, _, data in frames]
        assert gone == [f"id{number:03}" for number in range(16, 40)]
        assert "rows 0 to 15" in await found_damage(db)
        # Nothing is left to be asked for, again and again.
        assert not db.vectors.find("c").actor.expired()


async def test_more_damaged_rows_than_one_deletion_takes_hold_up_no_other(config):
    clock = Clock()
    async with open_database(config, clock_ms=clock) as db:
        await db.vectors.create("c", dim=3, metric="l2")
        for number in range(400):
            await upsert(db, f"id{number:03}", ttl_ms=1000 + number)
    for row in range(0, 320, 16):
        damage_row(config, row)
    clock.now_ms += 5000
    async with open_database(config, clock_ms=clock) as db:
        frames = await collect(db, 80, since=0, types=frozenset({"vector_deleted"}))
        assert frames[-1][2]["data"]["id"] == "id399"


@pytest.mark.parametrize("rows", [16, 40, 90])
async def test_a_damaged_collection_is_checkpointed_and_the_damage_stays_known(config, rows):
    async with open_database(config) as db:
        await fill(db, rows)
    damage_row(config, rows - 1)
    for start in range(3):
        async with open_database(config) as db:
            damage = await found_damage(db)
            assert f"rows {(rows - 1) // 16 * 16} to" in damage
            await upsert(db, f"new{start}")
            assert await db.snapshot() == db.last_offset
            with pytest.raises(Damaged, match="'c'"):
                db.vectors.get("c", f"id{rows - 1:03}")
            # A vacuum would give damaged rows a checksum that says they are sound.
            await db.vectors.delete("c", f"new{start}")
            with pytest.raises(Damaged):
                await db.vectors.vacuum("c")
            await upsert(db, f"new{start}")
            for each in range(start + 1):
                assert db.vectors.get("c", f"new{each}").vector == bytes(12)


async def test_a_damaged_collection_does_not_keep_the_log(config):
    log, state = Log(segment_max_bytes=2**20, retention_segments=1), State(checkpoint_pages=1)
    config = attrs.evolve(config, log=log, state=state)
    async with open_database(config) as db:
        await fill(db, 40)
        await db.vectors.create("broken", dim=3, metric="l2")
    damage_row(config, 3)
    damage_manifest(config, "broken")
    async with open_database(config) as db:
        await found_damage(db)
        for number in range(60):
            await db.put(f"k{number}", "x" * 60_000)
        await upsert(db, "late")
        await db.snapshot()
        ((kind, _, _),) = await collect(db, 1, since=1)
        assert kind == "gap", "the oldest segments went"
    async with open_database(config) as db:
        assert db.vectors.get("c", "late") is not None


async def test_a_collection_that_cannot_be_opened_stops_no_other_and_can_be_deleted(config):
    async with open_database(config) as db:
        await fill(db, 3)
        await fill(db, 3, collection="d")
        await db.put("k", 1)
        await db.snapshot()
    damage_manifest(config)
    async with open_database(config) as db:
        assert [each.name for each in db.vectors.all] == ["d"]
        assert list(db.vectors.broken) == ["c"]
        assert "kissvdb_collection_damaged" in db.metrics.render().decode()
        assert ids(await db.vectors.search("d", [2, 0, 0], 1)) == ["id002"]
        for refused in (
            lambda: db.vectors.search("c", [2, 0, 0], 1),
            lambda: db.vectors.upsert("c", "a", [1, 2, 3]),
        ):
            with pytest.raises(Damaged, match=r"manifest\.json"):
                await refused()
        with pytest.raises(AlreadyExists, match="delete it first"):
            await db.vectors.create("c", dim=3, metric="l2")
    async with open_database(config) as db:
        await db.vectors.drop("c")
        assert not directory(config).exists()
        with pytest.raises(NotFound):
            db.vectors.find("c")
        await db.vectors.create("c", dim=1, metric="l2")
    async with open_database(config) as db:
        assert {each.name for each in db.vectors.all} == {"c", "d"}


async def test_a_collection_that_cannot_be_opened_is_made_anew_where_the_log_has_all_of_it(
    config, tmp_path
):
    async with open_database(config) as db:
        tables = [block async for block in db.backup()]
        await fill(db, 5)
        await db.snapshot()
    backup.unpack(io.BytesIO(b"".join(tables)), tmp_path / "backup")
    # A table from before its creation: the replay begins there.
    replace_table(config, tmp_path / "backup" / "state-0.db")
    damage_manifest(config)
    async with open_database(config) as db:
        assert not db.vectors.broken
        assert ids(await db.vectors.search("c", [4, 0, 0], 2)) == ["id004", "id003"]


async def test_a_backup_holds_a_collection_that_cannot_be_opened_as_it_is(config, tmp_path):
    async with open_database(config) as db:
        await fill(db, 3)
        await db.snapshot()
    damage_manifest(config)
    async with open_database(config) as db:
        blocks = [block async for block in db.backup()]
    backup.unpack(io.BytesIO(b"".join(blocks)), tmp_path / "backup")
    backup.restore(tmp_path / "backup", tmp_path / "restored")
    restored = attrs.evolve(config, storage=Storage(data_dir=str(tmp_path / "restored")))
    async with open_database(restored) as db:
        assert list(db.vectors.broken) == ["c"]


async def test_a_broken_collection_that_is_deleted_meanwhile_breaks_no_backup(config):
    async with open_database(config) as db:
        for name in ("c", "d"):
            await db.vectors.create(name, dim=3, metric="l2")
        await db.snapshot()
    for name in ("c", "d"):
        damage_manifest(config, name)
    async with open_database(config) as db:
        assert set(db.vectors.broken) == {"c", "d"}
        # As between two looks of the backup's thread: one is gone, its entry is not.
        shutil.rmtree(directory(config, "c"))
        blocks = [block async for block in db.backup()]
    with tarfile.open(fileobj=io.BytesIO(b"".join(blocks))) as tar:
        names = tar.getnames()
    assert any(name.startswith("vectors/d/") for name in names)
    assert not any(name.startswith("vectors/c/") for name in names)
