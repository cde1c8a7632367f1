"""The daemon: start and stop order of the whole, and the signals that end it.

Start: listen, open and recover the database, serve. Stop: end the streams, finish the requests,
drain the actors, close the files. What was acknowledged is on disk at every moment, so when the
stop takes longer than ``server.shutdown_timeout_secs`` the process may simply leave.
"""

import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import attrs
import trio

from actors import ActorCrashed
from kissvdb import logs
from kissvdb.api.access.origins import Origins
from kissvdb.api.dispatch import Api
from kissvdb.api.frame.starting import Recovering
from kissvdb.config import Config
from kissvdb.engine.database import Database
from kissvdb.engine.opening import open_database
from kissvdb.engine.state import huge_pages
from kissvdb.epochs import floor_above
from kissvdb.errors import KissError
from kissvdb.lane import descriptors
from kissvdb.lane.limits import LaneLimits
from kissvdb.lane.server import serve_lane
from kissvdb.metrics import TELEMETRY_LOST, Metrics
from kissvdb.settings import Loaded
from kissvdb.storage.sql.connecting import count_no_memory
from kissvdb.telemetry.tracer import Tracer, open_tracer
from kissvdb.version import VERSION

if TYPE_CHECKING:
    from hypercorn.typing import ASGIFramework

logger = logging.getLogger("kissvdb.daemon")

BACKLOG = 4096
STALLED_PEER_MS = 10_000
"""How long a peer may leave sent bytes unacknowledged before the kernel drops it (Linux)."""
PROGRESS_SECONDS = 1.0
LAST_SPANS_SECONDS = 2.0
"""How long a stop waits for a collector to take the last spans."""


@attrs.frozen
class Server:
    """A running server: where it listens and the database behind it."""

    url: str
    port: int
    database: Database


@asynccontextmanager
async def running(config: Config, *, memory_floor: int = 0) -> AsyncIterator[Server]:
    """Serve for the length of the block; on leaving it, stop in order.

    In memory the first offset is above ``memory_floor``. Until recovery is done every request that
    needs the database waits, for as long as a request may take. Raises OSError when the address
    cannot be had, and what `open_database` raises.
    """
    metrics = Metrics()
    async with _traced(config, metrics) as tracer:
        sockets = await _listen(config)
        port: int = sockets[0].getsockname()[1]
        stop, stopped = trio.Event(), trio.Event()
        api = Api(Recovering(), config, metrics, tracer)
        async with trio.open_nursery() as serving:
            serving.start_soon(_serve_http, api, config, sockets, stop, stopped)
            try:
                async with open_database(
                    config, metrics=metrics, progress=Progress(metrics), memory_floor=memory_floor
                ) as database:
                    api.open(database)
                    try:
                        yield Server(_url(config.server.bind, port), port, database)
                    finally:
                        # Streams never end by themselves: they go first, or requests never drain.
                        database.end_streams()
                        stop.set()
                        await stopped.wait()
            except BaseException:
                serving.cancel_scope.cancel()
                raise


@asynccontextmanager
async def _traced(config: Config, metrics: Metrics) -> AsyncIterator[Tracer | None]:
    """What takes the traces of requests, if the settings ask for it. Raises ConfigError."""
    tracer = open_tracer(config.telemetry)
    if tracer is None:
        yield None
        return
    metrics.watch(TELEMETRY_LOST, lambda: tracer.lost)
    try:
        yield tracer
    finally:
        # A collector that does not answer holds up no stop.
        with trio.move_on_after(LAST_SPANS_SECONDS, shield=True):
            await trio.to_thread.run_sync(tracer.close, abandon_on_cancel=True)


def serve(loaded: Loaded, url_file: Path | None = None) -> int:
    """Run the daemon until SIGTERM or SIGINT; returns the exit code. Logs to standard error.

    ``url_file`` gets the address, and a line end, once all is recovered and served.
    """
    config = loaded.config
    logs.configure(config.logs.level, config.logs.format)
    for notice in loaded.notices:
        logger.warning(notice)
    descriptors.raise_limit()
    room = descriptors.for_connections()
    if room < config.server.connections_max:
        logger.warning(
            "server.connections_max is %d, but the limit of open files leaves room for fewer than "
            "%d: raise it (ulimit -n, or LimitNOFILE= in a unit)",
            config.server.connections_max,
            room,
        )
    count_no_memory()
    try:
        trio.run(_serve_until_signalled, loaded, url_file)
    except BaseExceptionGroup as group:
        failure = _first_known(group)
        if failure is None:
            raise
        raise failure from group
    return 0


