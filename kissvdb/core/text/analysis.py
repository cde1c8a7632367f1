"""How a text becomes terms: folded, cut into tokens, each token stemmed.

``fold`` makes bytes of a text whose tokens are the runs of token bytes (0-9, a-z and everything
from 0x80); all other bytes separate. So a kernel finds the tokens of a fold without knowing
Unicode, and stems each different one once, by ``Analyzer.term``.
"""

import re
import threading
import unicodedata
from collections.abc import Iterator, Sequence

import Stemmer

from kissvdb.core.text.folding import UNPARTED, folded_value, folded_words, pieces
from kissvdb.core.text.reaccenting import has_accents, reaccented
from kissvdb.core.text.settings import NO_LANGUAGE, FieldSettings

ANALYSIS = (2, Stemmer.version(), unicodedata.unidata_version)
"""What else the terms of a text depend on: the number counts up with a change here, and a new
stemmer or Unicode may make other terms of old texts. Indexes made by another are made anew."""
TOKEN_BYTES_MAX = 64
"""A longer token is cut: a word is shorter, and what is not (base64) fills a vocabulary."""
KEYWORD_BYTES_MAX = 256
"""Where the whole value is one term, this much of it is looked at."""
GRAM = 3
"""Characters of a term in a field of n-grams."""

TOKEN = re.compile("[0-9a-z\u0080-\U0010ffff]+")
"""A token in what ``fold`` gives, decoded."""
_RUN = re.compile(f"[{UNPARTED}]+")


def fold(text: str) -> bytes:
    """A text as UTF-8 of lower case tokens without accents.

    Runs of Han, Hiragana, Katakana, Hangul, Thai, Lao, Khmer and Myanmar are cut into pairs that
    overlap; a lone character is itself. Raises InvalidArgument for a lone surrogate.
    """
    return _parted(folded_words(text)).encode()


def _parted(folded: str) -> str:
    return folded if folded.isascii() else _RUN.sub(_pairs_of_match, folded)


def _pairs_of_match(match: re.Match[str]) -> str:
    run = match[0]
    return f" {' '.join(run[at : at + 2] for at in range(max(len(run) - 1, 1)))} "


def _grams(word: str) -> Iterator[str]:
    return (word[at : at + GRAM] for at in range(max(len(word) - GRAM + 1, 1)))


class Analyzer:
    """The tokens and terms of one field. Safe to use from several threads."""

    def __init__(self, field: FieldSettings) -> None:
        self.field = field
        # A stemmer of the library has a buffer of its own: one for each thread.
        self._stemmers = threading.local()

    def fold(self, text: str) -> bytes:
        """The tokens of a text as bytes, separated as ``fold`` says, whatever the tokenizer."""
        if self.field.tokenizer == "keyword":
            return folded_value(text).encode()
        if self.field.tokenizer == "ngram":
            words = TOKEN.findall(folded_words(text))
            return " ".join(gram for word in words for gram in _grams(word)).encode()
        return fold(text)

    def term(self, token: str) -> str:
        """What is indexed for a token: its stem."""
        token = self._short(token)
        if self.field.tokenizer != "words" or self.field.language == NO_LANGUAGE:
            return token
        spelt = reaccented(token, self.field.language)
        stem: str = self._stemmer().stemWord(spelt)
        # The stem may end in the accent that was put back.
        return (stem if spelt is token else folded_words(stem)) or token

    def terms(self, tokens: Sequence[bytes]) -> list[bytes]:
        """``term`` of each of many tokens, in UTF-8."""
        field = self.field
        if field.tokenizer != "words" or has_accents(field.language):
            return [self.term(token.decode()).encode() for token in tokens]
        longest = max(map(len, tokens), default=0)
        if longest > TOKEN_BYTES_MAX:
            tokens = [token[:TOKEN_BYTES_MAX].decode(errors="ignore").encode() for token in tokens]
        if field.language == NO_LANGUAGE:
            return list(tokens)
        stems: list[bytes] = self._stemmer().stemWords(tokens)
        if b"" in stems:
            stems = [stem or token for stem, token in zip(stems, tokens, strict=True)]
        return stems

    def _stemmer(self) -> Stemmer.Stemmer:
        stemmer: Stemmer.Stemmer | None = getattr(self._stemmers, "stemmer", None)
        if stemmer is None:
            # Words come here once: a cache of its own costs more than the stemming.
            stemmer = self._stemmers.stemmer = Stemmer.Stemmer(self.field.language, 0)
        return stemmer

    def surface(self, text: str) -> list[str]:
        """The tokens of a text in order, not stemmed."""
        return [self._short(token) for token in TOKEN.findall(self.fold(text).decode())]

    def tokens(self, text: str) -> list[str]:
        """The terms of a text in order."""
        return [self.term(token) for token in self.surface(text)]

    def spans(self, text: str) -> list[tuple[str, int, int]]:
        """(term, start, end) of each term of ``tokens``, in characters of the original text."""
        return [(self.term(token), start, end) for token, start, end in self.token_spans(text)]

    def token_spans(self, text: str) -> list[tuple[str, int, int]]:
        """(token, start, end) of each token of ``surface``, in characters of the original."""
        if self.field.tokenizer == "keyword":
            stripped = text.strip()
            start = text.find(stripped)
            return [(token, start, start + len(stripped)) for token in self.surface(text)]
        if text.isascii():
            return [
                (self._short(token), start, end) for token, start, end in self._cut(text.lower())
            ]
        folded: list[str] = []
        origins: list[tuple[int, int]] = []
        for piece, start, end in pieces(text):
            folded.append(piece)
            origins.extend([(start, end)] * len(piece))
        return [
            (self._short(token), origins[first][0], origins[last - 1][1])
            for token, first, last in self._cut("".join(folded))
        ]

    def _short(self, token: str) -> str:
        """A token with what is too long cut off, at the border of a character."""
        is_keyword = self.field.tokenizer == "keyword"
        octets = KEYWORD_BYTES_MAX if is_keyword else TOKEN_BYTES_MAX
        if len(token) * 4 <= octets:
            return token
        return token.encode()[:octets].decode(errors="ignore")

    def _cut(self, folded: str) -> Iterator[tuple[str, int, int]]:
        """(token, start, end) of all tokens, in characters of the folded text."""
        for match in TOKEN.finditer(folded):
            word, start = match[0], match.start()
            if self.field.tokenizer == "ngram":
                for at, gram in enumerate(_grams(word)):
                    yield gram, start + at, start + at + len(gram)
            elif word.isascii():
                yield word, start, match.end()
            else:
                yield from _cut_word(word, start)


def _cut_word(word: str, start: int) -> Iterator[tuple[str, int, int]]:
    """A word with the runs in it that are cut into pairs."""
    done = 0
    for run in _RUN.finditer(word):
        if run.start() > done:
            yield word[done : run.start()], start + done, start + run.start()
        for at in range(run.start(), max(run.end() - 1, run.start() + 1)):
            pair = word[at : min(at + 2, run.end())]
            yield pair, start + at, start + at + len(pair)
        done = run.end()
    if done < len(word):
        yield word[done:], start + done, start + len(word)
