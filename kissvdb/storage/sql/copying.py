"""What others than the owner do to the file, on connections of their own. For a thread."""

from contextlib import ExitStack, closing
from pathlib import Path

import apsw

from kissvdb.storage.sql.connecting import BUSY_MS_MAX, read_offset, translated


def copy(path: Path, target: Path) -> int:
    """Copy the database at one applied offset while its owner goes on; returns that offset.

    ``target`` becomes a plain SQLite file that any tool opens, without a WAL. Raises
    PersistenceFailed and Damaged.
    """
    with ExitStack() as stack, translated(f"copy the SQL database to {target}"):
        source = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        stack.callback(source.close)
        made = apsw.Connection(str(target))
        stack.callback(made.close)
        with source:
            applied = read_offset(source)
            with made.backup("main", source, "main") as steps:
                steps.step(-1)
        made.execute("PRAGMA journal_mode=DELETE").fetchall()
        return applied


def move_wal(path: Path) -> None:
    """Move what can be moved of the WAL into the database file, while its owner goes on."""
    with translated("make SQL rows durable"), closing(apsw.Connection(str(path))) as db:
        db.set_busy_timeout(BUSY_MS_MAX)
        try:
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            # Somebody else does it.
            return
