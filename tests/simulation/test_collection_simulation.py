"""A collection against a dict and brute force, through upkeep, crashes and power cuts. Seeded.

What a crash may leave, and nothing else: all that a finished checkpoint stored. Of the files it
did not store, each is there whole, in part, or not at all; rows and codes behind those it stored
are anything.
"""

import random
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from kissvdb.commands.deep_check import DeepCheck
from kissvdb.core.filters import parse as filters
from kissvdb.core.rows.owner import CollectionSpec, Rows
from kissvdb.core.rows.rules import Add, Delete, Update, Upsert, VectorBatch
from kissvdb.core.search import Search
from kissvdb.core.store.policy import Policy
from kissvdb.core.text.query import QueryOptions, parse
from kissvdb.errors import PersistenceFailed
from kissvdb.storage.rows import files as row_files
from kissvdb.storage.rows.arrays import HEADER_BYTES, RowArrays
from tests.core.row_world import SALT, World, compiled, raw
from tests.descriptors import no_descriptors

# So small that a run of a second passes every threshold many times.
POLICY = Policy(
    body_rows_min=48,
    drain_rows_min=16,
    drain_rows_max=64,
    vacuum_rows_min=24,
    vacuum_share=0.25,
    vacuum_step_rows=50,
)
DIM = 5
WORDS = ("red", "green", "blue", "house", "tree")
IDS = [f"v{n}" for n in range(120)]
TREES = [
    None,
    filters.parse({"n": {"$lt": 3}}),
    filters.parse({"tag": "x"}),
    filters.parse({"$or": [{"n": 9}, {"tag": {"$exists": False}}]}),
]


@pytest.fixture(scope="module")
def kernels():
    return compiled()


