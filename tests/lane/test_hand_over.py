"""What the lane does not serve goes to Hypercorn, with the bytes already read."""

import base64
import json
import ssl
import threading

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.api.quart import app as quart
from kissvdb.config import Http, Limits
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


def create_app(api):
    """The other door; its answers say so, for both doors answer alike."""
    app = quart.create_app(api)

    @app.after_request
    async def mark(response):
        response.headers["x-door"] = "hypercorn"
        return response

    return app


@pytest.fixture(autouse=True)
def marked(monkeypatch):
    monkeypatch.setattr("tests.lane.peers.create_app", create_app)


def by_hypercorn(answer):
    return answer.headers.get("x-door") == "hypercorn"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("GET", "/v1/metrics"), 200),
        (request("GET", "/openapi.yaml"), 200),
        (request("GET", "/nowhere"), 404),
        (request("POST", "/v1/state/a", b"{}"), 405),
        (request("OPTIONS", "/v1/state/a"), 204),
        (request("BREW", "/v1/state/a"), 405),
        (request("get", "/v1/health"), 200),
        (request("POST", "/v1/snapshot"), 200),
    ],
)
async def test_other_routes_and_methods_are_answered_by_hypercorn(lane, raw, status):
    async with lane.connect() as peer:
        await peer.send(raw)
        answer = await peer.answer()
    assert (answer.status, by_hypercorn(answer)) == (status, True)
    assert lane.lane.statistics().handed_over == 1


async def test_the_other_door_is_made_once_when_it_is_first_needed(monkeypatch):
    made = []

    def counted(api):
        made.append(api)
        return create_app(api)

    monkeypatch.setattr("tests.lane.peers.create_app", counted)
    async with open_lane() as lane, lane.connect() as one, lane.connect() as other:
        await one.send(put("a", 1) + request("GET", "/v1/ready"))
        assert [(await one.answer()).status for _ in range(2)] == [200, 200]
        assert not made
        for peer in (one, other):
            await peer.send(request("GET", "/v1/metrics"))
        assert [by_hypercorn(await peer.answer()) for peer in (one, other)] == [True, True]
        assert len(made) == 1


