"""The text index: every word of every text field of every row; the best rows of a query.

One writer appends rows 0, 1, 2, ...; readers hold immutable views. New rows wait in a short tail
that is indexed when somebody searches; full tails become segments, and small segments are merged
into larger ones, as in the metadata index. The index is derived: it can always be built again from
the rows. It knows no tombstones: deleted rows are kept out by ``allow``, and count in how rare a
word is until a vacuum (``remap``) drops them.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs
import msgspec
import numpy as np
import numpy.typing as npt

from kissvdb.core import merging
from kissvdb.core.bitmaps import Words
from kissvdb.core.metadata.flat import Flat
from kissvdb.core.postings import query as queries
from kissvdb.core.postings import segment as text_segment
from kissvdb.core.postings import segment_arrays
from kissvdb.core.postings.query import Atom, Plan, Totals, Weighing
from kissvdb.core.postings.segment import Segment
from kissvdb.core.postings.state import State, TextKernels, engine_of, summed
from kissvdb.core.postings.tail import Tail
from kissvdb.core.postings.vocabulary import Vocabulary
from kissvdb.core.text import flat_texts
from kissvdb.core.text.beginnings import Beginnings
from kissvdb.core.text.lexicon import Lexicon, TextField, TextRow, analysis_of
from kissvdb.core.text.plan import plan_of
from kissvdb.core.text.query import TextQuery
from kissvdb.core.text.settings import TextSettings
from kissvdb.core.text.typos import Near, bounded_distance
from kissvdb.errors import Damaged

TAIL_ROWS_MAX = 256
INLINE_MERGE_ROWS_MAX = 1024
"""``extend`` merges young segments to at most this itself; more waits for ``merge_due``."""
SEGMENT_ROWS_MAX = 2**18
_BUILD_ROWS_MAX = 4096

Array = npt.NDArray[Any]


class TextHits(msgspec.Struct, frozen=True, eq=False):
    """``rows``: int64[n], ``scores``: float64[n], best first, ties by lower row. ``total``: how
    many rows match, where that is known. ``ignored``: how many of the query's terms, or of the
    terms a beginning stands for, were not looked for because they are too many."""

    rows: Array
    scores: Array
    total: int | None = None
    ignored: int = 0


@attrs.frozen(eq=False)
class TextView:
    """The rows 0..row_count - 1 as they were when the view was taken; good for any thread."""

    row_count: int
    _lexicon: Lexicon
    _state: State
    _kernels: TextKernels | None

    @property
    def settings(self) -> TextSettings:
        return self._lexicon.settings

    @property
    def paths(self) -> list[str]:
        """The fields that some row has, in the order they came."""
        return list(self._lexicon.vocabulary.paths)

    def search(self, query: TextQuery, k: int, allow: Words | None = None) -> TextHits:
        """The k best rows that match, of those in the bitmap ``allow`` if it is given."""
        state, settings = self._state, self.settings
        if query.words is not None and (asked := self._lexicon.asked_in(query.fields)) is not None:
            best = self._engine.top_of_words(
                state, query.words, *asked, settings.k1, settings.b, k, allow
            )
            if best is not None:
                return TextHits(*best)
        plan = self._plan(query)
        rows, scores = self._engine.top(
            state.parts, plan, state.totals, settings.k1, settings.b, k, allow
        )
        return TextHits(rows, scores, None, plan.ignored)

    def score(self, query: TextQuery, rows: Array) -> Array:
        """float64[n]: the scores of ``rows`` (int64[n]); 0 for one that does not match."""
        scores: Array = self._engine.score_rows(self._state.parts, *self._weighed(query), rows)
        return scores

    def matching(self, query: TextQuery, allow: Words | None = None) -> Words:
        """The bitmap of the rows that match, of those in ``allow`` if it is given."""
        words: Words = self._engine.matching(self._state.parts, *self._weighed(query))
        return words if allow is None else words & allow

    def ceiling(self, query: TextQuery) -> float:
        """What the score of a row with all words comes near to: the sum over words of idf with
        weight, in the field where that is most. 0 if no row has any of them."""
        plan, weighing = self._weighed(query)
        return queries.ceiling(plan, weighing.weights)

    def rows_with(self, path: str, token: str) -> int:
        """How many rows have a folded word in a field, deleted ones included."""
        field = self._lexicon.field(path)
        term = None if field is None else self._lexicon.term(field, token)
        if field is None or term is None:
            return 0
        return int(self._having([Atom("term", (term,), field.number)])[0])

    def near(self, path: str, token: str, distance_max: int, limit: int) -> list[Near]:
        """Words of a field at most that far from a folded one, the nearest first, then those that
        most rows have."""
        field, vocabulary = self._lexicon.field(path), self._lexicon.vocabulary
        if field is None:
            return []
        # A letter is up to three bytes more in some scripts.
        bytes_max = distance_max if token.isascii() else 3 * distance_max
        entries = self._engine.near_words(
            vocabulary, self._state.entries, field.number, token.encode(), bytes_max
        )
        distances = []
        for entry in map(int, entries):
            other = vocabulary.key(entry)[1:].decode()
            distance = bounded_distance(other, token, distance_max)
            if distance <= distance_max:
                distances.append((other, distance, int(vocabulary.values[entry])))
        counts = self._having([Atom("term", (term,), field.number) for _, _, term in distances])
        found = [
            Near(word, distance, int(rows))
            for (word, distance, _), rows in zip(distances, counts, strict=True)
        ]
        return sorted(found, key=lambda near: (near.distance, -near.rows, near.word))[:limit]

    def remap(self, keep_rows: npt.NDArray[np.integer[Any]]) -> "TextIndex":
        """A new index of the rows ``keep_rows`` (ascending) only, renumbered from 0: a vacuum.
        Words that no row has any more are forgotten."""
        keep = np.asarray(keep_rows, np.intp)
        forwards, first = [], 0
        for segment in self._state.stored:
            last = first + segment.row_count
            inside = keep[np.searchsorted(keep, first) : np.searchsorted(keep, last)] - first
            if len(inside):
                forwards.append(text_segment.take(segment.forward, inside))
            first = last
        used = np.zeros(self._state.terms, np.bool_)
        for forward in forwards:
            used[forward.stream[forward.stream >= 0]] = True
        vocabulary, terms = self._lexicon.vocabulary.with_terms(used, self._state.entries)
        index = TextIndex(self.settings, self._kernels, vocabulary)
        segments = []
        for forward in forwards:
            stream = np.where(forward.stream >= 0, terms[forward.stream], forward.stream)
            renamed = attrs.evolve(forward, stream=stream.astype(np.int32))
            segments.append(self._engine.build(renamed, vocabulary.fields))
        index._adopt(segments)
        index.settle()
        return index

    def to_arrays(self) -> dict[str, Array]:
        """The view as named arrays to store; ``TextIndex.from_arrays`` opens them again."""
        state, vocabulary = self._state, self._lexicon.vocabulary
        counts, arrays = segment_arrays.pack(state.stored)
        totals = state.totals
        header = segment_arrays.Header(
            segment_arrays.FORMAT,
            _analysis(self.settings),
            vocabulary.salt,
            list(vocabulary.paths),
            list(zip(totals.rows.tolist(), totals.terms.tolist(), strict=True)),
            counts,
        )
        words = vocabulary.to_arrays(state.entries, state.terms)
        return {"header": segment_arrays.encode(header), **words, **arrays}

    @property
    def _engine(self) -> Any:
        return engine_of(self._kernels)

    def _weighed(self, query: TextQuery) -> tuple[Plan, Weighing]:
        settings = self.settings
        plan = self._plan(query)
        having = self._having(plan.atoms)
        totals = self._state.totals
        return plan, queries.weighing_of(plan, having, totals, settings.k1, settings.b)

    def _plan(self, query: TextQuery) -> Plan:
        return plan_of(query, self._lexicon, self._having, self._beginning)

    def _having(self, atoms: Sequence[Atom]) -> Any:
        return self._engine.having(self._state.parts, tuple(atoms))

    def _beginning(self, field: TextField, beginning: str) -> list[int]:
        return self._begun.terms(self._engine, field.number, beginning)

    @cached_property
    def _begun(self) -> Beginnings:
        return Beginnings(self._lexicon.vocabulary, self._state.entries)


class TextIndex:
    """The writer's side: one thread at a time, but ``view``, which any thread may call."""

    def __init__(
        self,
        settings: TextSettings,
        kernels: TextKernels | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        vocabulary = Vocabulary() if vocabulary is None else vocabulary
        self._kernels = kernels
        self._lexicon = Lexicon(settings, vocabulary)
        self._state = State(vocabulary, kernels=kernels)

    @property
    def settings(self) -> TextSettings:
        return self._lexicon.settings

    @property
    def row_count(self) -> int:
        return self._state.indexed_rows + self._state.tail.row_count

    def view(self) -> TextView:
        """All rows added so far. Costs a microsecond."""
        state = self._state
        return TextView(
            state.indexed_rows + state.tail.row_count, self._lexicon, state, self._kernels
        )

    def extend(self, first_row: int, rows: Sequence[TextRow]) -> None:
        """Append rows first_row, first_row + 1, ...: of each its texts, or its document."""
        if first_row != self.row_count:
            raise ValueError(f"row {first_row} does not follow {self.row_count} rows")
        for start in range(0, len(rows), _BUILD_ROWS_MAX):
            chunk = rows[start : start + _BUILD_ROWS_MAX]
            self._add(self._lexicon.forward(chunk, engine_of(self._kernels)))

    def extend_by(self, first_row: int, flat: Flat) -> None:
        """Append rows: documents that were taken apart."""
        if first_row != self.row_count:
            raise ValueError(f"row {first_row} does not follow {self.row_count} rows")
        self._add(flat_texts.forward(self._lexicon, flat, engine_of(self._kernels)))

    def _add(self, added: tuple[text_segment.Forward, Array]) -> None:
        self._replace(tail=self._state.tail.extended(*added))
        if self._state.tail.row_count >= TAIL_ROWS_MAX:
            self._seal()

    def _replace(self, **changes: Any) -> None:
        vocabulary = self._lexicon.vocabulary
        state = self._state
        self._state = State(
            vocabulary,
            changes.get("segments", state.segments),
            changes.get("sealed", state.sealed),
            changes.get("tail", state.tail),
            vocabulary.entries,
            vocabulary.terms,
            vocabulary.fields,
            self._kernels,
        )

    def _seal(self) -> None:
        state = self._state
        made = self._build(state.tail.forward)
        self._replace(
            segments=(*state.segments, made),
            sealed=summed([made], state.sealed),
            tail=Tail.empty(),
        )
        while (due := self._young_due()) is not None:
            self.install(due, self.merge(due))

    def _build(self, forward: text_segment.Forward) -> Segment:
        made: Segment = engine_of(self._kernels).build(forward, self._lexicon.vocabulary.fields)
        return made

    def _young_due(self) -> tuple[Segment, ...] | None:
        return merging.due(self._state.segments[self._stable_count() :], INLINE_MERGE_ROWS_MAX)

    def _stable_count(self) -> int:
        """How many segments ``extend`` leaves alone; so a merge of these never comes too late."""
        segments = self._state.segments
        count = len(segments)
        while count and segments[count - 1].row_count <= INLINE_MERGE_ROWS_MAX // 2:
            count -= 1
        return count

    def merge_due(self) -> tuple[Segment, ...] | None:
        """Segments that it is time to ``merge``, and then to ``install``; None without such."""
        return merging.due(self._state.segments[: self._stable_count()], SEGMENT_ROWS_MAX)

    def merge(self, due: tuple[Segment, ...]) -> Segment:
        """One segment of several. May run in another thread while rows are added."""
        return self._build(text_segment.joined([segment.forward for segment in due]))

    def install(self, due: tuple[Segment, ...], merged: Segment) -> None:
        """Put the merge of ``due`` in their place. ValueError if they are not there any more."""
        segments = merging.replaced(self._state.segments, due, merged)
        self._replace(segments=segments)

    def settle(self) -> None:
        """Do all merges that make fewer segments, small or large, here and now."""
        while (due := merging.due(self._state.segments, SEGMENT_ROWS_MAX)) is not None:
            self.install(due, self.merge(due))

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, Array],
        settings: TextSettings,
        kernels: TextKernels | None = None,
    ) -> "TextIndex":
        """The index of ``TextView.to_arrays``. The arrays are used as they are, not copied, so they
        may be memory-mapped, read-only. Raises Damaged if they do not fit together, or are of other
        settings: then the index is to be built again from the rows.
        """
        header = segment_arrays.decode(arrays)
        if header.analysis != _analysis(settings):
            raise Damaged("text index: its terms were made by other settings")
        try:
            vocabulary = Vocabulary.from_arrays(arrays, header.salt, header.paths)
        except KeyError as error:
            raise Damaged(f"text index: {error} is missing") from error
        index = cls(settings, kernels, vocabulary)
        segments = segment_arrays.unpack(header, arrays)
        totals = np.array(header.totals, np.int64).reshape(-1, 2)
        if len(totals) != len(Totals.zero().rows):
            raise Damaged("text index: the totals are not of all fields")
        index._adopt(segments, Totals(totals[:, 0].copy(), totals[:, 1].copy()))
        return index

    def _adopt(self, segments: Sequence[Segment], totals: Totals | None = None) -> None:
        if totals is None:
            totals = summed(segments, Totals.zero())
        self._replace(segments=tuple(segments), sealed=totals, tail=Tail.empty())


def _analysis(settings: TextSettings) -> str:
    return msgspec.json.encode(analysis_of(settings)).decode()
