"""Sockets by anyio, for Trio and asyncio. The other client has the same with plain sockets."""

import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import anyio
from anyio import CancelScope, move_on_after
from anyio.abc import ByteStream, SocketAttribute, TaskGroup

from kissvdb.client.config import Origin
from kissvdb.client.readable import readable

if TYPE_CHECKING:
    from kissvdb.client.on_trio import TrioStream

monotonic = time.monotonic
sleep = anyio.sleep


class Stream:
    """A connected socket, or TLS over one."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    async def send(self, data: bytes, timeout_secs: float) -> None:
        """Raises OSError and TimeoutError."""
        with anyio.fail_after(timeout_secs):
            try:
                await self._stream.send(data)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise ConnectionError(f"the connection broke: {error}") from error

    async def receive(self, timeout_secs: float) -> bytes:
        """What has arrived; empty at the end. Raises OSError and TimeoutError."""
        with anyio.fail_after(timeout_secs):
            try:
                return await self._stream.receive(65536)
            except anyio.EndOfStream:
                return b""
            except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
                raise ConnectionError(f"the connection broke: {error}") from error

    def is_readable(self) -> bool:
        """Something has arrived, or it has ended."""
        return readable(self._stream.extra(SocketAttribute.raw_socket).fileno())

    async def aclose(self) -> None:
        """Never waits for the other side."""
        await anyio.aclose_forcefully(self._stream)


Connected: TypeAlias = "Stream | TrioStream"


async def connect(origin: Origin, timeout_secs: float) -> Connected:
    """Raises OSError and TimeoutError."""
    if not origin.tls and _on_trio():
        from kissvdb.client import on_trio

        return await on_trio.connect(origin.address, origin.port, timeout_secs)
    with anyio.fail_after(timeout_secs):
        if not origin.tls:
            return Stream(await anyio.connect_tcp(origin.address, origin.port))
        return Stream(
            await anyio.connect_tcp(
                origin.address, origin.port, tls=True, tls_standard_compatible=False
            )
        )


def shielded(timeout_secs: float) -> CancelScope:
    """A block that is done although its task is cancelled, for at most so long."""
    return move_on_after(timeout_secs, shield=True)


def _on_trio() -> bool:
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())


class Ticking:
    """Something that is done again and again while a block runs."""

    def __init__(self) -> None:
        self._tasks: TaskGroup | None = None

    async def start(self, beat: Callable[[], Awaitable[None]], every_secs: float) -> None:
        """In the task that also closes it, with nothing opened in between that stays open."""
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run, beat, every_secs)

    async def _run(self, beat: Callable[[], Awaitable[None]], every_secs: float) -> None:
        while True:
            await anyio.sleep(every_secs)
            await beat()

    async def aclose(self) -> None:
        """No beat is under way when it is closed."""
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(None, None, None)
            self._tasks = None
