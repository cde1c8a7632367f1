"""A backup that is taken and read slowly, while everything is written, against a journal. Seeded.

Whatever is written between any two of its steps, what is restored is the database as it was at the
offset that the backup names: every answered write up to there, and nothing else.
"""

import io
import random

import attrs
import pytest
import trio

from kissvdb.config import Config, Log, Search, State, Storage
from kissvdb.core.events.publishing import Publish
from kissvdb.engine.opening import open_database
from kissvdb.errors import AlreadyExists, NotFound
from kissvdb.storage import backup
from tests.engine.sse import collect

KEYS = [f"k{n}" for n in range(6)]
NAMES = ["a", "b", "c"]
IDS = [f"v{n}" for n in range(8)]
DIM = 3
WRITES_BETWEEN_MAX = 12


class Journal:
    """Answered writes by their offsets, and what they make."""

    def __init__(self):
        self.writes = []

    def at(self, offset):
        """(keys, collections, events) as they are up to this offset."""
        keys, collections, events = {}, {}, []
        for _, write in sorted((each for each in self.writes if each[0] <= offset), key=first):
            kind, name, *rest = write
            if kind == "put":
                keys[name] = rest[0]
            elif kind == "delete":
                del keys[name]
            elif kind == "event":
                events.append(name)
            elif kind == "create":
                collections[name] = {}
            elif kind == "drop":
                del collections[name]
            elif kind == "upsert":
                collections[name][rest[0]] = rest[1]
            else:
                del collections[name][rest[0]]
        return keys, collections, events


def first(pair):
    return pair[0]


class Writer:
    """Writes all the time, one thing after the other, until ``stopping``."""

    def __init__(self, db, chance):
        self.journal = Journal()
        self.done = 0
        self.stopping = False
        self.waits_for_upkeep = False
        self._db = db
        self._chance = chance
        self._news = trio.lowlevel.ParkingLot()

    async def run(self):
        while not self.stopping:
            await self.write()
            self.done += 1
            self._news.unpark_all()
            await trio.lowlevel.checkpoint()

    async def more(self, count):
        """Wait for so many writes more; not while the next waits for who asks this."""
        until = self.done + count
        while self.done < until and not self.waits_for_upkeep:
            await self._news.park()

    async def write(self):
        chance, vectors = self._chance, self._db.vectors
        name, id_, number = chance.choice(NAMES), chance.choice(IDS), chance.randrange(1000)
        action = chance.choices(
            [self.put, self.delete, self.publish, self.upsert, self.remove], [3, 1, 2, 6, 2]
        )[0]
        try:
            if chance.random() < 0.12:
                offset = await vectors.create(name, dim=DIM, metric="l2")
                self.note(offset, "create", name)
            elif chance.random() < 0.06:
                await self.wait_for_upkeep(self.drop, name)
            elif chance.random() < 0.04:
                await self.wait_for_upkeep(vectors.vacuum, name)
            elif chance.random() < 0.03:
                await self.wait_for_upkeep(self._db.snapshot)
            else:
                await action(name, id_, number)
        except (AlreadyExists, NotFound):
            pass

    async def wait_for_upkeep(self, action, *args):
        self.waits_for_upkeep = True
        self._news.unpark_all()
        try:
            await action(*args)
        finally:
            self.waits_for_upkeep = False

    async def drop(self, name):
        self.note(await self._db.vectors.drop(name), "drop", name)

    async def put(self, name, id_, number):
        key = self._chance.choice(KEYS)
        self.note((await self._db.put(key, number)).offset, "put", key, b"%d" % number)

    async def delete(self, name, id_, number):
        key = self._chance.choice(KEYS)
        answer = await self._db.delete(key)
        if answer.deleted:
            self.note(answer.offset, "delete", key)

    async def publish(self, name, id_, number):
        answer = await self._db.publish(Publish("note", b"%d" % number))
        self.note(answer.offset, "event", number)

    async def upsert(self, name, id_, number):
        answer = await self._db.vectors.upsert(name, id_, [number, 1, 0], {"n": number})
        self.note(answer.offset, "upsert", name, id_, b'{"n":%d}' % number)

    async def remove(self, name, id_, number):
        self.note((await self._db.vectors.delete(name, id_)).offset, "remove", name, id_)

    def note(self, offset, *write):
        self.journal.writes.append((offset, write))


