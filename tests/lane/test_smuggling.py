"""Requests that two servers could read differently are refused, and nothing after them is read."""

import pytest

from tests.lane.peers import chunked_request, put, request

HOST = "Host: test"
BODY = b'{"value":1}'
LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = "Transfer-Encoding: chunked"
CHUNKS = b"B\r\n" + BODY + b"\r\n0\r\n\r\n"


def put_with(*lines, body=BODY, line="PUT /v1/state/a HTTP/1.1", end="\r\n"):
    return end.join((line, *lines, "", "")).encode("latin-1") + body


HEADS = {
    "two lengths": put_with(HOST, LENGTH, LENGTH),
    "two different lengths": put_with(HOST, LENGTH, "Content-Length: 5"),
    "a list of lengths": put_with(HOST, f"{LENGTH}, {len(BODY)}"),
    "a signed length": put_with(HOST, f"Content-Length: +{len(BODY)}"),
    "a negative length": put_with(HOST, "Content-Length: -1"),
    "a hexadecimal length": put_with(HOST, "Content-Length: 0xB"),
    "an empty length": put_with(HOST, "Content-Length:"),
    "a length beyond 64 bits": put_with(HOST, "Content-Length: 18446744073709551617"),
    "length and chunked": put_with(HOST, LENGTH, CHUNKED, body=CHUNKS),
    "chunked and length": put_with(HOST, CHUNKED, LENGTH, body=CHUNKS),
    "chunked twice": put_with(HOST, CHUNKED, CHUNKED, body=CHUNKS),
    "chunked, chunked": put_with(HOST, f"{CHUNKED}, chunked", body=CHUNKS),
    "an unknown coding": put_with(HOST, "Transfer-Encoding: gzip", body=CHUNKS),
    "gzip, then chunked": put_with(HOST, "Transfer-Encoding: gzip, chunked", body=CHUNKS),
    "chunked, then identity": put_with(HOST, f"{CHUNKED}, identity", body=CHUNKS),
    "almost chunked": put_with(HOST, "Transfer-Encoding: xchunked", body=CHUNKS),
    "chunked with a vertical tab": put_with(HOST, "Transfer-Encoding: \vchunked", body=CHUNKS),
    "chunked in HTTP/1.0": put_with(HOST, CHUNKED, body=CHUNKS, line="PUT /v1/state/a HTTP/1.0"),
    "bare LF everywhere": put_with(HOST, LENGTH, end="\n"),
    "bare LF after a header": put_with(HOST + "\nX: y", LENGTH),
    "bare CR in a header": put_with(HOST, "X: a\rb", LENGTH),
    "a folded line": put_with(HOST, "X: a\r\n b", LENGTH),
    "a folded line by tab": put_with(HOST, "X: a\r\n\tb", LENGTH),
    "a folded first line": put_with(" X: a", HOST, LENGTH),
    "a space before the colon": put_with(HOST, f"Content-Length : {len(BODY)}"),
    "a tab before the colon": put_with(HOST, f"Content-Length\t: {len(BODY)}"),
    "a header without a colon": put_with(HOST, "nonsense", LENGTH),
    "an empty header name": put_with(HOST, ": x", LENGTH),
    "a NUL in a header": put_with(HOST, "X: a\0b", LENGTH),
    "a control byte in a header": put_with(HOST, "X: a\x07b", LENGTH),
    "a non-ASCII header name": put_with(HOST, "X\xe9: b", LENGTH),
    "no host": put_with(LENGTH),
    "two hosts": put_with(HOST, "Host: other", LENGTH),
    "an absolute target of another protocol": put_with(
        HOST, LENGTH, line="PUT ftp://test/v1/state/a HTTP/1.1"
    ),
    "an absolute target without a host": put_with(HOST, LENGTH, line="PUT http:// HTTP/1.1"),
    "an absolute target and no host": put_with(
        LENGTH, line="PUT http://127.0.0.1/v1/state/a HTTP/1.1"
    ),
    "an authority target": put_with(HOST, LENGTH, line="CONNECT test:80 HTTP/1.1"),
    "a relative target": put_with(HOST, LENGTH, line="PUT v1/state/a HTTP/1.1"),
    "no target": put_with(HOST, LENGTH, line="PUT HTTP/1.1"),
    "a NUL in the target": put_with(HOST, LENGTH, line="PUT /v1/state/a\0 HTTP/1.1"),
    "a raw UTF-8 target": put_with(HOST, LENGTH, line="PUT /v1/state/\xc3\xa9 HTTP/1.1"),
    "two spaces": put_with(HOST, LENGTH, line="PUT  /v1/state/a HTTP/1.1"),
    "a tab for a space": put_with(HOST, LENGTH, line="PUT\t/v1/state/a HTTP/1.1"),
    "a space in front": put_with(HOST, LENGTH, line=" PUT /v1/state/a HTTP/1.1"),
    "a space behind": put_with(HOST, LENGTH, line="PUT /v1/state/a HTTP/1.1 "),
    "a non-ASCII method": put_with(HOST, LENGTH, line="PUT\xe9 /v1/state/a HTTP/1.1"),
    "no version": put_with(HOST, LENGTH, line="PUT /v1/state/a"),
    "HTTP/0.9": put_with(HOST, LENGTH, line="GET /v1/state/a HTTP/0.9"),
    "HTTP/1.2": put_with(HOST, LENGTH, line="PUT /v1/state/a HTTP/1.2"),
    "HTTP/2.0": put_with(HOST, LENGTH, line="PUT /v1/state/a HTTP/2.0"),
    "lower case http": put_with(HOST, LENGTH, line="PUT /v1/state/a http/1.1"),
    "another protocol": put_with(HOST, LENGTH, line="SOURCE /v1/state/a ICE/1.0"),
    "an empty line first": b"\r\n" + put_with(HOST, LENGTH),
}


