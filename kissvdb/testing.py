"""A real server for tests: ``with serve() as server`` and the pytest fixture ``kissvdb_server``.

The server runs in a thread of this process, in memory unless told otherwise, on a free port of
127.0.0.1. It is the same daemon code that ``kissvdb serve`` runs, without signals and logs.
"""

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import attrs
import pytest

if TYPE_CHECKING:
    import trio

    from kissvdb.config import Config
    from kissvdb.engine.database import Database

START_SECONDS_MAX = 30.0


@attrs.frozen
class RunningServer:
    """Where a test's server listens. ``database`` belongs to the server's own thread: reach it
    with ``trio.from_thread`` and ``token``, or better, over HTTP."""

    url: str
    port: int
    database: "Database"
    token: "trio.lowlevel.TrioToken"


@contextmanager
def serve(config: "Config | None" = None) -> Iterator[RunningServer]:
    """Run a server for the length of the block.

    ``config`` defaults to memory mode. Its port is used as it is (0: a free one). What the server
    dies of is raised when the block ends; TimeoutError when it takes too long to start.
    """
    import trio

    from kissvdb.config import Config, Server, Storage

    if config is None:
        config = Config(server=Server(port=0), storage=Storage(memory=True))
    started: queue.Queue[RunningServer | BaseException] = queue.Queue()
    failures: list[BaseException] = []
    stop = trio.Event()
    loop: list[trio.lowlevel.TrioToken] = []
    starting = trio.CancelScope()

    def run() -> None:
        try:
            trio.run(_serve, config, loop, starting, started, stop)
        except BaseException as error:
            failures.append(error)
            started.put(error)

    # A start that hangs must not keep the process from ending.
    thread = threading.Thread(target=run, name="kissvdb-test-server", daemon=True)
    thread.start()
    try:
        server = started.get(timeout=START_SECONDS_MAX)
    except BaseException as error:
        _give_up(loop, starting)
        if not isinstance(error, queue.Empty):
            raise
        raise TimeoutError(
            f"the server has not started within {START_SECONDS_MAX:.0f} s: is the machine busy?"
        ) from None
    if isinstance(server, BaseException):
        thread.join()
        raise server
    try:
        yield server
    finally:
        # A server that died has no loop to stop any more; what it died of is raised below.
        if thread.is_alive() and not failures:
            server.token.run_sync_soon(stop.set)
        thread.join()
    if failures:
        raise failures[0]


async def _serve(
    config: "Config",
    loop: "list[trio.lowlevel.TrioToken]",
    starting: "trio.CancelScope",
    started: "queue.Queue[RunningServer | BaseException]",
    stop: "trio.Event",
) -> None:
    import trio

    from kissvdb.daemon import running

    token = trio.lowlevel.current_trio_token()
    loop.append(token)
    with starting:
        async with running(config) as server:
            started.put(RunningServer(server.url, server.port, server.database, token))
            await stop.wait()


def _give_up(loop: "list[trio.lowlevel.TrioToken]", starting: "trio.CancelScope") -> None:
    """End what is still starting."""
    import trio

    if not loop:
        starting.cancel()
        return
    with suppress(trio.RunFinishedError):
        loop[0].run_sync_soon(starting.cancel)


@pytest.fixture
def kissvdb_server() -> Iterator[RunningServer]:
    """A server in memory on a free port, for one test."""
    with serve() as server:
        yield server
