"""Requests of every kind and in every packaging, over real sockets."""

import json

import pytest

from tests.lane.peers import chunked_request, get, put, request


async def test_a_value_put_is_read_back_with_its_etag(lane):
    async with lane.connect() as peer:
        await peer.send(put("job", {"p": 1}))
        written = (await peer.answer()).json()
        assert (written["key"], written["revision"]) == ("job", 1)
        await peer.send(get("job"))
        answer = await peer.answer()
    assert answer.json()["value"] == {"p": 1}
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["date"].endswith(" GMT")
    assert lane.lane.statistics().handed_over == 0


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("GET", "/v1/health"), 200),
        (request("DELETE", "/v1/state/none"), 200),
        (request("PATCH", "/v1/state/a", b'{"x":1}'), 200),
        (request("POST", "/v1/state/batch_put", b'{"operations":[{"key":"a","value":1}]}'), 200),
        (request("POST", "/v1/events", b'{"type":"progress","data":{"p":1}}'), 200),
        (request("GET", "/v1/state/none"), 404),
        (request("PUT", "/v1/state/a", b"{"), 400),
        (request("PUT", "/v1/state/a", b'{"ttl_ms":5}'), 422),
    ],
)
async def test_hot_routes_are_answered_without_hypercorn(lane, raw, status):
    async with lane.connect() as peer:
        await peer.send(raw)
        assert (await peer.answer()).status == status
    assert lane.lane.statistics().handed_over == 0


async def test_a_request_delivered_byte_by_byte_is_one_request(lane):
    async with lane.connect() as peer:
        await peer.send_slowly(put("slow", "bytes"))
        assert (await peer.answer()).json()["revision"] == 1
        await peer.send(get("slow"))
        assert (await peer.answer()).json()["value"] == "bytes"


async def test_requests_split_at_every_point_are_the_same_requests(lane):
    raw = put("split", 1) + get("split")
    async with lane.connect() as peer:
        for at in range(1, len(raw)):
            await peer.send_slowly(raw[:at], len(raw))
            await peer.send(raw[at:])
            assert (await peer.answer()).json()["revision"] == at
            assert (await peer.answer()).json()["value"] == 1


async def test_pipelined_requests_are_answered_in_order(lane):
    count = 200
    async with lane.connect() as peer:
        raw = b"".join(put(f"k{n}", n) + get(f"k{n}") for n in range(count))
        await peer.send(raw)
        for n in range(count):
            assert (await peer.answer()).json()["key"] == f"k{n}"
            assert (await peer.answer()).json()["value"] == n


async def test_a_chunked_body_is_joined_and_the_next_request_follows(lane):
    value = json.dumps({"value": "x" * 300}).encode()
    parts = (b"7;ext=1\r\n" + value[:7], b"\r\nA\r\n" + value[7:17])
    rest = b"\r\n%X\r\n%b\r\n0\r\nTrailer: t\r\n\r\n" % (len(value) - 17, value[17:])
    raw = chunked_request("PUT", "/v1/state/c", b"".join(parts) + rest) + get("c")
    async with lane.connect() as peer:
        await peer.send(raw)
        assert (await peer.answer()).status == 200
        assert (await peer.answer()).json()["value"] == "x" * 300


async def test_a_chunked_body_split_at_every_point_is_the_same_body(lane):
    body = b'5;a="b"\r\n{"val\r\n5\r\nue":1\r\n1\r\n}\r\n0\r\nX: y\r\n\r\n'
    raw = chunked_request("PUT", "/v1/state/c", body)
    async with lane.connect() as peer:
        for at in range(len(raw) - len(body), len(raw)):
            await peer.send_slowly(raw[:at], len(raw))
            await peer.send(raw[at:])
            assert (await peer.answer()).status == 200


async def test_continue_is_said_before_the_body_comes(lane):
    raw = put("e", 1, "Expect: 100-continue")
    at = raw.index(b"\r\n\r\n") + 4
    async with lane.connect() as peer:
        await peer.send(raw[:at])
        assert (await peer.answer()).status == 100
        await peer.send(raw[at:])
        assert (await peer.answer()).status == 200


