"""A chunked request body (RFC 9112, section 7.1), read strictly and within limits."""

import re
from collections.abc import Callable

from kissvdb.errors import PayloadTooLarge
from kissvdb.lane.errors import MalformedRequest
from kissvdb.lane.limits import LaneLimits

# Extensions are skipped, never acted on; a control byte in one may hide a line from others.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,8}+)(?:[ \t]*+;[\t -~\x80-\xff]*+)?")
_TRAILER_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t -~\x80-\xff]*+")


class ChunkedBody:
    """Fed with what arrives; gives the data in it, and what came after the body.

    ``too_large`` makes the error for more than ``body_bytes_max`` of data; None lets the body be
    of any size, for a reader that takes it piece by piece. Framing may cost as much as the data
    plus ``chunk_overhead_bytes_max``: a flood of one-byte chunks is work without content.
    """

    def __init__(
        self, limits: LaneLimits, too_large: Callable[[], PayloadTooLarge] | None = None
    ) -> None:
        self._limits = limits
        self._too_large = too_large
        self._waiting = b""
        self._at = 0
        self._parts: list[bytes] = []
        self._size_announced = 0
        self._overhead = 0
        self._trailer_bytes = 0
        self._missing = 0
        self._step = self._read_size_line
        self._done = False

    def take(self) -> bytes:
        """The data that came since the last call."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data

    @property
    def rest(self) -> bytes:
        """What followed the last chunk: the start of the next request."""
        return self._waiting[self._at :]

    def feed(self, data: bytes) -> bool:
        """Take bytes from the wire; True when the body is complete.

        Raises MalformedRequest (400) or PayloadTooLarge (413).
        """
        self._waiting = self._waiting[self._at :] + data
        self._at = 0
        while not self._done and self._step():
            pass
        return self._done

    def _read_size_line(self) -> bool:
        line = self._line(self._limits.chunk_line_bytes_max, "a chunk's size line")
        if line is None:
            return False
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise MalformedRequest("a chunk's size must be 1 to 8 hexadecimal digits")
        self._missing = int(match[1], 16)
        self._size_announced += self._missing
        too_large = self._too_large
        if too_large is not None and self._size_announced > self._limits.body_bytes_max:
            raise too_large()
        self._step = self._read_data if self._missing else self._read_trailer
        return True

    def _read_data(self) -> bool:
        part = self._waiting[self._at : self._at + self._missing]
        self._at += len(part)
        self._missing -= len(part)
        if part:
            self._parts.append(part)
        if self._missing:
            return False
        ending = self._waiting[self._at : self._at + 2]
        if not b"\r\n".startswith(ending):
            raise MalformedRequest("a chunk is longer than its size says")
        if len(ending) < 2:
            return False
        self._at += 2
        self._overhead += 2
        self._step = self._read_size_line
        return True

    def _read_trailer(self) -> bool:
        line = self._line(self._limits.trailer_bytes_max, "a trailer line")
        if line is None:
            return False
        self._trailer_bytes += len(line)
        if self._trailer_bytes > self._limits.trailer_bytes_max:
            raise MalformedRequest(f"the trailers are over {self._limits.trailer_bytes_max} bytes")
        if line and _TRAILER_LINE.fullmatch(line) is None:
            raise MalformedRequest("a trailer line is malformed")
        self._done = not line
        return True

    def _line(self, bytes_max: int, what: str) -> bytes | None:
        end = self._waiting.find(b"\r\n", self._at, self._at + bytes_max + 2)
        if end < 0:
            if len(self._waiting) - self._at > bytes_max + 1:
                raise MalformedRequest(f"{what} is over {bytes_max} bytes")
            return None
        line = self._waiting[self._at : end]
        self._at = end + 2
        self._overhead += len(line) + 2
        if self._overhead > self._size_announced + self._limits.chunk_overhead_bytes_max:
            raise MalformedRequest("the chunks are too small: send more data in each")
        return line
