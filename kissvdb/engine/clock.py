"""Time as a running database counts it: from its start on by what passes, however the wall clock
is set meanwhile."""

import logging
import time
from collections.abc import Callable

import trio

from kissvdb import logs

logger = logging.getLogger("kissvdb.clock")

Clock = Callable[[], int]
"""Unix time in milliseconds."""

JUMP_MS_MIN = 1000
LOOK_SECONDS = 1.0

# The time that the machine slept is time that has passed; not every system counts it.
_PASSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def wall_clock_ms() -> int:
    """Unix time in milliseconds, as the machine has it now."""
    return time.time_ns() // 1_000_000


def _passed_ms() -> int:
    return time.clock_gettime_ns(_PASSED) // 1_000_000


class SteadyClock:
    """Unix time in milliseconds as it was when this was made, and what has passed since.

    Time to live is counted with it: a wall clock that is set neither ends keys nor keeps them.
    """

    def __init__(self, wall_ms: Clock = wall_clock_ms, passed_ms: Clock = _passed_ms) -> None:
        self.wall_ms = wall_ms
        self._passed_ms = passed_ms
        self._start_ms = wall_ms() - passed_ms()
        self._told_ms = 0

    def __call__(self) -> int:
        return self._start_ms + self._passed_ms()

    def jump_ms(self) -> int:
        """How far the wall clock has been set since this was asked last; 0 for little."""
        ahead_ms = self.wall_ms() - self()
        jump_ms = ahead_ms - self._told_ms
        if abs(jump_ms) < JUMP_MS_MIN:
            return 0
        self._told_ms = ahead_ms
        return jump_ms

    async def watch(self) -> None:
        """Log every jump of the wall clock, until cancelled."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            jump_ms = self.jump_ms()
            if jump_ms:
                logs.event(
                    logger,
                    logging.WARNING,
                    "the wall clock was set: events carry the new time, time to live goes on by "
                    "what really passes; after a restart expiry is read by the new time",
                    jump_secs=jump_ms / 1000,
                    ahead_secs=self._told_ms / 1000,
                )