async def _serve_until_signalled(loaded: Loaded, url_file: Path | None) -> None:
    config = loaded.config
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        # Clients outlive a process: what an earlier one in memory gave away is not given again.
        floor = floor_above(0, time.time_ns() // 1_000_000)
        async with running(config, memory_floor=floor) as server, trio.open_nursery() as tasks:
            tasks.start_soon(huge_pages.run)
            _collect_less()
            where = "memory" if config.storage.memory else config.storage.data_dir
            logs.event(
                logger,
                logging.INFO,
                f"kissvdb {VERSION} serves on {server.url}",
                data=where,
                offset=server.database.last_offset,
                **_origins(loaded),
                pages=Origins(config.server.cors_allowed_origins),
            )
            _tell(server.url, url_file)
            async for number in signals:
                logger.info("stopping on %s", signal.Signals(number).name)
                break
            _leave_after(config.server.shutdown_timeout_secs)
            tasks.cancel_scope.cancel()
    logger.info("stopped")


def _origins(loaded: Loaded) -> dict[str, str]:
    """Where the address, the directory and the key came from: what surprises most."""
    storage = "memory" if loaded.config.storage.memory else "data_dir"
    origins = {
        "bind_from": loaded.origins["server.bind"],
        "port_from": loaded.origins["server.port"],
        "data_from": loaded.origins[f"storage.{storage}"],
    }
    if loaded.config.server.api_key:
        return {**origins, "key_from": loaded.origins["server.api_key"]}
    return {**origins, "key_from": "no key"}


def _tell(url: str, file: Path | None) -> None:
    """Write the address for whoever waits for it; the line end says that it is whole."""
    if file is not None:
        file.write_text(f"{url}\n")


def _collect_less() -> None:
    """What was made at the start stays; requests make little that needs the cycle collector.
    Measured: 8 % less CPU a write. Not collected first: that takes 40 ms, for hardly anything."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _serve_http(
    api: Api,
    config: Config,
    sockets: Sequence[socket.socket],
    stop: trio.Event,
    stopped: trio.Event,
) -> None:
    """Serve until ``stop``; drains for half of the time a shutdown may take."""
    drain_secs = config.server.shutdown_timeout_secs / 2
    try:
        if config.http.lane:
            limits = attrs.evolve(LaneLimits.of(config), shutdown_timeout_secs=drain_secs)
            make_app = partial(_make_app, api)
            await serve_lane(api, make_app, config, listeners=sockets, shutdown=stop, limits=limits)
        else:
            from kissvdb.lane.hypercorn_door import serve_alone

            await serve_alone(api, _make_app(api), config, sockets, stop, drain_secs)
    finally:
        for each in sockets:
            each.close()
        stopped.set()


def _make_app(api: Api) -> "ASGIFramework":
    from kissvdb.api.quart.app import create_app

    return cast("ASGIFramework", create_app(api))


async def _listen(config: Config) -> list[socket.socket]:
    """Open the listening sockets first: a port in use is found before recovery starts."""
    listeners = await trio.open_tcp_listeners(
        config.server.port, host=config.server.bind, backlog=BACKLOG
    )
    sockets = []
    for listener in listeners:
        ours = socket.socket(fileno=listener.socket.detach())
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Accepted sockets inherit it. Hypercorn shields its sends from cancellation, so a
            # reader that stalls would otherwise hold the shutdown for ever.
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_PEER_MS)
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ours.setblocking(False)
        sockets.append(ours)
    return sockets


def _url(bind: str, port: int) -> str:
    host = f"[{bind}]" if ":" in bind else bind
    return f"http://{host}:{port}"


def _leave_after(seconds: float) -> None:
    """Leave the process hard when an orderly stop takes too long. Nothing that was acknowledged
    is lost by it: the log had it on disk before."""

    def leave() -> None:
        logger.warning("the stop took longer than %g s: leaving now", seconds)
        os._exit(0)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


def _first_known(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The one failure that has words for the user, if that is all there is."""
    known, unknown = group.split((KissError, OSError, ActorCrashed))
    if unknown is not None or known is None:
        return None
    first: BaseException = known
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


class Progress:
    """Says how far recovery is, once a second, if it takes longer than that; and whenever asked,
    through the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._next_at = time.monotonic() + PROGRESS_SECONDS

    def __call__(self, what: str, done: int, total: int) -> None:
        self._metrics.recovery = (what, done, total)
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + PROGRESS_SECONDS
            percent = 100 * done // total if total else 100
            logs.event(logger, logging.INFO, what, percent=percent, done=done, total=total)
