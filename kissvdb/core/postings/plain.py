"""Search of segments in numpy alone: the definition, and what answers until kernels are loaded."""

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kissvdb.core import bitmaps
from kissvdb.core.bitmaps import Flags, Words
from kissvdb.core.postings.query import (
    Alternatives,
    Atom,
    Plan,
    Totals,
    Weighing,
    weighing_of,
)
from kissvdb.core.postings.segment import COUNT_MAX, GAP, LENGTH_MAX, Segment
from kissvdb.core.postings.segment import build as build
from kissvdb.core.postings.segment import build as build_few  # noqa: F401
from kissvdb.core.postings.vocabulary import (
    FIELDS_MAX,
    SURFACE,
    TERM,
    Learnt,
    Stems,
    Vocabulary,
    prefix_of,
)

Array = npt.NDArray[Any]

_TOKEN = re.compile(rb"[0-9a-z\x80-\xff]+")

Postings = tuple[Array, Array]
"""Rows, ascending, and how often each has it: int32[n], uint8[n]."""


def postings(segment: Segment, atom: Atom) -> Postings:
    """The rows of an atom in a segment."""
    if atom.kind == "term":
        place = segment.find(atom.terms[0])
        if place < 0:
            return np.zeros(0, np.int32), np.zeros(0, np.uint8)
        part = slice(segment.st[place], segment.st[place + 1])
        return segment.docs[part], segment.tfs[part]
    counts = np.zeros(segment.row_count, np.int64)
    if atom.kind == "any":
        for term in atom.terms:
            docs, tfs = postings(segment, Atom("term", (term,), atom.field))
            counts[docs] += tfs
    else:
        ptr, stream = segment.forward.ptr, segment.forward.stream
        size = len(atom.terms)
        starts = np.ones(max(len(stream) - size + 1, 0), np.bool_)
        for offset, term in enumerate(atom.terms):
            starts &= stream[offset : offset + len(starts)] == term
        places = np.flatnonzero(starts)
        rows = np.searchsorted(ptr, places, "right") - 1
        np.add.at(counts, rows[places + size <= ptr[rows + 1]], 1)
    docs = np.flatnonzero(counts)
    return docs.astype(np.int32), np.minimum(counts[docs], COUNT_MAX).astype(np.uint8)


def having(segments: Sequence[Segment], atoms: Sequence[Atom]) -> Array:
    """int64[atoms]: how many rows have each atom."""
    counts = [sum(len(postings(each, atom)[0]) for each in segments) for atom in atoms]
    return np.array(counts, np.int64)


def scores(segment: Segment, plan: Plan, weighing: Weighing) -> tuple[Array, Flags]:
    """float64[rows] the scores of all rows of a segment, bool[rows] whether each matches."""
    rows = segment.row_count
    sums, has = np.zeros(rows), []
    for number, atom in enumerate(plan.atoms):
        docs, tfs = postings(segment, atom)
        flags = np.zeros(rows, np.bool_)
        flags[docs] = True
        has.append(flags)
        if number < len(plan.weights):
            tf = tfs.astype(np.float64)
            lengths = segment.lengths_of(atom.field)[docs].astype(np.float64)
            norm = weighing.floors[number] + weighing.slopes[number] * lengths
            sums[docs] += weighing.weights[number] * tf / (tf + norm)
    if plan.must:
        passing = np.ones(rows, np.bool_)
        for clause in plan.must:
            passing &= _passing(clause, has, rows)
    else:
        passing = np.zeros(rows, np.bool_)
        for flags in has[: len(plan.weights)]:
            passing |= flags
    for clause in plan.must_not:
        passing &= ~_passing(clause, has, rows)
    sums[~passing] = 0.0
    return sums, passing


def _passing(clause: Alternatives, has: Sequence[Flags], rows: int) -> Flags:
    passing = np.zeros(rows, np.bool_)
    for atoms in clause:
        all_of = np.ones(rows, np.bool_)
        for atom in atoms:
            all_of &= has[atom]
        passing |= all_of
    return passing


def matching(segments: Sequence[Segment], plan: Plan, weighing: Weighing) -> Words:
    """The bitmap of the rows that match."""
    flags = [scores(each, plan, weighing)[1] for each in segments]
    return bitmaps.pack(np.concatenate([np.zeros(0, np.bool_), *flags]))


