"""The JSON of /search and /search/ingest, as types. See `api.bodies`.

The seed's shapes: what is absent in a document's metadata is left out of the answer, too.
"""

from typing import Annotated, Any, Literal

import attrs
import msgspec
from msgspec import UNSET, UnsetType

from kissvdb.api.bodies import U64, RequestBody
from kissvdb.api.vectors.bodies import Numbers
from kissvdb.api.vectors.search_bodies import (
    HighlightBody,
    HitParts,
    HybridBody,
    Match,
    Mode,
    Passage,
    Typos,
)

U32_MAX = 2**32 - 1
U32 = Annotated[int, msgspec.Meta(ge=0, extra_json_schema={"format": "uint32", "maximum": U32_MAX})]
TOP_K_DEFAULT = 10

Words = str | list[str]
"""One value that a field may have, or several."""
Name = str | int


class SearchFilters(RequestBody, frozen=True):
    """Which documents. ``latest``: of the documents of one ``group_id`` that pass, only those with
    the greatest ``processed_at``; those without a group_id all stay."""

    category: Words | None = None
    status: Words | None = None
    language: Words | None = None
    version_policy: Literal["latest", "all"] | None = None


GroupField = Literal[
    "group_id", "document_id", "filename", "category", "language", "status", "version"
]


class SearchBody(RequestBody, frozen=True):
    """What to look for. ``query``: words, or ``TEST_VEC:1,0``, which is that vector.

    ``mode``: hybrid where the query can be embedded, else text. ``group_by``: at most
    ``group_limit`` documents of each value of a field, best group first.
    """

    query: str
    top_k: int | None = TOP_K_DEFAULT
    filters: SearchFilters | None = None
    group_by: GroupField | None = None
    group_limit: int | None = 1
    mode: Mode | None = None
    hybrid: HybridBody | None = None
    match: Match | None = None
    typos: Typos | None = None
    highlight: bool | HighlightBody | None = None
    explain: bool | None = None


class Metadata(RequestBody, frozen=True, omit_defaults=True):
    """What is known of a document. ``processed_at`` orders the versions of one ``group_id``."""

    filename: str | None = None
    processed_at: U64 | None = None
    category: str | None = None
    language: str | None = None
    status: str | None = None
    version: Name | None = None
    group_id: U32 | None = None
    document_id: Name | None = None


class DocumentBody(RequestBody, frozen=True):
    """A document. Without ``vector`` the embedder makes one of the content."""

    id: U32
    content: str
    vector: Numbers | None = None
    metadata: Metadata | None = None


class ChunkBody(RequestBody, frozen=True):
    """Cut the content into pieces of at most so many tokens (words and marks), where a paragraph or
    a sentence ends; each begins with the last ``overlap`` of the one before. The document is found
    by its best piece."""

    tokens: Annotated[int, msgspec.Meta(ge=8, le=8192)] = 200
    overlap: Annotated[int, msgspec.Meta(ge=0, le=4096)] = 40


class IngestBody(RequestBody, frozen=True):
    """A document to find from now on, in place of the one that had its id."""

    document: DocumentBody
    chunk: ChunkBody | None = None


@attrs.frozen
class FoundDocument:
    """A document as it was ingested; of one in chunks ``content`` is the best chunk's."""

    id: U64
    content: str
    metadata: dict[str, Any]


@attrs.frozen
class FoundChunk:
    """Where in the document's content it was found: characters ``start`` up to ``end``."""

    index: U64
    start: U64
    end: U64


@attrs.frozen
class Result:
    """A document that was found; higher ``score`` is nearer."""

    score: float
    document: FoundDocument
    chunk: FoundChunk | UnsetType = UNSET
    highlight: list[Passage] | UnsetType = UNSET
    parts: HitParts | UnsetType = UNSET


@attrs.frozen
class SearchResults:
    """Best first. ``exhausted``: fewer than ``top_k``, because there are no more. ``mode``: what
    was searched by; said with explain, and where it is text since the embedder does not answer."""

    query: str
    top_k: U64
    results: list[Result]
    exhausted: Literal[True] | UnsetType = UNSET
    mode: Mode | UnsetType = UNSET
