"""What the lane relies on in Hypercorn and nowhere finds documented. A new Hypercorn that changes
it must fail here first."""

import inspect
import socket

import pytest
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.lifespan import Lifespan
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext

from kissvdb.lane.hypercorn_door import HypercornDoor
from kissvdb.lane.limits import LaneLimits
from kissvdb.lane.response import Clock
from kissvdb.lane.transport import Transport
from tests.lane.peers import IN_MEMORY, Peer, until
from tests.patience import PATIENCE_SECS

GET = b"GET /x?y=z HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.mark.parametrize(
    ("callable_", "parameters"),
    [
        (TCPServer, ["app", "config", "context", "state", "stream"]),
        (WorkerContext, ["max_requests"]),
        (ASGIWrapper, ["app"]),
        (Lifespan, ["app", "config", "state"]),
    ],
)
def test_the_constructors_take_what_they_are_given(callable_, parameters):
    assert list(inspect.signature(callable_).parameters) == parameters


def test_the_settings_that_are_set_exist():
    config = Config()
    for name in (
        *("h11_max_incomplete_size", "keep_alive_timeout", "graceful_timeout"),
        "keep_alive_max_requests",
    ):
        assert isinstance(getattr(config, name), int | float)
    assert config.accesslog is None
    assert config.errorlog == "-"


class App:
    """An ASGI application that tells what it was asked."""

    def __init__(self):
        self.seen = []
        self.body = b"body"
        self.gate = None

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                event = (await receive())["type"]
                self.seen.append(event)
                await send({"type": f"{event}.complete"})
                if event == "lifespan.shutdown":
                    return
        self.seen.append((scope["method"], scope["raw_path"], scope["query_string"]))
        if self.gate is not None:
            await self.gate.wait()
        length = (b"content-length", b"%d" % len(self.body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": self.body})


@pytest.fixture
async def pair():
    """A peer, and the transport of the server's end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    theirs.setblocking(False)
    transport = Transport(theirs, LaneLimits.of(IN_MEMORY), Clock())
    with trio.socket.from_stdlib_socket(ours) as client:
        yield Peer(client), transport
    transport.close()


@pytest.fixture
def app():
    return App()


@pytest.fixture
def door(app):
    config = Config()
    # Whoever waits for the end of a connection does not wait for this one.
    config.keep_alive_timeout = 10 * PATIENCE_SECS
    return HypercornDoor(app, config)


async def test_it_answers_what_was_read_before_and_what_comes_after(pair, app, door, nursery):
    peer, transport = pair
    nursery.start_soon(door.serve, transport, GET[:20])
    await peer.send(GET[20:] + GET)
    for _ in range(2):
        assert (await peer.answer()).body == b"body"
    assert app.seen == [("GET", b"/x", b"y=z")] * 2
    nursery.cancel_scope.cancel()


async def test_terminated_ends_an_idle_connection(pair, app, door, nursery):
    peer, transport = pair
    nursery.start_soon(door.serve, transport, b"")
    await peer.send(GET)
    await peer.answer()
    await door.stop()
    assert await peer.rest() == b""


async def test_terminated_ends_a_busy_connection_after_its_answer(pair, app, door, nursery):
    peer, transport = pair
    app.gate = trio.Event()
    nursery.start_soon(door.serve, transport, GET)
    await until(lambda: app.seen)
    await door.stop()
    app.gate.set()
    assert (await peer.answer()).body == b"body"
    assert await peer.rest() == b""


async def test_a_closed_socket_ends_it_also_in_the_middle_of_a_shielded_send(
    pair, app, door, nursery
):
    _, transport = pair
    app.body = b"x" * 50_000_000
    nursery.start_soon(door.serve, transport, GET)
    await until(lambda: transport.stalled)
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await trio.testing.wait_all_tasks_blocked()
        assert transport.stalled
        transport.close()
        await until(lambda: not transport.stalled)


@pytest.mark.parametrize("leave", [Peer.reset, Peer.half_close])
async def test_a_client_that_leaves_ends_it_without_the_keep_alive_time(pair, door, leave):
    peer, transport = pair
    with trio.fail_after(PATIENCE_SECS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.serve, transport, GET)
            await peer.answer()
            leave(peer)


async def test_a_closed_socket_ends_it_also_when_requests_are_pipelined(pair, app, door):
    _, transport = pair
    app.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(door.serve, transport, GET + GET)
        await until(lambda: app.seen)
        transport.close()


async def test_lifespan_starts_and_stops_the_application(nursery):
    app = App()
    lifespan = Lifespan(ASGIWrapper(app), Config(), {})
    await nursery.start(lifespan.handle_lifespan)
    await lifespan.wait_for_startup()
    assert app.seen == ["lifespan.startup"]
    await lifespan.wait_for_shutdown()
    assert app.seen == ["lifespan.startup", "lifespan.shutdown"]
