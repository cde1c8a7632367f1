"""Requests off a transport: heads, then their bodies, each within its limits."""

import re
from collections.abc import Callable, Mapping
from math import inf
from typing import TYPE_CHECKING, Protocol

from kissvdb.api.frame.http import Request
from kissvdb.api.frame.router import Beginning
from kissvdb.errors import KissError, PayloadTooLarge, RequestTimeout
from kissvdb.lane.body_stream import BodyStream
from kissvdb.lane.chunked import ChunkedBody
from kissvdb.lane.errors import HeadersTooLarge, MalformedRequest
from kissvdb.lane.head import HEAD_END, Head, HeadReader, check_partial, is_foreign_protocol
from kissvdb.lane.limits import LaneLimits
from kissvdb.lane.response import CONTINUE
from kissvdb.lane.transport import Phase, Transport

if TYPE_CHECKING:
    from typing import Self

    from kissvdb.api.bound import Bound

_REPEAT_BYTES_MAX = 2048
"""Of the head of a request that is known again: each connection keeps a few."""

# All that a target may hold, but for what stands for something else, or ends a path: % and ?.
_PLAIN = bytes(code for code in range(0x21, 0x7F) if code not in b"%?")
_NO_PARAMS: Mapping[str, str] = {}
_LENGTH_DIGITS_MAX = 8
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?([0-9]{1,8})\r\n")


class _Router(Protocol):
    def beginning(self, method: str, path: str) -> Beginning | None: ...


class Repeat:
    """A request that may come again on its connection: with the same method, header lines and
    length of the body, and the same path up to a parameter at its end.

    That is then what it was before but for the parameter and the body, so it is neither parsed nor
    looked up: it is compared.
    """

    __slots__ = (
        "_body_bytes",
        "_head",
        "_kept",
        "_name",
        "_others",
        "_prefix",
        "_rest_max",
        "_start",
        "bound",
    )

    def __init__(self, raw: bytes, head: Head, bound: "Bound", place: Beginning) -> None:
        """``raw`` was read as ``head``, which is of the route ``bound``, found at ``place``."""
        self.bound = bound
        self._head = head
        self._name, self._prefix, self._others = place.parameter, place.prefix, place.others
        self._start = f"{head.method} {place.prefix}".encode("ascii")
        self._kept = raw[len(head.method) + 1 + len(head.path) :]
        self._body_bytes = head.content_length
        self._rest_max = _REPEAT_BYTES_MAX - len(self._start) - len(self._kept)

    @classmethod
    def of(cls, raw: bytes, head: Head, bound: "Bound", place: Beginning | None) -> "Self | None":
        """None: it cannot be told by how it begins and ends, or is not worth its memory."""
        if place is None or head.query or "?" in head.path or len(raw) > _REPEAT_BYTES_MAX:
            return None
        return cls(raw, head, bound, place)

    def read(self, data: bytes, peer: str) -> Request | None:
        """The request that ``data`` is, if it is this one again and nothing else."""
        start, kept, prefix = self._start, self._kept, self._prefix
        end = len(data) - self._body_bytes
        # All of it, and not only a part of the body: a negative end would count from behind.
        if end < len(start) + len(kept):
            return None
        if not (data.startswith(start) and data.endswith(kept, 0, end)):
            return None
        rest = data[len(start) : end - len(kept)]
        head, name = self._head, self._name
        if name:
            # What could end the path, or stands for something else, is no such character.
            if len(rest) > self._rest_max or rest.translate(None, _PLAIN) or rest in self._others:
                return None
            text = rest.decode("ascii")
            params = {name: text}
            return Request(
                head.method, prefix + text, "", head.headers, data[end:], params, None, peer
            )
        if end != len(start) + len(kept):
            return None
        return Request(head.method, prefix, "", head.headers, data[end:], _NO_PARAMS, None, peer)


