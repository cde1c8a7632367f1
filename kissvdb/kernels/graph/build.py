"""The compiled parts of graph building; ``insert`` runs them in order.

A batch of rows is linked in two steps, each free of writes that another row of the batch could see,
so that any number of threads builds the same graph bit for bit:

propose    each new row searches the graph as it was before the batch, and its batch mates of lower
           id one by one, and writes its own links.
link_back  each row that was chosen takes the new rows as neighbours, and chooses again if it has
           more than it has room for. One thread does all of one row's.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels import pool as pools
from kissvdb.kernels.arrays import Codes, Graph, Query, Scratch
from kissvdb.kernels.codes.distance import measure
from kissvdb.kernels.graph.select import row_query, select
from kissvdb.kernels.graph.walk import descend, link_row, walk
from kissvdb.kernels.jit import Number, helper, kernel

Array = NDArray[Any]

#: Batch mates measured in one go.
MATES = 64


@helper
def _offer(codes: Codes, query: Query, count: Number, limit: Number, scratch: Scratch) -> None:
    """Measure the ``count`` rows in ``scratch.ids`` and put the nearest into the pool."""
    if count > 0:
        measure(codes, scratch.ids, count, query, scratch)
    for i in range(count):
        pools.offer(scratch.pool, limit, scratch.keys[i], scratch.ids[i] ^ query.tie)


@helper
def _offer_mates(
    graph: Graph,
    codes: Codes,
    query: Query,
    layer: Number,
    first: Number,
    limit: Number,
    scratch: Scratch,
) -> None:
    """Put the rows from ``first`` up to the query's own that reach the layer into the pool."""
    count = 0
    for mate in range(first, query.row):
        if graph.levels[mate] >= layer:
            scratch.ids[count] = mate
            count += 1
            if count == MATES:
                _offer(codes, query, count, limit, scratch)
                count = 0
    _offer(codes, query, count, limit, scratch)


@helper
def _write_links(links: Array, at: Number, chosen: Array, count: Number) -> None:
    # Neighbours before the end marks: a reader of the row at this moment sees old or new ids.
    for i in range(count):
        links[at, i] = chosen[i]
    for i in range(count, links.shape[1]):
        links[at, i] = -1


@kernel
def propose(
    graph: Graph,
    codes: Codes,
    metric: Number,
    batch_first: Number,
    first: Number,
    last: Number,
    ef: Number,
    scratch: Scratch,
) -> None:
    """Write the own links of rows ``first`` to ``last`` of the batch from ``batch_first`` on.

    Every row below ``graph.size`` is linked; ``batch_first`` equals it.
    """
    m = graph.upper.shape[1]
    for node in range(first, last):
        query = row_query(codes, metric, node)
        level = np.int64(graph.levels[node])
        start = np.int64(-1)
        key = np.uint32(0)
        if graph.size > 0:
            start, key = descend(graph, codes, query, level, scratch)
        for layer in range(level, -1, -1):
            if start >= 0 and layer <= graph.top:
                walk(graph, codes, query, layer, ef, start, key, scratch)
                start = pools.entry_row(scratch.pool[0]) ^ query.tie
                key = pools.entry_key(scratch.pool[0])
            else:
                pools.clear(scratch.pool, ef)
            _offer_mates(graph, codes, query, layer, batch_first, ef, scratch)
            count = select(codes, metric, query, ef, m, scratch)
            links = graph.links if layer == 0 else graph.upper
            at = node if layer == 0 else link_row(graph, node, layer)
            _write_links(links, at, scratch.chosen, count)


@kernel
def link_back(
    graph: Graph,
    codes: Codes,
    metric: Number,
    layer: Number,
    targets: Array,
    starts: Array,
    sources: Array,
    first: Number,
    last: Number,
    limit: Number,
    scratch: Scratch,
) -> None:
    """Give ``targets[first:last]`` their new neighbours in a layer.

    Those of ``targets[g]`` are ``sources[starts[g]:starts[g + 1]]``; all int64, targets distinct.
    A row chooses among the ``limit`` nearest of its old neighbours and the new ones.
    """
    links = graph.links if layer == 0 else graph.upper
    width = links.shape[1]
    for group in range(first, last):
        target = targets[group]
        at = target if layer == 0 else link_row(graph, target, layer)
        count = 0
        while count < width and links[at, count] >= 0:
            count += 1
        begin, end = starts[group], starts[group + 1]
        if count + end - begin <= width:
            for i in range(begin, end):
                links[at, count] = sources[i]
                count += 1
            continue
        query = row_query(codes, metric, target)
        pools.clear(scratch.pool, limit)
        for i in range(count):
            scratch.ids[i] = links[at, i]
        _offer(codes, query, count, limit, scratch)
        for base in range(begin, end, MATES):
            part = min(MATES, end - base)
            for i in range(part):
                scratch.ids[i] = sources[base + i]
            _offer(codes, query, part, limit, scratch)
        count = select(codes, metric, query, limit, width, scratch)
        _write_links(links, at, scratch.chosen, count)
