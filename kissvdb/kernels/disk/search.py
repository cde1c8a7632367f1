"""Search of a graph in pages: a walk by codes in memory, that reads a beam of pages at a time.

The nearest rows whose nodes were not read are read together, so that their waiting overlaps
(DiskANN: Subramanya et al., NeurIPS 2019). A node holds its row: whatever is read is scored
exactly, and what else lies in the same page and is near enough counts as read, too.

With a bitmap there are two pools, as in ``graph.filtered``: one to walk by, one of allowed rows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels import pool as pools
from kissvdb.kernels.arrays import (
    COSINE,
    L2,
    LIST_PADDING,
    POOL_PADDING,
    Codes,
    Graph,
    Query,
)
from kissvdb.kernels.codes.distance import TIMES_AUX, float_key, key_float, measure
from kissvdb.kernels.codes.quantize import prepare_query
from kissvdb.kernels.disk.reading import Layout, Reader, is_whole, read_pages
from kissvdb.kernels.disk.view import (
    EXPANDED,
    NO_BITMAP,
    SLACK,
    SLACK_EF,
    Room,
    Walk,
    choose,
    farthest,
    in_view,
    is_allowed,
    worst,
)
from kissvdb.kernels.exact import answer, farness
from kissvdb.kernels.graph.filtered import NEWEST, REACH
from kissvdb.kernels.graph.search import new_answer, no_answer, sure_and_cut
from kissvdb.kernels.graph.walk import descend, next_epoch, prefetch_row
from kissvdb.kernels.jit import Number, helper, kernel
from kissvdb.kernels.rescore import NO_KEY, limit_of

Array = NDArray[Any]


@helper
def _page_at(walk: Walk, i: Number) -> Number:
    """Where the i-th page of a beam begins in ``reader.words``."""
    if walk.reader.fd >= 0:
        return i * walk.layout.page
    return walk.room.pages[i] * walk.layout.page


@helper
def _fetch(walk: Walk, found: Number) -> Number:
    """Have the pages of a beam in ``reader.words``; answer whether all are whole."""
    reader, words = walk.reader, walk.layout.page
    if reader.fd >= 0 and not read_pages(reader, words * 4, walk.room.pages, found):
        return False
    for i in range(found):
        if not is_whole(reader.words, _page_at(walk, i), words, walk.room.pages[i]):
            return False
    return True


@helper
def _node_at(walk: Walk, found: Number, row: Number) -> Number:
    """Where the node of a row begins in ``reader.words``; its page is one of the beam's."""
    place = np.int64(walk.reader.place[row])
    page = place // walk.layout.per_page
    at = np.int64(0)
    for i in range(found):
        if walk.room.pages[i] == page:
            at = _page_at(walk, i)
    return at + (place - page * walk.layout.per_page) * walk.layout.node


@helper
def _take_neighbours(
    walk: Walk, query: Query, epoch: Number, found: Number, taken: Number
) -> Number:
    """Add to the ``taken`` rows in ``chosen`` what else is in the pages that were read, if it is
    near enough and was not expanded. Answers the new count."""
    scratch, node = walk.room.scratch, walk.layout.node
    ids, pool = scratch.ids, scratch.pool
    count = 0
    for i in range(found):
        first = _page_at(walk, i)
        for slot in range(walk.layout.per_page):
            row = np.int64(walk.reader.words[first + (slot + 1) * node - 1])
            if row >= 0 and row < walk.graph.size:
                ids[count] = row
                count += 1
    if count > 0:
        measure(walk.codes, ids, count, query, scratch)
    for i in range(count):
        row = np.int64(ids[i])
        entry = pools.make_entry(scratch.keys[i], row ^ walk.tie)
        if entry >= worst(walk):
            continue
        if scratch.stamps[row] == epoch:
            at = pools.count_below(pool, entry)
            if pool[at] != entry:
                # Expanded already, or it was pushed out.
                continue
            pool[at] = entry | EXPANDED
        else:
            scratch.stamps[row] = epoch
            pools.insert(pool, walk.reach, entry | EXPANDED)
            if walk.allow.size > 0 and is_allowed(walk.allow, row):
                pools.insert(walk.room.near, walk.ef, entry)
        scratch.chosen[taken] = row
        walk.room.fars[taken] = key_float(scratch.keys[i])
        taken += 1
    return taken


