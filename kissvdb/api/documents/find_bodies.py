"""The JSON of finding documents that goes in and out, as types. See `bodies`."""

from typing import Annotated, Any, Literal

import attrs
import msgspec
from msgspec import UNSET, UnsetType

from kissvdb.api.bodies import U64, RequestBody
from kissvdb.api.documents.bodies import Document
from kissvdb.api.vectors.bodies import Filters

LIMIT_DEFAULT = 20


class SortField(RequestBody, frozen=True):
    """A field to sort by. ``missing``: where documents without it, or with null, stand."""

    field: str
    order: Literal["asc", "desc"] | None = "asc"
    missing: Literal["first", "last"] | None = "last"


class FieldsBody(RequestBody, frozen=True):
    """Which fields of documents to answer: dotted paths. ``exclude`` takes away from what
    ``include`` leaves; without ``include`` from all."""

    include: list[str] | None = None
    exclude: list[str] | None = None


Sort = Annotated[
    str | list[str | SortField],
    msgspec.Meta(description='Such as "-price,name", or a list of names and of objects.'),
]
Fields = Annotated[
    list[str] | FieldsBody,
    msgspec.Meta(description='Dotted paths; those that begin with "-" are left out.'),
]
Facets = Annotated[
    list[str] | dict[str, int],
    msgspec.Meta(description="Fields; as an object, with how many values of each."),
]


class FindBody(RequestBody, frozen=True):
    """What to find: documents that pass ``filter`` (or ``filters``, which is the same), in the
    order of ``sort`` and then of ids. ``cursor`` is that of the page before; ``count`` asks how
    many pass in all, ``facets`` for the commonest values among those."""

    filter: Filters = None
    filters: Filters = None
    sort: Sort | None = None
    fields: Fields | None = None
    limit: int | None = LIMIT_DEFAULT
    cursor: str | None = None
    count: bool | None = None
    facets: Facets | None = None
    explain: bool | None = None


@attrs.frozen
class FoundDocument:
    """A document that was found. ``offset`` is the place of its last write in the log."""

    id: str
    doc: Document
    revision: U64
    offset: U64


@attrs.frozen
class FacetCount:
    """A value and how many of the documents have it."""

    value: Any
    count: U64


@attrs.frozen
class Facet:
    """The commonest values of a field, and how many ``distinct`` ones there are."""

    values: list[FacetCount]
    distinct: U64


@attrs.frozen
class FindExplanation:
    """How a find went: what told the order (``ids``, ``columns``), the part of the rows that the
    filter left, how many were ``compared`` by their values, how many documents were ``read`` for
    that, and microseconds. ``notes``: what the filter leaves out that may have been meant."""

    plan: str
    selectivity: float
    rows: U64
    tail_rows: U64
    compared: U64
    read: U64
    queue_us: U64
    filter_us: U64
    order_us: U64
    facets_us: U64
    notes: list[str]


@attrs.frozen
class FoundDocuments:
    """``cursor`` is null on the last page; all is true at ``offset``."""

    documents: list[FoundDocument]
    cursor: str | None
    offset: U64
    count: U64 | UnsetType = UNSET
    facets: dict[str, Facet] | UnsetType = UNSET
    explain: FindExplanation | UnsetType = UNSET


class DeleteDocumentsByFilterBody(RequestBody, frozen=True):
    """Which documents to delete: ``filter`` and ``filters`` are the same. Everything only with
    ``all`` true, so that a forgotten filter deletes nothing."""

    filter: Filters = None
    filters: Filters = None
    all: bool | None = None
