"""What becomes of a log when its bytes are cut or flipped: torn tail, damage, or no harm."""

import random
import re
import zlib

import pytest

from kissvdb.errors import Damaged
from kissvdb.records import LogRecord
from kissvdb.storage.data_dir import NewerFormat
from kissvdb.storage.log.segment import (
    HEADER_BYTES,
    SegmentHeader,
    decode_header,
    index_name,
    segment_name,
)
from kissvdb.storage.log.segmented_log import SegmentedLog
from tests.simulation.fake_disk import FakeDisk

WRITES = ([b"first"], [b"second", b"", b"fourth"], [b"fifth"])
FIRSTS = (1, 2, 5)
NAME = segment_name(1)
# Bytes of the header that mean something; zeros fill it up.
HEADER_USED_BYTES = 36


def open_log(disk: FakeDisk, segment_bytes_max: int = 2_000) -> SegmentedLog:
    return SegmentedLog.open(disk, segment_bytes_max=segment_bytes_max)


def records(log: SegmentedLog) -> list[LogRecord]:
    """Read to the end, as whoever reads does: what lies before damage comes first."""
    found: list[LogRecord] = []
    while more := log.read(
        found[-1].offset if found else log.first_offset - 1, bytes_max=1_000_000
    ):
        found += more
    return found


def disk_of(files: dict[str, bytes]) -> FakeDisk:
    disk = FakeDisk(random.Random(0))
    for name, content in files.items():
        disk.put(name, content)
    return disk


@pytest.fixture(scope="module")
def content() -> bytes:
    """A segment with three writes and zeros behind them."""
    disk = disk_of({})
    log = open_log(disk)
    for number, payloads in enumerate(WRITES):
        log.append(number, payloads)
    return disk.content(NAME)


@pytest.fixture(scope="module")
def starts(content: bytes) -> list[int]:
    """Where the three frames begin, and where the last one ends."""
    marker = content[HEADER_BYTES : HEADER_BYTES + 4]
    found = [match.start() for match in re.finditer(re.escape(marker), content[HEADER_BYTES:])]
    return [HEADER_BYTES + at for at in found] + [len(content.rstrip(b"\0"))]


@pytest.fixture(scope="module")
def expected(content: bytes) -> list[LogRecord]:
    return records(open_log(disk_of({NAME: content})))


def test_a_log_cut_at_any_byte_keeps_every_whole_write_before_it(
    content: bytes, starts: list[int], expected: list[LogRecord]
) -> None:
    kept_by_writes = [0, 1, 4, 5]
    for length in range(HEADER_BYTES, len(content)):
        disk = disk_of({NAME: content[:length]})
        log = open_log(disk)
        whole = sum(end <= length for end in starts[1:])
        kept = kept_by_writes[whole]
        assert records(log) == expected[:kept]
        torn = starts[whole] < length and whole < 3
        if not torn:
            assert log.report is None
            assert log.next_offset == kept + 1
        else:
            assert log.report is not None
            assert (log.report.position, log.report.path) == (starts[whole], disk.path(NAME))
            assert log.report.bytes_cut == len(content[starts[whole] : length].rstrip(b"\0"))
            assert log.next_offset > kept
        first = log.append(9, [b"next"])
        assert records(open_log(disk)) == [*expected[:kept], LogRecord(first, 9, b"next")]


@pytest.mark.parametrize("length", range(HEADER_BYTES))
def test_a_last_segment_that_a_crash_left_without_a_header_is_removed(length: int) -> None:
    disk = disk_of({})
    log = open_log(disk, segment_bytes_max=150)
    log.append(0, [bytes(90)])
    log.append(0, [bytes(90)])
    second = segment_name(2)
    disk.put(second, disk.content(second)[:length])
    log = open_log(disk, segment_bytes_max=150)
    assert log.report is not None
    assert log.report.path == disk.path(second)
    assert [record.offset for record in records(log)] == [1]
    assert second not in disk.names()
    assert log.next_offset == 2


