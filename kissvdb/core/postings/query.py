"""A query as the postings take it: terms, phrases and sets of terms, and how they go together."""

import math
from functools import cached_property
from typing import Any, Literal, NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.postings.vocabulary import FIELDS_MAX

Array = npt.NDArray[Any]


class Atom(NamedTuple):
    """What has a list of rows of its own, all in one field.

    term: the rows of one term. phrase: the rows that have the terms one after the other; it comes
    as often as they do. any: the rows that have one of the terms; it comes as often as all of them.
    """

    kind: Literal["term", "phrase", "any"]
    terms: tuple[int, ...]
    field: int


Alternatives = tuple[tuple[int, ...], ...]
"""A row passes if it has, for one of the tuples, all atoms of it, by their numbers."""


@attrs.frozen
class Plan:
    """``weights``: of the first atoms, which add to the score; those behind only decide.

    A row matches if all ``must`` pass, no ``must_not`` does and, without a ``must``, it has one of
    the atoms that score. ``words``: which word of the query each atom that scores is of: it may be
    one in several fields. ``ignored``: how much of the query is not looked for.
    """

    atoms: tuple[Atom, ...]
    weights: tuple[float, ...]
    words: tuple[int, ...] = ()
    must: tuple[Alternatives, ...] = ()
    must_not: tuple[Alternatives, ...] = ()
    ignored: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether every row that has one of the atoms matches."""
        return not self.must and not self.must_not

    @property
    def is_of_terms(self) -> bool:
        """Whether it is plain, and all atoms are terms."""
        return self.is_plain and all(atom.kind == "term" for atom in self.atoms)


@attrs.frozen(eq=False)
class Totals:
    """int64[FIELDS_MAX] by field: how many rows have a term in it, and how many terms in all."""

    rows: Array
    terms: Array

    @cached_property
    def table(self) -> Array:
        """int64[2, FIELDS_MAX]: both."""
        return np.stack([self.rows, self.terms])

    @classmethod
    def zero(cls) -> "Totals":
        return cls(np.zeros(FIELDS_MAX, np.int64), np.zeros(FIELDS_MAX, np.int64))

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(self.rows + other.rows, self.terms + other.terms)


@attrs.frozen(eq=False)
class Weighing:
    """BM25 for the atoms that score: ``weights * tf / (tf + floors + slopes * length)``.

    (Robertson and Zaragoza 2009, without the constant k1 + 1, as in Lucene: each atom gives less
    than its weight times its idf.) float64[n] each; idf is in ``weights``.
    """

    weights: Array
    floors: Array
    slopes: Array


def idf(rows: int, having: int) -> float:
    """ln(1 + (N - df + 0.5) / (df + 0.5))."""
    return math.log(1.0 + (rows - having + 0.5) / (having + 0.5))


def weighing_of(plan: Plan, having: Array, totals: Totals, k1: float, b: float) -> Weighing:
    """``having``: int64[atoms], how many rows have each atom."""
    weights, slopes = [], []
    counts = having.tolist()
    of_field: dict[int, tuple[int, float]] = {}
    for number, weight in enumerate(plan.weights):
        field = plan.atoms[number].field
        if field not in of_field:
            rows, terms = int(totals.rows[field]), int(totals.terms[field])
            of_field[field] = rows, k1 * b * rows / terms if terms else 0.0
        rows, slope = of_field[field]
        weights.append(weight * idf(rows, counts[number]))
        slopes.append(slope)
    floors = np.full(len(weights), k1 * (1.0 - b))
    return Weighing(np.array(weights, np.float64), floors, np.array(slopes, np.float64))


def ceiling(plan: Plan, weights: Array) -> float:
    """What the score of a row with all words comes near to: for each word of the query its idf with
    weights, of several fields the most. ``weights``: those of a ``Weighing``."""
    most: dict[int, float] = {}
    for word, weight in zip(plan.words, weights.tolist(), strict=True):
        most[word] = max(most.get(word, 0.0), weight)
    return sum(most.values())
