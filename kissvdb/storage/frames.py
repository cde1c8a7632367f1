"""Frames: how a record lies in a segment file.

A frame is a 36-byte little-endian header and the payload::

    marker    4 bytes  the segment's own random bytes, the first one never zero
    crc32     u32      zlib CRC-32 of everything after this field
    length    u32      payload bytes
    position  u32      how many frames of the same durable write come before this one
    count     u32      how many frames that write has
    offset    u64
    ts_ms     u64      Unix time in milliseconds

``position`` tells a torn tail from damage. One durable write ends before the next begins, so a
frame that belongs to a *later* write proves that everything before that write had been durable.
``count`` makes a write all or nothing: recovery keeps no half of it. The marker is random so
that no stored value can pass for a frame, and makes the search for the next frame one
``bytes.find``.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kissvdb.storage.disk import DiskFile

FRAME_HEADER = struct.Struct("<4sIIIIQQ")
FRAME_HEADER_BYTES = FRAME_HEADER.size
PAYLOAD_BYTES_MAX = 64 * 1024 * 1024
"""A longer length field is not believed, so a damaged one cannot make recovery read for ever."""

MARKER_BYTES = 4
_CRC = struct.Struct("<I")
_CRC_END = MARKER_BYTES + _CRC.size
_BODY = struct.Struct("<IIIQQ")
_WINDOW_BYTES = 1024 * 1024


class Frame(NamedTuple):
    """A frame that passed its checksum; ``at`` is its position in the file in bytes."""

    at: int
    offset: int
    ts_ms: int
    batch_position: int
    batch_count: int
    payload: bytes


def encoded_bytes(payloads: Sequence[bytes]) -> int:
    """The size of the batch once encoded."""
    return FRAME_HEADER_BYTES * len(payloads) + sum(map(len, payloads))


def encode(marker: bytes, first_offset: int, ts_ms: int, payloads: Sequence[bytes]) -> bytes:
    """The frames of one durable write, joined; offsets count up from ``first_offset``."""
    parts: list[bytes] = []
    count = len(payloads)
    pack_body, pack_crc, crc32 = _BODY.pack, _CRC.pack, zlib.crc32
    for position, payload in enumerate(payloads):
        body = pack_body(len(payload), position, count, first_offset + position, ts_ms)
        parts += (marker, pack_crc(crc32(payload, crc32(body))), body, payload)
    return b"".join(parts)


def decode(buffer: bytes, marker: bytes, start: int, base: int) -> Frame | None:
    """The frame at ``start`` of ``buffer``, or None if there is no whole and valid one.

    ``base`` is the buffer's own position in the file.
    """
    payload_at = start + FRAME_HEADER_BYTES
    if payload_at > len(buffer):
        return None
    found, crc, length, position, count, offset, ts_ms = FRAME_HEADER.unpack_from(buffer, start)
    if found != marker or length > PAYLOAD_BYTES_MAX or payload_at + length > len(buffer):
        return None
    body = buffer[start + _CRC_END : payload_at + length]
    if zlib.crc32(body) != crc or position >= count:
        return None
    return Frame(base + start, offset, ts_ms, position, count, body[_BODY.size :])


def frame_bytes(buffer: bytes, marker: bytes, start: int) -> int | None:
    """The size the header at ``start`` claims; None if it is no header of this segment."""
    if start + FRAME_HEADER_BYTES > len(buffer):
        return None
    found, _, length, *_ = FRAME_HEADER.unpack_from(buffer, start)
    if found != marker or length > PAYLOAD_BYTES_MAX:
        return None
    return FRAME_HEADER_BYTES + int(length)


class FrameScan:
    """Read frames one after the other from ``at`` to ``end``, stopping at the first bad one.

    When the iteration is over, ``at`` is where it stopped: ``end``, or the first byte of what is
    not the frame with offset ``expected``. Offsets in a segment have no gaps. Frames before the
    offset ``wanted`` are stepped over by their headers alone.
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
        self._window_bytes = max(window_bytes, FRAME_HEADER_BYTES)

    def __iter__(self) -> Iterator[Frame]:
        marker = self._marker
        while self.at < self.end:
            base = self.at
            buffer = self._window()
            start = 0 if self.expected >= self._wanted else self._skip(buffer)
            while (frame := decode(buffer, marker, start, base)) is not None:
                if frame.offset != self.expected:
                    return
                start += FRAME_HEADER_BYTES + len(frame.payload)
                self.expected += 1
                self.at = base + start
                yield frame
            if start == 0:
                return

    def _skip(self, buffer: bytes) -> int:
        """Step over the whole frames before ``wanted``; returns where in the buffer that is."""
        start = 0
        while self.expected < self._wanted:
            length = frame_bytes(buffer, self._marker, start)
            if length is None or start + length > len(buffer):
                break
            start += length
            self.expected += 1
        self.at += start
        return start

    def _window(self) -> bytes:
        """The next bytes; as many as the first frame in them needs."""
        buffer = self._file.pread(min(self._window_bytes, self.end - self.at), self.at)
        needed = frame_bytes(buffer, self._marker, 0)
        if needed is not None and len(buffer) < needed <= self.end - self.at:
            buffer += self._file.pread(needed - len(buffer), self.at + len(buffer))
        return buffer


def find_frames(file: DiskFile, marker: bytes, at: int, end: int) -> Iterator[Frame]:
    """Every valid frame whose marker stands anywhere in the bytes from ``at`` to ``end``."""
    while at < end:
        buffer = file.pread(min(_WINDOW_BYTES, end - at), at)
        start = buffer.find(marker)
        while start >= 0:
            limit = min(PAYLOAD_BYTES_MAX + FRAME_HEADER_BYTES, end - at - start)
            header = file.pread(min(FRAME_HEADER_BYTES, limit), at + start)
            needed = frame_bytes(header, marker, 0)
            if needed is not None and needed <= limit:
                frame = decode(file.pread(needed, at + start), marker, 0, at + start)
                if frame is not None:
                    yield frame
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
