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

            self._kernels = Kernels(build_threads=max(1, (os.cpu_count() or 1) // 2))
        return self._kernels

    def want(self) -> None:
        """There is a collection: have them loaded."""
        self._wanted.set()

    async def load(self, config: Config, threads: Threads) -> None:
        """The task that has them loaded once they are wanted."""
        if config.search.compile:
            await self._wanted.wait()
            # Not before: a server without collections does without all of it.
            from kissvdb.engine.vectors import compilation

            data_dir = None if config.storage.memory else Path(config.storage.data_dir)
            await compilation.load(self.loaded, data_dir, threads.upkeep)
        self.compiled.set()
