"""Random lives of an event log on a disk that crashes, compared with a list.

A seed makes the whole life: appends, reads, rotations, retention, full disks, no free descriptors,
failed syncs, killed processes, and power cuts at any byte, in recovery too. `SEED=n` of a failure
repeats it: ``python -m tests.simulation.test_log_simulation n``.
"""

import contextlib
import random
import sys

import attrs
import pytest

from kissvdb.errors import OffsetTruncated, OutcomeUnknown, Overloaded, PersistenceFailed
from kissvdb.records import LogRecord
from kissvdb.storage.log.segmented_log import SegmentedLog
from tests.simulation.fake_disk import FakeDisk, PowerCut

STEPS = 40


@attrs.define
class Model:
    """What must be true of the log: a list of what was acknowledged."""

    acked: list[LogRecord] = attrs.field(factory=list)
    pending: list[LogRecord] = attrs.field(factory=list)
    issued: int = 0
    removable: int = 0

    def resolve(self, found: list[LogRecord], first_offset: int) -> None:
        """Compare with what is found after a restart: all acknowledged, all or none pending."""
        assert first_offset <= self.removable + 1, "retention took what it was not allowed to"
        self.acked = [record for record in self.acked if record.offset >= first_offset]
        count = len(self.acked)
        assert found[:count] == self.acked, "an acknowledged record is lost or changed"
        assert found[count:] in ([], self.pending), "a write was kept by half"
        self.acked = found
        self.pending = []
        if found:
            self.issued = max(self.issued, found[-1].offset)


