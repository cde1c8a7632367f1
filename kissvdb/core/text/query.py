"""What people type into a search box, parsed to what is asked of the index.

``words`` any of which may match, ``"a phrase"``, ``pre*``, ``-not``, ``+must``, ``field:word``,
``field:"a phrase"`` and ``word^2``. Everything else is text: a stray quote or operator, a colon
after what is no field (``http://``, ``foo::bar``), AND, OR and parentheses. What is refused is a
query that asks for nothing, or for too much.
"""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import lru_cache
from typing import Literal

import attrs
import msgspec

from kissvdb.core.text.analysis import TOKEN, Analyzer, fold
from kissvdb.core.text.folding import check_text
from kissvdb.core.text.settings import FIELD_NAME_CHARS_MAX, WEIGHT_MAX, check_weight
from kissvdb.errors import InvalidArgument

QUERY_CHARS_MAX = 8192
"""Of a query; a text to find others like it is better embedded, or cut."""
TOKENS_MAX = 512
"""Of a query, where what comes twice is asked for once; a phrase has many, and so have a URL and
a run of Chinese."""
PHRASE_TOKENS_MAX = 64
PREFIX_CHARS_MIN = 2
"""Of a beginning in ASCII, where one letter begins a twentieth of all words."""

PREFIXES_MAX = 16
"""Beginnings in a query: each is looked for among all words there are, and stands for many."""
PLAIN_CHARS_MAX = 512
"""Of a query that is read only when somebody asks for its clauses: so it is not too much."""
PLAIN_WORDS_KEPT = 4096
"""Words of queries that are kept as they were read."""

Kind = Literal["word", "phrase", "prefix"]
Occur = Literal["should", "must", "must_not"]
Match = Literal["any", "all"]
Typos = Literal["auto", "off"]

_Asked = tuple[Kind, str, str | None, Occur]

_QUOTES = str.maketrans("“”„‟«»＂", '"' * 7)
_WEIGHT = re.compile(r"\^(\d{1,4}(?:\.\d{1,4})?|\.\d{1,4})$")
_PARTS = re.compile(r'([^\s"]*)"([^"]*)"(\^[\d.]{1,9}(?=\s|$))?|(\S+)')
"""A phrase with what stands before it, or a run of anything but spaces."""
_is_plain = re.compile(
    r"(?=[^0-9A-Za-z]*+[0-9A-Za-z])"
    r"(?:[ \t\r\n]*+(?:[-+]++(?!\S)|[!#-),.-\]_-~][!#-)+-\]_-~]*+))*+[ \t\r\n]*+"
).fullmatch
"""At least one word, and no operators: at most signs that stand alone."""


@attrs.frozen
class QueryOptions:
    """How a query is to be read."""

    match: Match = "any"
    typos: Typos = "auto"
    fields: Mapping[str, float] | None = None
    """Where words without a field are looked for, with weights; None: in all fields."""
    known: Set[str] = frozenset()
    """The fields there are: ``field:word`` of any other is text."""


_PLAIN_OPTIONS = QueryOptions()


@attrs.frozen
class Clause:
    """One thing asked for: a word, a phrase, or how a word begins."""

    kind: Kind
    text: str
    """As it was typed, without operators: each field's analyzer makes terms of it."""
    field: str | None = None
    """The one field to look in; None: those of the query."""
    weight: float = 1.0
    occur: Occur = "should"

    def tokens(self, analyzer: Analyzer) -> list[str]:
        """The tokens of it in a field, in order, not stemmed; the last of a prefix is a beginning.

        None at all when the field's tokenizer finds nothing in it: then that field is not asked.
        """
        return analyzer.surface(self.text)

    def terms(self, analyzer: Analyzer) -> list[str]:
        """The terms of it in a field, in order; a beginning is not stemmed and is the last."""
        tokens = self.tokens(analyzer)
        whole = tokens[:-1] if self.kind == "prefix" else tokens
        return [analyzer.term(token) for token in whole] + tokens[len(whole) :]

    def is_phrase(self, analyzer: Analyzer) -> bool:
        """Whether the terms must follow one another in a field.

        Besides phrases: what is excluded (``-state-of-the-art`` does not exclude "art"), and the
        n-grams of a word, which only together are the word.
        """
        return (
            self.kind == "phrase" or self.occur == "must_not" or analyzer.field.tokenizer == "ngram"
        )


