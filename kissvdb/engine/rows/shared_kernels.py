"""The compiled code that all collections of a database share: made and loaded when one wants it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from kissvdb.config import Config
from kissvdb.engine.threads import Threads

if TYPE_CHECKING:
    # Not at run time: numpy comes with them, and a server without rows starts faster without.
    from kissvdb.core.index.kernels import Kernels

BUILD_THREADS_MAX = 16
"""Each has working memory of a byte a row."""

EXACT_NUMBERS_MAX = 50_000_000
"""A search that begins without compiled code looks at so many at most: 200 MB."""
LOADING_SECONDS_MAX = 10


class SharedKernels:
    """Collections work without them until they are loaded: then searches are exact."""

    def __init__(self) -> None:
        self.compiled = trio.Event()
        """They are loaded, or will not be."""
        self._wanted = trio.Event()
        self._kernels: Kernels | None = None

    @property
    def loaded(self) -> "Kernels":
        """What collections hold: it knows whether there is compiled code by now."""
        if self._kernels is None:
            from kissvdb.core.index.kernels import Kernels

            self._kernels = Kernels(build_threads=_build_threads())
        return self._kernels

    async def wait_if_soon(self, numbers: int) -> None:
        """Wait for compiled code that is being loaded, before a search of vectors that have so many
        numbers: to look at more than some without it takes longer, most of all from a disk."""
        kernels = self._kernels
        if numbers > EXACT_NUMBERS_MAX and kernels is not None and kernels.is_loading:
            with trio.move_on_after(LOADING_SECONDS_MAX):
                await self.compiled.wait()

    def want(self) -> None:
        """There is a collection: have them loaded."""
        self._wanted.set()

    async def load(self, config: Config, threads: Threads) -> None:
        """The task that has them loaded once they are wanted."""
        if config.search.compile:
            await self._wanted.wait()
            # Not before: a server without collections does without all of it.
            from kissvdb.engine.vectors import compilation

            if config.search.build_threads:
                self.loaded.build_threads = config.search.build_threads
            data_dir = None if config.storage.memory else Path(config.storage.data_dir)
            await compilation.load(self.loaded, data_dir, threads.upkeep)
        self.compiled.set()


def _build_threads() -> int:
    """As many as the process has processors: they step back behind the one that answers."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), BUILD_THREADS_MAX)
    return min(os.cpu_count() or 1, BUILD_THREADS_MAX)
