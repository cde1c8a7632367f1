"""Memory for agents: documents with a text, found by words, and by meaning where there is a model.

A memory is a document of its collection. Where an embedder was there when the first one came, it is
also a vector of the collection of that name, both written in one batch. What is superseded stays a
document, and is no vector any more.
"""

import time
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, Literal

import msgspec
import trio
from msgspec import UNSET, UnsetType

from kissvdb.api.mcp import answers
from kissvdb.api.mcp.answers import Memory
from kissvdb.api.mcp.arguments import AsOf, ChangedSince, Forget, Recall, Remember
from kissvdb.api.mcp.asking import Asker, Failed, segment
from kissvdb.api.mcp.changes import Gap, Happened, document_of, events_of, subject_of
from kissvdb.core.state.reserved_keys import document_prefix
from kissvdb.engine.stream.subscription import Subscription

EMBEDDER = "default"
READ_SECS_MAX = 5.0
"""So long is the log read for `changed_since`; what was not reached then is for the next call."""

RecalledBy = Literal["words", "words and meaning"]
_WORDS: RecalledBy = "words"
_MEANING: RecalledBy = "words and meaning"

_NOT_SUPERSEDED = {"superseded_by": {"$exists": False}}


class _Text(msgspec.Struct):
    """What is stored."""

    text: str
    meta: msgspec.Raw | UnsetType = UNSET
    remembered_at: str | UnsetType = UNSET
    supersedes: str | UnsetType = UNSET
    superseded_by: str | UnsetType = UNSET


class _Stored(msgspec.Struct):
    """A document, or a hit of a search."""

    id: str
    doc: msgspec.Raw
    score: float | UnsetType = UNSET
    revision: int | UnsetType = UNSET
    offset: int | UnsetType = UNSET
    expires_at_ms: int | UnsetType | None = UNSET


class _Documents(msgspec.Struct):
    hits: list[_Stored]
    offset: int


class _Vector(msgspec.Struct):
    id: str
    score: float
    meta: Any = None
    text: str | None = None


class _Vectors(msgspec.Struct):
    hits: list[_Vector]


class _Item(msgspec.Struct):
    key: str
    value: msgspec.Raw
    revision: int
    expires_at_ms: int | None
    offset: int


class _Name(msgspec.Struct):
    name: str
    available: bool


class _Embedders(msgspec.Struct):
    embedders: list[_Name]


class _Count(msgspec.Struct):
    count: int
    embedder: Any = None


class _Done(msgspec.Struct):
    offset: int | None
    revision: int = 0
    deleted: bool = False


class _Batch(msgspec.Struct):
    last_offset: int | None
    results: list[_Done]


_text = msgspec.json.Decoder(_Text).decode


def _memory(stored: _Stored) -> Memory:
    known: dict[str, Any] = {
        "score": stored.score,
        "revision": stored.revision,
        "offset": stored.offset,
        "expires_at_ms": stored.expires_at_ms,
    }
    try:
        said = _text(stored.doc)
    except msgspec.MsgspecError:
        return Memory(stored.id, doc=stored.doc, **known)
    return Memory(stored.id, **msgspec.structs.asdict(said), **known)


def iso(ms: int) -> str:
    """A time in milliseconds since 1970 as text (ISO 8601, UTC)."""
    seconds, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def new_id() -> str:
    """Later ones come later in order."""
    return f"{time.time_ns() // 1_000_000:011x}-{token_hex(4)}"


