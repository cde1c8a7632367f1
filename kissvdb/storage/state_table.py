"""A shard's keys in SQLite: a view of the log that knows the offset it has applied.

WAL mode with synchronous=NORMAL: a commit costs no fsync, because the log already has the
records; after a crash the file holds the state at ``applied`` and the log replays the rest.
"""

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import apsw

from kissvdb.errors import Damaged
from kissvdb.records import EventPublished, Item, KeyDeleted, KeyWritten, Operation, Record

ROWS_PER_TRANSACTION = 256
LIST_BYTES_MAX = 4 * 1024 * 1024
BUSY_MS_MAX = 5000
OPERATIONS_KEPT = 200_000
"""Offsets for which an ``op_id`` is remembered; older ones are forgotten."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kv(
    key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL, revision INT NOT NULL,
    off INT NOT NULL, expires_at INT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS kv_exp ON kv(expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS ops(
    op_id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
    off INT NOT NULL, revision INT NOT NULL, expires_at INT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ops_off ON ops(off);
CREATE TABLE IF NOT EXISTS meta(k TEXT PRIMARY KEY NOT NULL, v) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES ('applied', 0), ('checkpoint', 0), ('shards', 1);
"""
_PRAGMAS = """
PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-4096; PRAGMA temp_store=MEMORY;
"""
_COLUMNS = "key, value, revision, off, expires_at"
_GET = f"SELECT {_COLUMNS} FROM kv WHERE key = ?"
_LIST = (
    f"SELECT {_COLUMNS} FROM kv WHERE key >= ? AND (?2 IS NULL OR key < ?2) AND key > ?3"
    " AND (expires_at IS NULL OR expires_at > ?4) ORDER BY key"
)
_EXPIRED = "SELECT key FROM kv WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"
_PUT = (
    "INSERT INTO kv VALUES (?,?,?,?,?) ON CONFLICT(key) DO UPDATE SET value=excluded.value,"
    " revision=excluded.revision, off=excluded.off, expires_at=excluded.expires_at"
)
_DELETE = "DELETE FROM kv WHERE key = ?"
_REMEMBER = "INSERT OR REPLACE INTO ops VALUES (?,?,?,?,?,?)"


