"""Full text search of rows: the best by BM25 among those that pass."""

from typing import TYPE_CHECKING

import numpy as np

from kissvdb.core import bitmaps
from kissvdb.core.bitmaps import Words
from kissvdb.core.filters.parse import Node
from kissvdb.core.rows.search import Explanation, Found, Hits, lap_clock
from kissvdb.core.search import Search
from kissvdb.core.text.query import TextQuery

if TYPE_CHECKING:
    from kissvdb.core.rows.view import RowsView

PLAN = "text"
_NO_HITS = Hits((), np.zeros(0, np.float64), np.zeros(0, np.int64))


def search(view: "RowsView", query: TextQuery, asked: Search) -> Found:
    """The ``asked.k`` best visible rows that match, behind the ``asked.offset`` best.

    Scores are float64; equal ones go to the row that was written first. Pages of any ``k`` are of
    one order. ``ef`` and ``exact`` say nothing here: the answer is exact.
    """
    lap = lap_clock() if asked.explain else int
    allow = view.bitmap(asked.tree, asked.namespace)
    filter_us = lap()
    hits, ignored = best(view, query, asked.want, allow)
    text_us = lap()
    if asked.min_score is not None:
        hits = hits.slice(0, int((hits.scores >= asked.min_score).sum()))
    hits = hits.slice(asked.offset, asked.want)
    view.data.check(hits.rows.tolist())
    explanation = None
    if asked.explain:
        explanation = Explanation(
            plan=PLAN,
            selectivity=_share(view, allow),
            rows=view.data.count,
            tail_rows=0,
            ef=0,
            filter_us=filter_us,
            index_us=0,
            tail_us=0,
            order_us=lap(),
            text_us=text_us,
            ignored=ignored,
        )
    return Found([hits], explanation, [len(hits) < asked.k])


def best(view: "RowsView", query: TextQuery, want: int, allow: Words | None) -> tuple[Hits, int]:
    """The ``want`` best of the rows of ``allow`` that match, and how many terms of the query were
    not looked for, being too many."""
    if view.texts is None or not want:
        return _NO_HITS, 0
    found = view.texts.search(query, want, allow)
    ids = tuple(view.ids.ids_at(found.rows.tolist()))
    return Hits(ids, found.scores, found.rows), found.ignored


def matching(
    view: "RowsView", query: TextQuery, tree: Node | None, namespace: str | None = None
) -> Words:
    """The visible rows that match and pass, uint64 [ceil(rows / 64)]."""
    if view.texts is None:
        return bitmaps.pack(np.zeros(view.data.count, np.bool_))
    return view.texts.matching(query, view.bitmap(tree, namespace))


def _share(view: "RowsView", allow: Words | None) -> float:
    count = view.data.count
    allowed = count if allow is None else bitmaps.count(allow)
    return allowed / count if count else 0.0
