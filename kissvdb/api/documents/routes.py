"""The routes of documents: a part of the one table in `routes`."""

from typing import Any

import msgspec

from kissvdb.api.documents import bodies, collections, find_bodies, search_bodies, writes
from kissvdb.api.documents import find as found
from kissvdb.api.documents import search as searched
from kissvdb.api.frame import reach as touches
from kissvdb.api.frame.reach import Reach
from kissvdb.api.frame.route import JSON, MERGE_PATCH, Operation, Parameter, Route, Scope, Success
from kissvdb.api.reading.json_body import MistypedField
from kissvdb.api.state.parameters import (
    AT,
    AT_ERRORS,
    CONDITION_ERRORS,
    CONDITION_HEADERS,
    CONDITION_QUERY,
    CREATE,
    OP_ID,
    TTL,
    WRITE_ERRORS,
)
from kissvdb.api.vectors.bodies import DeletedCount
from kissvdb.errors import InvalidArgument, KissError, NotFound, OpIdReused

_TEXT = {"type": "string"}
_OFFSET = {"Kissvdb-Offset": "The offset the answer is true at."}
_CONDITIONS = (*CONDITION_HEADERS, *CONDITION_QUERY)


def _route(
    method: str,
    path: str,
    operation: Operation,
    summary: str,
    answer: Success,
    *errors: type[KissError],
    scope: Scope,
    reach: Reach,
    body: Any = None,
    media: tuple[str, ...] = (JSON,),
    parameters: tuple[Parameter, ...] = (),
    also: tuple[Success, ...] = (),
    waits: bool = True,
    bounded: bool = True,
    audited: bool = False,
) -> Route:
    if body not in (None, msgspec.Raw):
        errors = (MistypedField, *errors)
    return Route(
        method,
        f"/v1/doc{path}",
        operation,
        summary,
        "documents",
        answer,
        scope=scope,
        reach=reach,
        body=body,
        body_media=media if body is not None else (),
        parameters=parameters,
        also=also,
        errors=(InvalidArgument, *errors),
        hot=True,
        waits=waits,
        bounded=bounded,
        audited=audited,
    )


_WRITES = (
    _route(
        "POST",
        "/{collection}/put_batch",
        writes.put_batch,
        "Write many documents, each for itself",
        Success("A result for each, in order.", bodies.PutDocumentResults),
        *WRITE_ERRORS,
        scope=Scope.WRITE,
        reach=touches.DOCUMENTS,
        body=bodies.PutDocumentsBody,
    ),
    _route(
        "POST",
        "/{collection}/delete_batch",
        writes.delete_batch,
        "Delete many documents, each for itself",
        Success("A result for each, in order.", bodies.DeleteDocumentResults),
        *WRITE_ERRORS,
        scope=Scope.WRITE,
        reach=touches.DOCUMENTS,
        body=bodies.DeleteDocumentsBody,
    ),
)

_FIND = (
    _route(
        "POST",
        "/{collection}/find",
        found.find,
        "Find documents by their fields",
        Success("A page, in order.", find_bodies.FoundDocuments, headers=_OFFSET),
        *WRITE_ERRORS,
        scope=Scope.READ,
        reach=touches.DOCUMENTS,
        body=find_bodies.FindBody,
    ),
    _route(
        "POST",
        "/{collection}/search",
        searched.search,
        "Find documents by their texts",
        Success("Best first.", search_bodies.DocumentSearchResult, headers=_OFFSET),
        *WRITE_ERRORS,
        scope=Scope.READ,
        reach=touches.DOCUMENTS,
        body=search_bodies.DocumentSearchBody,
    ),
    _route(
        "POST",
        "/{collection}/delete_by_filter",
        found.delete_by_filter,
        "Delete the documents that pass a filter",
        Success("Deleted, durably.", DeletedCount),
        *WRITE_ERRORS,
        scope=Scope.WRITE,
        reach=touches.DOCUMENTS,
        body=find_bodies.DeleteDocumentsByFilterBody,
    ),
)

