"""What tables are made of, as far as changed rows need it. Read once, until the schema changes."""

from typing import Any

import attrs

ROWID = "_rowid_"
_ROWID_NAMES = frozenset({"rowid", "oid", "_rowid_"})
_COLUMNS = 'SELECT name, hidden, pk, "notnull" FROM pragma_table_xinfo(?)'
_TABLES = "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main'"
_SEQUENCES = "SELECT name, seq FROM sqlite_sequence"


@attrs.frozen
class Table:
    """One table. Columns that are computed of others are none of it.

    ``key``: the primary key, or the rowid of a table without one. Places are positions in a row as
    the session extension has it.
    """

    name: str
    key: tuple[str, ...]
    key_places: tuple[int, ...]
    columns: tuple[str, ...]
    column_places: tuple[int, ...]

    @property
    def has_key(self) -> bool:
        return self.key != (ROWID,)


class Schema:
    """The tables of one connection's database. `forget` when they may be others."""

    def __init__(self, db: Any) -> None:
        self._db = db
        self._tables: dict[str, Table] = {}
        self._nullable: dict[str, str] | None = None
        self._has_sequences: bool | None = None
        self._triggers: frozenset[str] | None = None
        self._views: dict[str, str] | None = None

    def forget(self) -> None:
        """The schema changed, or a change was undone."""
        self._tables.clear()
        self._nullable = None
        self._has_sequences = None
        self._triggers = None
        self._views = None

    def table(self, name: str) -> Table:
        """The table of this name. It exists."""
        found = self._tables.get(name)
        if found is None:
            found = self._tables[name] = self._read(name)
        return found

    def names(self) -> set[str]:
        """Of all tables and views."""
        return {name for name, _, _ in self._db.execute(_TABLES)}

    def triggers(self) -> frozenset[str]:
        """The names of all triggers."""
        if self._triggers is None:
            found = self._db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
            self._triggers = frozenset(str(name) for (name,) in found.fetchall())
        return self._triggers

    def views(self) -> dict[str, str]:
        """The text of each view, by name: the same object until the schema changes."""
        if self._views is None:
            found = self._db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'view'")
            self._views = {str(name): str(sql) for name, sql in found.fetchall()}
        return self._views

    def nullable_key(self, name: str) -> str | None:
        """The column that is the primary key of this table though SQLite lets it be NULL.

        The session extension does not see such rows: there must be none.
        """
        if self._nullable is None:
            self._nullable = {}
            for table, column in self._nullable_keys():
                self._nullable[table.lower()] = column
        return self._nullable.get(name.lower())

    def problem(self, name: str) -> str | None:
        """Why changes of this table could not be followed; None when they can."""
        columns = self._db.execute(_COLUMNS, (name,)).fetchall()
        keys = [column for column in columns if column[2]]
        if not keys:
            taken = [column[0] for column in columns if column[0].lower() in _ROWID_NAMES]
            if taken:
                return f"a table without a primary key cannot have a column {taken[0]!r}"
            return None
        if len(keys) > 1:
            loose = [column[0] for column in keys if not column[3]]
            if loose:
                return (
                    f"column {loose[0]!r} is part of the primary key and may be NULL: declare it "
                    "NOT NULL"
                )
        return None

    def sequences(self) -> dict[str, Any]:
        """The last number that each AUTOINCREMENT table gave away."""
        if self._has_sequences is None:
            found = self._db.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'"
            ).get
            self._has_sequences = found is not None
        return dict(self._db.execute(_SEQUENCES).fetchall()) if self._has_sequences else {}

    def _read(self, name: str) -> Table:
        rows = self._db.execute(_COLUMNS, (name,)).fetchall()
        stored = [(column, pk) for column, hidden, pk, _ in rows if hidden == 0]
        names = [column for column, _ in stored]
        keys = tuple(place for place, (_, pk) in enumerate(stored) if pk)
        if not keys:
            # The session puts the rowid in front.
            return Table(name, (ROWID,), (0,), tuple(names), tuple(range(1, len(names) + 1)))
        others = tuple(place for place in range(len(names)) if place not in keys)
        return Table(
            name,
            tuple(names[place] for place in keys),
            keys,
            tuple(names[place] for place in others),
            others,
        )

    def _nullable_keys(self) -> list[tuple[str, str]]:
        found = []
        for table, kind, without_rowid in self._db.execute(_TABLES).fetchall():
            if kind != "table" or without_rowid or table.startswith("sqlite_"):
                continue
            columns = self._db.execute(
                'SELECT name, "notnull" FROM pragma_table_xinfo(?) WHERE pk > 0', (table,)
            ).fetchall()
            # An INTEGER PRIMARY KEY is the rowid, which is never NULL, and has no index.
            indexed = self._db.execute(
                "SELECT 1 FROM pragma_index_list(?) WHERE origin = 'pk'", (table,)
            ).get
            if len(columns) == 1 and not columns[0][1] and indexed:
                found.append((table, columns[0][0]))
        return found


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'
