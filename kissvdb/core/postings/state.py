"""All that an index of texts is at one moment: its segments, its tail, and what both add up to."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Protocol

import attrs
import numpy as np

from kissvdb.core.postings import plain
from kissvdb.core.postings import segment as text_segment
from kissvdb.core.postings.query import Totals
from kissvdb.core.postings.segment import Array, Parts, Segment
from kissvdb.core.postings.tail import Tail
from kissvdb.core.postings.vocabulary import Vocabulary


class TextKernels(Protocol):
    """Where the compiled search comes from."""

    @property
    def text(self) -> Any:
        """What searches instead of ``postings.plain``; None until it is loaded."""


@attrs.frozen(eq=False)
class State:
    """Replaced whole, so that a view taken from any thread is of one moment."""

    vocabulary: Vocabulary
    segments: tuple[Segment, ...] = ()
    sealed: Totals = attrs.field(factory=Totals.zero)
    tail: Tail = attrs.field(factory=Tail.empty)
    entries: int = 0
    terms: int = 0
    field_of_term: Array = attrs.field(factory=lambda: np.zeros(0, np.uint8))
    kernels: TextKernels | None = None

    @cached_property
    def indexed_rows(self) -> int:
        return sum(segment.row_count for segment in self.segments)

    @cached_property
    def young(self) -> Sequence[Segment]:
        """The rows of the tail."""
        build = engine_of(self.kernels).build_few
        return self.tail.segments(lambda rows: build(rows, self.field_of_term))

    @cached_property
    def parts(self) -> Parts:
        """All rows, those of the tail too."""
        return Parts((*self.segments, *self.young))

    @property
    def stored(self) -> Sequence[Segment]:
        """All rows, those of the tail in one segment."""
        if not self.tail.row_count:
            return self.segments
        return (*self.segments, text_segment.build(self.tail.forward, self.field_of_term))

    @cached_property
    def totals(self) -> Totals:
        return summed(self.young, self.sealed)


def summed(segments: Iterable[Segment], totals: Totals) -> Totals:
    rows, terms = totals.rows.copy(), totals.terms.copy()
    for segment in segments:
        fields, more_rows, more_terms = segment.totals
        rows[fields] += more_rows
        terms[fields] += more_terms
    return Totals(rows, terms)


def engine_of(kernels: TextKernels | None) -> Any:
    compiled = None if kernels is None else kernels.text
    return plain if compiled is None else compiled
