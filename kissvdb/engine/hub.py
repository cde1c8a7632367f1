"""The hub: hears of every committed record and serves the subscribers of the stream.

A subscriber is a cursor: an offset while it reads the log, a place in the ring once it is live.
Nothing is buffered for it. One that falls out of the ring reads the log again; what the log no
longer holds is said in one ``gap`` with exact bounds.
"""

from collections.abc import AsyncIterator

import attrs
import trio

from actors import Actor, Envelope
from kissvdb.config import Stream
from kissvdb.core.events import Publish, StreamQuery
from kissvdb.core.stream import (
    HEARTBEAT,
    OPENING,
    Filter,
    compile_filter,
    event_of,
    gap_frame,
    transient_event,
)
from kissvdb.engine.history import History
from kissvdb.engine.ring import Ring
from kissvdb.errors import Overloaded, Stopping
from kissvdb.records import Committed
from kissvdb.storage.log import OffsetTruncated


@attrs.frozen
class Announce:
    """Records that became durable, in offset order."""

    committed: tuple[Committed, ...]


@attrs.frozen
class StreamOnly:
    """A transient event: to be streamed, never logged."""

    event: Publish
    ts_ms: int


@attrs.define(eq=False)
class Subscriber:
    """Where one client of the stream is. ``offset``: all up to here was sent or filtered out."""

    query: StreamQuery
    passes: Filter | None
    offset: int


class Hub(Actor):
    """Owns the ring. Follower of the log: it asks nobody."""

    def __init__(self, config: Stream, history: History, last_offset: int) -> None:
        self._config = config
        self._history = history
        self.ring = Ring(
            events_max=config.ring_events,
            bytes_max=config.ring_bytes_max,
            last_offset=last_offset,
        )
        self._subscribers: set[Subscriber] = set()
        self._waiting = trio.lowlevel.ParkingLot()
        self._beats = 0
        self._ended = False

    async def handle(self, batch: list[Envelope]) -> None:
        for envelope in batch:
            message = envelope.message
            if isinstance(message, Announce):
                for committed in message.committed:
                    self.ring.append(event_of(committed))
            elif isinstance(message, StreamOnly):
                self.ring.append(transient_event(message.event, message.ts_ms))
        self._waiting.unpark_all()

    async def close(self) -> None:
        self.end_streams()

    def end_streams(self) -> None:
        """Let every stream finish, and refuse new ones."""
        self._ended = True
        self._waiting.unpark_all()

    def beat(self) -> None:
        """Make every idle stream send a keep-alive comment."""
        self._beats += 1
        self._waiting.unpark_all()

    @property
    def client_count(self) -> int:
        """Streams that are open."""
        return len(self._subscribers)

    @property
    def lag_max(self) -> int:
        """Offsets between the newest event and the slowest client's place."""
        last = self.ring.last_offset
        return max((last - each.offset for each in self._subscribers), default=0)

    def subscribe(self, query: StreamQuery) -> AsyncIterator[bytes]:
        """Blobs of SSE frames, from ``query.since`` on, without loss or duplicate.

        Raises Overloaded at ``stream.clients_max`` open streams.
        """
        if self._ended:
            raise Stopping("the server is shutting down: reconnect with your last event id")
        if len(self._subscribers) >= self._config.clients_max:
            raise Overloaded(
                f"{self._config.clients_max} streams are open already: retry later, or raise "
                "stream.clients_max"
            )
        passes = compile_filter(query)
        # Queries that differ only in where they start share the ring's joined blobs.
        subscriber = Subscriber(attrs.evolve(query, since=0), passes, query.since)
        self._subscribers.add(subscriber)
        return self._blobs(subscriber)

    async def _blobs(self, subscriber: Subscriber) -> AsyncIterator[bytes]:
        ring = self.ring
        try:
            yield OPENING
            if subscriber.offset > ring.last_offset:
                yield gap_frame(ring.last_offset + 1, subscriber.offset, "ahead")
                subscriber.offset = ring.last_offset
            while not self._ended:
                place = ring.place_after(subscriber.offset)
                if place is None:
                    blob = await self._replay(subscriber)
                    if blob:
                        yield blob
                    continue
                async for blob in self._live(subscriber, place):
                    yield blob
        finally:
            self._subscribers.discard(subscriber)

    async def _live(self, subscriber: Subscriber, place: int) -> AsyncIterator[bytes]:
        """Blobs from the ring, until the subscriber falls out of it or the streams end."""
        ring = self.ring
        name = None if subscriber.passes is None else subscriber.query
        beats = self._beats
        while not self._ended and place >= ring.first_place:
            found = ring.take(place, name, subscriber.passes, self._config.send_bytes_max)
            place = found.place
            if found.blob:
                beats = self._beats
                yield found.blob
                subscriber.offset = found.offset
                continue
            subscriber.offset = found.offset
            if place < ring.next_place:
                await trio.lowlevel.checkpoint()
            elif beats != self._beats:
                beats = self._beats
                yield HEARTBEAT
            else:
                await self._waiting.park()

    async def _replay(self, subscriber: Subscriber) -> bytes:
        """The next chunk from the log, or the gap where the log no longer reaches back."""
        try:
            events = await self._history.read(subscriber.offset, until=self.ring.last_offset)
        except OffsetTruncated:
            first_lost = subscriber.offset + 1
            subscriber.offset = self._history.first_offset - 1
            return gap_frame(first_lost, subscriber.offset, "trimmed")
        passes = subscriber.passes
        blob = b"".join(event.frame() for event in events if passes is None or passes(event))
        last = events[-1].offset
        assert last is not None
        subscriber.offset = last
        return blob
