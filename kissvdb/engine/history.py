"""Replay: events from the log, read in threads, shared by those who catch up together."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

import trio

from actors import Workers
from kissvdb import records
from kissvdb.core.stream import Event, event_of
from kissvdb.records import LogRecord

CHUNK_BYTES = 256 * 1024
CHUNKS_KEPT = 16


class ReadableLog(Protocol):
    """The reading side of a log."""

    @property
    def first_offset(self) -> int: ...

    def read(self, after: int, *, bytes_max: int, until: int | None = None) -> list[LogRecord]: ...


class History:
    """Bounded reads of the log behind a small cache.

    A thousand clients that reconnect at the same offset cost one read a chunk, not a thousand.
    """

    def __init__(self, log: ReadableLog, workers: Workers) -> None:
        self._log = log
        self._workers = workers
        self._chunks: OrderedDict[int, Sequence[Event]] = OrderedDict()
        self._underway: dict[int, trio.Event] = {}

    @property
    def first_offset(self) -> int:
        """The oldest offset the log still holds."""
        return self._log.first_offset

    async def read(self, after: int, *, until: int) -> Sequence[Event]:
        """Events with ``after`` < offset <= ``until``, about CHUNK_BYTES of them.

        Raises OffsetTruncated when the log no longer holds ``after + 1``.
        """
        while True:
            chunk = self._chunks.get(after)
            if chunk is not None:
                self._chunks.move_to_end(after)
                return chunk
            underway = self._underway.get(after)
            if underway is None:
                break
            await underway.wait()
        done = self._underway[after] = trio.Event()
        try:
            chunk = await self._workers.run(self._load, after, until)
        finally:
            # Set also on failure: those who wait then try for themselves.
            del self._underway[after]
            done.set()
        if not chunk:
            # Nothing yet; kept, it would hide what comes there later.
            return chunk
        self._chunks[after] = chunk
        if len(self._chunks) > CHUNKS_KEPT:
            self._chunks.popitem(last=False)
        return chunk

    def _load(self, after: int, until: int) -> Sequence[Event]:
        events = []
        for found in self._log.read(after, bytes_max=CHUNK_BYTES, until=until):
            record = records.decode(found.payload)
            event = event_of(found.offset, found.ts_ms, record)
            event.frame()
            events.append(event)
        return events
