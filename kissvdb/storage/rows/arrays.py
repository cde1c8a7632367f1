"""Arrays that grow in place in files: the rows of one collection, memory-mapped and shared.

A file is a header of HEADER_BYTES and then the array. Rows are appended through the mapping, and
``sync`` makes them durable. A larger mapping replaces a smaller one without a copy, and readers
keep the one they have. Space is allocated before it is mapped, so that a full disk is an error
here and not a signal at some later store.

Without a directory the files are anonymous memory, of the same form.
"""

import errno
import fcntl
import mmap
import os
import platform
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kissvdb.errors import Damaged
from kissvdb.storage.disk import refusal_of

Array = npt.NDArray[Any]

HEADER_BYTES = 4096
"""A page, so that rows start on one."""
FORMAT = 1
SUFFIX = ".rows"

_MAGIC = b"KISSROWS"
# Magic, format, width, dtype; then the CRC-32 of these.
_HEADER = struct.Struct("<8sII8s")
_CRC = struct.Struct("<I")
_GROWTH = 1.25
_F_FULLFSYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)
_memfd_create: Callable[[str], int] | None = getattr(os, "memfd_create", None)
# Linux counts what is stored through a mapping as written to the file.
_FSYNC_SEES_MAPPINGS = platform.system() == "Linux"


class _Home:
    """The directory that all generations share."""

    __slots__ = ("directory",)

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory


