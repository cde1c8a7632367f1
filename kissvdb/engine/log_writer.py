"""The log writer: the one actor that appends. It merges what all owners sent into one write."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from actors import Actor, Address, Envelope, MailboxFull, WorkerThread
from kissvdb import records
from kissvdb.engine.hub import Announce
from kissvdb.errors import PersistenceFailed
from kissvdb.metrics import Metrics
from kissvdb.records import Record


class AppendableLog(Protocol):
    """The writing side of a log. ``append`` returns when all is durable."""

    @property
    def last_offset(self) -> int: ...

    def append(self, ts_ms: int, payloads: Sequence[bytes]) -> int: ...


class Append(msgspec.Struct, frozen=True):
    """Make these records durable, together and in order."""

    records: Sequence[Record]


class LogWriter(Actor):
    """Owns the end of the log. Answers each Append with the first of its offsets.

    While one write is in the disk's hands the mailbox fills; all that waited shares the next
    one (group commit). A write that the disk refused cleanly is refused to those who asked; one
    whose outcome is unknown crashes the actor, and with it the process: recovery decides.
    A log in memory waits for nothing, so it needs no ``thread``.
    """

    mailbox_size = 4096

    def __init__(
        self,
        log: AppendableLog,
        thread: WorkerThread | None,
        followers: tuple[Address, ...],
        clock_ms: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        self._log = log
        self._thread = thread
        self._followers = followers
        self._clock_ms = clock_ms
        self._metrics = metrics
        self._last_ts_ms = 0
        self.committed_offset = log.last_offset
        """Every record up to here is durable and announced, or about to be."""

    async def handle(self, batch: list[Envelope]) -> None:
        appends: list[Append] = [envelope.message for envelope in batch]
        merged: list[Record] = []
        for append in appends:
            merged += append.records
        payloads = records.encode_all(merged)
        # A clock that was set back must not make time run backwards in the log.
        ts_ms = self._last_ts_ms = max(self._last_ts_ms, self._clock_ms())
        try:
            if self._thread is None:
                first, seconds = self._append(ts_ms, payloads)
            else:
                first, seconds = await self._thread.run(self._append, ts_ms, payloads)
        except PersistenceFailed as refusal:
            for envelope in batch:
                envelope.refuse(PersistenceFailed(refusal.message))
            return
        self.committed_offset = first + len(merged) - 1
        self._metrics.log_fsync_seconds.observe(seconds)
        self._metrics.log_batch_records.observe(len(merged))
        self._metrics.events_total.inc(len(merged))
        announcement = Announce(first, ts_ms, payloads)
        for follower in self._followers:
            try:
                # Without a turn of the scheduler, which every waiting writer would pay for.
                follower.tell_nowait(announcement)
            except MailboxFull:
                await follower.tell(announcement)
        offset = first
        for envelope, append in zip(batch, appends, strict=True):
            envelope.answer(offset)
            offset += len(append.records)

    def _append(self, ts_ms: int, payloads: list[bytes]) -> tuple[int, float]:
        started = time.perf_counter()
        first = self._log.append(ts_ms, payloads)
        return first, time.perf_counter() - started
