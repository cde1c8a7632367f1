"""What a collection takes of the process's own memory, by its kind; and how much more it may.

An estimate of what it will be when all rows are in the index, without room to grow, metadata and
texts: a bound is kept by it between two measurements (``engine.rows.footprint``).
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


def heap_row_bytes(spec: CollectionSpec, *, in_memory: bool) -> int:
    """Bytes that a row takes. ``in_memory``: the database has no files, so all of it is memory."""
    size = ID_BYTES + _index_bytes(spec)
    return size + _filed_bytes(spec) if in_memory else size


def _index_bytes(spec: CollectionSpec) -> int:
    """Of the links, or what stands for them."""
    # Layers: a byte, where the upper ones begin, and their links: one row in m has some.
    layers = 9 + 4 * spec.m // max(spec.m - 1, 1)
    if spec.index == "hnsw":
        return 8 * spec.m + layers
    # On disk: which page a row is in.
    return 4 + layers if spec.index == "vamana" else 0


def _filed_bytes(spec: CollectionSpec) -> int:
    """Of what lies in files, where there are any: numbers, codes, pages."""
    numbers = 4 * spec.dim
    size = _ROW_TEXT_BYTES + (numbers // 2 if spec.options.store == "f16" else numbers)
    if spec.index == "ivf":
        return size + 4 + {"none": 0, "q8": spec.dim}.get(spec.quantization, spec.dim // 2)
    if spec.index == "flat":
        return size
    codes = {"none": 0, "q8": spec.dim}.get(spec.quantization, spec.dim + spec.dim // 2)
    if spec.index == "vamana":
        size += numbers + 4 * (spec.options.max_degree or 2 * spec.m)
    return size + codes


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
