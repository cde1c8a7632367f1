"""A segment: one file of the log, named by the offset of its first record.

``events-<first offset, 20 digits>.log`` is a 64-byte header and frames; zeros may follow, written
ahead. ``events-<first offset>.idx`` is the sparse offset index of a sealed segment, so that
opening the log does not read it all; a missing or bad index is rebuilt from the frames.
"""

import os
import re
import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

import attrs

from kissvdb.epochs import Boundary
from kissvdb.errors import Damaged
from kissvdb.storage.data_dir import NewerFormat
from kissvdb.storage.disk import Disk, DiskFile
from kissvdb.storage.log.frames import (
    FRAME_HEADER_BYTES,
    MARKER_BYTES,
    FrameScan,
    decode_head,
    find_heads,
    records_max,
    used_end,
)

SEGMENT_VERSION = 1
HEADER_BYTES = 64
INDEX_STEP_BYTES = 64 * 1024
PROGRESS_STEP_BYTES = 1024 * 1024

_MAGIC = b"KISSLOG\n"
_INDEX_MAGIC = b"KISSIDX\n"
_HEADER = struct.Struct("<8sI4sQQ")
_INDEX_HEADER = struct.Struct("<8sIQQQQQ")
_CRC = struct.Struct("<I")
_EPOCH = struct.Struct("<Q")
_EPOCH_AT = _HEADER.size + _CRC.size
_NAME = re.compile(r"events-(\d{20})\.log")

REPAIR_HINT = "stop the server and run `kissvdb check --repair` to cut the log there"


def segment_name(first_offset: int) -> str:
    """The file name of the segment that starts at ``first_offset``."""
    return f"events-{first_offset:020d}.log"


def index_name(first_offset: int) -> str:
    """The file name of that segment's index."""
    return f"events-{first_offset:020d}.idx"


def first_offset_of(name: str) -> int | None:
    """The first offset in a segment's file name; None if it is no segment's name."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


@attrs.frozen
class SegmentHeader:
    """What a segment says of itself.

    ``previous_offset`` is the last record of the segment before, 0 for a log's first segment. It
    is less than ``first_offset - 1`` where offsets were skipped on purpose, and is what tells
    such a gap from a missing file. ``epoch`` is that of the records in it, "" where it is not
    known: an older kissvdb wrote none.
    """

    first_offset: int
    previous_offset: int
    marker: bytes
    epoch: str = ""

    @classmethod
    def new(cls, first_offset: int, previous_offset: int, epoch: str = "") -> "SegmentHeader":
        """A header with a marker of its own; its first byte is not zero, as the tail's are."""
        marker = os.urandom(MARKER_BYTES)
        if marker[0] == 0:
            marker = b"\x5a" + marker[1:]
        return cls(first_offset, previous_offset, marker, epoch)

    def encode(self) -> bytes:
        """HEADER_BYTES bytes: the fields, their CRC-32, the epoch, its CRC-32, zeros."""
        fields = _HEADER.pack(
            _MAGIC, SEGMENT_VERSION, self.marker, self.first_offset, self.previous_offset
        )
        data = fields + _CRC.pack(zlib.crc32(fields))
        if self.epoch:
            epoch = _EPOCH.pack(int(self.epoch, 16))
            data += epoch + _CRC.pack(zlib.crc32(epoch))
        return data.ljust(HEADER_BYTES, b"\0")


def decode_header(data: bytes, path: str, first_offset: int) -> SegmentHeader | None:
    """The header in a segment's first bytes; None if they hold none for ``first_offset``.

    Raises Damaged for a header of a later version.
    """
    if len(data) < HEADER_BYTES:
        return None
    magic, version, marker, first, previous = _HEADER.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _HEADER.size)
    if magic != _MAGIC or crc != zlib.crc32(data[: _HEADER.size]) or first != first_offset:
        return None
    if version > SEGMENT_VERSION:
        raise NewerFormat(
            f"{path} has format version {version}, this kissvdb reads {SEGMENT_VERSION}: "
            "start the kissvdb that wrote it"
        )
    return SegmentHeader(first, previous, marker, _decode_epoch(data))


