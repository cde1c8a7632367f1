"""Upkeep of rows: pieces of work for a worker thread, made and installed by the owner."""

from typing import Protocol

from kissvdb.core.metadata import MetadataIndex
from kissvdb.core.metadata_segment import Segment


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
