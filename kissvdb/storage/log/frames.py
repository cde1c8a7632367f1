"""Frames: how records lie in a segment file. One durable write is one frame.

A frame is a 36-byte little-endian header, the lengths of its records, and their payloads::

    marker        4 bytes  the segment's own random bytes, the first one never zero
    header_crc32  u32      zlib CRC-32 of the rest of the header
    body_crc32    u32      zlib CRC-32 of the body
    body_bytes    u32
    count         u32      records in this write
    first_offset  u64      theirs go on from here without a gap
    ts_ms         u64      Unix time in milliseconds
    body                   count x u32 payload bytes, then the payloads

One checksum makes a write all or nothing. One write ends before the next begins, so a frame with
a later offset proves that everything before it had been durable: that tells a torn tail from
damage. The header's own checksum lets recovery know how many offsets an unreadable body held. The
marker is random so that no stored value can pass for a frame, and makes the search for the next
frame one ``bytes.find``.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from kissvdb.storage.disk import DiskFile

FRAME_HEADER = struct.Struct("<4sIIIIQQ")
FRAME_HEADER_BYTES = FRAME_HEADER.size
MARKER_BYTES = 4
FRAME_BYTES_MAX = 1024 * 1024 * 1024
"""A longer frame is neither written nor believed."""

_CRC = struct.Struct("<I")
_CHECKED = struct.Struct("<IIIQQ")
_CHECKED_AT = MARKER_BYTES + _CRC.size
_LENGTH_BYTES = 4
_WINDOW_BYTES = 1024 * 1024


class Head(NamedTuple):
    """A frame's header; ``at`` is its position in the file, ``end`` that after the frame."""

    at: int
    end: int
    body_crc32: int
    records: int
    first_offset: int
    ts_ms: int

    @property
    def last_offset(self) -> int:
        return self.first_offset + self.records - 1


class Frame(NamedTuple):
    """A frame that passed its checksums."""

    head: Head
    body: bytes

    def payloads(self) -> list[bytes]:
        """The records' payloads, in offset order."""
        count, body = self.head.records, self.body
        at = _LENGTH_BYTES * count
        payloads = []
        for length in struct.unpack_from(f"<{count}I", body):
            payloads.append(body[at : at + length])
            at += length
        return payloads


class Prepared(msgspec.Struct, frozen=True):
    """One durable write to be: ``data`` goes to ``at`` of ``file``. It is a frame of
    ``frame_bytes`` bytes with ``count`` records, and zeros behind it."""

    file: DiskFile
    at: int
    data: bytes
    frame_bytes: int
    first_offset: int
    count: int


def encoded_bytes(payloads: Sequence[bytes]) -> int:
    """The size of a write's frame."""
    return FRAME_HEADER_BYTES + _LENGTH_BYTES * len(payloads) + sum(map(len, payloads))


def encode(marker: bytes, first_offset: int, ts_ms: int, payloads: Sequence[bytes]) -> bytes:
    """The frame of one durable write."""
    count = len(payloads)
    body = b"".join((struct.pack(f"<{count}I", *map(len, payloads)), *payloads))
    checked = _CHECKED.pack(zlib.crc32(body), len(body), count, first_offset, ts_ms)
    return b"".join((marker, _CRC.pack(zlib.crc32(checked)), checked, body))


def decode_head(buffer: bytes, marker: bytes, start: int, base: int) -> Head | None:
    """The valid header at ``start`` of ``buffer``, which lies at ``base`` of the file."""
    body_at = start + FRAME_HEADER_BYTES
    if body_at > len(buffer):
        return None
    found, crc, body_crc, body_bytes, count, first, ts_ms = FRAME_HEADER.unpack_from(buffer, start)
    if found != marker or zlib.crc32(buffer[start + _CHECKED_AT : body_at]) != crc:
        return None
    if not 0 < count <= body_bytes // _LENGTH_BYTES or body_bytes > FRAME_BYTES_MAX:
        return None
    return Head(base + start, base + body_at + body_bytes, body_crc, count, first, ts_ms)


class FrameScan:
    """Read frames one after the other from ``at`` to ``end``, stopping at the first bad one.

    When the iteration is over, ``at`` is where it stopped: ``end``, or the first byte of what is
    not the frame with offset ``expected``. Offsets in a segment have no gaps. Frames that end
    before the offset ``wanted`` are stepped over by their headers alone.
    """

    def __init__(
        self,
        file: DiskFile,
        marker: bytes,
        *,
        at: int,
        end: int,
        expected: int,
        wanted: int = 0,
        window_bytes: int = _WINDOW_BYTES,
    ) -> None:
        self.at = at
        self.end = end
        self.expected = expected
        self._file = file
        self._marker = marker
        self._wanted = wanted
        self._window_bytes = window_bytes

    def __iter__(self) -> Iterator[Frame]:
        marker, wanted, crc32 = self._marker, self._wanted, zlib.crc32
        base, buffer = self.at, b""
        while True:
            start = self.at - base
            body_at = start + FRAME_HEADER_BYTES
            if body_at > len(buffer):
                base, buffer = self.at, self._read(FRAME_HEADER_BYTES)
                start, body_at = 0, FRAME_HEADER_BYTES
            head = decode_head(buffer, marker, start, base)
            if head is None or head.first_offset != self.expected or head.end > self.end:
                return
            after = head.first_offset + head.records
            if after <= wanted:
                self.at, self.expected = head.end, after
                continue
            if head.end - base > len(buffer):
                base, buffer = self.at, self._read(head.end - head.at)
                body_at = FRAME_HEADER_BYTES
            body = buffer[body_at : head.end - base]
            if crc32(body) != head.body_crc32:
                return
            self.at, self.expected = head.end, after
            yield Frame(head, body)

    def _read(self, needed: int) -> bytes:
        """The next window, at least ``needed`` bytes of it if there are as many."""
        length = min(max(self._window_bytes, needed), self.end - self.at)
        return self._file.pread(length, self.at)


def find_heads(file: DiskFile, marker: bytes, at: int, end: int) -> Iterator[Head]:
    """Every valid header that stands anywhere in the bytes from ``at`` to ``end``."""
    while at < end:
        buffer = file.pread(min(_WINDOW_BYTES, end - at), at)
        start = buffer.find(marker)
        while start >= 0:
            head = decode_head(file.pread(FRAME_HEADER_BYTES, at + start), marker, 0, at + start)
            if head is not None:
                yield head
            start = buffer.find(marker, start + 1)
        if at + len(buffer) >= end or not buffer:
            return
        # A marker may lie across the border of two windows.
        at += len(buffer) - (MARKER_BYTES - 1)


def used_end(file: DiskFile, at: int, end: int) -> int:
    """The position after the last byte that is not zero in ``at`` .. ``end``; ``at`` if none."""
    last = at
    while at < end:
        buffer = file.pread(min(_WINDOW_BYTES, end - at), at)
        if not buffer:
            break
        used = len(buffer.rstrip(b"\0"))
        if used:
            last = at + used
        at += len(buffer)
    return last


def records_max(used_bytes: int) -> int:
    """The most records that ``used_bytes`` of unreadable frames can have held."""
    return -(-used_bytes // _LENGTH_BYTES)
