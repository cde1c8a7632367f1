"""The routes of vector collections: a part of the one table in `routes`."""

from typing import Any

from kissvdb.api.frame import reach as touches
from kissvdb.api.frame.reach import Reach
from kissvdb.api.frame.route import JSON, Operation, Parameter, Route, Scope, Success
from kissvdb.api.reading.json_body import MistypedField
from kissvdb.api.vectors import bodies as vector_bodies
from kissvdb.api.vectors import collections, search_bodies
from kissvdb.api.vectors import reads as vector_reads
from kissvdb.api.vectors import search as vector_search
from kissvdb.api.vectors import writes as vector_writes
from kissvdb.api.vectors.forms import MSGPACK, OCTETS
from kissvdb.errors import (
    AlreadyExists,
    DimMismatch,
    EmbedderMismatch,
    EmbedderUnavailable,
    InvalidArgument,
    KissError,
    NotFound,
    NotTuned,
    OpIdReused,
    Overloaded,
    PersistenceFailed,
    Stopping,
    TextMissing,
)

_TEXT = {"type": "string"}
_NATURAL = {"type": "integer", "minimum": 0}
_SWITCH = {"type": "boolean"}

_EMBEDDER_ERRORS = (EmbedderMismatch, EmbedderUnavailable)
_WRITE_ERRORS = (NotFound, Overloaded, Stopping, PersistenceFailed, *_EMBEDDER_ERRORS)
_FORMS = (JSON, MSGPACK)
_WITH_OCTETS = (JSON, MSGPACK, OCTETS)
_OFFSET = {"Kissvdb-Offset": "The offset the answer is true at."}


def _raw(name: str, description: str, schema: dict[str, Any]) -> Parameter:
    return Parameter(name, f"With a raw body: {description}", schema, media=OCTETS)


_RAW_WRITE = (
    _raw("id", "the vector's id.", _TEXT),
    _raw("meta", "its metadata, as JSON.", _TEXT),
    _raw("text", "its text.", _TEXT),
    _raw("namespace", "its namespace.", _TEXT),
    _raw("ttl_ms", "milliseconds until it expires.", _NATURAL),
    _raw("op_id", "an id under which a repeat is answered and not done again.", _TEXT),
)
_RAW_UPSERT = (
    *_RAW_WRITE,
    _raw("if_changed", "leave it as it is where it has this text and metadata already.", _SWITCH),
)
_RAW_SEARCH = (
    _raw("k", "hits wanted.", _NATURAL),
    _raw("filters", "an object, as JSON.", _TEXT),
    _raw("namespace", "only this namespace.", _TEXT),
    _raw("include_meta", "metadata in the hits.", _SWITCH),
    _raw("include_vector", "numbers in the hits.", _SWITCH),
    _raw("include_text", "texts in the hits.", _SWITCH),
    _raw("ef_search", "vectors the walk keeps in view.", _NATURAL),
    _raw("nprobe", "lists looked at.", _NATURAL),
    _raw("search_list_size", "vectors a walk on disk keeps in view.", _NATURAL),
    _raw("recall", "the part of the nearest that is to be found.", {"type": "number"}),
    _raw("exact", "look at every vector.", _SWITCH),
    _raw("offset", "skip the best.", _NATURAL),
    _raw("min_score", "leave out what scores less.", {"type": "number"}),
)
_RAW_SEARCH_ONE = (
    *_RAW_SEARCH,
    _raw("group_by", "a field whose values make groups.", _TEXT),
    _raw("group_limit", "hits in a group.", _NATURAL),
    _raw("explain", "say how the search went.", _SWITCH),
    _raw("emit", "stream the search as an event.", _SWITCH),
)


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
    media: tuple[str, ...] = _FORMS,
    parameters: tuple[Parameter, ...] = (),
    waits: bool = True,
    bounded: bool = True,
    audited: bool = False,
) -> Route:
    if body is not None:
        errors = (MistypedField, *errors)
    return Route(
        method,
        f"/v1/vector{path}",
        operation,
        summary,
        "vectors",
        answer,
        scope=scope,
        reach=reach,
        body=body,
        body_media=media if body is not None else (),
        parameters=parameters,
        errors=(InvalidArgument, *errors),
        hot=True,
        waits=waits,
        bounded=bounded,
        audited=audited,
    )


