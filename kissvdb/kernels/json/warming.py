"""One call of every kernel for JSON, with the types that all calls have."""

import numpy as np

from kissvdb.kernels.json import hits, numbers, searching


def run() -> None:
    """A vector of one number, read, and a hit, written."""
    text = np.zeros(16 + 16, np.uint8)
    row = np.zeros((1, 1), np.float32)
    numbers.cut_vectors(text, 0, 1.0, row, np.zeros(64, np.uint8))
    numbers.are_within(row[0], 1.0)
    ends = np.zeros((1, 2), np.int64)
    blob, out = np.zeros(1, np.uint8), np.zeros(256, np.uint8)
    hits.write_hits(ends[0][:1].copy(), row[0], 1, ends, blob, False, out)
    searching.read_rows(text, 0, 1.0, row)
    body, query = np.frombuffer(b"[0]", np.uint8), np.zeros((1, 16), np.float32)
    searching.read_query(body, 1, 3, 1.0, 0, text, row, query)
    searching.take_query(np.frombuffer(bytes(4), np.float32), 1.0, 0, row, query)
    found, scores, cut = (
        np.zeros((1, 1), np.int64),
        np.zeros((1, 1), np.float32),
        np.zeros(1, np.bool_),
    )
    searching.write_found(
        *(found, scores, 1, 1, cut, found, scores, 0, 0, False, found[0].copy(), scores[0].copy()),
        *(1, ends, blob, False, out),
    )
