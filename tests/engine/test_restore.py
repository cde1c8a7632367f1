"""A restored backup: offsets that clients remember from the lost future are nobody's again."""

import io
import json
from functools import partial

import pytest
import trio

from kissvdb.commands.log_dump import dump
from kissvdb.config import Config, Storage
from kissvdb.core.events.publishing import Publish, StreamQuery
from kissvdb.core.rows.rules import Upsert
from kissvdb.engine.opening import open_database
from kissvdb.errors import RevisionMismatch
from kissvdb.storage import backup
from kissvdb.storage.check import check, repair
from kissvdb.storage.data_dir import read_meta
from tests.engine.sse import collect, places


def on_disk(path):
    return Config(storage=Storage(data_dir=str(path)))


async def put_many(db, count):
    for number in range(count):
        await db.put("k", number)


async def backed_up(db, path):
    blob = b"".join([block async for block in db.backup()])
    return await trio.to_thread.run_sync(partial(backup.unpack, io.BytesIO(blob), path))


@pytest.fixture
async def restored(tmp_path):
    """The directory of a database that was at offset 65, restored as it was at 15."""
    async with open_database(on_disk(tmp_path / "data")) as db:
        await put_many(db, 15)
        assert await backed_up(db, tmp_path / "copy") == 15
        await put_many(db, 50)
        assert db.last_offset == 65
    assert backup.restore(tmp_path / "copy", tmp_path / "restored") == 15
    return tmp_path / "restored"


async def test_a_restore_gives_no_offset_away_again(restored, tmp_path):
    first = read_meta(tmp_path / "data")
    async with open_database(on_disk(restored)) as db:
        assert db.epoch != first.epoch
        assert (await db.put("k", 1)).offset > 65
        with pytest.raises(RevisionMismatch, match="another offset"):
            await db.put("k", 2, if_offset=16)
    assert check(restored).ok


async def test_two_restores_of_one_backup_give_away_different_offsets(restored, tmp_path):
    backup.restore(tmp_path / "copy", tmp_path / "again")
    async with open_database(on_disk(restored)) as db:
        await put_many(db, 10)
        seen = db.last_offset
        epoch = db.epoch
    async with open_database(on_disk(tmp_path / "again")) as db:
        await put_many(db, 20)
        assert db.epoch != epoch
        gap, following = await collect(db, 2, since=seen)
        assert gap[0] == "gap"
        assert following[1] > seen


@pytest.mark.parametrize("written", [0, 10])
async def test_a_client_from_the_lost_future_gets_one_gap_and_then_everything(restored, written):
    async with open_database(on_disk(restored)) as db:
        await put_many(db, written)
        (gap,) = await collect(db, 1, since=65)
        assert (gap[0], gap[2]["reason"], gap[2]["epoch"]) == ("gap", "epoch", db.epoch)
        assert gap[2]["from_offset"] == 16
        assert gap[1] == gap[2]["to_offset"]
        await put_many(db, 10 - written)
        # Whether it stays or comes back with the gap's id.
        frames = await collect(db, 10, since=gap[1])
        assert places(frames) == list(range(gap[1] + 1, gap[1] + 11))
        assert await collect(db, 11, since=65) == [gap, *frames]


async def test_a_client_from_before_the_backup_misses_nothing_and_hears_of_no_gap(restored):
    async with open_database(on_disk(restored)) as db:
        await put_many(db, 2)
        last = db.last_offset
        for since in (0, 10, 15):
            frames = await collect(db, 17 - since, since=since)
            assert places(frames) == [*range(since + 1, 16), last - 1, last]


async def test_the_epoch_tells_places_apart_where_numbers_do_not(restored, tmp_path):
    old = read_meta(tmp_path / "data").epoch
    async with open_database(on_disk(restored)) as db:
        await put_many(db, 2)
        assert places(await collect(db, 1, since=10, epoch=old)) == [11]
        gap, following = await collect(db, 2, since=65, epoch=old)
        assert (gap[0], following[1]) == ("gap", gap[1] + 1)
    async with open_database(on_disk(tmp_path / "new")) as db:
        await put_many(db, 75)
        assert places(await collect(db, 1, since=65)) == [66]
        gap, following = await collect(db, 2, since=65, epoch=old)
        assert (gap[0], gap[1], gap[2]["reason"]) == ("gap", 0, "epoch")
        assert following[1] == 1


