"""Replay: events from the log, read in threads, shared by those who catch up together."""

import logging
from collections import OrderedDict
from collections.abc import Sequence

import msgspec
import trio

from actors import Workers
from kissvdb import records
from kissvdb.core.events.stream import Event, event_of
from kissvdb.engine.log.event_log import EventLog
from kissvdb.errors import Damaged

logger = logging.getLogger("kissvdb.stream")

CHUNK_BYTES = 256 * 1024
CHUNKS_KEPT = 16


class History:
    """Bounded reads of the log behind a small cache.

    A thousand clients that reconnect at the same offset cost one read a chunk, not a thousand.
    """

    def __init__(self, log: EventLog, workers: Workers) -> None:
        self._log = log
        self._workers = workers
        self._chunks: OrderedDict[int, Sequence[Event]] = OrderedDict()
        self._underway: dict[int, trio.Event] = {}
        self._reported = ""

    @property
    def first_offset(self) -> int:
        """The oldest offset the log still holds."""
        return self._log.first_offset

    async def read(self, after: int, *, until: int) -> Sequence[Event]:
        """Events with ``after`` < offset <= ``until``, about CHUNK_BYTES of them.

        Raises OffsetTruncated when the log no longer holds ``after + 1``, Damaged and OSError when
        what comes next cannot be read.
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
        except Damaged as error:
            if error.message != self._reported:
                # Once, not for every client and every time that it comes back.
                self._reported = error.message
                logger.error("the log is damaged where a stream reads: %s", error.message)
            raise
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
        events = self._load_some(after, until)
        # A batch is read whole: its end may lie behind the bound.
        whole = max((_end(each) for each in events if each.together), default=0)
        while events and (last := events[-1].offset or 0) < whole:
            more = self._load_some(last, whole)
            if not more:
                break
            events += more
        return events

    def _load_some(self, after: int, until: int) -> list[Event]:
        """About CHUNK_BYTES of events. Raises Damaged when the first record is not readable."""
        events: list[Event] = []
        for found in self._log.read(after, bytes_max=CHUNK_BYTES, until=until):
            try:
                record = records.decode(found.payload)
            except msgspec.MsgspecError as error:
                if events:
                    break
                raise Damaged(
                    f"the record with offset {found.offset} is none this version knows: {error}"
                ) from None
            event = event_of(found.offset, found.ts_ms, record)
            event.frame()
            events.append(event)
        return events


def _end(mark: Event) -> int:
    assert mark.offset is not None
    return mark.offset + mark.together
