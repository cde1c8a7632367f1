"""Long jobs of one urgency never hold up work of another. The jobs wait for an event."""

import threading
from contextlib import asynccontextmanager

import pytest
import trio

from kissvdb.config import Config, Search, Storage
from kissvdb.core.events.stream import StreamQuery
from kissvdb.core.state.rules import Put
from kissvdb.engine.opening import open_database
from kissvdb.engine.state import view as state_view

PATIENCE_SECS = 60


@pytest.fixture
def config(tmp_path):
    return Config(storage=Storage(data_dir=str(tmp_path)), search=Search(compile=False, threads=2))


@asynccontextmanager
async def occupied(*pools):
    """Every thread of these is taken, and more jobs wait, for the length of the block."""
    gate, begun = threading.Event(), threading.Semaphore(0)

    def occupy():
        begun.release()
        gate.wait()

    async with trio.open_nursery() as nursery:
        try:
            with trio.fail_after(PATIENCE_SECS):
                for pool in pools:
                    limit = pool.statistics().limit
                    for _ in range(2 * limit):
                        nursery.start_soon(pool.run, occupy)
                    for _ in range(limit):
                        while not begun.acquire(blocking=False):
                            await trio.lowlevel.checkpoint()
                yield
        finally:
            gate.set()


async def test_vacuums_and_searches_hold_up_no_store_of_a_memtable(config, monkeypatch):
    monkeypatch.setattr(state_view, "ENTRIES_MAX", 50)
    async with open_database(config) as db, occupied(db.threads.upkeep, db.threads.searches):
        # So many that the first would have to wait for memtables to be stored.
        for start in range(0, 1000, 100):
            answers = await db.write_many([Put(f"k{start + n}", b"1") for n in range(100)])
            assert all(answer.revision == 1 for answer in answers)
        [table] = db._store.tables
        while table.applied_offset < 500:
            await trio.lowlevel.checkpoint()


async def test_vacuums_and_searches_hold_up_no_replay(config):
    async with open_database(config) as db:
        await db.put("k", 1)
        async with occupied(db.threads.upkeep, db.threads.searches):
            stream = db.subscribe(StreamQuery(since=0))
            while b"id: 1\n" not in await anext(stream):
                pass
            await stream.aclose()


async def test_vacuums_hold_up_neither_vectors_nor_their_search(config):
    async with open_database(config) as db:
        await db.vectors.create("c", dim=2, metric="l2")
        await db.vectors.upsert("c", "kept", [9, 9])
        async with occupied(db.threads.upkeep):
            await db.vectors.create("new", dim=2, metric="l2")
            for name in ("c", "new"):
                await db.vectors.upsert(name, "a", [1, 2])
                hits = await db.vectors.search(name, [1, 2], k=1)
                assert [hit.id for hit in hits] == ["a"]
            await db.vectors.drop("new")


async def test_replays_and_stores_hold_up_no_search(config):
    async with open_database(config) as db:
        await db.vectors.create("c", dim=2, metric="l2")
        await db.vectors.upsert("c", "a", [1, 2])
        async with occupied(db.threads.commits, db.threads.upkeep):
            [hit] = await db.vectors.search("c", [1, 2])
            assert hit.id == "a"
            # A write is durable in the log, whose thread is its own.
            await db.put("k", 1)