@helper
def _accept(walk: Walk, count: Number, cursor: Number) -> Number:
    """Put the measured rows into the pools they are near enough for; answer where to go on."""
    scratch = walk.room.scratch
    for base in range(0, count, 16):
        close = pools.keys_at_most(scratch.keys, base, pools.entry_key(worst(walk)))
        close &= (1 << min(count - base, 16)) - 1
        while close != 0:
            i = base + pools.lowest_bit(close)
            close &= close - 1
            row = np.int64(scratch.ids[i])
            entry = pools.make_entry(scratch.keys[i], row ^ walk.tie)
            if entry < worst(walk):
                cursor = min(cursor, pools.insert(scratch.pool, walk.reach, entry))
                if walk.allow.size > 0 and is_allowed(walk.allow, row):
                    pools.insert(walk.room.near, walk.ef, entry)
    return cursor


@helper
def _expand(
    walk: Walk, query: Query, epoch: Number, found: Number, taken: Number, cursor: Number
) -> Number:
    """Follow the links of the ``taken`` rows in ``chosen``; answer where to go on."""
    scratch, links = walk.room.scratch, walk.layout.links
    ids, stamps, words = scratch.ids, scratch.stamps, walk.reader.words
    full = ids.shape[0] - LIST_PADDING - links
    count = 0
    for i in range(taken):
        at = _node_at(walk, found, np.int64(scratch.chosen[i])) + walk.layout.width
        first = count
        for n in range(links):
            neighbour = np.int64(words[at + n])
            if neighbour < 0:
                break
            if neighbour < walk.graph.size:
                # Stored even if it does not count: no branch to guess.
                ids[count] = neighbour
                count += stamps[neighbour] != epoch
                stamps[neighbour] = epoch
        for n in range(first, count):
            prefetch_row(walk.codes.rows, ids[n])
        if count > 0 and (count > full or i == taken - 1):
            measure(walk.codes, ids, count, query, scratch)
            cursor = _accept(walk, count, cursor)
            count = 0
    return cursor


@helper
def _score(walk: Walk, metric: Number, queries: Array, j: Number, at: Number) -> Number:
    """Minus the exact score, float32, of the row of the node that begins there."""
    target, floats = walk.reader.row, walk.reader.floats
    for i in range(walk.layout.width):
        target[0, i] = floats[at + i]
    return farness(target, 0, queries, j, metric)


@helper
def _begin(walk: Walk, k: Number, start: Number, start_key: Number) -> Number:
    """Have nothing in the pools but the row to start from; answer the mark of visited rows."""
    scratch = walk.room.scratch
    pools.clear(scratch.pool, walk.reach)
    pools.clear(walk.room.near, walk.ef)
    pools.clear(scratch.results, k)
    epoch = next_epoch(scratch)
    scratch.stamps[start] = epoch
    scratch.pool[0] = pools.make_entry(start_key, start ^ walk.tie)
    if walk.allow.size > 0 and is_allowed(walk.allow, start):
        walk.room.near[0] = scratch.pool[0]
    return epoch


