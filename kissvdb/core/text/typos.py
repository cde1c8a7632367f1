"""Words that no text has, taken for the word they are nearly: bounded edit distance.

Only a word that is nowhere in the fields it is looked for in is corrected, and none of what a field
of keywords or n-grams has as it was typed: to words one mistake away, or two if at least two rows
have them (one alone may be somebody's typo). Distances are of optimal string alignment: a letter
inserted, left out or replaced, or two neighbours swapped, is 1. Up to three words are looked for
instead of one, the likeliest counting most. Figures of these choices are in docs/search.md.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import attrs

from kissvdb.core.text.analysis import Analyzer
from kissvdb.core.text.folding import UNPARTED
from kissvdb.core.text.query import Clause, TextQuery
from kissvdb.core.text.settings import TextSettings

LENGTH_MIN = 4
"""A shorter word is near too many others."""
LENGTH_OF_TWO = 7
"""From this length on two mistakes are forgiven, below it one."""
ROWS_MIN = 2
"""How many rows a word must have to be what was meant by one two mistakes away."""
SCANS_MAX = 64
"""Of the vocabularies of fields, for one query: with 64 fields one word is corrected."""
LOOKS_MAX = 1024
"""How often it is looked whether a field has a word; of a longer query the rest stays as it is."""
ALTERNATIVES_MAX = 3
"""Words that are looked for in place of one."""
NEAR_MAX = 32

_UNCORRECTED = f"[0-9{UNPARTED}]"
"""Numbers, versions and codes are meant as they are; pairs of characters are near all others."""


@attrs.frozen
class Near:
    """A word of a field's vocabulary, how far it is from another, and how many rows have it."""

    word: str
    distance: int
    rows: int


class Vocabulary(Protocol):
    """What corrections ask of an index of texts (``TextView``)."""

    def rows_with(self, field: str, token: str) -> int:
        """How many rows have the token's term in a field; 0: it is unknown there."""
        ...

    def near(self, field: str, token: str, distance_max: int, limit: int) -> Sequence[Near]:
        """Words of a field at most that far away, the nearest first, then the commonest."""
        ...


class Texts(Vocabulary, Protocol):
    """What else there is to ask it."""

    @property
    def settings(self) -> TextSettings: ...

    @property
    def paths(self) -> Sequence[str]:
        """The fields that some row has."""
        ...


def corrected(
    query: TextQuery, texts: Texts | None
) -> tuple[TextQuery, Mapping[str, Sequence[str]]]:
    """The query with words that no text has taken for those that are near, and which they are."""
    if texts is None or not query.typos:
        return query, {}
    fields = {path: texts.settings.field(path) for path in texts.paths}
    analyzers = {path: Analyzer(field) for path, field in fields.items() if field is not None}
    fixed = corrections(query, texts, analyzers)
    return query.corrected(fixed) if fixed else query, fixed


def corrections(
    query: TextQuery, vocabulary: Vocabulary, analyzers: Mapping[str, Analyzer]
) -> dict[str, tuple[str, ...]]:
    """What to take instead of words of a query that none of its fields has, by folded token.

    ``analyzers``: of all fields that are searched. Of each word the likeliest first. Empty if the
    query wants none, or all words are known. For ``TextQuery.corrected``.
    """
    found: dict[str, tuple[str, ...]] = {}
    if not query.typos:
        return found
    scans, looks = SCANS_MAX, LOOKS_MAX
    for token, fields in _asked(query, vocabulary, analyzers).items():
        looks -= len(fields)
        if looks < 0:
            break
        if any(vocabulary.rows_with(field, token) for field in fields):
            continue
        scans -= len(fields)
        if scans < 0:
            break
        likely = _likely(token, fields, vocabulary, analyzers)
        if likely:
            found[token] = likely
    return found


def are_known(query: TextQuery, vocabulary: Vocabulary, analyzers: Mapping[str, Analyzer]) -> bool:
    """Whether there is nothing to correct, for sure."""
    asked = _asked(query, vocabulary, analyzers)
    return all(
        any(vocabulary.rows_with(field, token) for field in fields)
        for token, fields in asked.items()
    )


