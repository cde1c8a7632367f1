"""The routes of SQL: a part of the one table in `routes`."""

from kissvdb.api.frame.reach import FILTERED, TABLES
from kissvdb.api.frame.route import JSON, Route, Scope, Success
from kissvdb.api.reading.json_body import MistypedField
from kissvdb.api.sql import bodies, queries, schema, writes
from kissvdb.errors import (
    Forbidden,
    InvalidArgument,
    NotEnabled,
    OpIdReused,
    Overloaded,
    PayloadTooLarge,
    PersistenceFailed,
    RequestTimeout,
    SqliteError,
    Stopping,
)

_WRITE_ERRORS = (
    InvalidArgument,
    MistypedField,
    SqliteError,
    Forbidden,
    NotEnabled,
    OpIdReused,
    PayloadTooLarge,
    Overloaded,
    Stopping,
    PersistenceFailed,
)

SQL = (
    Route(
        "POST",
        "/v1/sql/query",
        queries.query,
        "Read with SQL: the user's tables, keys, documents, vectors, events and searches",
        "sql",
        Success("The rows, true at one offset.", bodies.QueryResult),
        body=bodies.QueryBody,
        body_media=(JSON,),
        also=(
            Success(
                "With format ndjson, or Accept: a line with columns and offset, a line for each "
                "row (an array), a last line with the number of rows, or with an error.",
                media=queries.NDJSON,
            ),
        ),
        errors=(
            InvalidArgument,
            MistypedField,
            SqliteError,
            Forbidden,
            NotEnabled,
            RequestTimeout,
            Overloaded,
            Stopping,
        ),
        hot=True,
        bounded=False,
        scope=Scope.READ,
        reach=TABLES,
    ),
    Route(
        "POST",
        "/v1/sql/exec",
        writes.execute,
        "Execute one statement that writes",
        "sql",
        Success("Done, durably.", bodies.ExecResult),
        body=bodies.ExecBody,
        body_media=(JSON,),
        errors=_WRITE_ERRORS,
        hot=True,
        scope=Scope.WRITE,
        reach=TABLES,
    ),
    Route(
        "POST",
        "/v1/sql/batch",
        writes.batch,
        "Execute several statements, all or none",
        "sql",
        Success("All of them are done, durably.", bodies.SqlBatchResult),
        body=bodies.SqlBatchBody,
        body_media=(JSON,),
        errors=_WRITE_ERRORS,
        hot=True,
        scope=Scope.WRITE,
        reach=TABLES,
    ),
    Route(
        "GET",
        "/v1/sql/schema",
        schema.schema,
        "What SQL tables there are",
        "sql",
        Success("All of them, by name.", bodies.SqlSchema),
        errors=(NotEnabled, PayloadTooLarge, Overloaded, Stopping),
        hot=True,
        scope=Scope.READ,
        reach=FILTERED,
    ),
)