class TextQuery(msgspec.Struct, eq=False):
    """A query as the index takes it. A row matches if every "must" does, no "must_not" does and,
    where there is no "must", at least one "should".

    ``read``: its clauses, None if they are to be read of ``words`` when somebody asks for them.
    ``fields``: those of clauses without one, with weights; None: all, with the weights of settings.
    ``typos``: whether a word that no text has may be taken for one nearly like it. ``words``: the
    text of a query of plain words, ASCII, which says all there is in the clauses; None: of another.
    """

    read: tuple[Clause, ...] | None
    fields: Mapping[str, float] | None = None
    typos: bool = False
    words: bytes | None = None

    @property
    def clauses(self) -> tuple[Clause, ...]:
        if self.read is None:
            assert self.words is not None
            self.read = _clauses_of(self.words.decode(), _PLAIN_OPTIONS)
        return self.read

    @property
    def excluded(self) -> "TextQuery | None":
        """What the query leaves out, as one that finds it; None if that is nothing."""
        if self.words is not None:
            return None
        clauses = tuple(
            attrs.evolve(
                clause, occur="should", kind="prefix" if clause.kind == "prefix" else "phrase"
            )
            for clause in self.clauses
            if clause.occur == "must_not"
        )
        return TextQuery(clauses, self.fields) if clauses else None

    def as_typed(self) -> "TextQuery":
        """The query without a thought to typos."""
        if not self.typos:
            return self
        return TextQuery(self.read, self.fields, typos=False, words=self.words)

    def corrected(self, corrections: Mapping[str, Sequence[str]]) -> "TextQuery":
        """The query with words replaced: a folded token, and what is looked for in its place.

        The first stands where the word stood; where any word may match, the second counts half of
        it, the third a third.
        """
        clauses: list[Clause] = []
        for clause in self.clauses:
            clauses.extend(_corrected(clause, corrections))
        return TextQuery(tuple(clauses), self.fields, self.typos)


def _corrected(clause: Clause, corrections: Mapping[str, Sequence[str]]) -> Iterator[Clause]:
    if clause.kind == "prefix" or clause.occur == "must_not":
        yield clause
        return
    tokens = _tokens(clause.text)
    if not any(token in corrections for token in tokens):
        yield clause
        return
    first = (corrections[token][0] if token in corrections else token for token in tokens)
    yield attrs.evolve(clause, text=" ".join(first))
    if clause.kind == "word" and clause.occur == "should":
        for token in tokens:
            for place, other in enumerate(corrections.get(token, ())[1:], 2):
                yield attrs.evolve(clause, text=other, weight=clause.weight / place)


_Read = tuple[Clause, list[str]]
"""A clause with its tokens as words."""


def parse(text: str, options: QueryOptions) -> TextQuery:
    """The query in a text. Raises InvalidArgument, saying what to change."""
    typos = options.typos == "auto"
    if (
        options.match == "any"
        and len(text) <= PLAIN_CHARS_MAX
        and (not options.known or ":" not in text)
        and _is_plain(text) is not None
    ):
        if options.fields is not None:
            _check_fields(options.fields)
        return TextQuery(None, options.fields, typos, text.encode())
    if len(text) > QUERY_CHARS_MAX:
        raise InvalidArgument(
            f"the query has {len(text):,} characters; at most {QUERY_CHARS_MAX:,} are searched. "
            "Send the words that matter"
        )
    if not text.isascii():
        check_text(text, "the query")
        text = text.translate(_QUOTES)
    _check_fields(options.fields)
    return TextQuery(_clauses_of(text, options), options.fields, typos)


def _clauses_of(text: str, options: QueryOptions) -> tuple[Clause, ...]:
    """What a text asks for. Raises InvalidArgument."""
    # Equal words are read once: a text of one word ten thousand times is no work.
    times: dict[str, int] = {}
    parts: dict[str, re.Match[str]] = {}
    if '"' in text:
        for part in _PARTS.finditer(text):
            parts.setdefault(part[0], part)
            times[part[0]] = times.get(part[0], 0) + 1
    else:
        for typed in text.split():
            times[typed] = times.get(typed, 0) + 1
    merged: dict[_Asked, Clause] = {}
    room, usual = TOKENS_MAX, _occur("", options)
    for typed, count in times.items():
        if typed.isalnum() and typed.isascii():
            read = [_plain_word(typed, usual)]
        elif parts:
            read = _clauses(parts[typed], options)
        else:
            read = _word(typed, options)
        for clause, tokens in read:
            room -= _merge(merged, clause, tokens, count)
            if room < 0:
                raise InvalidArgument(
                    f"the query asks for more than {TOKENS_MAX} different words; "
                    "send those that matter"
                )
    clauses = tuple(merged.values())
    _check(clauses)
    return clauses


@lru_cache(PLAIN_WORDS_KEPT)
def _plain_word(word: str, occur: Occur) -> _Read:
    """A word of ASCII letters and digits, which holds no operator."""
    return Clause("word", word, None, 1.0, occur), [word.lower()]