@pytest.mark.parametrize("raw", HEADS.values(), ids=HEADS)
async def test_an_ambiguous_head_is_refused_and_the_connection_closed(lane, raw):
    async with lane.connect() as peer:
        await peer.send(raw + put("smuggled", 1))
        answer = await peer.answer()
        assert (answer.status, answer.error) == (400, "invalid_argument")
        assert answer.headers["connection"] == "close"
        assert await peer.rest() == b""
    assert lane.database.get("a") is None
    assert lane.database.get("smuggled") is None


@pytest.mark.parametrize("raw", HEADS.values(), ids=HEADS)
async def test_an_ambiguous_head_is_refused_byte_by_byte_as_well(lane, raw):
    async with lane.connect() as peer:
        await peer.send_slowly(raw, 7)
        answer = await peer.answer()
        assert (answer.status, answer.error) == (400, "invalid_argument")
    assert lane.database.get("a") is None


BODIES = {
    "no size": b"\r\n" + BODY,
    "a size that is no number": b"G\r\n" + BODY,
    "a size with a prefix": b"0xB\r\n" + BODY,
    "a signed size": b"+B\r\n" + BODY,
    "a size with a space before": b" B\r\n" + BODY,
    "a size with a space behind": b"B \r\n" + BODY,
    "a size of many digits": b"00000000B\r\n" + BODY,
    "a size that is too large for 32 bits": b"100000000\r\n" + BODY,
    "a bare LF after the size": b"B\n" + BODY + b"\r\n0\r\n\r\n",
    "a bare CR after the size": b"B\r" + BODY + b"\r\n0\r\n\r\n",
    "a chunk longer than its size": b"A\r\n" + BODY + b"\r\n0\r\n\r\n",
    "a chunk ended by LF": b"B\r\n" + BODY + b"\n0\r\n\r\n",
    "a chunk ended by two CRs": b"B\r\n" + BODY + b"\r\r0\r\n\r\n",
    "an extension with a bare LF": b"B;a\nb\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an extension with a NUL": b"B;a\0\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an overlong extension": b"B;" + b"x" * 300 + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "an endless extension": b"B;" + b"x" * 3000,
    "a trailer without a colon": b"B\r\n" + BODY + b"\r\n0\r\nnonsense\r\n\r\n",
    "a trailer with a bare LF": b"B\r\n" + BODY + b"\r\n0\r\nX: y\nZ: w\r\n\r\n",
    "a folded trailer": b"B\r\n" + BODY + b"\r\n0\r\nX: y\r\n z\r\n\r\n",
    "an overlong trailer": b"B\r\n" + BODY + b"\r\n0\r\nX: " + b"y" * 5000 + b"\r\n\r\n",
    "many trailers": b"B\r\n" + BODY + b"\r\n0\r\n" + b"X: yyyyyyyy\r\n" * 500 + b"\r\n",
    "very many tiny chunks": b"1\r\nx\r\n" * 30_000,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_an_ambiguous_chunked_body_is_refused_and_the_connection_closed(lane, body):
    async with lane.connect() as peer:
        await peer.send(chunked_request("PUT", "/v1/state/a", body) + put("smuggled", 1))
        answer = await peer.answer()
        assert (answer.status, answer.error) == (400, "invalid_argument")
        assert await peer.rest() == b""
    assert lane.database.get("a") is None
    assert lane.database.get("smuggled") is None


async def test_a_request_inside_a_body_is_only_a_body(lane):
    inner = put("smuggled", 1)
    async with lane.connect() as peer:
        await peer.send(request("PUT", "/v1/state/a", inner) + request("GET", "/v1/health"))
        assert (await peer.answer()).status == 400
        assert (await peer.answer()).body == b"ok"
    assert lane.database.get("smuggled") is None
