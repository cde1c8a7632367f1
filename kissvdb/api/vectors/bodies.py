"""The JSON of vector collections that goes in and out, as types. See `bodies`.

A vector is an array of numbers, or a string: base64 of its numbers as little-endian float32. In
msgpack it may also be those bytes as they are.
"""

from typing import Annotated, Any, Literal

import attrs
import msgspec
from msgspec import UNSET, UnsetType

from kissvdb.api.bodies import U64, ErrorBody, RequestBody, TtlMs
from kissvdb.api.indexes.bodies import TuningInfo

NO_JSON: Any = None
"""The default of a field that keeps the client's own JSON."""

Numbers = Annotated[
    list[float] | bytes,
    msgspec.Meta(description="The numbers, or base64 of them as little-endian float32."),
]
Metric = Literal["cosine", "dot", "l2"]
Quantization = Literal["auto", "q4", "q8", "none"]
Filters = Annotated[Any, msgspec.Meta(description="An object; see the page on filters.")]


class IndexBody(RequestBody, frozen=True):
    """What a collection is searched by; what is not said is chosen, or stays.

    ``flat`` looks at every vector. ``hnsw`` walks a graph; ``m`` (16): links of a vector,
    ``ef_construction`` (200): candidates that its neighbours are chosen from, ``ef_search``: what a
    search keeps in view unless it says so itself. ``store``: the form of a stored number: ``f16``
    takes half the disk, for cosine, and answers vectors as float16 of length one has them.
    ``ivf`` reads the ``nprobe`` of its ``lists`` of vectors that are nearest to a query.
    ``vamana`` walks a graph whose vectors and links lie in pages on disk; ``max_degree``: links of
    a vector (32), ``search_list_size`` (64): what a search keeps in view,
    ``beam_width`` (8): how many pages it reads together.
    """

    kind: Literal["hnsw", "flat", "ivf", "vamana"] | None = None
    m: Annotated[int, msgspec.Meta(ge=4, le=64)] | None = None
    ef_construction: Annotated[int, msgspec.Meta(ge=1, le=2000)] | None = None
    lists: Annotated[int, msgspec.Meta(ge=1, le=65_536)] | None = None
    nprobe: Annotated[int, msgspec.Meta(ge=1, le=65_536)] | None = None
    max_degree: Annotated[int, msgspec.Meta(ge=8, le=128)] | None = None
    search_list_size: Annotated[int, msgspec.Meta(ge=8, le=65_535)] | None = None
    beam_width: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    ef_search: Annotated[int, msgspec.Meta(ge=1, le=4096)] | None = None
    store: Literal["f32", "f16"] | None = None


@attrs.frozen
class IndexInfo:
    """The index of a collection. See IndexBody."""

    kind: str
    m: int | UnsetType = UNSET
    ef_construction: int | UnsetType = UNSET
    lists: int | UnsetType = UNSET
    nprobe: int | UnsetType = UNSET
    max_degree: int | UnsetType = UNSET
    search_list_size: int | UnsetType = UNSET
    beam_width: int | UnsetType = UNSET
    ef_search: int | UnsetType = UNSET
    store: str | UnsetType = UNSET


class TextBody(RequestBody, frozen=True):
    """How the texts of a collection are searched. ``language``: whose stems words have, or
    ``none``; ``k1`` and ``b``: those of BM25."""

    language: str | None = None
    tokenizer: Literal["words", "keyword", "ngram"] | None = None
    k1: Annotated[float, msgspec.Meta(ge=0, le=10)] | None = None
    b: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


class CreateBody(RequestBody, frozen=True):
    """A new collection. ``ttl_ms`` is the default of its vectors.

    ``embedder`` names what makes vectors of texts: dim and metric are those of its model.
    """

    dim: int | None = None
    metric: Metric | None = None
    embedder: str | None = None
    text: TextBody | None = None
    index: IndexBody | None = None
    quantization: Quantization | None = None
    ttl_ms: TtlMs | None = None


