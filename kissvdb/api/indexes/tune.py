"""Tuning a collection over HTTP."""

import msgspec

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.indexes.bodies import TuneBody, Tuned, TuningInfo
from kissvdb.api.reading.json_body import off_loop
from kissvdb.api.vectors.collections import collection_of
from kissvdb.api.vectors.forms import Form
from kissvdb.core.store.options import EFFORTS
from kissvdb.engine.vectors.tuning import Wanted
from kissvdb.errors import InvalidArgument

TUNE = Form(TuneBody)


async def tune(context: Context, request: Request) -> Response:
    name = collection_of(context, request)
    body = await off_loop(request.body, TUNE.read, context, request)
    k_max = context.config.limits.k_max
    if body.k > k_max:
        raise InvalidArgument(f"body.k: must be 1 to {k_max}: the most is limits.k_max (MAX_K)")
    vectors = context.database.vectors
    wanted = Wanted(body.recall, body.k, body.queries)
    measured, rung, offset = await vectors.tune(name, wanted)
    kind = vectors.find(name).spec.index
    ladder = measured.tuning.ladder
    note = None
    if not ladder:
        note = "every search looks at all vectors, and finds the nearest: there is nothing to tune"
    elif rung is None:
        note = (
            "no effort finds so much, and nothing was changed: ask for less, or reindex with a "
            "finer quantization or a larger index"
        )
    most = max((each.recall for each in ladder), default=1.0)
    answer = Tuned(
        collection=name,
        kind=kind,
        option=EFFORTS.get(kind) if ladder else None,
        wanted=body.recall,
        effort=None if rung is None else rung.effort,
        reached=most if rung is None else rung.recall,
        searches=measured.searches,
        tuning=TuningInfo.of(measured.tuning),
        offset=offset,
        note=note,
    )
    return Response(msgspec.json.encode(answer))
