"""``kissvdb log dump``: the log as JSON lines, from files, beside a running server or without."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from kissvdb import records
from kissvdb.core.events.stream import event_of
from kissvdb.errors import ConfigError
from kissvdb.records import Record
from kissvdb.storage.disk import Disk
from kissvdb.storage.log.frames import FrameScan
from kissvdb.storage.log.segment import (
    HEADER_BYTES,
    SegmentHeader,
    decode_header,
    first_offset_of,
    segment_name,
)


def dump(path: Path, since: int) -> Iterator[str]:
    """A line for each record with an offset above ``since``: the envelope its event streams with;
    and a line of type ``epoch`` where an epoch begins.

    Reads up to the first bad frame of each segment: at the end of the log that is where a running
    server writes; `kissvdb check` tells damage. Raises ConfigError when there is no log.
    """
    for offset, ts_ms, found in _read(path, since):
        if isinstance(found, SegmentHeader):
            yield _boundary(found)
        else:
            yield event_of(offset, ts_ms, found).envelope().decode()


def read_log(path: Path, since: int) -> Iterator[tuple[int, int, Record]]:
    """Offset, time and record of all with an offset above ``since``, as `dump`."""
    for offset, ts_ms, found in _read(path, since):
        if not isinstance(found, SegmentHeader):
            yield offset, ts_ms, found


def _read(path: Path, since: int) -> Iterator[tuple[int, int, Record | SegmentHeader]]:
    """Records, and the headers of segments that begin an epoch."""
    directory = path / "log"
    if not directory.is_dir():
        raise ConfigError(f"{path} holds no kissvdb database: name another with --data-dir")
    disk = Disk(directory)
    firsts = sorted(filter(None, (first_offset_of(entry.name) for entry in directory.iterdir())))
    headers = [_header(disk, first) for first in firsts]
    for before, header, following in zip(
        [None, *headers], headers, [*headers[1:], None], strict=False
    ):
        if header is None or (following is not None and following.first_offset <= since + 1):
            continue
        if before is not None and before.epoch != header.epoch:
            yield header.first_offset, 0, header
        yield from _segment(disk, header, since)


def _header(disk: Disk, first: int) -> SegmentHeader | None:
    file = disk.open(segment_name(first), read_only=True)
    try:
        return decode_header(file.pread(HEADER_BYTES, 0), disk.path(segment_name(first)), first)
    finally:
        file.close()


def _boundary(header: SegmentHeader) -> str:
    data = {
        "epoch": header.epoch,
        "previous_offset": header.previous_offset,
        "after_offset": header.first_offset - 1,
    }
    return msgspec.json.encode({"type": "epoch", "data": data}).decode()


def _segment(
    disk: Disk, header: SegmentHeader, since: int
) -> Iterator[tuple[int, int, Record | SegmentHeader]]:
    first = header.first_offset
    file = disk.open(segment_name(first), read_only=True)
    try:
        scan = FrameScan(
            file,
            header.marker,
            at=HEADER_BYTES,
            end=file.size(),
            expected=first,
            wanted=since + 1,
        )
        for frame in scan:
            for offset, payload in enumerate(frame.payloads(), start=frame.head.first_offset):
                if offset > since:
                    yield offset, frame.head.ts_ms, records.decode(payload)
    finally:
        file.close()
