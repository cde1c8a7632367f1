"""What edges tell only once is never missed, and a full socket stops nobody else."""

import os
import select
import socket
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.api.frame.http import Request
from kissvdb.config import Server
from kissvdb.lane.poller import Poller
from tests.lane.peers import (
    IN_MEMORY,
    PATIENCE_SECS,
    Peer,
    chunked_request,
    get,
    open_lane,
    put,
    request,
    until,
)

HEALTH = request("GET", "/v1/health")
LARGE = "x" * 6_000_000
"""More than a socket takes at once."""


@asynccontextmanager
async def connect_at_once(served, raw, *, half_close=False):
    """A client whose bytes are all there before the server hears of the connection: nothing else
    runs in between."""
    sock = socket.create_connection(("127.0.0.1", served.port))
    sock.sendall(raw)
    if half_close:
        sock.shutdown(socket.SHUT_WR)
    sock.setblocking(False)
    with trio.socket.from_stdlib_socket(sock) as stream:
        yield Peer(stream)


async def test_what_arrived_before_the_connection_was_watched_is_answered(lane):
    async with connect_at_once(lane, HEALTH) as peer:
        assert (await peer.answer()).body == b"ok"


async def test_a_request_and_the_end_that_come_as_one_are_both_heard(lane):
    async with connect_at_once(lane, HEALTH, half_close=True) as peer:
        assert (await peer.answer()).body == b"ok"
        assert await peer.rest() == b""
    async with lane.connect() as peer:
        await peer.send(HEALTH)
        await peer.answer()
        await wait_all_tasks_blocked()
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        await peer.send(HEALTH)
        peer.half_close()
        assert (await peer.answer()).body == b"ok"
        assert await peer.rest() == b""


@pytest.mark.parametrize("more", [0, 1, 255, 256])
async def test_a_read_that_fills_the_buffer_is_not_the_last(more):
    padded = request("GET", "/v1/health", b"", "X: ")
    padded = padded.replace(b"X: ", b"X: " + b"x" * (256 - len(padded)))
    async with open_lane(receive_bytes_max=256) as served, served.connect() as peer:
        for _ in range(3):
            await peer.send(padded)
            assert (await peer.answer()).body == b"ok"
        await peer.send(padded + put("a", "y" * (512 + more)) + get("a"))
        assert (await peer.answer()).body == b"ok"
        assert (await peer.answer()).status == 200
        assert (await peer.answer()).json()["value"] == "y" * (512 + more)


async def test_an_answer_too_large_for_the_socket_is_sent_as_it_is_read(lane):
    await lane.database.put("large", LARGE)
    async with lane.connect(receive_buffer_bytes=4096) as slow, lane.connect() as other:
        for _ in range(2):
            await slow.send(get("large"))
            await wait_all_tasks_blocked(0.01)
            await other.send(HEALTH)
            assert (await other.answer()).body == b"ok"
            assert (await slow.answer()).json()["value"] == LARGE


async def test_requests_sent_while_an_answer_waits_for_its_reader_are_answered_in_order(lane):
    await lane.database.put("large", LARGE)
    async with lane.connect(receive_buffer_bytes=4096) as slow:
        await slow.send(get("large"))
        await wait_all_tasks_blocked(0.01)
        await slow.send(HEALTH + put("small", 1))
        assert (await slow.answer()).json()["key"] == "large"
        assert (await slow.answer()).body == b"ok"
        assert (await slow.answer()).json()["key"] == "small"


async def test_a_reader_that_stalls_on_one_answer_is_cut_off(mock_clock):
    async with open_lane(send_stall_secs=5) as served:
        await served.database.put("large", LARGE)
        async with served.connect(receive_buffer_bytes=4096) as stalled:
            await stalled.send(get("large"))
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(7)
            await until(lambda: served.lane.statistics().connections == 0)


