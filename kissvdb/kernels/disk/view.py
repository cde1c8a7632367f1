"""What a search in pages has in view: its working memory, which rows it goes to next, and when no
row is worth it any more.

A walk ends where the next row is so much farther than the worst of the nearest that it leads to
nothing (``SLACK``): searches that are easy read few pages, and others more (Al-Jazzazi et al.,
Distance Adaptive Beam Search, arXiv:2505.15636).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels import pool as pools
from kissvdb.kernels.arrays import (
    COSINE,
    LIST_PADDING,
    Codes,
    Graph,
    Query,
    Scratch,
    aligned_zeros,
    new_scratch,
)
from kissvdb.kernels.codes.distance import float_key, key_float
from kissvdb.kernels.disk.reading import Layout, Reader, page_room
from kissvdb.kernels.jit import Number, helper
from kissvdb.kernels.rescore import ALL

Array = NDArray[Any]

EXPANDED = np.uint64(1)
#: How much farther, as a part of the distance (squared, or one minus the cosine), at an ``ef`` of
#: SLACK_EF; it grows with its root. And how many times ``ef`` rows are kept in view then. Measured
#: at 200,000 and a million rows: recall is what it is with ``ef`` rows in view that are all read,
#: from an ``ef`` of 48 to one of 256, and a sixth to a third fewer pages are.
SLACK = 0.12
SLACK_EF = 128
VIEW = 2
NO_BITMAP = np.zeros(0, dtype=np.uint64)


def in_view(ef: int) -> int:
    """How many places a search of all rows needs."""
    return VIEW * ef


class Room(NamedTuple):
    """Working memory of one search in pages; never shared.

    scratch: its lists are long enough for the nodes and links of a beam. near: a pool of allowed
    rows. entries: uint64 [beam], and pages: int64 [beam], what is read together. fars: float32, the
    codes' distances of what is expanded. words: int32, pages that are read. row, part: see
    ``Reader``.
    """

    scratch: Scratch
    near: Array
    entries: Array
    pages: Array
    fars: Array
    words: Array
    row: Array
    part: Array


class Walk(NamedTuple):
    """What stays the same from one query to the next. allow: a bitmap, or of size 0 for all rows.
    tie: what ids are xored with in the pools. reach, ef: the places of both pools. slack: see
    SLACK; below 0 a walk goes on to its end."""

    graph: Graph
    codes: Codes
    layout: Layout
    reader: Reader
    room: Room
    allow: Array
    tie: int
    reach: int
    ef: int
    slack: float


def new_room(page_layout: Layout, capacity: int, entries: int, beam: int, dim: int) -> Room:
    """Working memory for graphs of so many rows, pools of so many entries and such beams."""
    nodes = beam * (page_layout.per_page + 1)
    length = max(nodes, (beam + 1) * page_layout.links)
    scratch = new_scratch(capacity, entries, -(-length // 3), dim)
    return Room(
        scratch=scratch,
        near=aligned_zeros(scratch.pool.shape, np.uint64),
        entries=np.zeros(beam, dtype=np.uint64),
        pages=np.zeros(beam, dtype=np.int64),
        fars=np.zeros(nodes + LIST_PADDING, dtype=np.float32),
        words=page_room(beam, page_layout.page),
        row=aligned_zeros((1, page_layout.width), np.float32),
        part=np.zeros(2, dtype=np.int64),
    )


@helper
def is_allowed(allow: Array, row: Number) -> Number:
    if allow.size == 0:
        return True
    return (allow[row >> 6] >> np.uint64(row & 63)) & np.uint64(1) != 0


@helper
def worst(walk: Walk) -> Number:
    """No entry that is not below it is of use."""
    return min(walk.room.scratch.pool[walk.reach - 1], walk.room.near[walk.ef - 1])


@helper
def choose(walk: Walk, cursor: Number, most: Number) -> Any:
    """Mark the nearest rows that are not expanded, as many as a beam has, and put their entries
    and their pages there; none whose key is above ``most``. Answers how many of both, and where to
    go on."""
    pool, room = walk.room.scratch.pool, walk.room
    bound = room.near[walk.ef - 1]
    count = 0
    found = 0
    while cursor < walk.reach and count < room.entries.shape[0] and pool[cursor] <= bound:
        entry = pool[cursor]
        if entry & EXPANDED == 0:
            if pools.entry_key(entry) > most:
                break
            pool[cursor] = entry | EXPANDED
            room.entries[count] = entry
            count += 1
            row = pools.entry_row(entry) ^ walk.tie
            page = np.int64(walk.reader.place[row]) // walk.layout.per_page
            known = False
            for i in range(found):
                known |= room.pages[i] == page
            if not known:
                room.pages[found] = page
                found += 1
        cursor += 1
    return count, found, cursor


@helper
def farthest(walk: Walk, metric: Number, query: Query, sure: Number, limit: Number) -> Number:
    """The greatest key of a row worth reading. limit: that of one that may be an answer itself."""
    last = walk.room.scratch.results[sure - 1]
    if walk.slack < 0 or last == pools.EMPTY:
        return ALL
    nearest = np.float64(-1.0) if metric == COSINE else np.float64(0.0)
    far = np.float64(key_float(pools.entry_key(last)))
    worth = nearest + (1.0 + walk.slack) * (max(far, nearest) - nearest)
    return max(float_key(np.float32(worth - query.shift)), limit)
