"""The different strings of a column, sorted, and for each value which of them it is."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.documents.scanning import STRING, WIDE
from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.text.learning import hash_key

Array = NDArray[Any]

#: As ``core.metadata.string_table``: of a longer string the first bytes, and then CUT.
KEY_BYTES_MAX: Final = 64
CUT: Final = 0xFF


@helper
def is_string(kind: Number) -> Number:
    return (kind - STRING) * (kind - WIDE) == 0


@helper
def size_of(strings: Array, d: Number) -> Number:
    """How long the key of a different string is."""
    return min(strings[d, 1] - strings[d, 0], np.int64(KEY_BYTES_MAX + 1))


@helper
def prefix_of(text: Array, start: Number, size: Number) -> Number:
    """The first eight bytes of a key as a number that sorts as they do."""
    value = np.uint64(0)
    for j in range(8):
        byte = np.uint64(text[start + j]) if j < size else np.uint64(0)
        value = value << np.uint64(8) | byte
    return value


@helper
def is_before(text: Array, strings: Array, prefixes: Array, one: Number, other: Number) -> Number:
    """Whether one of two different keys comes before the other, byte by byte."""
    if prefixes[one] != prefixes[other]:
        return prefixes[one] < prefixes[other]
    mine, its = size_of(strings, one), size_of(strings, other)
    a, b = strings[one, 0], strings[other, 0]
    for j in range(8, min(mine, its, np.int64(KEY_BYTES_MAX))):
        if text[a + j] != text[b + j]:
            return text[a + j] < text[b + j]
    return mine < its


@helper
def number_of(
    text: Array, start: Number, end: Number, salt: Number, table: Array, strings: Array,
    count: Number,
) -> Number:  # fmt: skip
    """Which different string this is: ``count`` if it is a new one, which is noted then."""
    size = end - start
    kept = min(size, np.int64(KEY_BYTES_MAX))
    is_cut = np.int64(size > KEY_BYTES_MAX)
    hash_ = hash_key(text, start, start + kept, is_cut, salt)
    last = np.int64(table.shape[0] - 1)
    place = hash_ & last
    while table[place] != 0:
        d = np.int64(table[place]) - 1
        if strings[d, 2] == hash_ and size_of(strings, d) == kept + is_cut:
            begin, same = strings[d, 0], np.int64(0)
            while same < kept and text[begin + same] == text[start + same]:
                same += 1
            if same == kept:
                return d
        place = (place + 1) & last
    table[place] = count + 1
    strings[count, 0], strings[count, 1], strings[count, 2] = start, end, hash_
    return count


@helper
def sort_strings(
    text: Array, strings: Array, prefixes: Array, order: Array, spare: Array, count: Number
) -> None:
    """The numbers of different strings in their order into ``order``: merge sort."""
    for d in range(count):
        order[d] = d
        prefixes[d] = prefix_of(text, strings[d, 0], size_of(strings, d))
    width = np.int64(1)
    while width < count:
        start = np.int64(0)
        while start < count:
            middle, stop = min(start + width, count), min(start + 2 * width, count)
            a, b = start, middle
            for at in range(start, stop):
                left = a < middle
                if left and b < stop:
                    left = not is_before(text, strings, prefixes, order[b], order[a])
                if left:
                    spare[at] = order[a]
                    a += 1
                else:
                    spare[at] = order[b]
                    b += 1
            start = stop
        for at in range(count):
            order[at] = spare[at]
        width *= 2


@kernel
def encode(
    text: Array, values: Array, rows: Array, base: int, salt: int, table: Array, strings: Array,
    prefixes: Array, order: Array, spare: Array, codes: Array, blob: Array, offsets: Array,
) -> int:  # fmt: skip
    """The codes of the values of one column, and its keys; answers how many keys there are.

    text, values: as ``scanning.scan`` left them; rows: int64[m], those of ``values`` that are the
    column's. base: the code of the first key; other values have what they are as their code.
    table: int32[a power of two over m], zeros. codes: uint32[m]. offsets: uint32[m + 1] and blob:
    uint8[m * (KEY_BYTES_MAX + 1)] take the sorted keys. Working memory: strings, int64[m, 3];
    prefixes, uint64[m]; order and spare, int64[m].
    """
    count: int = np.int64(0)  # type: ignore[assignment]
    m = rows.shape[0]
    for j in range(m):
        if is_string(values[rows[j], 2]):
            start, end = values[rows[j], 3], values[rows[j], 4]
            d = number_of(text, start, end, np.uint64(salt), table, strings, count)
            if d == count:
                count += 1
            codes[j] = d
        else:
            codes[j] = values[rows[j], 2]
    sort_strings(text, strings, prefixes, order, spare, count)
    n = np.int64(0)
    offsets[0] = 0
    for rank in range(count):
        d = order[rank]
        start, size = strings[d, 0], size_of(strings, d)
        for j in range(min(size, np.int64(KEY_BYTES_MAX))):
            blob[n + j] = text[start + j]
        if size > KEY_BYTES_MAX:
            blob[n + KEY_BYTES_MAX] = CUT
        n += size
        offsets[rank + 1] = n
        spare[d] = base + rank
    for j in range(m):
        if is_string(values[rows[j], 2]):
            codes[j] = spare[codes[j]]
    return count
