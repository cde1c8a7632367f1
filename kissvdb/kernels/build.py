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

from . import pool as pools
from .arrays import Codes, Graph, Scratch
from .distance import measure
from .jit import Number, helper, kernel
from .search import descend, link_row, walk
from .select import row_terms, select

Array = NDArray[Any]

#: Batch mates measured in one go.
MATES = 64


@helper
def _offer(scratch: Scratch, count: Number, tie: Number, limit: Number) -> None:
    for i in range(count):
        entry = pools.make_entry(scratch.keys[i], scratch.ids[i] ^ tie)
        if entry < scratch.pool[limit - 1]:
            pools.insert(scratch.pool, limit, entry)


@helper
def _offer_mates(
    codes: Codes,
    graph: Graph,
    layer: Number,
    first: Number,
    node: Number,
    terms: Any,
    scratch: Scratch,
    ef: Number,
) -> None:
    """Put the rows from ``first`` up to ``node`` that reach the layer into the pool."""
    count = 0
    for mate in range(first, node):
        if graph.levels[mate] >= layer:
            scratch.ids[count] = mate
            count += 1
            if count == MATES:
                measure(codes, scratch.ids, count, codes.rows, node, terms, scratch)
                _offer(scratch, count, terms[5], ef)
                count = 0
    if count > 0:
        measure(codes, scratch.ids, count, codes.rows, node, terms, scratch)
        _offer(scratch, count, terms[5], ef)


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
    linked = graph.size
    for node in range(first, last):
        terms = row_terms(codes, metric, node)
        level = np.int64(graph.levels[node])
        start = np.int64(-1)
        key = np.uint32(0)
        if linked > 0:
            start, key = descend(codes, graph, linked, codes.rows, node, terms, scratch, level)
        for layer in range(level, -1, -1):
            links = graph.links if layer == 0 else graph.upper
            if start >= 0 and layer <= graph.top:
                walk(
                    codes,
                    graph,
                    links,
                    layer,
                    linked,
                    codes.rows,
                    node,
                    terms,
                    scratch,
                    ef,
                    start,
                    key,
                )
                start = pools.entry_row(scratch.pool[0]) ^ terms[5]
                key = pools.entry_key(scratch.pool[0])
            else:
                pools.clear(scratch.pool, ef)
            _offer_mates(codes, graph, layer, batch_first, node, terms, scratch, ef)
            count = select(codes, metric, node, terms, ef, m, scratch)
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
    ef: Number,
    scratch: Scratch,
) -> None:
    """Give ``targets[first:last]`` their new neighbours in a layer.

    Those of ``targets[g]`` are ``sources[starts[g]:starts[g + 1]]``; all int64, targets distinct.
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
        terms = row_terms(codes, metric, target)
        pools.clear(scratch.pool, ef)
        for i in range(count):
            scratch.ids[i] = links[at, i]
        measure(codes, scratch.ids, count, codes.rows, target, terms, scratch)
        _offer(scratch, count, terms[5], ef)
        for base in range(begin, end, MATES):
            part = min(MATES, end - base)
            for i in range(part):
                scratch.ids[i] = sources[base + i]
            measure(codes, scratch.ids, part, codes.rows, target, terms, scratch)
            _offer(scratch, part, terms[5], ef)
        count = select(codes, metric, target, terms, ef, width, scratch)
        _write_links(links, at, scratch.chosen, count)
