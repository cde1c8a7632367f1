"""The file of the user's SQL database, as its one writer has it. For a thread, one at a time."""

import os
import shutil
import tempfile
import time
from pathlib import Path

import apsw

from kissvdb.errors import PersistenceFailed
from kissvdb.storage.sql.connecting import (
    BUSY_MS_MAX,
    VALUE_BYTES_MAX,
    connect,
    read_offset,
    translated,
    write_offset,
)

FILE_NAME = "sql.db"
_ROOM_BYTES_MIN = 4 * 1024 * 1024
"""Free on the disk: the WAL grows by whole pages, also of indexes."""
_SHARED_MEMORY = Path("/dev/shm")
_TEMPORARY_PREFIX = "kissvdb-sql-"


class SqlFile:
    """The writing connection. Raises Damaged and PersistenceFailed.

    A commit costs no fsync: the log has the changes, and after a crash the file stands at its
    applied offset and the log replays the rest.
    """

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path = path
        self._durable = durable
        self.wal_pages = 0
        self.db = db = connect(path, durable=durable)
        db.limit(apsw.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
        db.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)
        db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        db.set_wal_hook(self._note_wal_pages)
        self.applied_offset = read_offset(db)
        """The offset that the committed content is at."""

    def begin(self) -> None:
        with translated("begin a transaction"):
            self.db.execute("BEGIN IMMEDIATE")

    def commit(self, offset: int) -> None:
        """Commit the transaction, as what the log holds up to ``offset``."""
        write_offset(self.db, offset, self.applied_offset)
        self.db.execute("COMMIT")
        self.applied_offset = offset

    def check_room(self, bytes_logged: int) -> None:
        """Make sure, before the log has it, that what is open can be committed: a COMMIT that fails
        then ends the process. Raises PersistenceFailed."""
        disk = os.statvfs(self.path.parent)
        if disk.f_bavail * disk.f_frsize < _ROOM_BYTES_MIN + 4 * bytes_logged:
            raise PersistenceFailed(
                f"there is too little room beside {self.path} to commit SQL: nothing was written"
            )

    def rollback(self) -> None:
        """Undo the transaction, if SQLite has not."""
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")

    def advance(self, offset: int) -> None:
        """Note that there is nothing for it in the log up to ``offset``."""
        if offset > self.applied_offset:
            self.begin()
            with translated("note its offset"):
                self.commit(offset)

    def checkpoint(self) -> None:
        """Move the WAL into the database file; afterwards what is committed is durable."""
        with translated("make SQL rows durable"):
            frames, moved = self._move()
            if frames == moved:
                self.wal_pages = 0
                # The first commit after this begins the WAL anew, which takes an fsync: here, in a
                # thread, and not where others wait for it.
                self.db.execute("BEGIN IMMEDIATE")
                self.commit(self.applied_offset)
            elif self._durable:
                # A reader still needs the WAL; it counts when it is on the disk.
                _sync(Path(f"{self.path}-wal"))

    def close(self) -> None:
        self.db.close()

    def _move(self) -> tuple[int, int]:
        """SQLite's busy timeout does not cover the lock that checkpoints exclude each other
        with."""
        deadline = time.monotonic() + BUSY_MS_MAX / 1000
        while True:
            try:
                frames, moved = self.db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.BusyError:
                if time.monotonic() > deadline:
                    return 1, 0
                time.sleep(0.005)
            else:
                return frames, moved

    def _note_wal_pages(self, _db: object, _name: str, pages: int) -> int:
        self.wal_pages = pages
        return int(apsw.SQLITE_OK)


class TemporaryPlace:
    """A directory in memory, where there is such, for the database of a server that keeps nothing.

    What processes that are dead have left is removed.
    """

    def __init__(self) -> None:
        usable = _SHARED_MEMORY.is_dir() and os.access(_SHARED_MEMORY, os.W_OK | os.X_OK)
        root = _SHARED_MEMORY if usable else Path(tempfile.gettempdir())
        for left in root.glob(f"{_TEMPORARY_PREFIX}*"):
            if not _is_alive(left.name.removeprefix(_TEMPORARY_PREFIX).partition("-")[0]):
                shutil.rmtree(left, ignore_errors=True)
        self.path = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY_PREFIX}{os.getpid()}-", dir=root))

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