async def remember(asker: Asker, wanted: Remember) -> answers.Remembered:
    id_ = wanted.id or new_id()
    if id_ == wanted.supersedes:
        raise Failed(
            422,
            "invalid_argument",
            "arguments.supersedes: a memory does not supersede itself: leave supersedes out to "
            "replace it",
        )
    _check_both(asker, wanted.collection)
    by_meaning = await _by_meaning(asker, wanted.collection, begin=True)
    meta: dict[str, Any] = {"remembered_at": iso(time.time_ns() // 1_000_000)}
    if not isinstance(wanted.meta, UnsetType) and bytes(wanted.meta) != b"null":
        meta["meta"] = _checked_object(wanted.meta)
    if wanted.supersedes is not None:
        meta["supersedes"] = wanted.supersedes
    ends = {} if wanted.ttl_ms is None else {"ttl_ms": wanted.ttl_ms}
    named = {"collection": wanted.collection, "id": id_}
    operations = [{"op": "doc_put", **named, "doc": {"text": wanted.text, **meta}, **ends}]
    if by_meaning:
        operations.append({"op": "upsert", **named, "text": wanted.text, "meta": meta, **ends})
    body: dict[str, Any] = {"operations": operations}
    if wanted.supersedes is not None:
        operations += await _superseding(asker, wanted, id_, by_meaning=by_meaning)
        former = {"documents": wanted.collection, "id": wanted.supersedes, "if_absent": False}
        body["preconditions"] = [former]
    done = await asker.read(_Batch, "POST", "/v1/batch", body)
    assert done.last_offset is not None
    return answers.Remembered(
        id_,
        wanted.collection,
        _MEANING if by_meaning else _WORDS,
        done.results[0].revision,
        done.last_offset,
    )


def _checked_object(meta: msgspec.Raw) -> msgspec.Raw:
    if not bytes(meta).startswith(b"{"):
        raise Failed(422, "invalid_argument", "arguments.meta: expected an object")
    return meta


async def _superseding(
    asker: Asker, wanted: Remember, id_: str, *, by_meaning: bool
) -> list[dict[str, Any]]:
    """The operations that take the former memory out of what is recalled."""
    former = {"collection": wanted.collection, "id": wanted.supersedes}
    operations = [{"op": "doc_patch", **former, "patch": {"superseded_by": id_}}]
    if by_meaning and await _has_vector(asker, wanted.collection, wanted.supersedes or ""):
        operations.append({"op": "vector_delete", **former})
    return operations


async def recall(asker: Asker, wanted: Recall) -> answers.Recalled:
    try:
        return await _recalled(asker, wanted)
    except Failed as failed:
        failed.message = failed.message.replace("body.text", "body.query", 1)
        raise


async def _recalled(asker: Asker, wanted: Recall) -> answers.Recalled:
    if await _by_meaning(asker, wanted.collection):
        body = {"text": wanted.query, "k": wanted.k, "filters": wanted.filter}
        body |= {"include_meta": True, "include_text": True}
        path = f"/v1/vector/{segment(wanted.collection)}/search"
        try:
            found = await asker.read(_Vectors, "POST", path, body)
            by = _MEANING
        except Failed as failed:
            if failed.code != "embedder_unavailable":
                raise
            found = await asker.read(_Vectors, "POST", path, {**body, "mode": "text"})
            by = _WORDS
        return answers.Recalled(list(map(_of_vector, found.hits)), by)
    conditions = [_NOT_SUPERSEDED]
    if wanted.filter is not None:
        conditions.append(wanted.filter)
    path = f"/v1/doc/{segment(wanted.collection)}/search"
    body = {"text": wanted.query, "k": wanted.k, "filter": {"$and": conditions}}
    body["search_fields"] = {"text": 1}
    hits = await asker.read(_Documents, "POST", path, body)
    return answers.Recalled(list(map(_memory, hits.hits)), _WORDS)


def _of_vector(hit: _Vector) -> Memory:
    meta = hit.meta if isinstance(hit.meta, dict) else {}
    known = {name: meta[name] for name in ("meta", "remembered_at", "supersedes") if name in meta}
    return Memory(hit.id, text=hit.text or "", score=hit.score, **known)


async def as_of(asker: Asker, wanted: AsOf) -> answers.MemoriesAsOf:
    if wanted.id is not None:
        path = f"/v1/doc/{segment(wanted.collection)}/{segment(wanted.id)}"
        one = await asker.read(_Stored, "GET", path, at=wanted.offset)
        return answers.MemoriesAsOf([_memory(one)], wanted.offset, None)
    prefix = document_prefix(wanted.collection)
    query = {"prefix": prefix, "at": wanted.offset, "limit": wanted.limit, "cursor": wanted.cursor}
    items = await asker.read(list[_Item], "GET", "/v1/state", **query)
    memories = [
        _memory(
            _Stored(
                item.key.removeprefix(prefix),
                item.value,
                revision=item.revision,
                offset=item.offset,
                expires_at_ms=item.expires_at_ms,
            )
        )
        for item in items
    ]
    return answers.MemoriesAsOf(memories, wanted.offset, asker.headers.get("kissvdb-cursor"))


async def changed_since(asker: Asker, wanted: ChangedSince) -> answers.Changes:
    prefix = document_prefix(wanted.collection)
    answer = await asker.stream(since=wanted.offset, key_prefix=prefix)
    body = answer.body
    assert isinstance(body, Subscription)
    changes: list[answers.Change] = []
    lost: answers.Lost | UnsetType = UNSET
    more = False

    async def take(blob: bytes) -> None:
        nonlocal lost, more
        for event in events_of(blob):
            if isinstance(event, Gap):
                lost = answers.Lost(event.from_offset, event.to_offset, event.reason)
            elif len(changes) == wanted.limit:
                more = True
                reading.cancel()
                break
            elif (change := _change(event, wanted.collection)) is not None:
                changes.append(change)
        # Where it is cancelled, and where others have their turn.
        await trio.lowlevel.checkpoint()

    try:
        with trio.move_on_after(READ_SECS_MAX) as reading:
            await body.catch_up(take)
    finally:
        await body.aclose()
    late = reading.cancelled_caught and not more
    reached = changes[-1].offset if more else body.offset
    return answers.Changes(changes, reached, more or late, lost)


def _change(event: Happened, collection: str) -> answers.Change | None:
    subject = subject_of(event)
    named = document_of(subject.key)
    if named is None or named[0] != collection or event.offset is None:
        return None
    at, id_ = iso(event.ts_ms), named[1]
    if subject.value is UNSET:
        return answers.Change(event.offset, at, id_, "forgotten", subject.reason)
    stored = _Stored(
        id_,
        subject.value,
        revision=subject.revision,
        offset=event.offset,
        expires_at_ms=subject.expires_at_ms,
    )
    memory = _memory(stored)
    change: Literal["superseded", "remembered"] = (
        "remembered" if isinstance(memory.superseded_by, UnsetType) else "superseded"
    )
    return answers.Change(event.offset, at, id_, change, memory=memory)


async def forget(asker: Asker, wanted: Forget) -> answers.Forgotten:
    _check_both(asker, wanted.collection)
    named = {"collection": wanted.collection, "id": wanted.id}
    operations = [{"op": "doc_delete", **named}]
    if await _by_meaning(asker, wanted.collection) and await _has_vector(
        asker, wanted.collection, wanted.id
    ):
        operations.append({"op": "vector_delete", **named})
    done = await asker.read(_Batch, "POST", "/v1/batch", {"operations": operations})
    return answers.Forgotten(done.results[0].deleted, wanted.id, done.last_offset)


def _check_both(asker: Asker, collection: str) -> None:
    """Who writes memories must be able to write all of them: else one that is forgotten might still
    be recalled by its vector. Decided by the name alone."""
    grants = asker.principal.grants
    if grants is not None and not (
        grants.may_documents(collection) and grants.may_vectors(collection)
    ):
        raise Failed(
            403,
            "forbidden",
            f"memories of {collection[:100]!r} are written by keys whose scopes have that name "
            "among documents and among vectors: use another key, or another collection",
        )


async def _by_meaning(asker: Asker, collection: str, *, begin: bool = False) -> bool:
    """Whether memories of this collection are vectors, too. ``begin``: let those of a new one be
    if there is an embedder; of one that has begun only the later ones would be found."""
    grants = asker.principal.grants
    if grants is not None and not grants.may_vectors(collection):
        return False
    path = segment(collection)
    try:
        found = await asker.read(_Count, "GET", f"/v1/vector/{path}")
    except Failed as failed:
        if failed.status != 404:
            raise
    else:
        return found.embedder is not None
    if not begin or await _is_begun(asker, path):
        return False
    known = await asker.read(_Embedders, "GET", "/v1/embedders")
    if not any(each.available for each in known.embedders if each.name == EMBEDDER):
        return False
    try:
        await asker.ask("POST", f"/v1/vector/{path}", {"embedder": EMBEDDER})
    except Failed as failed:
        # Somebody else was first.
        if failed.code != "already_exists":
            raise
    return True


async def _is_begun(asker: Asker, path: str) -> bool:
    try:
        return (await asker.read(_Count, "GET", f"/v1/doc/{path}")).count > 0
    except Failed as failed:
        if failed.status != 404:
            raise
        return False


async def _has_vector(asker: Asker, collection: str, id_: str) -> bool:
    try:
        await asker.ask("GET", f"/v1/vector/{segment(collection)}/get", id=id_)
    except Failed as failed:
        if failed.status != 404:
            raise
        return False
    return True
