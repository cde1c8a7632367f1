"""A text index, as it is stored, beside one built anew of the same rows.

Terms may have other numbers, and rows be in other segments: compared are the terms of each row in
their order, by name, and in each segment the postings with what its rows say.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.postings import segment as text_segment
from kissvdb.core.postings import segment_arrays
from kissvdb.core.postings.segment import Forward, Segment
from kissvdb.core.postings.vocabulary import SURFACE, TERM, Vocabulary

Array = npt.NDArray[Any]
Name = tuple[str, bytes]
"""The path of a field, and a word of it."""


@attrs.frozen(eq=False)
class _Stored:
    """An index in its parts. ``terms``: the number of each term; ``surfaces``: the term of each
    word as it is written."""

    segments: Sequence[Segment]
    vocabulary: Vocabulary
    totals: dict[str, tuple[int, int]]
    terms: dict[Name, int]
    surfaces: dict[Name, int]

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> "_Stored":
        header = segment_arrays.decode(arrays)
        vocabulary = Vocabulary.from_arrays(arrays, header.salt, header.paths)
        terms: dict[Name, int] = {}
        surfaces: dict[Name, int] = {}
        for entry in range(vocabulary.entries):
            key = vocabulary.key(entry)
            name = header.paths[key[0] >> 1], key[1:]
            of_kind = {TERM: terms, SURFACE: surfaces}[key[0] & 1]
            of_kind[name] = int(vocabulary.values[entry])
        totals = dict(zip(header.paths, header.totals, strict=False))
        segments = segment_arrays.unpack(header, arrays)
        return cls(segments, vocabulary, totals, terms, surfaces)

    @property
    def names(self) -> dict[int, Name]:
        return {term: name for name, term in self.terms.items()}


def differences(stored: Mapping[str, Array], rebuilt: Mapping[str, Array]) -> list[str]:
    """What the arrays of an index say otherwise than those of one built anew; empty if nothing.

    Raises Damaged if the arrays do not fit together.
    """
    index, anew = _Stored.of(stored), _Stored.of(rebuilt)
    found = [*_lost_words(index), *_other_words(index, anew), *_other_rows(index, anew)]
    if not found:
        found = [
            wrong
            for number, segment in enumerate(index.segments)
            for wrong in _wrong_postings(number, segment, index.vocabulary.fields)
        ]
    if not found:
        for path, totals in anew.totals.items():
            if any(totals) and index.totals.get(path) != totals:
                found.append(f"field {path!r}: {index.totals.get(path)} rows and terms")
    return found[:1]


def _lost_words(index: _Stored) -> Iterator[str]:
    vocabulary = index.vocabulary
    for entry in range(vocabulary.entries):
        key = vocabulary.key(entry)
        if vocabulary.term_of(key) != int(vocabulary.values[entry]):
            yield f"the word {key[1:].decode('utf-8', 'replace')!r} is not found"


def _other_words(index: _Stored, anew: _Stored) -> Iterator[str]:
    """A word that is written in some row leads to another term. Those of rows that are no more
    may be known or not."""
    names, wanted = index.names, anew.names
    for name, term in anew.surfaces.items():
        known = index.surfaces.get(name)
        if known is not None and names.get(known) != wanted.get(term):
            yield f"the word {name[1].decode('utf-8', 'replace')!r} is another term"


def _other_rows(index: _Stored, anew: _Stored) -> Iterator[str]:
    mine, other = (
        text_segment.joined([s.forward for s in each.segments]) for each in (index, anew)
    )
    if mine.row_count != other.row_count:
        yield f"{mine.row_count} rows, not {other.row_count}"
        return
    numbers = np.full(anew.vocabulary.terms + 1, -2, np.int64)
    for name, term in anew.terms.items():
        numbers[term] = index.terms.get(name, -2)
    # What stands between two texts is no term.
    numbers[-1] = text_segment.GAP
    row = _first_other_row(mine, other, numbers[other.stream])
    if row is not None:
        yield f"row {row} has other terms"


def _first_other_row(mine: Forward, other: Forward, stream: Array) -> int | None:
    rows = np.flatnonzero(np.diff(mine.ptr) != np.diff(other.ptr))
    stop = int(rows[0]) if len(rows) else mine.row_count
    end = int(mine.ptr[stop])
    places = np.flatnonzero(mine.stream[:end] != stream[:end])
    if len(places):
        return int(np.searchsorted(mine.ptr, places[0], side="right")) - 1
    return stop if stop < mine.row_count else None


def _wrong_postings(number: int, stored: Segment, fields: Array) -> Iterator[str]:
    anew = text_segment.build(stored.forward, fields)
    parts = ("fields", "lengths", "terms", "st", "docs", "tfs", "max_tf", "min_length")
    for part in (*parts, "dense", "bits"):
        if not np.array_equal(getattr(stored, part), getattr(anew, part)):
            yield f"segment {number}: the postings ({part}) are not those of its rows"
