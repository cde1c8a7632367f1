"""Bodies that come as gzip, a byte order mark in front, and targets that name the host: over real
sockets, through both doors."""

import gzip
import json
import zlib

import pytest

from kissvdb.config import Limits, Server
from tests.api.wire import configured, door

BOM = b"\xef\xbb\xbf"
KIB = 1024
LIMITS = Limits(body_bytes_max=64 * KIB, json_bytes_max=64 * KIB)


@pytest.fixture(params=[True, False], ids=["lane", "hypercorn"])
def lane(request):
    return request.param


def request(method, target, body=b"", *lines, media="application/json", host="127.0.0.1"):
    head = [f"{method} {target} HTTP/1.1", f"host: {host}", "connection: close", *lines]
    if body:
        head += [f"content-type: {media}", f"content-length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


def parsed(answer):
    """Status and body of an answer, unchunked."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        whole = b""
        while body:
            size, _, body = body.partition(b"\r\n")
            whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
        body = whole
    return int(head.split(b" ", 2)[1]), body


def lines_of(body):
    return [json.loads(line) for line in body.splitlines()]


GZIP = "content-encoding: gzip"


@pytest.mark.parametrize("coding", ["gzip", "GZip", "x-gzip", "identity"])
async def test_a_gzip_body_is_read(lane, coding):
    plain = b'{"value":{"a":[1,2,3]}}'
    body = plain if coding == "identity" else gzip.compress(plain)
    async with door(configured(lane)) as server:
        raw = request("PUT", "/v1/state/k", body, f"content-encoding: {coding}")
        status, answer = parsed(await server.exchange(raw))
        assert (status, json.loads(answer)["offset"]) == (200, 1)
        assert server.database.get("k").value == b'{"a":[1,2,3]}'


async def test_every_route_with_a_body_reads_gzip(lane):
    vectors = [{"id": f"v{n}", "vector": [n, 1, 0]} for n in range(3)]
    calls = [
        ("PATCH", "/v1/state/k", {"b": 1}),
        ("POST", "/v1/state/batch_put", {"operations": [{"key": "b", "value": 1}]}),
        ("POST", "/v1/events", {"type": "log", "data": 1}),
        ("POST", "/v1/vector/c", {"dim": 3, "metric": "dot"}),
        ("POST", "/v1/vector/c/upsert_batch", {"items": vectors}),
        ("POST", "/v1/vector/c/search", {"vector": [1, 0, 0], "k": 1}),
    ]
    async with door(configured(lane)) as server:
        for method, target, value in calls:
            body = gzip.compress(json.dumps(value).encode())
            status, answer = parsed(await server.exchange(request(method, target, body, GZIP)))
            assert status == 200, answer
        assert json.loads(answer)["hits"][0]["id"] == "v2"


async def test_a_large_gzip_body_and_one_of_several_members_are_read(lane):
    value = json.dumps({"value": "x" * 40 * KIB}).encode()
    members = gzip.compress(value[:100]) + gzip.compress(b"") + gzip.compress(value[100:])
    async with door(configured(lane, limits=LIMITS)) as server:
        for key, body in (("one", gzip.compress(value)), ("many", members)):
            status, answer = parsed(
                await server.exchange(request("PUT", f"/v1/state/{key}", body, GZIP))
            )
            assert status == 200, answer
            assert len(server.database.get(key).value) == 40 * KIB + 2


def bomb(size):
    """``size`` bytes of spaces, in about a thousandth of them."""
    packer = zlib.compressobj(9, wbits=31)
    spaces = b" " * (1024 * KIB)
    parts = [packer.compress(spaces) for _ in range(size // len(spaces))]
    return b"".join([*parts, packer.flush()])


async def test_a_bomb_is_left_at_the_limit(lane, monkeypatch):
    made = []
    unpacker = zlib.decompressobj

    class Counted:
        def __init__(self, *args, **options):
            self._inner = unpacker(*args, **options)

        def decompress(self, *args):
            data = self._inner.decompress(*args)
            made.append(len(data))
            return data

        def __getattr__(self, name):
            return getattr(self._inner, name)

    monkeypatch.setattr(zlib, "decompressobj", Counted)
    body = bomb(32 * 1024 * KIB)
    assert len(body) < LIMITS.body_bytes_max
    async with door(configured(lane, limits=LIMITS)) as server:
        raw = request("PUT", "/v1/state/k", body, GZIP)
        status, answer = parsed(await server.exchange(raw))
        assert (status, json.loads(answer)["error"]) == (413, "payload_too_large")
        assert b"MAX_BODY_BYTES" in answer
        assert 0 < sum(made) < 1024 * KIB
        assert server.database.last_offset == 0


class Counted:
    """zlib's own decompressor, and how much all of them were given."""

    given = 0

    def __init__(self, *args, **options):
        self._real = DECOMPRESSOR(*args, **options)

    def decompress(self, data, *args):
        Counted.given += len(data)
        return self._real.decompress(data, *args)

    def __getattr__(self, name):
        return getattr(self._real, name)


DECOMPRESSOR = zlib.decompressobj


async def test_a_body_of_empty_members_is_not_copied_for_each(lane, monkeypatch):
    monkeypatch.setattr(zlib, "decompressobj", Counted)
    Counted.given = 0
    members = gzip.compress(b"") * (LIMITS.body_bytes_max // 20) + gzip.compress(b'{"value":1}')
    limits = Limits(body_bytes_max=2 * LIMITS.body_bytes_max)
    async with door(configured(lane, limits=limits)) as server:
        status, answer = parsed(await server.exchange(request("PUT", "/v1/state/k", members, GZIP)))
        assert status == 200, answer
    # Given whole it would be 107 MB: half of the body for each of 3,276 members.
    assert Counted.given < 40_000_000


async def test_an_empty_body_may_be_called_gzip(lane):
    """Some clients set the header for every request."""
    async with door(configured(lane)) as server:
        raw = request("POST", "/v1/bulk", b"", GZIP, "content-length: 0")
        assert parsed(await server.exchange(raw)) == (200, b"")
        raw = request("PUT", "/v1/state/k", b"", "content-encoding: br", "content-length: 0")
        status, answer = parsed(await server.exchange(raw))
        assert (status, json.loads(answer)["message"]) == (400, "body: empty, send JSON")


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "gzip, gzip", "compress", ""])
async def test_another_coding_is_a_415_that_names_the_header(lane, coding):
    async with door(configured(lane)) as server:
        for target, method in (("/v1/state/k", "PUT"), ("/v1/bulk", "POST")):
            raw = request(method, target, b'{"value":1}', f"content-encoding: {coding}")
            answer = await server.exchange(raw)
            assert parsed(answer)[0] == 415, answer
            assert b"content-encoding" in parsed(answer)[1]
            assert b"accept-encoding: gzip\r\n" in answer.lower()
        assert server.database.last_offset == 0


