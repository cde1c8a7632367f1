"""Every file that a backup opens is closed at a known moment, however the backup ends."""

import gc
import threading
import warnings
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.config import Config, Log, Storage
from kissvdb.engine.opening import open_database


@pytest.fixture
def config(tmp_path):
    return Config(
        storage=Storage(data_dir=str(tmp_path / "data")), log=Log(segment_max_bytes=2**20)
    )


@pytest.fixture
def left_to_the_collector():
    """The warnings of files that nobody closed, by the end of the test."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def unclosed(caught) -> list[str]:
    gc.collect()
    return [str(warning.message) for warning in caught]


async def consume(blocks, scope):
    with scope:
        async for _ in blocks:
            pass
    await blocks.aclose()


async def test_a_backup_whose_client_leaves_while_it_opens_the_log(config, left_to_the_collector):
    async with open_database(config) as db:
        await db.put("k", 1)
        # The log's thread is busy, as with a write that the disk is slow to take.
        gate = threading.Event()
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(db._store.log._thread.run, gate.wait)
            await wait_all_tasks_blocked()
            nursery.start_soon(consume, db.backup(), scope)
            while db._store.log._thread.statistics().jobs < 2:
                await trio.lowlevel.checkpoint()
            scope.cancel()
            await wait_all_tasks_blocked()
            gate.set()
        await db.put("k", 2)
    assert unclosed(left_to_the_collector) == []


async def test_a_backup_left_before_its_first_block(config, left_to_the_collector):
    async with open_database(config) as db:
        await db.put("k", 1)
        busy = db.threads.upkeep.statistics().limit
        gate, begun = threading.Event(), threading.Semaphore(0)

        def occupy():
            begun.release()
            gate.wait()

        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            blocks = db.backup()
            held = threading.Event()
            nursery.start_soon(db._store.log._thread.run, held.wait)
            nursery.start_soon(consume, blocks, scope)
            while db._store.log._thread.statistics().jobs < 2:
                await trio.lowlevel.checkpoint()
            for _ in range(busy):
                nursery.start_soon(db.threads.upkeep.run, occupy)
            for _ in range(busy):
                await trio.to_thread.run_sync(begun.acquire)
            # All is open now, and no thread is free to make a block of it.
            held.set()
            while not db.threads.upkeep.statistics().waiting:
                await trio.lowlevel.checkpoint()
            scope.cancel()
            await wait_all_tasks_blocked()
            gate.set()
    assert unclosed(left_to_the_collector) == []


async def test_a_backup_that_cannot_open_a_segment(config, left_to_the_collector):
    async with open_database(config) as db:
        for number in range(30):
            await db.put(f"k{number}", "x" * 60_000)
        log = Path(config.storage.data_dir) / "log"
        last = sorted(log.glob("*.log"))[-1]
        assert len(list(log.glob("*.log"))) > 1
        away = last.rename(last.with_suffix(".away"))
        with pytest.raises(FileNotFoundError):
            await anext(db.backup())
        away.rename(last)
    assert unclosed(left_to_the_collector) == []
