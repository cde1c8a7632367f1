"""Making postings of terms in order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import kernel
from kissvdb.kernels.text.memory import int32_at, int64_at, uint8_at

Array = NDArray[Any]


@kernel
def count_postings(
    row_count: int, ptr: int, stream: int, fields: int, places: Array, lengths: Array,
    last_row: Array, sizes: Array,
) -> int:  # fmt: skip
    """Count the rows of each term, and the terms of each field of each row.

    ptr, stream, fields (uint8, of each term): addresses. places: int64[256], the place of a field
    in ``lengths``, uint16[fields, rows], zeros. last_row: int32[terms], -1; sizes: int64[terms],
    zeros. Answers how many postings there are.
    """
    total = 0
    for row in range(row_count):
        for i in range(int64_at(ptr, row), int64_at(ptr, row + 1)):
            term = int32_at(stream, i)
            if term < 0:
                continue
            place = places[uint8_at(fields, term)]
            if lengths[place, row] < 65535:
                lengths[place, row] += np.uint16(1)
            if last_row[term] != row:
                last_row[term] = row
                sizes[term] += 1
                total += 1
    return total


@kernel
def write_postings(
    row_count: int, ptr: int, stream: int, fields: int, places: Array, lengths: Array,
    cursors: Array, firsts: Array, docs: Array, tfs: Array, max_tf: Array, min_length: Array,
) -> None:  # fmt: skip
    """Write the rows of each term.

    cursors: int64[terms], where the list of each term begins, moved to its end; firsts: a copy.
    max_tf: uint8[terms], zeros; min_length: uint16[terms], 65535.
    """
    for row in range(row_count):
        for i in range(int64_at(ptr, row), int64_at(ptr, row + 1)):
            term = int32_at(stream, i)
            if term < 0:
                continue
            at = cursors[term]
            if at > firsts[term] and docs[at - 1] == row:
                at -= 1
                if tfs[at] < 255:
                    tfs[at] += np.uint8(1)
            else:
                docs[at] = row
                tfs[at] = 1
                cursors[term] = at + 1
                length = lengths[places[uint8_at(fields, term)], row]
                min_length[term] = min(min_length[term], length)
            max_tf[term] = max(max_tf[term], tfs[at])
