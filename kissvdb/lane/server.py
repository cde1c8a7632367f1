"""The lane's server: accepts, sweeps, and stops."""

import errno
import logging
import select
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from kissvdb.api.frame.http import StreamResponse
from kissvdb.config import Config
from kissvdb.engine.stream.push import Pushers
from kissvdb.engine.stream.subscription import Subscription
from kissvdb.errors import Overloaded
from kissvdb.lane import descriptors
from kissvdb.lane.connection import Connection
from kissvdb.lane.late_door import LateDoor
from kissvdb.lane.limits import LaneLimits
from kissvdb.lane.poller import Poller, poller_available
from kissvdb.lane.response import Clock
from kissvdb.lane.streams import ChunkCache, PushSink, StreamSender
from kissvdb.lane.transport import Transport

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework

    from kissvdb.api.dispatch import Api

log = logging.getLogger(__name__)

_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PEER_CLOSED = getattr(select, "POLLRDHUP", select.POLLHUP)


@attrs.frozen
class LaneStatistics:
    """``connections`` open now, streams ``pushed`` now (live and keeping up); the others count
    since the start."""

    connections: int
    pushed: int
    accepted: int
    turned_away: int
    handed_over: int


class Lane:
    """All connections of the lane's listeners. See `serve_lane`."""

    def __init__(
        self,
        api: "Api",
        door: LateDoor,
        limits: LaneLimits,
        nursery: trio.Nursery,
        poller: Poller | None,
    ) -> None:
        self.api = api
        self.limits = limits
        self.clock = Clock(lambda: api.shared_headers)
        self.stopping = False
        self._door = door
        self._nursery = nursery
        self._poller = poller
        self._connections: set[Connection] = set()
        self._refusals = 0
        self._chunks = ChunkCache()
        self._pushers = Pushers(nursery)
        self._empty = trio.Event()
        self._accepted = self._turned_away = self._handed_over = 0

    def statistics(self) -> LaneStatistics:
        """What has happened so far."""
        return LaneStatistics(
            len(self._connections),
            self._pushers.sink_count,
            self._accepted,
            self._turned_away,
            self._handed_over,
        )

    async def accept(self, listener: socket.socket) -> None:
        """Accept until cancelled. Whatever happens to one connection, the next is accepted."""
        starved = False
        while True:
            await trio.lowlevel.wait_readable(listener)
            for _ in range(self.limits.accept_turn_max):
                try:
                    sock, address = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _OUT_OF_RESOURCES:
                        if not starved:
                            log.warning("cannot accept connections for now: %s", error)
                        starved = True
                        await trio.sleep(self.limits.accept_backoff_secs)
                        break
                    if listener.fileno() < 0:
                        raise
                    # The client of this one has gone again (ECONNABORTED and its like).
                    log.debug("a connection was gone before it was accepted", exc_info=True)
                    continue
                starved = False
                self._start(sock, _host_of(address))

    def _start(self, sock: socket.socket, peer: str) -> None:
        self._accepted += 1
        beyond = sock.fileno() - self.limits.descriptors_max
        if beyond >= self.limits.refusal_descriptors_max:
            # Not even a refusal has room: the log may need the next descriptor.
            self._turned_away += 1
            sock.close()
            return
        try:
            _set_options(sock, self.limits)
            transport = Transport(sock, self.limits, self.clock, self._poller)
        except OSError:
            # Reset between accept and here, or the kernel watches no more sockets.
            log.debug("a connection could not be set up", exc_info=True)
            sock.close()
            return
        crowded = len(self._connections) - self._refusals >= self.limits.connections_max
        full = crowded or beyond >= 0
        if full:
            self._turned_away += 1
            if self._refusals >= self.limits.refusals_max:
                transport.close()
                return
            self._refusals += 1
        connection = Connection(self, transport, peer)
        self._connections.add(connection)
        self._nursery.start_soon(self._run, connection, full)

    async def _run(self, connection: Connection, full: bool) -> None:
        lives_on = False
        try:
            if full:
                await connection.turn_away(too_many(self.limits))
            else:
                lives_on = await connection.run()
        finally:
            self._refusals -= full
            if not lives_on:
                self.forget(connection)

    def forget(self, connection: Connection) -> None:
        """See `Owner`."""
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    def close(self) -> None:
        """Close what is open still."""
        # Closed, not only cancelled: Hypercorn shields its sends, and streams have no task.
        for connection in list(self._connections):
            connection.transport.close()

    async def sweep(self) -> None:
        """End what is over its time, once per interval, for all connections in one task."""
        asked: dict[Connection, int] = {}
        while True:
            await trio.sleep(self.limits.sweep_interval_secs)
            self.clock.tick()
            now = self.clock.now
            for connection in list(self._connections):
                if connection.transport.deadline <= now:
                    connection.expire()
            asked = self._abandon_reads(asked)

    def _abandon_reads(self, asked: dict[Connection, int]) -> dict[Connection, int]:
        """Cancel reads that last since the sweep before and whose client has left meanwhile."""
        reading = {
            connection: connection.answered
            for connection in self._connections
            if connection.reading
        }
        poll = select.poll()
        watched = {}
        for connection, answered in reading.items():
            if asked.get(connection) == answered and not connection.transport.closed:
                descriptor = connection.transport.sock.fileno()
                watched[descriptor] = connection
                poll.register(descriptor, _PEER_CLOSED)
        if watched:
            for descriptor, _ in poll.poll(0):
                watched[descriptor].abandon()
        return reading

    async def hand_over(self, transport: Transport, received: bytes) -> None:
        """See `Owner`."""
        self._handed_over += 1
        await self._door.serve(transport, received)

    def sender(
        self, transport: Transport, response: StreamResponse, *, chunked: bool
    ) -> StreamSender:
        """See `Owner`."""
        body = response.body
        if not isinstance(body, Subscription):
            return StreamSender(transport, chunked=chunked, cache=self._chunks)
        pusher = self._pushers.of(body)
        return PushSink(transport, body, pusher, self._nursery, chunked=chunked, cache=self._chunks)

    async def stop(self) -> None:
        """End idle connections and streams now; return when the rest has finished, or at the
        deadline, when what is left is closed."""
        self.stopping = True
        await self._door.stop()
        for connection in list(self._connections):
            connection.stop()
        if self._connections:
            self._empty = trio.Event()
            with trio.move_on_after(self.limits.shutdown_timeout_secs):
                await self._empty.wait()
        if self._connections:
            log.warning("closing %d connections that did not finish", len(self._connections))
        self.close()


