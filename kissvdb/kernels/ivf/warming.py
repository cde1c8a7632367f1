"""What compiles the kernels of lists, for one type of codes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.arrays import COSINE, Codes
from kissvdb.kernels.ivf import lists as row_lists
from kissvdb.kernels.ivf import search, signs

Array = NDArray[Any]


def run(codes: Codes, rows: Array) -> None:
    """Search a list of these rows, float32 [n, width], by codes of them."""
    count = len(rows)
    lists, slots = row_lists.extended(row_lists.empty(1), np.zeros(count, np.int32))
    lists = lists._replace(rows=np.zeros(len(lists.blocks) * row_lists.BLOCK_ROWS, np.int32))
    lists.rows[slots] = np.arange(count)
    scratch = search.scratch_for(16, rows.shape[1])
    queries, nothing = rows[:1].copy(), np.zeros(0, np.float32)
    if codes.rows.dtype != np.int8:
        search.nearest_lists(codes, COSINE, queries, 4, scratch)
    probes = np.zeros((1, 1), np.int32)
    search.scan_lists(lists, codes, nothing, rows, COSINE, queries, probes, 2, 8, scratch, sure=2)
    if codes.rows.dtype == np.uint8:
        blocks = np.zeros((len(lists.blocks), signs.block_bytes(rows.shape[1])), np.uint8)
        labels = np.zeros(count, np.int32)
        signs.encode(signs.signs_of(blocks, queries), rows, labels, slots, COSINE)
