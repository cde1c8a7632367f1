"""Texts to terms, of documents that were taken apart: no string of theirs is made in Python but
those that have to be folded."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from kissvdb.core.metadata.flat import Flat, Strings
from kissvdb.core.postings.segment import Forward
from kissvdb.core.text.lexicon import Lexicon, folded

Array = npt.NDArray[Any]


def forward(lexicon: Lexicon, flat: Flat, engine: Any) -> tuple[Forward, Array]:
    """As ``Lexicon.forward`` of the documents. ``engine``: ``postings.compiled``."""
    strings = flat.strings
    of_field = np.full(len(flat.paths), -1, np.int64)
    known, firsts = np.unique(strings.fields, return_index=True)
    # Fields get their numbers in the order they come.
    for field in known[np.argsort(firsts)].tolist():
        of_field[field] = lexicon.numbers[flat.paths[field]]
    numbers = of_field[strings.fields]
    searched = numbers >= 0
    if not searched.all():
        strings, numbers = strings.of(searched), numbers[searched]
    text, ends = _in_bytes(lexicon, flat.text, strings, numbers, engine.PADDING)
    row_ends = np.searchsorted(strings.documents, np.arange(flat.row_count + 1))
    stream, ptr, totals = engine.learn_text(
        text, ends, numbers, row_ends.astype(np.int64), lexicon.vocabulary, lexicon.stems
    )
    return Forward(flat.row_count, ptr, stream), totals


def _in_bytes(
    lexicon: Lexicon, text: Array, strings: Strings, numbers: Array, padding: bytes
) -> tuple[Array, Array]:
    """The strings one after the other, as ``Lexicon`` has them of texts, ``padding`` behind them,
    and where each ends."""
    plain = np.zeros(int(numbers.max(initial=-1)) + 1, np.bool_)
    for number in np.unique(numbers).tolist():
        plain[number] = lexicon.by_number[number].is_words
    special = strings.wide | ~plain[numbers]
    sizes = strings.ends - strings.starts
    pieces: list[Any] = []
    for first, last in _runs(strings, special):
        part = text[strings.starts[first] : strings.ends[last]]
        if special[first]:
            field = lexicon.by_number[int(numbers[first])]
            made = folded(field, part.tobytes().decode())
            sizes[first] = len(made)
            pieces.append(made)
        else:
            pieces.append(part)
    octets = bytearray(b"".join([*pieces, padding]))
    return np.frombuffer(octets, np.uint8), np.cumsum(sizes)


def _runs(strings: Strings, special: Array) -> Iterator[tuple[int, int]]:
    """The first and the last of strings that follow one another in the text, none of them special;
    each that is special by itself."""
    count = len(special)
    if not count:
        return
    begins = np.ones(count, np.bool_)
    begins[1:] = (strings.starts[1:] != strings.ends[:-1]) | special[1:] | special[:-1]
    firsts = np.flatnonzero(begins)
    lasts = np.append(firsts[1:], count) - 1
    yield from zip(firsts.tolist(), lasts.tolist(), strict=True)
