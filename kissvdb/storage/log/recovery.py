"""What happens to the log's files before anyone may rely on them.

Every acknowledged record is found again, nothing that was not durable is shown, and no offset
that may have been given away is given away again.
"""

from collections.abc import Callable
from itertools import pairwise

import attrs

from kissvdb.errors import Damaged
from kissvdb.storage.disk import Disk, DiskFile
from kissvdb.storage.log.frames import used_end
from kissvdb.storage.log.segment import (
    HEADER_BYTES,
    REPAIR_HINT,
    Segment,
    SegmentHeader,
    Tail,
    create_segment,
    decode_header,
    first_offset_of,
    index_name,
    load_sealed,
    remove_segment,
    scan,
    segment_name,
    write_index,
)


@attrs.frozen
class TornTail:
    """The rest of a write that a crash interrupted; it was never acknowledged."""

    path: str
    position: int
    bytes_cut: int


@attrs.frozen
class Recovered:
    """A log ready for use; ``file`` is the last segment's, open for writing."""

    segments: tuple[Segment, ...]
    file: DiskFile
    next_offset: int
    report: TornTail | None


class _Progress:
    """Adds up the bytes read of those there are."""

    def __init__(self, total: int, report: Callable[[int, int], None] | None) -> None:
        self._done = 0
        self._total = total
        self._report = report

    def __call__(self, bytes_read: int) -> None:
        self._done += bytes_read
        if self._report is not None:
            self._report(self._done, self._total)


def recover(
    disk: Disk,
    *,
    offset_floor: int,
    epoch: str = "",
    on_progress: Callable[[int, int], None] | None = None,
) -> Recovered:
    """Bring the directory's log into a state to append to; see SegmentedLog.open."""
    remove_orphans(disk)
    headers, torn, floor = _headers(disk, offset_floor)
    if not headers:
        header = SegmentHeader.new(floor + 1, floor, epoch)
        file = create_segment(disk, header)
        return Recovered((Segment.fresh(header),), file, floor + 1, torn)
    progress = _Progress(sum(_size(disk, h) for h in headers), on_progress)
    segments = [
        _sealed(disk, header, following.previous_offset, progress)
        for header, following in pairwise(headers)
    ]
    file = disk.open(segment_name(headers[-1].first_offset))
    try:
        last, tail = _recover_last(disk, file, headers[-1], progress)
        segments.append(last)
        next_offset = last.next_offset
        if tail.used_bytes:
            torn = TornTail(disk.path(last.name), last.end, tail.used_bytes)
            # It may be damage that only looks like a torn tail: its offsets were given away.
            floor = max(floor, tail.issued_offset)
        if not last.header.epoch:
            # An older kissvdb began it: the segments after it will say what it cannot.
            last.header = attrs.evolve(last.header, epoch="" if floor >= next_offset else epoch)
        ended = not last.empty and epoch not in ("", last.header.epoch)
        if floor >= next_offset or ended:
            write_index(disk, last)
            next_offset = max(floor + 1, next_offset)
            header = SegmentHeader.new(next_offset, last.last_offset, epoch)
            following_file = create_segment(disk, header)
            file.close()
            file = following_file
            segments.append(Segment.fresh(header))
    except BaseException:
        file.close()
        raise
    return Recovered(tuple(segments), file, next_offset, torn)


def remove_orphans(disk: Disk) -> None:
    """Remove index files whose segment is gone: a crash came between the two removals."""
    names = disk.names()
    wanted = {index_name(first) for name in names if (first := first_offset_of(name)) is not None}
    for name in names:
        if name.startswith("events-") and name.endswith(".idx") and name not in wanted:
            disk.remove(name)


def _size(disk: Disk, header: SegmentHeader) -> int:
    file = disk.open(segment_name(header.first_offset), read_only=True)
    try:
        return file.size()
    finally:
        file.close()


def _headers(disk: Disk, floor: int) -> tuple[list[SegmentHeader], TornTail | None, int]:
    """The headers in order, without a last segment that a crash left half made.

    Its name still says which offsets had been given away: the floor is raised to that.
    """
    firsts = [first for name in disk.names() if (first := first_offset_of(name)) is not None]
    headers: list[SegmentHeader] = []
    for first in firsts:
        path = disk.path(segment_name(first))
        file = disk.open(segment_name(first), read_only=True)
        try:
            header = decode_header(file.pread(HEADER_BYTES, 0), path, first)
            size = file.size()
            if header is None and (
                first != firsts[-1] or used_end(file, HEADER_BYTES, size) > HEADER_BYTES
            ):
                raise Damaged(f"{path}: the segment's header at byte 0 is damaged: {REPAIR_HINT}")
        finally:
            file.close()
        if header is None:
            # The header is durable before the first frame is written, so none was.
            remove_segment(disk, first)
            return headers, TornTail(path, 0, size), max(floor, first - 1)
        headers.append(header)
    return headers, None, floor


def _sealed(
    disk: Disk, header: SegmentHeader, last_offset: int, progress: Callable[[int], None]
) -> Segment:
    file = disk.open(segment_name(header.first_offset), read_only=True)
    try:
        return load_sealed(disk, file, header, last_offset, progress)
    finally:
        file.close()


def _recover_last(
    disk: Disk, file: DiskFile, header: SegmentHeader, progress: Callable[[int], None]
) -> tuple[Segment, Tail]:
    """Scan the last segment, cut what a crash tore, and make what stays durable."""
    segment, tail = scan(file, header, progress)
    if tail.damaged_at is not None:
        raise Damaged(
            f"{disk.path(segment.name)}: the record with offset {segment.next_offset} at byte "
            f"{tail.damaged_at} is damaged, and later records are not: {REPAIR_HINT}"
        )
    if tail.used_bytes:
        file.truncate(segment.end)
        segment.file_bytes = segment.end
    # The last write may be in the page cache only: a failed fdatasync leaves its pages there and
    # clean, and no later fdatasync would write them. Written again, they reach the disk.
    at = 0 if segment.empty else segment.last_at
    file.write_durable(file.pread(segment.end - at, at), at)
    file.sync()
    disk.sync_dir()
    return segment, tail
