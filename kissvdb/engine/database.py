"""The database in a Trio program: opens the storage, starts the actors, answers calls."""

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

import msgspec

from actors import (
    ActorCrashed,
    Address,
    MailboxClosed,
    MailboxFull,
    Reply,
)
from kissvdb.config import Config
from kissvdb.core import reserved_keys
from kissvdb.core.collection import Answer as VectorAnswer
from kissvdb.core.events import Publish, Published, StreamQuery, plain_events, record_of
from kissvdb.core.state import (
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
from kissvdb.engine import backup
from kissvdb.engine.asking import answered, submit, unavailable
from kissvdb.engine.checkpoints import Checkpoints
from kissvdb.engine.clock import Clock
from kissvdb.engine.collection import VectorCommand
from kissvdb.engine.history import History
from kissvdb.engine.hub import Hub, StreamOnly
from kissvdb.engine.log_writer import Append, LogWriter
from kissvdb.engine.owner import Many
from kissvdb.engine.recovery import shard_of
from kissvdb.engine.state_shard import StateShard, live
from kissvdb.engine.store import Store
from kissvdb.engine.subscription import Subscription
from kissvdb.engine.threads import threads_for
from kissvdb.engine.upkeep import Shards
from kissvdb.engine.vectors import Vectors
from kissvdb.errors import Damaged, KissError, NotFound, Unavailable
from kissvdb.metrics import (
    LAST_OFFSET,
    LOG_BYTES,
    MAILBOX_DEPTH,
    SSE_CLIENTS,
    SSE_LAG,
    VIEW_APPLIED_OFFSET,
    Metrics,
)
from kissvdb.records import EventPublished


class Database:
    """What handlers and embedders call. Made by `opening.open_database`.

    Writes answer when they are durable. A write that is cancelled, or fails with Stopping after
    it was sent, may still happen: use a precondition or an ``op_id`` to repeat it safely.
    """

    def __init__(self, config: Config, store: Store, metrics: Metrics, clock_ms: Clock) -> None:
        self.config = config
        self.metrics = metrics
        self.threads = threads_for(config)
        self.vectors = Vectors(config, self.threads.searches, clock_ms)
        self.ready = False
        self.hub: Hub
        self._store = store
        self._clock_ms = clock_ms
        self._history = History(store.log, self.threads.commits)
        self._writer: LogWriter | None = None
        self._hub_address: Address
        self._log: Address
        self._shards: Shards = ()
        self._holds: list[int] = []

    # State

    def get(self, key: str) -> Item | None:
        """The key as of the last answered write; None when absent or expired. Never waits."""
        item = self._stored(key)
        if item is None and key.startswith(reserved_keys.PREFIX):
            return self.vectors.manifest(key)
        return item

    def _stored(self, key: str) -> Item | None:
        """The key, without those that show collections."""
        shard, _ = self._shards[shard_of(key, len(self._shards))]
        return live(shard.view.get(key), self._clock_ms())

    async def write(self, command: Command) -> Answer:
        """Do one write. Raises Refused kinds, Overloaded, Stopping, PersistenceFailed."""
        answer: Answer = await answered(self.submit(command))
        return answer

    def submit(self, command: Command | VectorCommand) -> Reply:
        """Begin one write: its answer, or why it was refused, will be in the reply.

        Raises Overloaded, Stopping and NotFound (no such collection).
        """
        owner = self._owner(command)
        return submit(owner, command.command if isinstance(command, VectorCommand) else command)

    async def write_many(
        self, commands: Sequence[Command | VectorCommand]
    ) -> Sequence[Answer | VectorAnswer | KissError]:
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
        answers: list[Any] = [None] * len(commands)
        for place, command in enumerate(commands):
            try:
                places.setdefault(self._owner(command), []).append(place)
            except (NotFound, Damaged) as refusal:
                answers[place] = refusal
        replies = []
        for owner, mine in places.items():
            try:
                reply = submit(owner, _together([commands[place] for place in mine]))
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

    async def list(self, prefix: str = "", *, limit: int = 100, after: str | None = None) -> Page:
        """Live keys with this prefix in byte order, from after ``after`` on.

        Those that show collections are among them only if the prefix is of such keys.
        """
        now_ms = self._clock_ms()
        items: list[Item] = []
        horizons: list[str] = []
        for shard, _ in self._shards:
            found, has_more = shard.view.scan(prefix, after=after, limit=limit, now_ms=now_ms)
            items.extend(found)
            if has_more:
                horizons.append(found[-1].key)
        if prefix.startswith(reserved_keys.PREFIX):
            stored = {item.key for item in items}
            items.extend(
                item
                for item in self.vectors.manifests()
                if item.key.startswith(prefix)
                and (after is None or item.key > after)
                and item.key not in stored
            )
        if horizons:
            # Beyond the last key of a shard that has more, it is not known what comes next.
            items = [item for item in items if item.key <= min(horizons)]
        # Code point order is the byte order of UTF-8.
        items.sort(key=lambda item: item.key)
        more = bool(horizons) or len(items) > limit
        items = items[: max(limit, 0)]
        return Page(items, self._true_offset(), items[-1].key if more and items else None)

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
            self._hub_address.tell_nowait(StreamOnly(event, self._clock_ms()))
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
        return submit(self._log, Append(events))

    def subscribe(self, query: StreamQuery) -> Subscription:
        """SSE blobs from ``query.since`` on; see Hub.subscribe."""
        return self.hub.subscribe(query)

    def end_streams(self) -> None:
        """Finish every stream and refuse new ones: the first step of a shutdown."""
        self.hub.end_streams()

    # The whole

    @property
    def epoch(self) -> str:
        """Which history the offsets are places in: 16 hexadecimal digits."""
        return self._store.epoch

    @property
    def last_offset(self) -> int:
        """The newest durable offset; 0 when there is none."""
        return (
            self._store.log.last_offset if self._writer is None else self._writer.committed_offset
        )

    async def snapshot(self) -> int:
        """Checkpoint everything now; answers the offset up to which all is in durable files."""
        durable = await self._checkpoints.now()
        return durable if not self.config.storage.memory else self.last_offset

    def backup(self) -> AsyncGenerator[bytes, None]:
        """A tar of the whole database, consistent at one offset, while it goes on.

        Raises NotSupported in memory mode.
        """
        return backup.stream(self._store, self.vectors.settled, self.threads.upkeep, self._holds)

    # Wiring

    def _make_hub(self) -> Hub:
        self.hub = Hub(
            self.config.stream, self._history, lambda: self._store.epochs, lambda: self.last_offset
        )
        return self.hub

    def _start(
        self,
        hub: Address,
        writer: LogWriter,
        log: Address,
        shards: Shards,
    ) -> None:
        self._hub_address = hub
        self._writer = writer
        self._log = log
        self._shards = shards
        self._checkpoints = Checkpoints(
            self.config,
            self._store,
            self.threads.commits,
            shards,
            lambda: self.vectors.all,
            self._holds,
        )
        watch = self.metrics.watch
        for address in (hub, log, *(address for _, address in shards)):
            watch(MAILBOX_DEPTH, partial(_depth, address), address.name)
        for shard, _ in shards:
            watch(VIEW_APPLIED_OFFSET, partial(_true_offset, shard), shard.name)
        watch(SSE_CLIENTS, lambda: self.hub.client_count)
        watch(SSE_LAG, lambda: self.hub.lag_max)
        watch(LOG_BYTES, lambda: self._store.log.info().bytes_kept)
        watch(LAST_OFFSET, lambda: self.last_offset)

    def _stop(self) -> None:
        self.ready = False
        self.end_streams()

    async def _ask(self, command: Command) -> Answer:
        """As `write`, for an owner that waits for room in the shard's mailbox."""
        answer: Answer = await self._owner(command).ask(command)
        return answer

    def _owner(self, command: Command | VectorCommand) -> Address:
        if isinstance(command, VectorCommand):
            return self.vectors.owner(command.collection)
        shards = self._shards
        if len(shards) == 1:
            return shards[0][1]
        key = (command.op_id or "") if isinstance(command, Publish) else command.key
        return shards[shard_of(key, len(shards))][1]

    def _true_offset(self) -> int:
        return min(shard.true_offset for shard, _ in self._shards)


def _together(commands: Sequence[Any]) -> Many:
    """The one message that brings one owner its commands."""
    if isinstance(commands[0], VectorCommand):
        return Many(tuple(each.command for each in commands))
    return Many(tuple(commands))


def _depth(address: Address) -> int:
    return address.statistics().depth


def _true_offset(shard: StateShard) -> int:
    return shard.true_offset


def _precondition(if_revision: int | None, if_offset: int | None) -> Precondition:
    if if_revision is None and if_offset is None:
        return ALWAYS
    return Precondition(revision=if_revision, offset=if_offset)