def _clauses(part: re.Match[str], options: QueryOptions) -> list[_Read]:
    """What one run of characters without spaces, or one phrase, asks for."""
    before, phrase, boost, word = part.groups()
    if word is not None:
        return _word(word, options)
    occur, field, rest = _prefixes(before, options)
    # What stands before a quote and is neither operator nor field is a word of its own.
    read = _word(before, options) if rest else []
    if rest:
        occur, field = _occur("", options), None
    clause = Clause("phrase", phrase, field, _weight(boost) or 1.0, occur)
    return read + _read(clause)


def _word(word: str, options: QueryOptions) -> list[_Read]:
    occur, field, rest = _prefixes(word, options)
    if field is not None and not _tokens(rest):
        # "title:" with nothing behind it, or with a wildcard alone, is text.
        field, rest = None, word.lstrip("+-")
    weight = 1.0
    boost = _WEIGHT.search(rest) if "^" in rest else None
    if boost is not None and (value := _weight(boost[0])) is not None:
        weight, rest = value, rest[: boost.start()]
    kind: Kind = "word"
    if rest.endswith("*") and _tokens(rest[-2:]):
        kind, rest = "prefix", rest[:-1]
    return _read(Clause(kind, rest, field, weight, occur))


def _read(clause: Clause) -> list[_Read]:
    """The clause with its tokens, unless it asks for nothing."""
    tokens = _tokens(clause.text)
    # A field of keywords may hold "++" or ":-)", which are no words.
    asks = tokens or (clause.field is not None and clause.text.strip())
    if not asks:
        return []
    _check_size(clause, tokens)
    return [(clause, tokens)]


def _prefixes(word: str, options: QueryOptions) -> tuple[Occur, str | None, str]:
    """The operator, the field and the rest of a word."""
    sign = word[:1] if word[:1] in ("-", "+") else ""
    rest = word[len(sign) :]
    if sign and rest[:1] in ("-", "+"):
        # "--option", "+-3": text.
        sign, rest = "", rest.lstrip("+-")
    at = rest.find(":")
    while 0 < at <= FIELD_NAME_CHARS_MAX:
        if rest[:at] in options.known:
            return _occur(sign, options), rest[:at], rest[at + 1 :]
        at = rest.find(":", at + 1)
    return _occur(sign, options), None, rest


def _occur(sign: str, options: QueryOptions) -> Occur:
    if sign == "-":
        return "must_not"
    return "must" if sign == "+" or options.match == "all" else "should"


def _weight(boost: str | None) -> float | None:
    """The number of ``^2``; None if it is none that a weight may be: then it is text."""
    if boost is None or _WEIGHT.fullmatch(boost) is None:
        return None
    weight = float(boost[1:])
    return weight if 0 < weight <= WEIGHT_MAX else None


def _tokens(text: str) -> list[str]:
    return TOKEN.findall(fold(text).decode())


def _merge(merged: dict[_Asked, Clause], clause: Clause, tokens: Sequence[str], times: int) -> int:
    """Add a clause; one that is there already counts more instead. How many tokens are new."""
    folded = " ".join(tokens) if clause.field is None else clause.text
    key = (clause.kind, folded, clause.field, clause.occur)
    known = merged.get(key)
    weight = clause.weight * times + (0.0 if known is None else known.weight)
    if weight != clause.weight:
        clause = attrs.evolve(known or clause, weight=min(weight, WEIGHT_MAX))
    merged[key] = clause
    return len(tokens) if known is None else 0


def _check(clauses: Sequence[Clause]) -> None:
    if not clauses:
        raise InvalidArgument(
            "the query has no word to look for: it is empty or holds only punctuation. "
            "To list everything, ask with filters and without a query"
        )
    if all(clause.occur == "must_not" for clause in clauses):
        raise InvalidArgument(
            "the query only says what not to find (-word); add a word to find, "
            "or exclude by filters"
        )
    prefixes = sum(clause.kind == "prefix" for clause in clauses)
    if prefixes > PREFIXES_MAX:
        raise InvalidArgument(
            f"the query has {prefixes} beginnings of words (word*); at most {PREFIXES_MAX}: send "
            "whole words for the others"
        )


def _check_size(clause: Clause, tokens: Sequence[str]) -> None:
    if clause.kind == "prefix":
        last = tokens[-1] if tokens else ""
        if last.isascii() and len(last) < PREFIX_CHARS_MIN:
            raise InvalidArgument(
                f'the query looks for all words that begin with "{last}"; '
                f"write at least {PREFIX_CHARS_MIN} characters before *"
            )
    elif clause.kind == "phrase" and len(tokens) > PHRASE_TOKENS_MAX:
        raise InvalidArgument(
            f"a phrase of {len(tokens):,} words; at most {PHRASE_TOKENS_MAX} in one pair of quotes"
        )


def _check_fields(fields: Mapping[str, float] | None) -> None:
    if fields is None:
        return
    if not fields:
        raise InvalidArgument("fields: name at least one field, or leave it out to search all")
    for name, weight in fields.items():
        check_weight(weight, f"fields.{name}")
