"""The bounds of a log in memory: what goes, and what stays. All else: test_event_log."""

import pytest

from kissvdb.engine.log.memory import MemoryLog
from kissvdb.errors import OffsetTruncated


async def append(log: MemoryLog, *payloads: bytes) -> int:
    return await log.append(0, payloads, after=log.last_offset).offset()


def kept(log: MemoryLog) -> list[tuple[int, int]]:
    """Offset and size of each record."""
    records = log.read(log.first_offset - 1, bytes_max=10**9)
    return [(record.offset, len(record.payload)) for record in records]


async def test_the_oldest_records_go_when_there_are_too_many() -> None:
    log = MemoryLog(records_max=10)
    for number in range(1, 101):
        assert await append(log, b"x") == number
        assert log.first_offset == max(1, number - 9)
        assert kept(log) == [(offset, 1) for offset in range(log.first_offset, number + 1)]
    assert log.info().bytes_kept == 0


async def test_the_oldest_records_go_when_they_are_too_large_but_the_newest_stays() -> None:
    log = MemoryLog(bytes_max=100)
    for _ in range(20):
        await append(log, bytes(30))
    assert kept(log) == [(18, 30), (19, 30), (20, 30)]
    await append(log, bytes(500))
    assert kept(log) == [(21, 500)]
    await append(log, b"")
    assert kept(log) == [(22, 0)]


async def test_a_batch_over_the_limit_leaves_its_last_records() -> None:
    log = MemoryLog(records_max=3)
    await append(log, *(b"%d" % number for number in range(1, 8)))
    assert [record.payload for record in log.read(4, bytes_max=100)] == [b"5", b"6", b"7"]
    with pytest.raises(OffsetTruncated) as caught:
        log.read(3, bytes_max=10)
    assert caught.value.first_offset == 5


async def test_truncating_is_the_bounds_own_affair() -> None:
    log = MemoryLog(offset_floor=41)
    assert await append(log, b"x") == 42
    await log.truncate(through=42)
    assert kept(log) == [(42, 1)]
    log.close()
