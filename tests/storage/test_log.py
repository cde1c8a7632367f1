"""The event log through its own doors: append, read, rotate, retain, open again."""

import errno
import os
import random
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kissvdb.errors import Damaged, PayloadTooLarge, PersistenceFailed
from kissvdb.storage import log as log_module
from kissvdb.storage.disk import Disk, DiskFile
from kissvdb.storage.log import EventLog, LogFailed, LogRecord, OffsetTruncated
from kissvdb.storage.segment import INDEX_STEP_BYTES, index_name, segment_name
from tests.simulation.fake_disk import FakeDisk

MIB = 1024 * 1024


def fake(capacity_bytes: int | None = None) -> FakeDisk:
    return FakeDisk(random.Random(1), capacity_bytes)


def open_log(disk: Disk, *, segment_bytes_max: int = MIB, offset_floor: int = 0) -> EventLog:
    return EventLog.open(disk, segment_bytes_max=segment_bytes_max, offset_floor=offset_floor)


def fill(log: EventLog, count: int, size: int = 100) -> None:
    """Records whose payload begins with their offset."""
    for _ in range(count):
        offset = log.next_offset
        log.append(offset, [b"%d|" % offset + bytes(size)])


def offsets(records: list[LogRecord]) -> list[int]:
    return [record.offset for record in records]


def read_all(log: EventLog, bytes_max: int = MIB) -> list[LogRecord]:
    records = []
    after = log.first_offset - 1
    while page := log.read(after, bytes_max=bytes_max):
        records += page
        after = page[-1].offset
    return records


def test_a_new_log_is_empty_and_begins_at_one() -> None:
    log = open_log(fake())
    assert (log.first_offset, log.last_offset, log.next_offset) == (1, 0, 1)
    assert log.report is None
    assert log.read(0, bytes_max=100) == []


def test_records_come_back_as_they_were_appended(tmp_path: Path) -> None:
    log = open_log(Disk(tmp_path))
    assert log.append(1_000, [b"one", b"", b"\0" * 70_000]) == 1
    assert log.append(1_001, [b"four"]) == 4
    expected = [
        LogRecord(1, 1_000, b"one"),
        LogRecord(2, 1_000, b""),
        LogRecord(3, 1_000, b"\0" * 70_000),
        LogRecord(4, 1_001, b"four"),
    ]
    assert log.read(0, bytes_max=MIB) == expected
    log.close()
    again = open_log(Disk(tmp_path))
    assert again.report is None
    assert read_all(again) == expected
    assert again.next_offset == 5
    again.close()


def test_an_append_of_nothing_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at least one"):
        open_log(fake()).append(0, [])


def test_a_write_over_the_frame_limit_is_refused_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_module, "FRAME_BYTES_MAX", 1_000)
    log = open_log(fake())
    with pytest.raises(PayloadTooLarge, match="at most 1000 bytes"):
        log.append(0, [bytes(1_000)])
    assert log.append(0, [bytes(900)]) == 1


def test_each_append_is_one_sync_and_nothing_more() -> None:
    disk = fake()
    log = open_log(disk)
    before = disk.syncs
    for _ in range(50):
        log.append(0, [b"x" * 100] * 20)
    assert disk.syncs - before == 50


def test_a_small_database_has_a_small_log(tmp_path: Path) -> None:
    log = open_log(Disk(tmp_path), segment_bytes_max=64 * MIB)
    fill(log, 10)
    assert log.bytes_on_disk == (tmp_path / segment_name(1)).stat().st_size
    assert log.bytes_on_disk < 200_000
    log.close()


def test_segments_rotate_before_they_would_exceed_their_size() -> None:
    disk = fake()
    log = open_log(disk, segment_bytes_max=1_000)
    fill(log, 30)
    segments = log.segments
    assert len(segments) > 3
    assert all(used <= 1_000 for _, _, used in segments)
    assert all(len(disk.content(segment_name(first))) <= 1_000 for first, _, _ in segments)
    assert [first for first, _, _ in segments[1:]] == [last + 1 for _, last, _ in segments[:-1]]
    assert offsets(read_all(log)) == list(range(1, 31))


