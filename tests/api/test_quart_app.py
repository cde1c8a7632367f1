"""The full door over real sockets: what only a server between client and handler can spoil."""

import json

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.config import Limits, Server, Stream
from tests.api.wire import configured, door, read_until
from tests.patience import PATIENCE_SECS


def parsed(answer):
    """Status, lower-case headers and body of one raw HTTP/1.1 answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body


def code_of(body):
    error = json.loads(body)
    assert set(error) == {"error", "message"}
    return error["error"]


async def test_the_raw_path_reaches_the_key():
    async with door() as server:
        for path, key in [
            ("a%2Fb", "a/b"),
            ("a/b", "a/b"),
            ("a//b", "a//b"),
            ("a+b", "a+b"),
            ("%25", "%"),
            ("%C3%A9%20x", "é x"),
            ("a%3Fb%23c", "a?b#c"),
            (".", "."),
            ("..%2f..", "../.."),
        ]:
            request = (
                f"PUT /v1/state/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
                "content-length: 11\r\n\r\n" + '{"value":1}'
            )
            status, _, body = parsed(await server.exchange(request.encode()))
            assert (status, json.loads(body)["key"]) == (200, key)


async def test_head_answers_the_length_of_get_and_no_body():
    async with door() as server:
        await server.http.put("/v1/state/k", json={"value": 1})
        get = await server.http.get("/v1/state/k")
        request = b"HEAD /v1/state/k HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        status, headers, body = parsed(await server.exchange(request))
        assert (status, headers["content-length"], body) == (200, str(len(get.content)), b"")
        assert headers["etag"] == '"1"'


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD"])
async def test_every_method_is_answered_by_the_dispatcher(method):
    async with door() as server:
        answer = await server.http.request(method, "/v1/stream")
        assert answer.status_code in (200, 204)
        assert answer.content == b""
        assert answer.headers["x-request-id"]


async def test_304_and_204_have_no_body_and_no_length():
    async with door() as server:
        await server.http.put("/v1/state/k", json={"value": 1})
        answer = await server.http.get("/v1/state/k", headers={"if-none-match": '"1"'})
        assert (answer.status_code, answer.content) == (304, b"")
        assert "content-length" not in answer.headers
        answer = await server.http.options("/v1/state/k")
        assert answer.status_code == 204
        assert "content-length" not in answer.headers


@pytest.mark.parametrize(
    ("target", "method", "status", "code"),
    [
        ("/nowhere", "GET", 404, "not_found"),
        ("//v1/state", "GET", 404, "not_found"),
        ("/v1/state/", "GET", 400, "invalid_argument"),
        ("/v1/state/%", "GET", 400, "invalid_argument"),
        ("/v1/health", "POST", 405, "method_not_allowed"),
        ("/v1/state/k", "BREW", 405, "method_not_allowed"),
        ("/static/x", "GET", 404, "not_found"),
    ],
)
async def test_the_frameworks_own_refusals_have_the_one_shape(target, method, status, code):
    async with door() as server:
        request = f"{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        found, headers, body = parsed(await server.exchange(request.encode()))
        assert (found, code_of(body)) == (status, code)
        assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("host", ["x", "a b", "[::1", "x:y", "é", "a,b"])
async def test_a_strange_host_header_breaks_nothing(host):
    async with door() as server:
        request = f"GET /v1/health HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        status, _, body = parsed(await server.exchange(request.encode("latin-1")))
        assert (status, body) == (200, b"ok") or status == 400


async def test_a_body_over_the_limit_is_refused_however_it_comes():
    async with door(configured(limits=Limits(body_bytes_max=1024))) as server:
        announced = await server.http.put("/v1/state/k", content=b"x" * 1025)
        head = b"PUT /v1/state/k HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
        head += b"connection: close\r\n\r\n"
        chunk = b"401\r\n" + b"x" * 1025 + b"\r\n0\r\n\r\n"
        status, _, body = parsed(await server.exchange(head, chunk))
        for found, content in ((announced.status_code, announced.content), (status, body)):
            assert (found, code_of(content)) == (413, "payload_too_large")
            assert "MAX_BODY_BYTES" in content.decode()
        assert server.database.last_offset == 0


async def test_a_body_that_never_comes_is_a_408():
    async with door(configured(server=Server(request_timeout_secs=1))) as server:
        request = b"PUT /v1/state/k HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"
        status, _, body = parsed(await server.exchange(request))
        assert (status, code_of(body)) == (408, "timeout")
        assert "nothing was done" in body.decode()


async def test_a_stream_outlives_every_timeout_and_ends_with_the_client():
    config = configured(server=Server(request_timeout_secs=1), stream=Stream(heartbeat_secs=2))
    async with door(config) as server:
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(b"GET /v1/stream HTTP/1.1\r\nhost: x\r\n\r\n")
            head = (await read_until(stream, b": ok\n\n")).lower()
            assert b"content-type: text/event-stream\r\n" in head
            assert b"content-length" not in head
            assert server.database.hub.client_count == 1
            # The heartbeat comes after the request timeout has long passed.
            await read_until(stream, b": keepalive\n\n")
        with trio.fail_after(PATIENCE_SECS):
            while server.database.hub.client_count:
                await wait_all_tasks_blocked()
                await trio.lowlevel.checkpoint()


async def test_a_client_that_leaves_at_once_leaves_no_stream_behind():
    async with door() as server:
        for _ in range(20):
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            await stream.send_all(b"GET /v1/stream HTTP/1.1\r\nhost: x\r\n\r\n")
            await stream.aclose()
        # A request behind them all: whatever they did is done.
        assert (await server.http.get("/v1/health")).text == "ok"
        with trio.fail_after(PATIENCE_SECS):
            while server.database.hub.client_count:
                await wait_all_tasks_blocked()
                await trio.lowlevel.checkpoint()


async def test_a_websocket_is_told_where_to_go():
    async with door() as server:
        request = (
            b"GET /v1/stream HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        status, _, body = parsed(await server.exchange(request))
        assert (status, code_of(body)) == (404, "not_found")
        assert "/v1/stream" in body.decode()


async def test_a_repeated_header_counts_once_with_its_last_value():
    async with door() as server:
        request = (
            b"GET /v1/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            b"x-request-id: one\r\nx-request-id: two\r\n\r\n"
        )
        _, headers, _ = parsed(await server.exchange(request))
        assert headers["x-request-id"] == "two"
