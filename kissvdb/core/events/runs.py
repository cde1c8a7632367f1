"""User events that follow one another, framed at once: what a stream mostly consists of.

The frame of one event takes a dozen calls (`stream.Event`), of which most do the same for each of
them. Here the parts that change are put between the parts that do not, and all is joined once.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Self, TypeGuard

import msgspec

from kissvdb.core.events.stream import Event, event_of
from kissvdb.records import EventPublished, Record

_json = msgspec.json.encode
_END = b"}\n\n"

RUN_EVENTS_MAX = 512
RUN_BYTES_MAX = 64 * 1024
"""A run is made in one go, and kept for its last event: so much of it, in bytes of payload."""


def is_plain_event(record: Record) -> TypeGuard[EventPublished]:
    """Whether its frame says nothing but its type and data."""
    return type(record) is EventPublished and record.key is None and not record.tags


class Run:
    """Events of one type with consecutive places, and their frames in one blob.

    A frame is the same as that of `Event`. An event is made when somebody asks for one.
    """

    __slots__ = ("_ends", "_events", "_offsets", "_records", "_times_ms", "blob", "place")

    def __init__(
        self,
        place: int,
        records: Sequence[EventPublished],
        offsets: Sequence[int],
        times_ms: Sequence[int],
    ) -> None:
        self.place = place
        """That of its first event."""
        self._records, self._offsets, self._times_ms = records, offsets, times_ms
        self._events: dict[int, Event] = {}
        count = len(records)
        name = records[0].type
        start, middle = b"event: %b\nid: " % name.encode(), b'\ndata: {"offset":'
        times = {
            ts_ms: b',"ts_ms":%d,"type":%b,"data":' % (ts_ms, _json(name))
            for ts_ms in set(times_ms)
        }
        numbers = list(map(b"%d".__mod__, offsets))
        datas = [record.data for record in records]
        parts = [_END + start] * (6 * count)
        parts[0] = start
        parts[1::6] = parts[3::6] = numbers
        parts[2::6] = [middle] * count
        parts[4::6] = list(map(times.__getitem__, times_ms))
        parts[5::6] = datas
        parts.append(_END)
        self.blob = b"".join(parts)
        fixed = len(start) + len(middle) + len(parts[4]) + len(_END)
        if len(numbers[0]) == len(numbers[-1]) and len(set(map(len, times.values()))) == 1:
            sizes = map((fixed + 2 * len(numbers[0])).__add__, map(len, datas))
        else:
            extra = len(parts[4])
            sizes = map(
                lambda number, time, data: fixed - extra + 2 * len(number) + len(time) + len(data),
                numbers,
                parts[4::6],
                datas,
            )
        self._ends = list(accumulate(sizes))

    @classmethod
    def of(
        cls,
        place: int,
        slots: Sequence[object],
        sizes: Sequence[int],
        offsets: Sequence[int],
        times_ms: Sequence[int],
        begin: int,
        until: int,
    ) -> Self | None:
        """The events that can be framed at once from ``place`` on, whose slot is ``begin``, before
        the slot ``until``; None: not even two. All that are records in ``slots`` are plain;
        ``sizes``: bytes of payload, by slot."""
        # No further than they are alike: what is looked at in vain would be so again for the next.
        records: list[EventPublished] = []
        size = 0
        for slot in range(begin, until):
            each = slots[slot]
            if type(each) is not EventPublished:
                break
            size += sizes[slot]
            if size > RUN_BYTES_MAX or (records and each.type != records[0].type):
                break
            records.append(each)
        if len(records) < 2:
            return None
        end = begin + len(records)
        return cls(place, records, offsets[begin:end], times_ms[begin:end])

    @property
    def end(self) -> int:
        """The place behind its last event."""
        return self.place + len(self._records)

    def event(self, place: int) -> Event:
        """The event at a place of it, for who looks at it."""
        number = place - self.place
        event = self._events.get(number)
        if event is None:
            record = self._records[number]
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
