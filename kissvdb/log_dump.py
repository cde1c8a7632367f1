"""``kissvdb log dump``: the log as JSON lines, from files, beside a running server or without."""

from collections.abc import Iterator
from pathlib import Path

from kissvdb import records
from kissvdb.core.stream import event_of
from kissvdb.errors import ConfigError
from kissvdb.storage.disk import Disk
from kissvdb.storage.frames import FrameScan
from kissvdb.storage.segment import HEADER_BYTES, decode_header, first_offset_of, segment_name


def dump(path: Path, since: int) -> Iterator[str]:
    """A line for each record with an offset above ``since``: the envelope its event streams with.

    Reads up to the first bad frame of each segment: at the end of the log that is where a running
    server writes; `kissvdb check` tells damage. Raises ConfigError when there is no log.
    """
    directory = path / "log"
    if not directory.is_dir():
        raise ConfigError(f"{path} holds no kissvdb database: name another with --data-dir")
    disk = Disk(directory)
    firsts = sorted(filter(None, (first_offset_of(entry.name) for entry in directory.iterdir())))
    for first, following in zip(firsts, [*firsts[1:], None], strict=True):
        if following is None or following > since + 1:
            yield from _segment(disk, first, since)


def _segment(disk: Disk, first: int, since: int) -> Iterator[str]:
    file = disk.open(segment_name(first), read_only=True)
    try:
        head = file.pread(HEADER_BYTES, 0)
        header = decode_header(head, disk.path(segment_name(first)), first)
        if header is None:
            return
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
                    record = records.decode(payload)
                    event = event_of(offset, frame.head.ts_ms, record)
                    yield event.envelope().decode()
    finally:
        file.close()
