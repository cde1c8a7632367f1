"""Upkeep of rows: pieces of work for a worker thread, made and installed by the owner."""

from collections.abc import Mapping
from typing import Any, Protocol

from kissvdb.core.index.codes import CodeSum
from kissvdb.core.index.index import Index
from kissvdb.core.metadata.index import MetadataIndex
from kissvdb.core.store.guard import RowGuard
from kissvdb.core.store.space import RowData, Space
from kissvdb.core.text.index import TextIndex


class Work(Protocol):
    """One piece of upkeep. ``kind`` names it in logs and metrics."""

    @property
    def kind(self) -> str: ...

    def run(self) -> None:
        """Do it; in any one thread, while the owner goes on."""


class Merge:
    """Several segments of an index, of metadata or of texts, become one."""

    def __init__(self, kind: str, index: MetadataIndex | TextIndex, due: Any) -> None:
        self.kind = kind
        self._index = index
        self._due = due
        self._merged: Any = None

    def run(self) -> None:
        self._merged = self._index.merge(self._due)

    def install(self) -> None:
        """Put the merged segment in the place of the others; on the owner's thread."""
        assert self._merged is not None
        self._index.install(self._due, self._merged)


class Drain:
    """The oldest rows of the tail go into the index."""

    kind = "drain"

    def __init__(self, index: Index, data: RowData, last: int, space: Space) -> None:
        self._before = index
        self._data = data
        self._last = last
        self._space = space
        self.index: Index | None = None

    def run(self) -> None:
        self.index = self._before.grow(self._data, self._last, self._space)


class Verification:
    """All rows that were opened from files are compared with their checksums."""

    kind = "verification"

    def __init__(self, guard: RowGuard) -> None:
        self.guard = guard

    def run(self) -> None:
        """Find all damage there is."""
        self.guard.find_damage()


class CodeVerification:
    """The codes of an index that was opened are compared with their checksums."""

    kind = "code verification"

    def __init__(self, index: Index, sums: Mapping[str, CodeSum]) -> None:
        self._index = index
        self._sums = sums
        self.is_sound = True

    def run(self) -> None:
        """Find out whether they are what was written."""
        self.is_sound = self._index.is_sound(self._sums)