_COLLECTIONS = (
    _route(
        "POST",
        "/{collection}",
        collections.create,
        "Create a collection",
        Success("Created, durably.", vector_bodies.CollectionCreated),
        AlreadyExists,
        NotFound,
        Overloaded,
        Stopping,
        PersistenceFailed,
        scope=Scope.WRITE,
        reach=touches.VECTORS,
        body=vector_bodies.CreateBody,
    ),
    _route(
        "GET",
        "",
        collections.list_collections,
        "List the collections",
        Success("All of them, by name.", vector_bodies.Collections),
        scope=Scope.READ,
        reach=touches.FILTERED,
        waits=False,
    ),
    _route(
        "GET",
        "/{collection}",
        collections.detail,
        "Look at a collection",
        Success("What it is and how it is.", vector_bodies.CollectionDetail),
        NotFound,
        scope=Scope.READ,
        reach=touches.VECTORS,
    ),
    _route(
        "POST",
        "/{collection}/vacuum",
        collections.vacuum,
        "Drop the dead rows of a collection now",
        Success("Done; reads and writes went on meanwhile.", vector_bodies.Vacuumed),
        NotFound,
        Stopping,
        audited=True,
        scope=Scope.ADMIN,
        reach=touches.VECTORS,
        bounded=False,
    ),
)

_WRITES = (
    _route(
        "POST",
        "/{collection}/upsert",
        vector_writes.upsert,
        "Write a vector, whether or not its id has one",
        Success("Written, durably.", vector_bodies.VectorWritten),
        DimMismatch,
        OpIdReused,
        *_WRITE_ERRORS,
        scope=Scope.WRITE,
        reach=touches.VECTORS,
        body=vector_bodies.UpsertBody,
        media=_WITH_OCTETS,
        parameters=_RAW_UPSERT,
    ),
    _route(
        "POST",
        "/{collection}/add",
        vector_writes.add,
        "Write a vector under an id that has none",
        Success("Written, durably.", vector_bodies.VectorWritten),
        DimMismatch,
        AlreadyExists,
        OpIdReused,
        *_WRITE_ERRORS,
        scope=Scope.WRITE,
        reach=touches.VECTORS,
        body=vector_bodies.WriteBody,
        media=_WITH_OCTETS,
        parameters=_RAW_WRITE,
    ),
    _route(
        "POST",
        "/{collection}/update",
        vector_writes.update,
        "Change parts of a vector",
        Success("Written, durably.", vector_bodies.VectorWritten),
        DimMismatch,
        OpIdReused,
        *_WRITE_ERRORS,
        scope=Scope.WRITE,
        reach=touches.VECTORS,
        body=vector_bodies.UpdateBody,
        media=_WITH_OCTETS,
        parameters=_RAW_WRITE,
    ),
    _route(
        "POST",
        "/{collection}/delete",
        vector_writes.delete,
        "Delete a vector",
        Success("Deleted, durably.", vector_bodies.VectorDeleted),
        OpIdReused,
        *_WRITE_ERRORS,
        scope=Scope.WRITE,
        reach=touches.VECTORS,
        body=vector_bodies.DeleteBody,
    ),
    _route(
        "POST",
        "/{collection}/upsert_batch",
        vector_writes.upsert_batch,
        "Write many vectors, each for itself",
        Success("A result for each, in order.", vector_bodies.BatchResults),
        *_WRITE_ERRORS,
        scope=Scope.WRITE,
        reach=touches.VECTORS,
        body=vector_bodies.UpsertBatchBody,
        media=_WITH_OCTETS,
    ),
    _route(
        "POST",
        "/{collection}/delete_batch",
        vector_writes.delete_batch,
        "Delete many vectors, each for itself",
        Success("A result for each, in order.", vector_bodies.BatchResults),
        *_WRITE_ERRORS,
        scope=Scope.WRITE,
        reach=touches.VECTORS,
        body=vector_bodies.DeleteBatchBody,
    ),
    _route(
        "POST",
        "/{collection}/delete_by_filter",
        vector_writes.delete_by_filter,
        "Delete the vectors that pass a filter",
        Success("Deleted, durably.", vector_bodies.DeletedCount),
        *_WRITE_ERRORS,
        scope=Scope.WRITE,
        reach=touches.VECTORS,
        body=vector_bodies.DeleteByFilterBody,
    ),
)

