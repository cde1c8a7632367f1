"""Our tables on one connection of SQLite."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from kissvdb.engine.tables.events import EventsTable
from kissvdb.engine.tables.module import VirtualTable
from kissvdb.engine.tables.rows import DocumentsTable, VectorsTable
from kissvdb.engine.tables.searches import (
    HybridSearchTable,
    TextSearchTable,
    VectorSearchTable,
)
from kissvdb.engine.tables.snapshot import Snapshot
from kissvdb.engine.tables.state import StateKeysTable
from kissvdb.engine.tables.uses import PREFIX, TABLES

KINDS: Final[tuple[type[VirtualTable], ...]] = (
    StateKeysTable,
    DocumentsTable,
    VectorsTable,
    EventsTable,
    VectorSearchTable,
    TextSearchTable,
    HybridSearchTable,
)
assert {kind.name for kind in KINDS} == TABLES, "a statement that names one takes a snapshot"

NAMES: Final = frozenset(kind.name for kind in KINDS) | {PREFIX + kind.name for kind in KINDS}


class VirtualTables:
    """The tables of one connection. A table of the user's with the same name goes first; ours then
    goes by its name with PREFIX."""

    def __init__(self, connection: Any) -> None:
        self._snapshot: Snapshot | None = None
        for kind in KINDS:
            for name in (kind.name, PREFIX + kind.name):
                connection.create_module(
                    name,
                    kind(self._current),
                    use_bestindex_object=True,
                    eponymous_only=True,
                    read_only=True,
                )

    @contextmanager
    def reading(self, snapshot: Snapshot | None) -> Iterator[None]:
        """Statements in this block read the snapshot."""
        self._snapshot = snapshot
        try:
            yield
        finally:
            self._snapshot = None

    def _current(self) -> Any:
        assert self._snapshot is not None, "a statement that reads a table of ours names it"
        return self._snapshot
