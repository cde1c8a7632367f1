"""Header lines that are the same as before are not read again, and mean the same."""

import itertools

import pytest
from trio.testing import wait_all_tasks_blocked

from kissvdb.api.bound import Bound
from kissvdb.api.routes import ROUTES
from kissvdb.config import Config
from kissvdb.lane.errors import MalformedRequest
from kissvdb.lane.head import HeadReader
from kissvdb.lane.limits import LaneLimits
from kissvdb.lane.reader import RequestReader
from kissvdb.metrics import Metrics
from tests.lane.peers import chunked_request, get, put, request

LIMITS = LaneLimits.of(Config())
VISIBLE = [chr(code) for code in range(0x21, 0x7F)]


@pytest.mark.parametrize("target", ["/{}", "/a{}b", "/?{}", "/?a{}b", "/#{}", "/?#a{}{}", "/{}{}"])
def test_the_reader_of_header_lines_takes_every_target_the_request_line_may_have(target):
    # So a target may be new while the lines are not.
    used = HeadReader(LIMITS)
    used.read(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    for character in VISIBLE:
        raw = f"GET {target.format(character, character)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        assert used.read(raw) == HeadReader(LIMITS).read(raw)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", b"PUT /a HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /a HTTP/1.0\r\nHost: x\r\n\r\n"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", b"GET * HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", b"BREW /a HTTP/1.1\r\nHost: x\r\n\r\n"),
    ],
)
def test_another_start_with_the_same_lines_is_another_head(first, second):
    used = HeadReader(LIMITS)
    used.read(first)
    assert used.read(second) == HeadReader(LIMITS).read(second)