_READS = (
    _route(
        "POST",
        "/{collection}/search",
        vector_search.search,
        "Find the nearest vectors",
        Success("Best first; equal scores by id.", search_bodies.SearchResult, headers=_OFFSET),
        DimMismatch,
        NotFound,
        NotTuned,
        Overloaded,
        *_EMBEDDER_ERRORS,
        scope=Scope.READ,
        reach=touches.VECTORS,
        body=search_bodies.SearchBody,
        media=_WITH_OCTETS,
        parameters=_RAW_SEARCH_ONE,
    ),
    _route(
        "POST",
        "/{collection}/search_batch",
        vector_search.search_batch,
        "Find the nearest vectors of many at once",
        Success("A result for each, in order.", search_bodies.SearchBatchResult, headers=_OFFSET),
        DimMismatch,
        NotFound,
        NotTuned,
        Overloaded,
        *_EMBEDDER_ERRORS,
        scope=Scope.READ,
        reach=touches.VECTORS,
        body=search_bodies.SearchBatchBody,
        media=_WITH_OCTETS,
        parameters=_RAW_SEARCH,
    ),
    _route(
        "GET",
        "/{collection}/get",
        vector_reads.get,
        "Read a vector",
        Success("As it was sent.", search_bodies.StoredVector),
        NotFound,
        scope=Scope.READ,
        reach=touches.VECTORS,
        parameters=(Parameter("id", "The vector's id.", _TEXT),),
        waits=False,
    ),
    _route(
        "POST",
        "/{collection}/count",
        vector_reads.count,
        "Count the vectors, or those that pass",
        Success("How many.", search_bodies.Count),
        NotFound,
        scope=Scope.READ,
        reach=touches.VECTORS,
        body=search_bodies.SelectBody,
    ),
    _route(
        "POST",
        "/{collection}/scroll",
        vector_reads.scroll,
        "Read all vectors, page by page, in the order they were written",
        Success("A page.", search_bodies.ScrollPage),
        NotFound,
        scope=Scope.READ,
        reach=touches.VECTORS,
        body=search_bodies.ScrollBody,
    ),
)

_LAST = (
    _route(
        "POST",
        "/{collection}/reindex",
        collections.reindex,
        "Give a collection another index, or vectors of another embedder",
        Success(
            "Begun; the collection serves as it is meanwhile.",
            vector_bodies.ReindexInfo,
            status=202,
        ),
        NotFound,
        AlreadyExists,
        TextMissing,
        Overloaded,
        Stopping,
        PersistenceFailed,
        audited=True,
        scope=Scope.ADMIN,
        reach=touches.VECTORS,
        body=vector_bodies.ReindexBody,
        bounded=False,
    ),
    _route(
        "DELETE",
        "/{collection}/reindex",
        collections.end_reindex,
        "Give up a reindex",
        Success("The collection stays as it is.", vector_bodies.ReindexEnded),
        NotFound,
        Overloaded,
        Stopping,
        PersistenceFailed,
        audited=True,
        scope=Scope.ADMIN,
        reach=touches.VECTORS,
        bounded=False,
    ),
    _route(
        "DELETE",
        "/{collection}",
        collections.drop,
        "Delete a collection and everything in it",
        Success("Gone, durably.", vector_bodies.CollectionDropped),
        *_WRITE_ERRORS,
        audited=True,
        scope=Scope.WRITE,
        reach=touches.VECTORS,
    ),
)

VECTORS = (*_COLLECTIONS, *_WRITES, *_READS, *_LAST)