class SameHead:
    """A request that may come again on its connection with another body: its head is byte for byte
    the same but for the number of its content-length."""

    __slots__ = ("_before", "_behind", "_body_bytes_max", "_head", "_params", "bound")

    def __init__(
        self,
        place: "re.Match[bytes]",
        head: Head,
        found: "tuple[Bound, Mapping[str, str]]",
        limits: LaneLimits,
    ) -> None:
        """``place``: where the number is in what was read as ``head``, which means ``found``."""
        raw = place.string
        self.bound, self._params = found
        self._head = head
        self._before, self._behind = raw[: place.start(1)], raw[place.end(1) :]
        self._body_bytes_max = limits.body_bytes_max

    @classmethod
    def of(
        cls,
        raw: bytes,
        head: Head,
        found: "tuple[Bound, Mapping[str, str]]",
        limits: LaneLimits,
    ) -> "Self | None":
        """None: it has no such number, or is not worth its memory."""
        place = _LENGTH.search(raw) if len(raw) <= _REPEAT_BYTES_MAX else None
        return None if place is None else cls(place, head, found, limits)

    def read(self, data: bytes, peer: str) -> Request | None:
        """The request that ``data`` is, if it is this one again and nothing else."""
        before, behind, head = self._before, self._behind, self._head
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + _LENGTH_DIGITS_MAX + 1)
        if end < 0 or not data.startswith(behind, end):
            return None
        length = data[start:end]
        end += len(behind)
        size = len(data) - end
        if not length.isdigit() or int(length) != size or size > self._body_bytes_max:
            return None
        headers = {**head.headers, "content-length": length.decode("ascii")}
        return Request(
            head.method, head.path, head.query, headers, data[end:], self._params, None, peer
        )


