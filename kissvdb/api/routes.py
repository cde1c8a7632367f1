"""The one table of routes: every door serves it, and the description is made from it."""

import msgspec

from kissvdb.api import bodies, operations
from kissvdb.api.batch.routes import BATCH
from kissvdb.api.bulk import handlers as bulk
from kissvdb.api.bulk import operations as bulk_operations
from kissvdb.api.description.routes import page_routes
from kissvdb.api.documents.routes import DOCUMENTS
from kissvdb.api.events import handlers as events
from kissvdb.api.frame import reach as touches
from kissvdb.api.frame.route import JSON, MERGE_PATCH, Parameter, Route, Scope, Success
from kissvdb.api.indexes.diskann import DISKANN
from kissvdb.api.indexes.routes import INDEXES
from kissvdb.api.keys.routes import KEYS
from kissvdb.api.maps.routes import MAPS
from kissvdb.api.mcp.routes import MCP
from kissvdb.api.reading.json_body import MistypedField
from kissvdb.api.search.routes import SEARCH
from kissvdb.api.sql.routes import SQL
from kissvdb.api.state import handlers as state
from kissvdb.api.state.parameters import (
    AT,
    AT_ERRORS,
    CONDITION_ERRORS,
    CONDITION_HEADERS,
    CONDITION_QUERY,
    CREATE,
    OP_ID,
    TTL,
    U64,
    WRITE_ERRORS,
)
from kissvdb.api.state.tree import tree
from kissvdb.api.stats import Stats, stats
from kissvdb.api.vectors.bodies import EmbedderList
from kissvdb.api.vectors.embedders import list_embedders
from kissvdb.api.vectors.routes import VECTORS
from kissvdb.errors import (
    InvalidArgument,
    NotFound,
    NotSupported,
    OpIdReused,
    Overloaded,
    Starting,
    Stopping,
)
from kissvdb.metrics import CONTENT_TYPE as METRICS

_TEXT = {"type": "string"}
_SWITCH = {"type": "boolean"}


