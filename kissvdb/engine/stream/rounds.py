"""What the ring has joined since its newest event: shared by all who stand at the same place."""

from typing import NamedTuple

from kissvdb.core.events.publishing import StreamQuery

BYTES_MAX = 8 * 1024 * 1024
_ENTRY_BYTES = 512
"""About what an entry takes beside its blob."""


class Slice(NamedTuple):
    """Frames joined from a place: the ``blob``, the ``place`` after it, its last ``offset``."""

    blob: bytes
    place: int
    offset: int


class Rounds(dict[tuple[int, StreamQuery | None], Slice]):
    """Slices by place and filter, the newest of about ``bytes_max`` bytes.

    Every filter has blobs of its own, and clients may send any number of filters: the oldest give
    way, and who comes for one of them has it joined again. The newest is always there, so that
    those who wait for the same have it.
    """

    def __init__(self, bytes_max: int) -> None:
        super().__init__()
        self.bytes_held = 0
        self._bytes_max = bytes_max

    def keep(self, key: tuple[int, StreamQuery | None], slice_: Slice) -> None:
        """Add a slice that is not there yet."""
        self.bytes_held += len(slice_.blob) + _ENTRY_BYTES
        while self.bytes_held > self._bytes_max and self:
            oldest = self.pop(next(iter(self)))
            self.bytes_held -= len(oldest.blob) + _ENTRY_BYTES
        self[key] = slice_

    def clear(self) -> None:
        """The ring has changed."""
        super().clear()
        self.bytes_held = 0
