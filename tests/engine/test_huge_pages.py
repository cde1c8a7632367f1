"""Memory in use becomes huge pages, and no more memory."""

import mmap
import re

import pytest

from kissvdb.engine.state import huge_pages
from kissvdb.engine.state.huge_pages import HUGE_BYTES, PAGE_BYTES, HugePages


def bytes_of(memory, name):
    """What /proc/self/smaps says of the mapping that ``memory`` lies in, in bytes."""
    import ctypes

    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    with open("/proc/self/smaps") as smaps:
        for line in smaps:
            found = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
            if found:
                inside = int(found[1], 16) <= start < int(found[2], 16)
            elif inside and line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("not mapped")


def test_what_is_in_use_is_made_huge_and_the_rest_stays_as_it_is():
    pages = HugePages()
    if not huge_pages.allowed() or pages.make(1) is None:
        pytest.skip("this kernel makes no huge pages on demand")
    memory = mmap.mmap(-1, 12 * HUGE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # Another mapping may lie beside it, and be one with it for the kernel.
    before = bytes_of(memory, "AnonHugePages")
    half = 6 * HUGE_BYTES
    for place in range(0, half, PAGE_BYTES):
        memory[place] = place // PAGE_BYTES % 251
    memory[8 * HUGE_BYTES] = 1
    resident = bytes_of(memory, "Rss")
    while pages.make(64):
        pass
    assert bytes_of(memory, "AnonHugePages") >= before + 4 * HUGE_BYTES
    assert bytes_of(memory, "Rss") < resident + HUGE_BYTES
    assert all(memory[p] == p // PAGE_BYTES % 251 for p in range(0, half, PAGE_BYTES))
    assert memory[8 * HUGE_BYTES] == 1


def test_a_kernel_that_knows_none_is_asked_once(monkeypatch):
    monkeypatch.setattr(huge_pages, "_MADV_COLLAPSE", 99)
    monkeypatch.setattr(huge_pages, "IN_USE", 0)
    assert HugePages().make(4) is None


def test_memory_that_cannot_become_huge_is_not_taken_for_a_kernel_that_cannot():
    pages = HugePages()
    if not huge_pages.allowed() or pages.make(1) is None:
        pytest.skip("this kernel makes no huge pages on demand")
    memory = mmap.mmap(-1, 4 * HUGE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # What is only read is one page of zeros everywhere, and there.
    assert not any(memory[place] for place in range(0, len(memory), PAGE_BYTES))
    for _ in range(3):
        assert pages.make(64) is not None


async def test_a_system_that_does_not_say_what_is_in_use_is_left_alone(monkeypatch):
    def refused(pages, most):
        raise PermissionError("/proc/self/pagemap")

    monkeypatch.setattr(huge_pages, "allowed", lambda: True)
    monkeypatch.setattr(HugePages, "make", refused)
    await huge_pages.run()
