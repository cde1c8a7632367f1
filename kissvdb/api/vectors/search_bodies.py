"""The JSON of searches and other reads of vectors that goes in and out, as types. See `bodies`."""

from typing import Any, Literal

import attrs
from msgspec import UNSET, UnsetType

from kissvdb.api.bodies import U64, RequestBody
from kissvdb.api.vectors.bodies import Filters, Numbers

K_DEFAULT = 10


@attrs.frozen
class StoredVector:
    """A vector as it was sent."""

    id: str
    vector: list[float]
    meta: Any
    expires_at_ms: U64 | None
    text: str | UnsetType = UNSET


class SearchBody(RequestBody, frozen=True):
    """What to search: ``vector``, ``vector_b64`` or the ``id`` of a stored one.

    ``offset`` skips the best; ``group_by`` names a field whose values each give one group of at
    most ``group_limit`` hits; ``emit`` streams the search as a ``vector_search`` event.
    """

    vector: Numbers | None = None
    vector_b64: bytes | None = None
    id: str | None = None
    k: int | None = K_DEFAULT
    filters: Filters = None
    namespace: str | None = None
    include_meta: bool | None = None
    include_vector: bool | None = None
    include_text: bool | None = None
    ef_search: int | None = None
    exact: bool | None = None
    offset: int | None = None
    min_score: float | None = None
    group_by: str | None = None
    group_limit: int | None = None
    explain: bool | None = None
    emit: bool | None = None


class SearchBatchBody(RequestBody, frozen=True):
    """Many queries with the same wishes. ``vectors``: an array of vectors, or base64 of all of
    them one after another."""

    vectors: list[Numbers] | bytes
    k: int | None = K_DEFAULT
    filters: Filters = None
    namespace: str | None = None
    include_meta: bool | None = None
    include_vector: bool | None = None
    include_text: bool | None = None
    ef_search: int | None = None
    exact: bool | None = None
    offset: int | None = None
    min_score: float | None = None


@attrs.frozen
class Hit:
    """A vector that was found. ``meta`` is null unless asked for; higher ``score`` is nearer.

    ``text`` if it was asked for and there is one.
    """

    id: str
    score: float
    meta: Any
    text: str | UnsetType = UNSET
    vector: list[float] | UnsetType = UNSET


@attrs.frozen
class HitGroup:
    """The best hits of one value of the field; without ``value`` the field is missing."""

    hits: list[Hit]
    value: Any = UNSET


@attrs.frozen
class Explanation:
    """How the search went: the plan, the part of the vectors that the filter left, and the
    microseconds of each step (``queue_us``: waiting for a thread). ``notes``: what the filter
    leaves out that may have been meant."""

    plan: str
    selectivity: float
    rows: U64
    tail_rows: U64
    ef: U64
    queue_us: U64
    filter_us: U64
    index_us: U64
    tail_us: U64
    order_us: U64
    notes: list[str]


@attrs.frozen
class SearchResult:
    """Best first; equal scores by id. ``groups`` in place of ``hits`` with ``group_by``.
    ``exhausted``: fewer than ``k`` hits, because no more pass the filter."""

    hits: list[Hit] | UnsetType = UNSET
    groups: list[HitGroup] | UnsetType = UNSET
    exhausted: Literal[True] | UnsetType = UNSET
    explain: Explanation | UnsetType = UNSET


@attrs.frozen
class SearchBatchResult:
    """A result for each query, in order."""

    results: list[SearchResult]


class SelectBody(RequestBody, frozen=True):
    """Which vectors: those that pass; all of them without ``filters`` and ``namespace``."""

    filters: Filters = None
    namespace: str | None = None


@attrs.frozen
class Count:
    """How many vectors there are, or pass."""

    count: U64


class ScrollBody(RequestBody, frozen=True):
    """A page of the vectors in the order they were written. ``cursor`` is that of the page
    before."""

    limit: int | None = None
    cursor: str | None = None
    filters: Filters = None
    namespace: str | None = None
    include_meta: bool | None = None
    include_vector: bool | None = None
    include_text: bool | None = None


@attrs.frozen
class ScrolledVector:
    """A vector in a page."""

    id: str
    meta: Any
    text: str | UnsetType = UNSET
    vector: list[float] | UnsetType = UNSET


@attrs.frozen
class ScrollPage:
    """``cursor`` is null on the last page."""

    items: list[ScrolledVector]
    cursor: str | None
