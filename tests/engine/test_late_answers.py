"""What is durable is answered while the next writes are on their way, whatever becomes of those."""

import errno
import threading
from contextlib import asynccontextmanager

import pytest
import trio

from kissvdb.config import Config, Log, Storage
from kissvdb.core.events.publishing import Publish, record_of
from kissvdb.core.state.rules import Delete, Put, Written
from kissvdb.engine.asking import answered, submit
from kissvdb.engine.log.writer import Append
from kissvdb.engine.opening import open_database
from kissvdb.engine.state import view as state_view
from kissvdb.errors import PersistenceFailed
from tests.patience import PATIENCE_SECS


class Gates:
    """Each durable write of a log waits until it is let through; some are refused by the disk."""

    def __init__(self, database, patch):
        self.refuses = False
        self._began, self._open = threading.Semaphore(0), threading.Semaphore(0)
        file = database._store.log._log._file
        write = file.write_durable

        def held(data, at):
            self._began.release()
            assert self._open.acquire(timeout=PATIENCE_SECS)
            if self.refuses:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(data, at)

        patch.setattr(file, "write_durable", held)

    async def begun(self):
        assert await trio.to_thread.run_sync(lambda: self._began.acquire(timeout=PATIENCE_SECS))

    def let_through(self):
        self._open.release()


@asynccontextmanager
async def opened(tmp_path, monkeypatch):
    config = Config(storage=Storage(data_dir=str(tmp_path)), log=Log(io_uring=False))
    async with open_database(config) as database:
        with monkeypatch.context() as patch, trio.fail_after(PATIENCE_SECS):
            yield database, Gates(database, patch)


async def test_the_last_writes_are_answered_while_the_next_are_written(tmp_path, monkeypatch):
    async with opened(tmp_path, monkeypatch) as (database, gates):
        first = [database.put_soon("a", b"1"), database.submit(Put("b", b"1"))]
        await gates.begun()
        second = [database.put_soon("a", b"2"), database.submit(Delete("b"))]
        gates.let_through()
        await gates.begun()
        assert [await answered(each) for each in first] == [Written("a", 1, 1), Written("b", 1, 2)]
        assert not any(each.settled for each in second)
        assert database.get("a").value == b"1"
        gates.let_through()
        assert await answered(second[0]) == Written("a", 2, 3)
        assert (await answered(second[1])).offset == 4


async def test_they_are_answered_though_the_disk_refuses_the_next(tmp_path, monkeypatch):
    async with opened(tmp_path, monkeypatch) as (database, gates):
        first = database.put_soon("a", b"1")
        await gates.begun()
        second = database.put_soon("a", b"2")
        gates.let_through()
        await gates.begun()
        gates.refuses = True
        gates.let_through()
        assert await answered(first) == Written("a", 1, 1)
        with pytest.raises(PersistenceFailed):
            await answered(second)
        assert database.get("a").revision == 1


async def test_they_are_answered_though_the_next_have_to_wait_for_room(tmp_path, monkeypatch):
    monkeypatch.setattr(state_view, "ENTRIES_MAX", 2)
    async with opened(tmp_path, monkeypatch) as (database, gates):
        [upkeep] = database._state.targets()
        async with upkeep._writing:
            first = [database.put_soon(key, b"1") for key in "abc"]
            await gates.begun()
            second = database.put_soon("a", b"2")
            gates.let_through()
            assert [(await answered(each)).offset for each in first] == [1, 2, 3]
            assert not second.settled
        await gates.begun()
        gates.let_through()
        assert (await answered(second)).revision == 2


async def test_they_do_not_wait_for_a_write_of_others_that_is_under_way(tmp_path, monkeypatch):
    async with opened(tmp_path, monkeypatch) as (database, gates):
        # As where the log writes by io_uring: what came meanwhile is begun before answers are.
        monkeypatch.setattr(type(database._store.log), "overlaps", True)
        first = database.put_soon("a", b"1")
        await gates.begun()
        others = submit(database._log, Append([record_of(Publish("t", b"1"), None)]))
        second = database.put_soon("a", b"2")
        gates.let_through()
        await gates.begun()
        assert (await answered(first)).revision == 1
        for _ in range(2):
            gates.let_through()
        assert await answered(others) == 2
        assert (await answered(second)).revision == 2