class StateTable:
    """One shard's table. Used by one thread at a time; ``:memory:`` works the same."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        try:
            self._db = apsw.Connection(":memory:" if path is None else str(path))
            # Read to the end: a script stops at the first pragma that answers with a row.
            self._db.execute(_PRAGMAS).fetchall()
            self._db.execute(_SCHEMA)
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise Damaged(
                f"{path} is not a sound SQLite file ({error}): move it away; if the log still "
                "reaches back to offset 1 the keys are rebuilt from it, else restore a backup"
            ) from error
        self.wal_pages = 0
        self._db.set_wal_hook(self._note_wal_pages)
        self.applied_offset: int = self._db.execute("SELECT v FROM meta WHERE k='applied'").get

    def get(self, key: str) -> Item | None:
        """The key as stored, expired or not."""
        row = self._db.execute(_GET, (key,)).get
        return None if row is None else _item(row)

    def scan(
        self, prefix: str, *, after: str | None, limit: int, now_ms: int
    ) -> tuple[list[Item], bool]:
        """Live keys that start with ``prefix`` and sort after ``after``, in byte order.

        Returns at most ``limit`` items and about LIST_BYTES_MAX bytes (at least one item), and
        whether there are more.
        """
        if limit <= 0:
            return [], False
        items: list[Item] = []
        size = 0
        bindings = (prefix, _after_prefix(prefix), "" if after is None else after, now_ms)
        with contextlib.closing(self._db.cursor()) as cursor:
            # Binding "" as `after` would lose the key "", but keys have at least one byte.
            for row in cursor.execute(_LIST, bindings):
                if len(items) == limit or (items and size + len(row[1]) > LIST_BYTES_MAX):
                    return items, True
                items.append(_item(row))
                size += len(row[1])
        return items, False

    def expired(self, now_ms: int, limit: int) -> list[str]:
        """Keys whose time has come, oldest first."""
        return [str(row[0]) for row in self._db.execute(_EXPIRED, (now_ms, limit)).fetchall()]

    def operation(self, op_id: str) -> Operation | None:
        """What a former write with this ``op_id`` did."""
        row = self._db.execute(
            "SELECT kind, key, off, revision, expires_at FROM ops WHERE op_id = ?", (op_id,)
        ).get
        return None if row is None else Operation(*row)

    def apply(self, records: Iterable[tuple[int, Record]], applied_offset: int) -> None:
        """Apply records (offset, record) in one transaction and note ``applied_offset``.

        Idempotent: a record at or below the applied offset must not be passed again, but
        passing the same batch twice gives the same table.
        """
        db = self._db
        with db:
            for offset, record in records:
                _apply_one(db, offset, record)
            db.execute("UPDATE meta SET v = ? WHERE k = 'applied'", (applied_offset,))
        self.applied_offset = applied_offset

    def settings(self) -> dict[str, Any]:
        """The pragmas that decide what a commit costs, as SQLite has them."""
        names = ("journal_mode", "synchronous", "wal_autocheckpoint")
        more = ("cache_size", "temp_store", "page_size")
        return {name: self._db.execute(f"PRAGMA {name}").get for name in (*names, *more)}

    def forget_operations(self) -> None:
        """Drop the oldest remembered operations beyond OPERATIONS_KEPT offsets."""
        horizon = self.applied_offset - OPERATIONS_KEPT
        if horizon > 0:
            self._db.execute(
                "DELETE FROM ops WHERE op_id IN (SELECT op_id FROM ops WHERE off < ?"
                " ORDER BY off LIMIT 1000)",
                (horizon,),
            )

    def claim_shards(self, shards: int, *, free: bool) -> int:
        """Note how many shards the keys are spread over; returns the number that holds.

        With ``free`` nothing was ever written and the new number holds, else the noted one.
        """
        noted: int = self._db.execute("SELECT v FROM meta WHERE k='shards'").get
        if noted != shards and free:
            self._db.execute("UPDATE meta SET v = ? WHERE k='shards'", (shards,))
            return shards
        return noted

    def close(self) -> None:
        self._db.close()

    def _note_wal_pages(self, _db: Any, _name: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK


def changes_table(record: Record) -> bool:
    """Whether applying the record does anything: an event leaves only its ``op_id``, if any."""
    return not isinstance(record, EventPublished) or record.op_id is not None


def checkpoint(path: Path, *, finish: bool = False) -> bool:
    """Move the WAL of ``path`` into the database file and fsync it; for a thread.

    With ``finish`` the owner must be paused (no transaction, no open statement): then the whole
    WAL is moved and restarts at frame 0. The one-row write at the end takes the fsync of the
    new WAL header here, instead of in the owner's next commit. Returns whether all is moved.
    """
    db = apsw.Connection(str(path))
    try:
        db.set_busy_timeout(BUSY_MS_MAX)
        db.execute("PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0").fetchall()
        frames, moved = _move(db)
        complete = bool(frames == moved)
        if finish and complete:
            db.execute("UPDATE meta SET v = v + 1 WHERE k = 'checkpoint'")
        return complete
    finally:
        db.close()


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


def backup(path: Path, target: Path) -> int:
    """Copy the table at one applied offset while its owner goes on; for a thread.

    Returns that offset. ``target`` becomes a plain SQLite file without a WAL.
    """
    source = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    copy = apsw.Connection(str(target))
    try:
        with source:
            applied: int = source.execute("SELECT v FROM meta WHERE k='applied'").get
            with copy.backup("main", source, "main") as steps:
                steps.step(-1)
        return applied
    finally:
        copy.close()
        source.close()


def _apply_one(db: Any, offset: int, record: Record) -> None:
    if isinstance(record, KeyWritten):
        expires_at = record.expires_at_ms
        db.execute(_PUT, (record.key, record.value.decode(), record.revision, offset, expires_at))
        if record.op_id is not None:
            remembered = (record.op_id, "put", record.key, offset, record.revision, expires_at)
            db.execute(_REMEMBER, remembered)
    elif isinstance(record, KeyDeleted):
        db.execute(_DELETE, (record.key,))
        if record.op_id is not None:
            db.execute(_REMEMBER, (record.op_id, "delete", record.key, offset, 0, None))
    elif isinstance(record, EventPublished) and record.op_id is not None:
        db.execute(_REMEMBER, (record.op_id, "event", "", offset, 0, None))


def _item(row: tuple[Any, ...]) -> Item:
    key, value, revision, offset, expires_at_ms = row
    return Item(key, value.encode(), revision, offset, expires_at_ms)


def _after_prefix(prefix: str) -> str | None:
    """The least string above every string with this prefix; None when there is none."""
    while prefix:
        last = ord(prefix[-1])
        if last < 0x10FFFF:
            # Surrogates are not encodable; UTF-8 byte order is code point order otherwise.
            following = 0xE000 if last == 0xD7FF else last + 1
            return prefix[:-1] + chr(following)
        prefix = prefix[:-1]
    return None
