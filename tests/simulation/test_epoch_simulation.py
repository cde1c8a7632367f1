"""Backups that are restored, again and again, beside lives that go on, on disks that lose power.

Whatever happens: no offset is ever two records', and a client that comes back, to whichever
database, ends with that one's history, but for what a gap has told it. Seeded.
"""

import random
from contextlib import suppress

import attrs
import pytest

from kissvdb.epochs import Epochs, floor_above, new_epoch
from kissvdb.errors import OffsetTruncated
from kissvdb.storage.log.segmented_log import SegmentedLog
from tests.simulation.fake_disk import FakeDisk, PowerCut

SEGMENT_BYTES = 600


@attrs.define
class Life:
    """One database: its disk, its log, and what its meta.json says."""

    disk: FakeDisk
    epoch: str
    floor: int
    log: SegmentedLog

    @property
    def epochs(self):
        return Epochs(self.epoch, self.floor, self.log.boundaries)


@attrs.frozen
class Backup:
    """A database's files at one moment."""

    files: dict
    head: int
    floor: int


@attrs.define
class Client:
    """Follows whatever answers. ``held``: the history as it has seen it."""

    says_epoch: bool
    place: int = 0
    epoch: str | None = None
    held: dict = attrs.Factory(dict)
    trimmed: int = 0
    """Up to here it was told that the log no longer holds everything."""
    told: set = attrs.Factory(set)
    """Records that gaps told it that it will not get."""

    def catch_up(self, life):
        """Go on in this database; whether a gap was told."""
        log, epochs = life.log, life.epochs
        said = self.epoch if self.says_epoch else None
        self.place, gap = epochs.place(self.place, said, log.last_offset)
        # The header of the answer says it.
        self.epoch = epochs.current
        if gap is not None:
            assert gap.on_from == self.place
            # Without an epoch nobody knows where its history and this one part.
            exact = said is not None and gap.reason == "epoch"
            self.drop(log, gap.first if exact else 1, gap.last)
        while self.place < log.last_offset:
            try:
                found = log.read(self.place, bytes_max=300)
            except OffsetTruncated:
                self.place = log.first_offset - 1
                self.trimmed = max(self.trimmed, self.place)
                continue
            for record in found:
                self.held[record.offset] = record.payload
                self.place = record.offset
        self.compare(log)
        return gap is not None

    def drop(self, log, first, last):
        self.held = {offset: each for offset, each in self.held.items() if offset < first}
        self.told |= {(n, each) for n, each in history(log).items() if first <= n <= last}
        if first < log.first_offset:
            self.trimmed = max(self.trimmed, log.first_offset - 1)

    def compare(self, log):
        there = history(log)
        for offset, payload in there.items():
            if offset > self.trimmed and (offset, payload) not in self.told:
                assert self.held.get(offset) == payload, f"{offset} is lost, and nobody has said so"
        for offset in self.held:
            # Where two histories parted may be trimmed: only who says its epoch hears of it then.
            unsure = offset <= self.trimmed and not self.says_epoch
            if offset >= log.first_offset and not unsure:
                assert offset in there, f"{offset} is of a history that is no more"


def history(log):
    """Everything in a log, by offset."""
    return {each.offset: each.payload for each in log.read(log.first_offset - 1, bytes_max=10**9)}


