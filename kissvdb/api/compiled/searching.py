"""Searches by vector whose numbers compiled code reads, and whose hits it writes.

What a request asks for besides its vector is said again and again, word for word: filters are
parsed and wishes checked once for each text. Whatever is not plain is left to `vectors.search`.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request
from kissvdb.api.frame.route import JSON
from kissvdb.api.reading.json_body import INLINE_BYTES_MAX, Body
from kissvdb.api.vectors.forms import MSGPACK, OCTETS, from_query, media_of
from kissvdb.api.vectors.search_answers import Answer, exhausted
from kissvdb.api.vectors.search_bodies import SearchBatchBody, SearchBody
from kissvdb.api.vectors.search_requests import (
    Asked,
    AskedBatch,
    asked_of,
    asked_of_batch,
    read_batch,
)
from kissvdb.errors import KissError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from kissvdb.core.rows.view import RowsView
    from kissvdb.core.store.spec import CollectionSpec

REMEMBERED_MAX = 256
REMEMBERED_BYTES_MAX = 2048
"""Requests without their vectors whose meaning is kept, and how long such a one may be."""


class CutBody(SearchBody, frozen=True):
    """The body of a search whose vector was cut out: a number stands in its place."""

    vector: int | None = None  # type: ignore[assignment]


_CUT = Body(CutBody)


class Plain(msgspec.Struct, frozen=True):
    """A search by a vector of the right length, float32 [1, dim]: its body without it, and what it
    asks for. ``text``: what is left of its JSON, with a number in the place of the vector; None for
    raw numbers."""

    body: SearchBody
    vector: "npt.NDArray[np.float32]"
    asked: Asked
    text: bytes | None = None


def read(context: Context, request: Request, view: "RowsView") -> Plain | None:
    """A search whose vector compiled code reads, and whose other wishes are known from a request
    before or soon will be; None for any other, and for whatever is to be refused."""
    json, dim = view.kernels.json, view.spec.dim
    if json is None or not dim or len(request.body) > INLINE_BYTES_MAX:
        return None
    media = media_of(request)
    if media == MSGPACK:
        return None
    if media == OCTETS:
        vector = _numbers(json, request.body, dim)
        text = b""
    else:
        cut = json.cut(request.body, dim, 1)
        text, vector = (b"", None) if cut is None else (cut.text, cut.vectors)
    if vector is None:
        return None
    # How hard it is to try has names that depend on the kind of index.
    key = media, request.query, text, view.spec.index
    known = context.remembered.get(key)
    if known is None:
        known = _meaning(context, request, json, text)
        if known is None:
            return None
        if len(text) + len(request.query) <= REMEMBERED_BYTES_MAX:
            if len(context.remembered) >= REMEMBERED_MAX:
                context.remembered.clear()
            context.remembered[key] = known
    return Plain(known[0], vector, known[1], None if media == OCTETS else text)


def _numbers(json: Any, body: bytes, dim: int) -> "npt.NDArray[np.float32] | None":
    import numpy as np

    if len(body) != 4 * dim:
        return None
    # A copy, since compiled code is of arrays that may be written.
    vector = np.frombuffer(bytearray(body), np.float32)
    return vector[None] if json.are_within(vector) else None


def _meaning(
    context: Context, request: Request, json: Any, text: bytes
) -> tuple[SearchBody, Asked] | None:
    """What a request asks for besides its vector. Whatever is wrong with it is for others to say:
    they read it as a whole."""
    try:
        if text:
            found = _CUT.read(text, strict=context.strict)
            if found.vector is None or not json.are_marks([found.vector]):
                return None
            request = msgspec.structs.replace(request, body=text)
            body: SearchBody = msgspec.structs.replace(found, vector=None)
        else:
            body = from_query(request, SearchBody, vector=None, vector_b64=None)
        if body.vector_b64 is not None or body.text is not None or body.emit:
            return None
        if body.recall is not None:
            # What that means is of one collection, and changes.
            return None
        return body, asked_of(context, request, body, has_vector=True)
    except KissError:
        return None


class CutBatch(SearchBatchBody, frozen=True):
    """The body of a batch whose vectors were cut out: a number stands in their place."""

    vectors: int | None = None  # type: ignore[assignment]


_CUT_BATCH = Body(CutBatch)


def read_any_batch(
    context: Context, request: Request, spec: "CollectionSpec", json: Any
) -> AskedBatch:
    """A batch of searches; of those by vectors in plain JSON, compiled code reads the numbers.
    ``json``: that code; None before it is loaded. Good for any thread."""
    return _read_batch(context, request, spec, json) or read_batch(context, request, spec)


def _read_batch(
    context: Context, request: Request, spec: "CollectionSpec", json: Any
) -> AskedBatch | None:
    if json is None or not spec.dim or media_of(request) != JSON:
        return None
    cut = json.cut_rows(request.body, spec.dim, context.config.limits.vector_batch_max)
    if cut is None:
        return None
    try:
        found = _CUT_BATCH.read(cut.text, strict=context.strict)
        if found.vectors is None or not json.are_marks([found.vectors]) or found.texts is not None:
            return None
        request = msgspec.structs.replace(request, body=cut.text)
        body: SearchBatchBody = msgspec.structs.replace(found, vectors=None)
        return AskedBatch(cut.vectors.tobytes(), [], asked_of_batch(context, request, body))
    except KissError:
        # Others say what is wrong with it.
        return None


def answer(view: "RowsView", asked: Asked, vector: "npt.NDArray[np.float32]") -> Answer | None:
    """The answer to a search that is small enough; None where it takes the usual way to tell.

    Raises SearchTooNarrow.
    """
    found = view.search_as_text(vector, asked.search, meta=asked.meta)
    if found is None:
        return None
    text, count = found
    return Answer(b'{"hits":%b%b}' % (text, exhausted(asked, count)), view.offset)