class Machine:
    """One collection with its directory: what is asked of it, and what happens to it."""

    def __init__(self, chance: random.Random, directory: Path, kernels) -> None:
        self.chance = chance
        self.directory = directory
        self.numbers = np.random.default_rng(chance.randrange(2**32))
        spec = CollectionSpec(
            "c",
            DIM,
            chance.choice(("cosine", "dot", "l2")),
            quantization=chance.choice(("auto", "q8", "none")),
            index=chance.choice(("hnsw", "hnsw", "ivf", "ivf", "flat")),
            ef_construction=32,
        )
        rows = Rows(spec, SALT, kernels, RowArrays(directory, 1), POLICY)
        self.world = World(spec, kernels, rows)
        self.work = None
        self.answers = {}
        self.operations = {}
        self.has_texts = chance.random() < 0.6
        self.kinds = set()
        self.refusals = 0
        self.save()

    def step(self) -> None:
        actions = (
            (8, self.write),
            (3, self.upkeep),
            (1, self.pass_time),
            (1, self.delete_matching),
            (1, self.refine),
            (0.6, self.save),
            (0.3, self.vacuum),
            (0.3, self.crash),
            (0.3, self.exhaust_descriptors),
            (0.05, self.delete_everything),
        )
        weights = [weight for weight, _ in actions]
        self.chance.choices([action for _, action in actions], weights)[0]()
        if self.chance.random() < 0.3:
            self.compare()

    def write(self) -> None:
        commands = [self.command() for _ in range(self.chance.choice((1, 3, 12)))]
        for command, answer in zip(commands, self.world.run(*commands), strict=True):
            if command.op_id is not None and not isinstance(answer, Exception):
                # Answered the same for ever, whatever has happened since.
                first = self.answers.setdefault(command.op_id, answer)
                assert first.offset == answer.offset
                assert answer.repeated == (answer is not first)

    def command(self):
        """Something new, or a former operation again under its op_id."""
        command = self.new_command()
        if command.op_id is None:
            return command
        return self.operations.setdefault(command.op_id, command)

    def new_command(self):
        chance, id_ = self.chance, self.chance.choice(IDS)
        if chance.random() < 0.2:
            return Delete(id_, op_id=self.op_id(id_, "delete"))
        vector = self.vector()
        meta = chance.choice(
            (None, b'{"n":%d,"tag":"%c"}' % (chance.randrange(6), b"xyz"[id_ > "v5"]))
        )
        ttl_ms = chance.choice((None, None, None, 20, 200))
        if chance.random() < 0.3:
            vector = chance.choice((None, vector))
            return Update(id_, vector, meta, ttl_ms, self.op_id(id_, "update"), self.text())
        kind = chance.choice((Add, Upsert))
        op_id, text = self.op_id(id_, kind.__name__), self.text()
        return kind(id_, vector, meta, ttl_ms, op_id, text)

    def text(self):
        """A few words for some; the first ones come late, to a collection that has rows."""
        if not self.has_texts or len(self.world.log) < 60 or self.chance.random() < 0.4:
            return None
        return " ".join(self.chance.choices(WORDS, k=self.chance.randrange(4)))

    def op_id(self, id_, kind):
        return f"{kind} {id_} {self.chance.randrange(3)}" if self.chance.random() < 0.1 else None

    def vector(self) -> bytes:
        if self.chance.random() < 0.3:
            # Equal rows, and zero among them.
            return raw(self.numbers.integers(-1, 2, DIM))
        return raw(self.numbers.standard_normal(DIM))

    def upkeep(self) -> None:
        """Part of the time, writes come between the steps of a piece of work."""
        if self.work is None:
            self.work = self.world.rows.work_due()
            return
        self.work.run()
        if self.chance.random() < 0.5:
            self.write()
        self.finish()

    def finish(self) -> None:
        work, self.work = self.work, None
        if self.chance.random() < 0.1:
            self.world.rows.abandon(work)
        else:
            self.world.rows.install(work)
            self.kinds.add(work.kind)

    def vacuum(self) -> None:
        if self.work is None:
            self.work = self.world.rows.vacuum()

    def refine(self) -> None:
        if self.chance.random() < 0.05:
            self.world.rows.refine()

    def pass_time(self) -> None:
        self.world.now_ms += self.chance.choice((1, 15, 100))
        if self.chance.random() < 0.5:
            self.world.expire(self.chance.choice((1, 100)))

    def delete_matching(self) -> None:
        world = self.world
        ids = world.view().ids_matching(self.chance.choice(TREES[1:]), limit=20)
        batch = VectorBatch(world.spec, world.rows, world.now_ms)
        assert batch.delete_all(ids) == len(ids)
        world.commit(batch)

    def delete_everything(self) -> None:
        batch = VectorBatch(self.world.spec, self.world.rows, self.world.now_ms)
        batch.delete_all(list(self.world.model))
        self.world.commit(batch)
        self.compare()

    def save(self) -> None:
        if self.work is None:
            self.work = self.world.rows.checkpoint()
            self.work.run()
            work, space = self.work, self.world.rows.space
            row_files.save(self.directory, space, work.manifest, work.indexes)
            self.finish()

    def exhaust_descriptors(self) -> None:
        """Too many files are open: what needs one more is refused and changes nothing."""
        with no_descriptors():
            for _ in range(4):
                action = self.chance.choice((self.write, self.upkeep, self.save))
                try:
                    action()
                except PersistenceFailed:
                    self.refusals += 1
                    # Nothing was logged that could not be applied.
                    logged = self.world.log[-1][0] if self.world.log else 0
                    assert self.world.rows.applied_offset >= logged
                    if self.work is not None:
                        work, self.work = self.work, None
                        self.world.rows.abandon(work)
        self.compare()

    def crash(self) -> None:
        world = self.world
        # The process is gone, and with it what it had mapped.
        world.rows = None
        lose_what_was_not_stored(self.directory, self.chance)
        found = row_files.open_directory(self.directory)
        # Every index is what is built anew of its rows.
        assert DeepCheck(self.directory)(found) == []
        world.rows, warnings = Rows.opened(
            found.manifest,
            found.indexes,
            found.damaged,
            found.arrays,
            SALT,
            world.kernels,
            POLICY,
        )
        assert warnings == []
        offset = world.rows.applied_offset
        rest = [(each, record) for each, record in world.log if each > offset]
        for start in range(0, len(rest), 7):
            world.rows.apply_all(rest[start : start + 7])
        self.work = None
        self.compare()

    def compare(self) -> None:
        now_ms, tree = self.world.now_ms, self.chance.choice(TREES)
        assert sorted(self.world.rows.expired(now_ms, 10**6)) == sorted(
            record.id
            for record in self.world.model.values()
            if record.expires_at_ms is not None and record.expires_at_ms <= now_ms
        )
        query = np.frombuffer(self.vector(), "<f4")
        self.world.check(query, self.chance.choice((1, 5, 60)), tree)
        ids, _ = self.world.live(tree)
        view = self.world.view()
        found = view.search(query[None], Search(10, tree=tree, ef=12)).hits[0]
        assert set(found.ids) <= set(ids), "a row that is not there was found"
        assert len(set(found.ids)) == len(found) == min(10, len(ids))
        # Codes are coarse and rows few: what the graph finds is exact, if not always the best.
        best = dict(zip(*self.world.best(query, len(ids), tree), strict=True))
        wanted = [best[id_] for id_ in found.ids]
        np.testing.assert_allclose(found.scores, wanted, rtol=1e-5, atol=1e-6)
        self.compare_texts(view, tree, ids)
        # Of the tail everything is looked at.
        least = found.scores[-1] + 1e-4 if len(found) == 10 else -np.inf
        tail = [id_ for id_ in best if view.row_of(id_) >= view.indexed_rows]
        assert {id_ for id_ in tail if best[id_] > least} <= set(found.ids)

    def compare_texts(self, view, tree, ids) -> None:
        word = self.chance.choice(WORDS)
        found = view.search_text(parse(word, QueryOptions()), Search(200, tree=tree)).hits[0]
        texts = {id_: self.world.model[id_].text or "" for id_ in ids}
        assert sorted(found.ids) == [id_ for id_ in ids if word in texts[id_].split()]


