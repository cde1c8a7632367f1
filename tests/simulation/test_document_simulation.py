"""The rows of documents against their keys, through installs in any order, upkeep, and crashes
between any two bytes of a checkpoint. Seeded.

The log is taken to be whole (its own simulation is for that); the table of a shard is what it was
when it was stored last. After a crash rows must be what the keys are.
"""

import random
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from actors import open_supervisor
from kissvdb.core.state.rules import Delete, Patch, Put, StateBatch
from kissvdb.core.text.settings import TextSettings
from kissvdb.engine.documents import document_store
from kissvdb.engine.documents.collection import DocumentCollection, DocumentsContext
from kissvdb.engine.documents.document_store import DocumentStore
from kissvdb.engine.documents.pending import DocumentTap
from kissvdb.engine.recovery import shard_of
from kissvdb.engine.rows.shared_kernels import SharedKernels
from kissvdb.engine.rows.upkeep import CollectionUpkeep
from kissvdb.records import Item, KeyDeleted, KeyWritten
from kissvdb.storage.disk import Disk, DiskFile
from kissvdb.storage.rows import array_file
from tests.simulation.fake_disk import PowerCut
from tests.simulation.test_collection_simulation import lose_what_was_not_stored

COLLECTION = "c"
KEYS = [f"doc:c:{n}" for n in range(60)] + ["doc:other:1", "plain", "doc:c", "docs:c"]
TEXTS = [None, TextSettings.from_json({"fields": ["t"], "others": False})]


class Budget:
    """Cuts the power after so many bytes, or steps, of files."""

    def __init__(self):
        self.left = None

    def spend(self, wanted):
        if self.left is None:
            return wanted
        granted = min(wanted, self.left)
        self.left -= granted
        return granted


@pytest.fixture
def budget(monkeypatch):
    found = Budget()

    def cut(owner, name):
        real = getattr(owner, name)

        def written(*arguments):
            place = next(
                n for n, each in enumerate(arguments) if isinstance(each, memoryview | bytes)
            )
            data = arguments[place]
            granted = found.spend(len(data))
            real(*arguments[:place], data[:granted], *arguments[place + 1 :])
            if granted < len(data):
                raise PowerCut

        monkeypatch.setattr(owner, name, written)

    def step(owner, name):
        real = getattr(owner, name)

        def done(*arguments):
            if not found.spend(1):
                raise PowerCut
            return real(*arguments)

        monkeypatch.setattr(owner, name, done)

    cut(array_file, "_write")
    cut(DiskFile, "write")
    for owner, name in ((DiskFile, "sync"), (Disk, "rename"), (Disk, "remove"), (Disk, "sync_dir")):
        step(owner, name)
    return found


class Inline:
    """Threads that are none: everything happens in one order."""

    async def run(self, job, *arguments):
        return job(*arguments)


@attrs.define(eq=False)
class Threads:
    commits: Inline = attrs.Factory(Inline)


class Shard:
    """Keys as a `StateShard` has them, with a table that is behind."""

    def __init__(self, stored=({}, 0)):
        self.items, self.stored_offset = dict(stored[0]), stored[1]
        self.stored = stored
        self.true_offset = stored[1]
        self.view = self

    def store(self):
        self.stored = (dict(self.items), self.true_offset)

    def apply(self, offset, record):
        if isinstance(record, KeyDeleted):
            self.items.pop(record.key, None)
        else:
            item = Item(record.key, record.value, record.revision, offset, record.expires_at_ms)
            self.items[record.key] = item

    def scan(self, prefix, *, after, limit, now_ms):
        keys = sorted(key for key in self.items if key.startswith(prefix) and key > (after or ""))
        found = [self.items[key] for key in keys[:limit]]
        living = [each for each in found if not is_over(each, now_ms)]
        # As in the real one there is a last item where there is more.
        return living or found[:0], len(keys) > limit and bool(living)


def is_over(item, now_ms):
    return item.expires_at_ms is not None and item.expires_at_ms <= now_ms


