"""One client of the stream: a cursor, and what it is to be sent next."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from kissvdb.core.events.frames import ended_frame, error_frame, gap_frame, opening
from kissvdb.core.events.publishing import StreamQuery
from kissvdb.core.events.stream import (
    HEARTBEAT,
    WORK_MAX,
    WORK_PER_EVENT,
    Event,
    compile_filter,
    mark_frame,
)
from kissvdb.engine.stream.history import History
from kissvdb.engine.stream.ring import Ring
from kissvdb.engine.stream.rounds import Slice
from kissvdb.epochs import Epochs, Gap
from kissvdb.errors import KissError, OffsetTruncated, Unavailable

if TYPE_CHECKING:
    from typing import Self

logger = logging.getLogger("kissvdb.stream")


@attrs.frozen
class Lease:
    """By which secret of which API key a stream was opened: it ends with that."""

    key_id: str
    secret: bytes


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

    Whoever sends the blobs iterates, or calls `catch_up` once and `next_nowait` from then on.
    Neither raises: what stops a stream is its last blob, an ``error`` event, for every sender.
    """

    __slots__ = (
        "_beats",
        "_closed",
        "_epoch",
        "_failed",
        "_history",
        "_name",
        "_owed",
        "_place",
        "_ring",
        "_send_bytes_max",
        "_vectors",
        "_verdict",
        "_wanted",
        "_when_closed",
        "lease",
        "offset",
        "pulse",
    )

    def __init__(
        self,
        query: StreamQuery,
        ring: Ring,
        history: History,
        epochs: Epochs,
        pulse: Pulse,
        *,
        committed_offset: Callable[[], int],
        send_bytes_max: int,
        closed: Callable[["Subscription"], None],
        lease: Lease | None = None,
    ) -> None:
        head = committed_offset()
        since, gap = head, None
        if query.since is not None:
            since, gap = epochs.place(query.since, query.epoch, head)
        self._epoch = epochs.current
        # Past the head lies only the floor of an epoch without a record: nothing is between.
        self.offset = min(since, head)
        """Everything up to here was handed out or filtered away."""
        self.pulse = pulse
        """What wakes it: that of its hub."""
        self._owed = [opening(head if query.since is None else None)]
        """What is to be said before the first event."""
        if gap is not None:
            self._owed.append(gap_frame(gap, epochs.current))
        self._wanted = compile_filter(query)
        # Queries that differ only in where they start share the ring's joined blobs.
        plain = self._wanted is None and query.vectors
        self._name = None if plain else attrs.evolve(query, since=0, epoch=None)
        self._vectors = query.vectors
        self._ring = ring
        self._history = history
        self._send_bytes_max = send_bytes_max
        self._closed = closed
        self._when_closed: Callable[[], None] | None = None
        self._place: int | None = None
        self._beats = pulse.beats
        self._failed = False
        self.lease = lease
        """None: nothing ends it but its client, and the server."""
        self._verdict: str | None = None

    def __aiter__(self) -> "Self":
        return self

    async def __anext__(self) -> bytes:
        while not self.ended:
            blob = self.next_nowait()
            if blob is None:
                blob = await self._go_on()
            if blob:
                return blob
            if self.is_live:
                await self.pulse.waiting.park()
            else:
                await trio.lowlevel.checkpoint()
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give the place up. Safe to call again."""
        self.close()

    def close(self) -> None:
        """As `aclose`, for whoever cannot await."""
        self._closed(self)
        call, self._when_closed = self._when_closed, None
        if call is not None:
            call()

    def when_closed(self, call: Callable[[], None]) -> None:
        """Have ``call`` called once, when the place is given up."""
        self._when_closed = call

    def end_if(self, end: Callable[[str, bytes], str | None]) -> None:
        """Let its next blob be the last, an ``ended`` event, if its lease has ended: ``end`` tells
        why, by the key's id and the secret. Whoever waits for it must be woken."""
        if self.lease is None or self._verdict is not None:
            return
        self._verdict = end(self.lease.key_id, self.lease.secret)
        if self._verdict is not None:
            self._place = None

    @property
    def ended(self) -> bool:
        """Whether nothing will come any more."""
        return self._failed or self.pulse.ended

    @property
    def is_live(self) -> bool:
        """Whether the cursor stands at the newest event in the ring."""
        return self._place == self._ring.next_place

    def next_nowait(self) -> bytes | None:
        """The next blob as far as the ring has it: empty when there is none yet, None when only
        `catch_up` or an iteration goes on, because it has to begin, to wait or to read the log."""
        ring, pulse, place = self._ring, self.pulse, self._place
        if ring.taken is not None:
            from_place, query, found = ring.taken
            if from_place == place and query is self._name:
                # Most who are live stand where the one before them stood.
                return self._advance(found)
        if place is None or place < ring.first_place:
            if self._owed or self._failed or self._verdict is not None:
                return None
            if self.offset > ring.last_offset:
                return None
            place = self._place = ring.place_after(self.offset)
            if place is None:
                return None
        if place < ring.next_place:
            return self._take(place)
        if self._beats != pulse.beats:
            self._beats = pulse.beats
            return HEARTBEAT
        return b""

    async def catch_up(self, send: Callable[[bytes], Awaitable[None]]) -> bool:
        """Send what the client has not seen. True: it is live. False: the stream has ended."""
        while not self.ended:
            blob = self.next_nowait()
            if blob is None:
                blob = await self._go_on()
            if blob:
                await send(blob)
            elif self.is_live:
                return True
            else:
                await trio.lowlevel.checkpoint()
        return False

    def _take(self, place: int) -> bytes:
        try:
            found = self._ring.take(place, self._name, self._wanted, self._send_bytes_max)
        except Exception as error:
            return self._fail(error)
        return self._advance(found)

    def _advance(self, found: Slice) -> bytes:
        self._place, self.offset = found.place, found.offset
        if found.blob:
            self._beats = self.pulse.beats
        return found.blob

    async def _go_on(self) -> bytes:
        """What `next_nowait` could not do: a blob, or none if the ring may have more by now."""
        if self._verdict is not None:
            return self._last_blob(self._verdict)
        if self._owed:
            return self._owed.pop(0)
        if self.offset <= self._ring.last_offset:
            blob = await self._replay()
            # Ended while the log was read: what was read is no longer the client's to see.
            return blob if self._verdict is None else self._last_blob(self._verdict)
        # The client has heard of a write before the ring has.
        await self.pulse.waiting.park()
        return b""

    async def _replay(self) -> bytes:
        """The next chunk from the log, or the gap where the log no longer reaches back."""
        until = self._ring.last_offset
        try:
            events = await self._history.read(self.offset, until=until)
            blob = await self._join(events)
        except OffsetTruncated:
            first_lost = self.offset + 1
            self.offset = self._history.first_offset - 1
            gap = Gap(first_lost, self.offset, "trimmed", self.offset)
            return gap_frame(gap, self._epoch)
        except Exception as error:
            return self._fail(error)
        # Offsets that were skipped at the end of the log leave nothing to read.
        self.offset = (events[-1].offset or until) if events else until
        return blob

    async def _join(self, events: Sequence[Event]) -> bytes:
        """The frames of those that are wanted. Others have their turn in between."""
        wanted, work = self._wanted, 0
        frames = []
        for place, event in enumerate(events):
            if wanted is not None:
                if work >= WORK_MAX:
                    await trio.lowlevel.checkpoint()
                    work = 0
                work += wanted.work(event)
                if not wanted.passes(event):
                    continue
                if wanted.sees is not None and wanted.hides_parts_of(event):
                    batch = events[place + 1 : place + 1 + event.together]
                    work += WORK_PER_EVENT * len(batch)
                    frames.append(mark_frame(event, batch, wanted.sees))
                    continue
            frames.append(event.frame(vectors=self._vectors))
        return b"".join(frames)

    def _last_blob(self, reason: str) -> bytes:
        self._failed, self._place = True, None
        return ended_frame(reason)

    def _fail(self, error: Exception) -> bytes:
        """The last blob: what happened. The server and all other streams go on."""
        self._failed, self._place = True, None
        if isinstance(error, KissError):
            return error_frame(error.code, error.message)
        if isinstance(error, OSError):
            message = f"the log cannot be read now ({error.strerror}): follow again in a moment"
            return error_frame(Unavailable.code, message)
        logger.error("a stream failed", exc_info=error)
        return error_frame(KissError.code, "a bug in the server stopped this stream")
