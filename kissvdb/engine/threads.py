"""The threads of a database, by urgency: what is urgent never waits for what is not."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import attrs

from actors import Workers
from kissvdb.config import Config
from kissvdb.telemetry.parts import SEARCH, timed_wait

T = TypeVar("T")
V = TypeVar("V")

COMMIT_THREADS = 8
UPKEEP_THREADS_MIN = 4


@attrs.frozen(eq=False)
class Threads:
    """Three limits. What one kind of work takes, however long, is not taken from another.

    The log has a thread of its own besides.
    """

    commits: Workers
    """What clients wait for though it is no search: memtables stored and made durable, replays,
    collections made and removed. Each piece is short."""
    searches: Workers
    """As many as there are cores, or ``search.threads``."""
    upkeep: Workers
    """What nobody waits for: drains, vacuums, checkpoints of collections, backups, audits,
    loading compiled code. Pieces of seconds."""

    async def search(self, job: Callable[[V], T], view: V) -> T:
        """``job(view)`` as a search of the request that is being answered. A caller that is
        cancelled leaves at once; the thread finishes alone."""
        return await timed_wait(SEARCH, self.searches.run(job, view, abandon_on_cancel=True))


def threads_for(config: Config) -> Threads:
    """The threads that ``config`` asks for."""
    cores = os.cpu_count() or 1
    return Threads(
        commits=Workers(COMMIT_THREADS),
        searches=Workers(config.search.threads or cores),
        # More than cores: what computes does not hold up what waits for the disk.
        upkeep=Workers(max(UPKEEP_THREADS_MIN, cores + 1)),
    )


class _Switching:
    """How soon a thread that waits for the interpreter gets it, of the whole process: after the
    least that is asked for, and after what was usual when nobody asks. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: list[float] = []
        self._usual = 0.0

    def ask(self, seconds: float) -> None:
        """From now on, until as much is given back, no later than after so many."""
        with self._lock:
            if not self._asked:
                self._usual = sys.getswitchinterval()
            self._asked.append(seconds)
            sys.setswitchinterval(min(self._asked))

    def give_back(self, seconds: float) -> None:
        """What was asked for is over."""
        with self._lock:
            self._asked.remove(seconds)
            sys.setswitchinterval(min(self._asked, default=self._usual))

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """`ask` for the length of a block."""
        self.ask(seconds)
        try:
            yield
        finally:
            self.give_back(seconds)


switching = _Switching()
"""A thread that computes in Python makes the event loop wait at each of its system calls, which let
go of the interpreter: for 5 ms, unless another time was asked for here."""
