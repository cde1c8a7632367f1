"""The routes of documents that are found by a question: a part of the one table in `routes`."""

from kissvdb.api.frame.reach import Names, Reach
from kissvdb.api.frame.route import JSON, Route, Scope, Success
from kissvdb.api.reading.json_body import MistypedField
from kissvdb.api.search import bodies, handlers, ingest
from kissvdb.api.search.documents import COLLECTION
from kissvdb.api.vectors.forms import MSGPACK
from kissvdb.errors import (
    DimMismatch,
    EmbedderMismatch,
    EmbedderUnavailable,
    InvalidArgument,
    Overloaded,
    PersistenceFailed,
    Stopping,
)

_DOCUMENTS = Reach(always={COLLECTION: Names.VECTORS})
_ERRORS = (InvalidArgument, MistypedField, DimMismatch, EmbedderMismatch, EmbedderUnavailable)

SEARCH = (
    Route(
        "POST",
        "/search",
        handlers.search,
        "Find the documents that answer a question",
        "search",
        Success(
            "Best first.",
            bodies.SearchResults,
            headers={"Kissvdb-Offset": "The offset the answer is true at."},
        ),
        body=bodies.SearchBody,
        body_media=(JSON, MSGPACK),
        errors=_ERRORS,
        hot=True,
        scope=Scope.READ,
        reach=_DOCUMENTS,
    ),
    Route(
        "POST",
        "/search/ingest",
        ingest.ingest,
        "Keep a document to be found, in place of the one that had its id",
        "search",
        Success("Kept, durably. The body is empty.", media=None),
        body=bodies.IngestBody,
        body_media=(JSON, MSGPACK),
        errors=(*_ERRORS, Overloaded, Stopping, PersistenceFailed),
        hot=True,
        scope=Scope.WRITE,
        reach=_DOCUMENTS,
    ),
)
