"""Flat JSON documents to values: which field of which document has what, many documents a call."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import Number, helper, kernel

Array = NDArray[Any]

#: What a value is. Those below STRING are the codes of a column (``core.metadata.columns``).
NULL: Final = 3
FALSE: Final = 4
TRUE: Final = 5
EMPTY_ARRAY: Final = 6
ARRAY: Final = 7
#: Text in ASCII, or with other characters.
STRING: Final = 16
WIDE: Final = 17
#: An integer of at most DIGITS_MAX digits, or a number that is left as it is written.
INTEGER: Final = 18
NUMBER: Final = 19

DIGITS_MAX: Final = 15
#: Fields of the documents of a call.
FIELDS_MAX: Final = 256

ODD: Final = -1

_QUOTE: Final = 34
_COMMA: Final = 44
_COLON: Final = 58
_BACKSLASH: Final = 92


@helper
def four_hex(blob: Array, i: Number, end: Number) -> Number:
    """The number of four hexadecimal digits; ODD if they are none."""
    if i + 4 > end:
        return np.int64(ODD)
    value = np.int64(0)
    for at in range(i, i + 4):
        byte = np.int64(blob[at])
        if 48 <= byte <= 57:
            digit = byte - 48
        elif 97 <= byte <= 102:
            digit = byte - 87
        elif 65 <= byte <= 70:
            digit = byte - 55
        else:
            return np.int64(ODD)
        value = value * 16 + digit
    return value


@helper
def put_utf8(text: Array, n: Number, value: Number) -> Number:
    """A character into ``text`` at n; answers where the next one goes."""
    if value < 0x80:
        text[n] = np.uint8(value)
        return n + 1
    if value < 0x800:
        text[n] = np.uint8(0xC0 | value >> 6)
        text[n + 1] = np.uint8(0x80 | value & 0x3F)
        return n + 2
    if value < 0x10000:
        text[n] = np.uint8(0xE0 | value >> 12)
        text[n + 1] = np.uint8(0x80 | value >> 6 & 0x3F)
        text[n + 2] = np.uint8(0x80 | value & 0x3F)
        return n + 3
    text[n] = np.uint8(0xF0 | value >> 18)
    text[n + 1] = np.uint8(0x80 | value >> 12 & 0x3F)
    text[n + 2] = np.uint8(0x80 | value >> 6 & 0x3F)
    text[n + 3] = np.uint8(0x80 | value & 0x3F)
    return n + 4


@helper
def escaped(blob: Array, i: Number, end: Number) -> Number:
    """The character of the escape behind a backslash, and what follows it; ODD if it is none, or
    half of a pair."""
    if i >= end:
        return np.int64(ODD), i
    code = np.int64(blob[i])
    if code == 117:
        value = four_hex(blob, i + 1, end)
        i += 5
        if value < 0xD800 or value > 0xDFFF:
            return value, i
        if value > 0xDBFF or i + 6 > end or blob[i] != _BACKSLASH or blob[i + 1] != 117:
            return np.int64(ODD), i
        low = four_hex(blob, i + 2, end)
        if low < 0xDC00 or low > 0xDFFF:
            return np.int64(ODD), i
        return 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00), i + 6
    value = np.int64(ODD)
    if code == 110:
        value = np.int64(10)
    elif (code - _QUOTE) * (code - _BACKSLASH) * (code - 47) == 0:
        value = code
    elif code == 116:
        value = np.int64(9)
    elif code == 114:
        value = np.int64(13)
    elif code == 98:
        value = np.int64(8)
    elif code == 102:
        value = np.int64(12)
    return value, i + 1


@helper
def copy_string(blob: Array, i: Number, end: Number, text: Array, n: Number) -> Number:
    """The string whose first byte is at i, without escapes, into ``text`` from n on. Answers what
    it is, ODD if nothing; what follows in ``blob``; and where ``text`` ends."""
    kind = np.int64(STRING)
    while i < end:
        byte = blob[i]
        if byte == _QUOTE:
            return kind, i + 1, n
        if byte == _BACKSLASH:
            value, i = escaped(blob, i + 1, end)
            if value < 0:
                return np.int64(ODD), i, n
            if value >= 0x80:
                kind = np.int64(WIDE)
            n = put_utf8(text, n, value)
            continue
        if byte < 32:
            return np.int64(ODD), i, n
        if byte >= 0x80:
            kind = np.int64(WIDE)
        text[n] = byte
        n += 1
        i += 1
    return np.int64(ODD), i, n


@helper
def is_word(blob: Array, i: Number, end: Number, a: int, b: int, c: int) -> Number:
    """Whether three letters follow the one at i."""
    return i + 4 <= end and blob[i + 1] == a and blob[i + 2] == b and blob[i + 3] == c


@helper
def read_number(blob: Array, i: Number, end: Number) -> Number:
    """What the number at i is, ODD if none; what follows it; and the value of an integer."""
    start, value, sign = i, np.int64(0), np.int64(1)
    if i < end and blob[i] == 45:
        sign = np.int64(-1)
        i += 1
    first = i
    while i < end and 48 <= blob[i] <= 57 and i - first <= DIGITS_MAX:
        value = value * 10 + np.int64(blob[i]) - 48
        i += 1
    digits = i - first
    is_end = i < end and (blob[i] == _COMMA or blob[i] == 125 or blob[i] == 93)
    leading = digits > 1 and blob[first] == 48
    if is_end and 0 < digits <= DIGITS_MAX and not leading and (value > 0 or sign > 0):
        return np.int64(INTEGER), i, sign * value
    i = start
    while i < end and (48 <= blob[i] <= 57 or blob[i] == 43 or blob[i] == 45 or blob[i] == 46
                       or blob[i] == 69 or blob[i] == 101):  # fmt: skip
        i += 1
    return np.int64(NUMBER if i > start else ODD), i, np.int64(0)


@helper
def read_value(
    blob: Array, i: Number, end: Number, text: Array, n: Number, values: Array, v: Number
) -> Number:
    """The value at i, which is no array with elements and no object, into row v of ``values``.
    Answers what follows, ODD if it is nothing, and where ``text`` ends."""
    if i >= end:
        return np.int64(ODD), n
    byte = blob[i]
    if byte == _QUOTE:
        kind, i, stop = copy_string(blob, i + 1, end, text, n)
        values[v, 2], values[v, 3], values[v, 4] = kind, n, stop
        return (i if kind != ODD else np.int64(ODD)), stop
    start = i
    if byte == 110 and is_word(blob, i, end, 117, 108, 108):
        kind, i = np.int64(NULL), i + 4
    elif byte == 116 and is_word(blob, i, end, 114, 117, 101):
        kind, i = np.int64(TRUE), i + 4
    elif byte == 102 and is_word(blob, i, end, 97, 108, 115) and i + 5 <= end:
        kind, i = np.int64(FALSE if blob[i + 4] == 101 else ODD), i + 5
    else:
        kind, i, start = read_integer_or_number(blob, i, end)
    values[v, 2], values[v, 3], values[v, 4] = kind, start, i
    return (i if kind != ODD else np.int64(ODD)), n


@helper
def read_integer_or_number(blob: Array, i: Number, end: Number) -> Number:
    """As ``read_number``; of what is no integer last where it begins."""
    kind, stop, value = read_number(blob, i, end)
    return kind, stop, (value if kind == INTEGER else i)


@helper
def read_array(
    blob: Array, i: Number, end: Number, text: Array, n: Number, values: Array, v: Number
) -> Number:
    """The array whose first element, or end, is at i, into ``values`` from v on: itself, then its
    elements. Answers what follows, ODD for one with arrays or objects in it; where ``text`` ends;
    and the next row of ``values``."""
    field, doc = values[v, 1], values[v, 0]
    if i < end and blob[i] == 93:
        values[v, 2] = EMPTY_ARRAY
        return i + 1, n, v + 1
    values[v, 2] = ARRAY
    v += 1
    while i < end:
        values[v, 0], values[v, 1] = doc, field + 1
        i, n = read_value(blob, i, end, text, n, values, v)
        v += 1
        if i == ODD or i >= end:
            break
        if blob[i] == 93:
            return i + 1, n, v
        if blob[i] != _COMMA:
            break
        i += 1
    return np.int64(ODD), n, v


@helper
def is_key(blob: Array, start: Number, size: Number, fields: Array, field: Number) -> Number:
    """Whether the bytes from ``start`` on are the key of a field."""
    other = fields[field, 0]
    if fields[field, 1] - other != size:
        return False
    same = np.int64(0)
    while same < size and blob[start + same] == blob[other + same]:
        same += 1
    return same == size


@helper
def field_of(
    blob: Array, start: Number, stop: Number, fields: Array, count: Number, before: Number
) -> Number:
    """The number of the field with the key from ``start`` to ``stop``; ``count`` for a new one,
    which is noted then; ODD if there are too many. ``before``: the field before it."""
    size = stop - start
    # As in the document before: that is so of nearly all.
    guess = fields[before, 2]
    if guess < count and is_key(blob, start, size, fields, guess):
        return guess
    found = np.int64(ODD)
    for f in range(count):
        if is_key(blob, start, size, fields, f):
            found = np.int64(f)
            break
    if found == ODD:
        if count == FIELDS_MAX:
            return found
        found = np.int64(count)
        fields[count, 0], fields[count, 1] = start, stop
        fields[count, 2] = FIELDS_MAX
        fields[count, 3] = -1
    fields[before, 2] = found
    return found


@helper
def key_end(blob: Array, i: Number, end: Number) -> Number:
    """Where the key that begins at i ends; ODD for one that is not plain ASCII."""
    while i < end:
        byte = blob[i]
        if byte == _QUOTE:
            return i
        if byte == _BACKSLASH or byte < 32 or byte >= 0x80:
            break
        i += 1
    return np.int64(ODD)


@kernel
def scan(blob: Array, ends: Array, fields: Array, text: Array, values: Array, sizes: Array) -> bool:
    """The values of documents, in their order. Answers whether all are flat objects in compact
    JSON, or nothing at all: else nothing is to be used.

    blob: uint8, the documents one after another, of which each ends at ``ends`` (int64[D]).
    fields: int64[FIELDS_MAX + 1, 4], FIELDS_MAX in column 2: takes of each field, in the order
    they come, where in ``blob`` its key begins and ends. text: uint8[len(blob)], takes all strings
    one after the other, in UTF-8. values: int64[len(blob) // 2 + 1, 5], takes of each value the
    document; its field twice, and 1 more if it is an element of an array; what it is; and where a
    string begins and ends in ``text``, a number in ``blob``; or the integer. sizes: int64[3]: how
    many fields, bytes of text and values there are.
    """
    i, n, v, count = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for doc in range(ends.shape[0]):
        end = ends[doc]
        if i == end:
            continue
        if blob[i] != 123 or end - i < 2:
            return False
        i += 1
        before = np.int64(FIELDS_MAX)
        more = blob[i] != 125
        while more:
            if i >= end or blob[i] != _QUOTE:
                return False
            stop = key_end(blob, i + 1, end)
            if stop == ODD or stop + 2 >= end or blob[stop + 1] != _COLON:
                return False
            field = field_of(blob, i + 1, stop, fields, count, before)
            # A key that comes twice has the last value in Python.
            if field == ODD or (field < count and fields[field, 3] == doc):
                return False
            if field == count:
                count += 1
            fields[field, 3] = doc
            before = field
            values[v, 0], values[v, 1] = doc, 2 * field
            i = stop + 2
            if blob[i] == 91:
                i, n, v = read_array(blob, i + 1, end, text, n, values, v)
            else:
                i, n = read_value(blob, i, end, text, n, values, v)
                v += 1
            if i == ODD or i >= end:
                return False
            more = blob[i] == _COMMA
            if more:
                i += 1
        if blob[i] != 125 or i + 1 != end:
            return False
        i = end
    sizes[0], sizes[1], sizes[2] = count, n, v
    return True