def _decode_epoch(data: bytes) -> str:
    epoch = data[_EPOCH_AT : _EPOCH_AT + _EPOCH.size]
    (crc,) = _CRC.unpack_from(data, _EPOCH_AT + _EPOCH.size)
    (number,) = _EPOCH.unpack(epoch)
    return f"{number:016x}" if number and crc == zlib.crc32(epoch) else ""


class SparseIndex:
    """Where a frame begins for about every INDEX_STEP_BYTES of a segment, in file order.

    Holds the first offsets of frames. Only ever appended to: readers in other threads need no
    lock.
    """

    def __init__(self) -> None:
        self.offsets = array("Q")
        self.positions = array("Q")

    def add(self, offset: int, position: int) -> None:
        """Note a frame if the last one noted is a step away."""
        if not self.positions or position - self.positions[-1] >= INDEX_STEP_BYTES:
            # find() bisects the offsets, so the position must be there first.
            self.positions.append(position)
            self.offsets.append(offset)

    def find(self, offset: int) -> tuple[int, int]:
        """(offset, position) of the last noted frame at or before ``offset``, else the first."""
        slot = max(bisect_right(self.offsets, offset) - 1, 0)
        return self.offsets[slot], self.positions[slot]


@attrs.define
class Segment:
    """One segment as it is known in memory.

    ``end`` is the first byte after the last durable frame, ``last_offset`` its last record's
    (``header.previous_offset`` while there is none), ``last_at`` its position. ``file_bytes`` is
    the size of the file, zeros written ahead included. Readers in other threads take ``end``
    first: everything below it stays as it is.
    """

    header: SegmentHeader
    last_offset: int
    end: int
    last_at: int
    file_bytes: int
    index: SparseIndex = attrs.field(factory=SparseIndex)

    @property
    def first_offset(self) -> int:
        return self.header.first_offset

    @property
    def name(self) -> str:
        return segment_name(self.header.first_offset)

    @property
    def next_offset(self) -> int:
        """The offset that the next record in this file has or gets."""
        return self.first_offset if self.empty else self.last_offset + 1

    @property
    def empty(self) -> bool:
        return self.end == HEADER_BYTES

    @classmethod
    def fresh(cls, header: SegmentHeader) -> "Segment":
        """A segment of which only the header is written."""
        return cls(header, header.previous_offset, HEADER_BYTES, 0, HEADER_BYTES)


def boundaries_of(headers: Sequence[SegmentHeader]) -> list[Boundary]:
    """Where epochs ended and offsets were skipped, in a log with these segments."""
    found = []
    for before, after in pairwise([None, *headers]):
        assert after is not None
        # What was before the first one is no longer there to tell its epoch.
        ended = before is not None and before.epoch != after.epoch
        if ended or after.previous_offset < after.first_offset - 1:
            epoch = before.epoch if before is not None and ended else ""
            found.append(Boundary(epoch, after.previous_offset, after.first_offset - 1))
    return found


def create_segment(disk: Disk, header: SegmentHeader) -> DiskFile:
    """Make the file of a new segment; on return it and its header survive a loss of power."""
    file = disk.open(segment_name(header.first_offset), create=True)
    try:
        file.write_durable(header.encode(), 0)
        disk.sync_dir()
    except OSError:
        file.close()
        raise
    return file


def remove_segment(disk: Disk, first_offset: int) -> None:
    """Remove a segment's files, if they are there, for good. Needs no free descriptor."""
    for name in (segment_name(first_offset), index_name(first_offset)):
        disk.remove(name)
    disk.sync_dir()


@attrs.frozen
class Tail:
    """What follows a segment's last readable frame: ``used_bytes``, then only zeros.

    They are a torn tail, unless ``damaged_at``, the byte where they begin, is set: then a later
    frame proves that what is there had been durable. ``issued_offset`` is the highest offset
    they can have held.
    """

    used_bytes: int = 0
    damaged_at: int | None = None
    issued_offset: int = 0