@attrs.frozen
class CollectionCreated:
    """What was created."""

    collection: str
    dim: int
    metric: str
    offset: U64
    embedder: str | UnsetType = UNSET


@attrs.frozen
class CollectionDropped:
    """The collection and all its vectors are gone."""

    deleted: bool
    offset: U64


@attrs.frozen
class CollectionInfo:
    """One collection in the list of all. ``count`` vectors can be found, ``deleted`` rows wait for
    a vacuum; ``bytes`` are those of rows, codes and links.

    The last six are older names, kept for clients that know them: of ``collection``, ``count``,
    ``deleted``, ``bytes``, and (twice) of the rows, deleted ones included.
    """

    collection: str
    dim: int
    metric: str
    count: U64
    deleted: U64
    bytes: U64
    segments: U64
    applied_offset: U64
    created_at_ms: U64
    updated_at_ms: U64
    name: str
    live_count: U64
    deleted_count: U64
    file_len: U64
    total_records: U64
    upsert_count: U64


@attrs.frozen
class Collections:
    """All collections, by name; ``damaged``: what is wrong with those that cannot be opened."""

    collections: list[CollectionInfo]
    damaged: dict[str, str]


@attrs.frozen
class UpkeepInfo:
    """What the background does: the piece of work it is at, and how many it has done."""

    working: str | None
    done: U64


@attrs.frozen
class EmbedderDetail:
    """An embedder that is configured. ``problem``: why it is known that it cannot answer, or how
    its last batch failed. ``waiting``: texts that wait for it; ``embedded``: those it has answered
    since the start; ``cached``: vectors that are kept, ``cache_hits``: texts they answered. A key
    with scopes hears of no work, which is that of all."""

    name: str
    kind: str
    model: str
    dim: U64
    metric: str
    available: bool
    problem: str | UnsetType | None = UNSET
    waiting: U64 | UnsetType = UNSET
    embedded: U64 | UnsetType = UNSET
    cached: U64 | UnsetType = UNSET
    cache_hits: U64 | UnsetType = UNSET


@attrs.frozen
class EmbedderList:
    """All embedders, "default" first."""

    embedders: list[EmbedderDetail]


@attrs.frozen
class EmbedderInfo:
    """What makes vectors of a collection's texts: its name in the configuration, and the model
    that made those there are."""

    name: str
    model: str


class ReindexBody(RequestBody, frozen=True):
    """What a collection gets: another ``index``, another ``quantization``, or an ``embedder`` that
    makes all its vectors anew, of their texts. One of them at least."""

    embedder: str | None = None
    index: IndexBody | None = None
    quantization: Quantization | None = None


@attrs.frozen
class ReindexInfo:
    """What is being done to a collection: ``done`` vectors of ``total`` have the new ``index`` or
    are made by the new ``embedder``, whose model is ``model``; both null where it stays.
    ``waiting``: it is tried again, ``failed``: it is not, ``error`` says why; ``finishing``: what
    is new serves."""

    embedder: str | None
    model: str | None
    index: IndexInfo
    quantization: str
    state: Literal["running", "waiting", "finishing", "failed"]
    done: U64
    total: U64
    started_at_ms: U64
    error: str | None


@attrs.frozen
class ReindexEnded:
    """The collection keeps its vectors and its embedder. ``ended``: there was something to end."""

    ended: bool
    offset: U64 | None


@attrs.frozen
class TextInfo:
    """How the texts of a collection are searched. See TextBody."""

    language: str
    tokenizer: str
    k1: float
    b: float


@attrs.frozen
class RowBytes:
    """What a row takes: of the vectors that are stored, with deleted ones until a vacuum."""

    heap: float
    mapped: float
    disk: float


@attrs.frozen
class MemoryInfo:
    """Bytes: of the process alone, of files that are mapped, and of all files."""

    heap: U64
    mapped: U64
    disk: U64
    bytes_a_row: RowBytes


