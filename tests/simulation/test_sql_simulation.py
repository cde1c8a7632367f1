"""SQL on a disk that loses power between any two bytes: a transaction is there whole or not at all,
and the database is what a replay of the log makes of it."""

import random
import shutil

import pytest

from kissvdb import records
from kissvdb.config import Sql
from kissvdb.core.events.stream import event_of
from kissvdb.core.sql.commands import SqlCommand, Statement
from kissvdb.engine import recovery
from kissvdb.engine.sql.group import Writer
from kissvdb.engine.sql.sql_store import SqlReplay
from kissvdb.storage.log.segmented_log import SegmentedLog
from kissvdb.storage.sql.copying import copy
from kissvdb.storage.sql.file import SqlFile
from tests.simulation.fake_disk import FakeDisk, PowerCut
from tests.sql.dumping import dump

SEGMENT_BYTES = 4096
SCHEMA = (
    "CREATE TABLE now(id INTEGER PRIMARY KEY, n INT)",
    "CREATE TABLE steps(id INTEGER PRIMARY KEY AUTOINCREMENT, n INT UNIQUE, t TEXT)",
    "INSERT INTO now VALUES (1, 0)",
)
STEP = (
    "UPDATE now SET n = ?",
    "INSERT INTO steps(n, t) VALUES (?, hex(randomblob(8)))",
)
ASIDE = (
    "CREATE TABLE IF NOT EXISTS later(a, b)",
    "INSERT INTO later SELECT n, t FROM steps WHERE n % 3 = 0",
    "UPDATE steps SET t = t || '.'",
    "DROP TABLE later",
    "DELETE FROM later WHERE rowid % 2 = 0",
    "CREATE INDEX IF NOT EXISTS by_text ON steps(t)",
)


class Machine:
    """The owner's part, sync: execute, append, commit. A crash may happen in the append, and takes
    what is not committed, and of the database file any of its newest transactions."""

    def __init__(self, chance, path):
        self.chance = chance
        self.path = path
        self.disk = FakeDisk(chance)
        self.copies = []
        self.done = 0
        self.file = None
        self.open()
        self.execute(*(SqlCommand((Statement(text),)) for text in SCHEMA))

    def open(self):
        self.log = SegmentedLog.open(self.disk, segment_bytes_max=SEGMENT_BYTES)
        self.replay(self.path)
        self.file = SqlFile(self.path, durable=False)
        self.writer = Writer(self.file, Sql())

    def replay(self, path):
        view = SqlReplay(path, durable=False)
        recovery.replay(self.log, self.log.last_offset, [view], lambda *_: None)
        assert view.damage is None
        view.close()

    def execute(self, *commands):
        run = self.writer.run(commands, {})
        decided = run.decided.records
        if decided:
            first = self.log.append(1, records.encode_all(decided))
            if self.chance.random() < 0.2:
                self.keep_copy()
            self.file.commit(first + len(decided) - 1)

    def write(self, n):
        """One group: the step ``n``, and something else of which much is refused."""
        step = SqlCommand(tuple(Statement(text, (n,)) for text in STEP))
        asides = [
            SqlCommand((Statement(text),))
            for text in self.chance.sample(ASIDE, self.chance.randint(0, 3))
        ]
        self.execute(*asides, step)
        self.done = n

    def keep_copy(self):
        """The file as it may still be after a power cut: a WAL is not synced."""
        path = self.path.with_name(f"copy-{len(self.copies)}.db")
        copy(self.path, path)
        self.copies.append(path)

    def crash(self):
        self.file.rollback()
        self.file.close()
        self.disk.crash()
        if self.copies and self.chance.random() < 0.5:
            shutil.copyfile(self.chance.choice(self.copies), self.path)
        self.open()

    def found(self):
        content = dump(self.path)
        ((_, n),) = content["now"]
        assert sorted(row[1] for row in content["steps"]) == list(range(1, n + 1))
        return n

    def check(self):
        """A replay from the first record ends at the same, and a stream has no half of anything."""
        anew = self.path.with_name("anew.db")
        anew.unlink(missing_ok=True)
        self.replay(anew)
        assert dump(anew) == dump(self.path)
        found = self.log.read(0, bytes_max=10**9)
        offsets = {each.offset for each in found}
        for each in found:
            event = event_of(each.offset, each.ts_ms, records.decode(each.payload))
            if event.together:
                assert offsets >= set(range(each.offset, each.offset + event.together + 1))

    def close(self):
        self.file.close()


def run(seed, crashes, path):
    machine = Machine(random.Random(seed), path)
    outcomes = set()
    n = 0
    for _ in range(crashes):
        machine.disk.cut_power_after(machine.chance.randrange(1, 3000))
        try:
            while True:
                n += 1
                machine.write(n)
        except PowerCut:
            done, in_flight = machine.done, n
        machine.crash()
        n = machine.done = machine.found()
        assert n in (done, in_flight)
        outcomes.add(n == done)
        machine.check()
    machine.close()
    return outcomes


def test_no_transaction_is_lost_or_doubled_or_found_in_part(tmp_path):
    assert run(2, 12, tmp_path / "sql.db") == {True, False}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 130))
def test_no_transaction_is_ever_lost_or_doubled(tmp_path, seed):
    run(seed, 100, tmp_path / "sql.db")