class RowArrays:
    """The growing arrays of one generation of a collection. One writer for each array.

    A vacuum writes a new generation beside the old one.
    """

    def __init__(
        self, directory: Path | _Home | None, generation: int, *, written: Iterable[str] = ()
    ) -> None:
        """``written``: arrays whose files are there, and hold what will be asked for first."""
        self.generation = generation
        self._written = set(written)
        self._begins_empty = False
        self._unfit: set[str] = set()
        self._home = directory if isinstance(directory, _Home) else _Home(directory)
        # Of anonymous memory the descriptor is all there is; files are opened when needed, since
        # each mapping holds a descriptor of its own already.
        self._anonymous: dict[str, int] = {}
        self._mappings: dict[str, mmap.mmap] = {}
        self._arrays: dict[str, Array] = {}

    def array(self, name: str, dtype: str, width: int, rows: int) -> Array:
        """An array [at least ``rows``, width], or [at least ``rows``] for width 0, C-contiguous.

        It begins with what the file holds; what was never written is zero. One handed out before
        stays as it is. Raises PersistenceFailed when there is no room for it, and Damaged when
        the file is of another form.
        """
        held = self._arrays.get(name)
        if held is None or held.shape[0] < rows:
            held = self._arrays[name] = self._mapped(name, dtype, width, rows)
        return held

    def successor(self) -> "RowArrays":
        """The arrays of the next generation, which begin empty."""
        made = RowArrays(self._home, self.generation + 1)
        made._begins_empty = True
        return made

    def move(self, directory: Path) -> None:
        """Say that the directory was renamed, for this generation and the next ones. Nobody may ask
        for an array meanwhile."""
        self._home.directory = directory

    @property
    def _directory(self) -> Path | None:
        return self._home.directory

    def file_name(self, name: str) -> str:
        """The name of an array's file in the directory."""
        return f"{name}.{self.generation}{SUFFIX}"

    def names(self) -> list[str]:
        """The names of the arrays in use."""
        return sorted(self._arrays)

    def nbytes(self) -> int:
        """Bytes of all arrays: what is mapped, or of those in memory what was written."""
        if self._directory is not None:
            return sum(map(len, list(self._mappings.values())))
        size = 0
        for fd in list(self._anonymous.values()):
            try:
                size += 512 * os.fstat(fd).st_blocks
            except OSError:
                # It was let go of meanwhile.
                continue
        return size

    def sync(self) -> None:
        """Make all rows written so far survive a loss of power; for a thread. Raises OSError."""
        if self._directory is None:
            return
        for name, mapping in list(self._mappings.items()):
            with self._file(name) as fd:
                if _FSYNC_SEES_MAPPINGS:
                    os.fdatasync(fd)
                    continue
                mapping.flush()
                if _F_FULLFSYNC is not None:
                    fcntl.fcntl(fd, _F_FULLFSYNC)

    def open_file(self, name: str) -> tuple[int, int] | None:
        """A descriptor of an array's file, for reading, and the byte where the array begins;
        whoever asks closes it. None if it lies in memory. Raises OSError."""
        if self._directory is None:
            return None
        path = self._directory / self.file_name(name)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC), HEADER_BYTES

    def forget(self, name: str) -> None:
        """Let go of an array; its readers keep their mapping. The file stays, but nothing is
        expected of it."""
        self._written.discard(name)
        self._arrays.pop(name, None)
        self._mappings.pop(name, None)
        fd = self._anonymous.pop(name, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Let go of all arrays."""
        for name in list(self._mappings):
            self.forget(name)

    def _mapped(self, name: str, dtype: str, width: int, rows: int) -> Array:
        row_bytes = np.dtype(dtype).itemsize * max(width, 1)
        header = _header(dtype, width)
        try:
            self._make_way(name, header)
            with self._file(name) as fd:
                size = os.fstat(fd).st_size
                need = HEADER_BYTES + rows * row_bytes
                self._check_whole(name, size, need)
                if size < HEADER_BYTES:
                    os.pwrite(fd, header, 0)
                if size < need:
                    size = max(need, int(size * _GROWTH))
                    self._allocate(fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE, need)
                    size = os.fstat(fd).st_size
                mapping = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError as error:
            raise refusal_of(error, f"no room for rows in {self._path(name)}") from error
        if mapping[: len(header)] != header:
            self._unfit.add(name)
            raise Damaged(f"{self._path(name)} does not begin as an array of this collection does")
        self._mappings[name] = mapping
        count = (size - HEADER_BYTES) // row_bytes
        flat = np.frombuffer(mapping, dtype, count * max(width, 1), HEADER_BYTES)
        return flat.reshape(count, width) if width else flat

    def _make_way(self, name: str, header: bytes) -> None:
        """Remove a file of another form: that of a vacuum that was given up, or what was found
        damaged, and is made anew now."""
        if self._directory is None or name in self._mappings:
            return
        if not (self._begins_empty or name in self._unfit):
            return
        path = self._directory / self.file_name(name)
        with suppress(FileNotFoundError):
            with path.open("rb") as file:
                found = file.read(len(header))
            if found not in (b"", header):
                path.unlink()

    def _check_whole(self, name: str, size: int, need: int) -> None:
        """Raises Damaged if a file that was written is cut off."""
        if name in self._written:
            self._written.remove(name)
            if size < need:
                raise Damaged(f"{self._path(name)} is cut off: {size} bytes, {need} are needed")

    @contextmanager
    def _file(self, name: str) -> Iterator[int]:
        if self._directory is None:
            if name not in self._anonymous:
                self._anonymous[name] = _anonymous(name)
            yield self._anonymous[name]
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(self._directory / self.file_name(name), flags, 0o640)
        try:
            yield fd
        finally:
            os.close(fd)

    def _allocate(self, fd: int, size: int, need: int) -> None:
        if self._directory is None or not hasattr(os, "posix_fallocate"):
            os.ftruncate(fd, size)
            return
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                os.posix_fallocate(fd, 0, need)
            elif error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
                # Not every file system can promise space.
                os.ftruncate(fd, size)
            else:
                raise

    def _path(self, name: str) -> str:
        if self._directory is None:
            return f"memory ({name})"
        return str(self._directory / self.file_name(name))


def _header(dtype: str, width: int) -> bytes:
    head = _HEADER.pack(_MAGIC, FORMAT, width, dtype.encode())
    return head + _CRC.pack(zlib.crc32(head))


def _anonymous(name: str) -> int:
    if _memfd_create is not None:
        return int(_memfd_create(f"kissvdb-{name}"))
    fd, path = tempfile.mkstemp()
    os.unlink(path)
    return fd
