"""Full text search over documents."""

import math
import time
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from kissvdb.api.documents.find import FIND_BYTES_MAX, document_members, facets_text, tree_of
from kissvdb.api.documents.names import collection_of
from kissvdb.api.documents.projection import Projection
from kissvdb.api.documents.search_bodies import (
    DocumentHighlightBody,
    DocumentSearchBody,
    DocumentSearchExplanation,
)
from kissvdb.api.documents.wishes import check_field, facet_wishes, projection
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.reading.json_body import INLINE_BYTES_MAX, Body, MistypedField, read_then
from kissvdb.api.vectors import quick
from kissvdb.api.vectors.search_bodies import K_DEFAULT
from kissvdb.core.filters import notes as filter_notes
from kissvdb.core.filters.parse import MISSING
from kissvdb.core.search import Search
from kissvdb.core.text.highlight import Highlighter, Highlighting, to_json
from kissvdb.core.text.query import QueryOptions, TextQuery
from kissvdb.core.text.query import parse as parse_text
from kissvdb.core.text.typos import corrected
from kissvdb.errors import InvalidArgument, NotFound, PayloadTooLarge
from kissvdb.telemetry import parts

if TYPE_CHECKING:
    # Not at run time: numpy comes with it.
    from kissvdb.core.rows.search import Hits
    from kissvdb.core.rows.view import RowsView

OFFSET_MAX = 10_000
GROUP_LIMIT_MAX = 100

SEARCH = Body(DocumentSearchBody)

_json = msgspec.json.encode


class Asked(msgspec.Struct, frozen=True):
    """A search, checked, but for the words: what of them are fields, the collection knows."""

    text: str
    options: QueryOptions
    search: Search
    part: Projection | None
    highlighting: Highlighting | None
    group_by: str | None
    group_limit: int
    count: bool
    facets: Mapping[str, int]


def search(context: Context, request: Request) -> Response | Awaitable[Response]:
    collection = collection_of(context, request)
    large = len(request.body) > INLINE_BYTES_MAX
    then = partial(_search_one, context, collection, large=large)
    return read_then(request.body, _read, context, request, then=then)


def _search_one(
    context: Context, collection: str, asked: Asked, *, large: bool
) -> Response | Awaitable[Response]:
    """A quick search is done here: the way to a thread and back costs more than 100 us."""
    view = None if large else context.database.documents.view_now(collection)
    if view is None or asked.group_by or asked.highlighting or asked.count or asked.facets:
        return _search_in_thread(context, collection, asked)
    known = [] if view.texts is None else view.texts.paths
    query = quick.known_words(view, _query(asked, known), asked.search, with_answers=True)
    if query is None:
        return _search_in_thread(context, collection, asked)
    found = parts.timed(parts.SEARCH, _search, view, asked, time.perf_counter_ns(), query)
    return _response(*found)


async def _search_in_thread(context: Context, collection: str, asked: Asked) -> Response:
    started_ns = time.perf_counter_ns()
    try:
        text, offset = await context.database.documents.look(
            collection, partial(_search, asked=asked, started_ns=started_ns)
        )
    except NotFound:
        offset = context.database.last_offset
        text, offset = await trio.to_thread.run_sync(_nothing, asked, offset)
    return _response(text, offset)


def _response(text: bytes, offset: int) -> Response:
    return Response(text, headers=(("kissvdb-offset", str(offset)),))


def _read(context: Context, request: Request) -> Asked:
    body = SEARCH.read(request.body, strict=context.strict)
    k = K_DEFAULT if body.k is None else body.k
    k_max = context.config.limits.k_max
    if not 1 <= k <= k_max:
        raise InvalidArgument(
            f"body.k: must be 1 to {k_max}, not {k}: the most is limits.k_max (MAX_K)"
        )
    if not 0 <= (body.offset or 0) <= OFFSET_MAX:
        raise InvalidArgument(f"body.offset: must be 0 to {OFFSET_MAX}, not {body.offset}")
    if body.min_score is not None and not math.isfinite(body.min_score):
        raise MistypedField("body.min_score: must be a finite number")
    if body.group_limit is not None and not 1 <= body.group_limit <= GROUP_LIMIT_MAX:
        raise InvalidArgument(f"body.group_limit: must be 1 to {GROUP_LIMIT_MAX}")
    if body.group_by is not None:
        check_field(body.group_by, "body.group_by")
        if body.offset or body.explain:
            raise InvalidArgument("body.group_by: goes without offset and explain")
    asked = Search(
        k=k,
        offset=body.offset or 0,
        tree=tree_of(context, request, body.filter, body.filters),
        min_score=body.min_score,
        explain=bool(body.explain),
    )
    return Asked(
        body.text,
        QueryOptions(body.match or "any", body.typos or "auto", _weights(body)),
        asked,
        projection(body.fields),
        _highlighting(body.highlight),
        body.group_by,
        body.group_limit or 1,
        bool(body.count),
        facet_wishes(body.facets),
    )


def _weights(body: DocumentSearchBody) -> Mapping[str, float] | None:
    fields = body.search_fields
    if not fields:
        return None
    for path in fields:
        check_field(path, "body.search_fields")
    return fields if isinstance(fields, dict) else dict.fromkeys(fields, 1.0)


def _highlighting(body: bool | DocumentHighlightBody | None) -> Highlighting | None:
    if not isinstance(body, DocumentHighlightBody):
        return Highlighting() if body else None
    fields = None if body.fields is None else tuple(body.fields)
    made = Highlighting(fields, body.pre, body.post, body.length, body.count, body.escape)
    made.check("body.highlight")
    return made


