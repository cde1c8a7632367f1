"""The JSON of full text search over documents that goes in and out, as types. See `bodies`."""

from typing import Annotated, Any

import attrs
import msgspec
from msgspec import UNSET, UnsetType

from kissvdb.api.bodies import U64, RequestBody
from kissvdb.api.documents.bodies import Document
from kissvdb.api.documents.find_bodies import Facet, Facets, Fields
from kissvdb.api.vectors.bodies import Filters
from kissvdb.api.vectors.search_bodies import K_DEFAULT, HighlightBody, Match, Passage, Typos

SearchFields = Annotated[
    list[str] | dict[str, float],
    msgspec.Meta(description="Where to look: paths; as an object, each with its weight."),
]


class DocumentHighlightBody(HighlightBody, frozen=True):
    """How passages are cut and marked, and of which ``fields`` (without it: of all)."""

    fields: list[str] | None = None


class DocumentSearchBody(RequestBody, frozen=True):
    """Words to find documents by: ``a "phrase" pre* -not field:word``.

    ``match``: any or all of them. ``typos``: a word that no text has stands for one nearly like it.
    ``search_fields``: where words without a field are looked for. ``fields``: the part of documents
    to answer. ``filter`` and ``filters`` are the same. ``offset`` skips the best; ``group_by``
    names a field whose values each give one group of at most ``group_limit`` hits."""

    text: str
    k: int | None = K_DEFAULT
    match: Match | None = None
    typos: Typos | None = None
    search_fields: SearchFields | None = None
    filter: Filters = None
    filters: Filters = None
    fields: Fields | None = None
    highlight: bool | DocumentHighlightBody | None = None
    offset: int | None = None
    min_score: float | None = None
    group_by: str | None = None
    group_limit: int | None = None
    count: bool | None = None
    facets: Facets | None = None
    explain: bool | None = None


@attrs.frozen
class DocumentHit:
    """A document that matches. ``offset`` is the place of its last write in the log."""

    id: str
    score: float
    doc: Document
    revision: U64
    offset: U64
    highlight: list[Passage] | UnsetType = UNSET


@attrs.frozen
class DocumentHitGroup:
    """The best hits of one value of the field; without ``value`` the field is missing."""

    hits: list[DocumentHit]
    value: Any = UNSET


@attrs.frozen
class DocumentSearchExplanation:
    """How a search went: the part of the rows that the filter left, and microseconds.
    ``ignored``: words in fields that were not looked for, being too many. ``corrected``: words that
    were taken for others. ``notes``: what the filter leaves out that may
    have been meant."""

    plan: str
    selectivity: float
    rows: U64
    queue_us: U64
    filter_us: U64
    text_us: U64
    order_us: U64
    facets_us: U64
    ignored: U64
    corrected: dict[str, list[str]]
    notes: list[str]


@attrs.frozen
class DocumentSearchResult:
    """Best first; ``groups`` in place of ``hits`` with ``group_by``. ``exhausted``: fewer were
    found than asked for, since no more match. ``count``: how many match in all, which facets are
    of. All is true at ``offset``."""

    offset: U64
    hits: list[DocumentHit] | UnsetType = UNSET
    groups: list[DocumentHitGroup] | UnsetType = UNSET
    exhausted: bool | UnsetType = UNSET
    count: U64 | UnsetType = UNSET
    facets: dict[str, Facet] | UnsetType = UNSET
    explain: DocumentSearchExplanation | UnsetType = UNSET
