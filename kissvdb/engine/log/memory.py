"""The event log of a database without a data directory: the newest records, in memory."""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from kissvdb.engine.log.event_log import LogInfo
from kissvdb.epochs import Boundary
from kissvdb.errors import Conflict, NotSupported, OffsetTruncated, OutcomeUnknown
from kissvdb.records import LogRecord
from kissvdb.storage.backup import Entry

RECORDS_MAX = 100_000
BYTES_MAX = 64 * 1024 * 1024


class MemoryLog:
    """An event log (see `event_log.EventLog`) with bounds: older records go away and
    ``first_offset`` rises. At least the newest record is always there.
    """

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
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        self._closed = True

    @property
    def last_offset(self) -> int:
        return self._next_offset - 1

    @property
    def first_offset(self) -> int:
        with self._lock:
            return self._first_offset()

    def _first_offset(self) -> int:
        return self._next_offset - (len(self._records) - self._start)

    @property
    def overlaps(self) -> bool:
        """An append is done when it is begun."""
        return False

    def append(self, ts_ms: int, payloads: Sequence[bytes], *, after: int) -> "_Appended":
        if self._closed:
            raise OutcomeUnknown("the log is closed")
        if not payloads:
            raise ValueError("an append needs at least one record")
        if after != self._next_offset - 1:
            raise Conflict(f"the log ends at offset {self._next_offset - 1}, not at {after}")
        with self._lock:
            first = self._next_offset
            self._records += [
                LogRecord(offset, ts_ms, payload) for offset, payload in enumerate(payloads, first)
            ]
            self._bytes += sum(map(len, payloads))
            self._next_offset += len(payloads)
            self._trim()
        return _Appended(first)

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

    async def barrier(self) -> int:
        return self.last_offset

    async def truncate(self, through: int) -> None:
        """Nothing to do: ``append`` keeps the bounds."""

    def info(self) -> LogInfo:
        return LogInfo(self.first_offset, self.last_offset, 0)

    async def note_files(self, entries: list[Entry]) -> int:
        raise NotSupported("a server in memory has nothing to back up: start it with --data-dir")


class _Appended:
    """See `event_log.Appending`."""

    __slots__ = ("_offset",)

    def __init__(self, offset: int) -> None:
        self._offset = offset

    async def offset(self) -> int:
        return self._offset
