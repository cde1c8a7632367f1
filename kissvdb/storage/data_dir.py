"""The data directory: who may use it, and what it says of itself.

::

    LOCK        flock()ed by the process that uses the directory; holds its pid
    meta.json   format_version, database_id, offset_floor, epoch, epoch_floor, has_sql
    log/        the event log
    keys.bin, keys.salt
    state-<n>.db
    sql.db      the user's own
    .scratch-*  copies that a backup reads from; gone with it, or at the next start
"""

import fcntl
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from kissvdb.epochs import floor_above, new_epoch
from kissvdb.errors import ConfigError, Damaged, DirectoryInUse
from kissvdb.errors import NewerFormat as NewerFormat

if TYPE_CHECKING:
    from types import TracebackType

FORMAT_VERSION = 1

LOCK_NAME = "LOCK"
META_NAME = "meta.json"
SCRATCH_PREFIX = ".scratch-"
BACKUP_NAME = "backup.json"
"""In a backup: the offset that it is consistent at. A database has none."""


class Meta(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """The content of meta.json. Offsets up to ``offset_floor`` are never given away again.

    ``epoch`` began after offset ``epoch_floor``; "" in a directory of an older kissvdb.
    """

    format_version: int
    database_id: str
    offset_floor: int = 0
    epoch: str = ""
    epoch_floor: int = 0
    has_sql: bool = False
    """Whether there is a sql.db: one that is missing is then lost."""

    @classmethod
    def new(cls) -> "Meta":
        """That of a new database."""
        return cls(FORMAT_VERSION, str(uuid.uuid4()), 0, new_epoch())

    def next_epoch(self, head: int) -> "Meta":
        """The same in a new epoch, above whatever may have been given away beyond ``head``."""
        floor = floor_above(max(head, self.offset_floor), time.time_ns() // 1_000_000)
        return msgspec.structs.replace(
            self, offset_floor=floor, epoch=new_epoch(), epoch_floor=floor
        )


class _Backup(msgspec.Struct, frozen=True):
    offset: int


def lock(path: Path, *, shared: bool = False) -> int | None:
    """Lock the directory for this process; returns the descriptor whose closing unlocks it.

    ``shared`` keeps users out but not other readers, and writes nothing: None when there is no
    lock file, as in a backup. Raises DirectoryInUse, which names the other process.
    """
    flags = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT
    try:
        fd = os.open(path / LOCK_NAME, flags | os.O_CLOEXEC, 0o640)
    except FileNotFoundError:
        if shared:
            return None
        raise
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        if not shared:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise DirectoryInUse(
            f"{path} is in use by process {holder or 'unknown'}: stop it, or name another "
            "directory with --data-dir"
        ) from error
    except BaseException:
        os.close(fd)
        raise
    return fd


def read_meta(path: Path) -> Meta | None:
    """The directory's meta.json; None if it has none. Raises Damaged, also for a later format."""
    file = path / META_NAME
    try:
        meta = msgspec.json.decode(file.read_bytes(), type=Meta)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise Damaged(
            f"{file} is damaged ({error}): restore it from a backup, or run "
            "`kissvdb check --repair` to write a new one"
        ) from error
    if meta.format_version > FORMAT_VERSION:
        raise NewerFormat(
            f"{path} has format version {meta.format_version}, this kissvdb reads "
            f"{FORMAT_VERSION}: start the kissvdb that wrote it, or a later one"
        )
    return meta


def backup_offset(path: Path) -> int | None:
    """The offset that a backup is consistent at; None when it is no backup. Raises Damaged."""
    file = path / BACKUP_NAME
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Backup).offset
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise Damaged(f"{file} does not name an offset ({error}): take the backup again") from error


def write_meta(path: Path, meta: Meta) -> None:
    """Replace meta.json; a crash leaves the old one or the new one."""
    temporary = path / (META_NAME + ".tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        with os.fdopen(fd, "wb", closefd=False) as out:
            out.write(msgspec.json.format(msgspec.json.encode(meta), indent=2) + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(temporary, path / META_NAME)
    sync_directory(path)


def sync_directory(path: Path) -> None:
    """Make creations, removals and renames in a directory survive a loss of power."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class DataDir:
    """A data directory this process holds the lock of; a context manager that gives it back."""

    def __init__(self, path: Path, meta: Meta, lock_fd: int) -> None:
        self.path = path
        self._meta = meta
        self._lock_fd = lock_fd

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "DataDir":
        """Lock a directory; make it, its meta.json and its log directory if they are not there.

        One that is a backup begins a new epoch and is no backup any more.

        Raises ConfigError when the path cannot be a directory, DirectoryInUse (names the other
        process), Damaged (unreadable meta.json, or one of a later format) and OSError.
        """
        directory = Path(path).absolute()
        if not directory.is_dir():
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise ConfigError(
                    f"storage.data_dir {str(path)!r} cannot be a directory: {error.filename} is a "
                    "file; name another with --data-dir"
                ) from None
            sync_directory(directory.parent)
        lock_fd = lock(directory)
        assert lock_fd is not None
        try:
            meta = read_meta(directory)
            if meta is None:
                meta = Meta.new()
                write_meta(directory, meta)
            elif not meta.epoch:
                meta = msgspec.structs.replace(meta, epoch=new_epoch())
                write_meta(directory, meta)
            head = backup_offset(directory)
            if head is not None:
                # Restored: what was written after the backup is no more, and clients know of it.
                meta = meta.next_epoch(head)
                write_meta(directory, meta)
                (directory / BACKUP_NAME).unlink()
            for left in directory.glob(f"{SCRATCH_PREFIX}*"):
                # A crash broke off what it was for.
                shutil.rmtree(left, ignore_errors=True)
            (directory / "log").mkdir(exist_ok=True)
            sync_directory(directory)
        except BaseException:
            os.close(lock_fd)
            raise
        return cls(directory, meta, lock_fd)

    @property
    def database_id(self) -> str:
        """A UUID given once, when the directory was made."""
        return self._meta.database_id

    @property
    def offset_floor(self) -> int:
        """The next offset must be above this."""
        return self._meta.offset_floor

    @property
    def epoch(self) -> str:
        """Which history its offsets are places in."""
        return self._meta.epoch

    @property
    def epoch_floor(self) -> int:
        """The offset that the epoch began after."""
        return self._meta.epoch_floor

    @property
    def log_dir(self) -> Path:
        """The directory of the event log; it exists."""
        return self.path / "log"

    def state_path(self, shard: int) -> Path:
        """The SQLite file of a state shard."""
        return self.path / f"state-{shard}.db"

    def set_offset_floor(self, offset: int) -> None:
        """Raise the floor, durably; a lower one than now changes nothing."""
        if offset > self._meta.offset_floor:
            meta = msgspec.structs.replace(self._meta, offset_floor=offset)
            write_meta(self.path, meta)
            self._meta = meta

    @property
    def has_sql(self) -> bool:
        """Whether its SQL database was ever made."""
        return self._meta.has_sql

    def note_sql(self) -> None:
        """It has one now, durably."""
        if not self._meta.has_sql:
            meta = msgspec.structs.replace(self._meta, has_sql=True)
            write_meta(self.path, meta)
            self._meta = meta

    @contextmanager
    def scratch(self, names: Iterable[str]) -> Iterator[Path]:
        """A directory for SQLite files of these names, which are gone after the block.

        They are removed without a free descriptor; what a crash leaves, by the next `open`.
        """
        path = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=self.path))
        try:
            yield path
        finally:
            for name, suffix in product(names, ("", "-journal", "-wal", "-shm")):
                (path / f"{name}{suffix}").unlink(missing_ok=True)
            path.rmdir()

    def close(self) -> None:
        """Let go of the lock. Twice is fine."""
        if self._lock_fd >= 0:
            fd, self._lock_fd = self._lock_fd, -1
            os.close(fd)

    def __enter__(self) -> "DataDir":
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: BaseException | None,
        trace: "TracebackType | None",
    ) -> None:
        self.close()
