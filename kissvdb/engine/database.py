"""The database in a Trio program: answers the calls of handlers and embedders."""

from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from actors import (
    ActorCrashed,
    Address,
    MailboxClosed,
    MailboxFull,
    Reply,
)
from kissvdb.config import Config
from kissvdb.core.atomic import BatchAnswer
from kissvdb.core.events.publishing import Publish, Published, StreamQuery, plain_events, record_of
from kissvdb.core.state import reserved_keys
from kissvdb.core.state.put_many import DocumentNames
from kissvdb.core.state.rules import (
    ALWAYS,
    Answer,
    Command,
    Delete,
    Deleted,
    Item,
    Page,
    Patch,
    Precondition,
    Put,
    Written,
)
from kissvdb.embedders.registry import Embedders
from kissvdb.engine import backup
from kissvdb.engine.asking import alone, answered, submit, unavailable
from kissvdb.engine.batches import Batch, Batches
from kissvdb.engine.checkpoints import Checkpoints
from kissvdb.engine.clock import Clock
from kissvdb.engine.log.writer import Append, LogWriter
from kissvdb.engine.model import Model
from kissvdb.engine.owner import Many
from kissvdb.engine.quotas.quotas import Quotas
from kissvdb.engine.state.model import State
from kissvdb.engine.state.past import Past
from kissvdb.engine.store import Store
from kissvdb.engine.stream.hub import CurrentHub, Hub, StreamOnly
from kissvdb.engine.stream.subscription import Lease, Subscription
from kissvdb.engine.tables.taking import Sources
from kissvdb.engine.threads import Threads
from kissvdb.engine.upkeep import keep_streams_alive
from kissvdb.errors import Damaged, NotFound, Unavailable
from kissvdb.metrics import (
    LAST_OFFSET,
    LOG_BYTES,
    MAILBOX_DEPTH,
    SSE_CLIENTS,
    SSE_LAG,
    Metrics,
)
from kissvdb.records import EventPublished

if TYPE_CHECKING:
    # For its name only: what is done here is done with any model.
    from kissvdb.engine.documents.model import Documents
    from kissvdb.engine.keys.model import Keys
    from kissvdb.engine.sql.model import Sql
    from kissvdb.engine.vectors.model import Vectors

APPLIED_PAUSE_SECONDS = 0.0005

Route = Callable[[Any], tuple[Address, Any]]


