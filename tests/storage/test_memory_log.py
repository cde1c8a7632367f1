"""The log of a database in memory: the doors of EventLog, and bounds."""

import pytest

from kissvdb.errors import OffsetTruncated
from kissvdb.records import LogRecord
from kissvdb.storage.memory_log import MemoryLog


def offsets(records: list[LogRecord]) -> list[int]:
    return [record.offset for record in records]


def test_records_come_back_as_they_were_appended() -> None:
    log = MemoryLog()
    assert (log.first_offset, log.last_offset, log.next_offset) == (1, 0, 1)
    assert log.read(0, bytes_max=10) == []
    assert log.append(5, [b"one", b"two"]) == 1
    assert log.append(6, [b"three"]) == 3
    assert log.read(1, bytes_max=100) == [LogRecord(2, 5, b"two"), LogRecord(3, 6, b"three")]
    assert (log.first_offset, log.last_offset) == (1, 3)
    assert log.report is None
    assert log.bytes_on_disk == 0


def test_the_oldest_records_go_when_there_are_too_many() -> None:
    log = MemoryLog(records_max=10)
    for number in range(1, 101):
        log.append(0, [b"x"])
        assert log.first_offset == max(1, number - 9)
        assert offsets(log.read(log.first_offset - 1, bytes_max=100)) == list(
            range(log.first_offset, number + 1)
        )
    assert log.segments == [(91, 100, 10)]


def test_the_oldest_records_go_when_they_are_too_large_but_the_newest_stays() -> None:
    log = MemoryLog(bytes_max=100)
    for _ in range(20):
        log.append(0, [bytes(30)])
    assert log.segments == [(18, 20, 90)]
    log.append(0, [bytes(500)])
    assert log.segments == [(21, 21, 500)]
    log.append(0, [b""])
    assert log.segments == [(22, 22, 0)]


def test_a_batch_over_the_limit_leaves_its_last_records() -> None:
    log = MemoryLog(records_max=3)
    log.append(0, [b"%d" % number for number in range(1, 8)])
    assert [record.payload for record in log.read(4, bytes_max=100)] == [b"5", b"6", b"7"]


def test_a_read_before_the_oldest_record_says_where_the_log_begins() -> None:
    log = MemoryLog(records_max=2)
    log.append(0, [b"x"] * 5)
    with pytest.raises(OffsetTruncated) as caught:
        log.read(2, bytes_max=10)
    assert caught.value.first_offset == 4
    assert offsets(log.read(3, bytes_max=10)) == [4, 5]


def test_a_read_keeps_its_bounds() -> None:
    log = MemoryLog()
    log.append(0, [b"12345"] * 10)
    assert offsets(log.read(2, bytes_max=12)) == [3, 4]
    assert offsets(log.read(2, bytes_max=1)) == [3]
    assert offsets(log.read(2, bytes_max=100, until=5)) == [3, 4, 5]
    assert log.read(10, bytes_max=100) == log.read(50, bytes_max=100) == []
    assert log.read(5, bytes_max=100, until=3) == []


def test_retention_is_the_bounds_own_and_the_floor_is_kept() -> None:
    log = MemoryLog(offset_floor=41)
    assert log.append(0, [b"x"]) == 42
    assert log.retain(applied_offset=42, segments_max=0) == []
    assert offsets(log.read(41, bytes_max=1)) == [42]
    with pytest.raises(ValueError, match="at least one"):
        log.append(0, [])
    log.close()
