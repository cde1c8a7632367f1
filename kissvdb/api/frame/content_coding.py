"""Request bodies that come compressed (RFC 9110, section 8.4): gzip.

What a body becomes is held to the same limit as one that came plain, and is made piece by piece,
so that a bomb costs no more than a body that is too large.
"""

import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import trio

from kissvdb.errors import InvalidArgument, PayloadTooLarge, UnsupportedCoding

PIECE_BYTES_MAX = 256 * 1024
STEP_BYTES_MAX = 16 * 1024
"""zlib copies what it was given behind the end of a member: a body of empty members, 20 bytes each,
would be copied 50,000 times if it were given whole."""
INLINE_BYTES_MAX = 512
"""gzip becomes at most 1,032 times as large: about half a millisecond of the event loop."""

_GZIP = ("gzip", "x-gzip")
_GZIP_WINDOW_BITS = 31


def is_gzip(headers: Mapping[str, str]) -> bool:
    """Whether the body is gzip; False when it is plain. Raises UnsupportedCoding."""
    coding = headers["content-encoding"].strip().lower()
    if coding not in _GZIP and coding != "identity":
        raise UnsupportedCoding(
            f"content-encoding {coding[:100]!r} is not read here: send gzip, or the body as it is "
            "without the header"
        )
    return coding in _GZIP


class Inflater:
    """gzip, fed in pieces: one member or several one after another (RFC 1952)."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=_GZIP_WINDOW_BITS)
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` holds, in pieces of at most PIECE_BYTES_MAX. Raises InvalidArgument."""
        self._begun = self._begun or bool(data)
        for at in range(0, len(data), STEP_BYTES_MAX):
            yield from self._step(data[at : at + STEP_BYTES_MAX])

    def _step(self, data: bytes) -> Iterator[bytes]:
        piece = b""
        while data or len(piece) == PIECE_BYTES_MAX:
            if data and self._member.eof:
                self._member = zlib.decompressobj(wbits=_GZIP_WINDOW_BITS)
            try:
                piece = self._member.decompress(data, PIECE_BYTES_MAX)
            except zlib.error as problem:
                raise InvalidArgument(
                    f"body: content-encoding says gzip, and it is not ({problem})"
                ) from None
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                yield piece

    def end(self) -> None:
        """The last byte came. Raises InvalidArgument when more should have. Nothing at all is the
        empty body."""
        if self._begun and not self._member.eof:
            raise InvalidArgument("body: the gzip is cut off: send it whole")


async def inflated(body: bytes, bytes_max: int, too_large: Callable[[], PayloadTooLarge]) -> bytes:
    """A whole body. Raises InvalidArgument, and ``too_large`` beyond ``bytes_max``."""
    if not body:
        return body
    if len(body) <= INLINE_BYTES_MAX:
        return _inflate(body, bytes_max, too_large)
    return await trio.to_thread.run_sync(_inflate, body, bytes_max, too_large)


async def inflated_stream(arriving: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A body of any length, as it comes; no more is received while a piece is worked on."""
    inflater = Inflater()
    async for data in arriving:
        pieces = inflater.feed(data)
        while piece := await trio.to_thread.run_sync(next, pieces, b""):
            yield piece
    inflater.end()


def _inflate(body: bytes, bytes_max: int, too_large: Callable[[], PayloadTooLarge]) -> bytes:
    inflater = Inflater()
    parts, size = [], 0
    for piece in inflater.feed(body):
        size += len(piece)
        if size > bytes_max:
            raise too_large()
        parts.append(piece)
    inflater.end()
    return b"".join(parts)
