"""Walking a graph: the nearest rows of one layer, and from the entry down to the bottom layer.

The walk is the best-first search of HNSW (arXiv:1603.09320, algorithm 2) over a sorted pool. Rows
are prefetched as soon as they are known to be new, and a row's links as soon as it enters the pool:
by the time it is expanded they have come, and waiting for memory is most of a search.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels import pool as pools
from kissvdb.kernels.arrays import LINE_BYTES, Codes, Graph, Query, Scratch
from kissvdb.kernels.codes.distance import measure
from kissvdb.kernels.jit import Number, helper

Array = NDArray[Any]

#: Rows expanded at a time. The memory accesses of their neighbours overlap; the few expansions that
#: one at a time would have been spared cost less.
BEAM = 3
#: The bottom layer's row of links is two cache lines for m = 16.
LINK_LINES = 2
#: More lines of a row than this the processor fetches ahead by itself.
PREFETCH_LINES_MAX = 6


@helper
def prefetch_row(rows: Array, row: Number) -> None:
    """Ask for a row that will be measured soon."""
    lines = rows.shape[1] * rows.itemsize // LINE_BYTES
    pools.prefetch(rows, row, min(lines, PREFETCH_LINES_MAX))


@helper
def next_epoch(scratch: Scratch) -> Number:
    """A mark that no stamp bears yet; rows stamped with it have been visited."""
    epoch = scratch.epoch[0] + 1
    if epoch > 255:
        scratch.stamps[:] = 0
        epoch = 1
    scratch.epoch[0] = epoch
    return np.uint8(epoch)


@helper
def link_row(graph: Graph, node: Number, layer: Number) -> Number:
    """Where a node's links of an upper layer are in ``graph.upper``."""
    return graph.upper_first[node] + layer - 1


@helper
def _gather(
    links: Array,
    at: Number,
    visible: Number,
    epoch: Number,
    scratch: Scratch,
    rows: Array,
    count: Number,
) -> Number:
    """Add the unvisited neighbours of one row of links to the ``count`` in ``scratch.ids``.

    Ids not below ``visible`` are of rows that a writer is linking right now. Answers the new count.
    """
    ids = scratch.ids
    stamps = scratch.stamps
    first = count
    for i in range(links.shape[1]):
        neighbour = links[at, i]
        if neighbour < 0:
            break
        if neighbour < visible:
            # Stored even if it does not count: no branch to guess.
            ids[count] = neighbour
            count += stamps[neighbour] != epoch
            stamps[neighbour] = epoch
    for i in range(first, count):
        prefetch_row(rows, ids[i])
    return count


@helper
def expand(
    graph: Graph,
    codes: Codes,
    layer: Number,
    epoch: Number,
    tie: Number,
    limit: Number,
    cursor: Number,
    scratch: Scratch,
) -> Any:
    """Gather the neighbours of the next rows in the pool; answer their count and where to go on."""
    links = graph.links if layer == 0 else graph.upper
    pool = scratch.pool
    count = 0
    expanded = 0
    while cursor < limit and expanded < BEAM:
        entry = pool[cursor]
        if entry & np.uint64(1) == 0:
            pool[cursor] = entry | np.uint64(1)
            at = pools.entry_row(entry) ^ tie
            if layer > 0:
                at = link_row(graph, at, layer)
            count = _gather(links, at, graph.size, epoch, scratch, codes.rows, count)
            expanded += 1
        cursor += 1
    return count, cursor


@helper
def walk(
    graph: Graph,
    codes: Codes,
    query: Query,
    layer: Number,
    ef: Number,
    start: Number,
    start_key: Number,
    scratch: Scratch,
) -> None:
    """Leave the ``ef`` nearest rows of a layer, found from ``start``, in ``scratch.pool``."""
    pool = scratch.pool
    pools.clear(pool, ef)
    epoch = next_epoch(scratch)
    scratch.stamps[start] = epoch
    pool[0] = pools.make_entry(start_key, start ^ query.tie)
    cursor = 0
    while cursor < ef:
        count, cursor = expand(graph, codes, layer, epoch, query.tie, ef, cursor, scratch)
        if count > 0:
            measure(codes, scratch.ids, count, query, scratch)
            cursor = _accept(graph, scratch, count, ef, cursor, query.tie)


@helper
def _accept(
    graph: Graph, scratch: Scratch, count: Number, ef: Number, cursor: Number, tie: Number
) -> Number:
    """Put the measured rows that are near enough into the pool.

    Answers where to go on: the lowest place something was put, or the cursor.
    """
    pool = scratch.pool
    for base in range(0, count, 16):
        near = pools.keys_at_most(scratch.keys, base, pools.entry_key(pool[ef - 1]))
        near &= (1 << min(count - base, 16)) - 1
        while near != 0:
            i = base + pools.lowest_bit(near)
            near &= near - 1
            place = pools.offer(pool, ef, scratch.keys[i], scratch.ids[i] ^ tie)
            if place < ef:
                pools.prefetch(graph.links, scratch.ids[i], LINK_LINES)
                cursor = min(cursor, place)
    return cursor


@helper
def descend(graph: Graph, codes: Codes, query: Query, bottom: Number, scratch: Scratch) -> Any:
    """Go greedily from the entry through the layers above ``bottom``; answer (row, key)."""
    ids = scratch.ids
    keys = scratch.keys
    best: Number = graph.entry
    ids[0] = best
    measure(codes, ids, 1, query, scratch)
    best_key = keys[0]
    for layer in range(graph.top, bottom, -1):
        moved = True
        while moved:
            moved = False
            at = link_row(graph, best, layer)
            count = 0
            for i in range(graph.upper.shape[1]):
                neighbour = graph.upper[at, i]
                if neighbour >= 0 and neighbour < graph.size:
                    ids[count] = neighbour
                    count += 1
            for i in range(count):
                prefetch_row(codes.rows, ids[i])
            if count > 0:
                measure(codes, ids, count, query, scratch)
            for i in range(count):
                if keys[i] < best_key:
                    best_key = keys[i]
                    best = np.int64(ids[i])
                    moved = True
    return best, best_key