def score_rows(segments: Sequence[Segment], plan: Plan, weighing: Weighing, rows: Array) -> Array:
    """float64[n]: the scores of these rows; 0 for one that does not match."""
    sums = [scores(each, plan, weighing)[0] for each in segments]
    chosen: Array = np.concatenate([np.zeros(0), *sums])[rows]
    return chosen


def best(
    segments: Sequence[Segment], plan: Plan, weighing: Weighing, k: int, allow: Words | None
) -> tuple[Array, Array]:
    """The rows (int64) and scores (float64) of the k best that match; ties by lower row."""
    pairs = [scores(each, plan, weighing) for each in segments]
    sums = np.concatenate([np.zeros(0), *(each for each, _ in pairs)])
    passing = np.concatenate([np.zeros(0, np.bool_), *(each for _, each in pairs)])
    if allow is not None:
        passing = passing & bitmaps.unpack(allow, len(passing))
    rows = np.flatnonzero(passing)
    order = np.lexsort((rows, -sums[rows]))[:k]
    chosen = rows[order].astype(np.int64)
    return chosen, sums[chosen]


def top(
    segments: Sequence[Segment],
    plan: Plan,
    totals: Totals,
    k1: float,
    b: float,
    k: int,
    allow: Words | None,
) -> tuple[Array, Array]:
    """``best`` of a plan that is not weighed yet."""
    weighing = weighing_of(plan, having(segments, plan.atoms), totals, k1, b)
    return best(segments, plan, weighing, k, allow)


def top_of_words(*asked: Any) -> None:
    """As ``compiled.top_of_words``: never."""


def learn_rows(
    texts: Sequence[bytes],
    fields: Sequence[int],
    row_ends: Sequence[int],
    vocabulary: Vocabulary,
    stems: Stems,
) -> Learnt:
    """As ``compiled.learn_rows``."""
    keys: list[bytes | None] = []
    ptr = [0]
    totals = np.zeros((2, FIELDS_MAX), np.int64)
    for first, last in itertools.pairwise(row_ends):
        lengths: dict[int, int] = {}
        for text, field in zip(texts[first:last], fields[first:last], strict=True):
            if field in lengths:
                keys.append(None)
            prefix, words = prefix_of(field, SURFACE), _TOKEN.findall(text.lower())
            keys += [prefix + word for word in words]
            lengths[field] = lengths.get(field, 0) + len(words)
        for field, length in lengths.items():
            totals[:, field] += length > 0, min(length, LENGTH_MAX)
        ptr.append(len(keys))
    terms: dict[bytes | None, int] = {None: GAP}
    new = []
    for key in dict.fromkeys(keys):
        if key is not None and (term := vocabulary.term_of(key)) is not None:
            terms[key] = term
        elif key is not None:
            new.append(key)
    names = stems([key[1:] for key in new], [key[0] >> 1 for key in new])
    named = [
        (key, prefix_of(key[0] >> 1, TERM) + name) for key, name in zip(new, names, strict=True)
    ]
    terms.update(zip(new, vocabulary.learn(named), strict=True))
    stream = np.array([terms[key] for key in keys], np.int32)
    return Learnt(stream, np.array(ptr, np.int64), totals)


def near_words(
    vocabulary: Vocabulary, entries: int, field: int, word: bytes, limit: int
) -> list[int]:
    """The entries of surfaces of a field whose length is at most ``limit`` bytes from a word's."""
    ends = vocabulary.ends[:entries]
    sizes = np.diff(ends, prepend=0) - 1
    near = np.flatnonzero(np.abs(sizes - len(word)) <= limit)
    prefix = prefix_of(field, SURFACE)
    return [entry for entry in near.tolist() if vocabulary.key(entry)[:1] == prefix]


def words_with(blob: Array, ends: Array, entries: int, prefix: bytes) -> Array:
    """The entries of a vocabulary, of any field and kind, that begin with ``prefix``."""
    keys = bytes(blob[: int(ends[entries - 1]) if entries else 0])
    starts = [0, *ends[: max(entries - 1, 0)].tolist()]
    found = [n for n in range(entries) if keys.startswith(prefix, starts[n] + 1, int(ends[n]))]
    return np.array(found, np.int64)
