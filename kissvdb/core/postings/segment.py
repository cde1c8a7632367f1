"""The texts of a run of rows, as terms in their order and as postings; immutable once built.

The forward stream (the terms of each row in order) answers phrases, scores of given rows and
narrow filters; the postings (the rows of each term) answer everything else and are made of it.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core import bitmaps

Array = npt.NDArray[Any]

GAP: Final = -1
"""Between two texts of one field in the stream: no phrase reaches across."""
COUNT_MAX: Final = 255
"""A term that comes more often in a field of a row counts so often."""
COLUMNS: Final = 17
"""Numbers that kernels take of a segment, its ``addresses``."""
DENSE_SHARE: Final = 32
"""A term that one row in so many has is dense: its rows are in bits too, for which this takes about
as much memory as its list."""
DENSE_ROWS_MIN: Final = 512
"""In a shorter list a row is soon found."""
SCAN_TERMS_PER_POSTING: Final = 0.5
"""A term of a row is compared at so many times the cost of a posting walked (an estimate)."""
LENGTH_MAX: Final = 65_535
"""A longer field of a row counts as one of so many terms."""


@attrs.frozen(eq=False)
class Forward:
    """Rows as their terms in order: ``stream[ptr[i] : ptr[i + 1]]``, int32, are those of row i.

    ``ptr`` is int64[rows + 1]. GAP stands between two texts of one field of a row.
    """

    row_count: int
    ptr: Array
    stream: Array


@attrs.frozen(eq=False)
class Segment:
    """``fields``: int32[F], the field numbers here, ascending. ``lengths``: uint16[F * rows], how
    many terms each field of each row has, field by field. ``terms``: int32[T], ascending; the rows
    of term i are ``docs[st[i] : st[i + 1]]`` (int32, ascending), it comes ``tfs`` (uint8) times in
    them. Its score is bounded by ``max_tf[i]`` (uint8) and ``min_length[i]`` (uint16), exact here.
    """

    forward: Forward
    fields: Array
    lengths: Array
    terms: Array
    st: Array
    docs: Array
    tfs: Array
    max_tf: Array
    min_length: Array
    dense: Array = attrs.field(factory=lambda: np.zeros(0, np.int32))
    """int32[D]: the places of dense terms in ``terms``."""
    bits: Array = attrs.field(factory=lambda: np.zeros((0, 0), np.uint64))
    """Their rows (``rows_in_bits``)."""

    @property
    def row_count(self) -> int:
        return self.forward.row_count

    @cached_property
    def addresses(self) -> tuple[int, ...]:
        """The columns of a table of segments (``kernels.text.memory``): first row, 0; rows; then
        where the arrays are, with the numbers of fields and terms."""
        forward = self.forward
        for array in (forward.ptr, forward.stream, self.lengths, self.st, self.docs, self.tfs):
            assert array.flags.c_contiguous, "kernels read arrays by their addresses"
        return (
            0,
            self.row_count,
            forward.ptr.ctypes.data,
            forward.stream.ctypes.data,
            self.lengths.ctypes.data,
            self.fields.ctypes.data,
            len(self.fields),
            self.terms.ctypes.data,
            len(self.terms),
            self.st.ctypes.data,
            self.docs.ctypes.data,
            self.tfs.ctypes.data,
            self.max_tf.ctypes.data,
            self.min_length.ctypes.data,
            self.dense.ctypes.data,
            len(self.dense),
            self.bits.ctypes.data,
        )

    @cached_property
    def dense_terms(self) -> Array:
        """int32[D]: the places of terms that are dense."""
        rows = max(self.row_count // DENSE_SHARE, DENSE_ROWS_MIN)
        if rows > self.row_count:
            return np.zeros(0, np.int32)
        return np.flatnonzero(np.diff(self.st) >= rows).astype(np.int32)

    @cached_property
    def totals(self) -> tuple[Array, Array, Array]:
        """By field here: its number, how many rows have a term in it, and how many terms in all."""
        lengths = self.lengths.reshape(len(self.fields), self.row_count)
        rows = np.count_nonzero(lengths, axis=1)
        return self.fields, rows, lengths.sum(axis=1, dtype=np.int64)

    def find(self, term: int) -> int:
        """The place of a term in ``terms``; -1 if no row has it."""
        place = int(np.searchsorted(self.terms, term))
        return place if place < len(self.terms) and self.terms[place] == term else -1

    def lengths_of(self, field: int) -> Array:
        """uint16[rows]: the lengths of a field."""
        place = int(np.searchsorted(self.fields, field))
        if place == len(self.fields) or self.fields[place] != field:
            return np.zeros(self.row_count, np.uint16)
        rows = self.row_count
        lengths: Array = self.lengths[place * rows : (place + 1) * rows]
        return lengths


class Parts(tuple[Segment, ...]):
    """The segments of all rows, one after the other, with what kernels read of them."""

    @cached_property
    def row_count(self) -> int:
        return sum(segment.row_count for segment in self)

    @cached_property
    def stream_size(self) -> int:
        """How many terms all rows have together."""
        return sum(len(segment.forward.stream) for segment in self)

    @cached_property
    def scan_cost(self) -> float:
        """What it costs to scan a row, in postings that are walked."""
        return SCAN_TERMS_PER_POSTING * self.stream_size / max(self.row_count, 1)

    @cached_property
    def table(self) -> Array:
        """int64[S, columns of ``Segment.addresses``], each with its first row."""
        table = np.array([segment.addresses for segment in self] or [(0,) * COLUMNS], np.int64)
        table[1:, 0] = np.cumsum([segment.row_count for segment in self])[:-1]
        return table[: len(self)]

    @cached_property
    def turns(self) -> Array:
        """int64[S]: the segments, the largest first, which soon has good rows."""
        return np.argsort([-segment.row_count for segment in self], kind="stable")


def build(forward: Forward, field_of_term: Array) -> Segment:
    """The segment of rows. ``field_of_term``: uint8, the field of each term in the stream."""
    rows = forward.row_count
    ptr, stream = forward.ptr[: rows + 1], forward.stream[: forward.ptr[rows]]
    row_of = np.repeat(np.arange(rows, dtype=np.int64), np.diff(ptr))
    if len(stream) and stream.min() < 0:
        real = stream >= 0
        row_of, words = row_of[real], stream[real]
    else:
        words = stream
    field_of = field_of_term[words]
    fields, places = np.unique(field_of, return_inverse=True)
    cells = places.astype(np.int64) * rows + row_of
    lengths = np.bincount(cells, minlength=len(fields) * rows)
    lengths = np.minimum(lengths, LENGTH_MAX).astype(np.uint16)
    pairs = np.sort(words.astype(np.int64) << 32 | row_of)
    first = np.flatnonzero(np.diff(pairs, prepend=-1))
    pairs, counts = pairs[first], np.diff(first, append=len(pairs))
    tfs = np.minimum(counts, COUNT_MAX).astype(np.uint8)
    owner, docs = (pairs >> 32).astype(np.int32), (pairs & 0xFFFF_FFFF).astype(np.int32)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    terms = owner[starts]
    place_of = np.searchsorted(fields, field_of_term[owner])
    posting_lengths = lengths[place_of * rows + docs]
    made = Segment(
        Forward(rows, np.ascontiguousarray(ptr, np.int64), np.ascontiguousarray(stream, np.int32)),
        fields.astype(np.int32),
        lengths,
        terms,
        np.append(starts, len(docs)).astype(np.int64),
        docs,
        tfs,
        np.maximum.reduceat(tfs, starts) if len(starts) else np.zeros(0, np.uint8),
        np.minimum.reduceat(posting_lengths, starts) if len(starts) else np.zeros(0, np.uint16),
    )
    return with_bits(made)


def with_bits(segment: Segment) -> Segment:
    """The segment with the rows of dense terms in bits too."""
    dense = segment.dense_terms
    return attrs.evolve(segment, dense=dense, bits=rows_in_bits(segment, dense))


def bits_width(rows: int) -> int:
    """How many uint64 the rows of a term in bits are."""
    words = bitmaps.word_count(rows)
    return words + (words + 1 >> 1)


def rows_in_bits(segment: Segment, places: Array) -> Array:
    """uint64[n, bits_width]: of each of the terms the bitmap of its rows, and behind that uint32,
    how many of them come before each word of it."""
    rows, words = segment.row_count, bitmaps.word_count(segment.row_count)
    bits = np.zeros((len(places), bits_width(rows)), np.uint64)
    for line, place in zip(bits, places.tolist(), strict=True):
        flags = np.zeros(rows, np.bool_)
        flags[segment.docs[segment.st[place] : segment.st[place + 1]]] = True
        line[:words] = bitmaps.pack(flags)
        counts = np.bitwise_count(line[:words])
        line[words:].view(np.uint32)[:words] = np.cumsum(counts) - counts
    return bits


def joined(parts: Sequence[Forward]) -> Forward:
    """The rows of several, one after the other."""
    streams = [part.stream[: part.ptr[part.row_count]] for part in parts]
    bases = np.cumsum([0, *map(len, streams)])
    ptrs = [part.ptr[: part.row_count] + base for part, base in zip(parts, bases[:-1], strict=True)]
    return Forward(
        sum(part.row_count for part in parts),
        np.concatenate([*ptrs, bases[-1:]]).astype(np.int64),
        np.concatenate([np.zeros(0, np.int32), *streams]),
    )


def take(forward: Forward, keep: npt.NDArray[np.intp]) -> Forward:
    """The rows ``keep`` (ascending), renumbered from 0."""
    starts, lengths = forward.ptr[keep], forward.ptr[keep + 1] - forward.ptr[keep]
    ptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = np.repeat(starts - ptr[:-1], lengths) + np.arange(ptr[-1])
    return Forward(len(keep), ptr, forward.stream[places])