class Database:
    """What handlers and embedders call. Made by `opening.open_database`.

    Writes answer when they are durable. A write that is cancelled, or fails with Stopping after
    it was sent, may still happen: use a precondition or an ``op_id`` to repeat it safely.
    """

    quotas: Quotas
    """Set by who opens it."""

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        clock_ms: Clock,
        threads: Threads,
        store: Store,
        writer: LogWriter,
        log: Address,
        current: CurrentHub,
        hub: Address,
        state: State,
        vectors: "Vectors",
        documents: "Documents",
        sql: "Sql",
        keys: "Keys",
    ) -> None:
        """All of it runs. ``log`` and ``hub``: where to ask ``writer`` and the current hub."""
        self.config = config
        self.metrics = metrics
        self.threads = threads
        self.vectors = vectors
        self.documents = documents
        self.sql = sql if config.sql.enabled else None
        """None: switched off. What it has is kept all the same."""
        self.keys = keys
        self.embedders: Embedders
        """Set by who opens it."""
        self.ready = True
        self._clock_ms = clock_ms
        self._store = store
        self._writer = writer
        self._log = log
        self._current = current
        self._hub = hub
        self._state = state
        self._models: tuple[Model, ...] = (state, vectors, documents, sql, keys)
        self._routes: dict[type, Route] = {
            kind: model.route for model in self._models for kind in model.commands
        }
        self.past = Past(
            state, store.log, threads.upkeep, self.reached, lambda: writer.committed_offset
        )
        """What keys were."""
        self.sources = Sources(
            state, documents, vectors, store.log, lambda: self.last_offset, clock_ms, threads
        )
        """Where a SELECT over everything takes its snapshots from."""
        self._batches = Batches(self._routes, state, log, config.limits.batch_bytes_max)
        self._holds: list[int] = []
        self._checkpoints = Checkpoints(
            self._models,
            store.log,
            self._holds,
            interval_secs=config.storage.snapshot_interval_secs,
        )
        self._watch(metrics)

    def _watch(self, metrics: Metrics) -> None:
        for address in (self._hub, self._log):
            metrics.watch(MAILBOX_DEPTH, partial(_depth, address), address.name)
        metrics.watch(SSE_CLIENTS, lambda: self.hub.client_count)
        metrics.watch(SSE_LAG, lambda: self.hub.lag_max)
        metrics.watch(LOG_BYTES, lambda: self._store.log.info().bytes_kept)
        metrics.watch(LAST_OFFSET, lambda: self.last_offset)

    # State

    def get(self, key: str) -> Item | None:
        """The key as of the last answered write; None when absent or expired. Never waits."""
        item = self._state.get(key)
        if item is None and key.startswith(reserved_keys.PREFIX):
            return self.vectors.manifest(key)
        return item

    async def write(self, command: Command) -> Answer:
        """Do one write. Raises Refused kinds, Overloaded, Stopping, PersistenceFailed."""
        answer: Answer = await answered(self.submit(command))
        return answer

    def submit(self, command: Any) -> Reply:
        """Begin one write: its answer, or why it was refused, will be in the reply.

        ``command``: of a type that one of the models has, such as Put or VectorCommand. Raises
        Overloaded, Stopping and NotFound (no such collection).
        """
        return submit(*self._routes[type(command)](command))

    async def write_many(self, commands: Sequence[Any]) -> Sequence[Any]:
        """Do several writes in order, each for itself: an answer or the refusal for each.

        All that fall to one owner share one append. Where an owner cannot take them, its commands
        are refused (Overloaded, PersistenceFailed, Stopping, NotFound).
        """
        if not commands:
            return []
        events = plain_events(commands)
        if events is not None:
            # Nobody has to decide them.
            try:
                first = await self.publish_batch(events)
            except Unavailable as refusal:
                return [refusal] * len(events)
            return [Published(first + n) for n in range(len(events))]
        places: dict[Address, list[int]] = {}
        messages: list[Any] = [None] * len(commands)
        answers: list[Any] = [None] * len(commands)
        routes = self._routes
        for place, command in enumerate(commands):
            try:
                owner, messages[place] = routes[type(command)](command)
            except (NotFound, Damaged) as refusal:
                answers[place] = refusal
            else:
                places.setdefault(owner, []).append(place)
        replies = []
        for owner, mine in places.items():
            try:
                reply = submit(owner, Many(tuple([messages[place] for place in mine])))
            except Unavailable as refusal:
                for place in mine:
                    answers[place] = refusal
            else:
                replies.append((mine, reply))
        for mine, reply in replies:
            try:
                found = await answered(reply)
            except (Unavailable, NotFound) as refusal:
                found = [refusal] * len(mine)
            for place, answer in zip(mine, found, strict=True):
                answers[place] = answer
        return answers

    def put_many(
        self, keys: Sequence[str], values: Sequence[bytes], documents: DocumentNames | None = None
    ) -> Reply | None:
        """Begin to set keys, those of ``documents`` or such as mean nothing to the database, each
        for itself, to compact JSON; the reply has a `WrittenMany`. None: several owners or quotas,
        do `write_many`. Raises Overloaded and Stopping."""
        return None if self.quotas.counts else self._state.put_many(keys, values, documents)

    def put_soon(self, key: str, value: bytes) -> Reply | None:
        """Begin one put as `put_many` begins many; None: `submit` a `Put` instead."""
        return None if self.quotas.counts else self._state.put_soon(key, value)

    async def batch(self, batch: Batch) -> BatchAnswer:
        """Do all of a batch or nothing of it: see `Batches.write`."""
        return await self._batches.write(batch)

    def batch_answered_before(self, batch: Batch) -> BatchAnswer | None:
        """How a batch with this ``op_id`` was answered, if it is done. Raises OpIdReused."""
        return self._batches.answered_before(batch)

    async def list(self, prefix: str = "", *, limit: int = 100, after: str | None = None) -> Page:
        """Live keys with this prefix in byte order, from after ``after`` on.

        Those that show collections are among them only if the prefix is of such keys.
        """
        shown = self.vectors.manifests() if prefix.startswith(reserved_keys.PREFIX) else ()
        return await self._state.next_page(prefix, limit, after, shown)

    async def put(
        self,
        key: str,
        value: Any,
        *,
        ttl_ms: int | None = None,
        if_revision: int | None = None,
        if_offset: int | None = None,
    ) -> Written:
        """Set a key to a Python value that JSON can hold."""
        precondition = _precondition(if_revision, if_offset)
        answer = await self.write(Put(key, msgspec.json.encode(value), ttl_ms, precondition))
        assert isinstance(answer, Written)
        return answer

    async def patch(self, key: str, patch: Any, *, ttl_ms: int | None = None) -> Written:
        """Merge a patch (RFC 7396) into a key's value."""
        answer = await self.write(Patch(key, msgspec.json.encode(patch), ttl_ms))
        assert isinstance(answer, Written)
        return answer

    async def delete(self, key: str, *, if_revision: int | None = None) -> Deleted:
        """Remove a key."""
        answer = await self.write(Delete(key, _precondition(if_revision, None)))
        assert isinstance(answer, Deleted)
        return answer

    @property
    def key_owners(self) -> Sequence[Address]:
        """Who decides about keys, all of them: a batch that counts documents holds them."""
        return self._state.owners

    # Events and the stream

    async def publish(self, event: Publish) -> Published:
        """Append an event to the log, or only stream it when it is transient."""
        if event.transient:
            self.stream_only(event)
            return Published(None)
        if event.op_id is not None:
            answer = await self.write(event)
            assert isinstance(answer, Published)
            return answer
        return Published(await answered(self.append_events([record_of(event)])))

    def stream_only(self, event: Publish) -> None:
        """Stream a transient event. Raises Overloaded and Stopping."""
        try:
            self._hub.tell_nowait(StreamOnly(event, self._clock_ms()))
        except (MailboxFull, MailboxClosed, ActorCrashed) as error:
            raise unavailable(error) from error

    async def publish_batch(self, events: Sequence[Publish]) -> int:
        """Append several events at once, all or none; answers the first of their offsets, which
        are consecutive. An ``op_id`` is not looked at."""
        first: int = await answered(self.append_events(list(map(record_of, events))))
        return first

    def append_events(self, events: Sequence[EventPublished]) -> Reply:
        """Begin to append several events at once; the reply has the first of their offsets.

        Raises Overloaded, Stopping, and ValueError without any event.
        """
        if not events:
            raise ValueError("at least one event")
        return submit(self._log, Append(events, alone()))

    def subscribe(self, query: StreamQuery, lease: Lease | None = None) -> Subscription:
        """SSE blobs from ``query.since`` on; see Hub.subscribe."""
        subscription = self.hub.subscribe(query, lease)
        if lease is not None:
            # It may have ended since the request was let in.
            subscription.end_if(self.keys.end)
        return subscription

    def end_streams(self) -> None:
        """Finish every stream and refuse new ones: the first step of a shutdown."""
        self.hub.end_streams()

    # The whole

    @property
    def hub(self) -> Hub:
        """Who serves the subscribers now."""
        return self._current.hub

    @property
    def epoch(self) -> str:
        """Which history the offsets are places in: 16 hexadecimal digits."""
        return self._store.epoch

    @property
    def last_offset(self) -> int:
        """The newest durable offset; 0 when there is none."""
        return self._writer.committed_offset

    @property
    def applied_offset(self) -> int:
        """Up to here every read sees everything."""
        offsets = [self._state.applied_offset, self.vectors.applied_offset]
        if self.sql is not None:
            offsets.append(self.sql.applied_offset)
        return min(offsets)

    async def reached(self, offset: int) -> None:
        """Return when every read sees everything up to ``offset``. Raises Stopping."""
        while self.applied_offset < offset:
            if self.last_offset < offset:
                await self.hub.reached(offset)
            else:
                # It is in the log, and its owner takes it over in one of the next turns.
                await trio.sleep(APPLIED_PAUSE_SECONDS)

    async def snapshot(self) -> int:
        """Checkpoint everything now; answers the offset up to which all is in durable files."""
        durable = await self._checkpoints.now()
        return durable if not self.config.storage.memory else self.last_offset

    def backup(self) -> AsyncGenerator[bytes, None]:
        """A tar of the whole database, consistent at one offset, while it goes on.

        Raises NotSupported in memory mode.
        """
        store, workers = self._store, self.threads.upkeep
        return backup.stream(self._models, store.log, store.directory, workers, self._holds)

    # What opening runs beside it, and at the end

    async def look_after(self) -> None:
        """The task that does what the database needs done while it is used, until cancelled."""
        async with trio.open_nursery() as tasks:
            for model in self._models:
                tasks.start_soon(model.look_after, self._checkpoints.retain)
            tasks.start_soon(self._checkpoints.keep)
            tasks.start_soon(self.quotas.run)
            heartbeat_secs = self.config.stream.heartbeat_secs
            tasks.start_soon(keep_streams_alive, lambda: self.hub, heartbeat_secs)

    async def finish(self) -> None:
        """End all streams and store everything: the next start has nothing to replay."""
        self.ready = False
        self.end_streams()
        self.documents.build_no_more()
        await self._checkpoints.finish()


def _depth(address: Address) -> int:
    return address.statistics().depth


def _precondition(if_revision: int | None, if_offset: int | None) -> Precondition:
    if if_revision is None and if_offset is None:
        return ALWAYS
    return Precondition(revision=if_revision, offset=if_offset)