async def test_the_boundary_outlives_restarts_and_a_second_restore(restored, tmp_path):
    async with open_database(on_disk(restored)) as db:
        await put_many(db, 3)
        second = await backed_up(db, tmp_path / "second")
        await put_many(db, 5)
        lost = db.last_offset
    async with open_database(on_disk(restored)) as db:
        assert (await collect(db, 1, since=65))[0][0] == "gap"
    backup.restore(tmp_path / "second", tmp_path / "third")
    async with open_database(on_disk(tmp_path / "third")) as db:
        await put_many(db, 1)
        for since, first_lost in ((65, 16), (lost, second + 1)):
            (gap,) = await collect(db, 1, since=since)
            assert (gap[0], gap[2]["from_offset"]) == ("gap", first_lost)
    report = check(tmp_path / "third")
    assert report.ok
    assert [line.split(":")[1] for line in report.epochs] == [
        " ended at offset 15",
        f" ended at offset {second}",
        f" began after offset {read_meta(tmp_path / 'third').epoch_floor}",
    ]
    lines = [json.loads(line) for line in dump(tmp_path / "third", 0)]
    began = [line["data"]["previous_offset"] for line in lines if line["type"] == "epoch"]
    assert began == [15, second]
    assert len(lines) == 15 + 3 + 1 + 2


async def test_a_place_in_what_a_repair_has_cut_gets_a_gap(tmp_path):
    async with open_database(on_disk(tmp_path / "data")) as db:
        epoch = db.epoch
        for number in range(30):
            await db.put(f"key-{number}", "x" * 100)
    (segment,) = (tmp_path / "data" / "log").glob("*.log")
    content = bytearray(segment.read_bytes())
    content[content.index(b"key-10")] ^= 1
    segment.write_bytes(content)
    assert repair(tmp_path / "data").ok
    async with open_database(on_disk(tmp_path / "data")) as db:
        assert db.epoch != epoch
        await db.put("k", 1)
        for said in (None, epoch):
            gap, following = await collect(db, 2, since=20, epoch=said)
            assert (gap[0], gap[2]["from_offset"], gap[2]["reason"]) == ("gap", 11, "epoch")
            assert following[1] == gap[1] + 1 == db.last_offset


async def test_a_backup_that_is_served_as_it_is_begins_an_epoch_too(restored, tmp_path):
    old = read_meta(tmp_path / "data").epoch
    async with open_database(on_disk(tmp_path / "copy")) as db:
        assert db.epoch != old
        assert (await db.put("k", 1)).offset > 65
    epoch = read_meta(tmp_path / "copy").epoch
    async with open_database(on_disk(tmp_path / "copy")) as db:
        assert db.epoch == epoch


async def test_an_operation_of_the_lost_future_is_done_and_one_before_it_is_not(tmp_path):
    before = Publish("note", b"1", op_id="before")
    after = Publish("note", b"2", op_id="after")
    async with open_database(on_disk(tmp_path / "data")) as db:
        await db.vectors.create("c", dim=1, metric="l2")
        one = (await db.write(before)).offset
        vector = await db.vectors.write("c", Upsert("a", b"\0\0\0\0", op_id="before"))
        await backed_up(db, tmp_path / "copy")
        two = (await db.write(after)).offset
        await db.vectors.write("c", Upsert("b", b"\0\0\0\0", op_id="after"))
    backup.restore(tmp_path / "copy", tmp_path / "restored")
    async with open_database(on_disk(tmp_path / "restored")) as db:
        # New operations do not push those before the boundary out of memory.
        await db.write(Publish("note", b"3", op_id="new"))
        await db.snapshot()
        assert (await db.write(before)).offset == one
        assert (await db.write(after)).offset > two
        await db.vectors.write("c", Upsert("b", b"\0\0\0\0", op_id="after"))
        assert db.vectors.get("c", "b") is not None
        again = await db.vectors.write("c", Upsert("a", b"\0\0\0\0", op_id="before"))
        assert again.offset == vector.offset


async def test_a_database_in_memory_begins_above_what_an_earlier_one_gave_away():
    memory = Config(storage=Storage(memory=True))
    async with open_database(memory, memory_floor=1000) as db:
        await put_many(db, 10)
        assert db.last_offset == 1010
        assert places(await collect(db, 10)) == list(range(1001, 1011))
        gap, following = await collect(db, 2, since=5)
        assert (gap[0], gap[1], gap[2]["reason"]) == ("gap", 1000, "epoch")
        assert following[1] == 1001
        assert (await db.list()).offset == 1010


async def test_an_empty_database_in_memory_is_live_from_its_floor():
    memory = Config(storage=Storage(memory=True))
    async with open_database(memory, memory_floor=1000) as db:
        for since in (0, 1000):
            blobs = db.subscribe(StreamQuery(since=since))
            assert await anext(blobs) == b": ok\n\n"
            await db.put("k", since)
            assert b"id: %d\n" % db.last_offset in await anext(blobs)
            await blobs.aclose()
