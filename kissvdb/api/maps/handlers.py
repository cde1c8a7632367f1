"""POST /v1/vector/{collection}/map: its vectors in a plane, computed in a search thread."""

from typing import TYPE_CHECKING, Any

import msgspec

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.maps.bodies import MapBody, MapPoint, VectorMap
from kissvdb.api.reading.json_body import off_loop
from kissvdb.api.vectors.collections import collection_of
from kissvdb.api.vectors.forms import Form, check_namespace, filter_of
from kissvdb.errors import InvalidArgument

if TYPE_CHECKING:
    from kissvdb.core.rows.view import RowsView

SAMPLE_DEFAULT = 2000
SAMPLE_MAX = 5000
NUMBERS_MAX = 2_000_000
"""Of all vectors in a sample: 8 MB, and some tenths of a second of a core. Vectors of more than
400 numbers are fewer."""
VALUE_CHARACTERS_MAX = 120

MAP = Form(MapBody)


async def vector_map(context: Context, request: Request) -> Response:
    collection = collection_of(context, request)
    body = MapBody()
    if request.body:
        body = await off_loop(request.body, MAP.read, context, request)
    wanted = SAMPLE_DEFAULT if body.sample is None else body.sample
    if not 1 <= wanted <= SAMPLE_MAX:
        raise InvalidArgument(f"body.sample: must be 1 to {SAMPLE_MAX}, not {wanted}")
    if body.field == "":
        raise InvalidArgument("body.field: must name a field of the metadata, or be left out")
    tree = filter_of(context, request, body.filters)
    check_namespace(body.namespace, "body.namespace")

    def job(view: "RowsView") -> tuple[bytes, int]:
        most = max(1, min(wanted, NUMBERS_MAX // view.data.dim))
        made = view.project(most, tree, body.namespace)
        places = zip(made.rows.tolist(), made.points.tolist(), strict=True)
        points = [
            MapPoint(view.data.id_at(row), x, y, _value(view, row, body.field))
            for row, (x, y) in places
        ]
        answer = VectorMap(points, made.passing, list(made.explained), view.offset)
        return msgspec.json.encode(answer), view.offset

    text, offset = await context.database.vectors.look(collection, job)
    return Response(text, headers=(("kissvdb-offset", str(offset)),))


def _value(view: "RowsView", row: int, field: str | None) -> Any:
    """What a point is coloured by; UNSET for what has no colour."""
    from kissvdb.core.filters.parse import MISSING

    if field is None:
        return msgspec.UNSET
    value = view.metadata.value_at(row, field, view.data.document)
    if isinstance(value, list):
        value = value[0] if value else None
    if value is MISSING or value is None or isinstance(value, list | dict):
        return msgspec.UNSET
    return value[:VALUE_CHARACTERS_MAX] if isinstance(value, str) else value
