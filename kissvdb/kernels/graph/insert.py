"""Growing a graph by deterministic batches.

The graph depends on the rows, the seed, and how the rows were divided among calls; not on the
number of threads. Levels are a hash of seed and id (splitmix64), so they do not depend on history
at all.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels import threads
from kissvdb.kernels.arrays import LEVELS_MAX, POOL_PADDING, Codes, Graph, Scratch, aligned_zeros
from kissvdb.kernels.graph.build import link_back, propose

Array = NDArray[Any]
Task = Callable[[int, int, Scratch], None]
Run = Callable[[Task, int], None]

BATCH_ROWS_MIN = 256
BATCH_ROWS_MAX = 2048
#: A batch is at most this part of the graph: its rows do not see each other's links.
BATCH_SHARE = 50
#: Rows, or targets, a thread takes at a time.
CHUNK = 32


def new_graph(m: int, capacity: int = 0) -> Graph:
    """An empty graph with m links a row in upper layers and 2 * m in the bottom one."""
    empty = Graph(
        links=_links(0, 2 * m),
        levels=np.zeros(0, dtype=np.uint8),
        upper_first=np.zeros(0, dtype=np.int64),
        upper=_links(0, m),
        entry=-1,
        top=0,
        size=0,
    )
    return _with_capacity(empty, capacity, 0)


def _links(rows: int, width: int) -> Array:
    links = aligned_zeros((rows, width), np.int32)
    links.fill(-1)
    return links


def _grown(array: Array, rows: int) -> Array:
    flat = array.ndim == 1
    larger = np.zeros(rows, dtype=array.dtype) if flat else _links(rows, array.shape[1])
    larger[: array.shape[0]] = array
    return larger


def _with_capacity(graph: Graph, rows: int, upper_rows: int) -> Graph:
    """The graph in arrays of at least this size: new ones, for readers still use the old."""
    if rows > graph.levels.shape[0]:
        graph = graph._replace(
            links=_grown(graph.links, rows),
            levels=_grown(graph.levels, rows),
            upper_first=_grown(graph.upper_first, rows),
        )
    if upper_rows > graph.upper.shape[0]:
        room = max(upper_rows, graph.upper.shape[0] * 3 // 2)
        graph = graph._replace(upper=_grown(graph.upper, room))
    return graph


def draw_levels(first: int, last: int, m: int, seed: int) -> Array:
    """The layers of rows ``first`` to ``last``: at least l with probability m ** -l; uint8."""
    with np.errstate(over="ignore"):
        mixed = np.arange(first, last, dtype=np.uint64) + np.uint64(seed) * np.uint64(
            0xD1342543DE82EF95
        )
        mixed = (mixed + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    uniform = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    levels = np.zeros(last - first, dtype=np.uint8)
    for level in range(1, LEVELS_MAX + 1):
        levels[uniform < float(m) ** -level] = level
    return levels


def insert(
    graph: Graph,
    codes: Codes,
    metric: int,
    last: int,
    ef_construction: int,
    scratches: list[Scratch],
    seed: int = 1,
) -> Graph:
    """Link the rows from ``graph.size`` up to ``last`` and answer the graph that has them.

    codes: float32 or int8, encoded up to ``last``, the ones the graph was built with. scratches:
    one for each thread to use, each with room for the rows and ``ef_construction``. Arrays are
    changed in place, or replaced if they are too small (to the capacity of the codes): the old
    graph stays valid for readers. Raises ValueError if the arguments do not fit each other.
    """
    first = graph.size
    m = graph.upper.shape[1]
    ef_construction = max(ef_construction, m)
    # A full row chooses again among itself and what is new: no fewer candidates than twice its own.
    candidates = max(ef_construction, 4 * m)
    _check(codes, last, candidates, scratches)
    if last <= first:
        return graph
    levels = draw_levels(first, last, m, seed)
    used = int(graph.levels[:first].sum(dtype=np.int64))
    rows = graph.levels.shape[0]
    if rows < last:
        rows = codes.rows.shape[0]
    graph = _with_capacity(graph, rows, used + int(levels.sum(dtype=np.int64)))
    graph.levels[first:last] = levels
    graph.upper_first[first:last] = used + np.cumsum(levels, dtype=np.int64) - levels
    with _workers(scratches) as run:
        while graph.size < last:
            size = min(max(graph.size // BATCH_SHARE, BATCH_ROWS_MIN), BATCH_ROWS_MAX)
            upto = min(graph.size + size, last)
            graph = _insert_batch(graph, codes, metric, upto, ef_construction, candidates, run)
    return graph


def _check(codes: Codes, last: int, entries: int, scratches: list[Scratch]) -> None:
    if codes.rows.dtype == np.uint8:
        raise ValueError("a graph is built from float32 rows or int8 codes, not from 4-bit codes")
    if last > codes.rows.shape[0]:
        raise ValueError(f"row {last} is beyond the {codes.rows.shape[0]} rows of the codes")
    for scratch in scratches:
        if scratch.stamps.shape[0] < last:
            raise ValueError(f"a scratch for {scratch.stamps.shape[0]} rows cannot build {last}")
        if scratch.pool.shape[0] < entries + POOL_PADDING:
            raise ValueError(f"a scratch whose pools have no room for {entries} entries")


@contextmanager
def _workers(scratches: list[Scratch]) -> Iterator[Run]:
    """Run a task over 0..count in chunks, on as many threads as there are scratches."""
    free: SimpleQueue[Scratch] = SimpleQueue()
    for scratch in scratches:
        free.put(scratch)

    def run_chunk(task: Task, start: int, stop: int) -> None:
        scratch = free.get()
        try:
            task(start, stop, scratch)
        finally:
            free.put(scratch)

    with threads.pool(len(scratches)) as pool:

        def run(task: Task, count: int) -> None:
            chunks = [
                pool.submit(run_chunk, task, start, min(start + CHUNK, count))
                for start in range(0, count, CHUNK)
            ]
            for chunk in chunks:
                chunk.result()

        yield run


def _insert_batch(
    graph: Graph, codes: Codes, metric: int, last: int, ef: int, candidates: int, run: Run
) -> Graph:
    first = graph.size

    def propose_some(start: int, stop: int, scratch: Scratch) -> None:
        propose(graph, codes, metric, first, first + start, first + stop, ef, scratch)

    run(propose_some, last - first)
    levels = graph.levels[first:last]
    top = int(levels.max())
    for layer in range(top + 1):
        nodes = first + np.flatnonzero(levels >= layer)
        if layer == 0:
            links = graph.links[nodes]
        else:
            links = graph.upper[graph.upper_first[nodes] + layer - 1]
        edges = _edges(nodes, links)
        task = partial(_link_back_some, graph, codes, metric, layer, edges, candidates)
        run(task, edges[0].shape[0])
    if graph.entry < 0 or top > graph.top:
        graph = graph._replace(entry=first + int(levels.argmax()), top=top)
    return graph._replace(size=last)


def _link_back_some(
    graph: Graph,
    codes: Codes,
    metric: int,
    layer: int,
    edges: tuple[Array, Array, Array],
    candidates: int,
    start: int,
    stop: int,
    scratch: Scratch,
) -> None:
    link_back(graph, codes, metric, layer, *edges, start, stop, candidates, scratch)


def _edges(nodes: Array, links: Array) -> tuple[Array, Array, Array]:
    """New links turned round: the distinct targets, where each one's sources start, the sources."""
    taken = links >= 0
    targets = links[taken].astype(np.int64)
    sources = np.broadcast_to(nodes[:, None], links.shape)[taken]
    order = np.argsort(targets, kind="stable")
    distinct, starts = np.unique(targets[order], return_index=True)
    starts = np.append(starts, targets.shape[0]).astype(np.int64)
    return distinct, starts, sources[order].astype(np.int64)
