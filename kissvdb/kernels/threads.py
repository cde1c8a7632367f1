"""Threads that build: they leave the processor to whoever answers requests."""

import contextlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor

#: A tenth of the share of a thread that answers, where both want the same processor.
NICENESS = 10


def pool(threads: int) -> ThreadPoolExecutor:
    """A pool of so many threads, each nicer than the process."""
    return ThreadPoolExecutor(threads, initializer=_step_back)


def _step_back() -> None:
    # Linux only has a niceness for each thread; elsewhere, or forbidden, they compete as equals.
    if hasattr(os, "setpriority") and os.uname().sysname == "Linux":
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            before = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(before + NICENESS, 19))
