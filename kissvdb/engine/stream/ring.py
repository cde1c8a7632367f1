"""The ring of the latest events: what every live subscriber reads from.

A subscriber is a *place* in the ring (a sequence number that counts events of this process,
transient ones included) and a filter. It takes all frames since its place in one blob; the ring
remembers the blobs of the current round, so that a thousand subscribers at the same place share
one join.
"""

from collections.abc import Sequence

from kissvdb.core.events.publishing import StreamQuery
from kissvdb.core.events.runs import RUN_EVENTS_MAX, Run, is_plain_event
from kissvdb.core.events.stream import (
    WORK_MAX,
    WORK_PER_EVENT,
    Event,
    Filter,
    event_of,
    mark_frame,
)
from kissvdb.engine.followers import Committed
from kissvdb.engine.stream import rounds
from kissvdb.engine.stream.rounds import Rounds, Slice
from kissvdb.records import EventPublished, decode

MADE_MAX = 128 * 1024
"""So many bytes of the frames of one batch are made before others have their turn: 10 ms where they
are numbers of vectors."""


_Slot = Event | Run | EventPublished | bytes | None
_UNREAD = (bytes, EventPublished)


class Ring:
    """A bounded ring of events; the oldest give way. Not thread-safe: lives on the loop."""

    def __init__(self, *, events_max: int, bytes_max: int, last_offset: int) -> None:
        # A record becomes an event when the first subscriber comes to it; without subscribers a
        # write does not pay for that. Its payload waits here, one object instead of several; of a
        # plain event the record, whose two parts are what its frame is made of.
        self._events: list[_Slot] = [None] * events_max
        # Of each slot: the highest offset at or before its event, which is a record's own.
        self._offsets = [0] * events_max
        self._times_ms = [0] * events_max
        self._sizes = [0] * events_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._rounds = Rounds(min(bytes_max, rounds.BYTES_MAX))
        self.taken: tuple[int, StreamQuery | None, Slice] | None = None
        """What was taken last: from which place, and by which query. None once the ring changes."""
        self.first_place = 0
        self.next_place = 0
        self.last_offset = last_offset
        self._floor_offset = last_offset

    @property
    def bytes_held(self) -> int:
        """Payload bytes of the events in the ring."""
        return self._bytes

    @property
    def joined_bytes(self) -> int:
        """Bytes of the joined blobs that are kept for others at the same place."""
        return self._rounds.bytes_held

    def extend(self, committed: Committed) -> None:
        """Add the newest records; the oldest give way when a limit is reached.

        A record at or below ``last_offset`` is known already and passed over.
        """
        first_offset, events = committed.first_offset, _waiting(committed)
        sizes = list(map(len, committed.payloads))
        known = max(0, min(len(events), self.last_offset + 1 - first_offset))
        capacity = len(self._events)
        for start in range(known, len(events), capacity):
            part = events[start : start + capacity]
            first = first_offset + start
            self.last_offset = first + len(part) - 1
            offsets = range(first, first + len(part))
            self._store(part, offsets, committed.ts_ms, sizes[start : start + capacity])
        self._forget_joined()

    def skip_to(self, offset: int) -> None:
        """Go on after ``offset`` without the records up to there: whoever has not seen them reads
        the log, also those that were at the newest event."""
        self.last_offset = offset
        # Takes a place of its own, so that no place from before is a place any more.
        self._store([None], [offset], 0, [0])
        self._drop_oldest(self.next_place - self.first_place)
        self._forget_joined()

    def append(self, transient: Event) -> None:
        """Add an event that is not in the log."""
        self._store([transient], [self.last_offset], transient.ts_ms, [len(transient.data)])
        self._forget_joined()

    def _store(
        self,
        events: Sequence[_Slot],
        offsets: Sequence[int],
        ts_ms: int,
        sizes: Sequence[int],
    ) -> None:
        """Put at most a ring full of events behind the newest: whole slices at a time."""
        capacity, count = len(self._events), len(events)
        surplus = self.next_place - self.first_place + count - capacity
        if surplus > 0:
            self._drop_oldest(surplus)
        slot = self.next_place % capacity
        to_end = min(count, capacity - slot)
        self._events[slot : slot + to_end] = events[:to_end]
        self._events[: count - to_end] = events[to_end:]
        self._offsets[slot : slot + to_end] = offsets[:to_end]
        self._offsets[: count - to_end] = offsets[to_end:]
        self._times_ms[slot : slot + to_end] = [ts_ms] * to_end
        self._times_ms[: count - to_end] = [ts_ms] * (count - to_end)
        self._sizes[slot : slot + to_end] = sizes[:to_end]
        self._sizes[: count - to_end] = sizes[to_end:]
        self._bytes += sum(sizes)
        self.next_place += count
        while self._bytes > self._bytes_max and self.next_place - self.first_place > 1:
            self._drop_oldest(1)

    def _forget_joined(self) -> None:
        self._rounds.clear()
        self.taken = None

    def place_after(self, offset: int) -> int | None:
        """The place of the first event with an offset above ``offset``.

        None when events above ``offset`` have already left the ring: read the log first.
        """
        if offset < self._floor_offset:
            return None
        low, high = self.first_place, self.next_place
        while low < high:
            middle = (low + high) // 2
            if self._offsets[middle % len(self._offsets)] <= offset:
                low = middle + 1
            else:
                high = middle
        return low

    def take(
        self, place: int, query: StreamQuery | None, wanted: Filter | None, bytes_max: int
    ) -> Slice:
        """Everything from ``place`` on that is wanted, at most about ``bytes_max`` bytes of it, and
        only as far as WORK_MAX goes: the taker then yields the loop and takes again. Also where
        nothing is there yet, because the frames of a batch are still to be made.

        ``query`` names the filter in the cache (None: no filter, and vectors with their numbers).
        """
        key = (place, query)
        found = self._rounds.get(key)
        if found is None:
            vectors = query is None or query.vectors
            found = self._join(place, wanted, bytes_max, vectors)
            if found.place > place:
                self._rounds.keep(key, found)
        if found.place > place:
            self.taken = (place, query, found)
        return found

    def _join(self, place: int, wanted: Filter | None, bytes_max: int, vectors: bool) -> Slice:
        capacity = len(self._events)
        frames: list[bytes] = []
        size = work = made = 0
        # A batch is taken whole: its end may lie behind the bounds. Its frames are made in as many
        # turns as they take.
        whole = mark = before = place
        partly = False
        as_one = wanted is None or not wanted.reads_json
        while place < self.next_place and ((size < bytes_max and work < WORK_MAX) or place < whole):
            slot = place % capacity
            is_read = type(self._events[slot]) not in _UNREAD
            run = self._run(place) if as_one else None
            if not is_read:
                fresh = self._sizes[slot] if run is None else len(run.blob)
                work += fresh
                made += fresh
            if run is not None:
                last = min(whole, run.end) if place < whole else run.upto(place, bytes_max - size)
                # What is not in the JSON is the same for all of a run.
                if wanted is None or wanted.passes(run.event(place)):
                    frames.append(run.frames(place, last))
                    size += len(frames[-1])
                work += WORK_PER_EVENT * (last - place)
                place = last
            else:
                event = self._event(place)
                if event.together and place >= whole:
                    whole, mark, before = place + 1 + event.together, place, len(frames)
                work += WORK_PER_EVENT if wanted is None else wanted.work(event)
                if wanted is not None and not wanted.passes(event):
                    pass
                elif wanted is not None and wanted.hides_parts_of(event):
                    # What may be known of the batch is known at its end.
                    partly = event.together > 0
                    frames.append(b"")
                else:
                    is_new = not event.has_frame(vectors=vectors)
                    frame = event.frame(vectors=vectors)
                    frames.append(frame)
                    size += len(frame)
                    made += len(frame) if is_new else 0
                place += 1
            if partly and place == whole:
                assert wanted is not None
                frames[before] = self._mark_frame(mark, whole, wanted)
                partly = False
            if made > MADE_MAX and place < whole:
                offset = self._offsets[mark % capacity] - 1
                return Slice(b"".join(frames[:before]), mark, offset)
        offset = self._offsets[(place - 1) % capacity] if place else self._floor_offset
        return Slice(b"".join(frames), place, offset)

    def _mark_frame(self, mark: int, whole: int, wanted: Filter) -> bytes:
        """The frame of the batch's mark at this place. All of its events are made already."""
        assert wanted.sees is not None
        batch = [self._event(place) for place in range(mark + 1, whole)]
        return mark_frame(self._event(mark), batch, wanted.sees)

    def _run(self, place: int) -> Run | None:
        """The run that the event there belongs to, made now if it can be; None: see for itself."""
        slot, events = place % len(self._events), self._events
        found = events[slot]
        if type(found) is Run:
            return found
        if type(found) is not EventPublished:
            return None
        # Up to the end of the list: the next run begins at its start.
        until = min(slot + min(self.next_place - place, RUN_EVENTS_MAX), len(events))
        run = Run.of(place, events, self._sizes, self._offsets, self._times_ms, slot, until)
        if run is not None:
            count = run.end - place
            events[slot : slot + count] = [run] * count
        return run

    def _event(self, place: int) -> Event:
        slot = place % len(self._events)
        event = self._events[slot]
        assert event is not None
        if isinstance(event, Run):
            return event.event(place)
        if not isinstance(event, Event):
            record = decode(event) if isinstance(event, bytes) else event
            event = event_of(self._offsets[slot], self._times_ms[slot], record)
            self._events[slot] = event
        return event

    def _drop_oldest(self, count: int) -> None:
        capacity = len(self._events)
        slot = self.first_place % capacity
        to_end = min(count, capacity - slot)
        for slots in (slice(slot, slot + to_end), slice(0, count - to_end)):
            self._bytes -= sum(self._sizes[slots])
            self._events[slots] = [None] * (slots.stop - slots.start)
        self.first_place += count
        self._floor_offset = self._offsets[(self.first_place - 1) % capacity]


def _waiting(committed: Committed) -> Sequence[EventPublished | bytes]:
    """What is kept of records that nobody has looked at."""
    records, payloads = committed.records, committed.payloads
    if EventPublished not in set(map(type, records)):
        return payloads
    return [
        record if is_plain_event(record) else payload
        for record, payload in zip(records, payloads, strict=True)
    ]