class RequestReader:
    """Reads one connection's requests, one at a time: what is pipelined waits in the socket."""

    __slots__ = (
        "_awaits_continue",
        "_buffer",
        "_heads",
        "_limits",
        "_raw_head",
        "_too_large",
        "_transport",
    )

    def __init__(
        self,
        transport: Transport,
        limits: LaneLimits,
        too_large: Callable[[], PayloadTooLarge],
    ) -> None:
        self._transport = transport
        self._limits = limits
        self._too_large = too_large
        self._heads = HeadReader(limits)
        self._buffer = b""
        self._raw_head = b""
        self._awaits_continue = False

    def close(self) -> None:
        """Read no more."""
        self._heads.close()

    @property
    def has_more(self) -> bool:
        """Bytes of a next request have been read already."""
        return bool(self._buffer)

    @property
    def received(self) -> bytes:
        """All that was read since the current request began, to be put back for another door."""
        return self._raw_head + self._buffer

    def begin(self, data: bytes) -> None:
        """Read on from ``data``, which the transport has received."""
        self._buffer += data

    async def read_head(self) -> Head:
        """The next request's head, of which something has been received already.

        Raises Refused errors; OSError when the connection broke.
        """
        limits = self._limits
        buffer = self._buffer
        self._raw_head = b""
        end = buffer.find(HEAD_END)
        if end < 0:
            self._buffer = buffer
            if is_foreign_protocol(buffer):
                return Head.of_another_protocol()
            buffer, end = await self._read_to_head_end()
        end += 4
        if end > limits.header_bytes_max:
            raise _head_too_large(limits)
        self._raw_head = raw = buffer[:end]
        self._buffer = buffer[end:]
        return self._heads.read(raw)

    def repeat(
        self, raw: bytes, head: Head, found: "tuple[Bound, Mapping[str, str]]", router: "_Router"
    ) -> Repeat | SameHead | None:
        """By what the request is known if it comes again whose head, ``raw``, was read last, and
        means ``found``; None where it is not worth knowing."""
        if head.content_length and "...}" not in found[0].route.path:
            return SameHead.of(raw, head, found, self._limits)
        # Only if its client says the same header lines each time.
        if not self._heads.repeated:
            return None
        return Repeat.of(raw, head, found[0], router.beginning(head.method, head.path))

    def whole_request(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head and the body in ``data``, if that is one whole request and nothing unusual.
        Otherwise None, and ``data`` can be read as if this had not looked at it."""
        end = data.find(HEAD_END) + 4
        if not 4 <= end <= self._limits.header_bytes_max:
            return None
        body = data[end:]
        if len(body) > self._limits.body_bytes_max:
            return None
        head = self._heads.read_simple(data if end == len(data) else data[:end], body)
        return None if head is None else (head, body)

    async def _read_to_head_end(self) -> tuple[bytes, int]:
        transport, limits = self._transport, self._limits
        transport.enter(Phase.READING_HEAD, limits.header_timeout_secs)
        buffer = self._buffer
        while True:
            if len(buffer) > limits.header_bytes_max:
                raise _head_too_large(limits)
            check_partial(buffer, limits)
            data = await transport.receive()
            if not data:
                raise self._cut_off("head", limits.header_timeout_secs)
            searched = max(0, len(buffer) - 3)
            buffer += data
            end = buffer.find(HEAD_END, searched)
            if end >= 0:
                return buffer, end

    async def read_body(self, head: Head) -> bytes:
        """The body that ``head`` announced, whole. Answers ``Expect: 100-continue`` first.

        Raises PayloadTooLarge before any of a too large body is read.
        """
        limits = self._limits
        if head.content_length > limits.body_bytes_max:
            raise self._too_large()
        if head.chunked:
            return await self._read_chunked(head)
        length = head.content_length
        if len(self._buffer) < length:
            await self._start_body(head)
            parts = [self._buffer]
            missing = length - len(self._buffer)
            while missing > 0:
                data = await self._receive_body()
                parts.append(data)
                missing -= len(data)
            self._buffer = b"".join(parts)
        body = self._buffer[:length]
        self._buffer = self._buffer[length:]
        self._heads.skip_body(body)
        return body

    def has_whole_body(self, head: Head) -> bool:
        """The body is here already, and is not too large to be read whole."""
        length = head.content_length
        fits = length <= min(len(self._buffer), self._limits.body_bytes_max)
        return fits and not head.chunked

    def stream_body(self, head: Head) -> BodyStream:
        """The body piece by piece; nothing else can be read from this connection afterwards."""
        begun, self._buffer = self._buffer, b""
        self._awaits_continue = head.expects_continue and not begun
        return BodyStream(head, begun, self._receive_piece, self._at_hand, self._limits)

    async def say_continue(self) -> None:
        """Let a client that waits for it send its body: once, and before the answer begins."""
        if self._awaits_continue:
            self._awaits_continue = False
            await self._transport.send(CONTINUE)

    async def _receive_piece(self) -> bytes:
        await self.say_continue()
        self._transport.extend(self._limits.idle_timeout_secs)
        try:
            return await self._receive_all_there_is()
        except OSError:
            return b""
        finally:
            self._transport.extend(inf)

    async def _receive_all_there_is(self) -> bytes:
        """What has come, and what came while the piece before was worked on: a large piece is
        done in one go, with one sync."""
        first = await self._transport.receive()
        more = self._at_hand(len(first))
        return first + more if more else first

    def _at_hand(self, size: int = 0) -> bytes:
        """What has come, with ``size`` bytes before it no more than a piece."""
        parts: list[bytes] = []
        while size < self._limits.piece_bytes_max:
            try:
                more = self._transport.receive_more()
            except OSError:
                # The client is gone, but what it had sent is here.
                break
            if not more:
                break
            parts.append(more)
            size += len(more)
        return b"".join(parts)

    async def _read_chunked(self, head: Head) -> bytes:
        chunks = ChunkedBody(self._limits, self._too_large)
        if not chunks.feed(self._buffer):
            await self._start_body(head)
            while not chunks.feed(await self._receive_body()):
                pass
        self._buffer = chunks.rest
        self._heads.forget()
        return chunks.take()

    async def _start_body(self, head: Head) -> None:
        self._transport.enter(Phase.READING_BODY, self._limits.body_timeout_secs)
        self._awaits_continue = head.expects_continue and not self._buffer
        await self.say_continue()

    async def _receive_body(self) -> bytes:
        data = await self._transport.receive()
        if not data:
            raise self._cut_off("body", self._limits.body_timeout_secs)
        return data

    def _cut_off(self, part: str, timeout_secs: float) -> KissError:
        if self._transport.verdict is not None:
            return self._transport.verdict
        if self._transport.closing:
            return RequestTimeout(f"the request's {part} did not arrive within {timeout_secs:g} s")
        return MalformedRequest(f"the connection ended inside the request's {part}")


def _head_too_large(limits: LaneLimits) -> HeadersTooLarge:
    return HeadersTooLarge(
        f"the request line and headers are over {limits.header_bytes_max} bytes "
        "(http.header_bytes_max)"
    )
