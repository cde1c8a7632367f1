"""A connected socket with a phase and a deadline: what the lane reads from and writes to."""

import enum
import socket
from collections.abc import Callable
from math import inf

import trio

from kissvdb.errors import KissError
from kissvdb.lane.limits import LaneLimits
from kissvdb.lane.response import Clock


class Phase(enum.Enum):
    """What a connection is doing: it says what its deadline means and how to end it."""

    IDLE = enum.auto()
    READING_HEAD = enum.auto()
    READING_BODY = enum.auto()
    ANSWERING = enum.auto()
    STREAMING = enum.auto()
    LINGERING = enum.auto()
    HANDED_OVER = enum.auto()


class Transport:
    """Reads and sends without a timeout scope: the server's sweeper looks at ``deadline``.

    ``closing``: the sweeper or the shutdown closed the reading half, so that the reader wakes
    with an end of input, and ``verdict`` may say why. A request that arrived at that very moment
    is still answered, which a cancellation could not promise.
    """

    def __init__(self, sock: socket.socket, limits: LaneLimits, clock: Clock) -> None:
        self.sock = sock
        self.phase = Phase.IDLE
        self.deadline = inf
        self.closing = False
        self.verdict: KissError | None = None
        self.on_close: Callable[[], None] | None = None
        self._clock = clock
        self._receive_bytes_max = limits.receive_bytes_max
        self._send_stall_secs = limits.send_stall_secs
        self._stalled = False
        self._closed = False

    def enter(self, phase: Phase, timeout_secs: float = inf) -> None:
        """Begin ``phase``; the sweeper ends it after ``timeout_secs`` (to within a sweep)."""
        self.phase = phase
        self.deadline = self._clock.now + timeout_secs

    def extend(self, timeout_secs: float) -> None:
        """Set the deadline anew, within the phase."""
        self.deadline = self._clock.now + timeout_secs

    async def receive(self) -> bytes:
        """What has come, after waiting for it; empty at the end of input. Raises OSError, or
        ClosedResourceError when this side closed."""
        while True:
            self._check_open()
            await trio.lowlevel.wait_readable(self.sock)
            try:
                return self.sock.recv(self._receive_bytes_max)
            except BlockingIOError:
                continue

    async def send(self, data: bytes) -> None:
        """Send everything; waits only when the socket is full. Raises as ``receive`` does."""
        sent = self.send_now(data)
        if sent < len(data):
            await self.send_rest(memoryview(data)[sent:])

    def send_now(self, data: bytes | memoryview) -> int:
        """Send what the socket takes at once; the number of bytes it took. Raises OSError (also
        when this side closed: a closed socket has no number)."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    async def send_rest(self, left: memoryview) -> None:
        """Send ``left``, waiting; a peer that takes nothing for ``send_stall_secs`` is closed."""
        before = self.deadline
        self._stalled = True
        try:
            while left:
                self.deadline = self._clock.now + self._send_stall_secs
                self._check_open()
                await trio.lowlevel.wait_writable(self.sock)
                left = left[self.send_now(left) :]
        finally:
            self._stalled = False
            self.deadline = before

    @property
    def closed(self) -> bool:
        """This side has closed the socket."""
        return self._closed

    @property
    def stalled(self) -> bool:
        """A send is waiting for its reader."""
        return self._stalled

    def close_input(self, verdict: KissError | None = None) -> None:
        """Read no more: the reader gets what has arrived, then the end."""
        self.closing = True
        self.verdict = verdict
        self.deadline = inf
        self._shutdown(socket.SHUT_RD)

    def close_output(self) -> None:
        """Say that nothing more will be sent."""
        self._shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close; tasks waiting for the socket get ClosedResourceError. Closing twice is fine."""
        self.deadline = inf
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()
            if self.on_close is not None:
                self.on_close()

    def _check_open(self) -> None:
        # Trio must never be asked to wait for a closed socket: its number may be another's.
        if self._closed:
            raise trio.ClosedResourceError("the connection was closed on this side")

    def _shutdown(self, how: int) -> None:
        try:
            self.sock.shutdown(how)
        except OSError:
            # The peer has reset the connection: both directions are closed already.
            self.closing = True
