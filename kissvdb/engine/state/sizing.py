"""How much memory hot keys may take where nobody has said it."""

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")

PART = 16
LEAST = 32 * 2**20
MOST = 2**30


def memory_bytes() -> int:
    """Of the machine, or of the container (cgroup v2) if that has less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        own = Path("/proc/self/cgroup").read_text("utf-8").partition("::")[2].strip().strip("/")
    except OSError:
        own = ""
    for place in (_CGROUP / own, _CGROUP):
        try:
            limit = (place / "memory.max").read_text("utf-8").strip()
        except OSError:
            continue
        if limit.isdigit():
            total = min(total, int(limit))
    return total


def hot_bytes() -> int:
    """A sixteenth of the memory, within bounds."""
    return min(MOST, max(LEAST, memory_bytes() // PART))
