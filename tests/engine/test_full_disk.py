"""A disk without room: writes are refused, reads go on, and all goes on when there is room."""

import errno
from contextlib import contextmanager

import pytest
import trio

from kissvdb.config import Config, Log, Storage
from kissvdb.core.state.rules import Put
from kissvdb.engine import upkeep
from kissvdb.engine.opening import open_database
from kissvdb.engine.state import upkeep as state_upkeep
from kissvdb.engine.state import view as state_view
from kissvdb.errors import PersistenceFailed
from tests.patience import PATIENCE_SECS


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    """Tries again soon, and takes little for much."""
    monkeypatch.setattr(upkeep, "REFUSED_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(state_upkeep, "REFUSED_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(state_view, "ENTRIES_MAX", 500)


@pytest.fixture
def config(tmp_path):
    return Config(storage=Storage(data_dir=str(tmp_path)), log=Log(io_uring=False))


async def until(condition):
    with trio.fail_after(PATIENCE_SECS):
        while not condition():
            await trio.lowlevel.checkpoint()


@contextmanager
def no_room_for_the_log(database, monkeypatch):
    def refuse(data, at):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(database._store.log._log._file, "write_durable", refuse)
        yield


@contextmanager
def no_room_for_the_table(database):
    """SQLite itself says that the disk is full."""
    [table] = database._store.tables
    connection = table.writer._db
    pages = connection.execute("PRAGMA page_count").get
    before = connection.execute("PRAGMA max_page_count").get
    connection.execute(f"PRAGMA max_page_count = {pages}")
    yield
    connection.execute(f"PRAGMA max_page_count = {before}")


async def put_many(database, numbers):
    answers = await database.write_many([Put(f"k{n:05}", b'"%s"' % (b"x" * 100)) for n in numbers])
    return [each for each in answers if isinstance(each, PersistenceFailed)]


async def test_a_key_expires_though_its_end_cannot_be_logged_yet(config, monkeypatch):
    now_ms = 1_000
    async with open_database(config, clock_ms=lambda: now_ms) as database:
        await database.put("a", 1, ttl_ms=10)
        with no_room_for_the_log(database, monkeypatch):
            now_ms = 2_000
            await trio.sleep(4 * upkeep.EXPIRY_TICK_SECONDS)
            assert database.get("a") is None
            with pytest.raises(PersistenceFailed, match="No space left"):
                await database.put("b", 1)
        await until(lambda: database.last_offset == 2)
        assert (await database.put("b", 1)).offset == 3


async def test_a_table_that_cannot_be_stored_loses_nothing(config):
    async with open_database(config) as database:
        [table] = database._store.tables
        with no_room_for_the_table(database):
            refused = []
            with trio.fail_after(PATIENCE_SECS):
                for start in range(0, 10_000, 100):
                    refused = await put_many(database, range(start, start + 100))
                    if refused:
                        break
            assert "full" in refused[0].message
            kept = start
            assert database.get("k00000").value == b'"%s"' % (b"x" * 100)
            assert len((await database.list(limit=20_000)).items) == kept
            with pytest.raises(PersistenceFailed, match="full"):
                await database.snapshot()
            assert table.applied_offset < kept
        await until(lambda: table.applied_offset == kept)
        assert not await put_many(database, range(kept, kept + 100))
    async with open_database(config) as database:
        assert len((await database.list(limit=20_000)).items) == kept + 100


async def test_a_database_that_ends_without_room_for_the_table_replays_the_log(config):
    async with open_database(config) as database:
        with no_room_for_the_table(database):
            assert not await put_many(database, range(300))
            await database.finish()
    async with open_database(config) as database:
        assert len((await database.list(limit=1000)).items) == 300


async def test_segments_that_cannot_be_removed_are_kept_and_nothing_ends(config, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    async with open_database(config) as database:
        with monkeypatch.context() as patch:
            patch.setattr(database._store.log._log, "retain", refuse)
            await database.put("a", 1)
            assert await database.snapshot() == 1
        assert (await database.put("a", 2)).offset == 2
        assert await database.snapshot() == 2