class World:
    def __init__(self, chance, *, clock_is_right):
        self.chance = chance
        self.clock_is_right = clock_is_right
        self.now_ms = 1_795_000_000_000 if clock_is_right else 0
        self.issued = {}
        self.written = 0
        self.lives = [self.open(FakeDisk(chance), new_epoch(), 0)]
        self.backups = []
        self.clients = [Client(says_epoch=n % 2 == 0 or not clock_is_right) for n in range(6)]
        self.gaps = 0

    def open(self, disk, epoch, floor):
        log = SegmentedLog.open(
            disk, segment_bytes_max=SEGMENT_BYTES, offset_floor=floor, epoch=epoch
        )
        return Life(disk, epoch, floor, log)

    def step(self):
        self.now_ms += self.chance.randrange(1, 1000) if self.clock_is_right else 0
        weights = {
            self.write: 6,
            self.crash: 1,
            self.back_up: 1,
            self.restore: 0.6,
            self.retain: 0.5,
            self.follow: 4,
        }
        (action,) = self.chance.choices(list(weights), list(weights.values()))
        action(self.chance.choice(self.lives))

    def write(self, life):
        count = self.chance.randrange(1, 6)
        payloads = [b"%d" % (self.written + n) + bytes(20) for n in range(count)]
        self.written += count
        first = life.log.append(self.now_ms, payloads)
        for offset, payload in enumerate(payloads, start=first):
            assert self.issued.setdefault(offset, payload) == payload, "an offset was used again"

    def crash(self, life):
        life.disk.cut_power_after(self.chance.randrange(1, 1000))
        # What was not answered may be there or not: nobody has heard of it, and nobody may.
        torn = [b"torn%d" % self.written + bytes(20)]
        with suppress(PowerCut):
            life.log.append(self.now_ms, torn)
        life.disk.crash()
        life.log = self.open(life.disk, life.epoch, life.floor).log
        if life.log.last_offset >= life.log.first_offset:
            (last,) = life.log.read(life.log.last_offset - 1, bytes_max=10**6)
            if last.payload == torn[0]:
                assert self.issued.setdefault(last.offset, torn[0]) == torn[0]

    def back_up(self, life):
        files = {}
        for name in life.disk.names():
            file = life.disk.open(name, read_only=True)
            files[name] = file.pread(file.size(), 0)
            file.close()
        self.backups.append(Backup(files, life.log.last_offset, life.floor))

    def restore(self, _):
        if not self.backups:
            return
        backup = self.chance.choice(self.backups)
        disk = FakeDisk(self.chance)
        for name, content in backup.files.items():
            file = disk.open(name, create=True)
            file.write_durable(content, 0)
            file.close()
        disk.sync_dir()
        floor = floor_above(max(backup.head, backup.floor), self.now_ms)
        restored = self.open(disk, new_epoch(), floor)
        # The old one is gone, or goes on beside.
        if self.chance.random() < 0.7 or len(self.lives) > 3:
            self.lives.remove(self.chance.choice(self.lives))
        self.lives.append(restored)

    def retain(self, life):
        life.log.retain(through=life.log.last_offset, segments_max=3)

    def follow(self, life):
        self.gaps += self.chance.choice(self.clients).catch_up(life)


@pytest.mark.parametrize("seed", range(40))
def test_a_restore_hands_out_no_offset_twice_and_loses_no_event_silently(seed):
    world = World(random.Random(f"epochs/{seed}"), clock_is_right=True)
    for _ in range(250):
        world.step()
    assert world.gaps


@pytest.mark.parametrize("seed", range(20))
def test_clients_that_say_their_epoch_need_no_clock(seed):
    world = World(random.Random(f"clock/{seed}"), clock_is_right=False)
    world.issued = _Anything()
    for _ in range(250):
        world.step()
    assert world.gaps


class _Anything(dict):
    """Without a clock two restores of one backup may give away the same offsets."""

    def setdefault(self, key, default=None):
        return default


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100))
def test_many_restores(seed):
    for number in range(20):
        world = World(random.Random(f"long/{seed}/{number}"), clock_is_right=True)
        for _ in range(500):
            world.step()


def test_the_simulation_notices_an_offset_that_is_given_away_twice():
    world = World(random.Random("twice"), clock_is_right=True)
    (life,) = world.lives
    world.write(life)
    world.back_up(life)
    world.write(life)
    world.restore(life)
    forgetful = world.lives[-1]
    forgetful.disk = FakeDisk(world.chance)
    forgetful.log = world.open(forgetful.disk, "", 0).log
    with pytest.raises(AssertionError, match="used again"):
        world.write(forgetful)


def test_the_simulation_notices_an_event_that_is_lost_silently():
    world = World(random.Random("lost"), clock_is_right=True)
    (life,) = world.lives
    client = world.clients[0]
    world.write(life)
    client.catch_up(life)
    world.write(life)
    client.place = life.log.last_offset
    with pytest.raises(AssertionError, match="nobody has said so"):
        client.catch_up(life)
