"""Who has something to read: one epoll for all connections, one task that looks at it.

Waiting for each connection on its own costs two changes of Trio's epoll and two turns of the
scheduler per request. Here a socket is registered once, for edges (epoll(7)), and a turn hands
what came to the connections themselves, which may answer there and then.
"""

import select
import socket
from time import perf_counter
from typing import Protocol

import trio

SOCKETS_PER_LOOK = 4


def poller_available() -> bool:
    """Whether this system has epoll. Elsewhere every connection waits for itself."""
    return hasattr(select, "epoll")


class Readable(Protocol):
    """What the poller wakes."""

    def on_readable(self, *, ended: bool) -> None:
        """Something came since the last call; ``ended``: and nothing more will. Must not raise,
        block, or let other tasks run."""


class Poller:
    """Calls `Readable.on_readable` for each registered socket that has become readable.

    Registering reports what is there already. A turn looks again until nothing is ready, for what
    comes meanwhile is cheapest now, but other tasks have theirs after ``turn_secs``: what was
    begun goes to the disk while the next requests are read. It is synchronous and no socket is
    accepted within it, so an event can never meet a descriptor number that has come to mean
    another connection.
    """

    def __init__(self, turn_secs: float) -> None:
        self._epoll = select.epoll()
        self._ended = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
        self._events = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
        self._turn_secs = turn_secs
        self._registered: dict[int, Readable] = {}

    def close(self) -> None:
        """Let go of the epoll, once nothing is registered any more."""
        self._epoll.close()

    def register(self, sock: socket.socket, readable: Readable) -> None:
        """Watch ``sock`` until `unregister`. Raises OSError when the kernel has no room."""
        descriptor = sock.fileno()
        self._epoll.register(descriptor, self._events)
        self._registered[descriptor] = readable

    def unregister(self, sock: socket.socket) -> None:
        """Forget ``sock``: before it is closed, or its number may be another's by then."""
        descriptor = sock.fileno()
        del self._registered[descriptor]
        self._epoll.unregister(descriptor)

    async def run(self) -> None:
        """Watch until cancelled."""
        poll, registered = self._epoll.poll, self._registered
        while True:
            await trio.lowlevel.wait_readable(self._epoll.fileno())
            until = perf_counter() + self._turn_secs
            while ready := poll(0, SOCKETS_PER_LOOK):
                for descriptor, events in ready:
                    readable = registered.get(descriptor)
                    if readable is not None:
                        readable.on_readable(ended=bool(events & self._ended))
                if perf_counter() >= until:
                    break
