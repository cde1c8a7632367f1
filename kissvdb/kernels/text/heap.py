"""The k best rows so far, in two arrays: a heap with the worst of them at its root."""

from typing import Any

from numpy.typing import NDArray

from kissvdb.kernels.jit import Number, helper

Array = NDArray[Any]


@helper
def is_worse(scores: Array, rows: Array, i: Number, j: Number) -> Number:
    """Whether entry i comes behind entry j: a lower score, or as good and a higher row."""
    return scores[i] < scores[j] or (scores[i] == scores[j] and rows[i] > rows[j])


@helper
def swap(scores: Array, rows: Array, i: Number, j: Number) -> None:
    """Exchange two entries."""
    scores[i], scores[j] = scores[j], scores[i]
    rows[i], rows[j] = rows[j], rows[i]


@helper
def sink(scores: Array, rows: Array, count: Number) -> None:
    """Put the root where it belongs."""
    i = 0
    while True:
        child = 2 * i + 1
        if child >= count:
            break
        if child + 1 < count and is_worse(scores, rows, child + 1, child):
            child += 1
        if not is_worse(scores, rows, child, i):
            break
        swap(scores, rows, i, child)
        i = child


@helper
def offer(scores: Array, rows: Array, count: Number, score: Number, row: Number) -> Number:
    """Take a row in if it is among the best. scores: float64[k], rows: int64[k], of which
    ``count`` are used. Answers the new count."""
    if count < scores.shape[0]:
        i = count
        scores[i] = score
        rows[i] = row
        while i > 0:
            parent = (i - 1) >> 1
            if not is_worse(scores, rows, i, parent):
                break
            swap(scores, rows, i, parent)
            i = parent
        return count + 1
    if score > scores[0] or (score == scores[0] and row < rows[0]):
        scores[0] = score
        rows[0] = row
        sink(scores, rows, count)
    return count


@helper
def sort(scores: Array, rows: Array, count: Number) -> None:
    """Best first."""
    for last in range(count - 1, 0, -1):
        swap(scores, rows, 0, last)
        sink(scores, rows, last)
