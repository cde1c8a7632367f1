"""The route of atomic batches."""

from kissvdb.api.batch import bodies, handlers
from kissvdb.api.frame import reach as touches
from kissvdb.api.frame.route import JSON, Parameter, Route, Scope, Success
from kissvdb.errors import (
    AlreadyExists,
    DimMismatch,
    InvalidArgument,
    MistypedField,
    NotFound,
    OpIdReused,
    Overloaded,
    PersistenceFailed,
    ReservedKey,
    RevisionMismatch,
    Stopping,
)

BATCH = (
    Route(
        "POST",
        "/v1/batch",
        handlers.batch,
        "Do several operations together, all or none",
        "batch",
        Success("All of it is done, durably.", bodies.BatchResults),
        body=bodies.BatchBody,
        body_media=(JSON,),
        parameters=(
            Parameter(
                "Idempotency-Key",
                "The client's name for the batch: a repeat is answered as the first time.",
                {"type": "string", "minLength": 1, "maxLength": 128},
                "header",
            ),
        ),
        errors=(
            InvalidArgument,
            MistypedField,
            DimMismatch,
            NotFound,
            ReservedKey,
            RevisionMismatch,
            AlreadyExists,
            OpIdReused,
            Overloaded,
            Stopping,
            PersistenceFailed,
        ),
        hot=True,
        scope=Scope.WRITE,
        reach=touches.COMMANDS,
    ),
)
