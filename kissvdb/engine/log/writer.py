"""The log writer: the one actor that appends. It merges what all owners sent into one write."""

import time
from collections.abc import Callable, Sequence

import msgspec

from actors import Actor, Envelope
from kissvdb import records
from kissvdb.engine.followers import Committed, Followers
from kissvdb.engine.log.event_log import Appending, EventLog
from kissvdb.errors import PayloadTooLarge, PersistenceFailed, Unavailable
from kissvdb.metrics import Metrics
from kissvdb.records import Record
from kissvdb.telemetry.parts import Group


class Append(msgspec.Struct):
    """Make these records durable, together and in order."""

    records: Sequence[Record]
    group: Group | None = None
    """Who is to hear how long it took."""
    begun: Callable[[], None] | None = None
    """Called when the write is under way, or about to be: for work that need not come before. Must
    be short and must not raise."""
    is_followed: bool = False
    """Said by the writer with the answer: the next write is under way already."""


class LogWriter(Actor):
    """Owns the end of the log. Answers each Append with the first of its offsets.

    While one append is in the log's hands the mailbox fills; all that waited shares the next
    one (group commit). An append that was refused cleanly is refused to those who asked; one
    whose outcome is unknown crashes the actor, and with it the process: recovery decides.
    """

    mailbox_size = 4096

    def __init__(
        self,
        log: EventLog,
        followers: Followers,
        clock_ms: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        self._log = log
        self._followers = followers
        self._clock_ms = clock_ms
        self._metrics = metrics
        self._last_ts_ms = 0
        self.committed_offset = log.last_offset
        """Every record up to here is durable and announced, or about to be."""

    async def handle(self, batch: list[Envelope]) -> None:
        first = self._begin(batch)
        first.say_begun()
        write: _Write | None = first
        while write is not None:
            done = write
            refusal = None
            try:
                first_offset = await done.appending.offset()
            except (Unavailable, PayloadTooLarge) as error:
                refusal = error
            else:
                after = self.committed_offset
                self.committed_offset = first_offset + len(done.payloads) - 1
                durable = time.perf_counter()
                self._metrics.log_fsync_seconds.observe(durable - done.started)
                for envelope in done.batch:
                    if envelope.message.group is not None:
                        envelope.message.group.logged(done.started, durable)
            waiting = self.take_waiting() if self._log.overlaps else []
            write = self._begin(waiting) if waiting else None
            if write is not None:
                for envelope in done.batch:
                    envelope.message.is_followed = True
            if refusal is None:
                # Nothing is awaited since the offset rose: nobody sees it before the followers are
                # told.
                self._announce(done, after, first_offset)
            else:
                for envelope in done.batch:
                    envelope.refuse(PersistenceFailed(refusal.message))
            if write is not None:
                write.say_begun()

    def _begin(self, batch: list[Envelope]) -> "_Write":
        merged: list[Record] = []
        for envelope in batch:
            merged += envelope.message.records
        payloads = records.encode_all(merged)
        # A clock that was set back must not make time run backwards in the log.
        ts_ms = self._last_ts_ms = max(self._last_ts_ms, self._clock_ms())
        started = time.perf_counter()
        appending = self._log.append(ts_ms, payloads, after=self.committed_offset)
        return _Write(batch, merged, payloads, ts_ms, started, appending)

    def _announce(self, write: "_Write", after: int, first_offset: int) -> None:
        """Tell the followers what is durable, then those who asked for it."""
        count = len(write.payloads)
        self._metrics.log_batch_records.observe(count)
        self._metrics.events_total.inc(count)
        self._followers.tell(
            Committed(after, first_offset, write.ts_ms, write.records, write.payloads)
        )
        offset = first_offset
        for envelope in write.batch:
            envelope.answer(offset)
            offset += len(envelope.message.records)


class _Write(msgspec.Struct, frozen=True):
    """What is written together."""

    batch: list[Envelope]
    records: list[Record]
    payloads: list[bytes]
    ts_ms: int
    started: float
    appending: Appending

    def say_begun(self) -> None:
        for envelope in self.batch:
            begun = envelope.message.begun
            if begun is not None:
                begun()