def test_lines_that_were_refused_are_refused_again():
    reader = HeadReader(LIMITS)
    for _ in range(2):
        with pytest.raises(MalformedRequest):
            reader.read(b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n")
        reader.forget()


SEARCH = next(each for each in ROUTES if each.path == "/v1/vector/{collection}/search")
FOUND = (Bound.of(SEARCH, Metrics(), strict=True), {"collection": "c"})
LINES = (
    ("Host: x", "content-length: {}", "a: b"),
    ("Content-Length: {}", "Host: x"),
    ("x-a: content-length: 3", "Content-Length:  {}", "Host: x"),
    ("Host: x", "Content-Length: {}", "Content-Length: {}"),
    ("Host: x", "CONTENT-LENGTH: {}"),
)


def with_body(lines, body, length="{}"):
    head = "\r\n".join(["POST /v1/vector/c/search?a=1 HTTP/1.1", *lines, "", ""])
    return head.replace("{}", length.format(len(body))).encode() + body


@pytest.mark.parametrize("lines", LINES)
def test_what_is_known_by_its_head_is_what_would_be_read(lines):
    body = b"first"
    whole = RequestReader(None, LIMITS, None).whole_request(with_body(lines, body))
    raw = with_body(lines, body)[: -len(body)]
    known = whole and RequestReader(None, LIMITS, None).repeat(raw, whole[0], FOUND, None)
    assert (known is not None) == (lines in LINES[:2])
    if known is None:
        return
    lengths = ("{}", "0{}", "+{}", " {}", "{} ", "{}1", "", "0x{}", "1_{}")
    for length, body, others in itertools.product(
        lengths, (b"", b"a", b"a" * 10, b"\r\n\r\n" * 60), (lines, LINES[0], LINES[1])
    ):
        data = with_body(others, body, length)
        request = known.read(data, "peer")
        fresh = RequestReader(None, LIMITS, None).whole_request(data)
        if request is None:
            assert fresh is None or others is not lines or length != "{}", data
            continue
        assert (request.method, request.path, request.query) == ("POST", fresh[0].path, "a=1")
        assert (dict(request.headers), request.body) == (fresh[0].headers, fresh[1])
        assert request.params == {"collection": "c"}


async def test_repeated_requests_of_every_kind_are_read_alike(lane):
    chunked = chunked_request("PUT", "/v1/state/c", b'b\r\n{"value":7}\r\n0\r\n\r\n')
    script = [put("a", 11), get("a"), put("a", 12), chunked, get("c"), get("a"), put("b", 13)]
    async with lane.connect() as peer:
        for _ in range(3):
            for raw in script:
                await peer.send(raw)
                assert (await peer.answer()).status == 200
        await peer.send(b"".join(script) * 3)
        for _ in range(3 * len(script)):
            assert (await peer.answer()).status == 200
    assert lane.database.get("a").value == b"12"
    assert lane.database.get("c").value == b"7"


async def test_equal_lines_with_bodies_of_equal_length_do_not_share_their_bodies(lane):
    async with lane.connect() as peer:
        for value in range(10, 20):
            await peer.send(put("k", value) + get("k"))
            assert (await peer.answer()).status == 200
            assert (await peer.answer()).json()["value"] == value


async def test_a_body_that_looks_like_a_request_is_a_body(lane):
    smuggled = request("PUT", "/v1/state/smuggled", b'{"value":1}')
    body = b'{"value":"' + smuggled.replace(b"\r\n", b"\\r\\n").replace(b'"', b'\\"') + b'"}'
    async with lane.connect() as peer:
        for _ in range(3):
            await peer.send(request("PUT", "/v1/state/k", body))
            assert (await peer.answer()).status == 200
    assert lane.database.get("smuggled") is None


@pytest.mark.parametrize(
    "other",
    [
        get("b%2Fc"),
        get("k?at=1"),
        get("k", "If-None-Match: *"),
        request("GET", "/v1/state/?"),
        request("GET", "/v1/state/"),
        request("GET", "/v1/statement"),
        request("POST", "/v1/state/batch_put", b'{"operations":[{"key":"z","value":1}]}'),
        request("POST", "/v1/state/batch_ptu", b'{"operations":[{"key":"z","value":1}]}'),
        request("PUT", "/v1/state/k", b'{"value":12345}'),
        request("DELETE", "/v1/state/zzz"),
        put("x" * 1500, 1),
    ],
)
async def test_what_only_begins_like_the_requests_before_is_read_for_itself(lane, other):
    like = request("POST", "/v1/state/batch_put", b'{"operations":[{"key":"y","value":1}]}')
    first = [get("k"), put("k", 1), like]
    async with lane.connect() as peer:
        await peer.send(put("k", 1) + put("b/c", 2))
        assert [(await peer.answer()).status for _ in range(2)] == [200, 200]
        async with lane.connect() as fresh:
            await fresh.send(other)
            expected = await fresh.answer()
        for raw in [*first, *first, *first, other, *first]:
            await peer.send(raw)
            answer = await peer.answer()
            wanted = expected.status if raw is other else 200
            assert answer.status == wanted, raw
        if other.startswith(b"GET"):
            await peer.send(other)
            assert (await peer.answer()).body == expected.body


async def test_a_fixed_path_is_no_key_however_often_keys_were_asked_for(lane):
    # POST of a key is no route: nothing that was learned of other methods makes it one.
    async with lane.connect() as peer:
        for key in ("a", "b", "c", "batch_put"):
            await peer.send(put(key, 1))
            assert (await peer.answer()).status == 200
        await peer.send(get("batch_put"))
        assert (await peer.answer()).json()["key"] == "batch_put"


async def test_a_connection_knows_a_few_kinds_of_requests_again(lane):
    async with lane.connect() as peer:
        for round_ in range(4):
            for kind in range(9):
                await peer.send(put(f"{kind}", round_, f"X-Kind: {kind}"))
                assert (await peer.answer()).status == 200
                await peer.send(get(f"{kind}", f"X-Kind: {kind}"))
                assert (await peer.answer()).json()["value"] == round_


@pytest.mark.parametrize("size", [400, 401])
async def test_a_repeated_request_whose_body_comes_in_two_is_waited_for(lane, size):
    body = b'{"value":"' + b"x" * size + b'"}'
    whole = request("PUT", "/v1/state/k", body)
    head = len(whole) - len(body)
    # Where half of what the body is longer than the head has come, too.
    middle = head + (len(body) - head) // 2
    async with lane.connect() as peer:
        for cut in (len(whole), len(whole), head, *range(middle - 1, middle + 2), len(whole) - 1):
            await peer.send(whole[:cut])
            await wait_all_tasks_blocked()
            await peer.send(whole[cut:])
            assert (await peer.answer()).status == 200, cut
