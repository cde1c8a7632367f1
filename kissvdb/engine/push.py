"""The hub's push side: one blob per wake to many sinks, without a task per subscriber.

A thousand tasks that wake, take the same blob and send it cost mostly the waking. Subscribers
that are live and whose socket takes what it is given need no task: the hub's one pushing task
joins the frames once per place and filter and hands the blob to each sink in a plain loop.
A sink that cannot take all of it leaves the loop and catches up by itself from its cursor.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Protocol

import attrs
import trio

from kissvdb.config import Stream
from kissvdb.core.events import StreamQuery
from kissvdb.core.stream import HEARTBEAT, OPENING, gap_frame
from kissvdb.engine.history import History
from kissvdb.engine.hub import Hub, Subscriber
from kissvdb.engine.ring import Slice

PAUSE_SECS_MIN = 0.0005


class Sink(Protocol):
    """Where a pushed stream goes. Calls come from the loop and must not wait."""

    def push(self, blob: bytes) -> bool:
        """Send ``blob``. False: not all of it went. The sink then has left the push; it sends
        the rest, catches up (``PushStream.catch_up``) and attaches again, in its own task."""

    def fall_behind(self) -> None:
        """The ring has lost the sink's place: it has left the push and must catch up."""

    def end(self) -> None:
        """The stream is over."""


@attrs.define(eq=False)
class Group:
    """Streams that wait for the same thing: same place in the ring, same filter."""

    place: int
    query: StreamQuery | None
    beats: int
    members: "dict[PushStream, Sink]" = attrs.field(factory=dict)


class PushStream(AsyncIterator[bytes]):
    """One subscriber's stream of SSE blobs: iterated by any door, or pushed into a sink.

    To push: ``await catch_up(send)``, and if that is True, ``attach(sink)`` before the next
    await, so that no event falls between. ``aclose()`` at the end, in both uses.
    """

    def __init__(
        self, hub: "PushHub", subscriber: Subscriber, blobs: AsyncGenerator[bytes, None]
    ) -> None:
        self.subscriber = subscriber
        self.hub = hub
        self.group: Group | None = None
        self._blobs = blobs
        self._place: int | None = None
        self._opened = False
        self._closed = False

    async def __anext__(self) -> bytes:
        return await self._blobs.__anext__()

    async def aclose(self) -> None:
        """Leave the push and the hub's table of clients."""
        self._closed = True
        self.detach()
        self.hub.leave(self.subscriber)
        await self._blobs.aclose()

    async def catch_up(self, send: Callable[[bytes], Awaitable[None]]) -> bool:
        """Send what this subscriber has not seen, up to the newest event.

        True: it is live now, attach it. False: the streams, or this one, have ended.
        """
        hub, subscriber = self.hub, self.subscriber
        if not self._opened:
            self._opened = True
            await send(OPENING)
            newest = hub.ring.last_offset
            if subscriber.offset > newest:
                ahead = gap_frame(newest + 1, subscriber.offset, "ahead")
                subscriber.offset = newest
                await send(ahead)
        while not (hub.ended or self._closed):
            if self._place is None or self._place < hub.ring.first_place:
                self._place = hub.ring.place_after(subscriber.offset)
            if self._place is None:
                blob = await hub.replay(subscriber)
                if blob:
                    await send(blob)
                continue
            if self._place == hub.ring.next_place:
                return True
            found = hub.take(self._place, subscriber)
            self._place = found.place
            if found.blob:
                await send(found.blob)
            else:
                await trio.lowlevel.checkpoint()
            subscriber.offset = found.offset
        return False

    def attach(self, sink: Sink) -> None:
        """From now on events are pushed into ``sink``. Only after ``catch_up`` said True."""
        assert self.group is None
        assert self._place is not None
        self.hub.join(self, sink, self._place)

    def detach(self) -> None:
        """Leave the push, keeping the place."""
        if self.group is not None:
            self._place = self.group.place
            del self.group.members[self]
            self.group = None


class PushHub(Hub):
    """A hub whose streams can be pushed.

    `run_pushes` must run while any stream is attached: whoever attaches one and finds
    ``pushing`` False sets it and starts it.
    """

    def __init__(self, config: Stream, history: History, last_offset: int) -> None:
        super().__init__(config, history, last_offset)
        self._groups: dict[tuple[int, StreamQuery | None], Group] = {}
        self.pushing = False

    @property
    def ended(self) -> bool:
        """The streams are over."""
        return self._ended

    def take(self, place: int, subscriber: Subscriber) -> Slice:
        """The blob at ``place`` that passes the subscriber's filter, joined once for all."""
        name = None if subscriber.passes is None else subscriber.query
        return self.ring.take(place, name, subscriber.passes, self._config.send_bytes_max)

    async def replay(self, subscriber: Subscriber) -> bytes:
        """The next blob from the log for a subscriber whose place the ring has lost."""
        return await self._replay(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a client. Twice is fine."""
        self._subscribers.discard(subscriber)

    def join(self, stream: PushStream, sink: Sink, place: int) -> None:
        """Add a live stream, whose next event is at ``place``, to its group."""
        query = None if stream.subscriber.passes is None else stream.subscriber.query
        group = self._groups.get((place, query))
        if group is None:
            group = self._groups[place, query] = Group(place, query, self._beats)
        group.members[stream] = sink
        stream.group = group

    async def run_pushes(self) -> None:
        """Push until the streams end. The pushes take at most half of the loop's time: while
        they pause, events gather into larger blobs and writers get their turn."""
        try:
            while not self._ended:
                started = time.perf_counter()
                if not self._push_round():
                    await self._waiting.park()
                    continue
                spent = time.perf_counter() - started
                await trio.sleep(spent if spent > PAUSE_SECS_MIN else 0)
        finally:
            self.pushing = False
            for group in self._groups.values():
                for stream, sink in list(group.members.items()):
                    stream.detach()
                    sink.end()

    def _push_round(self) -> bool:
        """Give every group its next blob. False when there was nothing for anyone."""
        ring = self.ring
        busy = False
        for key, group in list(self._groups.items()):
            if not group.members:
                del self._groups[key]
            elif group.place < ring.first_place:
                busy = True
                for stream, sink in list(group.members.items()):
                    stream.detach()
                    sink.fall_behind()
            elif group.place < ring.next_place:
                busy = True
                del self._groups[key]
                self._push_next(group)
            elif group.beats != self._beats:
                self._push_blob(group, HEARTBEAT)
        return busy

    def _push_next(self, group: Group) -> None:
        found = self.take(group.place, next(iter(group.members)).subscriber)
        group.place = found.place
        for stream in group.members:
            stream.subscriber.offset = found.offset
        if found.blob:
            self._push_blob(group, found.blob)
        ahead = self._groups.setdefault((group.place, group.query), group)
        if ahead is not group:
            for stream in group.members:
                stream.group = ahead
            ahead.members |= group.members

    def _push_blob(self, group: Group, blob: bytes) -> None:
        group.beats = self._beats
        for stream, sink in list(group.members.items()):
            if not sink.push(blob):
                stream.detach()

    def _blobs(self, subscriber: Subscriber) -> AsyncIterator[bytes]:
        blobs = super()._blobs(subscriber)
        assert isinstance(blobs, AsyncGenerator)
        return PushStream(self, subscriber, blobs)
