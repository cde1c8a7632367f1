"""Durable writes through io_uring (Linux, io_uring(7)): the kernel waits for the disk, no thread.

A thread that writes must have the interpreter's lock before and after every write, and the event
loop stops for it each time. Here a write is handed over with one system call, and a file
descriptor becomes readable when it is on disk. One write at a time: that is all a log needs.

The layouts and numbers are those of <linux/io_uring.h>; they are the same on every processor.
"""

import ctypes
import errno
import mmap
import os
import struct
import sys

_SETUP, _ENTER, _REGISTER = 425, 426, 427
_REGISTER_EVENTFD = 4
_GET_EVENTS = 1
_SINGLE_MMAP = 1
_RING_AT, _ENTRIES_AT = 0, 0x10000000
_ENTRIES = 2
_WRITE = 23
# RWF_DSYNC. Python's os has it only where the C library it was built with has.
_DSYNC = 2
_ENTRY_BYTES, _RESULT_BYTES = 64, 16

_U32 = struct.Struct("<I")
# opcode, flags, ioprio, fd, offset, address, length, rw_flags, user_data, and what stays zero
_ENTRY = struct.Struct("<BBHiQQIIQ24x")
_RESULT = struct.Struct("<QiI")


class _Params(ctypes.Structure):
    """struct io_uring_params."""

    _fields_ = (
        ("sq_entries", ctypes.c_uint32),
        ("cq_entries", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("sq_thread_cpu", ctypes.c_uint32),
        ("sq_thread_idle", ctypes.c_uint32),
        ("features", ctypes.c_uint32),
        ("wq_fd", ctypes.c_uint32),
        ("resv", ctypes.c_uint32 * 3),
        # head, tail, ring_mask, ring_entries, flags, dropped, array, and reserved
        ("sq_off", ctypes.c_uint32 * 10),
        # head, tail, ring_mask, ring_entries, overflow, cqes, and reserved
        ("cq_off", ctypes.c_uint32 * 10),
    )


class Uring:
    """A ring for one write at a time. Belongs to one thread; close it."""

    def __init__(self) -> None:
        """Raises OSError where the kernel has none or does not let us: old ones, containers."""
        if sys.platform != "linux":
            raise OSError(errno.ENOSYS, "io_uring is Linux's")
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        params = _Params()
        self._fd = self._call(_SETUP, _ENTRIES, ctypes.byref(params))
        try:
            if not params.features & _SINGLE_MMAP:
                raise OSError(errno.ENOSYS, "io_uring before Linux 5.4")
            self._map(params)
            self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except BaseException:
            os.close(self._fd)
            raise
        self._tail = self._head = 0
        # The kernel reads from it until the result is there.
        self._data: bytes | None = None
        try:
            event = ctypes.c_int(self._event)
            self._call(_REGISTER, self._fd, _REGISTER_EVENTFD, ctypes.byref(event), 1)
        except BaseException:
            self.close()
            raise

    def _map(self, params: _Params) -> None:
        sq, cq = list(params.sq_off), list(params.cq_off)
        array_end = sq[6] + params.sq_entries * _U32.size
        results_end = cq[5] + params.cq_entries * _RESULT_BYTES
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        self._ring = mmap.mmap(self._fd, max(array_end, results_end), flags, offset=_RING_AT)
        self._entries = mmap.mmap(
            self._fd, params.sq_entries * _ENTRY_BYTES, flags, offset=_ENTRIES_AT
        )
        self._sq_tail, self._sq_array = sq[1], sq[6]
        self._cq_head, self._cq_tail, self._results = cq[0], cq[1], cq[5]
        (self._sq_mask,) = _U32.unpack_from(self._ring, sq[2])
        (self._cq_mask,) = _U32.unpack_from(self._ring, cq[2])

    def fileno(self) -> int:
        """Becomes readable when there is a result to take."""
        return self._event

    def submit(self, fd: int, data: bytes, at: int) -> None:
        """Begin to write ``data`` to ``fd`` at ``at``; its result says that it is on disk.

        Raises OSError when it was not begun.
        """
        assert self._data is None, "one write at a time"
        slot = self._tail & self._sq_mask
        address = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
        _ENTRY.pack_into(
            self._entries,
            slot * _ENTRY_BYTES,
            *(_WRITE, 0, 0, fd, at, address, len(data), _DSYNC, self._tail),
        )
        _U32.pack_into(self._ring, self._sq_array + slot * _U32.size, slot)
        # System calls order memory: the kernel sees the entry when it is told of it.
        _U32.pack_into(self._ring, self._sq_tail, (self._tail + 1) & 0xFFFFFFFF)
        self._data = data
        try:
            self._call(_ENTER, self._fd, 1, 0, 0, None, 0)
        except OSError:
            _U32.pack_into(self._ring, self._sq_tail, self._tail & 0xFFFFFFFF)
            self._data = None
            raise
        self._tail += 1

    def take(self) -> int | None:
        """The result of the write: bytes on disk, or minus an errno. None: not there yet."""
        try:
            os.eventfd_read(self._event)
        except BlockingIOError:
            return None
        (tail,) = _U32.unpack_from(self._ring, self._cq_tail)
        if tail == self._head & 0xFFFFFFFF:
            return None
        place = self._results + (self._head & self._cq_mask) * _RESULT_BYTES
        _, result, _ = _RESULT.unpack_from(self._ring, place)
        self._head += 1
        _U32.pack_into(self._ring, self._cq_head, self._head & 0xFFFFFFFF)
        self._data = None
        return int(result)

    def close(self) -> None:
        """Wait for a write that is under way, then give everything back. Twice is fine."""
        if self._fd < 0:
            return
        if self._data is not None:
            self._call(_ENTER, self._fd, 0, 1, _GET_EVENTS, None, 0)
            self._data = None
        fd, self._fd = self._fd, -1
        self._ring.close()
        self._entries.close()
        os.close(self._event)
        os.close(fd)

    def _call(self, number: int, *arguments: object) -> int:
        while True:
            # Bare integers would be passed as 32-bit ones.
            longs = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
            answer = int(self._syscall(ctypes.c_long(number), *longs))
            if answer >= 0:
                return answer
            error = ctypes.get_errno()
            if error != errno.EINTR:
                raise OSError(error, os.strerror(error))
