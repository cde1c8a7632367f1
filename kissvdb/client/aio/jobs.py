"""A queue of jobs: each is one worker's at a time, until it is done."""

import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from kissvdb.client.aio import net
from kissvdb.client.aio.http import Http
from kissvdb.client.aio.loading import batch
from kissvdb.client.aio.state import State
from kissvdb.client.errors import LeaseLost
from kissvdb.client.results import BatchAnswer, Item
from kissvdb.errors import KissError, NotFound, RevisionMismatch

LOOK_FIRST_SECS = 0.05
LOOK_SECS = 1.0
"""How often who has nothing to do looks for jobs; less often with time."""
PAGE = 64
CHOICE = 8
"""A worker takes one of the first so many: not all of them want the same."""
RETRY_FIRST_MS = 1000
RETRY_MAX_MS = 60_000
ERROR_CHARACTERS_MAX = 1000


class Queue:
    """Jobs in the keys ``queue:<name>:job:<id>``, about in the order in which they came. To loop
    over it gives one after another, without end.

    A worker has a job for ``lease_ms``, or as long as it extends that. One that crashes loses it
    then, and another gets it: a job is done at least once, and exactly once where its effects go
    into `Job.done`. The ``tries_max``-th worker is the last; then the job is a dead letter,
    ``queue:<name>:dead:<id>``, also when it was the job that killed them.
    """

    def __init__(self, http: Http, name: str, lease_ms: int, tries_max: int) -> None:
        self._http = http
        self._state = State(http)
        self._prefix = f"queue:{name}:"
        self._tries_max = tries_max
        self.lease_ms = lease_ms

    async def put(self, data: Any, *, delay_ms: int = 0, id: str | None = None) -> str:
        """Add a job, to be done after ``delay_ms`` at the earliest; its id. One with an ``id`` that
        is in the queue already is not added again."""
        if id is None:
            id = f"{time.time_ns() // 1_000_000:012x}-{os.urandom(6).hex()}"
        value = {"data": data, "tries": 0}
        operations: list[dict[str, Any]] = [
            {"op": "put", "key": self._key("job", id), "value": value, "if_revision": 0}
        ]
        if delay_ms > 0:
            operations.append(self._lease(id, delay_ms))
        try:
            await batch(self._http, operations)
        except RevisionMismatch as error:
            if error.operation != 0:
                raise
        return id

    async def get(self) -> "Job | None":
        """A job to do, or None if there is none now."""
        import random

        held = {item.key async for item in self._state.items(self._key("lease", ""))}
        cursor = None
        while True:
            page, cursor = await self._state.list(self._key("job", ""), limit=PAGE, cursor=cursor)
            free = [
                item
                for item in page
                if self._key("lease", self._id(item)) not in held and _is_job(item)
            ]
            while free:
                item = free.pop(random.randrange(min(len(free), CHOICE)))
                job = await self._take(item)
                if job is not None:
                    return job
            if cursor is None:
                return None

    def __aiter__(self) -> "Queue":
        return self

    async def __anext__(self) -> "Job":
        """The next job to do, however long there is none."""
        pause = LOOK_FIRST_SECS
        while True:
            job = await self.get()
            if job is not None:
                return job
            await net.sleep(pause)
            pause = min(pause * 2, LOOK_SECS)

    async def dead(self) -> AsyncIterator[Item]:
        """The dead letters: ``data``, ``tries`` and the last ``error`` in the value."""
        async for item in self._state.items(self._key("dead", "")):
            yield item

    async def revive(self, id: str) -> None:
        """Try a dead letter again, as a new job. Raises NotFound."""
        item = await self._state.get(self._key("dead", id))
        if item is None:
            raise NotFound(f"{self._prefix}: no dead letter {id!r}")
        value = {"data": item.value["data"], "tries": 0}
        await batch(
            self._http,
            [
                {"op": "delete", "key": item.key, "if_revision": item.revision},
                {"op": "put", "key": self._key("job", id), "value": value, "if_revision": 0},
            ],
        )

    async def _take(self, item: Item) -> "Job | None":
        id, value = self._id(item), item.value
        write: dict[str, Any] = {"key": item.key, "if_revision": item.revision}
        lease = {**self._lease(id, self.lease_ms), "if_revision": 0}
        try:
            if value["tries"] >= self._tries_max:
                absent = [{"key": lease["key"], "if_absent": True}]
                buried = {"op": "put", "key": self._key("dead", id), "value": value}
                await batch(self._http, [{"op": "delete", **write}, buried], absent)
                return None
            value = {**value, "tries": value["tries"] + 1}
            taken = {"op": "put", **write, "value": value}
            answer = await batch(self._http, [lease, taken])
        except RevisionMismatch:
            # Another one was first.
            return None
        return Job(self, id, value, answer.results[0].offset or 0)

    def _key(self, kind: str, id: str) -> str:
        return f"{self._prefix}{kind}:{id}"

    def _id(self, item: Item) -> str:
        return item.key.removeprefix(self._key("job", ""))

    def _lease(self, id: str, ttl_ms: int) -> dict[str, Any]:
        return {"op": "put", "key": self._key("lease", id), "value": None, "ttl_ms": ttl_ms}

    async def _finish(
        self, job: "Job", offset: int, operations: Sequence[Mapping[str, Any]]
    ) -> BatchAnswer:
        """Operations of which the first one is about the lease, which has this offset."""
        try:
            first = {**operations[0], "if_offset": offset}
            return await batch(self._http, [first, *operations[1:]])
        except RevisionMismatch as error:
            if error.operation != 0:
                raise
            raise LeaseLost(f"{self._prefix}: job {job.id!r} is no longer this worker's") from error