GOOD = gzip.compress(b'{"value":1}')
BROKEN = {
    "not gzip": b'{"value":1}',
    "cut off": GOOD[:-4],
    "a wrong checksum": GOOD[:-8] + b"\0\0\0\0" + GOOD[-4:],
    "garbage behind": GOOD + b"garbage",
    "zlib": zlib.compress(b'{"value":1}'),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
async def test_broken_gzip_is_a_400_that_says_so(lane, body):
    async with door(configured(lane)) as server:
        status, answer = parsed(await server.exchange(request("PUT", "/v1/state/k", body, GZIP)))
        assert (status, json.loads(answer)["error"]) == (400, "invalid_argument")
        assert b"gzip" in answer
        assert server.database.last_offset == 0


async def test_bulk_reads_gzip_of_any_length_as_it_comes(lane):
    """Far more than a body may hold, in one gzip that is far less."""
    count = 3000
    operations = (
        b'{"op":"put","key":"k%d","value":"%s"}\n' % (n, b"x" * 100) for n in range(count)
    )
    body = gzip.compress(b"".join(operations))
    async with door(configured(lane, limits=LIMITS)) as server:
        for begun in (True, False):
            raw = request(
                "POST", "/v1/bulk?answers=errors", body, GZIP, media="application/x-ndjson"
            )
            # In one piece, or so that the operation begins with only the start of its body.
            cut = len(raw) - len(body) + (len(body) if begun else 50)
            status, answer = parsed(await server.exchange(raw[:cut], raw[cut:]))
            assert status == 200, answer
            done = lines_of(answer)[-1]
            assert (done["operations"], done["errors"]) == (count, 0)
        assert server.database.get(f"k{count - 1}") is not None


async def test_bulk_reads_gzip_in_chunks(lane):
    body = gzip.compress(b'{"op":"put","key":"a","value":1}\n{"op":"put","key":"b","value":2}\n')
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    head = (
        "POST /v1/bulk HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-encoding: gzip\r\n"
        "content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    async with door(configured(lane)) as server:
        answer = await server.exchange(head.encode(), *chunks, b"0\r\n\r\n")
        assert [line["status"] for line in lines_of(parsed(answer)[1])] == ["ok", "ok"]


async def test_bulk_does_what_came_before_gzip_breaks_and_says_where_it_ended(lane):
    body = gzip.compress(b'{"op":"put","key":"a","value":1}\n' * 3)
    async with door(configured(lane)) as server:
        raw = request("POST", "/v1/bulk", body[:-8] + b"\0" * 8, GZIP, media="application/x-ndjson")
        _, answer = parsed(await server.exchange(raw))
        *done, error = lines_of(answer)
        assert [line["status"] for line in done] == ["ok"] * len(done)
        assert error["status"] == "error"
        assert "gzip" in error["error"]["message"]


async def test_a_bulk_bomb_costs_no_memory(lane):
    """An endless line is passed over, as it is without gzip."""
    body = bomb(64 * 1024 * KIB) + gzip.compress(b'\n{"op":"put","key":"a","value":1}\n')
    async with door(configured(lane, limits=LIMITS)) as server:
        raw = request("POST", "/v1/bulk", body, GZIP, media="application/x-ndjson")
        _, answer = parsed(await server.exchange(raw))
        first, second = lines_of(answer)
        assert first["error"]["error"] == "payload_too_large"
        assert second["status"] == "ok"


CALLS = [
    ("PUT", "/v1/state/k", b'{"value":1}'),
    ("PATCH", "/v1/state/k", b'{"a":1}'),
    ("POST", "/v1/events", b'{"type":"log","data":1}'),
    ("POST", "/v1/state/batch_put", b'{"operations":[{"key":"a","value":1}]}'),
    ("POST", "/v1/vector/c", b'{"dim":3,"metric":"dot"}'),
    ("POST", "/v1/bulk", b'{"op":"put","key":"k","value":1}'),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[1])
async def test_a_byte_order_mark_is_skipped(lane, call):
    method, target, body = call
    async with door(configured(lane)) as server:
        status, answer = parsed(await server.exchange(request(method, target, BOM + body)))
        assert status == 200, answer
        assert b'"error"' not in answer
        if target == "/v1/state/k":
            assert not server.database.get("k").value.startswith(BOM)
        status, answer = parsed(await server.exchange(request(method, target, 2 * BOM + body)))
        assert status == 400 or b'"error"' in answer


@pytest.mark.parametrize(
    "target",
    [
        *("http://127.0.0.1:9917", "http://localhost", "HTTP://LOCALHOST:1", "http://[::1]:9917"),
        *("http://db.example.org", "https://db.example.org:443", "http://192.0.2.7"),
    ],
)
async def test_a_target_that_names_this_server_is_its_path(lane, target):
    config = configured(lane, server=Server(hosts=("db.example.org",)))
    async with door(config) as server:
        host = target.partition("://")[2]
        for method, path, body, status in (
            ("PUT", "/v1/state/k", b'{"value":1}', 200),
            ("GET", "/v1/state/k?_x=1", b"", 200),
            ("POST", "/v1/bulk", b'{"op":"put","key":"k","value":1}', 200),
            ("GET", "/nowhere", b"", 404),
            ("OPTIONS", "/v1/state/k", b"", 204),
            ("GET", "", b"", 200),
        ):
            raw = request(method, f"{target}{path}", body, host=host)
            answer = await server.exchange(raw)
            assert parsed(answer)[0] == status, answer


async def test_no_answer_names_the_software_behind(lane):
    async with door(configured(lane)) as server:
        for method, path in (("GET", "/v1/ready"), ("GET", "/nowhere"), ("OPTIONS", "/v1/state/k")):
            answer = await server.exchange(request(method, path))
            assert b"\r\nserver:" not in answer.partition(b"\r\n\r\n")[0].lower()


async def test_a_target_that_names_another_server_is_refused(lane):
    async with door(configured(lane)) as server:
        for target in ("http://evil.example/v1/state/k", "http://a@127.0.0.1/v1/state/k"):
            raw = request("PUT", target, b'{"value":1}', host="127.0.0.1")
            status, answer = parsed(await server.exchange(raw))
            assert status == 400, answer
        assert server.database.last_offset == 0


async def test_the_host_of_the_target_is_the_host_of_the_request(lane):
    """RFC 9112, section 3.2.2: the Host header then counts for nothing."""
    async with door(configured(lane)) as server:
        target = "http://192.0.2.7/v1/state/k"
        page = "origin: http://192.0.2.7"
        raw = request("PUT", target, b'{"value":1}', page, host="evil.example")
        assert parsed(await server.exchange(raw))[0] == 200
        page = "origin: http://evil.example"
        raw = request("PUT", target, b'{"value":1}', page, host="evil.example")
        assert parsed(await server.exchange(raw))[0] == 403
