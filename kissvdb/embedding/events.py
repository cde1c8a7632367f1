"""The stream as Python objects."""

from collections import deque
from types import TracebackType
from typing import Any, Self
from weakref import finalize

import attrs
import msgspec

from kissvdb.engine.stream.subscription import Subscription
from kissvdb.errors import Damaged, KissError, Unavailable

_FAILURES: dict[str, type[KissError]] = {Damaged.code: Damaged, Unavailable.code: Unavailable}


@attrs.frozen
class Event:
    """One event. ``data`` is a Python value.

    ``offset`` is its place, to go on from with ``since``; None for a transient event. A ``gap``
    says in ``data`` which offsets will not come, and its ``offset`` is the place to go on from; it
    has no ``ts_ms``.
    """

    type: str
    data: Any
    offset: int | None
    ts_ms: int | None = None
    key: str | None = None
    tags: tuple[str, ...] = ()


class _Envelope(msgspec.Struct):
    offset: int | None
    ts_ms: int
    data: Any
    key: str | None = None
    tags: tuple[str, ...] = ()


_envelope = msgspec.json.Decoder(_Envelope).decode


class Events:
    """An async iterator of `Event`, without loss or duplicate, until the database is closed.

    ``async for event in events``, or in ``async with events`` to give its place up at a known
    moment. One that is slow costs nothing: it reads the log again. Raises Damaged or Unavailable
    where the stream cannot go on.
    """

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._frames: deque[bytes] = deque()
        # Whoever leaves an `async for` early does not close it.
        self._closing = finalize(self, subscription.close)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            while self._frames:
                event = _event(self._frames.popleft())
                if event is not None:
                    return event
            self._frames.extend((await anext(self._subscription)).split(b"\n\n"))

    async def aclose(self) -> None:
        """Give the place up. Safe to call again."""
        self._closing()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closing()


def _event(frame: bytes) -> Event | None:
    """The event of an SSE frame; None for comments and for the place a stream begins at."""
    fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if line[:1] not in b":")
    text = fields.get(b"data")
    if text is None:
        return None
    type_ = fields[b"event"].decode()
    if type_ == "error":
        said = msgspec.json.decode(text)
        raise _FAILURES.get(said["error"], KissError)(said["message"])
    if type_ == "gap":
        return Event(type_, msgspec.json.decode(text), int(fields[b"id"]))
    found = _envelope(text)
    key = found.key
    if key is None and type_.startswith("state_"):
        key = found.data["key"]
    return Event(type_, found.data, found.offset, found.ts_ms, key, found.tags)