def _is_job(item: Item) -> bool:
    """Keys of others may begin so, too."""
    return isinstance(item.value, dict) and item.value.keys() >= {"data", "tries"}


class Job:
    """A job that this worker has. As a context manager: `done` at the end of the block, `retry`
    when it raises.

    ``token`` grows with each who gets the job: systems outside can refuse an older one.
    """

    def __init__(self, queue: Queue, id: str, value: dict[str, Any], offset: int) -> None:
        self._queue = queue
        self._value = value
        self._offset: int | None = offset
        self.id = id
        self.data: Any = value["data"]
        self.tries: int = value["tries"]
        self.token = offset

    async def extend(self, lease_ms: int | None = None) -> None:
        """Keep it for another ``lease_ms`` from now on. Raises LeaseLost."""
        lease = self._queue._lease(self.id, lease_ms or self._queue.lease_ms)
        answer = await self._queue._finish(self, self._held(), [lease])
        self._offset = answer.results[0].offset

    async def done(self, operations: Sequence[Mapping[str, Any]] = ()) -> None:
        """It is done, and with it, in one batch, ``operations``: all that happens once, and only if
        the job is still this worker's. Raises LeaseLost."""
        await self._end([*self._gone(), *operations])

    async def retry(self, *, delay_ms: int | None = None, error: str | None = None) -> None:
        """Somebody may try again, after a while: without ``delay_ms`` longer each time. Raises
        LeaseLost."""
        if delay_ms is None:
            delay_ms = min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** min(self.tries - 1, 16))
        lease = self._queue._lease(self.id, delay_ms) if delay_ms > 0 else self._gone()[0]
        await self._end([lease, {**self._put("job"), "value": self._failed(error)}])

    async def bury(self, error: str | None = None) -> None:
        """It cannot be done: make it a dead letter now. Raises LeaseLost."""
        await self._end([*self._gone(), {**self._put("dead"), "value": self._failed(error)}])

    def _gone(self) -> list[dict[str, Any]]:
        keys = (self._queue._key(kind, self.id) for kind in ("lease", "job"))
        return [{"op": "delete", "key": key} for key in keys]

    def _put(self, kind: str) -> dict[str, Any]:
        return {"op": "put", "key": self._queue._key(kind, self.id)}

    def _failed(self, error: str | None) -> dict[str, Any]:
        said = {} if error is None else {"error": error[:ERROR_CHARACTERS_MAX]}
        return {**self._value, **said}

    def _held(self) -> int:
        if self._offset is None:
            raise LeaseLost(f"job {self.id!r} has been given back")
        return self._offset

    async def _end(self, operations: Sequence[Mapping[str, Any]]) -> None:
        await self._queue._finish(self, self._held(), operations)
        self._offset = None

    async def __aenter__(self) -> "Job":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._offset is None:
            return
        if error is None:
            await self.done()
            return
        # The error of this one is what is told; where it cannot be given back, its lease ends.
        with net.shielded(1.0), suppress(KissError):
            await self.retry(error=f"{type(error).__name__}: {error}")
