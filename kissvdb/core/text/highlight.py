"""Where a text matches: the passage that says most of it, with its words marked."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import attrs

from kissvdb.core.text.analysis import Analyzer
from kissvdb.core.text.query import Clause, TextQuery
from kissvdb.core.text.settings import TextSettings
from kissvdb.errors import InvalidArgument

SCANNED_CHARS_MAX = 65_536
"""Of one text; what lies behind is not marked."""
ANSWER_CHARS_MAX = 2**20
"""Of all texts of one answer: these are read again, word by word, some microseconds each."""
LENGTH_MAX = 10_000
COUNT_MAX = 10
MARK_CHARS_MAX = 64
FIELDS_MAX = 64
ELLIPSIS = "…"

_Match = tuple[int, int, int]
"""Start and end in characters of the text, and the number of the clause."""


@attrs.frozen
class Highlighting:
    """How passages are cut and marked."""

    fields: tuple[str, ...] | None = None
    """None: all that match."""
    pre: str = "<mark>"
    post: str = "</mark>"
    length: int = 200
    """Characters of a passage, about; 0: the whole text."""
    count: int = 1
    """Passages of one text."""
    escape: bool = True
    """Whether ``<``, ``>``, ``&`` and quotes of the text are made HTML, which marks are."""

    @classmethod
    def from_json(cls, value: Any, name: str = "highlight") -> Self | None:
        """Of ``true`` or an object of these members; ``false`` is None. Raises InvalidArgument."""
        if isinstance(value, bool):
            return cls() if value else None
        if not isinstance(value, dict):
            raise InvalidArgument(f"{name}: expected true, or an object")
        known = attrs.fields_dict(cls)
        for key in value:
            if key not in known:
                raise InvalidArgument(f"{name}.{key}: unknown. Known are {', '.join(known)}")
        given = dict(value)
        if given.get("fields") is not None:
            given["fields"] = _names(given["fields"], f"{name}.fields")
        options = cls(**given)
        options.check(name)
        return options

    def check(self, name: str = "highlight") -> None:
        """Raise InvalidArgument for what is mistyped or out of bounds."""
        for key, mark in (("pre", self.pre), ("post", self.post)):
            if not isinstance(mark, str) or len(mark) > MARK_CHARS_MAX:
                raise InvalidArgument(f"{name}.{key}: expected at most {MARK_CHARS_MAX} characters")
        for key, number, least, most in (
            ("length", self.length, 0, LENGTH_MAX),
            ("count", self.count, 1, COUNT_MAX),
        ):
            is_whole = isinstance(number, int) and not isinstance(number, bool)
            if not is_whole or not least <= number <= most:
                raise InvalidArgument(f"{name}.{key}: expected a whole number {least} to {most:,}")
        if not isinstance(self.escape, bool):
            raise InvalidArgument(f"{name}.escape: expected true or false")


@attrs.frozen
class Snippet:
    """A passage of a text, and where it and its marks lie in the text."""

    field: str
    text: str
    """Marked, and escaped if that was asked for; an ellipsis stands where it is cut."""
    start: int
    end: int
    marks: tuple[tuple[int, int], ...]
    """(start, end) of what is marked, in characters of the whole text."""


class Highlighter:
    """Finds the passages of the rows of one answer. One thread at a time."""

    def __init__(self, query: TextQuery, settings: TextSettings, options: Highlighting) -> None:
        self._query = query
        self._settings = settings
        self._options = options
        self._fields: dict[str, _Wanted | None] = {}
        self._room = ANSWER_CHARS_MAX

    def passages(self, texts: Iterable[tuple[str, str]]) -> list[Snippet]:
        """Those of a row's (path, text) pairs, in the order of the texts."""
        found: list[Snippet] = []
        for path, text in texts:
            if path not in self._fields:
                self._fields[path] = self._wanted(path)
            wanted = self._fields[path]
            if wanted is not None and self._room > 0:
                scanned = text[: min(SCANNED_CHARS_MAX, self._room)]
                self._room -= len(scanned)
                matches = wanted.matches(scanned)
                found.extend(_snippets(path, text, matches, self._options))
        return found

    def _wanted(self, path: str) -> "_Wanted | None":
        """What is looked for in a field; None: nothing."""
        field = self._settings.field(path)
        names = self._options.fields
        if field is None or (names is not None and path not in names):
            return None
        clauses = [
            clause
            for clause in self._query.clauses
            if clause.occur != "must_not" and _is_asked(clause, self._query, path)
        ]
        return _Wanted(clauses, Analyzer(field)) if clauses else None


def _is_asked(clause: Clause, query: TextQuery, path: str) -> bool:
    if clause.field is not None:
        return clause.field == path
    return query.fields is None or path in query.fields


