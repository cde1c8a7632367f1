"""How far a load is, on a terminal: nothing is written where nobody looks."""

import sys
import time

PAUSE_SECS = 0.2


class Progress:
    """``total`` None: it is not known. ``shown`` None: on a terminal."""

    def __init__(self, what: str, total: int | None, shown: bool | None) -> None:
        self._what = what
        self._total = total
        self._shown = sys.stderr.isatty() if shown is None else shown
        self._count = 0
        self._began = self._last = time.monotonic()

    def advance(self, count: int) -> None:
        """So many more are done."""
        self._count += count
        now = time.monotonic()
        if self._shown and now - self._last >= PAUSE_SECS:
            self._last = now
            self._write("\r")

    def end(self) -> None:
        """All are done."""
        if self._shown:
            self._write("\r")
            sys.stderr.write("\n")

    def _write(self, begin: str) -> None:
        rate = self._count / max(time.monotonic() - self._began, 1e-9)
        of = "" if self._total is None else f" of {self._total}"
        sys.stderr.write(f"{begin}{self._what}: {self._count}{of} ({rate:,.0f} a second)   ")
        sys.stderr.flush()
