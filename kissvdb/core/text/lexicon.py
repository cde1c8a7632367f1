"""Texts to terms: the fields, analyzers and words of one index."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.postings.query import Atom
from kissvdb.core.postings.segment import Forward
from kissvdb.core.postings.vocabulary import SURFACE, TERM, Vocabulary, prefix_of
from kissvdb.core.text.analysis import ANALYSIS, Analyzer
from kissvdb.core.text.fields import TEXTS_MAX, strings
from kissvdb.core.text.query import Clause
from kissvdb.core.text.settings import (
    FIELD_NAME_CHARS_MAX,
    FIELDS_MAX,
    FieldSettings,
    TextSettings,
)
from kissvdb.errors import InvalidArgument

Texts = Sequence[tuple[str, str]]
"""The texts of one row: (path, text)."""
Array = npt.NDArray[Any]
Asked = tuple[Array, Array]
"""Fields by number, int64[F], and their weights, float64[F]."""
TextRow = Texts | dict[str, Any]
"""A row: its texts, or the document that they are the strings of."""

ASKED_MAX = 10_000
"""Words of queries whose tokens are remembered, each of at most ASKED_CHARS_MAX characters."""
ASKED_CHARS_MAX = 64
ASKED_FIELDS_MAX = 64
"""Choices of fields that are remembered."""
PATHS_KEPT = 4096


@attrs.frozen(eq=False)
class TextField:
    """A field that is searched."""

    number: int
    path: str
    settings: FieldSettings
    analyzer: Analyzer

    @cached_property
    def is_words(self) -> bool:
        """Whether its tokens are words as they are written."""
        return self.settings.tokenizer == "words"


class _Writable(dict[str, int]):
    """The number of the field of a path, new if need be; -1 if it is not searched. Of so many paths
    it is remembered."""

    def __init__(self, writable: Callable[[str], TextField | None]) -> None:
        super().__init__()
        self._writable = writable

    def __missing__(self, path: str) -> int:
        field = self._writable(path) if len(path) <= FIELD_NAME_CHARS_MAX else None
        number = -1 if field is None else field.number
        if len(self) < PATHS_KEPT:
            self[path] = number
        return number


class Lexicon:
    """One thread writes (``forward``, ``writable``); any thread reads."""

    def __init__(self, settings: TextSettings, vocabulary: Vocabulary) -> None:
        self.settings = settings
        self.vocabulary = vocabulary
        self._analyzers: dict[FieldSettings, Analyzer] = {}
        self._fields: dict[str, TextField] = {}
        self._asked: dict[tuple[int, str], tuple[str, ...]] = {}
        self.atoms: dict[tuple[int, str], tuple[Atom | None, ...]] = {}
        """What words of queries are in a field, as typed, where all of it is known: that stays."""
        self._asked_in: dict[Any, tuple[int, Asked | None]] = {}
        self.numbers: Mapping[str, int] = _Writable(self.writable)
        """The number of the field of a path, new if need be; -1 if it is not searched."""
        self.by_number: dict[int, TextField] = {}

    def field(self, path: str) -> TextField | None:
        """The field of a path; None if no row has it, or it is not searched."""
        field = self._fields.get(path)
        if field is None:
            number = self.vocabulary.field_number(path)
            settings = self.settings.field(path)
            if number is None or settings is None:
                return None
            analyzer = self._analyzers.setdefault(settings, Analyzer(settings))
            field = TextField(number, path, settings, analyzer)
            self._fields[path] = self.by_number[number] = field
        return field

    def asked(self, field: TextField, clause: Clause) -> tuple[str, ...]:
        """The tokens of a clause in a field; what was asked for is remembered, since it comes
        again."""
        key = (field.number, clause.text)
        tokens = self._asked.get(key)
        if tokens is None:
            tokens = tuple(clause.tokens(field.analyzer))
            if len(self._asked) >= ASKED_MAX:
                self._asked.clear()
            if len(clause.text) <= ASKED_CHARS_MAX:
                self._asked[key] = tokens
        return tokens

    def asked_in(self, weights: Mapping[str, float] | None) -> Asked | None:
        """The fields that a query without fields of clauses is looked for in, and their weights;
        None if one of them is not of words."""
        key = None if weights is None else tuple(weights.items())
        paths = self.vocabulary.paths
        count, made = self._asked_in.get(key, (-1, None))
        if count != len(paths):
            count = len(paths)
            found = list(self.weighed(tuple(paths) if weights is None else tuple(weights), weights))
            if all(field.is_words for field, _ in found):
                numbers = np.array([field.number for field, _ in found], np.int64)
                made = numbers, np.array([weight for _, weight in found], np.float64)
            if len(self._asked_in) >= ASKED_FIELDS_MAX:
                self._asked_in.clear()
            self._asked_in[key] = count, made
        return made

    def weighed(
        self, paths: Sequence[str], weights: Mapping[str, float] | None
    ) -> Iterator[tuple[TextField, float]]:
        """The fields of these paths that are searched, and their weights: those of the settings for
        what has none."""
        for path in paths:
            field = self.field(path)
            if field is not None:
                weight = field.settings.weight
                yield field, weight if weights is None else weights.get(path, weight)

    def note(self, field: TextField, clause: Clause, atoms: tuple[Atom | None, ...]) -> None:
        """Remember what a word that need not match is in a field."""
        if len(clause.text) <= ASKED_CHARS_MAX and None not in atoms:
            if len(self.atoms) >= ASKED_MAX:
                self.atoms.clear()
            self.atoms[field.number, clause.text] = atoms

    def writable(self, path: str) -> TextField | None:
        """The field of a path, new if need be; None if it is not searched, or one too many."""
        field = self.field(path)
        if field is None and self.settings.field(path) is not None:
            declared, paths = self.settings.fields, self.vocabulary.paths
            others = sum(each not in declared for each in paths)
            if path in declared or others < FIELDS_MAX:
                self.vocabulary.add_field(path)
                return self.field(path)
        return field

    def term(self, field: TextField, token: str) -> int | None:
        """The term of a token as it is written; None if no row ever had it."""
        vocabulary = self.vocabulary
        known = vocabulary.term_of(prefix_of(field.number, SURFACE) + token.encode())
        if known is None:
            name = field.analyzer.term(token).encode()
            known = vocabulary.term_of(prefix_of(field.number, TERM) + name)
        return known

    def forward(self, rows: Sequence[TextRow], engine: Any) -> tuple[Forward, Array]:
        """The terms of rows, and how many by field, as ``Learnt.totals``; new ones are added.
        ``engine``: ``postings.plain`` or compiled."""
        texts, numbers, row_ends = self._gathered(rows)
        stream, ptr, totals = engine.learn_rows(
            self._in_bytes(texts, numbers), numbers, row_ends, self.vocabulary, self.stems
        )
        return Forward(len(rows), ptr, stream), totals

    def _gathered(self, rows: Sequence[TextRow]) -> tuple[list[str], list[int], list[int]]:
        """The texts of rows that are searched, the numbers of their fields, and where rows end."""
        texts: list[str] = []
        numbers: list[int] = []
        row_ends = [0]
        number_of = self.numbers
        for row in rows:
            # Every document that is written comes by here, and most are flat.
            pairs: Iterable[tuple[str, Any]] = row.items() if isinstance(row, dict) else row
            for path, value in pairs:
                kind = type(value)
                if kind is str:
                    if value and (number := number_of[path]) >= 0:
                        texts.append(value)
                        numbers.append(number)
                elif kind is list or kind is dict:
                    for below, text in strings(path, value):
                        if text and (number := number_of[below]) >= 0:
                            texts.append(text)
                            numbers.append(number)
            if len(texts) - row_ends[-1] > TEXTS_MAX:
                del texts[row_ends[-1] + TEXTS_MAX :], numbers[row_ends[-1] + TEXTS_MAX :]
            row_ends.append(len(texts))
        return texts, numbers, row_ends

    def _in_bytes(self, texts: Sequence[str], numbers: Sequence[int]) -> list[bytes]:
        """Texts whose tokens are runs of token bytes; ASCII capitals are made small later."""
        fields = self.by_number
        return [
            text.encode()
            if text.isascii() and fields[number].is_words
            else folded(fields[number], text)
            for text, number in zip(texts, numbers, strict=True)
        ]

    def stems(self, words: Sequence[bytes], numbers: Sequence[int]) -> list[bytes]:
        """The names of the terms of words, in fields of these numbers."""
        fields = self.by_number
        if len(used := set(numbers)) == 1:
            return fields[numbers[0]].analyzer.terms(words)
        analyzers = {number: fields[number].analyzer for number in used}
        stems: dict[Analyzer, dict[bytes, bytes]] = {}
        for analyzer in set(analyzers.values()):
            # A word that is in several fields is stemmed once.
            mine = dict.fromkeys(
                word
                for word, number in zip(words, numbers, strict=True)
                if analyzers[number] is analyzer
            )
            stems[analyzer] = dict(zip(mine, analyzer.terms(list(mine)), strict=True))
        if len(stems) == 1:
            return list(map(next(iter(stems.values())).__getitem__, words))
        return [stems[analyzers[number]][word] for word, number in zip(words, numbers, strict=True)]


def folded(field: TextField, text: str) -> bytes:
    """The tokens of a text as bytes. A lone surrogate, which no request brings, separates."""
    try:
        return field.analyzer.fold(text)
    except InvalidArgument:
        return field.analyzer.fold(text.encode("utf-8", "replace").decode())


def analysis_of(settings: TextSettings) -> Any:
    """What the terms of texts depend on, to be compared as it is stored."""
    fields = {
        path: (each.language, each.tokenizer) for path, each in sorted(settings.fields.items())
    }
    default = settings.default
    return [*ANALYSIS, fields, settings.others, (default.language, default.tokenizer)]
