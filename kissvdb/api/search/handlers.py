"""POST /search: the documents that answer a question, by words, by meaning, or by both."""

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.reading.json_body import off_loop
from kissvdb.api.search import documents
from kissvdb.api.search.bodies import TOP_K_DEFAULT, SearchBody
from kissvdb.api.search.documents import COLLECTION
from kissvdb.api.search.ingest import collection_of_documents
from kissvdb.api.vectors import json_text as vector_json
from kissvdb.api.vectors import text_search
from kissvdb.api.vectors.forms import Form, packed
from kissvdb.api.vectors.search_answers import Answer, parts_of
from kissvdb.api.vectors.search_bodies import HitParts, Mode
from kissvdb.api.vectors.search_requests import (
    GROUP_LIMIT_MAX,
    check_dim,
    fusion_of,
    highlighting_of,
    query_off_loop,
)
from kissvdb.api.vectors.text_search import Query
from kissvdb.core.filters.parse import Node
from kissvdb.core.search import Search
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.core.text.highlight import Highlighter, Highlighting
from kissvdb.core.vector_json import json_numbers
from kissvdb.errors import EmbedderUnavailable, InvalidArgument

if TYPE_CHECKING:
    from kissvdb.core.rows.search import Hits
    from kissvdb.core.rows.view import RowsView

SEARCH = Form(SearchBody)
VECTOR_MARK = "TEST_VEC:"
"""A query that begins so is the numbers of a vector."""
NUMBERS_MAX = 65_536

_json = msgspec.json.encode


class Asked(msgspec.Struct, frozen=True):
    """What a request asks for, checked."""

    body: SearchBody
    top_k: int
    group_limit: int
    tree: Node | None
    highlighting: Highlighting | None

    @property
    def latest(self) -> bool:
        """Only the latest versions."""
        filters = self.body.filters
        return filters is not None and filters.version_policy == "latest"


async def search(context: Context, request: Request) -> Response:
    asked = await off_loop(request.body, _read, context, request)
    body, spec = asked.body, collection_of_documents(context)
    vector = _vector_of(body.query)
    if vector is not None and body.mode not in (None, "vector"):
        raise InvalidArgument(f"body.mode: a vector is searched by, so not {body.mode}")
    if spec is None:
        answer = Answer(_head(asked) + b'[],"exhausted":true}', context.database.last_offset)
        return answer.response()
    query = await _query(context, spec, body, vector)
    # Where nobody chose the mode, it is said when it is less than there could be.
    said = bool(body.explain) or (body.mode is None and _is_less(query.mode, spec, vector))
    answer = await context.database.vectors.look(COLLECTION, partial(_search, query, asked, said))
    return answer.response()


def _read(context: Context, request: Request) -> Asked:
    body = SEARCH.read(context, request)
    k_max = context.config.limits.k_max
    top_k = TOP_K_DEFAULT if body.top_k is None else body.top_k
    if not 1 <= top_k <= k_max:
        raise InvalidArgument(
            f"body.top_k: must be 1 to {k_max}, not {top_k}: the most is limits.k_max (MAX_K)"
        )
    group_limit = 1 if body.group_limit is None else body.group_limit
    if not 1 <= group_limit <= GROUP_LIMIT_MAX:
        raise InvalidArgument(f"body.group_limit: must be 1 to {GROUP_LIMIT_MAX}")
    filters = body.filters
    tree = None
    if filters is not None:
        tree = documents.filter_of(
            category=filters.category, status=filters.status, language=filters.language
        )
    return Asked(body, top_k, group_limit, tree, highlighting_of(body.highlight))


def _vector_of(query: str) -> bytes | None:
    """The vector that a query is in numbers; None for words. Raises InvalidArgument."""
    if not query.startswith(VECTOR_MARK):
        return None
    texts = query[len(VECTOR_MARK) :].split(",", NUMBERS_MAX)
    try:
        numbers = [float(each) for each in texts]
    except ValueError:
        raise InvalidArgument(
            f"body.query: behind {VECTOR_MARK} stand numbers, as in {VECTOR_MARK}1,0"
        ) from None
    return packed(numbers, "body.query")


async def _query(
    context: Context, spec: CollectionSpec, body: SearchBody, vector: bytes | None
) -> Query:
    fusion = fusion_of(body.hybrid)
    if vector is not None:
        check_dim(len(vector), spec)
        return Query("vector", None, vector, fusion)
    if body.mode == "vector":
        if not body.query.strip():
            raise InvalidArgument("body.query: empty")
        words = None
    else:
        words = await query_off_loop(body.query, body.match, body.typos, "body.query")
    mode = body.mode or text_search.default_mode(spec, None)
    if mode == "text":
        return Query("text", words, None, fusion)
    try:
        made = await context.database.vectors.texts.query_vector(spec, body.query)
    except EmbedderUnavailable:
        if body.mode is not None:
            raise
        return Query("text", words, None, fusion)
    return Query(mode, words, made, fusion, spec.embedder_model)


def _is_less(mode: Mode, spec: CollectionSpec, vector: bytes | None) -> bool:
    return vector is None and mode != text_search.default_mode(spec, None)


def _search(query: Query, asked: Asked, said: bool, view: "RowsView") -> Answer:
    # numpy comes with it.
    from kissvdb.api.search.finding import Documents

    body = asked.body
    find, words, _ = text_search.finder(view, query)
    parts: dict[int, HitParts] = {}

    def best(tree: Node | None, want: int) -> "Hits":
        found = find(Search(want, tree=tree, explain=bool(body.explain)))
        if found.parts is not None:
            for place, row in enumerate(found.hits[0].rows.tolist()):
                parts[row] = parts_of(found.parts, place)
        return found.hits[0]

    hits = Documents(view, best, asked.tree, latest=asked.latest).find(
        asked.top_k, body.group_by, asked.group_limit
    )
    highlighter = None
    if asked.highlighting is not None and words is not None:
        highlighter = Highlighter(words, view.spec.text_settings, asked.highlighting)
    text = _head(asked) + _results(view, hits, highlighter, parts)
    if len(hits) < asked.top_k:
        text += b',"exhausted":true'
    if said:
        text += b',"mode":' + _json(query.mode)
    return Answer(text + b"}", view.offset, hits.ids)


def _head(asked: Asked) -> bytes:
    return b'{"query":%b,"top_k":%d,"results":' % (_json(asked.body.query), asked.top_k)


def _results(
    view: "RowsView",
    hits: "Hits",
    highlighter: Highlighter | None,
    parts: dict[int, HitParts],
) -> bytes:
    if not len(hits):
        return b"[]"
    bound = vector_json.Hits(view, meta=False, vector=False)
    scores = json_numbers(hits.scores.astype("<f4", copy=False))[1:-1].split(b",")
    texts = []
    for score, row in zip(scores, hits.rows.tolist(), strict=True):
        members = documents.shown(view.stored(row))
        if highlighter is not None:
            members["highlight"] = text_search.passages(view, row, highlighter)
        if row in parts:
            members["parts"] = parts[row]
        texts.append(bound.fitting(b'{"score":%b,%b' % (score, _json(members)[1:])))
    return b"[%b]" % b",".join(texts)
