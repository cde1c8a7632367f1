"""The event log through its own doors: append, read, rotate, open again."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kissvdb.errors import Damaged, OffsetTruncated, PayloadTooLarge
from kissvdb.records import LogRecord
from kissvdb.storage.disk import Disk
from kissvdb.storage.log import segmented_log as log_module
from kissvdb.storage.log.segment import INDEX_STEP_BYTES, index_name, segment_name
from kissvdb.storage.log.segmented_log import SegmentedLog
from tests.storage.sample_log import MIB, fake, fill, offsets, open_log, read_all


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
    SegmentedLog.open(
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


def test_damage_found_by_a_read_names_file_byte_and_offset() -> None:
    disk = fake()
    log = open_log(disk)
    fill(log, 3)
    content = bytearray(disk.content(segment_name(1)))
    content[content.index(b"2|")] ^= 1
    disk.put(segment_name(1), bytes(content))
    with pytest.raises(Damaged, match=rf"/fake/{segment_name(1)}: .*offset 2 at byte \d+"):
        log.read(1, bytes_max=MIB)


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
                log.retain(through=log.last_offset, segments_max=3)
        seen_by_each = [follower.result(10) for follower in followers]
    log.close()
    for seen in seen_by_each:
        assert seen[-1].offset == total
        assert all(record.payload.startswith(b"%d|" % record.offset) for record in seen)
        assert offsets(seen) == sorted(set(offsets(seen)))
