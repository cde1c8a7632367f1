"""What the event log forgets, and that its offsets go on regardless."""

import pytest

from kissvdb.errors import OffsetTruncated
from kissvdb.storage.log.segment import index_name, segment_name
from tests.storage.sample_log import MIB, fake, fill, offsets, open_log, read_all


def test_retention_keeps_what_somebody_still_needs() -> None:
    disk = fake()
    log = open_log(disk, segment_bytes_max=1_000)
    fill(log, 40)
    ends = [last for _, last, _ in log.segments]
    assert len(ends) >= 6
    assert log.retain(through=0, segments_max=2) == []
    assert log.retain(through=40, segments_max=len(ends)) == []
    assert log.retain(through=ends[1] - 1, segments_max=2) == [1]
    assert log.retain(through=ends[1] - 1, segments_max=2) == []
    assert log.retain(through=ends[1], segments_max=2) == [ends[0] + 1]
    assert log.first_offset == ends[1] + 1
    assert len(log.retain(through=40, segments_max=2)) == len(ends) - 4
    assert len(log.segments) == 2
    assert sorted(disk.names()) == sorted(
        [segment_name(first) for first, _, _ in log.segments] + [index_name(log.first_offset)]
    )


def test_the_segment_in_use_is_never_removed() -> None:
    log = open_log(fake(), segment_bytes_max=1_000)
    fill(log, 40)
    log.retain(through=40, segments_max=0)
    assert len(log.segments) == 1
    assert offsets(log.read(39, bytes_max=1)) == [40]


def test_a_read_before_the_oldest_record_says_where_the_log_begins() -> None:
    log = open_log(fake(), segment_bytes_max=1_000)
    fill(log, 40)
    log.retain(through=40, segments_max=2)
    first = log.first_offset
    with pytest.raises(OffsetTruncated) as caught:
        log.read(first - 2, bytes_max=1)
    assert caught.value.first_offset == first
    assert offsets(log.read(first - 1, bytes_max=1)) == [first]


def test_offsets_go_on_after_retention_removed_everything_and_a_restart() -> None:
    disk = fake()
    log = open_log(disk, segment_bytes_max=200)
    fill(log, 5)
    log.retain(through=5, segments_max=1)
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
