"""What the engine relies on in an event log, asked of every kind there is.

A new kind is one more row of `KINDS`.
"""

import errno
import gc
import os
import warnings
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.config import Log
from kissvdb.engine.log.event_log import EventLog
from kissvdb.engine.log.local import LocalLog
from kissvdb.engine.log.memory import MemoryLog
from kissvdb.errors import Conflict, NotSupported, OffsetTruncated, OutcomeUnknown, PayloadTooLarge
from kissvdb.records import LogRecord
from kissvdb.storage.disk import Disk
from kissvdb.storage.log.frames import FRAME_BYTES_MAX
from kissvdb.storage.log.segmented_log import PREPARED_BYTES_MAX

SEGMENT_BYTES = 2**20


class Kind(NamedTuple):
    open: object
    keeps: bool
    """Whether the records are there again when it is opened anew."""


def local(directory, io_uring, offset_floor=0) -> EventLog:
    config = Log(segment_max_bytes=SEGMENT_BYTES, retention_segments=1, io_uring=io_uring)
    return LocalLog.open(Disk(directory), config, offset_floor=offset_floor, epoch="")


def memory(directory, offset_floor=0) -> EventLog:
    return MemoryLog(bytes_max=2 * SEGMENT_BYTES, offset_floor=offset_floor)


