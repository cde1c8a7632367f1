"""Hits that are near to a query and unlike each other."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kissvdb.client.results import Hit


def spread(
    hits: Sequence[Hit], query: Sequence[float] | None, k: int, lambda_mult: float
) -> list[Hit]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998): one after the other, the hit with
    the greatest ``lambda_mult`` * likeness to the query - (1 - ``lambda_mult``) * likeness to the
    nearest that was chosen. Hits need their vectors. ``query`` None: a hit's score is its cosine to
    it."""
    if not hits:
        return []
    rows = _unit([hit.vector for hit in hits])
    near = np.array([hit.score for hit in hits]) if query is None else rows @ _unit([query])[0]
    like = rows @ rows.T
    chosen: list[int] = []
    left = list(range(len(hits)))
    while left and len(chosen) < k:
        nearest = like[np.ix_(left, chosen)].max(axis=1) if chosen else np.zeros(len(left))
        worth = lambda_mult * near[left] - (1.0 - lambda_mult) * nearest
        chosen.append(left.pop(int(np.argmax(worth))))
    return [hits[each] for each in chosen]


def _unit(vectors: Any) -> Any:
    """float64 [n, dim], each of length 1 (zeros stay)."""
    rows = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths == 0.0, 1.0, lengths)
