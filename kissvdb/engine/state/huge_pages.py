"""Memory in pages of 2 MiB: what lies all over it is found with fewer looks into page tables.

Keys are Python objects, anywhere in as much memory as they take, and with pages of 4 KiB the
processor cannot remember where more than a few MB of it are. Linux makes one page of 512 when it is
asked to (MADV_COLLAPSE of madvise(2), since 6.1). Only what is in use anyway is asked for, so that
it takes a sixteenth more memory at most.
"""

import ctypes
import errno
import logging
import mmap
import os
import re
from collections.abc import Generator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path

import trio

logger = logging.getLogger("kissvdb.state")

HUGE_BYTES = 2 * 1024 * 1024
PAGE_BYTES = 4096
PAGES = HUGE_BYTES // PAGE_BYTES

IN_USE = PAGES * 15 // 16
"""So many pages of a huge one have to be there before it is made."""

AT_ONCE = 8
"""So many are made, one by one, before a pause: each takes a thread some milliseconds, and who
wants something of just that one waits for one of them."""

PAUSE_SECONDS = 0.5
"""Between some and the next."""

IDLE_SECONDS = 10.0
"""Between looks where the last one found nothing to be done."""

LOOKS = 60
"""After so many of these, all is looked at again."""

_MADV_COLLAPSE = 25
_ALLOWED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_ENTRY_BYTES = 8
_WITHOUT_BIT = bytes(range(128))
# Private, writable, of no file: the heap and what malloc and Python map.
_OWN = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 *(?:\[heap\]|\[anon:[^\]]*\])?$", re.M)


def allowed() -> bool:
    """Whether who runs this machine wants huge pages where a program asks for them."""
    try:
        return "[never]" not in _ALLOWED.read_text("ascii")
    except OSError:
        return False


async def run() -> None:
    """The task that keeps memory in huge pages, until cancelled. It ends where there are none."""
    if not await trio.to_thread.run_sync(allowed):
        return
    pages = HugePages()
    while True:
        try:
            count = await trio.to_thread.run_sync(partial(pages.make, AT_ONCE))
        except (FileNotFoundError, PermissionError) as error:
            # Without /proc, or of one that is not ours to read, nobody knows what is in use.
            logger.debug("no huge pages are made: %s", error)
            return
        except (OSError, RuntimeError, MemoryError):
            # Of descriptors, threads or memory there is none now: later.
            count = 0
        if count is None:
            logger.debug("the kernel makes no huge pages on demand")
            return
        await trio.sleep(PAUSE_SECONDS if count else IDLE_SECONDS)


class HugePages:
    """What has been made of this process's memory. For one thread at a time."""

    def __init__(self) -> None:
        self._madvise = ctypes.CDLL(None, use_errno=True).madvise
        self._madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        # Where one was asked for: it is there, or cannot be.
        self._settled: set[int] = set()
        self._known = False
        self._idle_looks = 0

    def make(self, most: int) -> int | None:
        """Make at most so many of what is in use now, and say how many; 0: there is nothing to do
        for now. None: the kernel does not know how. Raises OSError where it says nothing."""
        made = 0
        with closing(self._in_use()) as found:
            for start in islice(found, most):
                self._settled.add(start)
                if self._madvise(start, HUGE_BYTES, _MADV_COLLAPSE) == 0:
                    made += 1
                elif ctypes.get_errno() == errno.EINVAL and not self._is_known():
                    # It says the same of memory that was only read so far, of all zeros.
                    return None
        self._idle_looks = 0 if made else self._idle_looks + 1
        if self._idle_looks == LOOKS:
            # What was given back, and taken again, is in small pages.
            self._settled.clear()
            self._idle_looks = 0
        return made

    def _is_known(self) -> bool:
        """Whether the kernel knows how to make one at all: asked of memory where it can."""
        if not self._known:
            with mmap.mmap(-1, 2 * HUGE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
                place = ctypes.c_char.from_buffer(memory)
                start = -(-ctypes.addressof(place) // HUGE_BYTES) * HUGE_BYTES
                ctypes.memset(start, 1, HUGE_BYTES)
                refused = self._madvise(start, HUGE_BYTES, _MADV_COLLAPSE) != 0
                self._known = not refused or ctypes.get_errno() != errno.EINVAL
                del place
        return self._known

    def _in_use(self) -> Generator[int, None, None]:
        """Where a huge page may begin, of all of which most is there."""
        with open("/proc/self/maps", "rb") as maps:
            text = maps.read()
        with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            for begin, end in _OWN.findall(text):
                first = -(-int(begin, 16) // HUGE_BYTES) * HUGE_BYTES
                for start in range(first, int(end, 16) - HUGE_BYTES + 1, HUGE_BYTES):
                    if start in self._settled:
                        continue
                    if _present(pagemap.fileno(), start) >= IN_USE:
                        yield start


def _present(pagemap: int, start: int) -> int:
    """How many pages are there of the 512 from ``start`` on (proc(5), pagemap)."""
    entries = os.pread(pagemap, _ENTRY_BYTES * PAGES, start // PAGE_BYTES * _ENTRY_BYTES)
    # The highest bit of each, as little-endian as the processors are that we run on.
    return len(entries[_ENTRY_BYTES - 1 :: _ENTRY_BYTES].translate(None, _WITHOUT_BIT))
