"""The seam under the event log: the few file operations it needs, bound to one directory.

The log reaches the disk through these two classes only, so that a test can put a disk in their
place that loses or tears every write that was not made durable. The one exception is io_uring,
which is given a file's descriptor.

A durable write is one system call where the kernel offers it (Linux: ``pwritev`` with
``RWF_DSYNC``): it measures like ``pwrite`` + ``fdatasync`` but gives the interpreter lock away
once instead of twice.
"""

import errno
import fcntl
import os
from pathlib import Path

from kissvdb.errors import OUT_OF_RESOURCES, PersistenceFailed

_DSYNC: int = getattr(os, "RWF_DSYNC", 0)
_F_FULLFSYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)


def refusal_of(error: OSError, what: str) -> PersistenceFailed:
    """The refusal that ``error`` means, and what to do about it."""
    advice = "make room on the disk"
    if error.errno in OUT_OF_RESOURCES:
        advice = "raise the limit of open files (ulimit -n), or close connections"
    return PersistenceFailed(f"{what} ({error.strerror}): {advice} and try again")


class DiskFile:
    """An open file, read and written by position. Every method may raise OSError."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._dsync = _DSYNC

    def fileno(self) -> int:
        """The descriptor, for whoever writes in another way."""
        return self._fd

    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._fd).st_size

    def pread(self, length: int, at: int) -> bytes:
        """Up to ``length`` bytes from position ``at``; fewer only at the end of the file."""
        data = os.pread(self._fd, length, at)
        if len(data) == length or not data:
            return data
        parts = [data]
        at += len(data)
        length -= len(data)
        while length and (data := os.pread(self._fd, length, at)):
            parts.append(data)
            at += len(data)
            length -= len(data)
        return b"".join(parts)

    def write(self, data: bytes, at: int) -> None:
        """Write all of ``data`` at ``at``; a crash may take any part of it until ``sync``."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, at)
            at += written
            view = view[written:]

    def write_durable(self, data: bytes, at: int) -> None:
        """Write all of ``data`` at ``at``; on return it survives a loss of power."""
        if not self._dsync:
            self.write(data, at)
            self.sync()
            return
        view = memoryview(data)
        while view:
            try:
                written = os.pwritev(self._fd, [view], at, self._dsync)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                    raise
                # Some emulated kernels refuse the flag; they are asked once.
                self._dsync = 0
                self.write(bytes(view), at)
                self.sync()
                return
            at += written
            view = view[written:]

    def sync(self) -> None:
        """Make everything written so far, and the file's size, survive a loss of power."""
        if _F_FULLFSYNC is not None:
            # On macOS fsync stops at the drive's cache.
            fcntl.fcntl(self._fd, _F_FULLFSYNC)
        else:
            os.fdatasync(self._fd)

    def truncate(self, length: int) -> None:
        """Set the size; not durable before ``sync``."""
        os.ftruncate(self._fd, length)

    def close(self) -> None:
        """Close the file; what was not synced may be lost."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class Disk:
    """The files of one directory, by name. Every method may raise OSError."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self._held: int | None = None

    def hold(self) -> None:
        """Keep the directory open until `release`. Then `remove` and `sync_dir` need no free
        descriptor: what was begun with the last one can be taken back."""
        if self._held is None:
            self._held = os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC)

    def release(self) -> None:
        """Let the directory go."""
        if self._held is not None:
            held, self._held = self._held, None
            os.close(held)

    def path(self, name: str) -> str:
        """The file's full path, for messages."""
        return str(self.directory / name)

    def names(self) -> list[str]:
        """The names of all files, sorted."""
        return sorted(os.listdir(self.directory))

    def open(self, name: str, *, create: bool = False, read_only: bool = False) -> DiskFile:
        """Open a file; ``create`` makes it and fails if it is there already."""
        flags = os.O_RDONLY if read_only else os.O_RDWR
        if create:
            flags |= os.O_CREAT | os.O_EXCL
        return DiskFile(os.open(self.directory / name, flags | os.O_CLOEXEC, 0o640))

    def remove(self, name: str) -> None:
        """Remove a file, if it is there; not durable before ``sync_dir``."""
        (self.directory / name).unlink(missing_ok=True)

    def rename(self, old: str, new: str) -> None:
        """Rename a file over whatever had the new name; not durable before ``sync_dir``."""
        os.replace(self.directory / old, self.directory / new)

    def sync_dir(self) -> None:
        """Make creations, removals and renames survive a loss of power."""
        if self._held is not None:
            os.fsync(self._held)
            return
        fd = os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
