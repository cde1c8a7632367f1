"""A connection as Hypercorn wants it, with the bytes the lane has already read put back."""

import socket
from collections.abc import Awaitable, Callable

import trio

from kissvdb.lane.transport import Transport


class ReplayStream:
    """The part of ``trio.SocketStream`` that Hypercorn's TCPServer uses.

    Its sends run under the transport's stall deadline: Hypercorn shields them from cancellation,
    so that only a closed socket ends one whose reader has stopped.
    """

    def __init__(self, transport: Transport, received: bytes) -> None:
        self._transport = transport
        self._received = received
        self.ended = False
        """The client has sent its last byte, or left."""
        self.on_end: Callable[[], Awaitable[None]] | None = None
        """Called when it has ended, before the reader hears of it."""

    @property
    def socket(self) -> socket.socket:
        """The connected socket: Hypercorn asks it for the addresses."""
        return self._transport.sock

    async def receive_some(self, bytes_max: int) -> bytes:
        """What was read before, then what comes; empty at the end."""
        await trio.lowlevel.checkpoint()
        if self._received:
            data = self._received[:bytes_max]
            self._received = self._received[bytes_max:]
            return data
        data = b""
        try:
            data = await self._transport.receive()
        except OSError as error:
            raise trio.BrokenResourceError("the connection is broken") from error
        finally:
            if not data:
                self.ended = True
                if self.on_end is not None:
                    await self.on_end()
        return data

    async def send_all(self, data: bytes) -> None:
        """Send everything. What the socket takes at once goes before anybody else has a turn:
        Hypercorn ends the output in one task while another one sends."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            await self._transport.send(data)
        except (OSError, trio.ClosedResourceError) as error:
            # Hypercorn may be waiting to read what was pipelined: only a close ends that.
            self._transport.close()
            raise trio.BrokenResourceError("the connection is broken") from error
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def send_eof(self) -> None:
        """Say that nothing more will be sent."""
        # Hypercorn does not wait for its own lock here: who just got it, to send, sends first.
        await trio.lowlevel.cancel_shielded_checkpoint()
        self._transport.close_output()

    async def aclose(self) -> None:
        """Close the connection."""
        self._transport.close()
        await trio.lowlevel.checkpoint()
