"""Pages of nodes, and how a kernel reads them: from a file, or where they are in memory.

A page is ``page_words`` int32 long: nodes, then what is left over, then a checksum. A node is
``width`` float32, the row; its links, int32, -1 after the last; and the number of the row, int32,
-1 in a place that is empty. Words count from the beginning of the page.
"""

import ctypes
import os
from typing import Any, Final, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from kissvdb.kernels.arrays import LINE_BYTES
from kissvdb.kernels.jit import Number, helper

Array = NDArray[Any]

PAGE_BYTES: Final = 4096
#: What a checksum begins with, and what each page's number counts in it: a page that was never
#: written, or lies in another's place, does not fit its own.
SEED: Final = 0x9E3779B1
STEP: Final = 0x85EBCA6B

#: Whether files are read. Otherwise pages are taken from the mapping of the file.
READS_FILES: Final = hasattr(os, "posix_fadvise") and hasattr(os, "pread")
_NO_WAIT = np.int32(8)
"""RWF_NOWAIT of preadv2(2): Python's os has it only where the C library it was built with has."""
_WILL_NEED = np.int32(getattr(os, "POSIX_FADV_WILLNEED", 0))


class Layout(NamedTuple):
    """How nodes lie in pages. All in int32 words but ``per_page``, nodes a page.

    width: of a row; links: of a node; node: a whole one; page: a whole one.
    """

    width: int
    links: int
    node: int
    page: int
    per_page: int


class Reader(NamedTuple):
    """Pages as a search reads them; not for two threads at a time.

    place: int32 [n], where the node of a row is, in nodes. words, floats: the same memory as int32
    and float32 [words]: all pages, or, of a file, room for those of one beam. row: float32
    [1, width]. fd: the file, -1 for none. start: the byte where its pages begin. address: of words.
    part: int64 [2], a struct iovec, at part_at.
    """

    place: Array
    words: Array
    floats: Array
    row: Array
    fd: int
    start: int
    address: int
    part: Array
    part_at: int


def layout(width: int, links: int) -> Layout:
    """That of nodes with rows of ``width`` float32 and so many links: in pages of 4 KiB, or as
    many of these as a node takes."""
    node = width + links + 1
    page_bytes = -(-(4 * node + 4) // PAGE_BYTES) * PAGE_BYTES
    page = page_bytes // 4
    return Layout(width, links, node, page, (page - 1) // node)


def checksums(pages: Array, first: int) -> Array:
    """The checksums, uint32 [n], of pages int32 [n, words], the first of which has this number."""
    words = pages.view(np.uint32)[:, :-1]
    weights = 2 * np.arange(words.shape[1], dtype=np.uint32) + np.uint32(1)
    numbers = np.arange(first, first + len(pages), dtype=np.uint32)
    sums = np.einsum("ij,j->i", words, weights)
    found: Array = np.uint32(SEED) + numbers * np.uint32(STEP) + sums
    return found


def reader_of(place: Array, words: Array, row: Array, fd: int, start: int, part: Array) -> Reader:
    """See Reader."""
    floats, address, part_at = words.view(np.float32), words.ctypes.data, part.ctypes.data
    return Reader(place, words, floats, row, fd, start, address, part, part_at)


def page_room(pages: int, words: int) -> Array:
    """Room for so many pages, int32, that begins with a page of memory."""
    raw = np.zeros(pages * words * 4 + PAGE_BYTES, dtype=np.uint8)
    start = -raw.ctypes.data % PAGE_BYTES
    room: Array = raw[start : start + pages * words * 4].view(np.int32)
    assert room.ctypes.data % LINE_BYTES == 0
    return room


@helper
def is_whole(words: Array, base: Number, count: Number, page: Number) -> Number:
    """Whether a page, ``count`` words from ``base`` on, has the checksum it was written with."""
    # Cast at each step: a product of two numbers of 32 bits would be one of 64, and that is slow.
    total = np.uint32(np.uint32(SEED) + np.uint32(np.uint32(page) * np.uint32(STEP)))
    for i in range(count - 1):
        total = np.uint32(total + np.uint32(np.uint32(words[base + i]) * np.uint32(2 * i + 1)))
    return np.uint32(words[base + count - 1]) == total


if READS_FILES:
    # Numba's stubs do not know that these are called as functions, in kernels.
    _advise: Any = types.ExternalFunction(
        "posix_fadvise", types.int32(types.int32, types.int64, types.int64, types.int32)
    )
    _pread: Any = types.ExternalFunction(
        "pread", types.intp(types.int32, types.uintp, types.uintp, types.int64)
    )

    @helper
    def _read_all(
        fd: Number, start: Number, address: Number, size: Number, pages: Array, count: Number
    ) -> Number:
        # The system is told of the others before it is asked for the first: they come together.
        for i in range(1, count):
            _advise(np.int32(fd), start + pages[i] * size, size, _WILL_NEED)
        for i in range(count):
            to = np.uintp(address) + np.uintp(i * size)
            if _pread(np.int32(fd), to, np.uintp(size), start + pages[i] * size) != size:
                return False
        return True

else:

    @helper
    def _read_all(
        fd: Number, start: Number, address: Number, size: Number, pages: Array, count: Number
    ) -> Number:
        # Pages are taken from memory.
        return False


if READS_FILES and hasattr(ctypes.CDLL(None), "preadv2"):
    _preadv2: Any = types.ExternalFunction(
        "preadv2", types.intp(types.int32, types.uintp, types.int32, types.int64, types.int32)
    )

    @helper
    def read_pages(reader: Any, size: Number, pages: Array, count: Number) -> Number:
        """Read ``pages[:count]`` of ``size`` bytes each; answer whether all came whole."""
        part = reader.part
        part[1] = size
        for i in range(count):
            part[0] = reader.address + i * size
            at = reader.start + pages[i] * size
            # What is in memory needs no more than this.
            got = _preadv2(np.int32(reader.fd), np.uintp(reader.part_at), np.int32(1), at, _NO_WAIT)
            if got != size:
                left = reader.address + i * size
                return _read_all(reader.fd, reader.start, left, size, pages[i:count], count - i)
        return True

else:

    @helper
    def read_pages(reader: Any, size: Number, pages: Array, count: Number) -> Number:
        """Read ``pages[:count]`` of ``size`` bytes each; answer whether all came whole."""
        return _read_all(reader.fd, reader.start, reader.address, size, pages, count)
