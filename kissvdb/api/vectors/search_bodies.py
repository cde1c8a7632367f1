"""The JSON of searches and other reads of vectors that goes in and out, as types. See `bodies`."""

from typing import Annotated, Any, Literal

import attrs
import msgspec
from msgspec import UNSET, UnsetType

from kissvdb.api.bodies import U64, RequestBody
from kissvdb.api.documents.find_bodies import Facet, Facets
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


class HybridBody(RequestBody, frozen=True):
    """How the scores of texts and of vectors become one. ``sum``: of both, ``text`` being the
    weight of the text, 0 to 1. ``rrf``: of 1 / (``k`` + rank). ``depth``: candidates of each part.
    """

    method: Literal["sum", "rrf"] = "sum"
    text: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    k: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 60
    depth: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100


class HighlightBody(RequestBody, frozen=True):
    """How passages of texts are cut and marked: at most ``count`` of about ``length`` characters
    (0: the whole text), words between ``pre`` and ``post``, the rest as HTML if ``escape``."""

    pre: str = "<mark>"
    post: str = "</mark>"
    length: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 200
    count: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    escape: bool = True


Mode = Literal["vector", "text", "hybrid"]
Match = Literal["any", "all"]
Typos = Literal["auto", "off"]


class SearchBody(RequestBody, frozen=True):
    """What to search: ``vector``, ``vector_b64`` or the ``id`` of a stored one; ``text``, or both.

    ``mode``: by vector, by text, or hybrid; in a collection with an embedder the vector is made of
    the text. ``match``: any or all of its words. ``typos``: a word that no text has stands for one
    nearly like it. ``highlight``: show where the words are. ``offset`` skips the best; ``group_by``
    names a field whose values each give one group of at most ``group_limit`` hits; ``facets``:
    fields whose commonest values are counted; ``emit`` streams the search as a ``vector_search``
    event.
    """

    vector: Numbers | None = None
    vector_b64: bytes | None = None
    id: str | None = None
    text: str | None = None
    mode: Mode | None = None
    hybrid: HybridBody | None = None
    match: Match | None = None
    typos: Typos | None = None
    highlight: bool | HighlightBody | None = None
    k: int | None = K_DEFAULT
    filters: Filters = None
    namespace: str | None = None
    include_meta: bool | None = None
    include_vector: bool | None = None
    include_text: bool | None = None
    ef_search: int | None = None
    nprobe: int | None = None
    search_list_size: int | None = None
    recall: float | None = None
    exact: bool | None = None
    offset: int | None = None
    min_score: float | None = None
    group_by: str | None = None
    group_limit: int | None = None
    facets: Facets | None = None
    explain: bool | None = None
    emit: bool | None = None


class SearchBatchBody(RequestBody, frozen=True):
    """Many queries with the same wishes. ``vectors``: an array of vectors, or base64 of all of
    them one after another. ``texts``: a text for each query, alone or beside the vectors."""

    vectors: list[Numbers] | bytes | None = None
    texts: list[str] | None = None
    mode: Mode | None = None
    hybrid: HybridBody | None = None
    match: Match | None = None
    typos: Typos | None = None
    k: int | None = K_DEFAULT
    filters: Filters = None
    namespace: str | None = None
    include_meta: bool | None = None
    include_vector: bool | None = None
    include_text: bool | None = None
    ef_search: int | None = None
    nprobe: int | None = None
    search_list_size: int | None = None
    recall: float | None = None
    exact: bool | None = None
    offset: int | None = None
    min_score: float | None = None


@attrs.frozen
class Part:
    """What a part of a hybrid search says of a hit: its place in the order of that part (null: its
    text does not match), and its score."""

    rank: U64 | None
    score: float


@attrs.frozen
class HitParts:
    """The parts of a hit's score."""

    text: Part
    vector: Part


@attrs.frozen
class Passage:
    """A piece of a text with marks, and where they are in the text, in characters."""

    field: str
    text: str
    start: U64
    end: U64
    marks: list[list[U64]]


@attrs.frozen
class Hit:
    """A vector that was found. ``meta`` is null unless asked for; higher ``score`` is nearer.

    ``text`` if it was asked for and there is one; ``parts`` with explain, of a hybrid search.
    """

    id: str
    score: float
    meta: Any
    text: str | UnsetType = UNSET
    vector: list[float] | UnsetType = UNSET
    highlight: list[Passage] | UnsetType = UNSET
    parts: HitParts | UnsetType = UNSET


@attrs.frozen
class HitGroup:
    """The best hits of one value of the field; without ``value`` the field is missing."""

    hits: list[Hit]
    value: Any = UNSET


@attrs.frozen
class Explanation:
    """How the search went: by what, the plan, the part of the vectors that the filter left, and the
    microseconds of each step (``queue_us``: waiting for a thread). ``notes``: what the filter
    leaves out that may have been meant. ``ignored``: words in fields that were not looked for,
    being too many; ``corrected``: words that no text has, and what was looked for instead."""

    mode: Mode

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
    text_us: U64
    fuse_us: U64
    ignored: U64
    notes: list[str]
    corrected: dict[str, list[str]] | UnsetType = UNSET


@attrs.frozen
class SearchResult:
    """Best first; equal scores by id. ``groups`` in place of ``hits`` with ``group_by``.
    ``facets``: of all that pass the filter and, searched by text alone, match.
    ``exhausted``: fewer than ``k`` hits, because no more pass the filter or match."""

    hits: list[Hit] | UnsetType = UNSET
    groups: list[HitGroup] | UnsetType = UNSET
    exhausted: Literal[True] | UnsetType = UNSET
    facets: dict[str, Facet] | UnsetType = UNSET
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