async def found_in(db):
    """(keys, collections) of an open database."""
    page = await db.list(limit=1000)
    keys = {item.key: item.value for item in page.items if item.key in KEYS}
    collections = {
        each.name: {row.id: row.meta for row in each.actor.view().scroll(limit=1000)}
        for each in db.vectors.all
    }
    return keys, collections


async def events_in(db, count):
    frames = await collect(db, count, types=frozenset({"note"})) if count else []
    return [data["data"] for _, _, data in frames]


async def slow_backup(db, writer, chance, monkeypatch):
    """The blocks of a backup with writes before each of its steps."""
    itself = trio.lowlevel.current_task()

    def slowed(run):
        async def run_late(job, *args):
            if trio.lowlevel.current_task() is itself:
                await writer.more(chance.randrange(WRITES_BETWEEN_MAX))
            return await run(job, *args)

        return run_late

    with monkeypatch.context() as patch:
        upkeep = db.threads.upkeep
        patch.setattr(upkeep, "run", slowed(upkeep.run))
        return b"".join([block async for block in db.backup()])


async def live_through(seed, directory, monkeypatch):
    chance = random.Random(seed)
    config = Config(
        storage=Storage(data_dir=str(directory / "data")),
        search=Search(compile=False),
        state=State(shards=chance.choice((1, 2))),
        log=Log(segment_max_bytes=2**20, retention_segments=1),
    )
    async with open_database(config) as db, trio.open_nursery() as nursery:
        writer = Writer(db, chance)
        nursery.start_soon(writer.run)
        await writer.more(chance.randrange(150))
        tar = await slow_backup(db, writer, chance, monkeypatch)
        # What it is writing may be in the backup: its answer is waited for.
        writer.stopping = True
    offset = backup.unpack(io.BytesIO(tar), directory / "backup")
    backup.restore(directory / "backup", directory / "restored")
    keys, collections, events = writer.journal.at(offset)
    restored = attrs.evolve(config, storage=Storage(data_dir=str(directory / "restored")))
    # A second start must find what the first one made.
    for _ in range(2):
        async with open_database(restored) as db:
            assert await found_in(db) == (keys, collections), f"seed {seed}"
            assert await events_in(db, len(events)) == events, f"seed {seed}"


@pytest.mark.parametrize("seed", range(12))
async def test_a_backup_taken_beside_writes_is_the_database_at_its_offset(
    seed, tmp_path, monkeypatch
):
    await live_through(seed, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1200))
async def test_many_backups_taken_beside_writes_are_the_database_at_their_offset(
    seed, tmp_path, monkeypatch
):
    await live_through(seed, tmp_path, monkeypatch)


async def test_a_collection_made_and_filled_after_the_call_is_in_the_backup(tmp_path):
    config = Config(storage=Storage(data_dir=str(tmp_path / "data")), search=Search(compile=False))
    async with open_database(config) as db:
        blocks = db.backup()
        await db.vectors.create("late", dim=DIM, metric="dot", ttl_ms=10**9)
        await db.vectors.upsert("late", "v", [1, 2, 3], {"n": 1})
        last = db.last_offset
        tar = b"".join([block async for block in blocks])
    assert backup.unpack(io.BytesIO(tar), tmp_path / "backup") == last
    backup.restore(tmp_path / "backup", tmp_path / "restored")
    restored = attrs.evolve(config, storage=Storage(data_dir=str(tmp_path / "restored")))
    async with open_database(restored) as db:
        spec = db.vectors.find("late").actor.rows.spec
        assert (spec.dim, spec.metric, spec.ttl_ms) == (DIM, "dot", 10**9)
        assert db.vectors.get("late", "v").meta == b'{"n":1}'
