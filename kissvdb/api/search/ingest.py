"""POST /search/ingest: a document to find, with its vector or to be embedded, whole or in chunks.

Of a document that is ingested again the former rows go in the moment the new ones come.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import attrs
import msgspec

from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.reading.json_body import MistypedField, off_loop
from kissvdb.api.search import documents
from kissvdb.api.search.bodies import U32_MAX, ChunkBody, IngestBody
from kissvdb.api.search.documents import COLLECTION, Piece
from kissvdb.api.vectors.forms import Form, packed
from kissvdb.core.rows.rules import Upsert
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.core.text.chunking import Chunking, chunks
from kissvdb.engine.vectors.collection import ReplaceMatching
from kissvdb.errors import (
    AlreadyExists,
    DimMismatch,
    InvalidArgument,
    NotFound,
    PayloadTooLarge,
)

INGEST = Form(IngestBody)
CHUNKS_MAX = 1024
"""Of one document: they are embedded, and written, together."""
EMBEDDER = "default"
"""What a collection that ingest itself creates has its texts embedded by, where there is one."""


@attrs.frozen
class Read:
    """A document, checked: its vector if it brought one, and the pieces it is cut into."""

    body: IngestBody
    vector: bytes | None
    pieces: Sequence[Piece | None]
    texts: Sequence[str]


async def ingest(context: Context, request: Request) -> Response:
    read = await off_loop(request.body, _read, context, request)
    vectors = context.database.vectors
    spec = collection_of_documents(context)
    if read.vector is not None:
        made = [read.vector]
    elif spec is not None:
        made = await vectors.texts.vectors(spec, read.texts)
    else:
        made = await vectors.texts.vectors_by(EMBEDDER, read.texts)
    if spec is None:
        spec = await _create(context, read)
    if read.vector is not None:
        _check_dim(read.vector, spec)
    number, metadata = read.body.document.id, read.body.document.metadata
    members: dict[str, Any] = {} if metadata is None else msgspec.to_builtins(metadata)
    upserts = tuple(
        Upsert(
            documents.row_id(number, piece),
            vector,
            documents.row_meta(number, members, piece),
            text=text or None,
        )
        for piece, text, vector in zip(read.pieces, read.texts, made, strict=True)
    )
    await vectors.replace(COLLECTION, ReplaceMatching(documents.rows_of(number), upserts))
    return Response()


def _read(context: Context, request: Request) -> Read:
    body = INGEST.read(context, request)
    document, chunk = body.document, body.chunk
    if document.id > U32_MAX:
        raise MistypedField(f"body.document.id: must be an integer from 0 to {U32_MAX}")
    group_id = None if document.metadata is None else document.metadata.group_id
    if group_id is not None and group_id > U32_MAX:
        raise MistypedField(f"body.document.metadata.group_id: an integer from 0 to {U32_MAX}")
    vector = None
    if document.vector is not None:
        vector = packed(document.vector, "body.document.vector")
        if not vector:
            raise DimMismatch("body.document.vector: has no numbers: leave it out to have it made")
    if chunk is None:
        _check_content(context, document.content, whole=True)
        if vector is None and not document.content.strip():
            raise InvalidArgument("body.document.content: empty, and there is no vector either")
        return Read(body, vector, [None], [document.content])
    if vector is not None:
        raise InvalidArgument(
            "body.document.vector: chunks get a vector each: leave it out, or ingest each chunk as "
            "a document with its own vector and the same group_id"
        )
    pieces, texts = _cut(document.content, chunk)
    for text in texts:
        _check_content(context, text, whole=False)
    return Read(body, None, pieces, texts)


def _cut(content: str, chunk: ChunkBody) -> tuple[list[Piece], list[str]]:
    found = chunks(content, Chunking(chunk.tokens, chunk.overlap))
    if not found:
        raise InvalidArgument("body.document.content: has no word to make a chunk of")
    if len(found) > CHUNKS_MAX:
        raise PayloadTooLarge(
            f"body.document.content: {len(found)} chunks, the most is {CHUNKS_MAX}: ask for longer "
            "ones (chunk.tokens), or cut it into several documents"
        )
    pieces = [Piece(n, each.start, each.end) for n, each in enumerate(found)]
    return pieces, [each.text for each in found]


def _check_content(context: Context, text: str, *, whole: bool) -> None:
    if whole and limits.utf8_length(text) > context.config.limits.text_bytes_max:
        raise PayloadTooLarge(
            f"body.document.content: over {context.config.limits.text_bytes_max} bytes: cut it "
            'with "chunk", or raise limits.text_bytes_max (KISSVDB_LIMITS_TEXT_BYTES_MAX)'
        )
    limits.check_text(text or None, context.config.limits, "body.document.content: a chunk")


def collection_of_documents(context: Context) -> CollectionSpec | None:
    """What documents are kept in; None before the first of them. Raises Damaged."""
    try:
        return context.database.vectors.find(COLLECTION).actor.rows.spec
    except NotFound:
        return None


async def _create(context: Context, read: Read) -> CollectionSpec:
    """The collection of documents, for the first of them."""
    vectors = context.database.vectors
    made: dict[str, Any] = {"embedder": EMBEDDER}
    if read.vector is not None:
        dim = len(read.vector) // 4
        if not await vectors.texts.makes(EMBEDDER, dim):
            made = {"dim": dim, "metric": "cosine"}
    # Another document may come first: then its collection is the one.
    with suppress(AlreadyExists):
        await vectors.create(COLLECTION, **made)
    return vectors.find(COLLECTION).actor.rows.spec


def _check_dim(vector: bytes, spec: CollectionSpec) -> None:
    if len(vector) != spec.vector_bytes:
        raise DimMismatch(
            f"body.document.vector: has {len(vector) // 4} numbers, the documents there are have "
            f"{spec.dim}: send {spec.dim} numbers, or delete the collection (DELETE /v1/vector/"
            f"{COLLECTION}) to begin with others"
        )
