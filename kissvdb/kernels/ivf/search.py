"""Search of lists: which are nearest to a query, and the nearest rows of these.

Codes are read list after list, in the order they lie in; the best by codes then get exact scores
(``rescore``). Codes of float32 are the rows themselves, in the order of the rows.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels import pool as pools
from kissvdb.kernels.arrays import (
    LINE_BYTES,
    POOL_PADDING,
    Codes,
    Query,
    Scratch,
    new_scratch,
    padded,
)
from kissvdb.kernels.codes.distance import float_key, key_float, measure
from kissvdb.kernels.codes.quantize import own_key, prepare_query
from kissvdb.kernels.exact import LANES, answer, farness, sum_of_products
from kissvdb.kernels.ivf.lists import BLOCK_ROWS, Lists
from kissvdb.kernels.ivf.signs import (
    TURNED,
    Signed,
    Signs,
    least_product,
    margin,
    near_rows,
    no_signs,
    signed_query,
)
from kissvdb.kernels.ivf.signs import encode as encode_signs  # noqa: F401
from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.rescore import NO_KEY, rescore

Array = NDArray[Any]

#: Rows gathered before they are measured: not more than a scratch has room for.
BATCH = 64
NO_BITMAP = np.zeros(0, dtype=np.uint64)
#: So often lists are read for a query for what signs have passed over; once more is enough, mostly.
PASSES_MAX = 3


def scratch_for(entries: int, dim: int) -> Scratch:
    """Working memory of one thread for searches whose pools hold up to so many entries."""
    return new_scratch(1, entries, 0, dim)


class Rows(NamedTuple):
    """What lists are read for: ``codes`` by slot, or by row if they are ``by_row`` (int64), and the
    ``rows`` that they stand for, float32 [n, width]. ``allow``: a bitmap, or [0] for all.
    ``signs``: of no blocks where codes alone are read."""

    lists: Lists
    codes: Codes
    by_row: Any
    rows: Array
    metric: Any
    allow: Array
    signs: Signs


class Asked(NamedTuple):
    """One query: ``queries[at]``, and the same as codes meet it."""

    queries: Array
    at: Any
    query: Query


@helper
def _offer(
    codes: Codes,
    names: Array,
    by_row: Number,
    count: Number,
    query: Query,
    scratch: Scratch,
    limit: Number,
) -> None:
    """Measure what is gathered and put the nearest into the pool, by row number."""
    pool = scratch.pool
    measure(codes, scratch.ids, count, query, scratch)
    for base in range(0, count, 16):
        near = pools.keys_at_most(scratch.keys, base, pools.entry_key(pool[limit - 1]))
        near &= (1 << min(count - base, 16)) - 1
        while near != 0:
            i = base + pools.lowest_bit(near)
            near &= near - 1
            row = scratch.ids[i]
            if by_row == 0:
                row = names[row]
            pools.offer(pool, limit, scratch.keys[i], row)


@kernel
def _nearest_lists(
    coarse: Codes, metric: Number, queries: Array, scratch: Scratch, probes: Array
) -> None:
    lists, limit = coarse.rows.shape[0], probes.shape[1]
    for j in range(queries.shape[0]):
        query = prepare_query(coarse, metric, queries, j, scratch.query)
        pools.clear(scratch.pool, limit)
        for base in range(0, lists, BATCH):
            count = min(lists - base, BATCH)
            for i in range(count):
                scratch.ids[i] = base + i
            _offer(coarse, probes[j], 1, count, query, scratch, limit)
        for i in range(limit):
            probes[j, i] = pools.entry_row(scratch.pool[i])


@helper
def _gather(here: Rows, block: Number, filled: Number, ids: Array, count: Number) -> Number:
    """Add the rows of a block that pass to the ``count`` in ``ids``; answers how many there are."""
    slot = np.int64(block) * BLOCK_ROWS
    if here.by_row == 0 and here.allow.size == 0:
        for i in range(filled):
            ids[count + i] = slot + i
        return count + filled
    for i in range(filled):
        row = here.lists.rows[slot + i]
        # Stored even if it does not pass: no branch to guess.
        ids[count] = row if here.by_row != 0 else np.int32(slot + i)
        passes = np.uint64(1)
        if here.allow.size > 0:
            passes = (here.allow[row >> 6] >> np.uint64(row & 63)) & np.uint64(1)
        count += np.int64(passes)
    return count


@helper
def _take(
    here: Rows,
    count: Number,
    asked: Asked,
    scratch: Scratch,
    room: Number,
    limit: Number,
    k: Number,
) -> None:
    """Measure what is gathered: for the pool, or, given a limit, to score what is not beyond it."""
    if limit == NO_KEY:
        _offer(here.codes, here.lists.rows, here.by_row, count, asked.query, scratch, room)
        return
    measure(here.codes, scratch.ids, count, asked.query, scratch)
    near = 0
    for i in range(count):
        row = scratch.ids[i]
        if here.by_row == 0:
            row = here.lists.rows[row]
        scratch.chosen[near] = row
        near += scratch.keys[i] <= limit
    for i in range(near):
        pools.prefetch(here.rows, scratch.chosen[i], here.rows.shape[1] // LANES)
    for i in range(near):
        row = np.int64(scratch.chosen[i])
        far = farness(here.rows, row, asked.queries, asked.at, here.metric)
        pools.offer(scratch.results, k, float_key(far), row)


@helper
def _read(
    here: Rows,
    probed: Array,
    asked: Asked,
    scratch: Scratch,
    room: Number,
    limit: Number,
    k: Number,
) -> None:
    """`_take` all rows of these lists that pass."""
    count = 0
    for each in probed:
        left = here.lists.counts[each]
        for place in range(here.lists.first[each], here.lists.first[each + 1]):
            filled = min(left, BLOCK_ROWS)
            left -= filled
            count = _gather(here, here.lists.blocks[place], filled, scratch.ids, count)
            if count > BATCH - BLOCK_ROWS:
                _take(here, count, asked, scratch, room, limit, k)
                count = 0
    if count > 0:
        _take(here, count, asked, scratch, room, limit, k)


@helper
def _least(here: Rows, asked: Asked, signed: Signed, pool: Array, depth: Number) -> Number:
    """The least product of a row that may be among the ``depth`` nearest."""
    last = pool[depth - 1]
    if last == pools.EMPTY:
        return -np.inf
    far = np.float64(key_float(pools.entry_key(last))) + asked.query.shift
    return least_product(signed, here.metric, far)


@helper
def _expect(here: Rows, each: Number, lines: Number) -> None:
    """Ask for what is read first of a list."""
    pools.prefetch(here.signs.centroids, each, here.rows.shape[1] // LANES)
    first = here.lists.first[each]
    if first < here.lists.first[each + 1]:
        pools.prefetch(here.signs.blocks, np.int64(here.lists.blocks[first]), lines)


@helper
def _read_by_signs(
    here: Rows,
    probed: Array,
    asked: Asked,
    signed: Signed,
    scratch: Scratch,
    room: Number,
    depth: Number,
    floor: Number,
) -> None:
    """`_take` the rows of these lists that pass and that their signs do not tell to be farther than
    the ``depth`` nearest so far; none whose product may be ``floor`` is passed over."""
    lists, signs, codes = here.lists, here.signs, here.codes
    lines, code_lines = signs.blocks.shape[1] // LINE_BYTES, codes.rows.shape[1] // LINE_BYTES
    least = min(_least(here, asked, signed, scratch.pool, depth), floor)
    count: Number = 0
    for order in range(probed.shape[0]):
        each = probed[order]
        if order + 1 < probed.shape[0]:
            _expect(here, np.int64(probed[order + 1]), lines)
        across = sum_of_products(signs.centroids, each, asked.queries, asked.at)
        square = sum_of_products(signs.centroids, each, signs.centroids, each)
        base = margin(signed, across, square)
        left = lists.counts[each]
        stop = lists.first[each + 1]
        for place in range(lists.first[each], stop):
            if place + 1 < stop:
                pools.prefetch(signs.blocks, np.int64(lists.blocks[place + 1]), lines)
            block = np.int64(lists.blocks[place])
            near = near_rows(signs, block, signed, base, np.float32(least - across))
            near &= (1 << min(left, BLOCK_ROWS)) - 1
            left -= BLOCK_ROWS
            while near != 0:
                slot = block * BLOCK_ROWS + pools.lowest_bit(near)
                near &= near - 1
                passes = np.uint64(1)
                if here.allow.size > 0:
                    row = lists.rows[slot]
                    passes = (here.allow[row >> 6] >> np.uint64(row & 63)) & np.uint64(1)
                scratch.ids[count] = slot
                pools.prefetch(codes.rows, slot, code_lines)
                count += np.int64(passes)
            if count > BATCH - BLOCK_ROWS:
                _offer(codes, lists.rows, 0, count, asked.query, scratch, room)
                least = min(_least(here, asked, signed, scratch.pool, depth), floor)
                count = 0
    if count > 0:
        _offer(codes, lists.rows, 0, count, asked.query, scratch, room)


@helper
def _came_late(scratch: Scratch, depth: Number) -> Number:
    """How many of the ``depth`` nearest are not among those that were when half of the lists were
    read, which ``scratch.results`` holds."""
    count = 0
    for i in range(depth):
        if scratch.pool[i] != pools.EMPTY:
            count += 1
        if scratch.results[i] != pools.EMPTY and scratch.results[i] <= scratch.pool[depth - 1]:
            count -= 1
    return count


@helper
def _needed(here: Rows, signed: Signed, results: Array, sure: Number) -> Number:
    """The least product of a row as near as the ``sure`` nearest by exact score."""
    last = results[sure - 1]
    if last == pools.EMPTY:
        return -np.inf
    return least_product(signed, here.metric, np.float64(key_float(pools.entry_key(last))))


@kernel
def _scan_lists(
    here: Rows,
    lengths: Array,
    queries: Array,
    probes: Array,
    k: Number,
    sure: Number,
    depth: Number,
    room: Number,
    scratch: Scratch,
    values: Array,
    tables: Array,
    ids: Array,
    scores: Array,
    late: Array,
) -> None:
    codes, rows, metric = here.codes, here.rows, here.metric
    pool, results = scratch.pool, scratch.results
    by_length = Codes(codes.rows, lengths, codes.scale, codes.mean)
    for j in range(queries.shape[0]):
        query = prepare_query(codes, metric, queries, j, scratch.query)
        own = own_key(codes, metric, queries, j, query)
        asked = Asked(queries, j, query)
        probed = probes[min(j, probes.shape[0] - 1)]
        half = probed.shape[0] // 2
        signed = signed_query(queries, j, values, tables)
        by_signs = here.signs.blocks.shape[0] > 0
        floor = np.inf
        for _ in range(PASSES_MAX):
            pools.clear(pool, room)
            for part in range(2):
                lists = probed[:half] if part == 0 else probed[half:]
                if by_signs:
                    _read_by_signs(here, lists, asked, signed, scratch, room, depth, floor)
                else:
                    _read(here, lists, asked, scratch, room, NO_KEY, k)
                if part == 0:
                    for i in range(depth):
                        results[i] = pool[i]
            late[j] = _came_late(scratch, depth)
            limit, cut = rescore(
                *(by_length, rows, metric, queries, j, query, own),
                *(pool, 0, depth, room, results, k, sure),
            )
            # Among near duplicates the nearest by codes are those whose codes flatter them, nearer
            # than any row is, and signs pass over what is farther than these.
            needed = _needed(here, signed, results, sure) if by_signs else np.inf
            least = _least(here, asked, signed, pool, depth)
            if not needed < min(least, floor):
                break
            floor = needed
        if cut:
            # More rows than the pool holds may be among the best: all of these are scored.
            pools.clear(results, k)
            _read(here, probed, asked, scratch, room, limit, k)
        answer(results, k, ids[j], scores[j])


def nearest_lists(
    coarse: Codes, metric: int, queries: Array, nprobe: int, scratch: Scratch
) -> Array:
    """The lists nearest to each query, int32 [queries, nprobe or all], nearest first.

    coarse: codes of the centroids, no room behind them. queries: float32 [n, width], prepared.
    """
    nprobe = min(nprobe, coarse.rows.shape[0])
    probes = np.empty((queries.shape[0], nprobe), np.int32)
    _nearest_lists(coarse, metric, queries, scratch, probes)
    return probes


def scan_lists(
    lists: Lists,
    codes: Codes,
    lengths: Array,
    rows: Array,
    metric: int,
    queries: Array,
    probes: Array,
    k: int,
    depth: int,
    scratch: Scratch,
    allow: Array = NO_BITMAP,
    *,
    sure: int,
    room: int = 0,
    signs: Signs | None = None,
) -> tuple[Array, Array, Array]:
    """The k best rows of the probed lists: ids int64 [queries, k] and exact scores float32.

    codes: by slot, or float32 by row. lengths: float32 [n], ``aux`` by row, for dot. probes: int32
    [queries or 1, p]. depth: how many get exact scores at least; then all that may be among the
    ``sure`` best for all that the codes' error says. allow: a bitmap of rows, or [0] for all.
    signs: of the rows by slot, read before the codes; only beside 4-bit codes.
    Places without a row hold id -1 and score -inf. Also, int64 [queries], how many of the ``depth``
    nearest by codes came from the second half of the lists.
    """
    depth = max(depth, k)
    room = max(depth, room)
    if room + POOL_PADDING > scratch.pool.shape[0]:
        raise ValueError(f"a pool of {room} needs a scratch of {room} entries at least")
    ids = np.empty((queries.shape[0], k), np.int64)
    scores = np.empty((queries.shape[0], k), np.float32)
    late = np.zeros(queries.shape[0], np.int64)
    signs = signs or no_signs(rows[:0])
    here = Rows(lists, codes, int(codes.rows.dtype == np.float32), rows, metric, allow, signs)
    width = padded(rows.shape[1], TURNED) if len(signs.blocks) else 0
    values, tables = np.empty((2, width), np.float32), np.empty((width // 4, 2 * 16), np.uint8)
    _scan_lists(
        *(here, lengths, queries, probes, k, sure, depth, room, scratch, values, tables),
        *(ids, scores, late),
    )
    return ids, scores, late
