"""The log writer: the one actor that appends. It merges what all owners sent into one write."""

import errno
import logging
import os
import time
from collections.abc import Callable, Sequence

import msgspec
import trio

from actors import Actor, Address, Envelope, MailboxFull, WorkerThread
from kissvdb import logs, records
from kissvdb.engine.hub import Announce
from kissvdb.errors import PayloadTooLarge, PersistenceFailed
from kissvdb.metrics import Metrics
from kissvdb.records import Record
from kissvdb.storage.frames import Prepared
from kissvdb.storage.log import REFUSALS, EventLog
from kissvdb.storage.memory_log import MemoryLog
from kissvdb.storage.uring import Uring

logger = logging.getLogger("kissvdb.log")

# What a kernel says that has io_uring but not this operation of it.
_NOT_KNOWN = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})
# Nothing is wrong with the disk, or it has no room: then a thread writes, or is told so.
_TRY_AGAIN = _NOT_KNOWN | REFUSALS | {errno.EAGAIN, errno.EINTR, errno.ECANCELED}


class Append(msgspec.Struct, frozen=True):
    """Make these records durable, together and in order."""

    records: Sequence[Record]


class LogWriter(Actor):
    """Owns the end of the log. Answers each Append with the first of its offsets.

    While one write is in the disk's hands the mailbox fills; all that waited shares the next
    one (group commit). A write that the disk refused cleanly is refused to those who asked; one
    whose outcome is unknown crashes the actor, and with it the process: recovery decides.

    It writes through ``ring`` where there is one, and what is not a single write, or was not done
    there, in ``thread``. A log in memory waits for nothing: it needs neither.
    """

    mailbox_size = 4096

    def __init__(
        self,
        log: EventLog | MemoryLog,
        thread: WorkerThread | None,
        ring: Uring | None,
        followers: tuple[Address, ...],
        clock_ms: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        self._log = log
        self._thread = thread
        self._ring = ring
        self._followers = followers
        self._clock_ms = clock_ms
        self._metrics = metrics
        self._last_ts_ms = 0
        self.committed_offset = log.last_offset
        """Every record up to here is durable and announced, or about to be."""

    async def handle(self, batch: list[Envelope]) -> None:
        write: _Write | None = self._begin(batch)
        while write is not None:
            done = write
            refusal = None
            try:
                first_offset = await self._finish(done)
            except (PersistenceFailed, PayloadTooLarge) as error:
                refusal = error
            else:
                self.committed_offset = first_offset + len(done.payloads) - 1
                self._metrics.log_fsync_seconds.observe(time.perf_counter() - done.started)
            # The kernel has the next write before anybody hears of this one. A thread would fight
            # with this one for the interpreter's lock (measured: a third more CPU).
            waiting = [] if self._ring is None else self.take_waiting()
            write = self._begin(waiting) if waiting else None
            if refusal is None:
                await self._announce(done, first_offset)
            else:
                for envelope in done.batch:
                    envelope.refuse(PersistenceFailed(refusal.message))

    def _begin(self, batch: list[Envelope]) -> "_Write":
        merged: list[Record] = []
        for envelope in batch:
            merged += envelope.message.records
        payloads = records.encode_all(merged)
        # A clock that was set back must not make time run backwards in the log.
        ts_ms = self._last_ts_ms = max(self._last_ts_ms, self._clock_ms())
        started = time.perf_counter()
        return _Write(batch, payloads, ts_ms, started, self._submitted(ts_ms, payloads))

    def _submitted(self, ts_ms: int, payloads: list[bytes]) -> Prepared | None:
        """The write that the ring has now; None when it has none."""
        if self._ring is None:
            return None
        assert isinstance(self._log, EventLog)
        prepared = self._log.prepare(ts_ms, payloads)
        if prepared is None:
            return None
        try:
            self._ring.submit(prepared.file.fileno(), prepared.data, prepared.at)
        except OSError as error:
            # Nothing was begun: the thread writes, now and from now on.
            self._give_up_ring(error)
            return None
        return prepared

    async def _finish(self, write: "_Write") -> int:
        """The first offset, once all is durable. Raises what `EventLog.append` does."""
        log, prepared = self._log, write.prepared
        if prepared is None:
            if self._thread is None:
                return log.append(write.ts_ms, write.payloads)
            return await self._thread.run(log.append, write.ts_ms, write.payloads)
        assert self._ring is not None
        assert self._thread is not None
        assert isinstance(log, EventLog)
        while (result := self._ring.take()) is None:
            await trio.lowlevel.wait_readable(self._ring.fileno())
        if result == len(prepared.data):
            return log.written(prepared)
        if -result in _NOT_KNOWN:
            self._give_up_ring(_error_of(result))
        if result < 0 and -result not in _TRY_AGAIN:
            raise log.fail(_error_of(result))
        return await self._thread.run(log.write, prepared)

    def _give_up_ring(self, error: OSError) -> None:
        logs.event(
            logger, logging.INFO, "io_uring cannot be used: writing in a thread", reason=str(error)
        )
        self._ring = None

    async def _announce(self, write: "_Write", first_offset: int) -> None:
        """Tell the followers what is durable, then those who asked for it."""
        count = len(write.payloads)
        self._metrics.log_batch_records.observe(count)
        self._metrics.events_total.inc(count)
        announcement = Announce(first_offset, write.ts_ms, write.payloads)
        for follower in self._followers:
            try:
                # Without a turn of the scheduler, which every waiting writer would pay for.
                follower.tell_nowait(announcement)
            except MailboxFull:
                await follower.tell(announcement)
        offset = first_offset
        for envelope in write.batch:
            envelope.answer(offset)
            offset += len(envelope.message.records)


def _error_of(result: int) -> OSError:
    return OSError(-result, os.strerror(-result))


class _Write(msgspec.Struct, frozen=True):
    """What is written together. ``prepared``: as the ring has it."""

    batch: list[Envelope]
    payloads: list[bytes]
    ts_ms: int
    started: float
    prepared: Prepared | None
