"""What the tests of the event log share: a log to fill and to read back."""

import random

from kissvdb.records import LogRecord
from kissvdb.storage.disk import Disk
from kissvdb.storage.log.segmented_log import SegmentedLog
from tests.simulation.fake_disk import FakeDisk

MIB = 1024 * 1024


def fake(capacity_bytes: int | None = None) -> FakeDisk:
    return FakeDisk(random.Random(1), capacity_bytes)


def open_log(disk: Disk, *, segment_bytes_max: int = MIB, offset_floor: int = 0) -> SegmentedLog:
    return SegmentedLog.open(disk, segment_bytes_max=segment_bytes_max, offset_floor=offset_floor)


def fill(log: SegmentedLog, count: int, size: int = 100) -> None:
    """Records whose payload begins with their offset."""
    for _ in range(count):
        offset = log.next_offset
        log.append(offset, [b"%d|" % offset + bytes(size)])


def offsets(records: list[LogRecord]) -> list[int]:
    return [record.offset for record in records]


def read_all(log: SegmentedLog, bytes_max: int = MIB) -> list[LogRecord]:
    records = []
    after = log.first_offset - 1
    while page := log.read(after, bytes_max=bytes_max):
        records += page
        after = page[-1].offset
    return records
