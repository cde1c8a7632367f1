"""One call of every kernel for JSON, with the types that all calls have."""

import numpy as np

from kissvdb.kernels.json import hits, numbers


def run() -> None:
    """A vector of one number, read, and a hit, written."""
    text = np.zeros(16 + 16, np.uint8)
    row = np.zeros((1, 1), np.float32)
    numbers.cut_vectors(text, 0, 1.0, row, np.zeros(64, np.uint8))
    numbers.are_within(row[0], 1.0)
    ends = np.zeros((1, 2), np.int64)
    blob, out = np.zeros(1, np.uint8), np.zeros(256, np.uint8)
    hits.write_hits(ends[0][:1].copy(), row[0], 1, ends, blob, False, out)
