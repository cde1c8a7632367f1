"""Sockets straight on Trio's event loop: a call waits once, and costs half of what streams do."""

import socket
from collections.abc import Awaitable, Callable

import trio

from kissvdb.client.readable import readable


class TrioStream:
    """A connected socket. As `kissvdb.client.aio.net.Stream`."""

    def __init__(self, sock: socket.socket) -> None:
        """``sock`` is not blocking."""
        self._sock = sock

    async def send(self, data: bytes, timeout_secs: float) -> None:
        """Raises OSError and TimeoutError."""
        try:
            sent = self._sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            await self._send_rest(memoryview(data)[sent:], timeout_secs)

    async def _send_rest(self, rest: memoryview, timeout_secs: float) -> None:
        with trio.move_on_after(max(timeout_secs, 0)) as scope:
            while rest:
                await self._wait(trio.lowlevel.wait_writable)
                try:
                    rest = rest[self._sock.send(rest) :]
                except BlockingIOError:
                    continue
        if scope.cancelled_caught:
            raise TimeoutError("it took too long to send")

    async def receive(self, timeout_secs: float) -> bytes:
        """What has arrived; empty at the end. Raises OSError and TimeoutError."""
        with trio.move_on_after(max(timeout_secs, 0)):
            while True:
                await self._wait(trio.lowlevel.wait_readable)
                try:
                    return self._sock.recv(65536)
                except BlockingIOError:
                    continue
        raise TimeoutError("nothing came in time")

    async def _wait(self, ready: Callable[[socket.socket], Awaitable[None]]) -> None:
        try:
            await ready(self._sock)
        except trio.ClosedResourceError as error:
            raise ConnectionError("closed meanwhile") from error

    def is_readable(self) -> bool:
        """Something has arrived, or it has ended."""
        return readable(self._sock.fileno())

    async def aclose(self) -> None:
        """Never waits for the other side."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()


async def connect(address: str, port: int, timeout_secs: float) -> TrioStream:
    """Raises OSError and TimeoutError."""
    with trio.move_on_after(max(timeout_secs, 0)):
        stream = await trio.open_tcp_stream(address, port)
        sock = socket.socket(fileno=stream.socket.detach())
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return TrioStream(sock)
    raise TimeoutError(f"no connection to {address}:{port} in time")
