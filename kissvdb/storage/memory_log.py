"""The event log of a database without a data directory: the newest records, in memory."""

import threading
from collections.abc import Sequence

from kissvdb.epochs import Boundary
from kissvdb.errors import OffsetTruncated
from kissvdb.records import LogRecord

RECORDS_MAX = 100_000
BYTES_MAX = 64 * 1024 * 1024


class MemoryLog:
    """The same doors as EventLog, bounded: older records go away and ``first_offset`` rises.

    One thread appends, any thread reads. At least the newest record is always there.
    """

    report = None

    def __init__(
        self, *, records_max: int = RECORDS_MAX, bytes_max: int = BYTES_MAX, offset_floor: int = 0
    ) -> None:
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._bytes = 0
        # The records are _records[_start:]; what lies before is dropped now and then, at once.
        self._records: list[LogRecord] = []
        self._start = 0
        self._next_offset = offset_floor + 1
        self.boundaries = [Boundary("", 0, offset_floor)] if offset_floor else []
        self._lock = threading.Lock()

    @property
    def next_offset(self) -> int:
        """The offset the next record gets."""
        return self._next_offset

    @property
    def last_offset(self) -> int:
        """The highest offset given away so far, or the floor."""
        return self._next_offset - 1

    @property
    def first_offset(self) -> int:
        """The oldest record's offset; ``next_offset`` when there is no record."""
        with self._lock:
            return self._first_offset()

    def _first_offset(self) -> int:
        return self._next_offset - (len(self._records) - self._start)

    @property
    def bytes_on_disk(self) -> int:
        """Nothing is on disk."""
        return 0

    @property
    def segments(self) -> list[tuple[int, int, int]]:
        """(first offset, last offset, bytes of payload) as if it were one segment."""
        with self._lock:
            return [(self._first_offset(), self._next_offset - 1, self._bytes)]

    def append(self, ts_ms: int, payloads: Sequence[bytes]) -> int:
        """Keep the records; returns the first's offset."""
        if not payloads:
            raise ValueError("an append needs at least one record")
        with self._lock:
            first = self._next_offset
            self._records += [
                LogRecord(offset, ts_ms, payload) for offset, payload in enumerate(payloads, first)
            ]
            self._bytes += sum(map(len, payloads))
            self._next_offset += len(payloads)
            self._trim()
        return first

    def _trim(self) -> None:
        """Forget the oldest records that are over a limit."""
        records = self._records
        start = max(self._start, len(records) - self._records_max)
        self._bytes -= sum(len(record.payload) for record in records[self._start : start])
        while self._bytes > self._bytes_max and start < len(records) - 1:
            self._bytes -= len(records[start].payload)
            start += 1
        self._start = start
        if start > len(records) // 2:
            del records[:start]
            self._start = 0

    def read(self, after: int, *, bytes_max: int, until: int | None = None) -> list[LogRecord]:
        """Records with ``after`` < offset <= ``until``; as EventLog.read.

        Raises OffsetTruncated when ``after + 1`` is before the oldest record.
        """
        with self._lock:
            first = self._first_offset()
            if after + 1 < first:
                raise OffsetTruncated(first)
            last = self._next_offset - 1 if until is None else min(until, self._next_offset - 1)
            found: list[LogRecord] = []
            room = bytes_max
            for slot in range(self._start + after + 1 - first, self._start + last + 1 - first):
                record = self._records[slot]
                room -= len(record.payload)
                if room < 0 and found:
                    break
                found.append(record)
        return found

    def retain(
        self, *, applied_offset: int, segments_max: int, hold_offset: int | None = None
    ) -> list[int]:
        """Nothing to do: ``append`` keeps the bounds."""
        return []

    def close(self) -> None:
        """Nothing to give back."""
