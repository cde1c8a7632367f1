"""Hybrid search of rows: by vector and by text at once, on one view.

Candidates are the best of each part; all get both exact scores, and ``core.fusion`` their order. A
row that no part has among its ``depth`` best is not found, so pages agree with one another as far
as ``offset + k`` is no more than ``depth``. What the words leave out (``-word``) the vectors do not
bring back; words that must match are asked of the texts only.
"""

from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from kissvdb.core import bitmaps
from kissvdb.core import fusion as fusing
from kissvdb.core.fusion import Fusion
from kissvdb.core.rows import text_search
from kissvdb.core.rows.search import Found, Hits, Parts, lap_clock, row_scores
from kissvdb.core.search import Search
from kissvdb.core.text.query import TextQuery

if TYPE_CHECKING:
    from kissvdb.core.rows.view import RowsView

Array = npt.NDArray[Any]


def search(
    view: "RowsView",
    vector: Array,
    query: TextQuery,
    asked: Search,
    fusion: Fusion,
    *,
    may_scan: bool = True,
) -> Found:
    """The ``asked.k`` best visible rows by both, behind the ``asked.offset`` best.

    ``vector``: float32 [dim], finite. ``min_score`` is of the fused score. Raises
    SearchTooNarrow as searches by vector do.
    """
    depth = max(fusion.depth, asked.want)
    part = replace(asked, k=depth, offset=0, min_score=None)
    excluded = _excluded(view, query)
    by_vector, near = _near(view, vector, part, excluded, may_scan)
    lap = lap_clock() if asked.explain else int
    allow = view.bitmap(asked.tree, asked.namespace)
    by_text, ignored = text_search.best(view, query, depth, allow)
    rows = np.union1d(near, by_text.rows)
    texts, ceiling = np.zeros(len(rows)), 0.0
    if view.texts is not None:
        texts, ceiling = view.texts.score(query, rows), view.texts.ceiling(query)
    text_us = lap()
    prepared = view.kernels.prepared(vector[None], view.spec.metric)[0]
    vectors = row_scores(view.data, prepared, rows)
    fused = fusing.fuse(fusion, texts, vectors.astype(np.float64), ceiling, view.spec.metric)
    places, scores = fused.order, fused.scores
    if asked.min_score is not None:
        places = places[: int((scores >= asked.min_score).sum())]
    places = places[asked.offset : asked.want]
    scores = scores[asked.offset : asked.offset + len(places)]
    found = rows[places]
    hits = Hits(tuple(view.ids.ids_at(found.tolist())), scores, found)
    view.data.check(found.tolist())
    explanation, parts = by_vector.explanation, None
    if explanation is not None:
        explanation = attrs.evolve(explanation, text_us=text_us, fuse_us=lap(), ignored=ignored)
        parts = Parts(
            fused.text_ranks[places], texts[places], fused.vector_ranks[places], vectors[places]
        )
    return Found([hits], explanation, [len(hits) < asked.k], parts)


def _excluded(view: "RowsView", query: TextQuery) -> Array | None:
    """bool [rows]: which rows the query leaves out; None if it leaves out nothing."""
    excluded = query.excluded
    if excluded is None or view.texts is None:
        return None
    return bitmaps.unpack(view.texts.matching(excluded), view.data.count)


def _near(
    view: "RowsView", vector: Array, part: Search, excluded: Array | None, may_scan: bool
) -> tuple[Found, Array]:
    """The search by vector, and the ``part.k`` best rows it finds that are not left out."""
    found = view.search(vector[None], part, may_scan=may_scan)
    rows = found.hits[0].rows
    if excluded is None:
        return found, rows
    wanted = part.k
    while len(kept := rows[~excluded[rows]]) < wanted and not found.exhausted[0]:
        part = replace(part, k=part.k * 4)
        found = view.search(vector[None], part, may_scan=may_scan)
        rows = found.hits[0].rows
    return found, kept[:wanted]
