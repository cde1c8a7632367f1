"""What a statement may take while it runs: time, and room on the disk. Memory is bounded by itself.

SQLite sorts, groups and recurses in its caches, of a few MiB for each, and writes what does not fit
to temporary files (``temp_store`` of `guard.harden`). How much is there is looked at from outside,
by the kernel's count of what the thread wrote: a statement that computes needs the interpreter for
nothing. SQLite's own counter of memory is one lock for all threads, and the event loop waited
for it behind readers that had it and no core (measured: half of its time).
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import apsw

from kissvdb.errors import KissError, RequestTimeout, SqliteError

STEPS: Final = 20_000
"""Of SQLite's virtual machine, after which the thread lets others have their turn: about 1 ms."""
WRITTEN_BYTES_MAX: Final = 128 * 1024 * 1024


class Watch:
    """Stops the statement of one connection. `begin` before each; any thread may `stop`.

    Made in the thread that runs the statements. ``take_turns`` is called there while one runs."""

    def __init__(self, db: apsw.Connection, take_turns: Callable[[], None]) -> None:
        self._deadline = float("inf")
        self._timeout_ms = 0
        self._written = _Written()
        self._written_max = 0
        self._stopped = False
        self._why: KissError | None = None
        self._db = db
        self._take_turns = take_turns
        db.set_progress_handler(self._is_over_now, STEPS)

    def begin(self, deadline: float, timeout_ms: int) -> None:
        """``deadline``: of time.monotonic, as the client said it: ``timeout_ms``."""
        self._deadline = deadline
        self._timeout_ms = timeout_ms
        self._written_max = self._written.bytes() + WRITTEN_BYTES_MAX
        self._stopped = False
        self._why = None

    def end(self) -> None:
        """What runs now is the server's own."""
        self._deadline = float("inf")
        self._stopped = False

    def stop(self) -> None:
        """Nobody waits for it any more."""
        self._stopped = True
        self._db.interrupt()

    def close(self) -> None:
        self._written.close()

    def look(self) -> None:
        """Stop what runs at its next turn, and not in thousands of steps, if it took too much.
        From any thread; it waits for nothing."""
        if not self.is_over:
            if self._written.bytes() <= self._written_max:
                return
            self._why = SqliteError(
                f"the statement wrote over {WRITTEN_BYTES_MAX >> 20} MiB of what it sorts, groups "
                "or joins to temporary files and was stopped: do less at once"
            )
        self._db.interrupt()

    @property
    def is_over(self) -> bool:
        """Whether it has to end now."""
        return self._stopped or time.monotonic() > self._deadline

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def refusal(self) -> KissError:
        """What to say of a statement that was stopped."""
        return self._why or self.timeout()

    def timeout(self) -> RequestTimeout:
        return RequestTimeout(
            f"the statement took longer than {self._timeout_ms} ms (timeout_ms) and was stopped, "
            "it changed nothing: ask for less, use an index, or give it more time"
        )

    def _is_over_now(self) -> bool:
        self._take_turns()
        return self.is_over


class _Written:
    """How many bytes the thread that makes it has written so far, to whatever file.

    Where the system does not count it (it is Linux that does), 0: then time alone is the bound."""

    def __init__(self) -> None:
        self._file = -1
        with suppress(OSError):
            path = f"/proc/self/task/{threading.get_native_id()}/io"
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def bytes(self) -> int:
        if self._file < 0:
            return 0
        try:
            counts = os.pread(self._file, 256, 0)
        except OSError:
            return 0
        return int(counts.partition(b"wchar: ")[2].partition(b"\n")[0] or 0)

    def close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