STATE = (
    Route(
        "GET",
        "/v1/state",
        state.list_items,
        "List keys in byte order",
        "state",
        Success(
            "The keys, true at one offset. Stream from there to miss nothing.",
            list[bodies.StateItem],
            headers={
                "Kissvdb-Offset": "The offset the list is true at.",
                "Kissvdb-Cursor": "Present when there is more: the cursor of the next page.",
            },
        ),
        parameters=(
            Parameter("prefix", "Only keys that start so; empty for all.", _TEXT),
            Parameter("limit", "At most so many (default 100, cut to 1000).", U64),
            Parameter("cursor", "Kissvdb-Cursor of the page before.", _TEXT),
            AT,
        ),
        errors=(InvalidArgument, *AT_ERRORS),
        hot=True,
        scope=Scope.READ,
        reach=touches.KEYS_OF_A_PREFIX,
    ),
    Route(
        "GET",
        "/v1/tree",
        tree,
        "List keys as a tree, one level of it",
        "state",
        Success("Branches and keys below the prefix, true at one offset.", bodies.StateTree),
        parameters=(
            Parameter("prefix", "The branch, up to its separator; empty for the root.", _TEXT),
            Parameter("separator", "What names are cut at (default :), 1 to 16 characters.", _TEXT),
            Parameter("limit", "At most so many entries (default 100, cut to 1000).", U64),
            Parameter("cursor", "That of the page before.", _TEXT),
        ),
        errors=(InvalidArgument, Overloaded, Stopping),
        hot=True,
        scope=Scope.READ,
        reach=touches.KEYS_OF_A_PREFIX,
    ),
    Route(
        "POST",
        "/v1/state/batch_put",
        state.batch_put,
        "Write many keys, each for itself",
        "state",
        Success("A result for each, in order.", bodies.BatchPutResults),
        body=bodies.BatchPutBody,
        body_media=(JSON,),
        errors=(InvalidArgument, MistypedField, *WRITE_ERRORS),
        hot=True,
        scope=Scope.WRITE,
        reach=touches.COMMANDS,
    ),
    Route(
        "GET",
        "/v1/state/{key...}",
        state.get_item,
        "Read a key",
        "state",
        Success("The key.", bodies.StateItem, headers={"ETag": "The revision, in quotes."}),
        parameters=(
            Parameter("If-None-Match", "Answer 304 when it is current.", _TEXT, "header"),
            AT,
        ),
        also=(Success("Not modified: If-None-Match is current.", media=None, status=304),),
        errors=(InvalidArgument, NotFound, *AT_ERRORS),
        hot=True,
        scope=Scope.READ,
        reach=touches.A_KEY,
    ),
    Route(
        "PUT",
        "/v1/state/{key...}",
        state.put_item,
        "Write a key",
        "state",
        Success("Written, durably.", bodies.WrittenKey),
        body=bodies.PutBody,
        body_media=(JSON,),
        parameters=(*CONDITION_HEADERS, CREATE),
        errors=(
            InvalidArgument,
            MistypedField,
            NotFound,
            OpIdReused,
            *CONDITION_ERRORS,
            *WRITE_ERRORS,
        ),
        hot=True,
        scope=Scope.WRITE,
        reach=touches.A_KEY,
    ),
    Route(
        "PATCH",
        "/v1/state/{key...}",
        state.patch_item,
        "Merge a patch (RFC 7396) into a key",
        "state",
        Success("Written, durably.", bodies.WrittenKey),
        body=msgspec.Raw,
        body_media=(MERGE_PATCH, JSON),
        parameters=(
            *CONDITION_HEADERS,
            *CONDITION_QUERY,
            CREATE,
            Parameter("ttl_ms", "A new time to live; without it the old one stays.", TTL),
            OP_ID,
        ),
        errors=(InvalidArgument, NotFound, OpIdReused, *CONDITION_ERRORS, *WRITE_ERRORS),
        hot=True,
        scope=Scope.WRITE,
        reach=touches.A_KEY,
    ),
    Route(
        "DELETE",
        "/v1/state/{key...}",
        state.delete_item,
        "Delete a key",
        "state",
        Success("Deleted, or it was not there.", bodies.DeletedKey),
        parameters=(*CONDITION_HEADERS, *CONDITION_QUERY, OP_ID),
        errors=(InvalidArgument, OpIdReused, *CONDITION_ERRORS, *WRITE_ERRORS),
        hot=True,
        scope=Scope.WRITE,
        reach=touches.A_KEY,
    ),
)

_STREAM = Success(
    "Server-sent events: replay from `since`, then live, without end.",
    media="text/event-stream",
)
_STREAM_PARAMETERS = (
    Parameter(
        "since",
        "Events after this offset (default 0: all that are kept); now, latest, -1: new ones only.",
        {"anyOf": [U64, {"type": "string", "enum": ["now", "latest", "-1"]}]},
    ),
    Parameter("epoch", "The epoch that since is of; another one's place gets a gap.", _TEXT),
    Parameter("types", "Only these types, separated by commas.", _TEXT),
    Parameter("key", "Only events of this key.", _TEXT),
    Parameter("key_prefix", "Only events of keys that start so.", _TEXT),
    Parameter("prefix", "The former name of key_prefix.", _TEXT),
    Parameter("collection", "Only events of this collection.", _TEXT),
    Parameter("table", "Only changed rows of this SQL table.", _TEXT),
    Parameter("job_id", "Only events with this job_id in value or data, number or text.", _TEXT),
    Parameter("tag", "Only events with this tag.", _TEXT),
    Parameter("vectors", "false: events of vectors come without their numbers.", _SWITCH),
    Parameter("Last-Event-ID", "Wins over since when it is an offset.", _TEXT, "header"),
    Parameter("Kissvdb-Epoch", "The epoch that the resume point is of.", _TEXT, "header"),
)