def test_one_write_larger_than_a_segment_gets_a_segment_of_its_own() -> None:
    disk = fake()
    log = open_log(disk, segment_bytes_max=1_000)
    fill(log, 1)
    log.append(0, [bytes(5_000)])
    fill(log, 1)
    assert [(first, last) for first, last, _ in log.segments] == [(1, 1), (2, 2), (3, 3)]
    assert offsets(read_all(open_log(disk, segment_bytes_max=1_000))) == [1, 2, 3]


def test_a_read_starts_after_any_offset_and_stops_at_until() -> None:
    log = open_log(fake(), segment_bytes_max=2_000)
    for _ in range(20):
        log.append(0, [b"x" * 30] * 3)
    for after in range(61):
        assert offsets(log.read(after, bytes_max=MIB)) == list(range(after + 1, 61))
        assert offsets(log.read(after, bytes_max=MIB, until=40)) == list(range(after + 1, 41))
    assert log.read(60, bytes_max=MIB) == log.read(1_000, bytes_max=MIB) == []


@pytest.mark.parametrize(("bytes_max", "count"), [(0, 1), (1, 1), (30, 1), (89, 2), (90, 3)])
def test_a_read_keeps_its_bound_but_gives_at_least_one_record(bytes_max: int, count: int) -> None:
    log = open_log(fake(), segment_bytes_max=500)
    for _ in range(20):
        log.append(0, [b"x" * 30])
    assert offsets(log.read(7, bytes_max=bytes_max)) == list(range(8, 8 + count))


def test_a_read_does_not_scan_from_the_start() -> None:
    disk = fake()
    log = open_log(disk, segment_bytes_max=4 * MIB)
    for _ in range(3_000):
        log.append(0, [b"x" * 400] * 2)
    for after in range(0, 6_000, 500):
        disk.bytes_read = 0
        assert offsets(log.read(after, bytes_max=1)) == [after + 1]
        assert disk.bytes_read <= 2 * INDEX_STEP_BYTES


def test_opening_reads_the_last_segment_and_the_indexes_only() -> None:
    disk = fake()
    log = open_log(disk, segment_bytes_max=100_000)
    fill(log, 3_000, size=200)
    *sealed, _ = log.segments
    disk.bytes_read = 0
    seen: list[tuple[int, int]] = []
    EventLog.open(
        disk, segment_bytes_max=100_000, on_progress=lambda done, total: seen.append((done, total))
    )
    assert len(sealed) > 5
    assert disk.bytes_read < 2.5 * 100_000
    assert seen[-1] == (log.bytes_on_disk, log.bytes_on_disk)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("content", [None, b"", b"junk" * 50])
def test_a_missing_or_bad_index_is_made_again(content: bytes | None) -> None:
    disk = fake()
    log = open_log(disk, segment_bytes_max=20_000)
    fill(log, 300)
    name = index_name(log.segments[0][0])
    good = disk.content(name)
    if content is None:
        disk.remove(name)
    else:
        disk.put(name, content)
    again = open_log(disk, segment_bytes_max=20_000)
    assert read_all(again) == read_all(log)
    assert disk.content(name) == good


