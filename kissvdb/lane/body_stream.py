"""A request body read piece by piece, by an operation that answers while it reads."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from kissvdb.lane.chunked import ChunkedBody
from kissvdb.lane.head import Head
from kissvdb.lane.limits import LaneLimits

if TYPE_CHECKING:
    from typing import Self

Receive = Callable[[], Awaitable[bytes]]


class BodyStream:
    """An async iterator of a body of any size. Nothing is received before it is asked for, so a
    client that sends faster than its operations are done is slowed down by TCP.

    It just ends when the client stops in the middle, or the server does; ``complete`` then stays
    False. Raises MalformedRequest where the chunks are broken.
    """

    def __init__(
        self,
        head: Head,
        begun: bytes,
        receive: Receive,
        receive_more: Callable[[], bytes],
        limits: LaneLimits,
    ) -> None:
        """``receive_more``: what has come by now, perhaps nothing."""
        self.complete = False
        self._receive = receive
        self._receive_more = receive_more
        self._begun = begun
        self._missing = head.content_length
        self._chunks = ChunkedBody(limits) if head.chunked else None

    def __aiter__(self) -> "Self":
        return self

    async def __anext__(self) -> bytes:
        while not self.complete:
            arrived, self._begun = self._begun, b""
            if not arrived:
                arrived = await self._receive()
                if not arrived:
                    break
            data = self._data_in(arrived)
            if data:
                return data
        raise StopAsyncIteration

    def at_hand(self) -> bytes:
        """The next of it, if that need not be waited for: nothing else, or at the end. Raises
        MalformedRequest."""
        if self.complete:
            return b""
        arrived, self._begun = self._begun or self._receive_more(), b""
        return self._data_in(arrived) if arrived else b""

    def _data_in(self, arrived: bytes) -> bytes:
        if self._chunks is not None:
            self.complete = self._chunks.feed(arrived)
            return self._chunks.take()
        data = arrived[: self._missing]
        self._missing -= len(data)
        self.complete = self._missing == 0
        return data
