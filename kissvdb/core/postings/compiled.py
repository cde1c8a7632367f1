"""Search of segments by compiled kernels: the same answers as ``plain``, bit by bit."""

import itertools
import threading
from collections.abc import Sequence
from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core import bitmaps
from kissvdb.core.bitmaps import Words
from kissvdb.core.postings.inverting import build as build
from kissvdb.core.postings.inverting import build_few as build_few
from kissvdb.core.postings.query import Alternatives, Atom, Plan, Totals, Weighing, weighing_of
from kissvdb.core.postings.quick import top_of_words as top_of_words
from kissvdb.core.postings.segment import Parts
from kissvdb.core.postings.vocabulary import (
    FIELDS_MAX,
    SURFACE,
    Learnt,
    Stems,
    Vocabulary,
    prefix_of,
)
from kissvdb.kernels.text import forward as scanning
from kissvdb.kernels.text import learning, maxscore, memory, octets, words
from kissvdb.kernels.text import lists as listing
from kissvdb.kernels.text import terms as searching

Array = npt.NDArray[Any]

BITMAPS_KEPT: Final = 64
"""Of one query while it is answered: most atoms are asked for once, and there may be thousands."""

PADDING: Final = bytes(octets.PADDING)
RECENT_WORDS: Final = 1024
"""Of many texts so many words are found without the vocabulary, in 32 KiB."""
RECENT_FROM_BYTES: Final = 65_536

_ALL_ROWS: Final = np.zeros(0, np.uint64)


