"""One call of every kernel for documents, with the types that all calls have."""

import numpy as np

from kissvdb.kernels.documents import dictionary, scanning


def run() -> None:
    """One document of one field, and the column of that."""
    blob = np.frombuffer(bytearray(b'{"a":"b"}'), np.uint8)
    fields = np.full((scanning.FIELDS_MAX + 1, 4), scanning.FIELDS_MAX)
    text, values, sizes = np.zeros_like(blob), np.zeros((5, 5), np.int64), np.zeros(3, np.int64)
    scanning.scan(blob, np.array([9]), fields, text, values, sizes)
    one = np.zeros(1, np.int64)
    dictionary.encode(
        text, values, one, 9, 1, np.zeros(2, np.int32), np.zeros((1, 3), np.int64),
        np.zeros(1, np.uint64), one.copy(), one.copy(), np.zeros(1, np.uint32),
        np.zeros(65, np.uint8), np.zeros(2, np.uint32),
    )  # fmt: skip
