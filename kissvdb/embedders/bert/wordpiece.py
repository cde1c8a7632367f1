"""Texts as numbers of pieces of words, as uncased BERT models were trained on them.

The same as the tokenizer of sentence-transformers/all-MiniLM-L6-v2 (tests compare). Devlin et al.,
BERT, 2018; the greedy longest match is that of Wu et al., 2016.
"""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

VOCABULARY = Path(__file__).with_name("vocabulary.txt")
UNKNOWN, FIRST, LAST = 100, 101, 102
WORD_CHARS_MAX = 100
WORDS_KEPT = 65_536

# Each of these is a word of its own: the Han blocks that BERT knows.
_HAN = (
    *((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F)),
    *((0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)),
)


class WordPiece:
    """Reads the vocabulary once. What the pieces of a word are is remembered."""

    def __init__(self, tokens_max: int) -> None:
        """``tokens_max``: of one text, with the two that mark its ends."""
        self._numbers = {
            line: number
            for number, line in enumerate(VOCABULARY.read_text("utf-8").split("\n")[:-1])
        }
        self._inner_max = tokens_max - 2
        self._pieces = lru_cache(WORDS_KEPT)(self._find_pieces)

    def tokens(self, text: str) -> list[int]:
        """Numbers of the text's pieces between FIRST and LAST; the end of a long text is cut."""
        found: list[int] = []
        for word in _words(text):
            found.extend(self._pieces(word))
            if len(found) >= self._inner_max:
                break
        return [FIRST, *found[: self._inner_max], LAST]

    def _find_pieces(self, word: str) -> tuple[int, ...]:
        if len(word) > WORD_CHARS_MAX:
            return (UNKNOWN,)
        numbers = self._numbers
        found = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else f"##{word[start:end]}"
                if piece in numbers:
                    break
            else:
                return (UNKNOWN,)
            found.append(numbers[piece])
            start = end
        return tuple(found)


def _words(text: str) -> Iterator[str]:
    """Lower case, without accents; punctuation and Han characters are words of their own."""
    for part in _spaced(text).split():
        if part.isascii() and part.isalnum():
            yield part
        else:
            yield from _cut(part)


def _spaced(text: str) -> str:
    if text.isascii():
        if not text.isprintable():
            text = "".join(map(_plain, text))
        return text.lower()
    text = "".join(map(_plain, text))
    decomposed = unicodedata.normalize("NFD", text)
    bare = (each for each in decomposed if unicodedata.category(each) != "Mn")
    return "".join(each.lower() for each in bare)


@lru_cache(4096)
def _plain(character: str) -> str:
    if character in "\t\n\r":
        return " "
    category = unicodedata.category(character)
    if character in "\0\ufffd" or category in ("Cc", "Cf", "Cn", "Co", "Cs"):
        return ""
    if category == "Zs":
        return " "
    code = ord(character)
    return f" {character} " if any(low <= code <= high for low, high in _HAN) else character


def _cut(part: str) -> Iterator[str]:
    start = 0
    for place, character in enumerate(part):
        if _is_punctuation(character):
            if start < place:
                yield part[start:place]
            yield character
            start = place + 1
    if start < len(part):
        yield part[start:]


@lru_cache(4096)
def _is_punctuation(character: str) -> bool:
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    return unicodedata.category(character).startswith("P")
