"""All that an index of texts is at one moment: its segments, its tail, and what both add up to."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import attrs
import numpy as np

from kissvdb.core.postings import plain
from kissvdb.core.postings import segment as text_segment
from kissvdb.core.postings.query import Totals
from kissvdb.core.postings.segment import Array, Forward, Parts, Segment
from kissvdb.core.postings.tail import Tail
from kissvdb.core.postings.vocabulary import Vocabulary

SCANNED_TERMS_MAX = 20_000
"""Of rows in no large block, for a search for words: of more segments are made first. A term costs
some nanoseconds."""


class TextKernels(Protocol):
    """Where the compiled search comes from."""

    @property
    def text(self) -> Any:
        """What searches instead of ``postings.plain``; None until it is loaded."""


class ForWords(NamedTuple):
    """``columns``: int64[13], as ``kernels.text.quick`` takes a state; of the segments ``parts``
    there are ``table`` and ``turns``; ``totals``: int64[2, FIELDS_MAX]. ``kept``: what the columns
    lead to, besides the tail."""

    columns: Array
    parts: Parts
    table: Array
    turns: Array
    totals: Array
    kept: tuple[Array, ...]


def _parts(segments: Iterable[Segment]) -> Parts:
    return segments if isinstance(segments, Parts) else Parts(segments)


@attrs.frozen(eq=False)
class State:
    """Replaced whole, so that a view taken from any thread is of one moment."""

    vocabulary: Vocabulary
    segments: Parts = attrs.field(default=Parts(), converter=_parts)
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
        return self.tail.segments(self._build)

    def _build(self, rows: Forward) -> Segment:
        made: Segment = engine_of(self.kernels).build_few(rows, self.field_of_term)
        return made

    @cached_property
    def parts(self) -> Parts:
        """All rows, those of the tail too."""
        return Parts((*self.segments, *self.young)) if self.tail.row_count else self.segments

    @cached_property
    def for_words(self) -> ForWords:
        """What a search for plain words reads; made by the first of them."""
        tail = self.tail
        columns, kept = self.vocabulary.placed()
        parts = tail.behind(self.segments, self._build)
        first = parts.row_count - self.segments.row_count
        young = tail.row_count - first
        if tail.terms_from(first) > SCANNED_TERMS_MAX:
            parts, young = self.parts, 0
        ptr, stream = tail.places
        at = (parts.row_count, young, ptr + first * tail.forward.ptr.itemsize, stream)
        columns = np.concatenate([columns, at])
        totals = self.sealed.table + tail.totals
        return ForWords(columns, parts, parts.table, parts.turns, totals, kept)

    @property
    def stored(self) -> Sequence[Segment]:
        """All rows, those of the tail in one segment."""
        if not self.tail.row_count:
            return self.segments
        return (*self.segments, text_segment.build(self.tail.forward, self.field_of_term))

    @cached_property
    def totals(self) -> Totals:
        rows, terms = self.tail.totals
        return Totals(self.sealed.rows + rows, self.sealed.terms + terms)


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
