"""Embedders over HTTP: which there are, and what they do."""

import attrs
import msgspec

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.vectors.bodies import EmbedderDetail, EmbedderList


async def list_embedders(context: Context, request: Request) -> Response:
    """What is configured. Nothing is started for it."""
    embedders = context.database.embedders
    await embedders.load()
    details = []
    for name in embedders.names:
        found = embedders.find(name)
        numbers, problem = found.statistics(), found.problem()
        detail = EmbedderDetail(
            name=name,
            kind=embedders.kind_of(name),
            model=found.model,
            dim=found.dim,
            metric=found.metric,
            available=problem is None,
        )
        if request.principal.grants is None:
            detail = attrs.evolve(
                detail,
                problem=problem,
                waiting=numbers.waiting,
                embedded=numbers.embedded,
                cached=numbers.cached,
                cache_hits=numbers.hits,
            )
        details.append(detail)
    return Response(msgspec.json.encode(EmbedderList(details)))