def _asked(
    query: TextQuery, vocabulary: Vocabulary, analyzers: Mapping[str, Analyzer]
) -> dict[str, list[str]]:
    """The words of a query that may be corrected, and the fields each is looked for in."""
    asked: dict[str, list[str]] = {}
    for clause in query.clauses:
        if clause.kind == "prefix" or clause.occur == "must_not":
            continue
        names = _fields(clause, query, analyzers)
        fields = [name for name in names if analyzers[name].field.tokenizer == "words"]
        others = [name for name in names if name not in fields]
        if any(_is_there(clause, name, vocabulary, analyzers[name]) for name in others):
            continue
        for token in clause.tokens(analyzers[fields[0]]) if fields else ():
            if is_corrected(token):
                known = asked.setdefault(token, [])
                known.extend(field for field in fields if field not in known)
    return asked


def is_corrected(token: str) -> bool:
    """Whether a word may be taken for another at all."""
    return len(token) >= LENGTH_MIN and re.search(_UNCORRECTED, token) is None


def distance_max(token: str) -> int:
    """How far from a word the one may be that was meant."""
    return 2 if len(token) >= LENGTH_OF_TWO else 1


def _fields(clause: Clause, query: TextQuery, analyzers: Mapping[str, Analyzer]) -> list[str]:
    """Where a clause is looked for."""
    names: Iterable[str] = analyzers if query.fields is None else query.fields
    if clause.field is not None:
        names = (clause.field,)
    return [name for name in names if name in analyzers]


def _is_there(clause: Clause, field: str, vocabulary: Vocabulary, analyzer: Analyzer) -> bool:
    """Whether a field that does not hold words has what was typed."""
    tokens = clause.tokens(analyzer)
    return bool(tokens) and all(vocabulary.rows_with(field, token) for token in tokens)


def _likely(
    token: str, fields: Sequence[str], vocabulary: Vocabulary, analyzers: Mapping[str, Analyzer]
) -> tuple[str, ...]:
    """The nearest words of all fields; of those with the same letters, swapped, before others."""
    most = distance_max(token)
    letters = sorted(token)
    candidates = [
        near
        for field in fields
        for near in vocabulary.near(field, token, most, NEAR_MAX)
        if near.rows >= ROWS_MIN or near.distance == 1
    ]
    candidates.sort(
        key=lambda near: (
            near.distance,
            sorted(near.word) != letters,
            near.word[0] != token[0],
            -near.rows,
            near.word,
        )
    )
    likely: dict[str, str] = {}
    for near in candidates:
        likely.setdefault(analyzers[fields[0]].term(near.word), near.word)
    return tuple(likely.values())[:ALTERNATIVES_MAX]


def nearest(words: Iterable[tuple[str, int]], token: str, most: int, limit: int) -> list[Near]:
    """``Vocabulary.near`` over (word, rows) without a kernel: for small ones, and to compare."""
    found: list[Near] = []
    for word, rows in words:
        if abs(len(word) - len(token)) <= most:
            distance = bounded_distance(word, token, most)
            if distance <= most:
                found.append(Near(word, distance, rows))
    return sorted(found, key=lambda near: (near.distance, -near.rows, near.word))[:limit]


def bounded_distance(one: str, other: str, most: int) -> int:
    """The distance of optimal string alignment; ``most`` + 1 stands for all above ``most``."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        before, last, row = row, before, [at]
        for to, against in enumerate(other, 1):
            cost = min(before[to] + 1, row[to - 1] + 1, before[to - 1] + (letter != against))
            if at > 1 and to > 1 and letter == other[to - 2] and one[at - 2] == against:
                cost = min(cost, last[to - 2] + 1)
            row.append(cost)
        if min(row) > most and (not before or min(before) >= most):
            return most + 1
    return min(row[-1], most + 1)
