"""A shard's keys in SQLite: a view of the log that knows the offset it has applied.

It is read on the event loop, statement by statement, and written by its `writer` in a thread.
"""

from collections.abc import Generator, Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import apsw
import msgspec

from kissvdb.errors import Damaged, PersistenceFailed
from kissvdb.records import Item, Operation
from kissvdb.storage.state.table_reader import TableReader
from kissvdb.storage.state.table_writer import BUSY_MS_MAX, TableWriter, refusals

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kv(
    key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL, revision INT NOT NULL,
    off INT NOT NULL, expires_at INT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS kv_exp ON kv(expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS ops(
    op_id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
    off INT NOT NULL, revision INT NOT NULL, expires_at INT, fingerprint BLOB) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ops_off ON ops(off);
CREATE TABLE IF NOT EXISTS meta(k TEXT PRIMARY KEY NOT NULL, v) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES ('applied', 0), ('shards', 1);
"""
_PRAGMAS = """
PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-4096; PRAGMA temp_store=MEMORY;
"""
_COLUMNS = "key, value, revision, off, expires_at"
_GET = f"SELECT {_COLUMNS} FROM kv WHERE key = ?"
_MANY = (
    "SELECT kv.key, kv.value, revision, off, expires_at FROM json_each(?) AS asked"
    " CROSS JOIN kv ON kv.key = asked.value"
)
# A bound that may be NULL is none to SQLite: it would read all keys behind the prefix.
_BELOW = "(?2 IS NULL OR key < ?2)"
_LIST = (
    f"SELECT {_COLUMNS} FROM kv WHERE key >= ? AND {_BELOW} AND key > ?3"
    " AND (expires_at IS NULL OR expires_at > ?4) ORDER BY key"
)
_EXPIRED = "SELECT key, expires_at FROM kv WHERE expires_at BETWEEN ? AND ? ORDER BY expires_at"
_NEXT = (
    f"SELECT key FROM kv WHERE key > ?1 AND {_BELOW}"
    " AND instr(substr(key, ?3), ?4) > 0 ORDER BY key LIMIT 1"
)
_OPERATION = "SELECT kind, key, off, revision, expires_at, fingerprint FROM ops WHERE op_id = ?"

READERS_KEPT = 8
"""Open for the next who asks; each takes up to 1 MB."""


class StateTable:
    """One shard's table. ``path`` None keeps it in memory: then it is read and written by one
    thread, through one connection."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._closed = False
        try:
            db = _connect(path)
            # Read to the end: a script stops at the first pragma that answers with a row.
            db.execute(_PRAGMAS).fetchall()
            db.execute(_SCHEMA)
            _add_fingerprints(db)
            self.writer = TableWriter(db)
            self._readers: list[TableReader] = []
            self._db = db
            if path is not None:
                self._db = _connect(path)
                self._db.execute("PRAGMA cache_size=-4096; PRAGMA query_only=1").fetchall()
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise Damaged(
                f"{path} is not a sound SQLite file ({error}): move it away; if the log still "
                "reaches back to offset 1 the keys are rebuilt from it, else restore a backup"
            ) from error
        except apsw.CantOpenError as error:
            raise PersistenceFailed(
                f"{path} cannot be opened ({error}): is it ours to write, are too many files open?"
            ) from error

    @property
    def applied_offset(self) -> int:
        """The offset that all its keys are at."""
        return self.writer.applied_offset

    def get(self, key: str) -> Item | None:
        """The key as stored, expired or not."""
        row = self._db.execute(_GET, (key,)).get
        return None if row is None else _item(row)

    def get_many(self, keys: Iterable[str]) -> list[Item]:
        """Those of the keys that are stored, expired or not, in one statement."""
        asked = msgspec.json.encode(list(keys)).decode()
        return [_item(row) for row in self._db.execute(_MANY, (asked,))]

    def items(self, prefix: str, *, after: str | None, now_ms: int) -> Generator[Item]:
        """Live keys that start with ``prefix`` and sort after ``after``, in byte order.

        Close the iterator: an open statement holds the WAL.
        """
        # Binding "" as `after` would lose the key "", but keys have at least one byte.
        bindings = (prefix, after_prefix(prefix), "" if after is None else after, now_ms)
        with closing(self._db.cursor()) as cursor:
            yield from map(_item, cursor.execute(_bounded(_LIST, bindings[1]), bindings))

    def expired(self, now_ms: int, since_ms: int = 0) -> Generator[tuple[str, int]]:
        """Keys whose time has come, at ``since_ms`` or later, and when; oldest first. Close the
        iterator."""
        with closing(self._db.cursor()) as cursor:
            yield from cursor.execute(_EXPIRED, (since_ms, now_ms))

    def parts(self, prefix: str, separator: str) -> list[str]:
        """What stands between the prefix and the separator in all keys that have both, each once.
        A step for each of these, however many keys there are. ``separator``: one character."""
        found: list[str] = []
        after, end, start = prefix, after_prefix(prefix), len(prefix) + 1
        while True:
            key = self._db.execute(_bounded(_NEXT, end), (after, end, start, separator)).get
            if key is None:
                return found
            part = key[len(prefix) : key.index(separator, len(prefix))]
            found.append(part)
            after = f"{prefix}{part}{chr(ord(separator) + 1)}"

    def operation(self, op_id: str) -> Operation | None:
        """What a former write with this ``op_id`` did."""
        row = self._db.execute(_OPERATION, (op_id,)).get
        return None if row is None else Operation(*row)

    @property
    def idle_readers(self) -> int:
        """How many readers `reader` has at hand."""
        return len(self._readers)

    def open_reader(self) -> None:
        """Have one more at hand, in some 0.5 ms: for a thread. Raises PersistenceFailed."""
        assert self.path is not None
        self.give_back(TableReader(self.path))

    def reader(self) -> TableReader:
        """A reader for a thread, of a table in a file; give it back when it has ended. Raises
        PersistenceFailed."""
        if not self._readers:
            self.open_reader()
        return self._readers.pop()

    def give_back(self, reader: TableReader) -> None:
        """It may be used again, by any thread."""
        if self._closed or len(self._readers) >= READERS_KEPT:
            reader.close()
        else:
            self._readers.append(reader)

    def close(self) -> None:
        self._closed = True
        while self._readers:
            self._readers.pop().close()
        self._db.close()
        self.writer.close()


def backup(path: Path, target: Path) -> int:
    """Copy the table at one applied offset while its owner goes on; for a thread.

    Returns that offset. ``target`` becomes a plain SQLite file without a WAL. Raises
    PersistenceFailed.
    """
    with ExitStack() as stack, refusals(f"copy the keys to {target}"):
        source = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        stack.callback(source.close)
        copy = apsw.Connection(str(target))
        stack.callback(copy.close)
        with source:
            applied: int = source.execute("SELECT v FROM meta WHERE k='applied'").get
            with copy.backup("main", source, "main") as steps:
                steps.step(-1)
        return applied


def _connect(path: Path | None) -> Any:
    db = apsw.Connection(":memory:" if path is None else str(path))
    db.set_busy_timeout(BUSY_MS_MAX)
    return db


def _add_fingerprints(db: Any) -> None:
    """Make room for fingerprints in a table that an older kissvdb made."""
    columns = {row[1] for row in db.execute("PRAGMA table_info(ops)")}
    if "fingerprint" not in columns:
        db.execute("ALTER TABLE ops ADD COLUMN fingerprint BLOB")


def _item(row: tuple[Any, ...]) -> Item:
    key, value, revision, offset, expires_at_ms = row
    return Item(key, value.encode(), revision, offset, expires_at_ms)


def _bounded(sql: str, end: str | None) -> str:
    return sql if end is None else sql.replace(_BELOW, "key < ?2")


def after_prefix(prefix: str) -> str | None:
    """The least string above every string with this prefix; None when there is none."""
    while prefix:
        last = ord(prefix[-1])
        if last < 0x10FFFF:
            # Surrogates are not encodable; UTF-8 byte order is code point order otherwise.
            following = 0xE000 if last == 0xD7FF else last + 1
            return prefix[:-1] + chr(following)
        prefix = prefix[:-1]
    return None
