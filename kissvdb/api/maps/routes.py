"""The route of maps: a part of the one table in `routes`."""

from kissvdb.api.frame import reach as touches
from kissvdb.api.frame.route import JSON, Route, Scope, Success
from kissvdb.api.maps import bodies, handlers
from kissvdb.api.reading.json_body import MistypedField
from kissvdb.api.vectors.forms import MSGPACK
from kissvdb.errors import InvalidArgument, NotFound

MAPS = (
    Route(
        "POST",
        "/v1/vector/{collection}/map",
        handlers.vector_map,
        "Look at a sample of the vectors in two dimensions",
        "vectors",
        Success(
            "The points.",
            bodies.VectorMap,
            headers={"Kissvdb-Offset": "The offset the answer is true at."},
        ),
        body=bodies.MapBody,
        body_media=(JSON, MSGPACK),
        errors=(InvalidArgument, MistypedField, NotFound),
        hot=True,
        scope=Scope.READ,
        reach=touches.VECTORS,
    ),
)
