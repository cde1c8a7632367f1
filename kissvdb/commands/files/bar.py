"""How far it is, on a terminal: nothing is written where nobody looks."""

import sys
import time
from collections.abc import Callable

PAUSE_SECS = 0.2
WIDTH = 24


class Bar:
    """``part`` tells how much is done, from 0 to 1, or None where the end is not known."""

    def __init__(self, what: str, part: Callable[[], float | None], shown: bool) -> None:
        self._what = what
        self._part = part
        self._shown = shown
        self._count = 0
        self._began = self._last = time.monotonic()

    def advance(self) -> None:
        """One more."""
        self._count += 1
        # The clock is asked seldom: this runs once a row.
        if self._shown and self._count % 64 == 0:
            now = time.monotonic()
            if now - self._last >= PAUSE_SECS:
                self._last = now
                self._write(self._part())

    def end(self, whole: bool) -> None:
        """No more come. ``whole``: because all have."""
        if self._shown:
            self._write(1.0 if whole else self._part())
            sys.stderr.write("\n")

    def _write(self, part: float | None) -> None:
        rate = self._count / max(time.monotonic() - self._began, 1e-9)
        bar = ""
        if part is not None:
            full = int(min(part, 1.0) * WIDTH)
            bar = f" [{'#' * full}{'.' * (WIDTH - full)}] {min(part, 1.0):4.0%}"
        sys.stderr.write(f"\r{self._what}{bar} {self._count:,} rows, {rate:,.0f} a second   ")
        sys.stderr.flush()
