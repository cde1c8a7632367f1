"""Batches of vectors in JSON, their numbers read by compiled code."""

from typing import Any

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request
from kissvdb.api.frame.route import JSON
from kissvdb.api.reading.json_body import Body
from kissvdb.api.vectors.bodies import UpsertBatchBody, UpsertBody
from kissvdb.api.vectors.forms import media_of
from kissvdb.errors import KissError


class CutItem(UpsertBody, frozen=True):
    """A vector to write that was cut out: a number stands in its place."""

    vector: int | None = None  # type: ignore[assignment]


class CutBatch(UpsertBatchBody, frozen=True):
    """A batch of these."""

    items: list[CutItem]  # type: ignore[assignment]


_CUT = Body(CutBatch)


def read(
    context: Context, request: Request, json: Any, dim: int
) -> tuple[list[CutItem], Any] | None:
    """The items of a batch without their vectors, and the vectors, float32 [n, dim]; good for any
    thread. None unless each item has one of ``dim`` numbers, and for all that is to be refused:
    others read it as a whole then, and say what is wrong with it.

    ``json``: the compiled code; None before it is loaded.
    """
    if json is None or not dim or media_of(request) != JSON:
        return None
    cut = json.cut(request.body, dim, context.config.limits.vector_batch_max)
    if cut is None:
        return None
    try:
        items = _CUT.read(cut.text, strict=context.strict).items
    except KissError:
        return None
    if len(items) != len(cut.vectors) or not json.are_marks([item.vector for item in items]):
        return None
    if any(item.vector_b64 is not None for item in items):
        return None
    return items, cut.vectors
