"""The log in segment files, written by io_uring where there is one, else by a thread."""

import errno
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import trio

from actors import WorkerThread
from kissvdb import logs
from kissvdb.config import Log
from kissvdb.engine.log.event_log import LogInfo
from kissvdb.epochs import Boundary
from kissvdb.errors import Conflict, OutcomeUnknown
from kissvdb.records import LogRecord
from kissvdb.storage.backup import Entry
from kissvdb.storage.disk import Disk
from kissvdb.storage.log.frames import Prepared
from kissvdb.storage.log.segment import segment_name
from kissvdb.storage.log.segmented_log import REFUSALS, SegmentedLog
from kissvdb.storage.log.uring import Uring

logger = logging.getLogger("kissvdb.log")

# What a kernel says that has io_uring but not this operation of it.
_NOT_KNOWN = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})
# Nothing is wrong with the disk, or it has no room: then a thread writes, or is told so.
_TRY_AGAIN = _NOT_KNOWN | REFUSALS | {errno.EAGAIN, errno.EINTR, errno.ECANCELED}


class LocalLog:
    """The event log of one directory (see `event_log.EventLog`).

    One write at a time. It goes through the ring where there is one; what is not a single write,
    or was not done there, is done in the log's own thread, which also begins and removes segments:
    one changes their list at a time.
    """

    def __init__(
        self, log: SegmentedLog, disk: Disk, config: Log, make_ring: Callable[[], Uring] = Uring
    ) -> None:
        self._log = log
        self._disk = disk
        self._config = config
        self._make_ring = make_ring
        self._ring: Uring | None = None
        self._thread = WorkerThread("kissvdb-log")
        self._underway = False
        self._settled: trio.Event | None = None

    @classmethod
    def open(
        cls,
        disk: Disk,
        config: Log,
        *,
        offset_floor: int,
        epoch: str,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> "LocalLog":
        """Recover the log; see `SegmentedLog.open`. Says in the logs what was cut off.

        Raises Damaged and OSError.
        """
        log = SegmentedLog.open(
            disk,
            segment_bytes_max=config.segment_max_bytes,
            offset_floor=offset_floor,
            epoch=epoch,
            on_progress=on_progress,
        )
        if log.report is not None:
            logs.event(
                logger,
                logging.WARNING,
                "cut a torn tail off the log: a write that was never answered",
                file=log.report.path,
                bytes=log.report.bytes_cut,
            )
        return cls(log, disk, config)

    async def __aenter__(self) -> Self:
        await self._thread.__aenter__()
        if self._config.io_uring:
            # Here, because a ring belongs to the thread that submits.
            try:
                self._ring = self._make_ring()
            except OSError as error:
                logger.debug("no io_uring (%s): the log is written in a thread", error)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._ring is not None:
            self._ring.close()
        await self._thread.__aexit__(exc_type, exc, traceback)

    def close(self) -> None:
        self._log.close()

    @property
    def first_offset(self) -> int:
        return self._log.first_offset

    @property
    def last_offset(self) -> int:
        return self._log.last_offset

    @property
    def boundaries(self) -> Sequence[Boundary]:
        return self._log.boundaries

    @property
    def overlaps(self) -> bool:
        """The kernel writes beside everything. A thread would fight with the event loop for the
        interpreter's lock (measured: a third more CPU)."""
        return self._ring is not None

    def append(self, ts_ms: int, payloads: Sequence[bytes], *, after: int) -> "_Appending":
        assert not self._underway, "one append at a time"
        if self._log.failed is not None:
            raise OutcomeUnknown(self._log.failed)
        if not payloads:
            raise ValueError("an append needs at least one record")
        if after != self._log.last_offset:
            raise Conflict(f"the log ends at offset {self._log.last_offset}, not at {after}")
        appending = _Appending(self, ts_ms, payloads, self._submitted(ts_ms, payloads))
        self._underway = True
        return appending

    def read(self, after: int, *, bytes_max: int, until: int | None = None) -> list[LogRecord]:
        return self._log.read(after, bytes_max=bytes_max, until=until)

    async def barrier(self) -> int:
        while self._underway:
            if self._settled is None:
                self._settled = trio.Event()
            await self._settled.wait()
        return self._log.last_offset

    async def truncate(self, through: int) -> None:
        segments_max = self._config.retention_segments
        await self._thread.run(
            partial(self._log.retain, through=through, segments_max=segments_max)
        )

    def info(self) -> LogInfo:
        return LogInfo(self._log.first_offset, self._log.last_offset, self._log.bytes_on_disk)

    async def note_files(self, entries: list[Entry]) -> int:
        # The thread would go on opening files after a caller that was cancelled: so that waits.
        with trio.CancelScope(shield=True):
            noted = await self._thread.run(self._note_segments, entries)
        return noted[-1][1]

    def _note_segments(self, entries: list[Entry]) -> list[tuple[int, int, int]]:
        segments = self._log.segments
        for first, _, end in segments:
            name = segment_name(first)
            source = (self._disk.directory / name).open("rb")
            entries.append(Entry(f"log/{name}", end, source))
        return segments

    def _submitted(self, ts_ms: int, payloads: Sequence[bytes]) -> Prepared | None:
        """The write that the ring has now; None when it has none."""
        if self._ring is None:
            return None
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

    async def _finish(self, appending: "_Appending") -> int:
        """The first offset, once all is durable. Raises what `SegmentedLog.append` does."""
        log, prepared = self._log, appending.prepared
        if prepared is None:
            return await self._thread.run(log.append, appending.ts_ms, appending.payloads)
        ring = self._ring
        assert ring is not None
        while (result := ring.take()) is None:
            await trio.lowlevel.wait_readable(ring.fileno())
        if result == len(prepared.data):
            return log.written(prepared)
        if -result in _NOT_KNOWN:
            self._give_up_ring(_error_of(result))
        if result < 0 and -result not in _TRY_AGAIN:
            raise log.fail(_error_of(result))
        return await self._thread.run(log.write, prepared)

    def _leave(self) -> None:
        """A write may still be under way, and nothing may be written behind it."""
        self._log.fail(InterruptedError("whoever began it did not wait for its end"))

    def _settle(self) -> None:
        self._underway = False
        if self._settled is not None:
            self._settled.set()
            self._settled = None

    def _give_up_ring(self, error: OSError) -> None:
        logs.event(
            logger, logging.INFO, "io_uring cannot be used: writing in a thread", reason=str(error)
        )
        assert self._ring is not None
        self._ring.close()
        self._ring = None


class _Appending:
    """See `event_log.Appending`. ``prepared``: as the ring has it."""

    __slots__ = ("_log", "payloads", "prepared", "ts_ms")

    def __init__(
        self, log: LocalLog, ts_ms: int, payloads: Sequence[bytes], prepared: Prepared | None
    ) -> None:
        self._log = log
        self.ts_ms = ts_ms
        self.payloads = payloads
        self.prepared = prepared

    async def offset(self) -> int:
        try:
            return await self._log._finish(self)
        except trio.Cancelled:
            self._log._leave()
            raise
        finally:
            self._log._settle()


def _error_of(result: int) -> OSError:
    return OSError(-result, os.strerror(-result))
