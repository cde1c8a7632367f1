"""What a SQL database holds, read by another SQLite than the server's."""

import sqlite3
from pathlib import Path


def dump(path: Path) -> dict[str, list]:
    """The schema, and all rows of all tables, in an order of their own. Without statistics."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    db.text_factory = bytes
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [(b"ok",)]
        schema = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
        found: dict[str, list] = {
            "": sorted((row for row in schema if not row[1].startswith(b"sqlite_stat")), key=repr)
        }
        for kind, name, _, sql in schema:
            virtual = sql is not None and sql.upper().startswith(b"CREATE VIRTUAL")
            if kind != b"table" or virtual or name.startswith(b"sqlite_stat"):
                continue
            table = name.decode().replace('"', '""')
            rows = db.execute(f'SELECT {_rowid(db, table)} * FROM "{table}"').fetchall()
            found[name.decode()] = sorted(rows, key=repr)
        return found
    finally:
        db.close()


def _rowid(db, table):
    """The rowid counts where there is no other key."""
    columns = db.execute(f'PRAGMA table_info("{table}")').fetchall()
    return "" if any(column[5] for column in columns) else "rowid,"
