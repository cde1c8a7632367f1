"""What rows take of the process's own memory whatever their index, and how much more they may.

Estimates, without room to grow, metadata and texts: a bound is kept by them between two
measurements (``engine.rows.footprint``). What an index adds its kind knows: ``Index.row_bytes``.
"""

from typing import Final

import attrs

from kissvdb.core.store.spec import CollectionSpec
from kissvdb.errors import MemoryExceeded

EMPTY_BYTES: Final = 16 * 1024
"""Of a collection without rows: the tables of its ids."""
ID_BYTES: Final = 48
"""Of a row, whatever its kind: its id, where that ends, and a slot of a table that is half full."""
_ROW_TEXT_BYTES: Final = 24 + 64
"""Of a row in memory: where its parts end, when its time is over, and its id and metadata."""


def filed_bytes(spec: CollectionSpec) -> int:
    """Bytes of a row that lie in files, where there are any, without its index."""
    numbers = 4 * spec.dim
    return _ROW_TEXT_BYTES + (numbers // 2 if spec.options.store == "f16" else numbers)


@attrs.frozen
class Room:
    """How much more one collection may get. ``total``: bytes that all take; ``most``: that they
    may; ``row_bytes``: of a row of this one. ``way_out``: what else can be done, to end a refusal
    with."""

    collection: str
    total: int
    most: int
    row_bytes: int
    way_out: str

    def admit(self, rows: int) -> None:
        """Let so many rows in. Raises MemoryExceeded."""
        need = self.total + rows * self.row_bytes
        if need > self.most:
            raise exceeded(f"collection {self.collection!r} with {rows} more", need, self)


def exceeded(what: str, need: int, room: Room) -> MemoryExceeded:
    """The refusal of what would need so many bytes in all."""
    return MemoryExceeded(
        f"{what} needs {need} bytes of memory for all vector collections, and they may take "
        f"{room.most}: raise limits.vector_memory_bytes (VECTOR_MEMORY_BYTES), delete a "
        f"collection, or delete vectors and vacuum{room.way_out}"
    )
