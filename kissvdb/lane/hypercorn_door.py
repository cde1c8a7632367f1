"""The other door: Hypercorn's connection code, fed with connections the lane does not serve.

Hypercorn documents none of the classes used here; ``tests/lane/test_hypercorn_contract.py``
holds what is relied upon, and the pin in ``pyproject.toml`` names the versions it holds for.
"""

import logging
import socket
from collections.abc import Sequence
from typing import Any

import hypercorn.trio
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.config import Sockets
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState, LifespanState

from kissvdb.config import Config
from kissvdb.lane.replay import ReplayStream
from kissvdb.lane.transport import Transport

# Hypercorn closes a connection after 1,000 requests unless told otherwise; the lane never does.
REQUESTS_MAX = 2**62


def configure(settings: HypercornConfig, config: Config) -> None:
    """Set what our configuration says of every connection."""
    settings.h11_max_incomplete_size = config.http.header_bytes_max
    settings.keep_alive_timeout = config.http.idle_timeout_secs
    settings.keep_alive_max_requests = REQUESTS_MAX


def hypercorn_config(config: Config) -> HypercornConfig:
    """Hypercorn's settings for connections that the lane hands over."""
    settings = HypercornConfig()
    configure(settings, config)
    settings.graceful_timeout = config.server.shutdown_timeout_secs
    settings.errorlog = logging.getLogger("kissvdb.hypercorn")
    settings.accesslog = None
    return settings


async def serve_alone(
    app: ASGIFramework,
    config: Config,
    sockets: Sequence[socket.socket],
    stop: trio.Event,
    drain_secs: float,
) -> None:
    """Serve everything, without a lane, until ``stop``; then drain for at most ``drain_secs``."""
    settings = _OurSockets(sockets)
    configure(settings, config)
    settings.graceful_timeout = drain_secs
    settings.include_server_header = False
    await hypercorn.trio.serve(app, settings, shutdown_trigger=stop.wait, mode="asgi")


class _OurSockets(HypercornConfig):
    """Hypercorn's settings with sockets that are open already."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        super().__init__()
        self._ours = sockets

    def create_sockets(self) -> Sockets:
        return Sockets([], list(self._ours), [])


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

    async def stop(self) -> None:
        """End idle connections now, and each other one after the answer under way."""
        await self._context.terminated.set()

    async def close(self) -> None:
        """Tell the application that it is over."""
        await self._lifespan.wait_for_shutdown()