async def test_continue_is_not_said_when_the_body_is_there(lane):
    async with lane.connect() as peer:
        await peer.send(put("e", 1, "Expect: 100-continue"))
        assert (await peer.answer()).status == 200


async def test_continue_is_not_said_to_a_body_that_is_too_large(lane):
    size = lane.limits.body_bytes_max + 1
    lines = ("Expect: 100-continue", f"Content-Length: {size}")
    answer, closed = await lane.say(request("PUT", "/v1/state/e", b"", *lines))
    assert (answer.status, answer.error, closed) == (413, "payload_too_large", True)


async def test_head_has_the_length_of_get_and_no_body(lane):
    async with lane.connect() as peer:
        await peer.send(put("h", "abc"))
        await peer.answer()
        await peer.send(get("h"))
        full = await peer.answer()
        await peer.send(get("h").replace(b"GET", b"HEAD", 1))
        head = await peer.answer(head_only=True)
        await peer.send(get("h"))
        assert (await peer.answer()).body == full.body
    assert head.headers["content-length"] == full.headers["content-length"]
    assert head.headers["etag"] == full.headers["etag"]


async def test_not_modified_has_no_body_and_keeps_the_connection(lane):
    async with lane.connect() as peer:
        await peer.send(put("n", 1) + get("n", 'If-None-Match: "1"') + get("n"))
        assert (await peer.answer()).status == 200
        assert (await peer.answer()).status == 304
        assert (await peer.answer()).json()["value"] == 1


@pytest.mark.parametrize("options", ["close", "Close", "keep-alive, close", "x,close"])
async def test_connection_close_closes_after_the_answer(lane, options):
    answer, closed = await lane.say(request("GET", "/v1/health", b"", f"Connection: {options}"))
    assert (answer.body, answer.headers["connection"], closed) == (b"ok", "close", True)


async def test_connection_lines_add_up(lane):
    lines = ("Connection: close", "Connection: keep-alive")
    answer, closed = await lane.say(request("GET", "/v1/health", b"", *lines))
    assert (answer.status, closed) == (200, True)


@pytest.mark.parametrize("lines", ["", "Connection: keep-alive\r\n"])
async def test_http_1_0_is_answered_and_closed(lane, lines):
    raw = f"GET /v1/health HTTP/1.0\r\n{lines}\r\n".encode()
    answer, closed = await lane.say(raw)
    assert (answer.body, closed) == (b"ok", True)


async def test_a_half_closed_client_gets_all_its_answers(lane):
    async with lane.connect() as peer:
        await peer.send(put("half", 1) + get("half"))
        peer.half_close()
        assert (await peer.answer()).status == 200
        assert (await peer.answer()).json()["value"] == 1
        assert await peer.rest() == b""


async def test_a_half_closed_client_is_told_that_its_request_is_cut(lane):
    for raw in (put("cut", 1)[:30], put("cut", 1)[:-3]):
        async with lane.connect() as peer:
            await peer.send(raw)
            peer.half_close()
            answer = await peer.answer()
            assert (answer.status, answer.error) == (400, "invalid_argument")
    assert lane.database.get("cut") is None


async def test_repeated_headers_that_frame_nothing_are_allowed(lane):
    raw = request(
        "GET", "/v1/health", b"", "X-Thing: 1", "X-Thing: 2", "Accept: */*", "Accept: a/b"
    )
    async with lane.connect() as peer:
        await peer.send(raw)
        assert (await peer.answer()).status == 200


async def test_the_last_of_a_repeated_request_id_is_echoed(lane):
    raw = request("GET", "/v1/health", b"", "X-Request-Id: one", "x-request-id: two")
    async with lane.connect() as peer:
        await peer.send(raw)
        assert (await peer.answer()).headers["x-request-id"] == "two"


async def test_a_large_body_comes_whole(lane):
    value = "v" * 60_000
    async with lane.connect() as peer:
        await peer.send(put("large", value))
        assert (await peer.answer()).status == 200
        await peer.send(get("large"))
        assert (await peer.answer()).json()["value"] == value
