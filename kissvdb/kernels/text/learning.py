"""Texts to terms: the words of texts are looked up in a vocabulary, and new ones added to it."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.text.memory import int32_at, int64_at, uint8_at
from kissvdb.kernels.text.octets import hash_at, part_at

Array = NDArray[Any]

MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
UNKNOWN: Final = -2
GAP: Final = -1
#: A longer field of a row counts as one of so many terms.
LENGTH_MAX: Final = 65_535
#: Numbers of fields are below.
FIELDS_MAX: Final = 128
#: Keys longer than this are no surfaces in the table.
SURFACE_BYTES_MAX: Final = 64


#: Words as long are looked for among those that came last.
RECENT_BYTES_MAX: Final = 16


def _token_bytes() -> Array:
    made = np.zeros(256, np.uint8)
    for byte in range(256):
        lower = byte + 32 if 65 <= byte <= 90 else byte
        if 48 <= lower <= 57 or 97 <= lower <= 122 or lower >= 128:
            made[byte] = lower
    return made


#: Each byte as it is in a token, in lower case; 0 where it separates.
TOKEN_BYTES: Final = _token_bytes()


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
    text: Array, start: Number, end: Number, prefix: Number, hash_: Number, vocabulary: Array
) -> Number:  # fmt: skip
    """The term of the key that a byte and a part of a text are; UNKNOWN if there is none.

    vocabulary: int64[8 or more], as ``Vocabulary.placed`` gives it. Slots may lead to entries
    beyond those, which another thread is adding.
    """
    slots, hashes, ends = vocabulary[0], vocabulary[1], vocabulary[2]
    blob, values, last = vocabulary[3], vocabulary[4], vocabulary[5]
    size = end - start + 1
    place = hash_ & last
    while int32_at(slots, place) != 0:
        entry = int32_at(slots, place) - 1
        if entry < vocabulary[6] and int32_at(hashes, entry) & 0xFFFFFFFF == hash_:
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
    text: Array, start: Number, end: Number, t: Number, hash_: Number, fields: Array,
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
            and fields[words[w, 2]] == fields[t]
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


@helper
def tokenise_text(
    text: Array, i: Number, end: Number, t: Number, fields: Array, vocabulary: Array,
    stream: Array, n: Number, seen: Array, words: Array, new: Number, recent: Array,
) -> Number:  # fmt: skip
    """The terms of text t, which begins at i, into the stream from n on. Answers how many words are
    new now, and where the stream goes on."""
    prefix, address = fields[t] << 1, np.int64(text.ctypes.data)
    last = np.int64(recent.shape[0] - 1)
    while i < end:
        byte: Number = TOKEN_BYTES[text[i]]
        if byte == 0:
            i += 1
            continue
        start = i
        while byte != 0:
            # Bytes that were just written cannot be loaded by eight: most are small anyway.
            if text[i] != byte:
                text[i] = byte
            i += 1
            byte = TOKEN_BYTES[text[i]] if i < end else np.uint8(0)
        size = i - start
        hash_ = hash_at(address, start, size, prefix, np.uint64(vocabulary[7]))
        # Most words came a short time ago: one look at one line of memory, where the vocabulary
        # has them in five places.
        place = hash_ & last if size <= RECENT_BYTES_MAX else np.int64(-1)
        tag = np.uint64(1 + prefix) << np.uint64(32) | np.uint64(size) << np.uint64(48)
        one, other = np.uint64(0), np.uint64(0)
        if place >= 0:
            tag |= np.uint64(hash_)
            one, other = part_at(address, start, size), part_at(address, start + 8, size - 8)
            if recent[place, 0] == tag and recent[place, 1] == one and recent[place, 2] == other:
                stream[n] = np.int64(recent[place, 3])
                n += 1
                continue
        term = np.int64(UNKNOWN)
        if size < SURFACE_BYTES_MAX:
            term = find_key(text, start, i, prefix, hash_, vocabulary)
        if term == UNKNOWN:
            number = number_of(text, start, i, t, hash_, fields, seen, words, new)
            if number == new:
                new += 1
            term = -2 - number
        if place >= 0:
            recent[place, 0], recent[place, 1], recent[place, 2] = tag, one, other
            recent[place, 3] = np.uint64(term)
        stream[n] = term
        n += 1
    return new, n


@kernel
def tokenise(
    text: Array, shape: Array, vocabulary: Array, stream: Array, counted: Array, seen: Array,
    words: Array, recent: Array,
) -> int:  # fmt: skip
    """The terms of rows, and the different words that the vocabulary lacks.

    text: uint8, made lower case in place, octets.PADDING bytes behind the last text.
    shape: int64[2 + 2 * T + R]: T, how many texts there are;
    where each ends in ``text``; the field of each; then 0 and the number of the last text of each
    row and 1. vocabulary: as ``find_key`` takes it. stream: int32[len(text) // 2 + 1 + T], takes
    the terms, -2 - w for the new word w, and GAP before a text of a field that the row had before.
    counted: int64[R + 1 + 4 * FIELDS_MAX], zeros: takes where each row begins and the last ends in
    the stream; then how many rows have a term in each field, how many terms that is, LENGTH_MAX of
    a row at most; the rest is working memory. words: int64[len(text) // 2 + 1, 4], takes start,
    end, text and hash of the new words; seen: int32[a power of two over len(text)], zeros. recent:
    uint64[a power of two, 4], zeros, takes words that came last. Answers how many are new.
    """
    texts = shape[0]
    ends, fields, row_ends = shape[1 : texts + 1], shape[texts + 1 :], shape[2 * texts + 1 :]
    rows = row_ends.shape[0] - 1
    ptr, counted = counted[: rows + 1], counted[rows + 1 :]
    row_counts, term_counts = counted[:FIELDS_MAX], counted[FIELDS_MAX : 2 * FIELDS_MAX]
    last_rows, lengths = counted[2 * FIELDS_MAX : 3 * FIELDS_MAX], counted[3 * FIELDS_MAX :]
    n, new, i, t = np.int64(0), 0, np.int64(0), np.int64(0)
    ptr[0] = 0
    for row in range(rows):
        while t < row_ends[row + 1]:
            field = fields[t]
            if last_rows[field] == row + 1:
                stream[n] = GAP
                n += 1
            else:
                last_rows[field] = row + 1
                lengths[field] = 0
            first = n
            new, n = tokenise_text(
                text, i, ends[t], t, fields, vocabulary, stream, n, seen, words, new, recent
            )
            before = lengths[field]
            after = min(before + n - first, LENGTH_MAX)
            if before == 0 and after > 0:
                row_counts[field] += 1
            term_counts[field] += after - before
            lengths[field] = after
            i = ends[t]
            t += 1
        ptr[row + 1] = n
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
    text: Array, words: Array, shape: Array, stems: Array, stem_ends: Array, salt: int,
    slots: Array, hashes: Array, ends: Array, blob: Array, values: Array, fields: Array,
    sizes: Array, stream: Array, terms: Array,
) -> None:  # fmt: skip
    """Add words that the vocabulary lacks, no one twice, and their terms where these are new.

    text, words, shape: as ``tokenise`` left them, of new words alone; stems: uint8, of word i up to
    ``stem_ends[i]`` (int64). slots: int32, hashes: uint32, ends: int64, blob: uint8, values: int32,
    fields: uint8, the vocabulary, with room for all. sizes: int64[2], how many entries and terms
    there are, moved on. stream: int32, where the new words become terms. terms: int32[new words],
    working memory.
    """
    entries, count = sizes[0], sizes[1]
    stem_start, texts = np.int64(0), shape[0]
    for i in range(words.shape[0]):
        start, end, hash_ = words[i, 0], words[i, 1], words[i, 3]
        field = shape[1 + texts + words[i, 2]]
        stem_end, prefix = stem_ends[i], field << 1
        stem_hash = hash_key(stems, stem_start, stem_end, prefix + 1, np.uint64(salt))
        entry = entry_of(
            stems, stem_start, stem_end, prefix + 1, stem_hash, slots, hashes, ends, blob
        )
        if entry >= 0:
            term = np.int64(values[entry])
        else:
            term = count
            fields[count] = field
            count += 1
            append_key(
                stems, stem_start, stem_end, prefix + 1, stem_hash, term, entries, slots, hashes,
                ends, blob, values,
            )  # fmt: skip
            entries += 1
        if end - start < SURFACE_BYTES_MAX:
            append_key(
                text, start, end, prefix, hash_, term, entries, slots, hashes, ends, blob, values
            )
            entries += 1
        terms[i] = term
        stem_start = stem_end
    for i in range(stream.shape[0]):
        if stream[i] < GAP:
            stream[i] = terms[-2 - stream[i]]
    sizes[0] = entries
    sizes[1] = count
