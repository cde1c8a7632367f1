"""Upkeep of rows: pieces of work for a worker thread, made and installed by the owner."""

from typing import Protocol

import attrs

from kissvdb.core.metadata import MetadataIndex
from kissvdb.core.metadata_segment import Segment
from kissvdb.core.row_body import Body
from kissvdb.core.row_guard import RowGuard
from kissvdb.core.row_index import Kernels
from kissvdb.core.row_spec import CollectionSpec
from kissvdb.core.row_store import RowData, Space


@attrs.frozen
class Policy:
    """When upkeep is due, in rows."""

    body_rows_min: int = 1024
    """Fewer rows are scanned: a graph would not be faster by more than some 30 us."""
    drain_rows_min: int = 256
    drain_rows_max: int = 4096
    """A drain takes the tail when it has so many rows, and so many at once: half a second."""
    vacuum_rows_min: int = 1024
    vacuum_share: float = 0.25
    """A vacuum is due when so many rows are dead, and this part of all."""
    vacuum_step_rows: int = 16_384
    """How many rows a step of a vacuum links: some two seconds."""


class Work(Protocol):
    """One piece of upkeep. ``kind`` names it in logs and metrics."""

    @property
    def kind(self) -> str: ...

    def run(self) -> None:
        """Do it; in any one thread, while the owner goes on."""


class MetadataMerge:
    """Several segments of the metadata index become one."""

    kind = "metadata merge"

    def __init__(self, index: MetadataIndex, due: tuple[Segment, ...]) -> None:
        self._index = index
        self._due = due
        self._merged: Segment | None = None

    def run(self) -> None:
        self._merged = self._index.merge(self._due)

    def install(self) -> None:
        """Put the merged segment in the place of the others; on the owner's thread."""
        assert self._merged is not None
        self._index.install(self._due, self._merged)


class Drain:
    """The oldest rows of the tail go into the graph."""

    kind = "drain"

    def __init__(
        self,
        kernels: Kernels,
        spec: CollectionSpec,
        body: Body | None,
        data: RowData,
        last: int,
        space: Space,
    ) -> None:
        self._kernels = kernels
        self._spec = spec
        self._before = body
        self._data = data
        self._last = last
        self._space = space
        self.body: Body | None = None

    def run(self) -> None:
        self.body = self._kernels.grow(
            self._before, self._spec, self._data, self._last, self._space
        )


class Verification:
    """All rows that were opened from files are compared with their checksums."""

    kind = "verification"

    def __init__(self, guard: RowGuard) -> None:
        self.guard = guard

    def run(self) -> None:
        """Find all damage there is."""
        self.guard.find_damage()
