"""What a search asks for, read from its request and checked."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import trio

from kissvdb.api.documents.wishes import facet_wishes
from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request
from kissvdb.api.indexes.efforts import effort_of
from kissvdb.api.reading.json_body import INLINE_BYTES_MAX, MistypedField
from kissvdb.api.vectors.forms import (
    OCTETS,
    Form,
    check_namespace,
    filter_of,
    from_query,
    media_of,
    packed,
    vector_of,
)
from kissvdb.api.vectors.search_bodies import (
    K_DEFAULT,
    HighlightBody,
    HybridBody,
    Mode,
    SearchBatchBody,
    SearchBody,
)
from kissvdb.core.search import Search
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.core.text.fields import TEXT_FIELD
from kissvdb.core.text.highlight import Highlighting
from kissvdb.core.text.query import QueryOptions, TextQuery
from kissvdb.core.text.query import parse as parse_text
from kissvdb.errors import DimMismatch, InvalidArgument

if TYPE_CHECKING:
    from kissvdb.core.fusion import Fusion

OFFSET_MAX = 10_000
GROUP_LIMIT_MAX = 100
FIELD_BYTES_MAX = 256

SEARCH = Form(SearchBody)
SEARCH_BATCH = Form(SearchBatchBody)

WORDS_BYTES_MAX = 1024
"""Of a query that is read on the event loop: some 10 us for each word."""

_FIELDS = frozenset({TEXT_FIELD})


class Words(msgspec.Struct, frozen=True):
    """What is asked for of texts: the query as it was typed, to be embedded, and as it is read;
    None where only vectors are searched."""

    text: str
    query: TextQuery | None
    mode: Mode | None
    fusion: "Fusion"
    highlighting: Highlighting | None = None


class Asked(msgspec.Struct, frozen=True):
    """What a request asks for besides its vectors, checked: the search, and what hits hold."""

    search: Search
    meta: bool
    vector: bool
    text: bool
    group_by: str | None = None
    group_limit: int = 1
    words: Words | None = None
    facets: Mapping[str, int] = {}

    @property
    def is_audited(self) -> bool:
        """Whether the index alone answers it."""
        return self.search.is_plain and not self.group_by and self.words is None


class AskedBatch(msgspec.Struct, frozen=True):
    """Several queries: the numbers of their vectors, one after another (None without any), what is
    asked for of their texts (empty without), and what they have in common."""

    vectors: bytes | None
    words: list[Words]
    asked: Asked


def inline_max(body: bytes) -> int:
    """The size up to which the body of a search is read on the event loop."""
    return WORDS_BYTES_MAX if b"text" in body else INLINE_BYTES_MAX


def read(context: Context, request: Request) -> tuple[SearchBody, bytes | None, Asked]:
    """The body of a search, its vector if it brings one, and what it asks for."""
    if media_of(request) == OCTETS:
        body = from_query(request, SearchBody, vector=request.body, vector_b64=None)
    else:
        body = SEARCH.read(context, request)
    vector = vector_of(body.vector, body.vector_b64)
    return body, vector, asked_of(context, request, body, has_vector=vector is not None)


def asked_of(context: Context, request: Request, body: SearchBody, *, has_vector: bool) -> Asked:
    """What a body asks for besides its vector, checked."""
    if has_vector and body.id is not None:
        raise InvalidArgument("body: give either a vector (vector, vector_b64) or an id")
    if not has_vector and body.id is None and body.text is None:
        raise InvalidArgument("body: give a vector (vector, vector_b64), an id or a text")
    if body.id is not None:
        limits.check_id(body.id, context.config.limits, "body.id")
    _check_range(body.group_limit, 1, GROUP_LIMIT_MAX, "body.group_limit")
    if body.group_by is None and body.group_limit is not None:
        raise InvalidArgument("body.group_limit: goes with group_by, which says what makes a group")
    if body.group_by is not None:
        if not 0 < limits.utf8_length(body.group_by) <= FIELD_BYTES_MAX:
            raise InvalidArgument(f"body.group_by: must have 1 to {FIELD_BYTES_MAX} bytes")
        if body.offset or body.explain:
            raise InvalidArgument("body.group_by: goes without offset and explain")
    words = None
    if body.text is not None:
        highlighting = highlighting_of(body.highlight)
        words = words_of(body, body.text, "body.text", highlighting)
    else:
        _check_no_words(body)
    return _asked(
        context,
        request,
        body,
        body.group_by,
        body.group_limit or 1,
        explain=bool(body.explain),
        words=words,
        facets=facet_wishes(body.facets),
    )


def read_batch(context: Context, request: Request, spec: CollectionSpec) -> AskedBatch:
    """The body of a batch of searches."""
    if media_of(request) == OCTETS:
        body = from_query(request, SearchBatchBody, vectors=request.body)
    else:
        body = SEARCH_BATCH.read(context, request)
    if body.vectors is None and body.texts is None:
        raise MistypedField("body: object missing required field vectors (or texts)")
    if body.texts is None:
        _check_no_words(body)
    queries = None if body.vectors is None else _queries(body.vectors, spec)
    count = len(body.texts or ()) if queries is None else len(queries) // spec.vector_bytes
    if body.texts is not None and len(body.texts) != count:
        raise InvalidArgument(f"body: {count} vectors, but {len(body.texts)} texts")
    count_max = context.config.limits.vector_batch_max
    if not 0 < count <= count_max:
        what = "texts" if queries is None else "vectors"
        raise InvalidArgument(
            f"body.{what}: 1 to {count_max} {what}, not {count}: send several requests, or raise "
            "limits.vector_batch_max (MAX_VECTOR_BATCH)"
        )
    words = [words_of(body, text, f"body.texts[{n}]") for n, text in enumerate(body.texts or ())]
    return AskedBatch(queries, words, _asked(context, request, body))


def asked_of_batch(context: Context, request: Request, body: SearchBatchBody) -> Asked:
    """What a batch asks for besides its vectors, and without any texts, checked."""
    _check_no_words(body)
    return _asked(context, request, body)


def _queries(vectors: "list[list[float] | bytes] | bytes", spec: CollectionSpec) -> bytes:
    if isinstance(vectors, bytes):
        queries = packed(vectors, "body.vectors")
        if len(queries) % spec.vector_bytes:
            check_dim(len(queries), spec)
        return queries
    each = [packed(one, f"body.vectors[{n}]") for n, one in enumerate(vectors)]
    for one in each:
        check_dim(len(one), spec)
    return b"".join(each)


def words_of(
    body: "SearchBody | SearchBatchBody",
    text: str,
    where: str,
    highlighting: Highlighting | None = None,
) -> Words:
    """What is asked for of texts. Raises InvalidArgument for a query that cannot be."""
    fusion = fusion_of(body.hybrid)
    if body.mode == "vector":
        if not text.strip():
            raise InvalidArgument(f"{where}: empty")
        return Words(text, None, body.mode, fusion, highlighting)
    return Words(
        text, query_of(text, body.match, body.typos, where), body.mode, fusion, highlighting
    )


def query_of(text: str, match: str | None, typos: str | None, where: str) -> TextQuery:
    """The query in a text. Raises InvalidArgument."""
    options = QueryOptions(match=match or "any", typos=typos or "auto", known=_FIELDS)  # type: ignore[arg-type]
    try:
        return parse_text(text, options)
    except InvalidArgument as refusal:
        raise InvalidArgument(f"{where}: {refusal.message}") from None


async def query_off_loop(text: str, match: str | None, typos: str | None, where: str) -> TextQuery:
    """As ``query_of``, in a thread for a long text."""
    if len(text) <= WORDS_BYTES_MAX:
        return query_of(text, match, typos, where)
    return await trio.to_thread.run_sync(query_of, text, match, typos, where)


def fusion_of(body: HybridBody | None) -> "Fusion":
    """How a hybrid search puts its parts together."""
    # numpy comes with it.
    from kissvdb.core.fusion import Fusion

    if body is None:
        return Fusion()
    return Fusion(body.method, body.text, body.k, body.depth)


def highlighting_of(body: bool | HighlightBody | None) -> Highlighting | None:
    """How passages are marked; None: not at all. Raises InvalidArgument."""
    if not isinstance(body, HighlightBody):
        return Highlighting() if body else None
    made = Highlighting(None, body.pre, body.post, body.length, body.count, body.escape)
    made.check("body.highlight")
    return made


def _check_no_words(body: "SearchBody | SearchBatchBody") -> None:
    """Raises InvalidArgument for what is said of a text where there is none."""
    if body.mode in ("text", "hybrid"):
        raise InvalidArgument(f"body.mode: {body.mode} needs a text")
    for name in ("hybrid", "match", "typos", "highlight"):
        if getattr(body, name, None):
            raise InvalidArgument(f"body.{name}: is about a text, and there is none")


def _asked(
    context: Context,
    request: Request,
    body: SearchBody | SearchBatchBody,
    group_by: str | None = None,
    group_limit: int = 1,
    *,
    explain: bool = False,
    words: Words | None = None,
    facets: Mapping[str, int] | None = None,
) -> Asked:
    k = K_DEFAULT if body.k is None else body.k
    _check_range(k, 1, context.config.limits.k_max, "body.k")
    _check_range(body.offset, 0, OFFSET_MAX, "body.offset")
    if body.min_score is not None and not math.isfinite(body.min_score):
        raise MistypedField("body.min_score: must be a finite number")
    check_namespace(body.namespace, "body.namespace")
    search = Search(
        k=k,
        offset=body.offset or 0,
        tree=filter_of(context, request, body.filters),
        namespace=body.namespace,
        ef=effort_of(context, request, body, k + (body.offset or 0)),
        exact=bool(body.exact),
        min_score=body.min_score,
        explain=explain,
    )
    return Asked(
        search,
        bool(body.include_meta),
        bool(body.include_vector),
        bool(body.include_text),
        group_by,
        group_limit,
        words,
        facets or {},
    )


def _check_range(number: int | None, least: int, most: int, where: str) -> None:
    if number is not None and not least <= number <= most:
        setting = ": the most is limits.k_max (MAX_K)" if where == "body.k" else ""
        raise InvalidArgument(f"{where}: must be {least} to {most}, not {number}{setting}")


def check_dim(length_bytes: int, spec: CollectionSpec) -> None:
    """Raises DimMismatch unless a vector has the collection's length."""
    if length_bytes != spec.vector_bytes:
        raise DimMismatch(
            f"the vector has {length_bytes / 4:g} numbers, collection {spec.name!r} has dim "
            f"{spec.dim}: send {spec.dim} numbers"
        )
