"""Which segments of an index to merge next: a log-structured merge (O'Neil et al. 1996).

Segments are runs of rows, in order. Each row is rewritten a logarithmic number of times.
"""

import operator
from collections.abc import Sequence
from typing import Protocol, TypeVar

_MERGE_RATIO = 1.5


class Sized(Protocol):
    """A segment: how many rows it has."""

    @property
    def row_count(self) -> int: ...


S = TypeVar("S", bound=Sized)


def due(segments: Sequence[S], rows_max: int) -> tuple[S, ...] | None:
    """The run of neighbours to merge next: each at most _MERGE_RATIO times all that follow it.

    What is left when nothing is due shrinks geometrically, so its length is logarithmic.
    """
    for end in range(len(segments), 1, -1):
        start = end - 1
        rows = segments[start].row_count
        while start:
            before = segments[start - 1].row_count
            if before > _MERGE_RATIO * rows or before + rows > rows_max:
                break
            rows += before
            start -= 1
        if start < end - 1:
            return tuple(segments[start:end])
    return None


def replaced(segments: tuple[S, ...], old: tuple[S, ...], merged: S) -> tuple[S, ...]:
    """``segments`` with ``merged`` in the place of ``old``. ValueError if they are not there any
    more."""
    for start in range(len(segments) - len(old) + 1):
        stop = start + len(old)
        if all(map(operator.is_, segments[start:stop], old)):
            return (*segments[:start], merged, *segments[stop:])
    raise ValueError("the merged segments are not in this index")
