"""Hybrid search: the order of rows that were found by their text, by their vector, or by both.

The candidates are the best rows of each side. Each has both exact scores, also those that only one
side found; so an order does not change with which side found a row.
"""

import difflib
import math
from collections.abc import Callable
from typing import Any, Literal, Self, cast

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.errors import InvalidArgument

Scores = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Method = Literal["sum", "rrf"]

METHODS = ("sum", "rrf")
_MOST = float(np.finfo(np.float32).max)
DEPTH_MAX = 10_000
K_MAX = 10_000


@attrs.frozen
class Fusion:
    """How the scores of texts and vectors become one."""

    method: Method = "sum"
    """sum: of both scores, each brought to about 0..1. rrf: of reciprocal ranks."""
    text: float = 0.5
    """What the text counts for, 0..1; the vector counts for the rest."""
    k: int = 60
    """Of rrf: how little the first places are ahead of those after them."""
    depth: int = 100
    """How many of the best rows of each side are candidates; at least as many as are asked for."""

    @classmethod
    def from_json(cls, value: Any, name: str = "hybrid") -> Self:
        """Of ``{"method": "sum", "text": 0.5, "k": 60, "depth": 100}``, all of it optional.

        Raises InvalidArgument.
        """
        if not isinstance(value, dict):
            raise InvalidArgument(f"{name}: expected an object")
        given: dict[str, Any] = {}
        for key, each in value.items():
            if key not in _READERS:
                close = difflib.get_close_matches(key[:32], _READERS, n=1)
                hint = f", did you mean {close[0]}?" if close else "."
                raise InvalidArgument(
                    f"{name}.{key}: unknown{hint} Known are {', '.join(_READERS)}"
                )
            given[key] = _READERS[key](each, f"{name}.{key}")
        return cls(**given)


@attrs.frozen(eq=False)
class Fused:
    """The candidates in their new order, and what each part of it said."""

    order: Places
    """int64[n]: places among the candidates, the best first."""
    scores: Scores
    """float64[n] in that order."""
    text_ranks: Places
    """int64[n] by candidate: 1 is the best; 0: the text does not match."""
    vector_ranks: Places
    """int64[n] by candidate: 1 is the best."""


def fuse(fusion: Fusion, texts: Scores, vectors: Scores, ceiling: float, metric: str) -> Fused:
    """Of n candidates, ascending by row: equal scores go to the lower row.

    ``texts``: float64[n], BM25, 0 without a match. ``ceiling``: what a text of the query's words
    about reaches (``TextView.ceiling``). ``vectors``: float64[n] as searches answer them. A cosine
    counts as it is. Inner products and distances have no scale of their own: theirs is that of the
    candidates, the lowest 0 and the highest 1.
    """
    text_ranks = np.where(texts > 0.0, _ranks(texts), 0)
    vector_ranks = _ranks(vectors)
    if fusion.method == "rrf":
        of_text = np.where(text_ranks > 0, 1.0 / (fusion.k + text_ranks), 0.0)
        of_vector = 1.0 / (fusion.k + vector_ranks)
    else:
        of_text = texts / ceiling if ceiling > 0.0 else np.zeros(len(texts))
        of_vector = vectors.astype(np.float64) if metric == "cosine" else _stretched(vectors)
    scores = fusion.text * of_text + (1.0 - fusion.text) * of_vector
    order = np.argsort(-scores, kind="stable")
    return Fused(order, scores[order], text_ranks, vector_ranks)


def _ranks(scores: Scores) -> Places:
    """int64[n]: 1 + how many are higher; equal scores share a rank, or one would win by chance."""
    return np.searchsorted(np.sort(-scores), -scores, side="left").astype(np.int64) + 1


def _stretched(scores: Scores) -> Scores:
    """To 0..1; all 1 where all are equal. What float32 cannot hold is the most, or the least."""
    values = np.nan_to_num(scores.astype(np.float64), nan=-_MOST, posinf=_MOST, neginf=-_MOST)
    if not len(values) or values.max() == values.min():
        return np.ones(len(values))
    return cast(Scores, (values - values.min()) / (values.max() - values.min()))


def _method(value: Any, name: str) -> str:
    if value not in METHODS:
        raise InvalidArgument(f"{name}: expected one of {', '.join(METHODS)}")
    return str(value)


def _share(value: Any, name: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not 0.0 <= value <= 1.0:
        raise InvalidArgument(f"{name}: expected a number 0 to 1, the share of the text")
    return float(value)


def _whole(least: int, most: int) -> Callable[[Any, str], int]:
    def read(value: Any, name: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidArgument(f"{name}: expected a whole number {least} to {most:,}")
        return value

    return read


_READERS: dict[str, Callable[[Any, str], Any]] = {
    "method": _method,
    "text": _share,
    "k": _whole(0, K_MAX),
    "depth": _whole(1, DEPTH_MAX),
}