def test_an_index_with_any_byte_flipped_misleads_nobody() -> None:
    disk = fake()
    log = open_log(disk, segment_bytes_max=3_000)
    fill(log, 60)
    expected = read_all(log)
    name = index_name(1)
    good = disk.content(name)
    for at in range(len(good)):
        disk.put(name, good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        assert read_all(open_log(disk, segment_bytes_max=3_000)) == expected


def test_an_index_without_its_segment_is_removed() -> None:
    disk = fake()
    disk.put(index_name(7), b"left over")
    open_log(disk)
    assert disk.names() == [segment_name(1)]


def test_retention_keeps_what_a_view_still_needs_and_what_was_promised() -> None:
    disk = fake()
    log = open_log(disk, segment_bytes_max=1_000)
    fill(log, 40)
    ends = [last for _, last, _ in log.segments]
    assert len(ends) >= 6
    assert log.retain(applied_offset=0, segments_max=2) == []
    assert log.retain(applied_offset=40, segments_max=len(ends)) == []
    assert log.retain(applied_offset=ends[1] - 1, segments_max=2) == [1]
    assert log.retain(applied_offset=40, segments_max=2, hold_offset=ends[1]) == []
    assert log.retain(applied_offset=40, segments_max=2, hold_offset=ends[1] + 1) == [ends[0] + 1]
    assert log.first_offset == ends[1] + 1
    assert len(log.retain(applied_offset=40, segments_max=2)) == len(ends) - 4
    assert len(log.segments) == 2
    assert sorted(disk.names()) == sorted(
        [segment_name(first) for first, _, _ in log.segments] + [index_name(log.first_offset)]
    )


def test_the_segment_in_use_is_never_removed() -> None:
    log = open_log(fake(), segment_bytes_max=1_000)
    fill(log, 40)
    log.retain(applied_offset=40, segments_max=0)
    assert len(log.segments) == 1
    assert offsets(log.read(39, bytes_max=1)) == [40]


def test_a_read_before_the_oldest_record_says_where_the_log_begins() -> None:
    log = open_log(fake(), segment_bytes_max=1_000)
    fill(log, 40)
    log.retain(applied_offset=40, segments_max=2)
    first = log.first_offset
    with pytest.raises(OffsetTruncated) as caught:
        log.read(first - 2, bytes_max=1)
    assert caught.value.first_offset == first
    assert offsets(log.read(first - 1, bytes_max=1)) == [first]


def test_offsets_go_on_after_retention_removed_everything_and_a_restart() -> None:
    disk = fake()
    log = open_log(disk, segment_bytes_max=200)
    fill(log, 5)
    log.retain(applied_offset=5, segments_max=1)
    log = open_log(disk, segment_bytes_max=200)
    assert log.append(0, [b"six"]) == 6


def test_the_next_offset_is_above_the_floor_when_the_files_are_gone() -> None:
    disk = fake()
    log = open_log(disk, offset_floor=500)
    assert (log.first_offset, log.last_offset, log.next_offset) == (501, 500, 501)
    with pytest.raises(OffsetTruncated):
        log.read(499, bytes_max=1)
    assert log.read(500, bytes_max=1) == []
    assert log.append(0, [b"x"]) == 501
    assert open_log(disk, offset_floor=500).next_offset == 502


def test_offsets_skipped_by_the_floor_leave_a_gap_that_reads_step_over() -> None:
    disk = fake()
    fill(open_log(disk), 3)
    log = open_log(disk, offset_floor=10)
    assert (log.last_offset, log.next_offset) == (3, 11)
    assert log.read(3, bytes_max=MIB) == []
    fill(log, 2)
    log = open_log(disk, offset_floor=5)
    assert offsets(read_all(log)) == [1, 2, 3, 11, 12]
    assert offsets(log.read(7, bytes_max=MIB)) == [11, 12]
    assert log.first_offset == 1


def test_a_floor_raised_again_and_again_over_an_empty_log_is_no_damage() -> None:
    disk = fake()
    for floor in (0, 5, 9, 9):
        log = open_log(disk, offset_floor=floor)
    assert log.next_offset == 10
    log.append(0, [b"x"])
    assert offsets(read_all(open_log(disk))) == [10]


def test_a_full_disk_refuses_the_write_and_takes_the_next_when_there_is_room() -> None:
    disk = fake()
    log = open_log(disk)
    fill(log, 3)
    size = len(disk.content(segment_name(1)))
    disk.capacity_bytes = size
    with pytest.raises(PersistenceFailed, match="No space left"):
        log.append(0, [bytes(size)])
    assert len(disk.content(segment_name(1))) == size
    assert offsets(read_all(log)) == [1, 2, 3]
    fill(log, 1)
    disk.capacity_bytes = None
    assert log.append(0, [bytes(size)]) == 5
    assert offsets(read_all(open_log(disk))) == [1, 2, 3, 4, 5]


def test_a_disk_with_room_for_the_record_but_not_for_zeros_ahead_takes_it() -> None:
    disk = fake()
    log = open_log(disk)
    disk.capacity_bytes = len(disk.content(segment_name(1))) + 500
    fill(log, 2)
    with pytest.raises(PersistenceFailed):
        fill(log, 5)
    assert offsets(read_all(open_log(disk))) == list(range(1, log.next_offset))


def test_a_full_disk_at_a_rotation_leaves_the_last_segment_in_use() -> None:
    disk = fake()
    log = open_log(disk, segment_bytes_max=1_000)
    fill(log, 6)
    names = disk.names()
    disk.capacity_bytes = sum(len(disk.content(name)) for name in names) + 20
    with pytest.raises(PersistenceFailed, match="new log segment"):
        fill(log, 1)
    assert [name for name in disk.names() if name.endswith(".log")] == names
    disk.capacity_bytes = None
    fill(log, 1)
    disk.crash()
    assert offsets(read_all(open_log(disk, segment_bytes_max=1_000))) == list(range(1, 8))


class _Failing(Disk):
    """A real directory whose files fail to write on command."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.failures: list[int] = []

    def open(self, name: str, *, create: bool = False, read_only: bool = False) -> DiskFile:
        file = super().open(name, create=create, read_only=read_only)
        write, truncate = file.write_durable, file.truncate

        def guarded(action: Callable[..., None]) -> Callable[..., None]:
            def act(*arguments: object) -> None:
                if self.failures:
                    number = self.failures.pop(0)
                    if number == errno.ENOSPC:
                        # Some of it got in before the disk was full.
                        file.write(b"partial", file.size())
                    raise OSError(number, os.strerror(number))
                action(*arguments)

            return act

        file.write_durable = guarded(write)  # type: ignore[method-assign]
        file.truncate = guarded(truncate)  # type: ignore[method-assign]
        return file


@pytest.mark.parametrize("number", [errno.EROFS, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_takes_no_write_at_all_refuses_and_the_log_serves_on(
    tmp_path: Path, number: int
) -> None:
    disk = _Failing(tmp_path)
    log = open_log(disk)
    fill(log, 2)
    disk.failures = [number]
    with pytest.raises(PersistenceFailed, match="nothing was written"):
        fill(log, 1)
    fill(log, 1)
    assert offsets(read_all(log)) == [1, 2, 3]
    log.close()


def test_a_failed_sync_stops_the_log_for_good(tmp_path: Path) -> None:
    disk = _Failing(tmp_path)
    log = open_log(disk)
    fill(log, 2)
    disk.failures = [errno.EIO]
    for _ in range(2):
        with pytest.raises(LogFailed, match="the process must stop"):
            log.append(0, [b"x"])
    assert offsets(read_all(log)) == [1, 2]
    log.close()


def test_a_partial_write_that_cannot_be_taken_back_stops_the_log(tmp_path: Path) -> None:
    disk = _Failing(tmp_path)
    log = open_log(disk, segment_bytes_max=1_000)
    fill(log, 1)
    disk.failures = [errno.ENOSPC, errno.EIO]
    with pytest.raises(LogFailed, match="take back"):
        fill(log, 1)
    log.close()
    again = open_log(Disk(tmp_path))
    assert again.report is not None
    assert offsets(read_all(again)) == [1]
    again.close()


def test_a_closed_log_takes_nothing_more() -> None:
    log = open_log(fake())
    log.close()
    with pytest.raises(LogFailed, match="closed"):
        log.append(0, [b"x"])


def test_damage_found_by_a_read_names_file_byte_and_offset() -> None:
    disk = fake()
    log = open_log(disk)
    fill(log, 3)
    content = bytearray(disk.content(segment_name(1)))
    content[content.index(b"2|")] ^= 1
    disk.put(segment_name(1), bytes(content))
    with pytest.raises(Damaged, match=rf"/fake/{segment_name(1)}: .*offset 2 at byte \d+"):
        log.read(0, bytes_max=MIB)


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads change places often: more interleavings, and no reader starves the writer."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_threads")
def test_readers_in_other_threads_see_every_record_once_while_it_is_written(
    tmp_path: Path,
) -> None:
    log = open_log(Disk(tmp_path), segment_bytes_max=2_000)
    total = 200

    def follow() -> list[LogRecord]:
        seen: list[LogRecord] = []
        after = 0
        while after < total:
            try:
                page = log.read(after, bytes_max=500)
            except OffsetTruncated as error:
                # Retention overtook this reader: it goes on where the log begins.
                after = max(after, error.first_offset - 1)
                continue
            if page:
                assert page[0].offset == after + 1
                after = page[-1].offset
                seen += page
        return seen

    with ThreadPoolExecutor(2) as readers:
        followers = [readers.submit(follow) for _ in range(2)]
        while log.last_offset < total:
            fill(log, 1, size=50)
            if log.last_offset > total // 2:
                log.retain(applied_offset=log.last_offset, segments_max=3)
        seen_by_each = [follower.result(10) for follower in followers]
    log.close()
    for seen in seen_by_each:
        assert seen[-1].offset == total
        assert all(record.payload.startswith(b"%d|" % record.offset) for record in seen)
        assert offsets(seen) == sorted(set(offsets(seen)))
