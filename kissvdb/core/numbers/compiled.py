"""What compiled kernels make of JSON: vectors cut out of a text, hits written as one.

Each of these is what the plain way makes, to the bit, or None: then the plain way is to be gone.
Good for any thread.
"""

import secrets
from collections.abc import Sequence
from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.store.space import RowData
from kissvdb.core.store.spec import NUMBER_MAX
from kissvdb.kernels.json import hits as writing
from kissvdb.kernels.json import numbers as reading
from kissvdb.kernels.json import searching
from kissvdb.kernels.json.text import PADDING

Array = npt.NDArray[Any]

_PLACES: Final = 10**reading.PLACE_DIGITS
_FIRST: Final = 10 ** (reading.MARK_DIGITS - 1)
_MARK: Final = _FIRST + secrets.randbelow(9 * _FIRST // _PLACES) * _PLACES
"""Nobody outside can write it in place of a vector."""
HITS_BYTES_MAX: Final = 8 * 1024 * 1024
_HITS_BYTES_MIN: Final = 4096
_ROWS: Final = b'"vectors"'


@attrs.frozen(eq=False)
class Cut:
    """A text without the arrays of its members ``vector``, and these: float32 [n, dim]."""

    text: bytes
    vectors: Array


def cut(text: bytes, dim: int, vectors_max: int) -> Cut | None:
    """Cut out all vectors of ``dim`` numbers; None unless there are 1 to ``vectors_max``, in plain
    JSON and within NUMBER_MAX."""
    size = len(text)
    # A number and the comma behind it take two bytes at least.
    most = min(vectors_max, size // (2 * dim), _PLACES)
    if not most:
        return None
    padded = bytearray(size + PADDING)
    padded[:size] = text
    vectors = np.empty((most, dim), np.float32)
    rest = np.empty(size + most * reading.MARK_DIGITS, np.uint8)
    whole = np.frombuffer(padded, np.uint8)
    length, count = reading.cut_vectors(whole, _MARK, NUMBER_MAX, vectors, rest)
    if length < 0 or not count:
        return None
    return Cut(rest[:length].tobytes(), vectors[:count])


def cut_rows(text: bytes, dim: int, vectors_max: int) -> Cut | None:
    """Cut out the first array of arrays that is called ``vectors``, as `cut` does: the mark of the
    first stands in its place."""
    name = text.find(_ROWS)
    start = text.find(b"[", name) + 1
    if name < 0 or not start or text[name + len(_ROWS) : start - 1].strip(b" \t\r\n") != b":":
        return None
    most = min(vectors_max, len(text) // (2 * dim))
    if not most:
        return None
    padded = bytearray(len(text) - start + PADDING)
    padded[: len(text) - start] = memoryview(text)[start:]
    vectors = np.empty((most, dim), np.float32)
    end, count = searching.read_rows(np.frombuffer(padded, np.uint8), 0, NUMBER_MAX, vectors)
    if end < 0:
        return None
    return Cut(b"%b%d%b" % (text[: start - 1], _MARK, text[start + end :]), vectors[:count])


def are_marks(numbers: Sequence[object]) -> bool:
    """Whether these are what stands for the first, the second ... of the vectors cut out."""
    return all(number == _MARK + place for place, number in enumerate(numbers))


def are_within(vectors: Array) -> bool:
    """Whether all numbers of a vector, float32 [n], are finite and within NUMBER_MAX."""
    good: bool = reading.are_within(vectors, NUMBER_MAX)
    return good


def hits_text(
    data: RowData,
    rows: Array,
    scores: Array,
    want: int,
    *,
    meta: bool,
    bytes_max: int = HITS_BYTES_MAX,
) -> tuple[bytes, int] | None:
    """The ``want`` best of what one query found as an array of JSON, and how many these are.

    rows: int64 [n], -1 for none, scores: float32 [n], best first. None where rows tie, too, and
    where the array might take more than ``bytes_max``.
    """
    rows = np.ascontiguousarray(rows, np.int64)
    scores = np.ascontiguousarray(scores, np.float32)
    room = _HITS_BYTES_MIN
    while True:
        out = np.empty(room, np.uint8)
        length, count = writing.write_hits(rows, scores, want, data.ends, data.blob, meta, out)
        if length > 0:
            return out[:length].tobytes(), count
        if length != writing.NO_ROOM or room >= bytes_max:
            return None
        room = min(4 * room, bytes_max)