class _Wanted:
    """What the clauses of a query look for in one field, each with its number."""

    def __init__(self, clauses: Sequence[Clause], analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._words: dict[str, int] = {}
        self._beginnings: list[tuple[str, int]] = []
        self._phrases: list[tuple[list[str], int]] = []
        self._terms: dict[str, str] = {}
        """Of tokens that came before. As many as an answer has at most."""
        for number, clause in enumerate(clauses):
            terms = clause.terms(analyzer)
            if len(terms) > 1 and clause.is_phrase(analyzer):
                self._phrases.append((terms, number))
                continue
            if clause.kind == "prefix" and terms:
                self._beginnings.append((terms.pop(), number))
            for term in terms:
                self._words.setdefault(term, number)

    def matches(self, text: str) -> list[_Match]:
        """What matches, by place; nothing twice."""
        spans = self._analyzer.token_spans(text)
        terms = [self._term(token) for token, _, _ in spans]
        found: set[_Match] = set()
        for (token, start, end), term in zip(spans, terms, strict=True):
            number = self._words.get(term, -1)
            if number < 0 and self._beginnings:
                begun = (each for begin, each in self._beginnings if token.startswith(begin))
                number = next(begun, -1)
            if number >= 0:
                found.add((start, end, number))
        for phrase, number in self._phrases:
            for at in _places(terms, phrase):
                found.update((*spans[at + step][1:], number) for step in range(len(phrase)))
        return sorted(found)

    def _term(self, token: str) -> str:
        term = self._terms.get(token)
        if term is None:
            term = self._terms[token] = self._analyzer.term(token)
        return term


def _places(terms: Sequence[str], phrase: Sequence[str]) -> Iterable[int]:
    """Where a phrase begins."""
    size = len(phrase)
    return (
        at for at, term in enumerate(terms) if term == phrase[0] and terms[at : at + size] == phrase
    )


def _snippets(
    path: str, text: str, matches: Sequence[_Match], options: Highlighting
) -> list[Snippet]:
    if not matches:
        return []
    if options.length == 0:
        return [_snippet(path, text, (0, len(text)), matches, options)]
    rest = list(matches)
    taken: list[tuple[int, int]] = []
    while rest and len(taken) < options.count:
        start, end = _widened(text, _best(rest, options.length), options.length, taken)
        taken.append((start, end))
        rest = [each for each in rest if each[1] <= start or each[0] >= end]
    return [_snippet(path, text, each, matches, options) for each in sorted(taken)]


def _best(matches: Sequence[_Match], length: int) -> tuple[int, int]:
    """From the first to the last match of the window that has most different clauses in it."""
    inside: dict[int, int] = {}
    best, best_score = (matches[0][0], matches[0][1]), (0, 0)
    first = 0
    for at, (_, end, number) in enumerate(matches):
        inside[number] = inside.get(number, 0) + 1
        while first < at and end - matches[first][0] > length:
            left = matches[first][2]
            inside[left] -= 1
            if not inside[left]:
                del inside[left]
            first += 1
        score = (len(inside), at - first)
        if score > best_score:
            best, best_score = (matches[first][0], end), score
    return best


def _widened(
    text: str, window: tuple[int, int], length: int, taken: Sequence[tuple[int, int]]
) -> tuple[int, int]:
    """The window with what stands around it, cut at spaces where there are any near."""
    room = max(length - (window[1] - window[0]), 0)
    start = max(window[0] - room // 2, 0)
    end = min(start + max(length, window[1] - start), len(text))
    start = max(min(start, end - length), 0)
    for other in taken:
        if other[1] <= window[0]:
            start = max(start, other[1])
        if other[0] >= window[1]:
            end = min(end, other[0])
    if start > 0:
        start = _next_space(text, start, window[0])
    if end < len(text):
        end = _last_space(text, window[1], end)
    return start, end


def _next_space(text: str, start: int, before: int) -> int:
    """Where the first word behind ``start`` begins, at most ``before``."""
    if text[start - 1].isspace():
        return start
    for at in range(start, before):
        if text[at].isspace():
            return at + 1
    return start


def _last_space(text: str, least: int, end: int) -> int:
    """Where the last whole word before ``end`` ends, at least ``least``."""
    if text[end].isspace():
        return end
    for at in range(end - 1, least - 1, -1):
        if text[at].isspace():
            return at
    return end


def _snippet(
    path: str,
    text: str,
    window: tuple[int, int],
    matches: Sequence[_Match],
    options: Highlighting,
) -> Snippet:
    start, end = window
    marks = _joined([each for each in matches if each[0] >= start and each[1] <= end])
    plain = html.escape if options.escape else str
    parts = [ELLIPSIS if start > 0 else ""]
    at = start
    for first, last in marks:
        parts += [plain(text[at:first]), options.pre, plain(text[first:last]), options.post]
        at = last
    parts += [plain(text[at:end]), ELLIPSIS if end < len(text) else ""]
    return Snippet(path, "".join(parts), start, end, tuple(marks))


def _joined(matches: Sequence[_Match]) -> list[tuple[int, int]]:
    """Matches that overlap, as bigrams and n-grams do, are one mark."""
    marks: list[tuple[int, int]] = []
    for start, end, _ in matches:
        if marks and start < marks[-1][1]:
            marks[-1] = (marks[-1][0], max(end, marks[-1][1]))
        else:
            marks.append((start, end))
    return marks


def _names(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidArgument(f"{name}: expected a list of names of fields")
    if len(value) > FIELDS_MAX:
        raise InvalidArgument(f"{name}: more than {FIELDS_MAX} fields")
    return tuple(value)


def to_json(snippets: Sequence[Snippet]) -> list[Mapping[str, Any]]:
    """As answers carry them."""
    return [
        {
            "field": each.field,
            "text": each.text,
            "start": each.start,
            "end": each.end,
            "marks": [list(mark) for mark in each.marks],
        }
        for each in snippets
    ]