def lose_what_was_not_stored(directory: Path, chance: random.Random) -> None:
    opened = row_files.open_directory(directory)
    content, sums = opened.manifest, opened.manifest["code_sums"]
    named = {row_files.MANIFEST, *opened.row_files.values(), *opened.index_files.values()}
    for name, file in opened.row_files.items():
        rows = sums[name][0] if name in sums else content["rows"]
        if name == "blob":
            # A row of it is a byte: it ends where the last row's metadata do.
            ends = (directory / opened.row_files["ends"]).read_bytes()
            at = HEADER_BYTES + 16 * content["rows"] - 8
            rows = struct.unpack_from("<q", ends, at)[0] if content["rows"] else 0
        if name in ("texts", "text_ends") and not content["texts"]:
            # They came to be while the checkpoint was stored, which knows nothing of them.
            rows = 0
        elif name == "texts":
            ends = (directory / opened.row_files["text_ends"]).read_bytes()
            at = HEADER_BYTES + 8 * content["rows"] - 8
            rows = struct.unpack_from("<q", ends, at)[0] if content["rows"] else 0
        scramble(directory / file, rows, chance)
    for path in [path for path in directory.iterdir() if path.name not in named]:
        size = path.stat().st_size
        if chance.random() < 0.5:
            path.unlink()
        elif path.suffix != ".rows":
            with path.open("r+b") as file:
                file.truncate(chance.randrange(size + 1))


def scramble(path: Path, rows: int, chance: random.Random) -> None:
    """Write noise behind the first ``rows`` rows of an array's file."""
    with path.open("r+b") as file:
        _, _, width, dtype = struct.unpack("<8sII8s", file.read(24))
        row_bytes = np.dtype(dtype.rstrip(b"\0").decode()).itemsize * max(width, 1)
        start = HEADER_BYTES + rows * row_bytes
        size = path.stat().st_size
        if chance.random() < 0.7 and start < size:
            file.seek(start)
            file.write(chance.randbytes(min(size - start, 5000)))


def live_through(seed, directory, kernels, steps):
    machine = Machine(random.Random(seed), directory, kernels)
    for _ in range(steps):
        machine.step()
    machine.crash()
    return machine


@pytest.mark.parametrize("seed", range(24))
def test_a_collection_is_what_was_answered_through_everything(seed, tmp_path, kernels):
    live_through(f"default {seed}", tmp_path, kernels, 150)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(300))
def test_a_collection_is_what_was_answered_through_everything_for_long(seed, tmp_path, kernels):
    live_through(f"long {seed}", tmp_path, kernels, 1500)


def test_runs_pass_through_every_kind_of_work(tmp_path, kernels):
    kinds, refusals = set(), 0
    for seed in range(4):
        directory = tmp_path / str(seed)
        directory.mkdir()
        machine = live_through(f"kinds {seed}", directory, kernels, 250)
        kinds |= machine.kinds
        refusals += machine.refusals
    assert refusals
    assert {"drain", "vacuum", "checkpoint", "verification"} <= kinds


def test_a_seed_repeats_its_run(tmp_path, kernels):
    logs = []
    for name in ("one", "two"):
        directory = tmp_path / name
        directory.mkdir()
        logs.append(live_through("same", directory, kernels, 80).world.log)
    assert logs[0] == logs[1]


@pytest.mark.parametrize("rounds", [120, pytest.param(1200, marks=pytest.mark.slow)])
def test_readers_beside_writes_never_see_what_is_not_there(rounds, kernels):
    """Views are taken by the owner; searches on them run in other threads meanwhile."""
    spec = CollectionSpec("c", DIM, "l2", ef_construction=32)
    world = World(spec, kernels, Rows(spec, SALT, kernels, policy=POLICY))
    chance = random.Random("readers")
    published, problems, done = [], [], threading.Event()

    def read(seed):
        numbers = np.random.default_rng(seed)
        while not done.is_set():
            if published:
                view, there = published[-1]
                hits = view.search(
                    numbers.standard_normal((4, DIM)).astype(np.float32), Search(10)
                ).hits
                for each in hits:
                    wrong = [id_ for id_ in each.ids if there.get(id_) is None]
                    rows = [view.stored(row).vector for row in each.rows.tolist()]
                    if wrong or rows != [there[id_] for id_ in each.ids]:
                        problems.append((wrong, each.ids))

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(2)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(rounds):
            ids = chance.sample(IDS, 6)
            world.upsert({id_: np.random.default_rng(len(world.log)).random(DIM) for id_ in ids})
            world.run(*(Delete(id_) for id_ in ids[:2]))
            there = {id_: record.vector for id_, record in world.model.items()}
            published.append((world.view(), there))
            world.upkeep(2)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert problems == []


def test_the_model_notices_a_lost_row(tmp_path, kernels):
    machine = Machine(random.Random("lost"), tmp_path, kernels)
    machine.world.upsert({"here": [1] * DIM})
    machine.world.model["made up"] = machine.world.model["here"]
    with pytest.raises(AssertionError):
        machine.world.check([1] * DIM, 5)