class _Scratch(threading.local):
    """Working memory of one thread's searches, which leave it as they found it."""

    def __init__(self) -> None:
        self.sums = np.zeros(maxscore.WINDOW)
        self.touched = np.zeros(maxscore.WINDOW // 64, np.uint64)
        self.sieve = np.zeros(scanning.SIEVE_WORDS, np.uint64)


_scratch: Final = _Scratch()


@attrs.define(eq=False)
class _Lists:
    """The rows of the atoms of a plan in all segments; ``kept``: arrays that are only here."""

    table: Array
    lists: Array
    kept: list[Array]

    @classmethod
    def of(cls, segments: Parts, atoms: Sequence[Atom]) -> "_Lists":
        table = segments.table
        terms = np.array([a.terms[0] if a.kind == "term" else -1 for a in atoms], np.int64)
        fields = np.array([atom.field for atom in atoms], np.int64)
        made = cls(table, _lists(table, terms, fields), [])
        for number, atom in enumerate(atoms):
            if atom.kind != "term":
                made._materialise(number, atom)
        return made

    def _materialise(self, number: int, atom: Atom) -> None:
        terms = np.array(atom.terms, np.int64)
        parts = _lists(self.table, terms, np.full(len(terms), atom.field, np.int64))
        for s, line in enumerate(self.table):
            rows = int(line[memory.ROWS])
            sizes = parts[s, :, memory.LIST_SIZE]
            if not (sizes.any() if atom.kind == "any" else sizes.all()):
                continue
            counts = np.zeros(rows, np.int32)
            if atom.kind == "any":
                listing.any_of(parts[s], counts)
            else:
                listing.phrase(self.table, s, parts[s], terms, counts)
            docs, tfs = np.empty(rows, np.int32), np.empty(rows, np.uint8)
            bounds = np.zeros(2, np.int64)
            mine = self.lists[s, number]
            lengths = int(mine[memory.LIST_LENGTHS])
            size = listing.gather(counts, lengths, docs, tfs, bounds)
            mine[:5] = (docs.ctypes.data, tfs.ctypes.data, size, bounds[0], bounds[1])
            self.kept += (docs, tfs)

    def bitmap(self, atom: int, row_count: int) -> Words:
        found = np.zeros(bitmaps.word_count(row_count), np.uint64)
        listing.set_bits(self.lists, self.table, atom, found)
        return found


def _lists(table: Array, terms: Array, fields: Array) -> Array:
    lists = np.zeros((len(table), len(terms), memory.LIST_COLUMNS), np.int64)
    listing.find_lists(table, terms, fields, lists)
    return lists


def having(segments: Parts, atoms: Sequence[Atom]) -> Array:
    """int64[atoms]: how many rows have each atom."""
    if any(atom.kind != "term" for atom in atoms):
        sizes = _Lists.of(segments, atoms).lists[:, :, memory.LIST_SIZE]
        summed: Array = sizes.sum(axis=0, dtype=np.int64)
        return summed
    terms = np.array([atom.terms[0] for atom in atoms], np.int64)
    counts = np.zeros(len(atoms), np.int64)
    listing.having_terms(segments.table, terms, counts)
    return counts


def _matching(made: _Lists, plan: Plan, row_count: int) -> Words:
    """The bitmap of the rows that match."""
    cache: dict[int, Words] = {}

    def of_atom(atom: int) -> Words:
        if atom not in cache:
            if len(cache) >= BITMAPS_KEPT:
                cache.clear()
            cache[atom] = made.bitmap(atom, row_count)
        return cache[atom]

    def of_clause(clause: Alternatives) -> Words:
        found = np.zeros(bitmaps.word_count(row_count), np.uint64)
        for atoms in clause:
            together = bitmaps.full(row_count) if not atoms else of_atom(atoms[0]).copy()
            for atom in atoms[1:]:
                together &= of_atom(atom)
            found |= together
        return found

    if plan.must:
        passing = of_clause(plan.must[0])
        for clause in plan.must[1:]:
            passing &= of_clause(clause)
    else:
        passing = np.zeros(bitmaps.word_count(row_count), np.uint64)
        for atom in range(len(plan.weights)):
            passing |= of_atom(atom)
    for clause in plan.must_not:
        passing &= ~of_clause(clause)
    return passing


def matching(segments: Parts, plan: Plan, weighing: Weighing) -> Words:
    """The bitmap of the rows that match."""
    return _matching(_Lists.of(segments, plan.atoms), plan, segments.row_count)


def _asked(plan: Plan) -> tuple[Array, Array, Array, Array, Array]:
    """What scores, in the form rows are scanned for: pairs, sieve, phrases, their ends, counts."""
    atoms = plan.atoms[: len(plan.weights)]
    pairs = sorted(
        (term, number)
        for number, atom in enumerate(atoms)
        if atom.kind != "phrase"
        for term in atom.terms
    )
    made = np.array(pairs, np.int64).reshape(-1, 2).T.copy()
    sieve = np.zeros(scanning.SIEVE_WORDS, np.uint64)
    bits = made[0] & 2047
    np.bitwise_or.at(sieve, bits >> 6, np.uint64(1) << (bits & 63).astype(np.uint64))
    phrases = [atom.terms if atom.kind == "phrase" else () for atom in atoms]
    ends = np.cumsum([0, *map(len, phrases)])[1:].astype(np.int64)
    flat = np.array([term for each in phrases for term in each], np.int64)
    return made, sieve, flat, ends, np.zeros(max(len(atoms), 1), np.int64)


def _scoring_lists(made: _Lists, plan: Plan) -> Array:
    return made.lists[:, : len(plan.weights)].copy()


def _constants(weighing: Weighing) -> Array:
    return np.stack([weighing.weights, weighing.floors, weighing.slopes])


def score_rows(segments: Parts, plan: Plan, weighing: Weighing, rows: Array) -> Array:
    """float64[n]: the scores of these rows; 0 for one that does not match."""
    rows = np.ascontiguousarray(rows, np.int64)
    scores = np.zeros(len(rows))
    if not plan.weights or not len(rows):
        return scores
    if plan.is_plain:
        table = segments.table
        fields = np.array([atom.field for atom in plan.atoms], np.int64)
        lists = _lists(table, np.full(len(fields), -1, np.int64), fields)
    else:
        made = _Lists.of(segments, plan.atoms)
        table, lists = made.table, _scoring_lists(made, plan)
    if rows.min() < 0 or rows.max() >= segments.row_count:
        raise IndexError("a row that is not in this view")
    pairs, sieve, phrases, ends, counts = _asked(plan)
    scanning.score_rows(
        table, lists, _constants(weighing), pairs, sieve, phrases, ends, counts, rows, scores
    )
    if not plan.is_plain:
        passing = bitmaps.unpack(_matching(made, plan, segments.row_count), segments.row_count)
        scores[~passing[rows]] = 0.0
    return scores


def best(
    segments: Parts, plan: Plan, weighing: Weighing, k: int, allow: Words | None
) -> tuple[Array, Array]:
    """The rows (int64) and scores (float64) of the k best that match; ties by lower row."""
    row_count = segments.row_count
    k = min(k, row_count)
    scores, rows = np.empty(k), np.empty(k, np.int64)
    if not plan.weights or not k:
        return rows[:0], scores[:0]
    made = _Lists.of(segments, plan.atoms)
    allow = _ALL_ROWS if allow is None else np.require(allow, np.uint64, ("C", "W"))
    if not plan.is_plain:
        passing = _matching(made, plan, row_count)
        allow = passing if allow is _ALL_ROWS else passing & allow
    constants = _constants(weighing)
    lists = made.lists if len(plan.weights) == len(plan.atoms) else _scoring_lists(made, plan)
    if allow is not _ALL_ROWS and _is_narrow(segments, lists, allow):
        pairs, sieve, phrases, ends, counts = _asked(plan)
        count = scanning.best_allowed(
            made.table, lists, constants, pairs, sieve, phrases, ends, counts, allow, scores, rows
        )
        return rows[:count], scores[:count]
    atoms = len(plan.weights)
    count = maxscore.best(
        made.table,
        segments.turns,
        lists,
        constants,
        allow,
        scores,
        rows,
        np.zeros((3, atoms), np.int64),
        np.zeros((2, atoms + 1)),
        _scratch.sums,
        _scratch.touched,
    )
    return rows[:count], scores[:count]


def top(
    segments: Parts,
    plan: Plan,
    totals: Totals,
    k1: float,
    b: float,
    k: int,
    allow: Words | None,
) -> tuple[Array, Array]:
    """``best`` of a plan that is not weighed yet; of terms alone in one call."""
    k, atoms = min(k, segments.row_count), plan.atoms
    if not (atoms and k and plan.is_of_terms):
        weighing = weighing_of(plan, having(segments, atoms), totals, k1, b)
        return best(segments, plan, weighing, k, allow)
    scores, rows = np.empty(k), np.empty(k, np.int64)
    allow = _ALL_ROWS if allow is None else np.require(allow, np.uint64, ("C", "W"))
    scratch, size = _scratch, len(atoms)
    count = searching.best(
        segments.table,
        segments.turns,
        np.array([atom.terms[0] for atom in atoms], np.int64),
        np.array([atom.field for atom in atoms], np.int64),
        np.array(plan.weights, np.float64),
        totals.table,
        k1,
        b,
        segments.scan_cost,
        allow,
        scores,
        rows,
        np.zeros((len(segments), size, memory.LIST_COLUMNS), np.int64),
        np.empty((3, size)),
        np.empty((5, size), np.int64),
        np.empty((2, size + 1)),
        scratch.sieve,
        scratch.sums,
        scratch.touched,
    )
    return rows[:count], scores[:count]


def _is_narrow(segments: Parts, lists: Array, allow: Words) -> bool:
    """Whether scanning the allowed rows costs less than walking lists."""
    scanned = bitmaps.count(allow) * segments.scan_cost
    return scanned < int(lists[:, :, memory.LIST_SIZE].sum())


def words_with(blob: Array, ends: Array, entries: int, prefix: bytes) -> Array:
    """The entries of a vocabulary, of any field and kind, that begin with ``prefix``."""
    wanted = np.frombuffer(bytearray(prefix), np.uint8)
    found = np.empty(entries, np.int64)
    count = words.beginning(blob.ctypes.data, ends.ctypes.data, entries, wanted, found)
    return found[:count]


def near_words(vocabulary: Vocabulary, entries: int, field: int, word: bytes, limit: int) -> Array:
    """The entries of surfaces of a field that are at most ``limit`` edits of bytes from a word."""
    found, distances = np.empty(entries, np.int64), np.empty(entries, np.int64)
    if not 0 < len(word) <= words.NEAR_BYTES_MAX:
        return found[:0]
    count = words.near(
        vocabulary.blob.ctypes.data,
        vocabulary.ends.ctypes.data,
        entries,
        prefix_of(field, SURFACE)[0],
        np.frombuffer(bytearray(word), np.uint8),
        limit,
        np.zeros((3, words.NEAR_BYTES_MAX + 1), np.int64),
        found,
        distances,
    )
    return found[:count]


def learn_rows(
    texts: Sequence[bytes],
    fields: Sequence[int],
    row_ends: Sequence[int],
    vocabulary: Vocabulary,
    stems: Stems,
) -> Learnt:
    """The terms of rows, new ones of which the vocabulary learns. Of texts that are ASCII or folded
    text i is in the field of the number ``fields[i]``; row i has the texts ``row_ends[i]`` to
    ``row_ends[i + 1]``."""
    text = np.frombuffer(bytearray(b"".join([*texts, PADDING])), np.uint8)
    ends = np.fromiter(itertools.accumulate(map(len, texts)), np.int64, len(texts))
    return learn_text(
        text, ends, np.array(fields, np.int64), np.array(row_ends, np.int64), vocabulary, stems
    )


def learn_text(
    text: Array, ends: Array, fields: Array, row_ends: Array, vocabulary: Vocabulary, stems: Stems
) -> Learnt:
    """The same of texts one after the other in ``text`` (uint8, not kept as it is), PADDING behind
    them, each up to where it ``ends``; the others as arrays of int64, too."""
    tokens, count, rows = len(text) // 2 + 1, len(ends), len(row_ends) - 1
    recent = np.zeros((RECENT_WORDS if len(text) > RECENT_FROM_BYTES else 16, 4), np.uint64)
    shape = np.concatenate([[count], ends, fields, row_ends])
    stream, words = np.empty(tokens + count, np.int32), np.empty((tokens, 4), np.int64)
    counted = np.zeros(rows + 1 + 4 * FIELDS_MAX, np.int64)
    seen = np.zeros(1 << (2 * tokens).bit_length(), np.int32)
    new = learning.tokenise(
        text, shape, vocabulary.addresses(), stream, counted, seen, words, recent
    )
    ptr = counted[: rows + 1]
    totals = counted[rows + 1 : rows + 1 + 2 * FIELDS_MAX].reshape(2, FIELDS_MAX)
    stream = stream[: ptr[rows]]
    if new:
        _learn(text, words[:new], shape, fields, vocabulary, stems, stream)
    return Learnt(stream, ptr, totals)


def _learn(
    text: Array,
    words: Array,
    shape: Array,
    fields: Array,
    vocabulary: Vocabulary,
    stems: Stems,
    stream: Array,
) -> None:
    """Add new words (``learning.tokenise``), and put their terms into the stream."""
    folded = text.tobytes()
    starts, stops, _, _ = words.T.tolist()
    new = [folded[start:stop] for start, stop in zip(starts, stops, strict=True)]
    names = stems(new, fields[words[:, 2]].tolist())
    blob = b"".join(names)
    octets = sum(map(len, new)) + len(blob) + 2 * len(new)
    room = vocabulary.room(2 * len(new), octets, len(new))
    now = np.array([vocabulary.entries, vocabulary.terms], np.int64)
    learning.learn(
        text,
        words,
        shape,
        np.frombuffer(bytearray(blob), np.uint8),
        np.array([*itertools.accumulate(map(len, names))], np.int64),
        vocabulary.salt,
        *room,
        now,
        stream,
        np.empty(len(new), np.int32),
    )
    vocabulary.grown(*now.tolist())
