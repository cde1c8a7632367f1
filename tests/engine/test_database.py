"""The database as an embedder uses it: writes, reads, expiry, recovery, backup."""

import io
import json
import shutil
from contextlib import suppress
from functools import partial

import attrs
import msgspec
import pytest
import trio

from kissvdb.config import Config, Log, State, Storage, Stream
from kissvdb.core.events.publishing import Publish
from kissvdb.core.state.rules import Delete, Precondition, Put
from kissvdb.engine import checkpoints
from kissvdb.engine.opening import open_database
from kissvdb.errors import (
    ConfigError,
    Damaged,
    DirectoryInUse,
    NotSupported,
    Overloaded,
    RevisionMismatch,
    Stopping,
)
from kissvdb.storage import backup
from kissvdb.storage.state import table as state_table
from tests.engine.sse import collect, places


@pytest.fixture
def config(tmp_path):
    return Config(storage=Storage(data_dir=str(tmp_path / "data")))


IN_MEMORY = Config(storage=Storage(memory=True))


class Clock:
    """Wall time that a test moves."""

    def __init__(self):
        self.now_ms = 1_700_000_000_000

    def __call__(self):
        return self.now_ms


@pytest.mark.parametrize("shards", [1, 3])
async def test_what_was_written_is_there_after_a_restart(config, shards):
    config = attrs.evolve(config, state=State(shards=shards))
    async with open_database(config) as db:
        for number in range(20):
            await db.put(f"k{number:02}", {"n": number})
        await db.delete("k07")
        last = db.last_offset
    async with open_database(config) as db:
        assert db.last_offset == last == 21
        page = await db.list("k", limit=100)
        assert [item.key for item in page.items] == [f"k{n:02}" for n in range(20) if n != 7]
        assert page.offset == 21
        assert db.get("k03").value == b'{"n":3}'
        assert (await db.put("k03", 1)).revision == 2


async def test_tables_that_lag_are_brought_up_to_date_from_the_log(config, tmp_path):
    async with open_database(config) as db:
        await db.put("a", 1)
    old = (tmp_path / "data" / "state-0.db").read_bytes()
    async with open_database(config) as db:
        await db.put("a", 2)
        await db.put("b", 1)
    (tmp_path / "data" / "state-0.db").write_bytes(old)
    async with open_database(config) as db:
        assert (db.get("a").value, db.get("b").value) == (b"2", b"1")
        assert db.get("b").offset == 3


async def test_offsets_go_on_after_the_log_was_removed(config, tmp_path):
    async with open_database(config) as db:
        for number in range(5):
            await db.put("a", number)
    for path in (tmp_path / "data" / "log").iterdir():
        path.unlink()
    async with open_database(config) as db:
        assert db.get("a").value == b"4"
        assert (await db.put("a", 5)).offset == 6
        assert places(await collect(db, 2)) == [5, 6]


async def test_a_table_that_lost_more_than_the_log_holds_is_refused(config, tmp_path):
    small = attrs.evolve(
        config,
        log=Log(segment_max_bytes=2**20, retention_segments=1),
        stream=Stream(ring_events=16),
    )
    value = "x" * 50_000
    async with open_database(small) as db:
        for number in range(60):
            await db.put(f"k{number}", value)
        await db.snapshot()
        gap, first = await collect(db, 2)
        assert gap[0] == "gap"
        assert gap[2]["from_offset"] == 1
        assert gap[2]["to_offset"] + 1 == first[1]
    (tmp_path / "data" / "state-0.db").unlink()
    with pytest.raises(Damaged, match="Restore a backup"):
        async with open_database(small):
            pass


@pytest.mark.parametrize("shards", [1, 4])
async def test_concurrent_increments_with_cas_lose_nothing(config, shards):
    config = attrs.evolve(config, state=State(shards=shards))

    async def increment(db, times):
        while times:
            item = db.get("n")
            value = 0 if item is None else json.loads(item.value)
            condition = Precondition(revision=0 if item is None else item.revision)
            try:
                await db.write(Put("n", b"%d" % (value + 1), precondition=condition))
            except RevisionMismatch:
                continue
            times -= 1

    async with open_database(config) as db:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(increment, db, 10)
        assert db.get("n").value == b"80"
        assert db.get("n").revision == 80


