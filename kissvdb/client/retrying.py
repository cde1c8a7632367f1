"""When a call is sent again, and after how long. Without a clock: see the connections."""

import msgspec

from kissvdb.errors import KissError

NOTHING_DONE = frozenset({"starting", "overloaded", "rate_limited"})
"""The server has refused and done nothing: any call may be sent again."""
PASSES = NOTHING_DONE | {
    "stopping",
    "unavailable",
    "unreachable",
    "persistence_error",
    "timeout",
    "offset_not_reached",
}
"""May be better the next time; a write may have happened all the same."""

FIRST_PAUSE_SECS = 0.05
PAUSE_MAX_SECS = 5.0


class Retries(msgspec.Struct):
    """Of one call."""

    left: int
    count: int = 0

    def may(self, error: KissError, *, safe: bool) -> bool:
        """Whether the call is sent again after this."""
        if self.left <= 0 or error.code not in (PASSES if safe else NOTHING_DONE):
            return False
        self.left -= 1
        self.count += 1
        return True

    def pause(self, asked: float | None) -> float:
        """Seconds to wait: what the server asked for, else longer each time. Not the same for all
        clients, or all would come back at once."""
        import random

        longest = min(PAUSE_MAX_SECS, FIRST_PAUSE_SECS * 2.0 ** (self.count - 1))
        own = random.uniform(longest / 2, longest)
        return own if asked is None else asked + own / 2


def retry_after(headers: dict[str, str]) -> float | None:
    """Seconds that the answer asks to wait for."""
    text = headers.get("retry-after", "")
    return float(text) if text.isdigit() else None
