"""The arithmetic of rates: token buckets. Time is an argument, in seconds of any steady clock."""

from math import ceil

_ROUNDING = 1e-9
"""Of the burst: what floating point may lose, so that who waits as long as told is let in."""


class Bucket:
    """Fills with ``rate`` tokens a second up to ``burst``. What is taken may be more than there is:
    then it is in debt, and nobody takes more before that is paid."""

    __slots__ = ("_at", "_level", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """Full. ``rate`` and ``burst`` are above 0."""
        self.rate = rate
        self.burst = burst
        self._level = burst
        self._at = now

    def left(self, now: float) -> float:
        """Tokens that are there; below 0 in debt."""
        if now > self._at:
            self._level = min(self.burst, self._level + (now - self._at) * self.rate)
            self._at = now
        return self._level

    def take(self, now: float, tokens: float = 1.0) -> None:
        """Take tokens, there or not."""
        self._level = self.left(now) - tokens

    def wait_secs(self, now: float, tokens: float = 1.0) -> float:
        """How long until so many tokens are there; 0 when they are."""
        missing = min(tokens, self.burst) - self.left(now)
        return missing / self.rate if missing > _ROUNDING * self.burst else 0.0

    def window_secs(self) -> int:
        """How long it takes to fill when empty, in whole seconds."""
        return max(1, ceil(self.burst / self.rate))