_COLLECTIONS = (
    _route(
        "GET",
        "",
        collections.list_collections,
        "List the collections of documents",
        Success("All of them, by name.", bodies.DocumentCollections),
        *WRITE_ERRORS,
        scope=Scope.READ,
        reach=touches.FILTERED,
    ),
    _route(
        "GET",
        "/{collection}",
        collections.detail,
        "Look at a collection of documents",
        Success("What it is and how it is.", bodies.DocumentsDetail),
        NotFound,
        *WRITE_ERRORS,
        scope=Scope.READ,
        reach=touches.DOCUMENTS,
    ),
    _route(
        "PUT",
        "/{collection}",
        collections.configure,
        "Say how a collection of documents is searched",
        Success("Set, durably.", bodies.DocumentsConfigured),
        *WRITE_ERRORS,
        scope=Scope.WRITE,
        reach=touches.DOCUMENTS,
        body=bodies.DocumentSettingsBody,
    ),
    _route(
        "POST",
        "/{collection}/vacuum",
        collections.vacuum,
        "Drop the dead rows of a collection of documents now",
        Success("Done; reads and writes went on meanwhile.", bodies.DocumentsVacuumed),
        NotFound,
        *WRITE_ERRORS,
        audited=True,
        scope=Scope.ADMIN,
        reach=touches.DOCUMENTS,
        bounded=False,
    ),
)

_LAST = (
    _route(
        "DELETE",
        "/{collection}",
        collections.drop,
        "Delete all documents of a collection, and its settings",
        Success("Gone, durably.", bodies.DocumentsDropped),
        NotFound,
        *WRITE_ERRORS,
        audited=True,
        scope=Scope.WRITE,
        reach=touches.DOCUMENTS,
    ),
)

_ONE = (
    _route(
        "GET",
        "/{collection}/{id...}",
        writes.get,
        "Read a document",
        Success(
            "The document.", bodies.StoredDocument, headers={"ETag": "The revision, in quotes."}
        ),
        NotFound,
        *AT_ERRORS,
        scope=Scope.READ,
        reach=touches.A_DOCUMENT,
        parameters=(
            Parameter("If-None-Match", "Answer 304 when it is current.", _TEXT, "header"),
            AT,
        ),
        also=(Success("Not modified: If-None-Match is current.", media=None, status=304),),
    ),
    _route(
        "PUT",
        "/{collection}/{id...}",
        writes.put,
        "Write a document: the body is the document",
        Success("Written, durably.", bodies.WrittenDocument),
        NotFound,
        OpIdReused,
        *CONDITION_ERRORS,
        *WRITE_ERRORS,
        scope=Scope.WRITE,
        reach=touches.A_DOCUMENT,
        body=msgspec.Raw,
        parameters=(
            *_CONDITIONS,
            CREATE,
            Parameter("ttl_ms", "Milliseconds until it expires; without it, never.", TTL),
            OP_ID,
        ),
    ),
    _route(
        "PATCH",
        "/{collection}/{id...}",
        writes.patch,
        "Merge a patch (RFC 7396) into a document",
        Success("Written, durably.", bodies.PatchedDocument),
        NotFound,
        OpIdReused,
        *CONDITION_ERRORS,
        *WRITE_ERRORS,
        scope=Scope.WRITE,
        reach=touches.A_DOCUMENT,
        body=msgspec.Raw,
        media=(MERGE_PATCH, JSON),
        parameters=(
            *_CONDITIONS,
            CREATE,
            Parameter("ttl_ms", "A new time to live; without it the old one stays.", TTL),
            OP_ID,
        ),
    ),
    _route(
        "DELETE",
        "/{collection}/{id...}",
        writes.delete,
        "Delete a document",
        Success("Deleted, or it was not there.", bodies.DeletedDocument),
        OpIdReused,
        *CONDITION_ERRORS,
        *WRITE_ERRORS,
        scope=Scope.WRITE,
        reach=touches.A_DOCUMENT,
        parameters=(*_CONDITIONS, OP_ID),
    ),
)

DOCUMENTS = (*_WRITES, *_FIND, *_COLLECTIONS, *_ONE, *_LAST)