KINDS = {
    "uring": Kind(partial(local, io_uring=True), keeps=True),
    "thread": Kind(partial(local, io_uring=False), keeps=True),
    "memory": Kind(memory, keeps=False),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def opened(kind, tmp_path):
    """The log, as often as it is asked for; each time as a new process finds it."""

    @asynccontextmanager
    async def opened(**settings):
        log = kind.open(tmp_path, **settings)
        try:
            async with log:
                yield log
        finally:
            log.close()

    return opened


async def append(log: EventLog, *payloads: bytes, ts_ms: int = 7) -> int:
    return await log.append(ts_ms, payloads, after=log.last_offset).offset()


def offsets(log: EventLog, after: int, bytes_max: int = 10**9, until: int | None = None):
    return [record.offset for record in log.read(after, bytes_max=bytes_max, until=until)]


async def test_an_empty_log_begins_behind_its_floor(opened):
    async with opened(offset_floor=41) as log:
        assert (log.first_offset, log.last_offset) == (42, 41)
        assert log.read(41, bytes_max=10) == []
        assert await append(log, b"x") == 42


async def test_records_get_consecutive_offsets_and_come_back_as_they_were(opened):
    async with opened() as log:
        assert await append(log, b"one", b"two", ts_ms=5) == 1
        assert await append(log, b"", ts_ms=6) == 3
        expected = [LogRecord(1, 5, b"one"), LogRecord(2, 5, b"two"), LogRecord(3, 6, b"")]
        assert log.read(0, bytes_max=100) == expected
        assert (log.first_offset, log.last_offset) == (1, 3)


@pytest.mark.parametrize("size", [1, PREPARED_BYTES_MAX + 1])
async def test_what_is_appended_is_there_after_a_restart(kind, opened, size):
    if not kind.keeps:
        pytest.skip("it keeps nothing")
    async with opened() as log:
        await append(log, b"a" * size, b"b")
        await append(log, b"c")
    async with opened() as log:
        assert log.last_offset == 3
        assert [each.payload for each in log.read(0, bytes_max=10**9)] == [b"a" * size, b"b", b"c"]
        assert await append(log, b"d") == 4


async def test_a_read_keeps_its_bounds(opened):
    async with opened() as log:
        await append(log, *[b"12345"] * 10)
        assert offsets(log, 2, bytes_max=12) == [3, 4]
        assert offsets(log, 2, bytes_max=1) == [3]
        assert offsets(log, 2, until=5) == [3, 4, 5]
        assert offsets(log, 10) == offsets(log, 50) == []
        assert offsets(log, 5, until=3) == []


async def test_an_append_that_does_not_follow_the_last_is_a_conflict(opened):
    async with opened() as log:
        await append(log, b"1", b"2")
        for wrong in (0, 1, 3):
            with pytest.raises(Conflict, match="ends at offset 2"):
                log.append(7, [b"x"], after=wrong)
        assert await append(log, b"3") == 3
        assert offsets(log, 0) == [1, 2, 3]


async def test_an_append_has_a_record(opened):
    async with opened() as log:
        with pytest.raises(ValueError, match="at least one"):
            log.append(7, [], after=0)
        assert await append(log, b"x") == 1


async def test_a_closed_log_takes_nothing(opened):
    async with opened() as log:
        await append(log, b"x")
    with pytest.raises(OutcomeUnknown, match="closed"):
        await log.append(7, [b"x"], after=1).offset()


async def test_a_barrier_has_behind_it_what_was_begun_before(opened):
    async with opened() as log:
        assert await log.barrier() == 0
        passed = []

        async def wait():
            passed.append(await log.barrier())

        async with trio.open_nursery() as nursery:
            appending = log.append(7, [b"1", b"2"], after=0)
            nursery.start_soon(wait)
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            assert await appending.offset() == 1
        assert passed == [2, 2]
        assert await log.barrier() == 2


async def test_readers_in_threads_see_every_record_once_and_none_too_early(opened):
    count = 300

    async def follow(seen):
        while not seen or seen[-1] < count:
            after = seen[-1] if seen else 0
            found = await trio.to_thread.run_sync(partial(log.read, after, bytes_max=200))
            for record in found:
                assert record.payload == b"%d" % record.offset
            seen += [record.offset for record in found]
            assert all(offset <= log.last_offset for offset in seen[-1:])

    async with opened() as log, trio.open_nursery() as nursery:
        readers = [[], []]
        for seen in readers:
            nursery.start_soon(follow, seen)
        for number in range(1, count + 1, 3):
            await append(log, *(b"%d" % each for each in range(number, number + 3)))
    assert readers == [list(range(1, count + 1))] * 2


async def test_what_is_forgotten_is_told_by_where_the_log_begins(opened):
    async with opened() as log:
        for _ in range(60):
            await append(log, bytes(100_000))
        await log.truncate(through=log.last_offset)
        first = log.first_offset
        assert 1 < first <= 60
        assert offsets(log, first - 1) == list(range(first, 61))
        with pytest.raises(OffsetTruncated) as caught:
            log.read(first - 2, bytes_max=1)
        assert caught.value.first_offset == first
        info = log.info()
        assert (info.first_offset, info.last_offset) == (first, 60)


async def test_nothing_is_forgotten_that_a_view_still_needs(kind, opened):
    if not kind.keeps:
        pytest.skip("it forgets by its own bounds")
    async with opened() as log:
        for _ in range(60):
            await append(log, bytes(100_000))
        kept = log.info().bytes_kept
        await log.truncate(through=-1)
        assert (log.first_offset, log.info().bytes_kept) == (1, kept)
        await log.truncate(through=30)
        assert 1 < log.first_offset <= 31
        assert log.info().bytes_kept < kept
        assert offsets(log, 30) == list(range(31, 61))


async def test_what_a_backup_carries_is_the_log(kind, opened, tmp_path):
    entries = []
    async with opened() as log:
        for number in range(30):
            await append(log, b"%d" % number + bytes(100_000))
        if not kind.keeps:
            with pytest.raises(NotSupported):
                await log.note_files(entries)
            assert entries == []
            return
        assert await log.note_files(entries) == 30
        await append(log, b"later")
    for entry in entries:
        target = tmp_path / "copy" / entry.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(entry.source.read(entry.size))
        entry.source.close()
    copy = local(tmp_path / "copy" / "log", io_uring=False)
    assert [int(each.payload.rstrip(b"\0")) for each in copy.read(0, bytes_max=10**9)] == [
        *range(30)
    ]
    copy.close()


@pytest.mark.parametrize("io_uring", [True, False], ids=["uring", "thread"])
async def test_more_than_one_append_may_hold_is_refused_and_the_log_goes_on(tmp_path, io_uring):
    log = local(tmp_path, io_uring)
    async with log:
        with pytest.raises(PayloadTooLarge):
            await append(log, bytes(FRAME_BYTES_MAX))
        assert await append(log, b"x") == 1
    log.close()


@pytest.mark.parametrize("io_uring", [True, False], ids=["uring", "thread"])
async def test_nothing_follows_an_append_whose_end_nobody_awaited(tmp_path, io_uring):
    log = local(tmp_path, io_uring)
    async with log:
        await append(log, b"1")
        with trio.CancelScope() as scope:
            appending = log.append(7, [b"2" * 400_000], after=1)
            scope.cancel()
            await appending.offset()
        assert scope.cancelled_caught
        with pytest.raises(OutcomeUnknown, match="did not wait"):
            await log.append(7, [b"3"], after=1).offset()
        # Whoever waits for it is not left waiting.
        await log.barrier()
    log.close()
    log = local(tmp_path, io_uring)
    assert [each.payload[:1] for each in log.read(0, bytes_max=10**9)] in ([b"1"], [b"1", b"2"])
    log.close()


async def test_where_there_is_no_ring_a_thread_writes_and_every_file_is_closed(
    tmp_path, monkeypatch
):
    def none():
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        log = local(tmp_path, io_uring=True)
        log._make_ring = none
        async with log:
            assert not log.overlaps
            assert await append(log, b"1") == 1
        log.close()
        del log
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
