"""The checkpointer of LangGraph."""

import random
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from kissvdb.adapters.threads import each_in_thread, in_thread
from kissvdb.client import Client
from kissvdb.langgraph import history, upkeep
from kissvdb.langgraph.keys import Place
from kissvdb.langgraph.reading import TOKEN
from kissvdb.langgraph.writing import Put, Writer


class KissSaver(BaseCheckpointSaver[str]):
    """Keeps the checkpoints of threads at a server.

    A checkpoint, its values and the thread's tip are written in one atomic batch, durable when the
    call returns. The tip is written only over the one that this worker knows: of two workers on one
    thread one goes on, and the other gets a `ThreadConflict` and has written nothing.

    ``ttl_secs``: a thread ends, whole, so long after its last checkpoint. Async methods run the
    same calls in a thread, on asyncio and on Trio.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        name: str = "langgraph",
        ttl_secs: float | None = None,
        serde: SerializerProtocol | None = None,
    ) -> None:
        """``client`` None: the server that the environment says. ``name``: of the collection of
        documents, and how all keys begin."""
        super().__init__(serde=serde)
        ttl_ms = None if ttl_secs is None else max(1, int(ttl_secs * 1000))
        self._writer = Writer(client or Client(), name, self.serde, None, ttl_ms=ttl_ms)

    @property
    def _threads(self) -> Writer:
        # `with_allowlist` copies a saver and gives the copy another serializer.
        if self._writer.serde is not self.serde:
            self._writer = self._writer.copy(serde=self.serde)
        return self._writer

    def as_of(self, offset: int) -> "KissSaver":
        """A saver that reads threads as they were at an offset of the log, as far back as that
        reaches, and writes none."""
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._writer = self._threads.copy(at=offset)
        return made

    # Read

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that the config names, or the newest one; None where there is none."""
        threads, place, id = self._threads, _place(config), get_checkpoint_id(config)
        tip = threads.tip(place)
        if tip is None:
            if id is None:
                threads.note_empty(place)
            return None
        record = threads.record(tip, id or tip.id)
        return None if record is None else threads.whole(tip, record)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, the newest first, whose metadata equals all of ``filter``."""
        wanted: dict[str, Any] = {} if config is None else config["configurable"]
        thread, ns = wanted.get("thread_id"), wanted.get("checkpoint_ns")
        found = self._threads.find(
            None if thread is None else str(thread),
            ns,
            wanted.get("checkpoint_id"),
            filter,
            None if before is None else get_checkpoint_id(before),
        )
        for number, each in enumerate(found):
            if limit is not None and number >= limit:
                return
            yield each

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What the ancestors of a checkpoint wrote to channels that are kept as differences."""
        id = get_checkpoint_id(config)
        return history.of_channels(self._threads, _place(config), id, channels)

    # Write

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint on top of the one that the config names. Raises ThreadConflict when
        the thread is not any more where its worker has read it."""
        place = _place(config)
        given: dict[str, Any] = config["configurable"]
        whole = get_checkpoint_metadata(config, metadata)
        parent, token = get_checkpoint_id(config), given.get(TOKEN)
        self._threads.put(Put(place, parent, token, checkpoint, dict(whole), new_versions))
        return {
            "configurable": {
                "thread_id": place.thread,
                "checkpoint_ns": place.ns,
                "checkpoint_id": checkpoint["id"],
            }
        }

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store what a task wrote on top of the checkpoint that the config names."""
        id = str(config["configurable"]["checkpoint_id"])
        self._threads.put_writes(_place(config), id, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        """Remove a thread: it is gone at once, its parts soon."""
        upkeep.delete_thread(self._threads, str(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints of runs, and the writes on top of them."""
        upkeep.delete_for_runs(self._threads, run_ids)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Make another thread with all that is in this one. Raises ThreadConflict if it exists."""
        upkeep.copy_thread(self._threads, str(source_thread_id), str(target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """``keep_latest``: of each namespace only the newest checkpoint, and those that its
        channels of differences need. ``delete``: nothing."""
        upkeep.prune(self._threads, thread_ids, strategy)

    def get_next_version(self, current: str | None, channel: None) -> str:
        """A number that grows, and what keeps two branches of a thread apart."""
        number = 0 if current is None else int(str(current).split(".")[0])
        return f"{number + 1:032}.{random.getrandbits(64):016x}"

    # The same in a thread

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `get_tuple`."""
        return await in_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """As `list`."""
        async for each in each_in_thread(
            self.list, config, filter=filter, before=before, limit=limit
        ):
            yield each

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As `get_delta_channel_history`."""
        return await in_thread(self.get_delta_channel_history, config=config, channels=channels)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `put`."""
        return await in_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """As `put_writes`."""
        await in_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """As `delete_thread`."""
        await in_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As `delete_for_runs`."""
        await in_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As `copy_thread`."""
        await in_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As `prune`."""
        await in_thread(self.prune, thread_ids, strategy=strategy)


def _place(config: RunnableConfig) -> Place:
    given: dict[str, Any] = config["configurable"]
    return Place(str(given["thread_id"]), str(given.get("checkpoint_ns", "")))