async def test_many_writes_are_answered_or_refused_one_by_one_in_order(config):
    config = attrs.evolve(config, state=State(shards=3))
    async with open_database(config) as db:
        await db.put("taken", 1)
        commands = [Put(f"k{n}", b"1") for n in range(6)]
        commands.insert(3, Put("taken", b"2", precondition=Precondition(revision=0)))
        answers = await db.write_many([*commands, Delete("k0")])
        assert isinstance(answers[3], RevisionMismatch)
        assert [answer.key for answer in answers[:3]] == ["k0", "k1", "k2"]
        assert answers[-1].deleted
        offsets = sorted(a.offset for a in answers if not isinstance(a, RevisionMismatch))
        assert offsets == list(range(2, 9))


async def test_no_writes_are_no_work(config):
    async with open_database(config) as db:
        assert await db.write_many([]) == []
        with pytest.raises(ValueError, match="at least one"):
            await db.publish_batch([])
        assert (await db.put("a", 1)).offset == 1


async def test_a_database_that_stops_refuses_many_writes_one_by_one(config):
    config = attrs.evolve(config, state=State(shards=3))
    async with open_database(config) as db:
        pass
    answers = await db.write_many([Put("a", b"1"), Put("b", b"1"), Put("c", b"1")])
    assert [type(answer) for answer in answers] == [Stopping] * 3


async def test_a_key_expires_without_any_read_and_says_so():
    clock = Clock()
    async with open_database(IN_MEMORY, clock_ms=clock) as db:
        await db.put("a", 1, ttl_ms=500)
        await db.put("b", 1)
        clock.now_ms += 500
        assert db.get("a") is None
        page = await db.list()
        assert [item.key for item in page.items] == ["b"]
        kind, place, event = (await collect(db, 1, since=2))[0]
        assert (kind, place, event["data"]) == ("state_deleted", 3, {"key": "a", "reason": "ttl"})
        assert (await db.put("a", 2)).revision == 1


async def test_lists_page_through_all_shards_in_byte_order():
    config = attrs.evolve(IN_MEMORY, state=State(shards=3))
    keys = [f"p/{name}" for name in ("", "a", "b", "z", "é", "日", "\U0001f600", "a b", "a%2Fb")]
    async with open_database(config) as db:
        await db.write_many([Put(key, b"1") for key in [*keys, "other", "q"]])
        found, after = [], None
        while True:
            page = await db.list("p/", limit=2, after=after)
            found += [item.key for item in page.items]
            after = page.cursor
            if after is None:
                break
        assert found == sorted(keys, key=str.encode)


async def test_a_full_mailbox_refuses_instead_of_waiting():
    config = attrs.evolve(IN_MEMORY, state=State(mailbox_size=1))
    async with open_database(config) as db:
        refused = []

        async def put(number):
            try:
                await db.put(f"k{number}", 1)
            except Overloaded as refusal:
                refused.append(refusal)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(put, number)
        assert refused
        assert (await db.put("after", 1)).revision == 1
        page = await db.list("k")
        assert len(page.items) == 20 - len(refused)


async def test_a_cancelled_write_still_happens(config):
    async with open_database(config) as db:
        with trio.move_on_after(0):
            await db.put("a", 1)
        # Asked after it in the same mailbox, so answered after it.
        await db.put("b", 1)
        assert db.get("a").value == b"1"


async def test_a_repeated_operation_is_answered_again_also_after_a_restart(config):
    async with open_database(config) as db:
        first = await db.write(Put("a", b"1", op_id="one"))
        event = await db.publish(Publish("note", b"{}", op_id="two"))
        await db.write(Put("a", b"2"))
        again = msgspec.structs.replace(first, repeated=True)
        assert await db.write(Put("a", b"1", op_id="one")) == again
    async with open_database(config) as db:
        assert await db.write(Put("a", b"1", op_id="one")) == again
        told = await db.publish(Publish("note", b"{}", op_id="two"))
        assert (told.offset, told.repeated) == (event.offset, True)
        assert db.get("a").value == b"2"
        assert db.last_offset == 3


async def test_a_second_database_on_the_directory_is_refused(config):
    async with open_database(config):
        with pytest.raises(DirectoryInUse, match="in use by process"):
            async with open_database(config):
                pass


async def test_another_number_of_shards_is_refused_once_there_are_keys(config):
    async with open_database(config):
        pass
    two = attrs.evolve(config, state=State(shards=2))
    async with open_database(two) as db:
        await db.put("a", 1)
        await db.put("b", 1)
    with pytest.raises(ConfigError, match="set STATE_SHARDS=2"):
        async with open_database(config):
            pass


async def test_a_snapshot_makes_the_tables_durable_files(config, tmp_path):
    async with open_database(config) as db:
        for number in range(10):
            await db.put(f"k{number}", number)
        await db.publish(Publish("note", b"{}"))
        assert await db.snapshot() == 11
        # The main file alone, without its WAL, has it all.
        alone = tmp_path / "alone.db"
        alone.write_bytes((tmp_path / "data" / "state-0.db").read_bytes())
        table = state_table.StateTable(alone)
        assert table.applied_offset == 11
        assert table.get("k9").value == b"9"
        table.close()


