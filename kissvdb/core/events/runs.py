"""User events that follow one another, framed at once: what a stream mostly consists of.

The frame of one event takes a dozen calls (`stream.Event`), of which most do the same for each of
them. Here the parts that change are put between the parts that do not, and all is joined once.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Self

import msgspec

from kissvdb.core.events.stream import Event, event_of
from kissvdb.records import EventPublished, decode

_json = msgspec.json.encode

RUN_EVENTS_MAX = 512
RUN_BYTES_MAX = 64 * 1024
"""A run is made in one go, and kept for its last event: so much of it, in bytes of payload."""


class Run:
    """Events of one type with consecutive places, and their frames in one blob.

    A frame is the same as that of `Event`. An event is made when somebody asks for one.
    """

    __slots__ = ("_ends", "_events", "_offsets", "_payloads", "_times_ms", "blob", "place")

    def __init__(
        self,
        place: int,
        records: Sequence[EventPublished],
        payloads: Sequence[bytes],
        offsets: Sequence[int],
        times_ms: Sequence[int],
    ) -> None:
        self.place = place
        """That of its first event."""
        self._payloads, self._offsets, self._times_ms = payloads, offsets, times_ms
        self._events: dict[int, Event] = {}
        count = len(records)
        name = records[0].type
        numbers = list(map(b"%d".__mod__, offsets))
        middles = {
            ts_ms: b',"ts_ms":%d,"type":%b,"data":' % (ts_ms, _json(name))
            for ts_ms in set(times_ms)
        }
        parts = [b"event: %b\nid: " % name.encode()] * (6 * count)
        parts[1::6] = parts[3::6] = numbers
        parts[2::6] = [b'\ndata: {"offset":'] * count
        parts[4::6] = list(map(middles.__getitem__, times_ms))
        parts[5::6] = [record.data for record in records]
        # The end of each, but for the last, goes in front of the next one's beginning.
        parts[6::6] = [b"}\n\n" + parts[0]] * (count - 1)
        parts.append(b"}\n\n")
        self.blob = b"".join(parts)
        lengths = list(map(len, parts))
        sums = list(accumulate(lengths))
        # Behind each event's data, and then the three bytes that end it.
        self._ends = [end + 3 for end in sums[5::6]]

    @classmethod
    def of(
        cls,
        place: int,
        payloads: Sequence[object],
        offsets: Sequence[int],
        times_ms: Sequence[int],
    ) -> Self | None:
        """The events that can be framed at once from ``place`` on; None: not even two."""
        records: list[EventPublished] = []
        plain: list[bytes] = []
        size = 0
        for payload in payloads:
            if type(payload) is not bytes:
                break
            size += len(payload)
            if size > RUN_BYTES_MAX:
                break
            record = decode(payload)
            if type(record) is not EventPublished or record.key is not None or record.tags:
                break
            if records and record.type != records[0].type:
                break
            records.append(record)
            plain.append(payload)
        count = len(records)
        if count < 2:
            return None
        return cls(place, records, plain, offsets[:count], times_ms[:count])

    @property
    def end(self) -> int:
        """The place behind its last event."""
        return self.place + len(self._payloads)

    def event(self, place: int) -> Event:
        """The event at a place of it, for who looks at it."""
        number = place - self.place
        event = self._events.get(number)
        if event is None:
            record = decode(self._payloads[number])
            event = event_of(self._offsets[number], self._times_ms[number], record)
            self._events[number] = event
        return event

    def upto(self, place: int, bytes_max: int) -> int:
        """The place up to which the frames from ``place`` on have ``bytes_max`` bytes, or all that
        there are: at least one."""
        number = place - self.place
        found = bisect_left(self._ends, self._begin(number) + bytes_max, number)
        return min(self.place + found + 1, self.end)

    def frames(self, place: int, end: int) -> bytes:
        """The frames from ``place`` on, up to the place ``end``."""
        if place == self.place and end == self.end:
            return self.blob
        return self.blob[self._begin(place - self.place) : self._ends[end - self.place - 1]]

    def _begin(self, number: int) -> int:
        return self._ends[number - 1] if number else 0
