"""A connected socket with a phase and a deadline: what the lane reads from and writes to."""

import enum
import socket
from collections.abc import Callable
from math import inf

import trio

from kissvdb.errors import KissError
from kissvdb.lane.limits import LaneLimits
from kissvdb.lane.poller import Poller
from kissvdb.lane.response import Clock

Answer = Callable[[bytes], bool]

_DROPPED_MAX = 16
"""So many times ``receive_bytes_max`` are dropped in a row."""


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

    # One for each client, of whom there may be thousands that do nothing.
    __slots__ = (
        "_answer",
        "_clock",
        "_closed",
        "_ended",
        "_held",
        "_ignoring",
        "_last",
        "_poller",
        "_readable",
        "_receive_bytes_max",
        "_result",
        "_send_stall_secs",
        "_stalled",
        "_unsent",
        "_waiter",
        "closing",
        "deadline",
        "on_close",
        "phase",
        "sock",
        "verdict",
    )

    def __init__(
        self, sock: socket.socket, limits: LaneLimits, clock: Clock, poller: Poller | None = None
    ) -> None:
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
        self._poller = poller
        self._waiter: trio.lowlevel.Task | None = None
        self._answer: Answer | None = None
        self._held = self._last = False
        self._unsent = b""
        self._result: bytes | Exception | None = None
        # There may be more to read, and no further edge would tell.
        self._readable = False
        self._ended = False
        self._ignoring = False
        if poller is not None:
            poller.register(sock, self)

    def enter(self, phase: Phase, timeout_secs: float = inf) -> None:
        """Begin ``phase``; the sweeper ends it after ``timeout_secs`` (to within a sweep)."""
        self.phase = phase
        self.deadline = self._clock.now + timeout_secs

    def extend(self, timeout_secs: float) -> None:
        """Set the deadline anew, within the phase."""
        self.deadline = self._clock.now + timeout_secs

    @property
    def has_poller(self) -> bool:
        """A poller tells what comes: nobody needs to wait for it."""
        return self._poller is not None

    @property
    def has_more(self) -> bool:
        """There may be input that nobody has received. False where no poller tells."""
        return self._poller is not None and self._readable

    async def receive(self) -> bytes:
        """What has come, after waiting for it; empty at the end of input. Raises OSError, or
        ClosedResourceError when this side closed."""
        while True:
            self._check_open()
            if self._poller is None:
                await trio.lowlevel.wait_readable(self.sock)
            elif self._readable:
                await trio.lowlevel.checkpoint()
            else:
                data = await self._wait()
                if data is not None:
                    return data
                continue
            data = self._receive_now()
            if data is not None:
                return data

    def receive_more(self) -> bytes:
        """What has come since ``receive``; empty when nothing has. Raises OSError."""
        if self._poller is not None and not self._readable:
            return b""
        return self._receive_now() or b""

    async def receive_or_answer(self, answer: Answer) -> bytes | None:
        """Like ``receive``, but what comes is first shown to ``answer``, within the poller's turn:
        True says that it has been answered, by ``answer_now``, or will be, by ``answer_held``.

        None: such an answer was begun but the socket is full, or it was the last: call
        ``send_unsent``.
        """
        self._answer = answer
        try:
            data = await self.receive()
        finally:
            self._answer = None
            self._held = False
        return None if self._unsent or self._last else data

    def answer_now(self, data: bytes) -> None:
        """Send what the socket takes at once and keep the rest for ``send_unsent``."""
        self._unsent = data[self.send_now(data) :]

    def hold(self) -> None:
        """The answer takes a moment: what comes meanwhile waits in the socket."""
        self._held = True

    def answer_held(self, data: bytes, *, last: bool) -> None:
        """The answer after ``hold``. The reader is woken if there is more to read or to send, and
        after the ``last``. Does not raise: an error is the reader's."""
        self._held = False
        self._last = last
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._wake(error)
            return
        if sent < len(data):
            self._unsent = data[sent:]
        if self._unsent or last:
            self._wake(b"")
        elif self._readable:
            self._wake(None)

    async def send_unsent(self) -> None:
        """Send the rest of an answer, waiting. Raises as ``receive`` does."""
        unsent, self._unsent = self._unsent, b""
        await self.send_rest(memoryview(unsent))

    def ignore_input(self) -> None:
        """From now on drop what comes, and close when nothing more will. Needs a poller, and no
        task."""
        assert self._poller is not None
        self._ignoring = True
        if self._readable:
            self._drop_input()

    def _drop_input(self) -> None:
        try:
            for _ in range(_DROPPED_MAX):
                data = self._receive_now()
                if data is None or (data and not self._readable):
                    return
                if not data:
                    break
        except OSError:
            # The peer has reset the connection.
            pass
        # Or it sends and sends, which nobody does who listens.
        self.close()

    def on_readable(self, *, ended: bool) -> None:
        """See `Readable`. Who waits for it gets what came, or the error it met."""
        self._readable = True
        self._ended = self._ended or ended
        if self._ignoring:
            self._drop_input()
            return
        if self._waiter is None or self._held:
            return
        try:
            data = self._receive_now()
            if data is None:
                return
            if data and self._answer is not None and self._answer(data):
                if self._unsent:
                    self._wake(b"")
                elif self._readable and not self._held:
                    self._wake(None)
                return
        except Exception as error:
            # It belongs to whoever serves the connection, not to the poller of all.
            self._wake(error)
        else:
            self._wake(data)

    async def _wait(self) -> bytes | None:
        """Until ``on_readable`` has something; None: there may be more, look again."""

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiter = None
            return trio.lowlevel.Abort.SUCCEEDED

        self._waiter = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(abort)
        result, self._result = self._result, None
        if isinstance(result, Exception):
            raise result
        return result

    def _wake(self, result: bytes | Exception | None) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._result = result
            trio.lowlevel.reschedule(waiter)

    def _receive_now(self) -> bytes | None:
        """What there is; None when that is nothing yet."""
        try:
            data = self.sock.recv(self._receive_bytes_max)
        except BlockingIOError:
            self._readable = False
            return None
        # A short read has emptied the buffer: what comes now is a new edge (epoll(7), question 9).
        # The end of the input, though, may have come with the edge that told of the data.
        self._readable = self._ended or len(data) == self._receive_bytes_max
        return data

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
            if self._poller is not None:
                self._poller.unregister(self.sock)
            self._wake(_closed_here())
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()
            if self.on_close is not None:
                self.on_close()

    def _check_open(self) -> None:
        # Trio must never be asked to wait for a closed socket: its number may be another's.
        if self._closed:
            raise _closed_here()

    def _shutdown(self, how: int) -> None:
        try:
            self.sock.shutdown(how)
        except OSError:
            # The peer has reset the connection: both directions are closed already.
            self.closing = True


def _closed_here() -> trio.ClosedResourceError:
    return trio.ClosedResourceError("the connection was closed on this side")