async def test_a_backup_taken_under_writes_restores_to_one_offset(config, tmp_path):
    stop = trio.Event()

    async def keep_writing(db):
        number = 0
        while not stop.is_set():
            number += 1
            await db.put(f"k{number % 10}", number)

    async with open_database(config) as db, trio.open_nursery() as nursery:
        await db.put("k0", 0)
        nursery.start_soon(keep_writing, db)
        blob = b"".join([block async for block in db.backup()])
        stop.set()
    copy = tmp_path / "copy"
    offset = await trio.to_thread.run_sync(partial(backup.unpack, io.BytesIO(blob), copy))
    target = tmp_path / "restored"
    assert backup.restore(copy, target) == offset
    async with open_database(Config(storage=Storage(data_dir=str(target)))) as db:
        assert db.last_offset == offset
        frames = await collect(db, offset)
        assert places(frames) == list(range(1, offset + 1))
        last = {event["data"]["key"]: event["data"]["value"] for _, _, event in frames}
        page = await db.list()
        assert {item.key: json.loads(item.value) for item in page.items} == last


async def test_a_server_in_memory_has_no_backup():
    async with open_database(IN_MEMORY) as db:
        with pytest.raises(NotSupported, match="--data-dir"):
            db.backup()


async def test_retention_keeps_what_a_running_backup_needs(tmp_path):
    config = Config(
        storage=Storage(data_dir=str(tmp_path / "data")),
        log=Log(segment_max_bytes=2**20, retention_segments=1),
        stream=Stream(ring_events=16),
    )
    async with open_database(config) as db:
        blocks = db.backup()
        await anext(blocks)
        value = "x" * 60_000
        for number in range(40):
            await db.put(f"k{number}", value)
        await db.snapshot()
        assert places(await collect(db, 1)) == [1]
        await blocks.aclose()
        await db.snapshot()
        # Not from 0: that chunk is still in the cache of those who replay.
        assert (await collect(db, 1, since=2))[0][0] == "gap"


async def test_a_start_after_a_stop_reads_no_log_for_what_is_in_files(tmp_path):
    config = Config(storage=Storage(data_dir=str(tmp_path)))
    read = []

    def progress(what, done, total):
        read.append(what)

    async with open_database(config) as db:
        for number in range(5):
            await db.put("k", number)
    async with open_database(config, progress=progress) as db:
        assert db.get("k").value == b"4"
    assert "replaying the log" not in read


async def test_a_start_reads_little_of_the_log_however_much_was_written_just_before(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoints, "RECORDS_MAX", 1000)
    monkeypatch.setattr(checkpoints, "LOOK_SECONDS", 0.01)
    settings = {"storage": Storage(data_dir=str(tmp_path / "data"), snapshot_interval_secs=86_400)}

    def files():
        found = [(each, each.stat()) for each in sorted((tmp_path / "data").rglob("*"))]
        return [(path, stat.st_size, stat.st_mtime_ns) for path, stat in found]

    async def crashed():
        """A copy of what a crash would leave: all of one moment, no thread stores meanwhile."""
        copy = tmp_path / "crashed"
        while True:
            await trio.sleep(0.1)
            shutil.rmtree(copy, ignore_errors=True)
            with suppress(FileNotFoundError, shutil.Error):
                before = files()
                shutil.copytree(tmp_path / "data", copy)
                if files() == before:
                    return copy

    async def read_after_a_crash():
        config = Config(storage=Storage(data_dir=str(await crashed())))
        read = []

        def progress(what, done, total):
            if what == "replaying the log":
                read.append(total)

        async with open_database(config, progress=progress) as db:
            assert db.get("k").value == b"39"
            assert db.vectors.get("c", "id").id == "id"
            assert (await db.publish(Publish("t", b"2"))).offset == 40_003
        return sum(read[-1:])

    async with open_database(Config(**settings)) as db:
        await db.vectors.create("c", dim=1, metric="l2")
        await db.vectors.upsert("c", "id", [1])
        for number in range(40):
            await db.write_many(
                [Publish("t", b"1") for _ in range(999)] + [Put("k", b"%d" % number)]
            )
            await trio.sleep(0.01)
        # As soon as the disk allows. API keys note where they are every 10,000 records.
        with trio.fail_after(60):
            while await read_after_a_crash() >= 15_000:
                pass
