"""What a statement may take while it runs: time and memory, looked at every few thousand steps."""

import time

import apsw

from kissvdb.errors import KissError, RequestTimeout, SqliteError

STEPS = 5000
"""Of SQLite's virtual machine, between two looks: about 0.1 ms."""
MEMORY_BYTES_MAX = 64 * 1024 * 1024
"""What SQLite may take more than at the statement's begin: sorting, grouping, recursion."""


class Watch:
    """Stops the statement of one connection. `begin` before each; any thread may `stop`."""

    def __init__(self, db: apsw.Connection) -> None:
        self._deadline = float("inf")
        self._timeout_ms = 0
        self._memory = 0
        self._stopped = False
        self._why: KissError | None = None
        self._db = db
        db.set_progress_handler(self._is_over_now, STEPS)

    def begin(self, deadline: float, timeout_ms: int) -> None:
        """``deadline``: of time.monotonic, as the client said it: ``timeout_ms``."""
        self._deadline = deadline
        self._timeout_ms = timeout_ms
        self._memory = apsw.memory_used() + MEMORY_BYTES_MAX
        self._stopped = False
        self._why = None

    def end(self) -> None:
        """What runs now is the server's own."""
        self._deadline = float("inf")
        self._stopped = False
        self._memory = 1 << 62

    def stop(self) -> None:
        """Nobody waits for it any more."""
        self._stopped = True
        self._db.interrupt()

    def hurry(self) -> None:
        """Its time is over: stop it at its next turn, and not in thousands of steps."""
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
        if self.is_over:
            return True
        if apsw.memory_used() > self._memory:
            self._why = SqliteError(
                f"the statement needs over {MEMORY_BYTES_MAX >> 20} MiB of memory and was stopped: "
                "sort, group or join less at once"
            )
            return True
        return False
