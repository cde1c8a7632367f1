"""The other door: Hypercorn's connection code, fed with connections the lane does not serve.

Hypercorn documents none of the classes used here; ``tests/lane/test_hypercorn_contract.py``
holds what is relied upon, and the pin in ``pyproject.toml`` names the versions it holds for.
"""

import logging
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState, LifespanState

from kissvdb.api.dispatch import Api
from kissvdb.config import Config
from kissvdb.lane.limits import LaneLimits
from kissvdb.lane.replay import ReplayStream
from kissvdb.lane.response import Clock, encode_response
from kissvdb.lane.server import too_many
from kissvdb.lane.transport import Transport

# Hypercorn closes a connection after 1,000 requests unless told otherwise; the lane never does.
REQUESTS_MAX = 2**62


def hypercorn_config(config: Config) -> HypercornConfig:
    """Hypercorn's settings for our connections."""
    settings = HypercornConfig()
    settings.h11_max_incomplete_size = config.http.header_bytes_max
    settings.keep_alive_timeout = config.http.idle_timeout_secs
    settings.keep_alive_max_requests = REQUESTS_MAX
    settings.graceful_timeout = config.server.shutdown_timeout_secs
    settings.include_server_header = False
    settings.errorlog = logging.getLogger("kissvdb.hypercorn")
    settings.accesslog = None
    return settings


class PromptTCPServer(TCPServer):
    """Ends when the client has left. The original waits for its keep-alive timer even then, and
    holds the socket all the while."""

    stream: Any

    async def _idle_timeout(self) -> None:
        if not self.stream.ended:
            await super()._idle_timeout()


class HypercornDoor:
    """Serves one connection after the other to the end, in the task of the caller."""

    def __init__(self, app: ASGIFramework, settings: HypercornConfig) -> None:
        self._app = ASGIWrapper(app)
        self._settings = settings
        self._context = WorkerContext(None)
        self._state: LifespanState = {}
        self._lifespan = Lifespan(self._app, settings, self._state)
        self.connections = 0
        """Those that `serve_stream` serves now."""

    async def open(self, nursery: trio.Nursery) -> None:
        """Start the ASGI application in ``nursery`` (its lifespan) and wait until it is up."""
        await nursery.start(self._lifespan.handle_lifespan)
        await self._lifespan.wait_for_startup()

    async def serve(self, transport: Transport, received: bytes) -> None:
        """Serve the connection until it ends; ``received`` is what was read from it already."""
        stream: Any = ReplayStream(transport, received)
        state = ConnectionState(self._state.copy())
        server = PromptTCPServer(self._app, self._settings, self._context, state, stream)
        stream.on_end = server.idle_task.stop
        with trio.CancelScope() as scope:
            # A reader that waits for the answer to a pipelined request before it goes on does
            # not hear of a close: it would wait for ever.
            transport.on_close = scope.cancel
            await server

    async def serve_stream(self, stream: trio.SocketStream) -> None:
        """Serve a connection that nothing was read from yet, until it ends."""
        plain: Any = stream
        state = ConnectionState(self._state.copy())
        self.connections += 1
        try:
            await TCPServer(self._app, self._settings, self._context, state, plain)
        finally:
            self.connections -= 1

    async def stop(self) -> None:
        """End idle connections now, and each other one after the answer under way."""
        await self._context.terminated.set()

    async def close(self) -> None:
        """Tell the application that it is over."""
        await self._lifespan.wait_for_shutdown()


async def serve_alone(
    api: Api,
    app: ASGIFramework,
    config: Config,
    sockets: Sequence[socket.socket],
    stop: trio.Event,
    drain_secs: float,
) -> None:
    """Serve everything, without a lane, until ``stop``; then drain for at most ``drain_secs``."""
    settings = hypercorn_config(config)
    door = HypercornDoor(app, settings)
    limits = LaneLimits.of(config)
    async with trio.open_nursery() as lifespan:
        await door.open(lifespan)
        async with trio.open_nursery() as connections, trio.open_nursery() as accepting:
            listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(s)) for s in sockets]
            guarded = partial(_serve_if_there_is_room, api, door, limits)
            accepting.start_soon(
                partial(trio.serve_listeners, guarded, listeners, handler_nursery=connections)
            )
            await stop.wait()
            accepting.cancel_scope.cancel()
            await door.stop()
            connections.cancel_scope.deadline = trio.current_time() + drain_secs
        await door.close()
        lifespan.cancel_scope.cancel()


async def _serve_if_there_is_room(
    api: Api, door: "HypercornDoor", limits: LaneLimits, stream: trio.SocketStream
) -> None:
    beyond = stream.socket.fileno() - limits.descriptors_max
    if beyond < 0 and door.connections < limits.connections_max:
        await door.serve_stream(stream)
    elif beyond < limits.refusal_descriptors_max:
        answer = api.refusal(too_many(limits))
        # A client that does not read it, or goes on sending, does not hold the descriptor.
        with trio.move_on_after(limits.linger_secs), suppress(trio.BrokenResourceError):
            await stream.send_all(encode_response(answer, Clock(), close=True, head_only=False))
            await stream.send_eof()
            while await stream.receive_some():
                pass
