"""The routes about what collections are searched by: a part of the one table in `routes`."""

from kissvdb.api.frame import reach as touches
from kissvdb.api.frame.route import JSON, Route, Scope, Success
from kissvdb.api.indexes import bodies, tune
from kissvdb.api.reading.json_body import MistypedField
from kissvdb.api.vectors.forms import MSGPACK
from kissvdb.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
    Overloaded,
    PersistenceFailed,
    Stopping,
)

INDEXES = (
    Route(
        "POST",
        "/v1/vector/{collection}/tune",
        tune.tune,
        "Measure how hard searches have to try to find enough, and have them do so",
        "vectors",
        Success("What was measured, and what was chosen.", bodies.Tuned),
        scope=Scope.ADMIN,
        reach=touches.VECTORS,
        body=bodies.TuneBody,
        body_media=(JSON, MSGPACK),
        errors=(
            InvalidArgument,
            MistypedField,
            NotFound,
            AlreadyExists,
            Overloaded,
            Stopping,
            PersistenceFailed,
        ),
        hot=True,
        bounded=False,
        audited=True,
    ),
)