@helper
def _search_one(
    walk: Walk,
    metric: Number,
    queries: Array,
    j: Number,
    query: Query,
    k: Number,
    sure: Number,
    start: Number,
    start_key: Number,
) -> Any:
    """Leave the k best rows by exact score in ``results``. Answers how many pages were read, -1 if
    one was not whole, and whether a greater ef may find more (see ``rescore``)."""
    scratch = walk.room.scratch
    epoch = _begin(walk, k, start, start_key)
    cursor, read, scored = 0, 0, 0
    squares, longest = 0.0, 0.0
    while True:
        error = squares / max(scored, 1)
        limit = limit_of(query, NO_KEY, scratch.results, sure, error, longest)
        most = farthest(walk, metric, query, sure, limit)
        taken, found, cursor = choose(walk, cursor, most)
        if taken == 0:
            break
        if not _fetch(walk, found):
            return -1, False
        read += found
        for i in range(taken):
            entry = walk.room.entries[i]
            scratch.chosen[i] = pools.entry_row(entry) ^ walk.tie
            walk.room.fars[i] = key_float(pools.entry_key(entry))
        if walk.layout.per_page > 1:
            taken = _take_neighbours(walk, query, epoch, found, taken)
        for i in range(taken):
            row = np.int64(scratch.chosen[i])
            at = _node_at(walk, found, row)
            if walk.reader.words[at + walk.layout.node - 1] != row:
                return -1, False
            far = _score(walk, metric, queries, j, at)
            if is_allowed(walk.allow, row):
                pools.offer(scratch.results, k, float_key(far), row)
            off = np.float64(walk.room.fars[i]) + query.shift - far
            squares += off * off
            scored += 1
            if query.form == TIMES_AUX:
                longest = max(longest, np.float64(walk.codes.aux[row]))
        cursor = _expand(walk, query, epoch, found, taken, cursor)
    last = walk.room.near[walk.ef - 1] if walk.allow.size > 0 else scratch.pool[walk.ef - 1]
    return read, last != pools.EMPTY and pools.entry_key(last) <= limit


@kernel
def _search(
    walk: Walk,
    metric: Number,
    queries: Array,
    k: Number,
    sure: Number,
    ids: Array,
    scores: Array,
    cut: Array,
    read: Array,
) -> None:
    for j in range(queries.shape[0]):
        query = prepare_query(walk.codes, metric, queries, j, walk.room.scratch.query)
        start, key = descend(walk.graph, walk.codes, query, 0, walk.room.scratch)
        read[j], cut[j] = _search_one(walk, metric, queries, j, query, k, sure, start, key)
        answer(walk.room.scratch.results, k, ids[j], scores[j])


def search(
    graph: Graph,
    codes: Codes,
    page_layout: Layout,
    reader: Reader,
    metric: int,
    queries: Array,
    k: int,
    ef: int,
    room: Room,
    allow: Array = NO_BITMAP,
    allowed: int = 0,
    *,
    sure: int | None = None,
    cut: Array | None = None,
) -> tuple[Array, Array, Array]:
    """The k nearest rows of each query: ids int64 [queries, k], exact scores float32, and int64
    [queries], how many pages were read for each: -1 where one was not what was written, and then
    the answer counts for nothing.

    As ``graph.search.search`` and, with a bitmap of ``allowed`` rows, as
    ``graph.filtered.search_filtered``; ``graph.links`` are not looked at. Raises ValueError if the
    room is too small for the graph or the `in_view` of ef.
    """
    ef = max(ef, k)
    slack = -1.0
    if not allow.size and metric in (COSINE, L2):
        # Inner products have no nearest that distances could be measured from.
        slack, ef = SLACK * (ef / SLACK_EF) ** 0.5, in_view(ef)
    places = room.scratch.pool.shape[0] - POOL_PADDING
    if room.scratch.stamps.shape[0] < graph.size or places < ef:
        raise ValueError(f"room for {places} places, not for {graph.size} rows and ef {ef}")
    read = np.zeros(queries.shape[0], dtype=np.int64)
    if graph.size == 0 or k == 0 or (allow.size and not allowed):
        return *no_answer(queries.shape[0], k), read
    reach, tie = ef, 0
    if allow.size:
        reach, tie = max(ef, min(REACH * ef * graph.size // allowed, places)), NEWEST
    walk = Walk(graph, codes, page_layout, reader, room, allow, tie, reach, ef, slack)
    ids, scores = new_answer(queries.shape[0], k)
    sure, cut = sure_and_cut(k, queries.shape[0], sure, cut)
    _search(walk, metric, queries, k, sure, ids, scores, cut, read)
    return ids, scores, read
