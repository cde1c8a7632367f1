"""Batches on a disk that loses power between any two bytes: all of one is there, or nothing."""

import random

import pytest

from kissvdb import records
from kissvdb.core import atomic
from kissvdb.core.atomic import Atomic
from kissvdb.core.events.stream import event_of
from kissvdb.core.rows.rules import Upsert, VectorBatch
from kissvdb.core.state.rules import Put, StateBatch
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.engine import recovery
from kissvdb.engine.recovery import TableReplay, shard_of
from kissvdb.engine.state.view import StateView
from kissvdb.records import VectorWritten
from kissvdb.storage.log.segmented_log import SegmentedLog
from kissvdb.storage.state.table import StateTable
from tests.simulation.fake_disk import FakeDisk, PowerCut

SEGMENT_BYTES = 4096
SHARDS = 2
KEYS = [f"k{n}" for n in range(6)]
SPEC = CollectionSpec("c", 1, "l2")
KEY_BYTES_MAX = 10**6


class NoRows:
    """A collection without rows: what an upsert decides looks at nothing else."""

    def stored(self, id_):
        return None

    def operation(self, op_id):
        return None


class Vectors:
    """What the log says of the vectors: a view that is replayed, like a collection."""

    kinds = (VectorWritten,)

    def __init__(self):
        self.applied_offset = 0
        self.values = {}

    def replay(self, found, upto):
        for offset, record in found:
            if offset > self.applied_offset and isinstance(record, VectorWritten):
                self.values[record.id] = record.meta
        self.applied_offset = upto


class Machine:
    """Two shards and a collection over one log, sync: hold, append once, apply; and a crash."""

    def __init__(self, chance):
        self.chance = chance
        self.disk = FakeDisk(chance)
        self.done = 0
        self.open()

    def open(self):
        self.log = SegmentedLog.open(self.disk, segment_bytes_max=SEGMENT_BYTES)
        tables = [StateTable(None) for _ in range(SHARDS)]
        self.vectors = Vectors()
        views = [TableReplay(table, n, SHARDS) for n, table in enumerate(tables)]
        # Each was at a place of its own, and none need be at the end of a batch.
        for view in (*views, self.vectors):
            part = self.chance.randint(0, self.log.last_offset)
            recovery.replay(self.log, part, [view], lambda *_: None)
        recovery.replay(self.log, self.log.last_offset, [*views, self.vectors], lambda *_: None)
        self.shards = [
            StateView(table, view.memtables) for table, view in zip(tables, views, strict=True)
        ]

    def write(self, n):
        """Every key and a vector become ``n``, in one append of a mark and all records."""
        helds = [StateBatch(each.get, each.operation, 1) for each in self.shards]
        for key in KEYS:
            helds[shard_of(key, SHARDS)].decide(Put(key, b"%d" % n))
        rows = VectorBatch(SPEC, NoRows(), 1)
        rows.decide(Upsert("x", bytes(4), b"%d" % n))
        found = [record for each in (*helds, rows) for record in each.records]
        mark = atomic.mark_of([], len(found), f"op{n}", b"f")
        self.log.append(1, records.encode_all([mark, *found]))
        self.done = n

    def write_alone(self, n, op_id=None):
        """A batch of one owner, in an append that it shares with others."""
        shard = self.shards[shard_of(KEYS[0], SHARDS)]
        decided = StateBatch(shard.get, shard.operation, 1)
        mine = [key for key in KEYS if shard_of(key, SHARDS) == shard_of(KEYS[0], SHARDS)]
        decided.decide(Put(f"other{n}", b"0"))
        commands = tuple(Put(key, b"%d" % n) for key in mine)
        decision = decided.decide_atomic(Atomic((), commands, KEY_BYTES_MAX, op_id, b"f"))
        first = self.log.append(1, records.encode_all(decided.records))
        return decision.at(first)

    def found(self):
        """The one number that everything is at; None before the first batch."""
        values = {self.vectors.values.get("x")}
        for key in KEYS:
            item = self.shards[shard_of(key, SHARDS)].get(key)
            values.add(None if item is None else item.value)
        assert len(values) == 1, values
        (value,) = values
        return 0 if value is None else int(value)

    def crash(self):
        self.disk.crash()
        self.open()


def check_the_stream(log):
    """What the log holds of a batch is all of it."""
    found = log.read(log.first_offset - 1, bytes_max=10**9)
    offsets = {each.offset for each in found}
    for each in found:
        event = event_of(each.offset, each.ts_ms, records.decode(each.payload))
        if event.together:
            assert offsets >= set(range(each.offset, each.offset + event.together + 1))


@pytest.mark.parametrize("seed", [1])
def test_a_power_cut_after_any_byte_leaves_all_of_a_batch_or_nothing(seed):
    chance = random.Random(seed)
    outcomes = set()
    cut = 0
    while True:
        machine = Machine(chance)
        machine.write(1)
        machine.crash()
        assert machine.found() == 1
        machine.disk.cut_power_after(cut)
        try:
            machine.write(2)
        except PowerCut:
            machine.crash()
            outcomes.add(machine.found())
            check_the_stream(machine.log)
            # What is there is remembered, and what is not is done now.
            again = machine.shards[shard_of("op2", SHARDS)].operation("op2")
            assert (again is not None) == (machine.found() == 2)
            cut += 1
            continue
        break
    assert machine.done == 2
    assert outcomes == {1, 2}
    assert cut > 150


def run(seed, crashes):
    chance = random.Random(seed)
    machine = Machine(chance)
    n = 0
    for _ in range(crashes):
        machine.disk.cut_power_after(chance.randrange(1, 6000))
        try:
            while True:
                n += 1
                machine.write(n)
        except PowerCut:
            done, in_flight = machine.done, n
        machine.crash()
        assert machine.found() in (done, in_flight)
        machine.done = machine.found()
        check_the_stream(machine.log)


@pytest.mark.parametrize("seed", range(3))
def test_no_batch_is_ever_found_in_part(seed):
    run(seed, 25)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 130))
def test_no_batch_is_ever_found_in_part_for_long(seed):
    run(seed, 300)


def test_a_batch_of_one_owner_is_answered_again_after_a_crash():
    chance = random.Random(7)
    machine = Machine(chance)
    # An owner alone decides those that it is to remember.
    mine = [n for n in range(40) if shard_of(f"op{n}", SHARDS) == shard_of(KEYS[0], SHARDS)]
    answers = {n: machine.write_alone(n, f"op{n}") for n in mine}
    machine.crash()
    for n, answer in answers.items():
        again = machine.write_alone(n, f"op{n}")
        assert again.repeated
        assert (again.results, again.first_offset) == (answer.results, answer.first_offset)
