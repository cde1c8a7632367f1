"""Long texts in pieces: by tokens, with overlap, cut where a sentence or paragraph ends."""

import re

import attrs

from kissvdb.core.text.folding import UNPARTED
from kissvdb.errors import InvalidArgument

CHUNK_TOKENS_MIN = 8
CHUNK_TOKENS_MAX = 8192
CHUNKS_MAX = 10_000
"""Of one text."""

_TOKEN = f"[{UNPARTED}]|[^\\W{UNPARTED}]+|[^\\w\\s]"
"""A word, one character of a script without spaces, or one mark: about what a model counts. Not
compiled here: a start would wait for it."""
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE = re.compile(r"[.!?…]+[\"'”’)\]]*\s+|[。！？]+[」』）]*\s*|\n\s*")


@attrs.frozen
class Chunking:
    """How long the pieces of a text are, and how much of the end of one begins the next."""

    tokens: int = 256
    overlap: int = 32

    def __attrs_post_init__(self) -> None:
        if not CHUNK_TOKENS_MIN <= self.tokens <= CHUNK_TOKENS_MAX:
            raise InvalidArgument(
                f"chunk.tokens: expected {CHUNK_TOKENS_MIN} to {CHUNK_TOKENS_MAX}, "
                f"got {self.tokens}"
            )
        if not 0 <= self.overlap <= self.tokens // 2:
            raise InvalidArgument(
                f"chunk.overlap: expected 0 to half of the tokens ({self.tokens // 2}), "
                f"got {self.overlap}"
            )


@attrs.frozen
class Chunk:
    """A piece of a text, and where it lies in it."""

    text: str
    start: int
    """In characters."""
    end: int
    """In characters; behind the last."""


def chunks(text: str, chunking: Chunking) -> list[Chunk]:
    """The pieces of a text in order; together they hold all of its tokens. Deterministic.

    A piece has at most ``tokens`` tokens. It ends at the last paragraph of its second half, else at
    the last sentence there, else where it is full. The next begins ``overlap`` tokens before that
    end, moved forward to the start of a sentence if one begins among those. Raises InvalidArgument
    for a text of more than CHUNKS_MAX pieces. A text without tokens has none.
    """
    starts, ends = _tokens(text)
    count = len(starts)
    if count > CHUNKS_MAX * chunking.tokens:
        raise _too_many(chunking)
    # Where tokens begin that follow the end of a paragraph or a sentence, by number of token.
    paragraphs = _first_behind(_PARAGRAPH, text, starts)
    sentences = _first_behind(_SENTENCE, text, starts) | paragraphs
    found: list[Chunk] = []
    first = 0
    while first < count:
        last = _end(first, count, chunking.tokens, paragraphs, sentences)
        start, end = starts[first], ends[last - 1]
        found.append(Chunk(text[start:end], start, end))
        if len(found) > CHUNKS_MAX:
            raise _too_many(chunking)
        if last == count:
            break
        back = max(last - chunking.overlap, first + 1)
        first = next((at for at in range(back, last) if at in sentences), back)
    return found


def _too_many(chunking: Chunking) -> InvalidArgument:
    return InvalidArgument(
        f"the text makes more than {CHUNKS_MAX:,} chunks of {chunking.tokens} tokens; "
        "make the chunks longer, or send the text in parts"
    )


def _tokens(text: str) -> tuple[list[int], list[int]]:
    starts: list[int] = []
    ends: list[int] = []
    for match in re.finditer(_TOKEN, text):
        starts.append(match.start())
        ends.append(match.end())
    return starts, ends


def _first_behind(borders: re.Pattern[str], text: str, starts: list[int]) -> set[int]:
    """The numbers of the tokens that come first after each border."""
    behind: set[int] = set()
    at = 0
    for border in borders.finditer(text):
        while at < len(starts) and starts[at] < border.end():
            at += 1
        behind.add(at)
    return behind


def _end(first: int, count: int, size: int, paragraphs: set[int], sentences: set[int]) -> int:
    """The token behind the last of a piece that begins with ``first``."""
    full = first + size
    if full >= count:
        return count
    half = first + size // 2
    for borders in (paragraphs, sentences):
        for at in range(full, half, -1):
            if at in borders:
                return at
    return full