async def test_an_answer_under_way_is_finished_at_a_shutdown():
    async with open_lane() as served:
        await served.database.put("large", LARGE)
        async with served.connect(receive_buffer_bytes=4096) as slow:
            await slow.send(get("large"))
            await wait_all_tasks_blocked(0.01)
            served.shutdown.set()
            assert (await slow.answer()).json()["value"] == LARGE
            assert await slow.rest() == b""
        with trio.fail_after(PATIENCE_SECS):
            await served.finished.wait()


async def test_more_connections_than_one_turn_serves_are_all_served():
    async with open_lane(poll_turn_secs=0) as served, trio.open_nursery() as nursery:

        async def client():
            async with served.connect() as peer:
                for _ in range(5):
                    await peer.send(HEALTH)
                    assert (await peer.answer()).body == b"ok"

        for _ in range(20):
            nursery.start_soon(client)


async def test_a_read_needs_the_key_as_everything_else(lane):
    config = attrs.evolve(IN_MEMORY, server=Server(api_key="k" * 32))
    async with open_lane(config) as served, served.connect() as peer:
        await peer.send(get("a"))
        assert (await peer.answer()).status == 401
        await peer.send(get("a", f"X-Api-Key: {'k' * 32}"))
        assert (await peer.answer()).status == 404


async def test_an_operation_that_needs_a_task_is_not_begun_without_one(lane):
    large = b'{"value":"%s"}' % (b"x" * 70_000)
    for method, path, body in (
        ("PUT", "/v1/state/a", large),
        ("POST", "/v1/events", b'{"type":"a","data":"%s"}' % (b"x" * 70_000)),
    ):
        bound, params = lane.api.find(method, path)
        assert bound.prompt
        request = Request(method, path, body=body, params=params)
        assert lane.api.begin(request, bound) is None
    assert lane.database.last_offset == 0


async def test_without_epoll_every_connection_waits_for_itself(monkeypatch):
    monkeypatch.delattr(select, "epoll")
    async with open_lane() as served:
        async with served.connect() as peer:
            await peer.send(put("a", 1) + get("a"))
            assert (await peer.answer()).status == 200
            assert (await peer.answer()).json()["value"] == 1
            await peer.send_slowly(chunked_request("PUT", "/v1/state/b", b"1\r\n5\r\n0\r\n\r\n"), 7)
            assert (await peer.answer()).status == 422
            await peer.send(request("GET", "/v1/metrics"))
            assert (await peer.answer()).status == 200
            peer.half_close()
            assert await peer.rest() == b""
        async with connect_at_once(served, HEALTH, half_close=True) as peer:
            assert (await peer.answer()).body == b"ok"


@attrs.define
class Noted:
    """Remembers what it was told."""

    heard: list = attrs.field(factory=list)

    def on_readable(self, *, ended):
        self.heard.append(ended)


@pytest.fixture
async def poller(nursery):
    poller = Poller(turn_secs=0)
    nursery.start_soon(poller.run)
    yield poller
    nursery.cancel_scope.cancel()
    await wait_all_tasks_blocked()
    poller.close()


async def test_a_reused_descriptor_number_is_the_new_connections_only(poller):
    old, new = Noted(), Noted()
    ours, theirs = socket.socketpair()
    next_ours, next_theirs = socket.socketpair()
    with ours, theirs, next_ours, next_theirs:
        poller.register(ours, old)
        theirs.send(b"seen by nobody: it is gone before its turn")
        poller.unregister(ours)
        os.dup2(next_ours.fileno(), ours.fileno())
        poller.register(ours, new)
        await wait_all_tasks_blocked()
        assert (old.heard, new.heard) == ([], [])
        next_theirs.send(b"x")
        await until(lambda: new.heard)
        assert (old.heard, new.heard) == ([], [False])
        poller.unregister(ours)


async def test_the_end_of_a_connection_is_told(poller):
    noted = Noted()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        poller.register(ours, noted)
        theirs.send(b"x")
        await until(lambda: noted.heard)
        theirs.close()
        await until(lambda: len(noted.heard) == 2)
        assert noted.heard == [False, True]
        poller.unregister(ours)
