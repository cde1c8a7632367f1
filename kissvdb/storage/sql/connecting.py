"""Connections to the user's SQL database, and the offset in its header.

The database is the user's own: it has none of our tables. Up to which offset of the log it holds
everything is in the file's header, in the two numbers that SQLite leaves to applications, and so
part of the same transaction: ``application_id`` has the upper 32 bits, ``user_version`` the lower.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from kissvdb.errors import Damaged, PersistenceFailed

BUSY_MS_MAX = 5000
VALUE_BYTES_MAX = 1024 * 1024
"""A longer text, blob or row is not written: nobody could read it."""

_PRAGMAS = """
PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous={};
PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-4096; PRAGMA temp_store=MEMORY;
"""
_REFUSALS = (
    apsw.FullError,
    apsw.IOError,
    apsw.BusyError,
    apsw.ReadOnlyError,
    # No descriptor, or no memory.
    apsw.CantOpenError,
    apsw.NoMemError,
)
_DAMAGE = (apsw.CorruptError, apsw.NotADBError)


def count_no_memory() -> None:
    """Have SQLite allocate without counting how much it has: that takes a lock which all its
    threads share, and one that holds it may wait for a core. For a process that has nothing of
    SQLite open: where others in it use SQLite, all stays as it is."""
    if apsw.connections():
        return
    apsw.shutdown()
    apsw.config(apsw.SQLITE_CONFIG_MEMSTATUS, False)
    apsw.initialize()


def connect(path: Path, *, durable: bool) -> Any:
    """A connection that writes. ``durable``: the file is there to stay.

    Raises Damaged and PersistenceFailed.
    """
    with translated(f"open {path}"):
        db = apsw.Connection(str(path))
        try:
            db.set_busy_timeout(BUSY_MS_MAX)
            # Read to the end: a script stops at the first pragma that answers with a row.
            db.execute(_PRAGMAS.format("NORMAL" if durable else "OFF")).fetchall()
            for switch in (apsw.SQLITE_DBCONFIG_DQS_DML, apsw.SQLITE_DBCONFIG_DQS_DDL):
                db.config(switch, 0)
            db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
            # What is no database, or whose schema cannot be read, shows here.
            db.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except BaseException:
            db.close()
            raise
    return db


def read_only(file: Path) -> Any:
    """A SQLite file of any kind, to be read and left as it is. Raises apsw.Error."""
    wal = file.with_name(file.name + "-wal")
    # Without a WAL to read, "immutable" keeps SQLite from making one: a check leaves no file.
    mode = "mode=ro" if wal.exists() and wal.stat().st_size else "immutable=1"
    return apsw.Connection(
        f"{file.absolute().as_uri()}?{mode}", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )


def read_offset(db: Any) -> int:
    """The applied offset, as the connection's transaction sees it."""
    high: int = db.execute("PRAGMA application_id").get
    low: int = db.execute("PRAGMA user_version").get
    return (high << 32) | (low & 0xFFFFFFFF)


def write_offset(db: Any, offset: int, former: int) -> None:
    """Set the applied offset, within a transaction. ``former``: what it is now."""
    low = offset & 0xFFFFFFFF
    signed = low - (1 << 32) if low >= 1 << 31 else low
    db.execute(f"PRAGMA user_version={signed}", can_cache=False)
    if offset >> 32 != former >> 32:
        db.execute(f"PRAGMA application_id={offset >> 32}", can_cache=False)


@contextmanager
def translated(action: str) -> Iterator[None]:
    """What SQLite says when the disk has no room or fails, or the file is damaged, in our words."""
    try:
        yield
    except _DAMAGE as error:
        raise Damaged(
            f"SQLite could not {action}: the SQL database is damaged ({error}); stop the server "
            "and move sql.db away: if the log still reaches back to offset 1 it is made anew from "
            "it, else restore a backup"
        ) from error
    except _REFUSALS as error:
        raise PersistenceFailed(
            f"SQLite could not {action} ({error}): make room, raise the limit of open files, or "
            "mend the disk"
        ) from error
