"""Opening a database: storage, actors and upkeep, in the order in which they need each other."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import trio

from actors import Restart, Supervisor, open_supervisor
from kissvdb.config import Config
from kissvdb.embedders.registry import Embedders
from kissvdb.engine.clock import Clock, SteadyClock
from kissvdb.engine.database import Database
from kissvdb.engine.documents.collection import DocumentsContext
from kissvdb.engine.documents.model import Documents
from kissvdb.engine.documents.pending import DocumentTap
from kissvdb.engine.documents.registry import DocumentRegistry
from kissvdb.engine.followers import Followers
from kissvdb.engine.keys.model import Keys
from kissvdb.engine.keys.owner import KeyOwner
from kissvdb.engine.log.writer import LogWriter
from kissvdb.engine.recovery import Progress
from kissvdb.engine.sql.group import Writer
from kissvdb.engine.sql.model import Sql
from kissvdb.engine.sql.owner import SqlOwner
from kissvdb.engine.sql.readers import Readers
from kissvdb.engine.state import sizing
from kissvdb.engine.state.model import State
from kissvdb.engine.state.shard import StateShard
from kissvdb.engine.state.view import StateView
from kissvdb.engine.store import Store
from kissvdb.engine.stream.history import History
from kissvdb.engine.stream.hub import CurrentHub, Hub
from kissvdb.engine.tables.everything import Everything
from kissvdb.engine.tables.registering import NAMES
from kissvdb.engine.threads import threads_for
from kissvdb.engine.vectors.collection import CollectionContext
from kissvdb.engine.vectors.model import Vectors
from kissvdb.engine.vectors.registry import Collections
from kissvdb.metrics import Metrics


@asynccontextmanager
async def open_database(
    config: Config | None = None,
    *,
    metrics: Metrics | None = None,
    clock_ms: Clock | None = None,
    progress: Progress = lambda what, done, total: None,
    memory_floor: int = 0,
) -> AsyncIterator["Database"]:
    """Open (or create) the database and run it for the length of the block.

    Recovers first: on entry every acknowledged write is there. ``memory_floor``: in memory the
    first offset is above it. ``clock_ms``: another clock than a `SteadyClock`. Raises
    DirectoryInUse, Damaged and ConfigError. The crash of an owner of data ends the block in an
    ExceptionGroup.
    """
    config = Config() if config is None else config
    metrics = Metrics() if metrics is None else metrics
    clock_ms = SteadyClock() if clock_ms is None else clock_ms
    embedders = Embedders(config)
    async with AsyncExitStack() as stack:
        store = await trio.to_thread.run_sync(partial(Store, config, progress, memory_floor))
        stack.callback(store.close)
        await stack.enter_async_context(store.log)
        supervisor = await stack.enter_async_context(open_supervisor())
        threads = threads_for(config)
        followers = Followers()
        writer = LogWriter(store.log, followers, _log_clock(clock_ms), metrics)

        def committed() -> int:
            return writer.committed_offset

        history = History(store.log, threads.commits)
        current = CurrentHub(lambda: Hub(config.stream, history, lambda: store.epochs, committed))
        hub = await supervisor.start(current.make, Restart.ON_CRASH)
        followers.add(hub)
        log = await supervisor.start(writer)
        around = CollectionContext(log, committed, clock_ms, threads, metrics)
        tap = DocumentTap(committed, config.limits.collections_max)
        made = _shards(store, around, config, tap)
        shards = [(shard, await supervisor.start(shard)) for shard in made]
        state = State(shards, store.directory, threads, config, clock_ms, metrics)
        vectors = await _vectors(store, around, config, state, supervisor, embedders)
        documents = await _documents(store, around, config, tap, state, supervisor)
        sql = await _sql(store, around, config, state, supervisor)
        keys = await _keys(store, around, config, supervisor, current)
        models = (state, vectors, documents, sql, keys)
        database = Database(
            config, metrics, clock_ms, threads, store, writer, log, current, hub, *models
        )
        database.embedders, database.quotas = embedders, around.quotas
        sql.readers.ours = Everything(database.sources, sql, config.limits.k_max)
        async with trio.open_nursery() as tasks:
            if isinstance(clock_ms, SteadyClock):
                tasks.start_soon(clock_ms.watch)
            tasks.start_soon(embedders.run)
            tasks.start_soon(database.look_after)
            tasks.start_soon(store.kernels.load, config, threads)
            yield database
            await database.finish()
            tasks.cancel_scope.cancel()


async def _keys(
    store: Store,
    around: CollectionContext,
    config: Config,
    supervisor: Supervisor,
    current: CurrentHub,
) -> Keys:
    guarded = bool(config.server.api_key)
    keys = Keys(store.keys, around.threads.commits, around.clock_ms, guarded=guarded)

    def changed() -> None:
        around.quotas.refresh(keys.view.keys)
        keys.changed()

    owner = KeyOwner(
        store.keys,
        around.log,
        around.committed_offset,
        around.clock_ms,
        keys_max=config.limits.keys_max,
        changed=changed,
    )
    address = await supervisor.start(owner)
    keys.open(owner, address, lambda end: current.hub.end_some(end))
    # What their scopes hold is counted from now on, whoever writes.
    around.quotas.refresh(keys.view.keys)
    return keys


async def _vectors(
    store: Store,
    around: CollectionContext,
    config: Config,
    state: State,
    supervisor: Supervisor,
    embedders: Embedders,
) -> Vectors:
    collections = Collections(store.collections, supervisor, around, state, config, embedders)
    registry = await supervisor.start(collections)
    around.quotas.open([shard.view for shard in state.shards], collections.amounts)
    most = config.limits.vector_memory_bytes
    around.memory.open(collections.opened, most, in_memory=config.storage.memory)
    return Vectors(
        collections,
        registry,
        store.collections,
        around,
        config,
        embedders,
    )


async def _documents(
    store: Store,
    around: CollectionContext,
    config: Config,
    tap: DocumentTap,
    state: State,
    supervisor: Supervisor,
) -> Documents:
    context = DocumentsContext(tap, state.shards, around.clock_ms, around.threads)
    registry = DocumentRegistry(store.documents, context, state, supervisor, around.metrics)
    await registry.open(store.document_collections())
    return Documents(registry, tap, store.documents, state, around.threads, config.limits)


async def _sql(
    store: Store,
    around: CollectionContext,
    config: Config,
    state: State,
    supervisor: Supervisor,
) -> Sql:
    file = await trio.to_thread.run_sync(store.sql.open_file)
    owner = SqlOwner(
        Writer(file, config.sql),
        around.log,
        around.committed_offset,
        state,
        around.threads.commits,
        checkpoint_pages=config.state.checkpoint_pages,
    )
    address = await supervisor.start(owner)
    readers = Readers(
        file.path, config.sql.readers, true_offset=lambda: owner.true_offset, names=NAMES
    )
    return Sql(owner, address, file.path, store.directory, around.threads, around.metrics, readers)


def _shards(
    store: Store, around: CollectionContext, config: Config, tap: DocumentTap
) -> Iterator[StateShard]:
    hot_bytes = config.state.cache_bytes or sizing.hot_bytes()
    for number, table in enumerate(store.tables):
        yield StateShard(
            StateView(
                table, store.replays[number].memtables, hot_bytes=hot_bytes // len(store.tables)
            ),
            around.log,
            around.committed_offset,
            around.clock_ms,
            around.metrics,
            json_bytes_max=config.limits.json_bytes_max,
            mailbox_size=config.state.mailbox_size,
            name=f"state-{number}",
            documents=tap,
            quotas=around.quotas,
            place=number,
        )


def _log_clock(clock_ms: Clock) -> Clock:
    """What records are dated by: readers compare that with their own clocks."""
    return clock_ms.wall_ms if isinstance(clock_ms, SteadyClock) else clock_ms
