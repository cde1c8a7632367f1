"""Threads of the connections that read, one for each, and who of them computes.

They compute for as long as a client's statement asks. Where there are more of them than cores, the
event loop and who writes would wait their turn among them: so one core is left to those, and the
statements take turns on the others. Their priority is a little lower besides, where the system has
such for threads (Linux); not much, for a reader that has the interpreter but no core holds up the
loop, the longer the lower its priority is.
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, TypeVar

import trio

NICENESS: Final = 5
SLICE_SECONDS: Final = 0.02
"""One computes so long, if others wait."""
PATIENCE_SECONDS: Final = 0.25
"""Who waited so long computes without a turn: a call of a function cannot be stopped."""

T = TypeVar("T")


def turns_count() -> int:
    """How many statements compute at once: one core less than there are."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, cores - 1)


class Turns:
    """Who may compute, first come first served. For threads; the event loop takes no part."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[threading.Lock] = deque()
        self._lock = threading.Lock()

    @property
    def are_wanted(self) -> bool:
        return bool(self._waiting)

    def take(self) -> bool:
        """Wait for a turn; False if it took too long."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            gate = threading.Lock()
            gate.acquire()
            self._waiting.append(gate)
        if gate.acquire(timeout=PATIENCE_SECONDS):
            return True
        with self._lock:
            if gate not in self._waiting:
                # It was given in this moment.
                return True
            self._waiting.remove(gate)
        return False

    def give(self) -> None:
        """To who waits longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


class ReaderThread:
    """Runs one job at a time. It ends after `close`."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._has_turn = False
        self._since = 0.0
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

    def take_turns(self) -> None:
        """Let others compute if this one did for long enough. From its job."""
        if self._turns.are_wanted and time.monotonic() > self._since + SLICE_SECONDS:
            self._pause()
            self._go_on()

    def _pause(self) -> None:
        if self._has_turn:
            self._turns.give()
            self._has_turn = False

    def _go_on(self) -> None:
        self._has_turn = self._turns.take()
        self._since = time.monotonic()

    def _work(self) -> None:
        if sys.platform == "linux":
            number = threading.get_native_id()
            with suppress(OSError):
                os.setpriority(
                    os.PRIO_PROCESS, number, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS
                )
        while (job := self._jobs.get()) is not None:
            self._go_on()
            job()
            self._pause()
            # Else what it holds would live until the next one.
            del job