@pytest.fixture
def slow_door(monkeypatch):
    """Making the other door has begun; it may go on."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(api):
        begun.set()
        go_on.wait()
        return create_app(api)

    monkeypatch.setattr("tests.lane.peers.create_app", slow)
    return begun, go_on


async def test_a_client_that_leaves_while_the_door_is_made_costs_nobody_else_anything(slow_door):
    begun, go_on = slow_door
    async with open_lane() as lane, lane.connect() as other:
        async with lane.connect() as one:
            await one.send(request("GET", "/v1/metrics"))
            await trio.to_thread.run_sync(begun.wait)
            one.reset()
        await other.send(request("GET", "/v1/metrics"))
        go_on.set()
        assert by_hypercorn(await other.answer())


async def test_a_door_that_is_made_during_a_shutdown_is_closed_again(slow_door):
    begun, go_on = slow_door
    async with open_lane() as lane, lane.connect() as peer:
        await peer.send(request("GET", "/v1/metrics"))
        await trio.to_thread.run_sync(begun.wait)
        lane.shutdown.set()
        await wait_all_tasks_blocked()
        go_on.set()
        answer = await peer.answer()
        assert (answer.status, answer.headers["connection"]) == (503, "close")
        with trio.fail_after(PATIENCE_SECS):
            await lane.finished.wait()


async def test_a_request_handed_over_may_come_byte_by_byte(lane):
    async with lane.connect() as peer:
        await peer.send_slowly(request("GET", "/v1/metrics"))
        answer = await peer.answer()
    assert (answer.status, by_hypercorn(answer)) == (200, True)


async def test_a_request_handed_over_may_be_split_at_every_point(lane):
    raw = request("POST", "/v1/state/batch_put", b'{"operations":[]}').replace(b"POST", b"PUT", 1)
    for at in range(1, len(raw), 5):
        async with lane.connect() as peer:
            await peer.send_slowly(raw[:at], len(raw))
            await peer.send(raw[at:])
            assert (await peer.answer()).status in (400, 422)


async def test_the_connection_stays_with_hypercorn_for_hot_routes_too(lane):
    async with lane.connect() as peer:
        await peer.send(request("GET", "/v1/metrics"))
        assert by_hypercorn(await peer.answer())
        await peer.send(put("a", 1))
        assert by_hypercorn(await peer.answer())
        await peer.send(get("a"))
        answer = await peer.answer()
        assert (answer.json()["value"], by_hypercorn(answer)) == (1, True)
    assert lane.lane.statistics().handed_over == 1


async def test_what_is_pipelined_behind_goes_along(lane):
    async with lane.connect() as peer:
        await peer.send(put("a", 1) + request("GET", "/v1/metrics") + get("a"))
        assert not by_hypercorn(await peer.answer())
        assert by_hypercorn(await peer.answer())
        answer = await peer.answer()
        assert (answer.json()["value"], by_hypercorn(answer)) == (1, True)


async def test_a_large_body_goes_along(lane):
    body = json.dumps({"operations": [{"key": "a", "value": "x" * 400_000}]}).encode()
    raw = request("PATCH", "/v1/state/batch_put/nowhere/", body).replace(b"PATCH", b"POST", 1)
    async with lane.connect() as peer:
        await peer.send(raw)
        assert (await peer.answer()).status == 405
        await peer.send(chunked_request("GET", "/v1/metrics", b"5\r\nhello\r\n0\r\n\r\n"))
        assert (await peer.answer()).status == 200


async def test_a_body_over_the_limit_is_refused_there_as_well():
    config = attrs.evolve(IN_MEMORY, limits=Limits(body_bytes_max=2048))
    async with open_lane(config) as served, served.connect() as peer:
        await peer.send(request("POST", "/v1/snapshot", b"x" * 3000))
        answer = await peer.answer()
        assert (answer.status, answer.error) == (413, "payload_too_large")


async def test_an_upgrade_on_a_hot_route_is_left_to_hypercorn(lane):
    key = base64.b64encode(b"0123456789abcdef").decode()
    lines = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}")
    raw = request("GET", "/v1/stream", b"", *lines, "Sec-WebSocket-Version: 13")
    async with lane.connect() as peer:
        await peer.send(raw)
        answer = await peer.answer()
    assert (answer.status, answer.error) == (404, "not_found")
    assert "WebSocket" in answer.json()["message"]


async def test_an_upgrade_that_hypercorn_does_not_take_is_an_ordinary_request(lane):
    async with lane.connect() as peer:
        await peer.send(request("GET", "/v1/health", b"", "Upgrade: carrier-pigeon"))
        answer = await peer.answer()
    assert (answer.body, by_hypercorn(answer)) == (b"ok", True)


async def test_http_2_with_prior_knowledge_is_spoken_on_the_same_port(lane):
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = b"\0\0\0\x04\0\0\0\0\0"
    async with lane.connect() as peer:
        await peer.send_slowly(preface + settings, 5)
        header = await peer._exactly(9)
        assert header[3] == 4, "the server's first frame must be SETTINGS"


async def test_tls_to_the_plain_port_ends_without_harm(lane):
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="a")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    async with lane.connect() as peer:
        await peer.send(outgoing.read())
        await peer.rest()
    assert lane.lane.statistics().handed_over == 1
    answer, _ = await lane.say(request("GET", "/v1/health", b"", "Connection: close"))
    assert answer.status == 200


@pytest.mark.parametrize("leave", [Peer.reset, Peer.half_close])
async def test_a_client_of_hypercorn_that_leaves_is_forgotten_at_once(lane, leave):
    async with lane.connect() as peer:
        await peer.send(request("GET", "/v1/metrics"))
        await peer.answer()
        leave(peer)
        await until(lambda: lane.lane.statistics().connections == 0)


async def test_an_idle_connection_with_hypercorn_is_closed(mock_clock):
    config = attrs.evolve(IN_MEMORY, http=Http(idle_timeout_secs=3))
    async with open_lane(config) as served, served.connect() as peer:
        await peer.send(request("GET", "/v1/metrics"))
        assert (await peer.answer()).status == 200
        await trio.testing.wait_all_tasks_blocked(0.01)
        mock_clock.jump(4)
        assert await peer.rest() == b""


async def test_a_connection_that_was_handed_over_lasts_for_any_number_of_requests(lane):
    async with lane.connect() as peer:
        for _ in range(1100):
            await peer.send(request("GET", "/"))
            answer = await peer.answer()
            assert (answer.status, answer.headers.get("connection")) == (200, None)
