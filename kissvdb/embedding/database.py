"""The database as `kissvdb.open_database` gives it."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from kissvdb.api.batch import handlers as batches
from kissvdb.api.events.handlers import EVENT, checked
from kissvdb.api.frame import limits
from kissvdb.api.frame.context import Context
from kissvdb.api.frame.http import Request
from kissvdb.config import Config
from kissvdb.core.atomic import BatchAnswer
from kissvdb.core.events.publishing import Publish, Published, StreamQuery
from kissvdb.core.state.rules import (
    ALWAYS,
    Command,
    Delete,
    Deleted,
    Patch,
    Precondition,
    Put,
    Written,
)
from kissvdb.embedding import json_values
from kissvdb.embedding.documents import Documents
from kissvdb.embedding.events import Events
from kissvdb.embedding.items import Item, Page, item_of
from kissvdb.embedding.sql import Sql
from kissvdb.embedding.vectors import Vectors
from kissvdb.engine import database as engine
from kissvdb.engine import opening


@asynccontextmanager
async def open_database(config: Config | None = None) -> AsyncIterator["Database"]:
    """Open (or create) the database of a directory and run it for the length of the block.

    Without a ``config`` the directory is ``./data``; ``Storage(memory=True)`` keeps nothing.
    Recovers first: on entry every acknowledged write is there. Raises DirectoryInUse, Damaged and
    ConfigError, and RuntimeError outside Trio. When an owner of data fails, the block ends in an
    ExceptionGroup.
    """
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        raise RuntimeError(
            "kissvdb runs on Trio, and this program does not: start it with trio.run(main); from "
            "asyncio run `kissvdb serve` and use HTTP"
        ) from None
    async with opening.open_database(config) as opened:
        yield Database(opened)


class Database:
    """Keys, documents, events, the stream and vectors, in this process. Made by `open_database`.

    Writes answer when they are durable. A write that is cancelled, or fails with Stopping after
    it was sent, may still happen: use a precondition or an ``op_id`` to repeat it safely. Every
    write may also raise Overloaded and PersistenceFailed, and InvalidArgument or PayloadTooLarge
    for what the server would refuse, too.
    """

    __slots__ = ("_database", "_documents", "_sql", "_vectors")

    def __init__(self, database: engine.Database) -> None:
        self._database = database
        self._documents = Documents(database)
        self._sql = Sql(database)
        self._vectors = Vectors(database.vectors)

    # Keys

    def get(self, key: str) -> Item | None:
        """The key as of the last answered write; None when absent or expired. Never waits.

        Its ``value`` is a Python value, its ``json`` the bytes.
        """
        found = self._database.get(key)
        return None if found is None else item_of(found)

    async def list(self, prefix: str = "", *, limit: int = 100, after: str | None = None) -> Page:
        """Live keys with this prefix in byte order, from after ``after`` on."""
        found = await self._database.list(prefix, limit=limit, after=after)
        return Page([item_of(each) for each in found.items], found.offset, found.cursor)

    async def put(
        self,
        key: str,
        value: Any,
        *,
        ttl_ms: int | None = None,
        if_revision: int | None = None,
        if_offset: int | None = None,
        op_id: str | None = None,
    ) -> Written:
        """Set a key to a Python value that JSON can hold.

        ``if_revision``: only if the key has it; 0 is for a key that is not there. ``if_offset``:
        only if it was last written there. Raises RevisionMismatch.
        """
        text = self._checked(key, value, ttl_ms)
        condition = _condition(if_revision, if_offset)
        answer = await self._write(Put(key, text, ttl_ms, condition, op_id))
        assert isinstance(answer, Written)
        return answer

    async def patch(
        self,
        key: str,
        patch: Any,
        *,
        ttl_ms: int | None = None,
        if_revision: int | None = None,
        if_offset: int | None = None,
        op_id: str | None = None,
    ) -> Written:
        """Merge a patch (RFC 7396) into a key's value: None removes a member."""
        text = self._checked(key, patch, ttl_ms)
        condition = _condition(if_revision, if_offset)
        answer = await self._write(Patch(key, text, ttl_ms, condition, op_id))
        assert isinstance(answer, Written)
        return answer

    async def delete(
        self,
        key: str,
        *,
        if_revision: int | None = None,
        if_offset: int | None = None,
        op_id: str | None = None,
    ) -> Deleted:
        """Remove a key; ``deleted`` is False when there was none."""
        limits.check_key(key, self._database.config.limits)
        answer = await self._write(Delete(key, _condition(if_revision, if_offset), op_id))
        assert isinstance(answer, Deleted)
        return answer

    async def batch(
        self,
        operations: Sequence[Mapping[str, Any]],
        preconditions: Sequence[Mapping[str, Any]] = (),
        *,
        op_id: str | None = None,
    ) -> BatchAnswer:
        """Do several operations together, all or none: ``{"op": "put", "key": ..., "value": ...}``
        and so on, as over HTTP (docs/batch.md), and so are ``preconditions``.

        Answers a result for each operation, with its ``offset`` and, of a key, its ``revision``.
        With an ``op_id`` a repeat is answered as the first time. What is refused says in its
        ``operation`` or ``precondition`` which one it was, counted from 0.
        """
        sent = {"operations": operations, "preconditions": preconditions, "op_id": op_id}
        body = json_values.encode(sent, "batch")
        inner = self._database
        context = Context(inner, inner.config, inner.metrics)
        found = batches.read(context, Request("POST", "/v1/batch", body=body))
        return await batches.write(context, found)

    # Events and the stream

    async def publish(self, event: Mapping[str, Any], *, op_id: str | None = None) -> Published:
        """Append an event to the log: ``{"type": ..., "data": ...}``, as over HTTP.

        Optional: ``key``, ``tags``, and ``transient`` for one that is streamed to who listens now
        and not kept; its ``offset`` is None.
        """
        found = self._event(event, "body")
        if limits.checked_op_id(op_id) is not None:
            found = Publish(found.type, found.data, found.key, found.tags, found.transient, op_id)
        return await self._database.publish(found)

    async def publish_batch(self, events: Sequence[Mapping[str, Any]]) -> int:
        """Append several events at once, all or none; answers the first of their offsets, which
        are consecutive."""
        found = [self._event(each, f"events[{place}]") for place, each in enumerate(events)]
        return await self._database.publish_batch(found)

    def subscribe(
        self,
        *,
        since: int | None = 0,
        types: str | Iterable[str] = (),
        key: str | None = None,
        key_prefix: str | None = None,
        collection: str | None = None,
        job_id: str | None = None,
        tag: str | None = None,
        vectors: bool = True,
        epoch: str | None = None,
    ) -> Events:
        """The events after offset ``since`` that pass every given filter, and then what comes.

        ``since`` None: from now on. ``types``: one, or several of which one must be. ``job_id``
        and ``tag`` look into the value or data. Without ``vectors`` the events of vectors come
        without their numbers. ``epoch``: that of ``since``, if it was kept. Raises Overloaded and
        Stopping.
        """
        query = StreamQuery(
            since=since,
            types=frozenset([types] if isinstance(types, str) else types),
            key=key,
            key_prefix=key_prefix,
            collection=collection,
            job_id=job_id,
            tag=tag,
            vectors=vectors,
            epoch=epoch,
        )
        return Events(self._database.subscribe(query))

    # Vectors

    @property
    def vectors(self) -> Vectors:
        """The vector collections."""
        return self._vectors

    @property
    def documents(self) -> Documents:
        """The collections of documents."""
        return self._documents

    @property
    def sql(self) -> Sql:
        """The SQL database, and everything else in one SELECT."""
        return self._sql

    # The whole

    @property
    def last_offset(self) -> int:
        """The newest durable offset; 0 when there is none."""
        return self._database.last_offset

    @property
    def epoch(self) -> str:
        """The name of the history that offsets are places in: a restored backup has another."""
        return self._database.epoch

    async def snapshot(self) -> int:
        """Checkpoint everything now; answers the offset up to which all is in durable files."""
        return await self._database.snapshot()

    def backup(self) -> AsyncIterator[bytes]:
        """A tar of the whole database, consistent at one offset, while it goes on: iterate it in
        ``contextlib.aclosing``.

        Raises NotSupported in memory.
        """
        return self._database.backup()

    # Inside

    async def _write(self, command: Command) -> object:
        return await self._database.write(command)

    def _checked(self, key: str, value: Any, ttl_ms: int | None) -> bytes:
        """The JSON of a value, once all is as the server wants it."""
        bounds = self._database.config.limits
        limits.check_key(key, bounds)
        limits.check_ttl(ttl_ms, "ttl_ms")
        text = json_values.encode(value, "value")
        limits.check_json_size(text, bounds, "value")
        return text

    def _event(self, event: Mapping[str, Any], where: str) -> Publish:
        text = json_values.encode(event, where)
        return checked(EVENT.read(text, strict=True), self._database.config.limits, where)


def _condition(if_revision: int | None, if_offset: int | None) -> Precondition:
    if if_revision is None and if_offset is None:
        return ALWAYS
    return Precondition(revision=if_revision, offset=if_offset)
