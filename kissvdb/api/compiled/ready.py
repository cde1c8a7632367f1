"""Searches by vector that came before, word for word but for their numbers.

What such a search asks for is known, and on a view that did not change also which way it goes: what
is left is to read the vector, to walk and to write the hits. The first two of each kind are
answered by `vectors.search`, which notes them here. Whatever is not answered here, it answers.
"""

from typing import TYPE_CHECKING, Any, Final

import msgspec

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Headers, Request, Response
from kissvdb.api.frame.route import JSON
from kissvdb.api.reading.json_body import INLINE_BYTES_MAX
from kissvdb.api.vectors.forms import OCTETS
from kissvdb.api.vectors.search_requests import Asked
from kissvdb.core.search import Search
from kissvdb.engine.vectors.registry import OpenCollection

if TYPE_CHECKING:
    from kissvdb.core.rows.view import RowsView

READY_MAX: Final = 64
"""Searches that one view keeps ready, each with the bitmap of its filter."""
REMEMBERED_BYTES_MAX: Final = 2048
_NAME, _OPEN, _CLOSE = b'"vector"', b"[", b"]"


class Kept(msgspec.Struct, frozen=True):
    """A search that is ready (`numbers.ready.Ready`), and what its answers have in common: how they
    end where there are fewer hits than ``least``."""

    ready: Any
    headers: Headers
    least: int
    audited: Search | None


def answer(request: Request, found: OpenCollection, view: "RowsView") -> Response | None:
    """The answer to a search that came before; None where there is none yet, or it is odd."""
    ready, body = view.ready, request.body
    if not ready or len(body) > INLINE_BYTES_MAX:
        return None
    media = request.headers.get("content-type", JSON)
    if media == OCTETS:
        kept = ready.get((OCTETS, request.query))
        if kept is None:
            return None
    else:
        start = body.find(_OPEN, body.find(_NAME)) + 1
        stop = body.find(_CLOSE, start)
        kept = ready.get((media, request.query, body[:start], body[stop:]))
        if kept is None:
            return None
    # numpy comes with it, and is there by now.
    from kissvdb.core.rows.view import SearchTooNarrow

    try:
        if media == OCTETS:
            hits = kept.ready.of_numbers(body)
        else:
            hits = kept.ready.of_json(body, start, stop + 1)
    except SearchTooNarrow:
        return None
    if hits is None:
        return None
    text, count = hits
    if kept.audited is not None:
        found.audit.note(kept.ready.vector, kept.audited)
    end = b'{"hits":%b,"exhausted":true}' if count < kept.least else b'{"hits":%b}'
    return Response(end % text, headers=kept.headers)


def keep(
    context: Context, request: Request, view: "RowsView", asked: Asked, text: bytes | None
) -> None:
    """A search that is quick came, and the second time on this view: from now on searches like it
    are ready there. ``text``: what is left of its body without the vector, and one number in its
    place; None for raw numbers."""
    key = _key(request, text)
    if key is None:
        return
    if key not in view.ready:
        # To make it ready costs as much as it spares once, and the next write brings a new view.
        if len(view.ready) >= READY_MAX:
            view.ready.clear()
        view.ready[key] = None
        return
    ready = view.ready_for(asked.search, context.memories, meta=asked.meta)
    if ready is None:
        return
    headers = (("kissvdb-offset", str(view.offset)),)
    least = asked.search.k if asked.search.narrowed else 0
    audited = asked.search if asked.is_audited else None
    view.ready[key] = Kept(ready, headers, least, audited)


def _key(request: Request, text: bytes | None) -> Any:
    """What `answer` looks for; None if the vector is not where it looks for it, or all the rest is
    long."""
    media, query, body = request.headers.get("content-type", JSON), request.query, request.body
    if text is None:
        return (OCTETS, query) if media == OCTETS and len(query) <= REMEMBERED_BYTES_MAX else None
    start = body.find(_OPEN, body.find(_NAME)) + 1
    stop = body.find(_CLOSE, start)
    before, behind = body[: start - 1], body[stop + 1 :]
    if not start or stop < 0 or len(text) + len(query) > REMEMBERED_BYTES_MAX:
        return None
    # The number stands where the array was, and nowhere else.
    middle = text[len(before) : len(text) - len(behind)]
    if not (text.startswith(before) and text.endswith(behind) and middle.isdigit()):
        return None
    return media, query, body[:start], body[stop:]
