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

SOCKETS_PER_LOOK = 64


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
    begun goes to the disk while the next requests are read. What is left waits for the next turn;
    a socket that is forgotten meanwhile is forgotten there, too, so that nothing can be told of a
    descriptor number that has come to mean another connection.
    """

    def __init__(self, turn_secs: float) -> None:
        self._epoll = select.epoll()
        self._ended = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
        self._events = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
        self._turn_secs = turn_secs
        self._registered: dict[int, Readable] = {}
        self._left: dict[int, int] = {}

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
        self._left.pop(descriptor, None)
        self._epoll.unregister(descriptor)

    async def run(self) -> None:
        """Watch until cancelled."""
        left, poll, registered, ended = self._left, self._epoll.poll, self._registered, self._ended
        while True:
            if left:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            until = perf_counter() + self._turn_secs
            while True:
                if not left:
                    left.update(poll(0, SOCKETS_PER_LOOK))
                    if not left:
                        break
                descriptor, events = left.popitem()
                registered[descriptor].on_readable(ended=bool(events & ended))
                if perf_counter() >= until:
                    break
