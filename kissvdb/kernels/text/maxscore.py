"""The best rows of an OR of lists: MaxScore (Turtle and Flood 1995), windows of rows at a time.

The lists with the least bounds, which together cannot lift a row into the best k, are not walked:
a row is only looked up in them when the others make it a candidate. The others are added up for
a window of rows at a time, and where that falls short of the k-th best score, a row is passed over.

Bounds and sums for pruning have a margin, and a row that is offered gets its score in the order of
the atoms: so it has the same bits whichever way it was found.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.text import heap
from kissvdb.kernels.text import memory as at
from kissvdb.kernels.text.lists import place_in_bits, seek
from kissvdb.kernels.text.memory import (
    count_bits,
    int32_at,
    int64_at,
    lowest_bit,
    uint8_at,
    uint16_at,
)

Array = NDArray[Any]

WINDOW: Final = 4096
#: The first windows of a segment are shorter, and each is twice the one before: so the k-th best
#: score is soon known, and with it the lists that need not be walked.
FIRST_WINDOW: Final = 256
#: float64 rounding over all atoms, with much to spare.
MARGIN: Final = 1.0 + 1e-9


@helper
def part(weighing: Array, a: Number, tf: Number, length: Number) -> Number:
    """What an atom gives: ``weighing`` is float64[3, A], weights, floors and slopes."""
    count = np.float64(tf)
    norm = weighing[1, a] + weighing[2, a] * np.float64(length)
    return weighing[0, a] * count / (count + norm)


@helper
def by_bound(lists: Array, weighing: Array, order: Array, sums: Array) -> Number:
    """Order the atoms of a segment by what they can give, the least first.

    lists: int64[A, LIST_COLUMNS]. order: int64[A]; sums: float64[A + 1], takes in i the most that
    the first i can give. Answers how many atoms have rows here.
    """
    n = 0
    for a in range(weighing.shape[1]):
        if lists[a, at.LIST_SIZE] == 0:
            continue
        bound = part(weighing, a, lists[a, at.LIST_MAX_TF], lists[a, at.LIST_MIN_LENGTH])
        i = n
        while i > 0 and sums[i] > bound:
            sums[i + 1] = sums[i]
            order[i] = order[i - 1]
            i -= 1
        sums[i + 1] = bound
        order[i] = a
        n += 1
    sums[0] = 0.0
    for i in range(n):
        sums[i + 1] = sums[i] + sums[i + 1] * MARGIN
    return n


@helper
def walk(
    lists: Array, weighing: Array, a: Number, cursor: Number, low: Number, high: Number,
    sums: Array, touched: Array,
) -> Number:  # fmt: skip
    """Add what an atom gives to the rows below ``high``; answers the cursor behind them.

    sums: float64[WINDOW], touched: uint64[WINDOW / 64], of the rows from ``low`` on.
    """
    docs, tfs, lengths = lists[a, at.LIST_DOCS], lists[a, at.LIST_TFS], lists[a, at.LIST_LENGTHS]
    size = lists[a, at.LIST_SIZE]
    weight, floor, slope = weighing[0, a], weighing[1, a], weighing[2, a]
    i = cursor
    while i < size:
        row = int32_at(docs, i)
        if row >= high:
            break
        tf = np.float64(uint8_at(tfs, i))
        norm = floor + slope * np.float64(uint16_at(lengths, row))
        place = row - low
        sums[place] += weight * tf / (tf + norm)
        touched[place >> 6] |= np.uint64(1) << np.uint64(place & 63)
        i += 1
    return i


@helper
def is_allowed(allow: Array, row: Number) -> Number:
    """Whether a row is in a bitmap; an empty one is of all rows."""
    if allow.shape[0] == 0:
        return True
    bit = (allow[row >> 6] >> np.uint64(row & 63)) & np.uint64(1)
    return bit != np.uint64(0)


@helper
def allowed_word(allow: Array, row: Number) -> Number:
    """The bits of a bitmap from a row on: row + i is bit i."""
    w, shift = row >> 6, np.uint64(row & 63)
    word = allow[w] >> shift if w < allow.shape[0] else np.uint64(0)
    if shift != np.uint64(0) and w + 1 < allow.shape[0]:
        word |= allow[w + 1] << (np.uint64(64) - shift)
    return word


@helper
def walk_allowed(
    lists: Array, weighing: Array, a: Number, cursor: Number, low: Number, high: Number,
    sums: Array, touched: Array, allow: Array, base: Number,
) -> Number:  # fmt: skip
    """``walk`` of the rows in a bitmap; row i here is ``base + i`` there."""
    docs, tfs, lengths = lists[a, at.LIST_DOCS], lists[a, at.LIST_TFS], lists[a, at.LIST_LENGTHS]
    bits, size = lists[a, at.LIST_BITS], lists[a, at.LIST_SIZE]
    weight, floor, slope = weighing[0, a], weighing[1, a], weighing[2, a]
    if bits == 0:
        i = cursor
        while i < size:
            row = int32_at(docs, i)
            if row >= high:
                break
            if is_allowed(allow, base + row):
                tf = np.float64(uint8_at(tfs, i))
                norm = floor + slope * np.float64(uint16_at(lengths, row))
                place = row - low
                sums[place] += weight * tf / (tf + norm)
                touched[place >> 6] |= np.uint64(1) << np.uint64(place & 63)
            i += 1
        return i
    before = bits + 8 * lists[a, at.LIST_WORDS]
    for w in range(low >> 6, (high + 63) >> 6):
        mine = np.uint64(int64_at(bits, w))
        word = mine & allowed_word(allow, base + (w << 6))
        while word != np.uint64(0):
            bit = lowest_bit(word)
            word &= word - np.uint64(1)
            below = mine & ((np.uint64(1) << np.uint64(bit)) - np.uint64(1))
            tf = np.float64(uint8_at(tfs, int32_at(before, w) + count_bits(below)))
            place = (w << 6) + bit - low
            norm = floor + slope * np.float64(uint16_at(lengths, low + place))
            sums[place] += weight * tf / (tf + norm)
            touched[place >> 6] |= np.uint64(1) << np.uint64(place & 63)
    last = high >> 6
    return int32_at(before, last) if last < lists[a, at.LIST_WORDS] else size


@helper
def exact(
    lists: Array, weighing: Array, row: Number, order: Array, first: Number, n: Number,
    starts: Array, cursors: Array, parts: Array,
) -> Number:  # fmt: skip
    """The score of a row, in the order of the atoms.

    ``parts`` (float64[A]) has what the atoms ``order[:first]`` give; the others are looked up
    between where they were at the start of the window and where they are. It is cleared.
    """
    for i in range(first, n):
        a = order[i]
        docs = lists[a, at.LIST_DOCS]
        if lists[a, at.LIST_BITS] != 0:
            place = place_in_bits(lists, a, row)
        else:
            place = seek(docs, starts[a], cursors[a], row)
            if place == cursors[a] or int32_at(docs, place) != row:
                place = np.int64(-1)
        if place >= 0:
            length = uint16_at(lists[a, at.LIST_LENGTHS], row)
            parts[a] = part(weighing, a, uint8_at(lists[a, at.LIST_TFS], place), length)
    score = 0.0
    for a in range(weighing.shape[1]):
        score += parts[a]
        parts[a] = 0.0
    return score


@helper
def looked_up(
    lists: Array, weighing: Array, row: Number, so_far: Number, order: Array, first: Number,
    bounds: Array, cursors: Array, parts: Array, worst: Number,
) -> Number:  # fmt: skip
    """Look a row up in the lists that are not walked, those that give most first. Answers whether
    it may be among the best; then ``parts`` has what they give, otherwise it is clear."""
    i = first
    while i > 0:
        i -= 1
        a = order[i]
        docs, size = lists[a, at.LIST_DOCS], lists[a, at.LIST_SIZE]
        if lists[a, at.LIST_BITS] != 0:
            place = place_in_bits(lists, a, row)
        else:
            place = seek(docs, cursors[a], size, row)
            cursors[a] = place
            if place == size or int32_at(docs, place) != row:
                place = np.int64(-1)
        if place >= 0:
            tf = uint8_at(lists[a, at.LIST_TFS], place)
            parts[a] = part(weighing, a, tf, uint16_at(lists[a, at.LIST_LENGTHS], row))
            so_far += parts[a] * MARGIN
        if so_far + bounds[i] < worst:
            for j in range(i, first):
                parts[order[j]] = 0.0
            return False
    return True


@helper
def offer_window(
    lists: Array, weighing: Array, base: Number, low: Number, high: Number,
    order: Array, first: Number, n: Number, bounds: Array, starts: Array, cursors: Array,
    parts: Array, sums: Array, touched: Array, scores: Array, rows: Array, count: Number,
) -> Number:  # fmt: skip
    """Offer the rows of a window that were added up, and clear it. Answers the new count."""
    k = scores.shape[0]
    for w in range((high - low + 63) >> 6):
        word = touched[w]
        touched[w] = np.uint64(0)
        while word != np.uint64(0):
            place = (w << 6) + lowest_bit(word)
            word &= word - np.uint64(1)
            so_far = sums[place] * MARGIN
            sums[place] = 0.0
            if count == k and so_far + bounds[first] < scores[0]:
                continue
            row = low + place
            if first > 0 and not looked_up(
                lists, weighing, row, so_far, order, first, bounds, cursors, parts, scores[0]
            ):
                continue
            score = exact(lists, weighing, row, order, first, n, starts, cursors, parts)
            count = heap.offer(scores, rows, count, score, base + row)
    return count


@helper
def best_rows(
    table: Array, turns: Array, lists: Array, weighing: Array, allow: Array, scores: Array,
    rows: Array, numbers: Array, reals: Array, sums: Array, touched: Array, count: Number,
) -> Number:  # fmt: skip
    """The best rows of all segments, best first; answers how many. ``count``: so many rows are a
    heap in the answer already, which go on to be compared.

    table: int64[S, COLUMNS]. turns: int64[S], the order of segments. lists: int64[S, A,
    LIST_COLUMNS]. weighing: float64[3, A]. allow: uint64, a bitmap of all rows, or empty for all.
    scores: float64[k], rows: int64[k], the answer. Working memory: numbers, int64[3, A]; reals,
    float64[2, A + 1]; sums, float64[WINDOW] and touched, uint64[WINDOW / 64], both zeros, and
    zeros again afterwards.
    """
    k = scores.shape[0]
    order, cursors, starts = numbers[0], numbers[1], numbers[2]
    bounds, parts = reals[0], reals[1]
    parts[:] = 0.0
    for turn in range(turns.shape[0]):
        s = turns[turn]
        n = by_bound(lists[s], weighing, order, bounds)
        cursors[:] = 0
        base, row_count = table[s, at.FIRST], table[s, at.ROWS]
        first, low, step = 0, np.int64(0), np.int64(FIRST_WINDOW)
        while low < row_count:
            if count == k:
                while first < n and bounds[first + 1] < scores[0]:
                    first += 1
            if first == n:
                break
            # Where no list has a row, no window is looked at.
            nearest = row_count
            for i in range(first, n):
                a = order[i]
                if cursors[a] < lists[s, a, at.LIST_SIZE]:
                    nearest = min(nearest, int32_at(lists[s, a, at.LIST_DOCS], cursors[a]))
            low = nearest & ~np.int64(63)
            if nearest == row_count:
                break
            high = min(low + step, row_count)
            step = min(step * 2, np.int64(WINDOW))
            for i in range(first, n):
                a = order[i]
                starts[a] = cursors[a]
                if allow.shape[0] == 0:
                    cursors[a] = walk(lists[s], weighing, a, cursors[a], low, high, sums, touched)
                else:
                    cursors[a] = walk_allowed(
                        lists[s], weighing, a, cursors[a], low, high, sums, touched, allow, base
                    )
            count = offer_window(
                lists[s], weighing, base, low, high, order, first, n, bounds,
                starts, cursors, parts, sums, touched, scores, rows, count,
            )  # fmt: skip
            low = high
    heap.sort(scores, rows, count)
    return count


@kernel
def best(
    table: Array, turns: Array, lists: Array, weighing: Array, allow: Array, scores: Array,
    rows: Array, numbers: Array, reals: Array, sums: Array, touched: Array,
) -> int:  # fmt: skip
    """``best_rows``, for callers that are not compiled."""
    count: int = best_rows(
        table, turns, lists, weighing, allow, scores, rows, numbers, reals, sums, touched,
        np.int64(0),
    )  # fmt: skip
    return count
