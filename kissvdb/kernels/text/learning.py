"""Texts to terms: the words of texts are looked up in a vocabulary, and new ones added to it."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.text.memory import int32_at, int64_at, uint8_at

Array = NDArray[Any]

MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
UNKNOWN: Final = -2
GAP: Final = -1
#: Keys longer than this are no surfaces in the table.
SURFACE_BYTES_MAX: Final = 64


@helper
def token_byte(byte: Number) -> Number:
    """A byte of a token in lower case; 0 if it separates."""
    if byte >= 97:
        return byte if byte <= 122 or byte >= 128 else np.uint8(0)
    if byte >= 65:
        return byte + np.uint8(32) if byte <= 90 else np.uint8(0)
    return byte if 48 <= byte <= 57 else np.uint8(0)


@helper
def hash_key(text: Array, start: Number, end: Number, prefix: Number, salt: Number) -> Number:
    """The hash of the key of a byte and then a part of a text: the lower 32 bits of ``hash_of``."""
    value = salt ^ np.uint64(end - start + 1)
    word, shift = np.uint64(prefix), np.uint64(8)
    for i in range(start, end):
        if shift == np.uint64(64):
            value = (value ^ word) * MULTIPLIER
            value ^= value >> np.uint64(32)
            word, shift = np.uint64(0), np.uint64(0)
        word |= np.uint64(text[i]) << shift
        shift += np.uint64(8)
    value = (value ^ word) * MULTIPLIER
    value ^= value >> np.uint64(32)
    return np.int64(value & np.uint64(0xFFFFFFFF))


@helper
def find_key(
    text: Array, start: Number, end: Number, prefix: Number, hash_: Number, slots: Number,
    last: Number, hashes: Number, ends: Number, blob: Number, values: Number,
) -> Number:  # fmt: skip
    """The term of the key that a byte and a part of a text are; UNKNOWN if there is none."""
    size = end - start + 1
    place = hash_ & last
    while int32_at(slots, place) != 0:
        entry = int32_at(slots, place) - 1
        if int32_at(hashes, entry) & 0xFFFFFFFF == hash_:
            begin = int64_at(ends, entry - 1) if entry > 0 else np.int64(0)
            if int64_at(ends, entry) - begin == size and uint8_at(blob, begin) == prefix:
                same = 1
                while same < size and uint8_at(blob, begin + same) == text[start + same - 1]:
                    same += 1
                if same == size:
                    return int32_at(values, entry)
        place = (place + 1) & last
    return UNKNOWN


@helper
def number_of(
    text: Array, start: Number, end: Number, t: Number, hash_: Number, prefixes: Array,
    seen: Array, words: Array, count: Number,
) -> Number:  # fmt: skip
    """Which of the first ``count`` words a new one is; ``count`` if it is none of them, and then it
    is the next. ``seen``: a hash table of them, of linear probing."""
    last = np.int64(seen.shape[0] - 1)
    place = hash_ & last
    while seen[place] != 0:
        w = np.int64(seen[place]) - 1
        begin = words[w, 0]
        if (
            words[w, 3] == hash_
            and words[w, 1] - begin == end - start
            and prefixes[words[w, 2]] == prefixes[t]
        ):
            same = np.int64(0)
            while same < end - start and text[begin + same] == text[start + same]:
                same += 1
            if same == end - start:
                return w
        place = (place + 1) & last
    seen[place] = count + 1
    words[count, 0] = start
    words[count, 1] = end
    words[count, 2] = t
    words[count, 3] = hash_
    return count


@kernel
def tokenise(
    text: Array, ends: Array, prefixes: Array, gaps: Array, salt: int, vocabulary: Array,
    stream: Array, counts: Array, seen: Array, words: Array,
) -> int:  # fmt: skip
    """The terms of texts, and the different words that the vocabulary lacks.

    text: uint8, made lower case in place; text i ends at ``ends[i]``, its keys begin with the byte
    ``prefixes[i]``, and GAP comes before it if ``gaps[i]`` (int64 all). vocabulary: int64[6], the
    addresses of slots, hashes, ends, blob and values, and the number of slots less 1. stream:
    int32[len(text) // 2 + 1 + texts], takes the terms, and -2 - w for the new word w; counts:
    int64[texts], how many. words: int64[len(text) // 2 + 1, 4], takes start, end, text and hash of
    the new words; seen: int32[a power of two over len(text)], zeros. Answers how many are new.
    """
    n, new, i = 0, 0, 0
    for t in range(ends.shape[0]):
        before = n
        if gaps[t] != 0:
            stream[n] = GAP
            n += 1
        while i < ends[t]:
            byte = token_byte(text[i])
            if byte == 0:
                i += 1
                continue
            start = i
            while byte != 0:
                text[i] = byte
                i += 1
                byte = token_byte(text[i]) if i < ends[t] else np.uint8(0)
            hash_ = hash_key(text, start, i, prefixes[t], np.uint64(salt))
            term = np.int64(UNKNOWN)
            if i - start < SURFACE_BYTES_MAX:
                term = find_key(
                    text, start, i, prefixes[t], hash_, vocabulary[0], vocabulary[5],
                    vocabulary[1], vocabulary[2], vocabulary[3], vocabulary[4],
                )  # fmt: skip
            if term == UNKNOWN:
                number = number_of(text, start, i, t, hash_, prefixes, seen, words, new)
                if number == new:
                    new += 1
                term = -2 - number
            stream[n] = term
            n += 1
        counts[t] = n - before
    return new


@helper
def append_key(
    text: Array, start: Number, end: Number, prefix: Number, hash_: Number, term: Number,
    entry: Number, slots: Array, hashes: Array, ends: Array, blob: Array, values: Array,
) -> None:  # fmt: skip
    """Write an entry that is new. The slot comes last: readers in other threads look there."""
    at = ends[entry - 1] if entry > 0 else np.int64(0)
    values[entry] = term
    blob[at] = prefix
    for i in range(start, end):
        blob[at + 1 + i - start] = text[i]
    ends[entry] = at + 1 + end - start
    hashes[entry] = hash_
    last = np.int64(slots.shape[0] - 1)
    place = hash_ & last
    while slots[place] != 0:
        place = (place + 1) & last
    slots[place] = entry + 1


@helper
def entry_of(
    text: Array, start: Number, end: Number, prefix: Number, hash_: Number, slots: Array,
    hashes: Array, ends: Array, blob: Array,
) -> Number:  # fmt: skip
    """The entry of a key; -1 if there is none."""
    size = end - start + 1
    last = np.int64(slots.shape[0] - 1)
    place = hash_ & last
    while slots[place] != 0:
        entry = np.int64(slots[place]) - 1
        begin = ends[entry - 1] if entry > 0 else np.int64(0)
        if hashes[entry] == hash_ and ends[entry] - begin == size and blob[begin] == prefix:
            same = np.int64(1)
            while same < size and blob[begin + same] == text[start + same - 1]:
                same += 1
            if same == size:
                return entry
        place = (place + 1) & last
    return np.int64(-1)


@kernel
def learn(
    words: Array, word_ends: Array, stems: Array, stem_ends: Array, prefixes: Array, salt: int,
    slots: Array, hashes: Array, ends: Array, blob: Array, values: Array, fields: Array,
    sizes: Array, terms: Array,
) -> None:  # fmt: skip
    """Add words that the vocabulary lacks, no one twice, and their terms where these are new.

    words, stems: uint8, of word i up to ``word_ends[i]`` and ``stem_ends[i]`` (int64); prefixes:
    int64, the byte that the key of word i begins with, even; that of its stem is one more. slots:
    int32, hashes: uint32, ends: int64, blob: uint8, values: int32, fields: uint8, the vocabulary,
    with room for all. sizes: int64[2], how many entries and terms there are, moved on. terms:
    int32, takes the term of each word.
    """
    entries, count = sizes[0], sizes[1]
    start, stem_start = np.int64(0), np.int64(0)
    for i in range(word_ends.shape[0]):
        end, stem_end, prefix = word_ends[i], stem_ends[i], prefixes[i]
        hash_ = hash_key(stems, stem_start, stem_end, prefix + 1, np.uint64(salt))
        entry = entry_of(stems, stem_start, stem_end, prefix + 1, hash_, slots, hashes, ends, blob)
        if entry >= 0:
            term = np.int64(values[entry])
        else:
            term = count
            fields[count] = prefix >> 1
            count += 1
            append_key(
                stems, stem_start, stem_end, prefix + 1, hash_, term, entries, slots, hashes, ends,
                blob, values,
            )  # fmt: skip
            entries += 1
        if end - start < SURFACE_BYTES_MAX:
            hash_ = hash_key(words, start, end, prefix, np.uint64(salt))
            append_key(
                words, start, end, prefix, hash_, term, entries, slots, hashes, ends, blob, values
            )
            entries += 1
        terms[i] = term
        start, stem_start = end, stem_end
    sizes[0] = entries
    sizes[1] = count
