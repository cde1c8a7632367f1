"""Characters made comparable: case, accents and width dropped, separators made spaces.

A text is normalised (NFKC), then each character is folded by itself. Latin and Greek letters lose
their accents. Other scripts keep what makes another letter of one (the breve of й, the vowel signs
of Hindi) and lose what is only pointing (Hebrew and Arabic vowels, stress marks). Everything that
is no letter, digit or emoji becomes a space.
"""

import functools
import re
import unicodedata
from collections.abc import Callable, Iterator

from kissvdb.errors import InvalidArgument

CACHED_CHARACTERS_MAX = 65_536
"""Of so many different characters it is remembered what they fold to; Unicode has a million."""
PIECES_KEPT = 4096

_LETTERS = {
    "ø": "o", "đ": "d", "ł": "l", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "ħ": "h", "ı": "i",
    "ŧ": "t", "ŋ": "n", "ĸ": "k", "ƒ": "f", "ё": "е", "أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا",
}  # fmt: skip
"""Letters that Unicode does not decompose and people type without their stroke."""
_MARKS = (
    (0x0300, 0x036F), (0x0483, 0x0489), (0x0591, 0x05C7), (0x0610, 0x061A), (0x064B, 0x065F),
    (0x0670, 0x0670), (0x06D6, 0x06ED), (0x08D3, 0x08FF), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF), (0xFE00, 0xFE0F), (0xFE20, 0xFE2F), (0xE0100, 0xE01EF),
)  # fmt: skip
"""Marks that are dropped: accents, points and variation selectors; a mark elsewhere is a letter."""
_SIGNS = re.compile("[™℠]")
"""Unicode makes the letters TM and SM of these, which would stick to the word before."""
_ZERO_WIDTH_SPACE = "\u200b"
"""Parts words where no space is written. Its kin join letters, or are not seen at all."""
_EMOJI = ((0x2600, 0x27BF), (0x1F000, 0x1FAFF))
_FULL_WIDTH = 0xFEE0
"""From an ASCII character to its full-width form, which NFKC would have folded: it is free."""
_PUNCTUATION = {
    code: code + _FULL_WIDTH for code in range(0x21, 0x7F) if not chr(code).isalnum()
} | {0x20: 0x3000}

# Scripts whose words are not parted by spaces, or are too long to be looked for whole.
UNPARTED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Myanmar, Khmer
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\U00020000-\U0003ffff"
    "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"  # Hiragana, Katakana
)
"""What is cut into pairs of characters (bigrams), as the inside of a class of an expression."""


class _Folds(dict[int, str | None]):
    """What characters fold to, for ``str.translate``; found out when they are first met."""

    def __init__(self, fold: Callable[[str], str]) -> None:
        super().__init__()
        self._fold = fold

    def __missing__(self, code: int) -> str:
        folded = self._fold(chr(code))
        if len(self) < CACHED_CHARACTERS_MAX:
            self[code] = folded
        return folded


def _within(code: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in ranges)


def _folded_letter(letter: str) -> str:
    lowered = letter.casefold()
    if unicodedata.name(letter, "").startswith(("LATIN", "GREEK")):
        decomposed = unicodedata.normalize("NFKD", lowered)
        lowered = "".join(each for each in decomposed if not _within(ord(each), _MARKS))
    return "".join(_LETTERS.get(each, each) for each in lowered)


def _folded(character: str) -> str:
    """What one character of a normalised text becomes: letters, nothing, or a space."""
    category = unicodedata.category(character)
    code = ord(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category[0] in "LN":
        return _folded_letter(character)
    if category[0] == "M":
        return "" if _within(code, _MARKS) else character
    if category == "Cf":
        return " " if character == _ZERO_WIDTH_SPACE else ""
    if category == "So" and _within(code, _EMOJI):
        return f" {character} "
    return " "


def _folded_value(character: str) -> str:
    """The same where punctuation counts: only controls and blanks are spaces."""
    if unicodedata.category(character)[0] in "PS":
        return character
    return _folded(character)


_WORDS = _Folds(_folded)
_VALUES = _Folds(_folded_value)


def check_text(text: str, name: str = "text") -> None:
    """Refuse a text with half of a surrogate pair: no file, log or answer can carry it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"{name}: character {error.start} is half of a surrogate pair "
            f"(\\u{ord(text[error.start]):04x}); send the text as valid UTF-8"
        ) from None


def folded_words(text: str) -> str:
    """Lower case letters, digits and emoji without accents; what separates them is ASCII."""
    if text.isascii():
        return text.lower()
    check_text(text)
    return _normalised(_normalised(_SIGNS.sub(" ", text)).translate(_WORDS))


def folded_value(text: str) -> str:
    """A whole value as one token: as words are folded, with its punctuation and single spaces."""
    check_text(text)
    folded = _normalised(_normalised(_SIGNS.sub(" ", text)).translate(_VALUES))
    return " ".join(folded.split()).translate(_PUNCTUATION)


def _normalised(text: str) -> str:
    return text if unicodedata.is_normalized("NFKC", text) else unicodedata.normalize("NFKC", text)


def pieces(text: str) -> Iterator[tuple[str, int, int]]:
    """``folded_words`` piece by piece: (folded, start, end) in characters of the original.

    A piece is a character with what joins it when the text is normalised (accents, the vowels of a
    Hangul syllable), so that folding pieces is folding the text.
    """
    check_text(text)
    start = 0
    while start < len(text):
        end = start + 1
        while end < len(text) and _joins(text[end]):
            end += 1
        yield _folded_piece(text[start:end]), start, end
        start = end


@functools.lru_cache(PIECES_KEPT)
def _folded_piece(piece: str) -> str:
    return folded_words(piece)


@functools.lru_cache(PIECES_KEPT)
def _joins(character: str) -> bool:
    if character.isascii():
        return False
    first = unicodedata.normalize("NFKD", character)[0]
    if unicodedata.category(first) in ("Mn", "Mc", "Me", "Cf"):
        return True
    return 0x1160 <= ord(first) <= 0x11FF or 0xD7B0 <= ord(first) <= 0xD7FF
