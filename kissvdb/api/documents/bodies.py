"""The JSON of documents that goes in and out, as types. See `bodies`."""

from typing import Annotated, Any, Literal

import attrs
import msgspec
from msgspec import UNSET, UnsetType

from kissvdb.api.bodies import U64, ErrorBody, RequestBody, TtlMs

Document = Annotated[Any, msgspec.Meta(description="Any JSON; only an object has fields.")]


@attrs.frozen
class StoredDocument:
    """A document. ``revision`` counts its writes; ``offset`` is the place of the last one in the
    log. It is the state key ``doc:<collection>:<id>``."""

    id: str
    revision: U64
    doc: Document
    expires_at_ms: U64 | None
    offset: U64


@attrs.frozen
class WrittenDocument:
    """A write that is durable, and that every later find sees. ``doc`` is what was put.
    ``repeated``: it had been, under this op_id."""

    id: str
    revision: U64
    doc: Document
    expires_at_ms: U64 | None
    offset: U64
    repeated: Literal[True] | UnsetType = UNSET


@attrs.frozen
class PatchedDocument:
    """A patch that is durable. ``repeated``: it had been, under this op_id."""

    id: str
    revision: U64
    expires_at_ms: U64 | None
    offset: U64
    repeated: Literal[True] | UnsetType = UNSET


@attrs.frozen
class DeletedDocument:
    """``deleted`` is false, and ``offset`` null, when there was no such document."""

    deleted: bool
    offset: U64 | None
    repeated: Literal[True] | UnsetType = UNSET


class PutDocument(RequestBody, frozen=True):
    """One document of a batch. ``doc`` is any JSON. The conditions: see the page on state."""

    id: str
    doc: msgspec.Raw
    ttl_ms: TtlMs | None = None
    if_revision: U64 | None = None
    if_offset: U64 | None = None
    op_id: str | None = None


class PutDocumentsBody(RequestBody, frozen=True):
    """Done in order, each for itself: one that is refused does not stop the others."""

    documents: list[PutDocument]


class DeleteDocumentsBody(RequestBody, frozen=True):
    """The documents to delete, each for itself."""

    ids: list[str]


@attrs.frozen
class PutDocumentResult:
    """One document of a batch: with ``ok`` what was written, with ``error`` why it was not."""

    status: Literal["ok", "error"]
    id: str
    revision: U64 | UnsetType = UNSET
    expires_at_ms: U64 | UnsetType | None = UNSET
    offset: U64 | UnsetType = UNSET
    repeated: Literal[True] | UnsetType = UNSET
    error: ErrorBody | UnsetType = UNSET


@attrs.frozen
class PutDocumentResults:
    """One result for each document, in order."""

    results: list[PutDocumentResult]


@attrs.frozen
class DeleteDocumentResult:
    """One id of a batch: whether there was such a document, or why it was not deleted."""

    status: Literal["ok", "error"]
    id: str
    deleted: bool | UnsetType = UNSET
    offset: U64 | UnsetType | None = UNSET
    error: ErrorBody | UnsetType = UNSET


@attrs.frozen
class DeleteDocumentResults:
    """One result for each id, in order."""

    results: list[DeleteDocumentResult]


class DocumentSettingsBody(RequestBody, frozen=True):
    """How a collection is searched. ``text``: its fields with weights, languages and tokenizers;
    without it every string is searched, as English."""

    text: Annotated[Any, msgspec.Meta(description="An object; see the page on documents.")] = None


@attrs.frozen
class DocumentsConfigured:
    """The settings as they hold from now on."""

    collection: str
    settings: dict[str, Any]
    offset: U64


@attrs.frozen
class DocumentsInfo:
    """One collection in the list of all. ``count`` documents; ``bytes`` are about those of rows
    and indexes, which hold every change up to ``applied_offset``."""

    collection: str
    count: U64
    bytes: U64
    applied_offset: U64
    created_at_ms: U64
    updated_at_ms: U64


@attrs.frozen
class DocumentCollections:
    """All collections that hold a document or have settings, by name."""

    collections: list[DocumentsInfo]


@attrs.frozen
class DocumentsDetail(DocumentsInfo):
    """One collection, closely. ``fields``: those that are indexed; ``settings``: what was set;
    ``working``: the piece of upkeep that is under way; ``damage``: what is wrong with its rows."""

    fields: list[str]
    settings: dict[str, Any]
    working: str | None
    damage: str | None


@attrs.frozen
class DocumentsDropped:
    """The collection's documents and settings are gone; ``documents``: how many there were."""

    deleted: bool
    documents: U64
    offset: U64 | None


@attrs.frozen
class DocumentsVacuumed:
    """The live documents lie together again; ``removed`` dead rows are gone."""

    ok: bool
    removed: U64
