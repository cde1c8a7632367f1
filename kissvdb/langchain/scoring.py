"""Scores as LangChain wants them, and the choice of documents that are unlike each other."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kissvdb.client.results import Hit


def relevance(mode: str, metric: str) -> Callable[[float], float]:
    """From a score of the server to 0 (nothing in common) .. 1 (the same). Raises ValueError where
    scores have no such bounds."""
    if mode == "text" or (mode == "vector" and metric == "dot"):
        raise ValueError(
            f"a {mode} search by {'BM25' if mode == 'text' else metric} has no relevance between 0 "
            "and 1: use similarity_search_with_score"
        )
    if mode == "hybrid":
        return lambda score: min(1.0, max(0.0, score))
    if metric == "l2":
        # The score is the negative distance.
        return lambda score: 1.0 / (1.0 - min(0.0, score))
    return lambda score: min(1.0, max(0.0, (1.0 + score) / 2.0))


def spread(hits: Sequence[Hit], query: list[float] | None, k: int, lambda_mult: float) -> list[Hit]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998): one after the other, the hit with
    the greatest ``lambda_mult`` * likeness to the query - (1 - ``lambda_mult``) * likeness to the
    nearest that was chosen. ``query`` None: a hit's score is its cosine to it."""
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