def scan(
    file: DiskFile, header: SegmentHeader, on_bytes: Callable[[int], None] | None = None
) -> tuple[Segment, Tail]:
    """Read every frame of a segment, up to the first that is not readable.

    ``on_bytes`` hears of the progress in bytes; in all, of the file's size.
    """
    size = file.size()
    segment = Segment.fresh(header)
    segment.file_bytes = size
    frames = FrameScan(file, header.marker, at=HEADER_BYTES, end=size, expected=header.first_offset)
    reported = 0
    for frame in frames:
        head = frame.head
        segment.index.add(head.first_offset, head.at)
        segment.last_offset, segment.last_at, segment.end = head.last_offset, head.at, head.end
        if on_bytes is not None and head.end - reported >= PROGRESS_STEP_BYTES:
            on_bytes(head.end - reported)
            reported = head.end
    if on_bytes is not None:
        on_bytes(size - reported)
    used = used_end(file, segment.end, size) - segment.end
    if not used:
        return segment, Tail()
    damaged_at = None
    issued = 0
    for head in find_heads(file, header.marker, segment.end, size):
        issued = max(issued, head.last_offset)
        if head.first_offset > frames.expected:
            damaged_at = segment.end
    if damaged_at is not None or not issued:
        # Without a header that tells, the worst: records of no bytes.
        issued = max(issued, frames.expected - 1 + records_max(used))
    return segment, Tail(used, damaged_at, issued)


def write_index(disk: Disk, segment: Segment) -> None:
    """Save a sealed segment's index. Not synced: a torn one fails its checksum."""
    index = segment.index
    entries = len(index.offsets)
    head = _INDEX_HEADER.pack(
        _INDEX_MAGIC,
        SEGMENT_VERSION,
        segment.first_offset,
        segment.last_offset,
        segment.end,
        segment.last_at,
        entries,
    )
    data = head + struct.pack(f"<{2 * entries}Q", *index.offsets, *index.positions)
    name = index_name(segment.first_offset)
    disk.remove(name)
    file = disk.open(name, create=True)
    try:
        file.write(data + _CRC.pack(zlib.crc32(data)), 0)
    finally:
        file.close()


def read_index(disk: Disk, header: SegmentHeader) -> Segment | None:
    """The segment as its index file describes it; None when that is missing or bad."""
    try:
        file = disk.open(index_name(header.first_offset), read_only=True)
    except FileNotFoundError:
        return None
    try:
        data = file.pread(file.size(), 0)
    finally:
        file.close()
    if len(data) < _INDEX_HEADER.size + _CRC.size:
        return None
    body = data[: -_CRC.size]
    magic, version, first, last, end, last_at, entries = _INDEX_HEADER.unpack_from(body)
    if (
        data[-_CRC.size :] != _CRC.pack(zlib.crc32(body))
        or magic != _INDEX_MAGIC
        or version != SEGMENT_VERSION
        or first != header.first_offset
        or len(body) != _INDEX_HEADER.size + 16 * entries
    ):
        return None
    segment = Segment(header, last, end, last_at, end)
    numbers = struct.unpack_from(f"<{2 * entries}Q", body, _INDEX_HEADER.size)
    segment.index.offsets.extend(numbers[:entries])
    segment.index.positions.extend(numbers[entries:])
    return segment


def load_sealed(
    disk: Disk,
    file: DiskFile,
    header: SegmentHeader,
    last_offset: int,
    on_bytes: Callable[[int], None] | None = None,
) -> Segment:
    """A segment that is not the last, which must end with the record ``last_offset``.

    Trusts the index once its last frame is found where it says; else reads the whole segment and
    saves the index. Raises Damaged when the frames do not reach ``last_offset``.
    """
    size = file.size()
    segment = read_index(disk, header)
    if segment is not None and segment.last_offset == last_offset and segment.end <= size:
        segment.file_bytes = size
        if segment.empty:
            return segment
        head = decode_head(
            file.pread(FRAME_HEADER_BYTES, segment.last_at), header.marker, 0, segment.last_at
        )
        if head is not None and (head.last_offset, head.end) == (last_offset, segment.end):
            if on_bytes is not None:
                on_bytes(size)
            return segment
    segment, tail = scan(file, header, on_bytes)
    path = disk.path(segment.name)
    if segment.last_offset < last_offset and not tail.used_bytes:
        raise Damaged(
            f"{path} ends at byte {segment.end} with offset {segment.last_offset}, but the next "
            f"segment follows offset {last_offset}: a part of the log is missing; {REPAIR_HINT}"
        )
    if segment.last_offset != last_offset or tail.used_bytes:
        raise Damaged(
            f"{path}: the record with offset {segment.next_offset} at byte {segment.end} is "
            f"damaged: {REPAIR_HINT}"
        )
    write_index(disk, segment)
    return segment