def _query(asked: Asked, known: Sequence[str]) -> TextQuery:
    """The words, read as those of a collection with these fields. Raises InvalidArgument."""
    options = asked.options
    fields = frozenset([*known, *(options.fields or ())])
    read = QueryOptions(options.match, options.typos, options.fields, fields)
    try:
        return parse_text(asked.text, read)
    except InvalidArgument as refusal:
        raise InvalidArgument(f"body.text: {refusal.message}") from None


def _search(
    view: "RowsView", asked: Asked, started_ns: int, query: TextQuery | None = None
) -> tuple[bytes, int]:
    queue_us = (time.perf_counter_ns() - started_ns) // 1000
    fixed: Mapping[str, Sequence[str]] = {}
    if query is None:
        known = [] if view.texts is None else view.texts.paths
        query, fixed = corrected(_query(asked, known), view.texts)
    answer = _Answer(view, asked, query)
    if asked.group_by is not None:
        groups = view.grouped(
            lambda search: view.search_text(query, search).hits[0],
            asked.search,
            asked.group_by,
            asked.group_limit,
        )
        texts = [
            b'{"hits":%b%b}'
            % (
                answer.hits(group.hits),
                b"" if group.value is MISSING else b',"value":' + _json(group.value),
            )
            for group in groups
        ]
        text, few = b'{"groups":[%b]' % b",".join(texts), len(groups) < asked.search.k
        explanation = None
    else:
        found = view.search_text(query, asked.search)
        text, few = b'{"hits":' + answer.hits(found.hits[0]), found.exhausted[0]
        explanation = found.explanation
    text += b',"offset":%d%b' % (view.offset, b',"exhausted":true' if few else b"")
    before_ns = time.perf_counter_ns()
    text += answer.of_all_that_match()
    if explanation is not None:
        told = DocumentSearchExplanation(
            plan=explanation.plan,
            selectivity=explanation.selectivity,
            rows=explanation.rows,
            queue_us=queue_us,
            filter_us=explanation.filter_us,
            text_us=explanation.text_us,
            order_us=explanation.order_us,
            facets_us=(time.perf_counter_ns() - before_ns) // 1000,
            ignored=explanation.ignored,
            corrected={word: list(others) for word, others in fixed.items()},
            notes=filter_notes.about(asked.search.tree, view.count),
        )
        text += b',"explain":' + _json(told)
    return text + b"}", view.offset


class _Answer:
    """The parts of one answer, which together are bounded."""

    def __init__(self, view: "RowsView", asked: Asked, query: TextQuery) -> None:
        self._view = view
        self._asked = asked
        self._query = query
        self._room = FIND_BYTES_MAX
        self._highlighter = None
        if asked.highlighting is not None:
            settings = view.spec.text_settings
            self._highlighter = Highlighter(query, settings, asked.highlighting)

    def hits(self, found: "Hits") -> bytes:
        """An array of hits. Raises PayloadTooLarge: a search has no next page for the rest."""
        from kissvdb.core.vector_json import json_numbers

        if not len(found):
            return b"[]"
        # As the shortest decimals of their float32.
        scores = json_numbers(found.scores.astype("<f4"))[1:-1].split(b",")
        texts = []
        for score, row in zip(scores, found.rows.tolist(), strict=True):
            texts.append(self._hit(score, row))
            self._room -= len(texts[-1])
            if self._room < 0:
                raise PayloadTooLarge(
                    f"the answer would be over {FIND_BYTES_MAX} bytes: ask for fewer hits, or with "
                    "fields for a part of the documents"
                )
        return b"[%b]" % b",".join(texts)

    def _hit(self, score: bytes, row: int) -> bytes:
        text = b'{"score":%b,%b' % (score, document_members(self._view, row, self._asked.part))
        if self._highlighter is not None:
            document = self._view.data.document(row)
            pairs = self._texts(document)
            text += b',"highlight":' + _json(to_json(self._highlighter.passages(pairs)))
        return text + b"}"

    def _texts(self, document: Any) -> list[tuple[str, str]]:
        from kissvdb.core.text.fields import texts_of

        return texts_of(document, self._view.spec.text_settings)

    def of_all_that_match(self) -> bytes:
        """The count and the facets, if they are asked for."""
        asked, view = self._asked, self._view
        if not asked.count and not asked.facets:
            return b""
        from kissvdb.core import bitmaps
        from kissvdb.core.rows.find import facets_of

        words = view.matching(self._query, asked.search.tree)
        text = b',"count":%d' % bitmaps.count(words) if asked.count else b""
        if asked.facets:
            text += facets_text(facets_of(view, words, asked.facets, view.data.document))
        return text


def _nothing(asked: Asked, offset: int) -> tuple[bytes, int]:
    from kissvdb.core.metadata.facets import Facet

    # What is wrong with the words is so in any collection.
    _query(asked, ())
    name = b"hits" if asked.group_by is None else b"groups"
    text = b'{"%b":[],"offset":%d,"exhausted":true' % (name, offset)
    if asked.count:
        text += b',"count":0'
    if asked.facets:
        text += facets_text({path: Facet([], 0) for path in asked.facets})
    if asked.search.explain:
        told = DocumentSearchExplanation("empty", 0.0, 0, 0, 0, 0, 0, 0, 0, {}, [])
        text += b',"explain":' + _json(told)
    return text + b"}", offset
