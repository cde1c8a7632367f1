"""Scans of a vocabulary: words that begin so, and words nearly like one."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import kernel
from kissvdb.kernels.text.memory import int64_at, uint8_at

Array = NDArray[Any]

#: Longer words are near none, and no word is compared with a longer one.
NEAR_BYTES_MAX: Final = 64


@kernel
def beginning(blob: int, ends: int, entries: int, prefix: Array, found: Array) -> int:
    """The entries whose keys go on with ``prefix`` (uint8[n]) behind their first byte into
    ``found``, int64[entries]."""
    n, start, size = 0, np.int64(0), prefix.shape[0]
    for entry in range(entries):
        end = int64_at(ends, entry)
        if end - start > size:
            same = 0
            while same < size and uint8_at(blob, start + 1 + same) == prefix[same]:
                same += 1
            if same == size:
                found[n] = entry
                n += 1
        start = end
    return n


@kernel
def near(
    blob: int, ends: int, entries: int, first: int, word: Array, limit: int, lines: Array,
    found: Array, distances: Array,
) -> int:  # fmt: skip
    """The entries whose keys begin with the byte ``first`` and are then at most ``limit`` edits
    from ``word`` (uint8[n], ASCII, n <= NEAR_BYTES_MAX), by optimal string alignment: a letter
    more, less or another, or two neighbours swapped.

    lines: int64[3, NEAR_BYTES_MAX + 1], working memory. found, distances: int64[entries].
    """
    n, start, size = 0, np.int64(0), word.shape[0]
    for entry in range(entries):
        begin = start + 1
        start = int64_at(ends, entry)
        length = start - begin
        if length < size - limit or length > min(size + limit, NEAR_BYTES_MAX):
            continue
        if uint8_at(blob, begin - 1) != first:
            continue
        for j in range(length + 1):
            lines[0, j] = j
        last_least = np.int64(0)
        for i in range(1, size + 1):
            now, before, before_that = i % 3, (i - 1) % 3, (i - 2) % 3
            lines[now, 0] = i
            least = np.int64(i)
            for j in range(1, length + 1):
                byte = uint8_at(blob, begin + j - 1)
                cost = lines[before, j - 1] + (0 if byte == word[i - 1] else 1)
                cost = min(cost, lines[before, j] + 1, lines[now, j - 1] + 1)
                if (
                    i > 1
                    and j > 1
                    and byte == word[i - 2]
                    and uint8_at(blob, begin + j - 2) == word[i - 1]
                ):
                    cost = min(cost, lines[before_that, j - 2] + 1)
                lines[now, j] = cost
                least = min(least, cost)
            # Two neighbours swapped reach over one line.
            if least > limit and last_least >= limit:
                break
            last_least = least
        else:
            distance = lines[size % 3, length]
            if distance <= limit:
                found[n] = entry
                distances[n] = distance
                n += 1
    return n
