"""Texts to terms: the fields, analyzers and words of one index."""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from kissvdb.core.postings.segment import Forward
from kissvdb.core.postings.vocabulary import SURFACE, TERM, Vocabulary, prefix_of
from kissvdb.core.text.analysis import ANALYSIS, Analyzer
from kissvdb.core.text.query import Clause
from kissvdb.core.text.settings import FIELDS_MAX, FieldSettings, TextSettings
from kissvdb.errors import InvalidArgument

Texts = Sequence[tuple[str, str]]
"""The texts of one row: (path, text)."""

ASKED_MAX = 10_000
"""Words of queries whose tokens are remembered, each of at most ASKED_CHARS_MAX characters."""
ASKED_CHARS_MAX = 64


@attrs.frozen(eq=False)
class TextField:
    """A field that is searched."""

    number: int
    path: str
    settings: FieldSettings
    analyzer: Analyzer


class Lexicon:
    """One thread writes (``forward``, ``writable``); any thread reads."""

    def __init__(self, settings: TextSettings, vocabulary: Vocabulary) -> None:
        self.settings = settings
        self.vocabulary = vocabulary
        self._analyzers: dict[FieldSettings, Analyzer] = {}
        self._fields: dict[str, TextField] = {}
        self._asked: dict[tuple[int, str], tuple[str, ...]] = {}

    def field(self, path: str) -> TextField | None:
        """The field of a path; None if no row has it, or it is not searched."""
        field = self._fields.get(path)
        if field is None:
            number = self.vocabulary.field_number(path)
            settings = self.settings.field(path)
            if number is None or settings is None:
                return None
            analyzer = self._analyzers.setdefault(settings, Analyzer(settings))
            field = self._fields[path] = TextField(number, path, settings, analyzer)
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

    def forward(self, rows: Sequence[Texts], engine: Any) -> Forward:
        """The terms of rows; new ones are added. ``engine``: ``postings.plain`` or compiled."""
        texts: list[bytes] = []
        fields: list[TextField] = []
        gaps: list[int] = []
        row_ends = [0]
        for row in rows:
            # Where texts of other fields stand between, they may be without any word.
            known: set[int] = set()
            for path, text in row:
                field = self.writable(path)
                if field is None:
                    continue
                texts.append(_in_bytes(field, text))
                fields.append(field)
                gaps.append(field.number in known)
                known.add(field.number)
            row_ends.append(len(texts))
        prefixes = [prefix_of(field.number, SURFACE)[0] for field in fields]
        stream, counts, new = engine.tokenise(texts, prefixes, gaps, self.vocabulary)
        if new:
            stream[[place for place, _, _ in new]] = self._learnt(fields, new)
        ends = np.concatenate([[0], np.cumsum(counts)])
        return Forward(len(rows), ends[row_ends].astype(np.int64), stream)

    def _learnt(
        self, fields: Sequence[TextField], new: Sequence[tuple[int, int, bytes]]
    ) -> list[int]:
        """The terms of words that the vocabulary lacks: (any number, number of the field, word)."""
        prefixes = [prefix_of(number, SURFACE) for number in range(len(self.vocabulary.paths))]
        keys = [prefixes[fields[number].number] + word for _, number, word in new]
        names: list[tuple[bytes, bytes]] = []
        # Of a word that comes again, any occurrence.
        for key, number in dict(zip(keys, (number for _, number, _ in new), strict=True)).items():
            field = fields[number]
            name = field.analyzer.term(key[1:].decode())
            names.append((key, prefix_of(field.number, TERM) + name.encode()))
        learnt = self.vocabulary.learn(names)
        terms = dict(zip((key for key, _ in names), learnt, strict=True))
        return [terms[key] for key in keys]


def _in_bytes(field: TextField, text: str) -> bytes:
    """A text whose tokens are runs of token bytes; ASCII capitals are made small later."""
    if field.settings.tokenizer == "words" and text.isascii():
        return text.encode()
    return folded(field, text)


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