class World:
    """A log, its shards, and the rows of one collection on disk."""

    def __init__(self, chance, directory, budget):
        self.chance, self.directory, self.budget = chance, directory, budget
        self.log = []
        self.now_ms = 1000
        self.text = None
        self.shards = [Shard() for _ in range(chance.choice((1, 1, 2, 3)))]
        self.waiting = []
        self.kernels = SharedKernels()
        self.crashes = self.built = self.seen = 0

    @property
    def offset(self):
        return len(self.log)

    @asynccontextmanager
    async def life(self):
        """From a start to a crash."""
        store = DocumentStore(self.directory, self.kernels)
        store.distrust(1, self.offset, [shard.stored[1] for shard in self.shards])
        self.shards = [Shard(shard.stored) for shard in self.shards]
        self.waiting = []
        replayed = list(enumerate(self.log, 1))
        for start in range(0, len(replayed), 7):
            part = replayed[start : start + 7]
            for offset, record in part:
                shard = self.shard(record.key)
                if offset > shard.stored_offset:
                    shard.apply(offset, record)
            store.view().replay(part, part[-1][0])
        for shard in self.shards:
            shard.true_offset = self.offset
        self.tap = DocumentTap(lambda: self.offset, 10)
        self.tap.pending(COLLECTION)
        around = DocumentsContext(self.tap, self.shards, lambda: self.now_ms, Threads())
        stored = store.collections.get(COLLECTION)
        whole = stored is not None
        if stored is None:
            stored = store.create(COLLECTION, self.now_ms, self.text)
        self.store = store
        self.actor = DocumentCollection(COLLECTION, stored, around, built=whole)
        async with open_supervisor(drain_seconds=0.01) as supervisor:
            address = await supervisor.start(self.actor)
            self.upkeep = CollectionUpkeep(self.actor, address, stored, Inline())
            self.actor.begin(address)
            if not whole:
                self.built += 1
                await self.actor.build()
            yield
            # The process is gone.
            self.budget.left = None
        store.close()

    def shard(self, key):
        return self.shards[shard_of(key, len(self.shards))]

    async def step(self):
        actions = (
            (10, self.write),
            (5, self.install),
            (3, self.compare),
            (3, self.work),
            (1, self.pass_time),
            (1, self.save),
            (0.3, self.vacuum),
            (0.2, self.retext),
            (1, self.store_a_table),
        )
        weights = [weight for weight, _ in actions]
        await self.chance.choices([action for _, action in actions], weights)[0]()

    async def write(self):
        """A batch of one shard is decided and logged; it may be installed later."""
        shard = self.chance.choice(self.shards)
        if any(each is shard for each, _, _ in self.waiting):
            return
        keys = [key for key in KEYS if self.shard(key) is shard]
        batch = StateBatch(shard.items.get, lambda op_id: None, self.now_ms)
        for _ in range(self.chance.choice((1, 2, 30)) if keys else 0):
            batch.decide(self.command(self.chance.choice(keys)))
        batch.expire([item.key for item in shard.items.values() if is_over(item, self.now_ms)])
        # As in the real one: not true beyond what was there when it asked.
        asked_at, first = self.offset, self.offset + 1
        self.log += batch.records
        shard.true_offset = asked_at
        self.waiting.append((shard, first, batch))
        if self.chance.random() < 0.7:
            await self.install()

    def command(self, key):
        value = b'{"n":%d,"t":"word%d of %d"}' % tuple(self.chance.randrange(9) for _ in range(3))
        if self.chance.random() < 0.25:
            return Delete(key)
        ttl_ms = self.chance.choice((None, None, None, 5, 60))
        return self.chance.choice((Put, Patch))(key, value, ttl_ms)

    async def install(self):
        """Shards install in any order; those of one turn are seen together."""
        self.chance.shuffle(self.waiting)
        for _ in range(self.chance.choice((1, 2, 3))):
            if not self.waiting:
                break
            shard, first, batch = self.waiting.pop()
            for offset, record in enumerate(batch.records, first):
                shard.apply(offset, record)
            if batch.holds_documents:
                self.tap.installed(first, batch.records)
        for shard in self.shards:
            if not any(each is shard for each, _, _ in self.waiting):
                shard.true_offset = self.offset
        if self.chance.random() < 0.3:
            await trio.sleep(0.02)

    async def compare(self):
        view = await self.actor.view()
        self.seen += 1
        found = {
            row.id: (row.meta, row.revision, row.offset, row.expires_at_ms)
            for row in view.scroll(limit=10**6)
        }
        assert found == self.expected()
        assert self.actor.true_offset <= self.offset
        assert view.ids_matching(None) == list(found)

    def expected(self):
        return {
            item.key.removeprefix("doc:c:"): (
                item.value,
                item.revision,
                item.offset,
                item.expires_at_ms,
            )
            for shard in self.shards
            for item in shard.items.values()
            if item.key.startswith("doc:c:") and not is_over(item, self.now_ms)
        }

    async def work(self):
        await self.upkeep._work("due")

    async def vacuum(self):
        await self.upkeep.vacuum()

    async def pass_time(self):
        self.now_ms += self.chance.choice((1, 10, 100))

    async def store_a_table(self):
        self.chance.choice(self.shards).store()

    async def save(self):
        """Part of the time the power is cut in the middle of it."""
        if self.chance.random() < 0.4:
            self.budget.left = self.chance.choice((3, 40, 4000, 40_000))
            self.budget.left = self.chance.randrange(self.budget.left)
        await self.upkeep.save()
        self.budget.left = None

    async def retext(self):
        """Other rows are built while writes go on."""
        self.text = self.chance.choice(TEXTS)
        async with self.upkeep.alone("text settings"), trio.open_nursery() as nursery:
            space = self.actor.rows.space.successor()
            rows = self.store.rows(COLLECTION, 0, self.text, space)
            nursery.start_soon(self.actor.build, rows)
            for _ in range(self.chance.randrange(4)):
                await self.write()
                await trio.lowlevel.checkpoint()
        assert self.actor.rows.spec.text == self.text

    async def live(self, steps):
        while steps:
            try:
                async with self.life():
                    await self.compare()
                    for _ in range(self.chance.randrange(60)):
                        steps -= 1
                        await self.step()
                        if not steps:
                            break
            except* PowerCut:
                self.crashes += 1
            self.budget.left = None
            if (self.directory / "documents" / COLLECTION / "manifest.json").exists():
                self.lose()

    def lose(self):
        """What no checkpoint stored may be anything."""
        lose_what_was_not_stored(self.directory / "documents" / COLLECTION, self.chance)


async def live_through(seed, directory, budget, steps):
    world = World(random.Random(seed), directory, budget)
    await world.live(steps)
    async with world.life():
        await world.compare()
    return world


async def test_rows_are_what_the_keys_are_through_everything(tmp_path, budget):
    crashes = built = seen = 0
    for seed in range(4):
        directory = tmp_path / str(seed)
        directory.mkdir()
        world = await live_through(f"default {seed}", directory, budget, 120)
        crashes, built, seen = crashes + world.crashes, built + world.built, seen + world.seen
    assert crashes
    assert built
    assert seen > 20


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
async def test_rows_are_what_the_keys_are_for_long(seed, tmp_path, budget):
    await live_through(f"long {seed}", tmp_path, budget, 600)


async def test_the_simulation_notices_a_lost_change(tmp_path, budget, monkeypatch):
    real = document_store.apply

    def forgetful(rows, told, offset):
        real(rows, [each for each in told if isinstance(each.record, KeyWritten)], offset)

    monkeypatch.setattr("kissvdb.engine.documents.collection.apply", forgetful)
    with pytest.raises(AssertionError):
        await live_through("lost", tmp_path, budget, 300)
