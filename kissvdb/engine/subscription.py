"""One client of the stream: a cursor, and what it is to be sent next."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import trio

from kissvdb.core.events import StreamQuery
from kissvdb.core.stream import HEARTBEAT, OPENING, compile_filter, gap_frame
from kissvdb.engine.history import History
from kissvdb.engine.ring import Ring
from kissvdb.storage.log import OffsetTruncated

if TYPE_CHECKING:
    from typing import Self


@attrs.define(eq=False)
class Pulse:
    """What wakes subscriptions: news in the ring, a heartbeat, or the end."""

    waiting: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    beats: int = 0
    ended: bool = False


class Subscription:
    """An async iterator of SSE blobs without loss or duplicate; close it with ``aclose``.

    The cursor is an offset while it reads the log and a place in the ring once it is live.
    Nothing is buffered: one that falls out of the ring reads the log again, and what the log no
    longer holds is said in one ``gap`` with exact bounds.
    """

    def __init__(
        self,
        query: StreamQuery,
        ring: Ring,
        history: History,
        pulse: Pulse,
        *,
        send_bytes_max: int,
        closed: Callable[["Subscription"], None],
    ) -> None:
        self.offset = query.since
        """Everything up to here was handed out or filtered away."""
        self._passes = compile_filter(query)
        # Queries that differ only in where they start share the ring's joined blobs.
        plain = self._passes is None and query.vectors
        self._name = None if plain else attrs.evolve(query, since=0)
        self._vectors = query.vectors
        self._ring = ring
        self._history = history
        self._pulse = pulse
        self._send_bytes_max = send_bytes_max
        self._closed = closed
        self._place: int | None = None
        self._beats = pulse.beats
        self._opened = False

    def __aiter__(self) -> "Self":
        return self

    async def __anext__(self) -> bytes:
        if not self._opened:
            self._opened = True
            return OPENING
        ring, pulse = self._ring, self._pulse
        if self.offset > ring.last_offset:
            gap = gap_frame(ring.last_offset + 1, self.offset, "ahead")
            self.offset = ring.last_offset
            return gap
        while not pulse.ended:
            if self._place is None or self._place < ring.first_place:
                self._place = ring.place_after(self.offset)
                if self._place is None:
                    blob = await self._replay()
                    if blob:
                        return blob
                    continue
            blob = self._take(self._place)
            if blob:
                return blob
            if self._place < ring.next_place:
                await trio.lowlevel.checkpoint()
            elif self._beats != pulse.beats:
                self._beats = pulse.beats
                return HEARTBEAT
            else:
                await pulse.waiting.park()
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give the place up. Safe to call again."""
        self._closed(self)

    def _take(self, place: int) -> bytes:
        found = self._ring.take(place, self._name, self._passes, self._send_bytes_max)
        self._place = found.place
        self.offset = found.offset
        if found.blob:
            self._beats = self._pulse.beats
        return found.blob

    async def _replay(self) -> bytes:
        """The next chunk from the log, or the gap where the log no longer reaches back."""
        until = self._ring.last_offset
        try:
            events = await self._history.read(self.offset, until=until)
        except OffsetTruncated:
            first_lost = self.offset + 1
            self.offset = self._history.first_offset - 1
            return gap_frame(first_lost, self.offset, "trimmed")
        passes = self._passes
        blob = b"".join(
            event.frame(vectors=self._vectors)
            for event in events
            if passes is None or passes(event)
        )
        # Offsets that were skipped at the end of the log leave nothing to read.
        self.offset = (events[-1].offset or until) if events else until
        return blob
