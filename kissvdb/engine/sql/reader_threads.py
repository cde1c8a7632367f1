"""Threads of the connections that read: one for each, and the event loop goes before them.

They compute for as long as a client's statement asks. Where there are more of them than cores, the
loop and who writes would wait their turn among them, so they have a lower priority, where the
system has such for threads (Linux). Threads that others use, too, could not be given back as they
were: raising a priority again needs a privilege.
"""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

import trio

NICENESS = 10

T = TypeVar("T")


class ReaderThread:
    """Runs one job at a time. It ends after `close`."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        # Not waited for when the process ends: nothing of it must be kept.
        threading.Thread(target=self._work, name="sql-reader", daemon=True).start()

    async def run(self, fn: Callable[..., T], *args: Any, stop: Callable[[], None]) -> T:
        """What ``fn(*args)`` returns or raises in the thread. When this is cancelled, ``stop`` is
        called, and the end is waited for."""
        ended = trio.Event()
        results: list[T] = []
        errors: list[BaseException] = []

        def job() -> None:
            try:
                results.append(fn(*args))
            except BaseException as error:
                errors.append(error)
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(ended.set)

        # Once it is queued it runs, and is waited for.
        await trio.lowlevel.checkpoint_if_cancelled()
        self._jobs.put(job)
        try:
            await ended.wait()
        except trio.Cancelled:
            stop()
            with trio.CancelScope(shield=True):
                await ended.wait()
            raise
        if errors:
            raise errors.pop()
        return results.pop()

    def close(self) -> None:
        """End when what runs has ended."""
        self._jobs.put(None)

    def _work(self) -> None:
        if sys.platform == "linux":
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while (job := self._jobs.get()) is not None:
            job()
            # Else what it holds would live until the next one.
            del job
