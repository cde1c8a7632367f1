"""What a transaction changed, row by row: SQLite's session extension, as records.

A session must be there before a statement is prepared: SQLite else clears a whole table without
looking at its rows, and nobody hears of it.
"""

from typing import Any

import apsw

from kissvdb.records import SqlChanged, SqlValue
from kissvdb.storage.sql.schema import Schema, Table

SEQUENCE = "sqlite_sequence"
_NO_CHANGE = apsw.no_change


class Capture:
    """The rows that change from when it is made until they are taken. Ends with `take` or
    `close`."""

    def __init__(self, db: Any, schema: Schema) -> None:
        self._schema = schema
        self.bytes_taken = 0
        """About how much the changes take in the log."""
        self._sequences = schema.sequences()
        self._session = apsw.Session(db, "main")
        self._session.config(apsw.SQLITE_SESSION_OBJCONFIG_ROWID, 1)
        # Statistics and the like are the database's own.
        self._session.table_filter(_is_users)

    @property
    def bytes_used(self) -> int:
        """About how much memory the changes take so far."""
        used: int = self._session.memory_used
        return used

    @property
    def has_changes(self) -> bool:
        return not self._session.is_empty

    def take(self) -> list[SqlChanged]:
        """The changed rows: each once, as it was before and as it is now.

        Raises UnicodeDecodeError when a text is no UTF-8.
        """
        changes: list[SqlChanged] = []
        if not self._session.is_empty:
            table = self._schema.table
            changeset = self._session.changeset()
            self.bytes_taken = len(changeset)
            found = apsw.Changeset.iter(changeset)
            changes += [_changed(table(change.name), change) for change in found]
            _put_in_order(changes)
        self.close()
        changes += self._sequence_changes(changes)
        return changes

    def close(self) -> None:
        self._session.close()

    def _sequence_changes(self, changes: list[SqlChanged]) -> list[SqlChanged]:
        """Where an AUTOINCREMENT table's last number is not what its new rows leave it at."""
        now = self._schema.sequences()
        if not now and not self._sequences:
            return []
        expected = dict(self._sequences)
        for change in changes:
            if change.op != "delete" and change.table in now:
                number, last = change.key[0], expected.get(change.table, 0)
                if isinstance(number, int) and isinstance(last, int):
                    expected[change.table] = max(number, last)
        return [
            _sequence_changed(table, self._sequences, now)
            for table in sorted(expected.keys() | now.keys())
            if expected.get(table) != now.get(table)
        ]


def _is_users(table: str) -> bool:
    return not table.lower().startswith("sqlite_")


def _put_in_order(changes: list[SqlChanged]) -> None:
    """Rows that are numbered come in the order of their numbers, table by table: a session has them
    in no order."""
    places = {change.table: place for place, change in enumerate(changes)}
    if all(len(change.key) == 1 and type(change.key[0]) is int for change in changes):
        changes.sort(key=lambda change: (places[change.table], change.key[0]))


def _changed(table: Table, change: Any) -> SqlChanged:
    op, old, new = change.op, change.old, change.new
    if op == "INSERT":
        return SqlChanged(
            table.name,
            "insert",
            table.key,
            _at(new, table.key_places),
            table.columns,
            (),
            _at(new, table.column_places),
        )
    if op == "DELETE":
        return SqlChanged(
            table.name,
            "delete",
            table.key,
            _at(old, table.key_places),
            table.columns,
            _at(old, table.column_places),
        )
    changed = [
        (column, place)
        for column, place in zip(table.columns, table.column_places, strict=True)
        if new[place] is not _NO_CHANGE
    ]
    places = tuple(place for _, place in changed)
    return SqlChanged(
        table.name,
        "update",
        table.key,
        _at(old, table.key_places),
        tuple(column for column, _ in changed),
        _at(old, places),
        _at(new, places),
    )


def _at(row: tuple[SqlValue, ...], places: tuple[int, ...]) -> tuple[SqlValue, ...]:
    return tuple([row[place] for place in places])


def _sequence_changed(table: str, before: dict[str, Any], now: dict[str, Any]) -> SqlChanged:
    op = "update"
    if table not in before:
        op = "insert"
    elif table not in now:
        op = "delete"
    return SqlChanged(
        SEQUENCE,
        op,
        ("name",),
        (table,),
        ("seq",),
        (before[table],) if table in before else (),
        (now[table],) if table in now else (),
    )