EVENTS = (
    Route(
        "POST",
        "/v1/events",
        events.publish,
        "Append one user event or an array of them, or only stream it",
        "events",
        Success(
            "Appended, durably (or streamed, when transient).",
            bodies.PublishedEvent,
        ),
        body=bodies.EventBody | list[bodies.EventBody],
        body_media=(JSON,),
        errors=(InvalidArgument, MistypedField, OpIdReused, *WRITE_ERRORS),
        hot=True,
        scope=Scope.WRITE,
        reach=touches.COMMANDS,
    ),
    Route(
        "GET",
        "/v1/stream",
        events.stream,
        "Follow everything that happens",
        "events",
        _STREAM,
        parameters=_STREAM_PARAMETERS,
        errors=(InvalidArgument, Overloaded, Stopping),
        hot=True,
        bounded=False,
        scope=Scope.READ,
        reach=touches.FILTERED,
    ),
    Route(
        "GET",
        "/v1/events",
        events.stream,
        "Follow everything that happens (the former name of /v1/stream)",
        "events",
        _STREAM,
        parameters=_STREAM_PARAMETERS,
        errors=(InvalidArgument, Overloaded, Stopping),
        hot=True,
        bounded=False,
        scope=Scope.READ,
        reach=touches.FILTERED,
    ),
)

BULK = (
    Route(
        "POST",
        "/v1/bulk",
        bulk.bulk,
        "Do many operations, answered one by one as they are done",
        "bulk",
        Success("A line of JSON for each operation, in order.", media=bulk.NDJSON),
        body=bulk_operations.Line,
        body_media=(bulk.NDJSON, JSON, bulk.MSGPACK),
        parameters=(
            Parameter(
                "answers",
                "all (default): a line each; errors: only errors, and a summary at the end.",
                {"type": "string", "enum": ["all", "errors"]},
            ),
        ),
        errors=(InvalidArgument,),
        hot=True,
        bounded=False,
        streamed=True,
        scope=Scope.WRITE,
        reach=touches.COMMANDS,
    ),
)

OPERATIONS = (
    Route(
        "GET",
        "/v1/embedders",
        list_embedders,
        "What makes vectors of texts",
        "operations",
        Success("All that are configured, and what they do.", EmbedderList),
        scope=Scope.READ,
        reach=touches.FILTERED,
    ),
    Route(
        "POST",
        "/v1/snapshot",
        operations.snapshot,
        "Checkpoint now",
        "operations",
        Success("Done.", bodies.SnapshotTaken),
        errors=WRITE_ERRORS,
        audited=True,
        scope=Scope.ADMIN,
        reach=touches.EVERYTHING,
    ),
    Route(
        "GET",
        "/v1/backup",
        operations.backup,
        "A consistent copy of the database",
        "operations",
        Success("A tar file; `kissvdb restore` reads it.", media="application/x-tar"),
        errors=(NotSupported, Stopping),
        bounded=False,
        audited=True,
        scope=Scope.ADMIN,
        reach=touches.EVERYTHING,
    ),
    Route(
        "GET",
        "/v1/health",
        operations.health,
        "Is the process alive?",
        "operations",
        Success("ok", media=operations.TEXT),
        scope=Scope.PUBLIC,
        reach=touches.NOTHING,
        hot=True,
        waits=False,
        recovered=False,
    ),
    Route(
        "GET",
        "/v1/ready",
        operations.ready,
        "Is the database ready to serve?",
        "operations",
        Success("Ready.", bodies.Ready),
        errors=(Starting, Stopping),
        scope=Scope.PUBLIC,
        reach=touches.NOTHING,
        hot=True,
        waits=False,
        recovered=False,
    ),
    Route(
        "GET",
        "/v1/metrics",
        operations.metrics,
        "Metrics for Prometheus",
        "operations",
        Success("Prometheus text format 0.0.4.", media=METRICS),
        waits=False,
        recovered=False,
        scope=Scope.READ,
        reach=touches.EVERYTHING,
    ),
    Route(
        "GET",
        "/v1/stats",
        stats,
        "The most important metrics as JSON, and how far recovery is",
        "operations",
        Success("Counted since the start.", Stats),
        hot=True,
        waits=False,
        recovered=False,
        scope=Scope.READ,
        reach=touches.EVERYTHING,
    ),
)


PAGES = page_routes(lambda: ROUTES)

ROUTES: tuple[Route, ...] = (
    *STATE,
    *DOCUMENTS,
    *EVENTS,
    *VECTORS,
    *INDEXES,
    *DISKANN,
    *MAPS,
    *SEARCH,
    *SQL,
    *BULK,
    *BATCH,
    *KEYS,
    *MCP,
    *OPERATIONS,
    *PAGES,
)
