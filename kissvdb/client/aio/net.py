"""Sockets by anyio, for Trio and asyncio. The other client has the same with plain sockets."""

import time

import anyio
from anyio.abc import ByteStream

from kissvdb.client.config import Origin

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

    async def aclose(self) -> None:
        """Never waits for the other side."""
        await anyio.aclose_forcefully(self._stream)


async def connect(origin: Origin, timeout_secs: float) -> Stream:
    """Raises OSError and TimeoutError."""
    with anyio.fail_after(timeout_secs):
        if not origin.tls:
            return Stream(await anyio.connect_tcp(origin.address, origin.port))
        return Stream(
            await anyio.connect_tcp(
                origin.address, origin.port, tls=True, tls_standard_compatible=False
            )
        )
