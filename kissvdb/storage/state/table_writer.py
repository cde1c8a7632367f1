"""Writing a state table: many memtables in one transaction. For a thread, one at a time.

A commit costs no fsync (WAL mode, synchronous=NORMAL): the log has the records, and after a crash
the table stands at its applied offset and the log replays the rest.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

import apsw
from msgspec import structs

from kissvdb.epochs import Boundary, offset_before
from kissvdb.errors import PersistenceFailed
from kissvdb.records import Item, Operation

BUSY_MS_MAX = 5000
OPERATIONS_KEPT = 200_000
"""Offsets for which an ``op_id`` is remembered; older ones are forgotten."""

PAGE_BYTES = 4096
_WAL_HEADER_BYTES = 24

_REFUSALS = (
    apsw.FullError,
    apsw.IOError,
    apsw.BusyError,
    apsw.ReadOnlyError,
    # No descriptor, or no memory.
    apsw.CantOpenError,
    apsw.NoMemError,
)
# Rows in one statement: SQLite then works without the interpreter, which the event loop needs.
_ROWS = 64
_ROW = "(?,?,?,?,?)"
_PUT = (
    "INSERT INTO kv VALUES {} ON CONFLICT(key) DO UPDATE SET value=excluded.value,"
    " revision=excluded.revision, off=excluded.off, expires_at=excluded.expires_at"
)
_PUT_ONE = _PUT.format(_ROW)
_PUT_MANY = _PUT.format(",".join([_ROW] * _ROWS))
_DELETE = "DELETE FROM kv WHERE key = ?"
_FORGET = (
    "DELETE FROM ops WHERE op_id IN (SELECT op_id FROM ops WHERE off < ? ORDER BY off LIMIT ?)"
)
_REMEMBER = "INSERT OR REPLACE INTO ops VALUES (?,?,?,?,?,?,?)"


class TableWriter:
    """The writing connection of one table; of one in memory, the only connection."""

    def __init__(self, db: Any) -> None:
        self._db = db
        self.wal_pages = 0
        self.written_bytes = 0
        """To the WAL and, at most, from there to the file."""
        self.boundaries: Sequence[Boundary] = ()
        """Where the log has skipped offsets: they are no distance."""
        db.set_wal_hook(self._note_wal_pages)
        self.applied_offset: int = db.execute("SELECT v FROM meta WHERE k='applied'").get

    def store_steps(
        self,
        changes: Iterable[Sequence[tuple[str, Item | None]]],
        operations: Mapping[str, Operation],
        applied_offset: int,
    ) -> Iterator[None]:
        """Bring keys (None: gone) and operations to where they are at ``applied_offset``. The
        ``changes`` come in the order of the tree, so that neighbours share pages.

        All in one transaction, in steps of some 100 us: it is done when the iterator ends, and
        undone when it is closed before. The same may be stored again. Raises PersistenceFailed
        when the disk refuses it.
        """
        db = self._db
        kept_after = offset_before(applied_offset, OPERATIONS_KEPT, self.boundaries)
        with refusals("store keys"), db:
            for piece in changes:
                for start in range(0, len(piece), _ROWS):
                    _store_some(db, piece[start : start + _ROWS])
                    yield
                yield
            remembered = iter(operations.items())
            while some := list(islice(remembered, _ROWS)):
                db.executemany(_REMEMBER, [(op_id, *structs.astuple(each)) for op_id, each in some])
                # Twice as many as come: the table never outgrows what it is to keep for long.
                db.execute(_FORGET, (kept_after, 2 * _ROWS))
                yield
            db.execute("UPDATE meta SET v = ? WHERE k = 'applied'", (applied_offset,))
        self.applied_offset = applied_offset

    def claim_shards(self, shards: int, *, free: bool) -> int:
        """Note how many shards the keys are spread over; returns the number that holds.

        With ``free`` nothing was ever written and the new number holds, else the noted one.
        """
        noted: int = self._db.execute("SELECT v FROM meta WHERE k='shards'").get
        if noted != shards and free:
            self._db.execute("UPDATE meta SET v = ? WHERE k='shards'", (shards,))
            return shards
        return noted

    def checkpoint(self) -> bool:
        """Move the WAL into the database file and fsync it. Returns whether all is moved.

        The WAL then starts again from its beginning, unless a reader still needs it. Raises
        PersistenceFailed when the disk refuses it.
        """
        with refusals("make keys durable"):
            frames, moved = _move(self._db)
        self.written_bytes += max(0, moved) * PAGE_BYTES
        if frames == moved:
            self.wal_pages = 0
        return frames == moved

    def settings(self) -> dict[str, Any]:
        """The pragmas that decide what a commit costs, as SQLite has them."""
        names = ("journal_mode", "synchronous", "wal_autocheckpoint")
        more = ("cache_size", "temp_store", "page_size")
        return {name: self._db.execute(f"PRAGMA {name}").get for name in (*names, *more)}

    def close(self) -> None:
        self._db.close()

    def _note_wal_pages(self, _db: Any, _name: str, pages: int) -> int:
        new = pages - self.wal_pages if pages > self.wal_pages else pages
        self.written_bytes += new * (PAGE_BYTES + _WAL_HEADER_BYTES)
        self.wal_pages = pages
        return apsw.SQLITE_OK


@contextmanager
def refusals(action: str) -> Iterator[None]:
    """What SQLite says when the disk has no room or fails. What was begun is rolled back."""
    try:
        yield
    except apsw.Error as error:
        # SQLite may have rolled back by itself; that there is nothing to roll back comes on top.
        refusal = error if isinstance(error, _REFUSALS) else error.__context__
        if not isinstance(refusal, _REFUSALS):
            raise
        raise PersistenceFailed(
            f"SQLite could not {action} ({refusal}); the log has them: make room, raise the limit "
            "of open files, or mend the disk"
        ) from error


def _store_some(db: Any, changes: Sequence[tuple[str, Item | None]]) -> None:
    gone = [(key,) for key, item in changes if item is None]
    if gone:
        db.executemany(_DELETE, gone)
    rows = [
        (key, item.value.decode(), item.revision, item.offset, item.expires_at_ms)
        for key, item in changes
        if item is not None
    ]
    if len(rows) == _ROWS:
        db.execute(_PUT_MANY, tuple(chain.from_iterable(rows)))
    elif rows:
        db.executemany(_PUT_ONE, rows)


def _move(db: Any) -> tuple[int, int]:
    """One passive checkpoint: (frames in the WAL, frames moved). SQLite's busy timeout does not
    cover the lock that checkpoints exclude each other with, so that one is waited for here."""
    deadline = time.monotonic() + BUSY_MS_MAX / 1000
    while True:
        try:
            frames, moved = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            if time.monotonic() > deadline:
                return 1, 0
            time.sleep(0.005)
        else:
            return frames, moved
