"""Scores as LangChain wants them."""

from collections.abc import Callable


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