async def serve_lane(
    api: "Api",
    make_app: "Callable[[], ASGIFramework]",
    config: Config,
    *,
    listeners: Sequence[socket.socket],
    shutdown: trio.Event,
    limits: LaneLimits | None = None,
    task_status: trio.TaskStatus[Lane] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve HTTP/1.1 on ``listeners`` until ``shutdown`` is set and all has been drained.

    ``listeners`` are bound, listening, non-blocking stream sockets; they are closed at the end.
    Hot routes are answered from ``api`` here; every other connection goes, with the bytes
    already read, to the application through Hypercorn. ``make_app`` is called, in a thread, when
    the first does; the application is started and stopped (its lifespan).
    Returns within ``server.shutdown_timeout_secs`` of the shutdown, whatever the clients do.
    """
    limits = LaneLimits.of(config) if limits is None else limits
    poller = Poller(limits.poll_turn_secs) if poller_available() else None
    lane: Lane | None = None
    try:
        async with trio.open_nursery() as lifespan:
            door = LateDoor(make_app, config, lifespan)
            async with trio.open_nursery() as connections:
                lane = Lane(api, door, limits, connections, poller)
                connections.start_soon(lane.sweep)
                if poller is not None:
                    connections.start_soon(poller.run)
                await _accept_until(shutdown, lane, listeners, task_status)
                for listener in listeners:
                    listener.close()
                await lane.stop()
                connections.cancel_scope.cancel()
            await door.close()
            lifespan.cancel_scope.cancel()
    finally:
        if lane is not None:
            lane.close()
        if poller is not None:
            poller.close()
        for listener in listeners:
            listener.close()


async def _accept_until(
    shutdown: trio.Event,
    lane: Lane,
    listeners: Sequence[socket.socket],
    task_status: trio.TaskStatus[Lane],
) -> None:
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(lane.accept, listener)
        task_status.started(lane)
        await shutdown.wait()
        nursery.cancel_scope.cancel()


def _host_of(address: object) -> str:
    """The address alone; empty where there is none (a Unix socket's)."""
    return str(address[0]) if isinstance(address, tuple) else ""


def _set_options(sock: socket.socket, limits: LaneLimits) -> None:
    sock.setblocking(False)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # A peer that vanished or stopped reading: the kernel gives up on it as well.
            stall_ms = int(limits.send_stall_secs * 1000)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, stall_ms)


def too_many(limits: LaneLimits) -> Overloaded:
    """The refusal of a connection there is no room for."""
    return Overloaded(
        f"too many connections are open: retry later, or raise server.connections_max "
        f"({limits.connections_max}) and the limit of open files ({descriptors.limit()}, ulimit -n)"
    )