def test_a_flipped_byte_is_damage_before_the_last_write_and_a_torn_tail_in_it(
    content: bytes, starts: list[int], expected: list[LogRecord]
) -> None:
    for at in range(HEADER_BYTES, len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 0x41
        disk = disk_of({NAME: bytes(flipped)})
        if at < starts[2]:
            write = 0 if at < starts[1] else 1
            with pytest.raises(Damaged) as caught:
                open_log(disk)
            assert disk.path(NAME) in caught.value.message
            assert f"offset {FIRSTS[write]} at byte {starts[write]} " in caught.value.message
            assert "kissvdb check --repair" in caught.value.message
            assert disk.content(NAME) == flipped
            continue
        kept = 4 if at < starts[3] else 5
        log = open_log(disk)
        assert log.report is not None
        assert log.report.position == starts[2 if kept == 4 else 3]
        assert records(log) == expected[:kept]
        assert log.next_offset > 5, "the offset of a record that was given away is used again"


def test_a_damaged_header_of_a_segment_with_records_is_damage(content: bytes) -> None:
    for at in range(HEADER_BYTES):
        flipped = bytearray(content)
        flipped[at] ^= 0x41
        disk = disk_of({NAME: bytes(flipped)})
        if at < HEADER_USED_BYTES:
            with pytest.raises(Damaged, match=rf"{NAME}: the segment's header at byte 0"):
                open_log(disk)
        else:
            assert len(records(open_log(disk))) == 5


def test_a_header_of_a_later_version_is_refused_and_said_so() -> None:
    header = bytearray(SegmentHeader(1, 0, b"mark").encode())
    header[8] = 2
    assert decode_header(bytes(header), "file", 1) is None

    disk = disk_of({})
    open_log(disk)
    header[32:36] = zlib.crc32(header[:32]).to_bytes(4, "little")
    disk.put(NAME, bytes(header))
    with pytest.raises(NewerFormat, match="version 2, this kissvdb reads 1"):
        open_log(disk)


def test_sectors_of_a_torn_write_in_any_order_are_a_torn_tail(content: bytes) -> None:
    """Only the end of the last write reached the disk, and its header did not."""
    disk = disk_of({NAME: content})
    log = open_log(disk, segment_bytes_max=10_000)
    at = len(disk.content(NAME).rstrip(b"\0"))
    log.append(0, [b"x" * 300] * 9)
    torn = bytearray(disk.content(NAME))
    torn[at : at + 700] = bytes(700)
    disk.put(NAME, bytes(torn))
    log = open_log(disk)
    assert log.report is not None
    assert len(records(log)) == 5


def test_no_payload_can_pass_for_a_frame(content: bytes) -> None:
    """A client stores the bytes of another log's frames; then a crash tears the next write."""
    disk = disk_of({})
    log = open_log(disk, segment_bytes_max=100_000)
    log.append(0, [content[HEADER_BYTES:]])
    ((_, _, at),) = log.segments
    log.append(0, [content[HEADER_BYTES:]])
    torn = bytearray(disk.content(NAME))
    torn[at] ^= 1
    disk.put(NAME, bytes(torn))
    log = open_log(disk)
    assert [record.offset for record in records(log)] == [1]
    assert log.report is not None


def three_segments() -> tuple[FakeDisk, list[LogRecord]]:
    disk = disk_of({})
    log = open_log(disk, segment_bytes_max=200)
    for number in range(6):
        log.append(number, [b"%d" % number * 20])
    assert len(log.segments) == 3
    return disk, records(log)


def check_goes_wrong_late(log: SegmentedLog, expected: list[LogRecord]) -> None:
    before = log.read(0, bytes_max=1_000_000)
    assert 0 < len(before) < len(expected)
    assert before == expected[: len(before)]
    records(log)


@pytest.mark.parametrize("with_index", [True, False])
def test_a_flipped_byte_in_a_sealed_segment_never_gives_a_wrong_record(with_index: bool) -> None:
    disk, expected = three_segments()
    files = {name: disk.content(name) for name in disk.names()}
    if not with_index:
        del files[index_name(3)]
    name = segment_name(3)
    used = len(files[name].rstrip(b"\0"))
    for at in range(used):
        flipped = bytearray(files[name])
        flipped[at] ^= 0x20
        disk = disk_of({**files, name: bytes(flipped)})
        if HEADER_USED_BYTES <= at < HEADER_BYTES:
            assert records(open_log(disk, segment_bytes_max=200)) == expected
            continue
        with pytest.raises(Damaged, match=name):
            check_goes_wrong_late(open_log(disk, segment_bytes_max=200), expected)


@pytest.mark.parametrize("lost", [3, 5])
def test_a_missing_segment_is_damage_unless_it_was_the_oldest_or_the_newest(lost: int) -> None:
    disk, _ = three_segments()
    assert segment_name(lost) in disk.names()
    disk.remove(segment_name(lost))
    if lost == 3:
        with pytest.raises(Damaged, match="a part of the log is missing"):
            open_log(disk)
    else:
        # Its offsets are the caller's to know: the views have applied them.
        log = SegmentedLog.open(disk, segment_bytes_max=200, offset_floor=6)
        assert log.append(0, [b"x"]) == 7


def test_a_sealed_segment_cut_short_is_damage() -> None:
    disk, _ = three_segments()
    content = disk.content(segment_name(1))
    for length in range(len(content.rstrip(b"\0"))):
        disk.put(segment_name(1), content[:length])
        with pytest.raises(Damaged, match=segment_name(1)):
            open_log(disk)