@attrs.frozen
class CollectionDetail(CollectionInfo):
    """One collection, closely: what the list says of it, and more. ``tail`` vectors are not in the
    index yet and are scanned, ``indexed`` is the part of all that is in it, 0 to 1; ``precision``
    is what the index is searched with; ``recall`` what the last audit found; ``tuning`` what was
    measured when it was tuned; ``damage`` which rows are not what was written and are never
    served."""

    manifest: dict[str, Any]
    notes: list[str]
    index: IndexInfo
    quantization: str
    precision: str
    ttl_ms: U64 | None
    embedder: EmbedderInfo | None
    reindex: ReindexInfo | None
    text: TextInfo
    tail: U64
    upkeep: UpkeepInfo
    recall: float | None
    damage: str | None
    tuning: TuningInfo | None
    memory: MemoryInfo
    indexed: float


class WriteBody(RequestBody, frozen=True):
    """A vector to add. ``vector_b64`` is another name for ``vector`` as base64. In a collection
    with an embedder ``text`` may stand alone: the vector is made of it."""

    id: str
    vector: Numbers | None = None
    vector_b64: bytes | None = None
    text: str | None = None
    meta: msgspec.Raw = NO_JSON
    namespace: str | None = None
    ttl_ms: TtlMs | None = None
    op_id: str | None = None


class UpsertBody(WriteBody, frozen=True):
    """A vector to write whether or not its id has one. ``if_changed``: leave it as it is where it
    has this text and this meta already."""

    if_changed: bool | None = None


class UpdateBody(RequestBody, frozen=True):
    """What of a vector to change: what is absent or null stays. ``meta`` is replaced whole. In a
    collection with an embedder a new ``text`` brings a new vector."""

    id: str
    vector: Numbers | None = None
    vector_b64: bytes | None = None
    text: str | None = None
    meta: msgspec.Raw = NO_JSON
    namespace: str | None = None
    ttl_ms: TtlMs | None = None
    op_id: str | None = None


@attrs.frozen
class VectorWritten:
    """Written, durably, and visible to searches. ``repeated``: it had been, under this op_id.
    ``unchanged``: it was left as it is, see if_changed."""

    ok: bool
    offset: U64
    repeated: Literal[True] | UnsetType = UNSET
    unchanged: Literal[True] | UnsetType = UNSET


class DeleteBody(RequestBody, frozen=True):
    """The vector to delete."""

    id: str
    op_id: str | None = None


@attrs.frozen
class VectorDeleted:
    """Deleted, durably. ``repeated``: it had been, under this op_id."""

    deleted: bool
    offset: U64
    repeated: Literal[True] | UnsetType = UNSET


class UpsertBatchBody(RequestBody, frozen=True):
    """Done in order, each for itself: one that is refused does not stop the others."""

    items: list[UpsertBody]


class DeleteBatchBody(RequestBody, frozen=True):
    """The vectors to delete, each for itself."""

    ids: list[str]


@attrs.frozen
class BatchResult:
    """One item of a batch: what became of it, with ``error`` why it was refused. ``repeated``: it
    had been done, under this op_id."""

    status: Literal["upserted", "deleted", "error"]
    id: str
    offset: U64 | UnsetType = UNSET
    repeated: Literal[True] | UnsetType = UNSET
    unchanged: Literal[True] | UnsetType = UNSET
    error: ErrorBody | UnsetType = UNSET


@attrs.frozen
class BatchResults:
    """One result for each item, in order."""

    results: list[BatchResult]


class DeleteByFilterBody(RequestBody, frozen=True):
    """Which vectors to delete. Everything only with ``all`` true, so that a forgotten filter
    deletes nothing."""

    filters: Filters = None
    namespace: str | None = None
    all: bool | None = None


@attrs.frozen
class DeletedCount:
    """How many were deleted; ``offset`` of the last deletion, null without any."""

    deleted: U64
    offset: U64 | None


@attrs.frozen
class Vacuumed:
    """The live vectors lie together again; ``removed`` dead ones are gone."""

    ok: bool
    removed: U64
