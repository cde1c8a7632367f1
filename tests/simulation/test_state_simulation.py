"""State against a plain dict, on a disk that loses power at any byte. Seeded and repeatable."""

import random

import pytest

from kissvdb import records
from kissvdb.core.events.publishing import Publish
from kissvdb.core.state.rules import Delete, Deleted, Patch, Precondition, Put, StateBatch
from kissvdb.engine import recovery
from kissvdb.engine.state import view as state_view
from kissvdb.engine.state.view import StateView
from kissvdb.errors import PersistenceFailed, Refused
from kissvdb.records import EventPublished, KeyDeleted, KeyWritten
from kissvdb.storage.log.segmented_log import SegmentedLog
from kissvdb.storage.state.table import StateTable
from tests.simulation.fake_disk import FakeDisk, PowerCut

SEGMENT_BYTES = 4096
KEYS = [f"k{n}" for n in range(6)]


class Model:
    """What must be true: the records of every answered write, in order, as a dict of keys."""

    def __init__(self):
        self.keys = {}
        self.last_offset = 0
        self.records = 0

    def apply(self, first_offset, batch):
        for offset, record in enumerate(batch, start=first_offset):
            if isinstance(record, KeyWritten):
                self.keys[record.key] = (
                    record.value,
                    record.revision,
                    offset,
                    record.expires_at_ms,
                )
            elif isinstance(record, KeyDeleted):
                del self.keys[record.key]
            self.last_offset = offset
            self.records += 1


class Machine:
    """One database, sync: decide, log, apply; and what a crash leaves of it."""

    def __init__(self, chance):
        self.chance = chance
        self.disk = FakeDisk(chance)
        self.model = Model()
        self.in_flight = None
        self.now_ms = 1_000_000
        self.open()

    def open(self):
        self.log = SegmentedLog.open(self.disk, segment_bytes_max=SEGMENT_BYTES)
        self.table = StateTable(None)
        # SQLite's file is at some committed prefix of the log; the replay brings the rest, and
        # starting it twice must not matter.
        part = self.chance.randint(0, self.log.last_offset)
        replayed = recovery.TableReplay(self.table, 0, 1)
        recovery.replay(self.log, part, [replayed], lambda *_: None)
        if self.chance.random() < 0.5:
            replayed.store()
        recovery.replay(self.log, self.log.last_offset, [replayed], lambda *_: None)
        # Often with room for one key or two, so that the others are read from the table.
        hot_bytes = self.chance.choice((0, 700, 1_000_000))
        self.view = StateView(self.table, replayed.memtables, hot_bytes=hot_bytes)
        self.storing = None

    def run_batch(self):
        self.now_ms += self.chance.choice((0, 1, 50))
        self.store_some()
        decided = StateBatch(self.view.get, self.view.operation, self.now_ms)
        outcomes = decided.decide_each([self.command() for _ in range(self.chance.randint(1, 5))])
        decided.expire(self.view.expired(self.now_ms, 10))
        if not decided.records:
            return
        self.in_flight = decided.records
        payloads = [records.encode(record) for record in decided.records]
        try:
            first = self.log.append(self.now_ms, payloads)
        except PersistenceFailed:
            self.in_flight = None
            return
        self.view.apply(first, decided.records)
        # Answered from here on.
        self.check_answers(outcomes, first)
        self.model.apply(first, decided.records)
        self.in_flight = None

    def store_some(self):
        """What the thread does that stores memtables: begin, be done, or neither."""
        if self.storing is None:
            if self.chance.random() < 0.3:
                self.storing = self.view.freeze()
        elif self.chance.random() < 0.5:
            state_view.store(self.table, self.storing)
            self.view.stored(self.storing)
            self.storing = None

    def check_answers(self, outcomes, first):
        assert first > self.model.last_offset, "an offset was used again"
        for outcome in outcomes:
            if not isinstance(outcome, Refused):
                answer = outcome.at(first)
                assert isinstance(answer, Deleted) or answer.offset >= 1

    def command(self):
        chance, key = self.chance, self.chance.choice(KEYS)
        condition = Precondition()
        if chance.random() < 0.3:
            known = self.model.keys.get(key)
            right = known[1] if known else 0
            condition = Precondition(revision=chance.choice((right, right + 1)))
        op_id = f"op{chance.randrange(30)}" if chance.random() < 0.2 else None
        ttl_ms = chance.choice((None, None, 1, 60))
        kind = chance.randrange(5)
        if kind < 2:
            return Put(key, b"%d" % chance.randrange(1000), ttl_ms, condition, op_id)
        if kind == 2:
            return Patch(key, b'{"n":%d}' % chance.randrange(9), ttl_ms, condition, op_id)
        if kind == 3:
            return Delete(key, condition, op_id)
        return Publish("note", b"x" * chance.randrange(1, 400), op_id=op_id)

    def crash(self):
        """Lose power somewhere in the next writes, come back, and compare."""
        self.disk.cut_power_after(self.chance.randrange(1, 3000))
        try:
            for _ in range(40):
                self.run_batch()
            in_flight = None
        except PowerCut:
            in_flight = self.in_flight
        self.disk.cut_power_after(None)
        self.disk.crash()
        self.in_flight = None
        self.table.close()
        self.open()
        found = self.log.read(self.model.last_offset, bytes_max=10**6)
        if found:
            # Never answered, yet durable: all of the write or nothing.
            assert [records.decode(each.payload) for each in found] == in_flight
            self.model.apply(found[0].offset, in_flight)
        self.compare()

    def compare(self):
        found = self.log.read(0, bytes_max=10**9)
        assert found[-1:] == [] or found[-1].offset == self.model.last_offset, "lost or made up"
        assert len(found) == self.model.records, "lost or made up"
        items, more = self.view.scan("", after=None, limit=100, now_ms=0)
        assert not more
        state = {i.key: (i.value, i.revision, i.offset, i.expires_at_ms) for i in items}
        assert state == self.model.keys


def live_through(seed, crashes=4):
    machine = Machine(random.Random(seed))
    for _ in range(crashes):
        for _ in range(machine.chance.randrange(8)):
            machine.run_batch()
        machine.crash()
    machine.table.close()


@pytest.mark.parametrize("seed", range(40))
def test_state_is_what_was_answered_after_power_cuts(seed):
    for number in range(5):
        live_through(f"{seed}/{number}")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_state_is_what_was_answered_after_many_power_cuts(seed):
    for number in range(100):
        live_through(f"long/{seed}/{number}")


def test_a_seed_repeats_its_run():
    def history(seed):
        machine = Machine(random.Random(seed))
        machine.crash()
        return machine.model.keys, machine.log.last_offset

    assert history("same") == history("same")


def test_the_model_notices_a_lost_write():
    machine = Machine(random.Random("lost"))
    while machine.model.last_offset < 5:
        machine.run_batch()
    machine.model.apply(machine.model.last_offset + 1, [EventPublished("note", b"1")])
    with pytest.raises(AssertionError, match="lost or made up"):
        machine.compare()