class Life:
    """One log from its birth on, driven by a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.disk = FakeDisk(self.chance)
        self.segment_bytes_max = self.chance.choice([600, 2_000, 6_000])
        self.model = Model()
        self.now_ms = 0
        self.crashes = 0
        self.log = self.open()

    def run(self, steps: int) -> None:
        actions = [self.append] * 8 + [self.read] * 3 + [self.retain] * 2
        actions += [self.reopen, self.kill, self.fill_disk, self.fail_sync, self.cut_power]
        actions += [self.exhaust_descriptors]
        for _ in range(steps):
            self.chance.choice(actions)()
        self.restart()

    def open(self) -> SegmentedLog:
        return SegmentedLog.open(self.disk, segment_bytes_max=self.segment_bytes_max)

    def append(self) -> None:
        chance, model = self.chance, self.model
        sizes = [chance.choice([0, 5, 40, 300]) for _ in range(chance.randint(1, 5))]
        if chance.random() < 0.05:
            sizes[0] = 3_000
        payloads = [chance.randbytes(size) for size in sizes]
        self.now_ms += chance.randint(0, 3)
        first = self.log.next_offset
        model.pending = [
            LogRecord(first + number, self.now_ms, payload)
            for number, payload in enumerate(payloads)
        ]
        assert self.log.append(self.now_ms, payloads) == first
        assert first > model.issued, "an offset was used twice"
        model.acked += model.pending
        model.pending = []
        model.issued = model.acked[-1].offset

    def read(self) -> None:
        chance, model = self.chance, self.model
        first = self.log.first_offset
        after = chance.randint(max(0, first - 3), model.issued + 2)
        until = chance.choice([None, chance.randint(0, model.issued + 2)])
        bytes_max = chance.choice([1, 400, 100_000])
        if after + 1 < first:
            with pytest.raises(OffsetTruncated):
                self.log.read(after, bytes_max=bytes_max)
            return
        found = self.log.read(after, bytes_max=bytes_max, until=until)
        last = model.issued if until is None else until
        wanted = [record for record in model.acked if after < record.offset <= last]
        assert found == wanted[: len(found)]
        read_bytes = sum(len(record.payload) for record in found)
        assert read_bytes <= bytes_max or len(found) == 1
        if len(found) < len(wanted):
            assert found
            assert read_bytes + len(wanted[len(found)].payload) > bytes_max or (
                read_bytes == bytes_max
            )

    def retain(self) -> None:
        chance, model = self.chance, self.model
        through = chance.randint(0, model.issued)
        model.removable = max(model.removable, through)
        self.log.retain(through=through, segments_max=chance.randint(1, 4))
        first = self.log.first_offset
        model.acked = [record for record in model.acked if record.offset >= first]

    def reopen(self) -> None:
        self.log.close()
        self.restart()

    def kill(self) -> None:
        """The process dies in the middle of an append; the machine lives on."""
        self.disk.cut_power_after(self.chance.randint(0, 900))
        with contextlib.suppress(PowerCut):
            self.append()
        self.disk.cut_power_after(None)
        self.restart()

    def fill_disk(self) -> None:
        used = sum(len(self.disk.content(name)) for name in self.disk.names())
        self.disk.capacity_bytes = used + self.chance.randint(0, 500)
        before = self.log.next_offset
        try:
            for _ in range(3):
                self.append()
                before = self.log.next_offset
        except PersistenceFailed:
            self.model.pending = []
            assert self.log.next_offset == before
        self.disk.capacity_bytes = None
        self.append()

    def exhaust_descriptors(self) -> None:
        """Too many files are open: what needs one more is refused and changes nothing."""
        disk, model = self.disk, self.model
        disk.opens_left = self.chance.randint(0, 2)
        # What fits needs none; sooner or later a segment is full.
        refused = False
        while not refused:
            before = self.log.next_offset
            try:
                self.append()
            except PersistenceFailed:
                refused = True
                model.pending = []
                assert self.log.next_offset == before
        disk.opens_left = 0
        with pytest.raises(Overloaded):
            self.log.read(model.acked[-1].offset - 1, bytes_max=1)
        if self.chance.random() < 0.5:
            disk.crash()
            self.crashes += 1
            self.restart()
        disk.opens_left = None
        self.append()

    def fail_sync(self) -> None:
        self.disk.fail_next_sync = True
        with pytest.raises(OutcomeUnknown):
            self.append()
        with pytest.raises(OutcomeUnknown):
            self.log.append(self.now_ms, [b"after the failure"])
        if self.chance.random() < 0.5:
            self.disk.crash()
        self.restart()

    def cut_power(self) -> None:
        self.disk.cut_power_after(self.chance.randint(0, 3_000))
        try:
            while True:
                self.chance.choice([self.append, self.append, self.append, self.retain])()
        except PowerCut:
            self.disk.crash()
            self.crashes += 1
        while self.chance.random() < 0.3:
            # Power fails again while the log recovers.
            self.disk.cut_power_after(self.chance.randint(0, 40))
            with contextlib.suppress(PowerCut):
                self.open()
            self.disk.crash()
        self.restart()

    def restart(self) -> None:
        self.log = self.open()
        first = self.log.first_offset
        assert self.log.next_offset > self.model.issued, "an offset would be used twice"
        found: list[LogRecord] = []
        after = first - 1
        while page := self.log.read(after, bytes_max=1_000):
            found += page
            after = page[-1].offset
        self.model.resolve(found, first)


def live(seed: int) -> int:
    """One life; returns how often the power was cut."""
    try:
        life = Life(seed)
        life.run(STEPS)
    except BaseException as error:
        error.add_note(f"SEED={seed}")
        raise
    return life.crashes


@pytest.mark.parametrize("group", range(4))
def test_no_crash_loses_an_acknowledged_record_or_uses_an_offset_twice(group: int) -> None:
    seeds = range(group * 50, group * 50 + 50)
    assert sum(map(live, seeds)) > 0


@pytest.mark.slow
def test_no_crash_loses_an_acknowledged_record_in_ten_thousand_lives() -> None:
    assert sum(map(live, range(1_000, 11_000))) > 0


if __name__ == "__main__":
    live(int(sys.argv[1]))
