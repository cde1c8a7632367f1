"""Threads for what would hold up the event loop: one of one's own, or some behind a limit."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

import attrs
import trio

from .errors import MailboxClosed
from .reply import Reply

logger = logging.getLogger("actors")

T = TypeVar("T")


@attrs.frozen
class WorkerStatistics:
    """A worker thread at one moment."""

    jobs: int
    """Jobs queued or running."""
    jobs_max: int
    done: int


class WorkerThread:
    """One thread that runs its jobs in order: for a file, or a connection, that must have one.

    ``async with WorkerThread("log") as worker: result = await worker.run(fn, *args)``

    At most `jobs_max` jobs are queued; beyond that `run` waits, first come, first served.
    Leaving the block runs every queued job to its end, however long that takes: a thread
    cannot be cancelled. Trio's ``from_thread`` functions do not work inside a job.
    """

    def __init__(self, name: str, *, jobs_max: int = 1024) -> None:
        if jobs_max < 1:
            raise ValueError(f"jobs_max must be at least 1, not {jobs_max}")
        self.name = name
        self.jobs_max = jobs_max
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._room = trio.Semaphore(jobs_max)
        self._closed = True
        self._done = 0

    async def __aenter__(self) -> Self:
        assert not hasattr(self, "_thread"), "a worker thread is started once"
        self._token = trio.lowlevel.current_trio_token()
        self._ended = trio.Event()
        self._thread = threading.Thread(target=self._work, name=self.name, daemon=False)
        self._thread.start()
        self._closed = False
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True
        self._jobs.put(None)
        with trio.CancelScope(shield=True):
            await self._ended.wait()
        self._thread.join()

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        """Return what ``fn(*args)`` returns or raises in the thread.

        Cancelling it abandons the result, never the job once it is queued. A caller that must
        not lose the result shields the call. Raises `MailboxClosed` outside the block.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._room.acquire_nowait()
        except trio.WouldBlock:
            await self._room.acquire()
        if self._closed:
            self._room.release()
            raise MailboxClosed(self.name)
        job = _Job(fn, args)
        self._jobs.put(job)
        result: T = await job.reply.wait()
        return result

    def statistics(self) -> WorkerStatistics:
        return WorkerStatistics(
            jobs=self.jobs_max - self._room.value, jobs_max=self.jobs_max, done=self._done
        )

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.value = job.fn(*job.args)
            except BaseException as error:
                job.error = error
            self._token.run_sync_soon(self._finish, job)
            # Else the last job's result would live until the next job.
            del job
        self._token.run_sync_soon(self._ended.set)

    def _finish(self, job: "_Job") -> None:
        self._done += 1
        self._room.release()
        error, job.error = job.error, None
        if error is None:
            job.reply.set(job.value)
            return
        if job.reply.abandoned:
            logger.error("a job of %s failed after its asker left", self.name, exc_info=error)
        job.reply.fail(error)


class _Job:
    __slots__ = ("args", "error", "fn", "reply", "value")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.fn = fn
        self.args = args
        self.reply = Reply()
        self.value: Any = None
        self.error: BaseException | None = None


@attrs.frozen
class WorkersStatistics:
    """The threads behind a limiter at one moment."""

    busy: int
    limit: int
    waiting: int
    """Tasks that wait for a thread."""


class Workers:
    """At most `limit` threads at once, for work that needs no thread of its own."""

    def __init__(self, limit: int) -> None:
        self._limiter = trio.CapacityLimiter(limit)
        self._limit = limit

    async def run(self, fn: Callable[..., T], *args: Any, abandon_on_cancel: bool = False) -> T:
        """Return what ``fn(*args)`` returns or raises in a thread; waits for a free one.

        Cancelling it has an effect while it waits for a thread; after that the call waits for
        the end, or, with `abandon_on_cancel`, leaves the thread to finish alone (it counts
        against the limit until then).
        """
        return await trio.to_thread.run_sync(
            fn, *args, limiter=self._limiter, abandon_on_cancel=abandon_on_cancel
        )

    def statistics(self) -> WorkersStatistics:
        limiter = self._limiter.statistics()
        return WorkersStatistics(
            busy=limiter.borrowed_tokens,
            limit=self._limit,
            waiting=limiter.tasks_waiting,
        )
