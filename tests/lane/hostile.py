"""Seeded random requests, most of them sound, many of them not."""

import json
import re
from random import Random

KEYS = (
    "a",
    "b",
    "job:1",
    "a/b",
    "a%2Fb",
    "%C3%A9",
    "a+b",
    "a%20b",
    "a%25",
    "%ff",
    "%zz",
    "k" * 600,
)
VALUES = ("1", "null", '"x"', '{"p":1,"q":[1,2]}', "1e400", "NaN", '"\\ud800"', "[" * 200, "")
OTHER_PATHS = (
    "/v1/ready",
    "/v1/health",
    "/v1/state",
    "/v1/state?prefix=a&limit=2",
    "/v1/state?limit=x",
    "/v1/state/batch_put",
    "/v1/events",
    "/v1/state/",
    "/v1/nowhere",
    "/v1//health",
    "/v1/health?x#y",
    "/",
)
_CLOSES = re.compile(rb"HTTP/1\.0|connection:[^\r\n]*close", re.IGNORECASE)
METHODS = ("GET", "PUT", "DELETE", "PATCH", "POST", "HEAD", "OPTIONS", "BREW")
EXTRA_LINES = (
    "Accept: */*",
    "Accept-Encoding: gzip",
    "If-Match: *",
    'If-Match: "1"',
    "If-None-Match: *",
    'If-None-Match: "2"',
    "Origin: https://example.org",
    "Connection: keep-alive",
    "Content-Type: text/plain",
    "Content-Type: application/json; charset=utf-8",
    "X-Request-Id: r-1",
    "X-Request-Id: bad id",
    "Authorization: Bearer x",
    "Cookie: a=b; c=d",
    "X-Empty:",
    "X-Padded:   y \t",
    "X-Latin: \xe9",
)
HOSTILE_LINES = (
    "Content-Length: 5",
    "Content-Length: 0",
    "Content-Length: 5, 5",
    "Content-Length: -5",
    "Content-Length: +5",
    "Content-Length: 5 5",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding : chunked",
    " folded",
    "Host: other",
    "Host : other",
    "nonsense",
    ": empty",
    "X: a\0b",
    "X: a\rb",
    "X: a\nY: b",
    "X\xe9: y",
    "Connection: close",
    "Expect: 200-maybe",
)
HOSTILE_LINES_FIRST = (
    "GET /v1/health",
    "GET  /v1/health HTTP/1.1",
    "GET /v1/health HTTP/1.0",
    "GET /v1/health HTTP/0.9",
    "GET /v1/health HTTP/2.0",
    "GET /v1/health HTTP/1.1 ",
    "GET http://test/v1/health HTTP/1.1",
    "GET v1/health HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "G\xe9T /v1/health HTTP/1.1",
    "GET /v1/h\xe9alth HTTP/1.1",
    "get /v1/health HTTP/1.1",
)


def conversation(random: Random) -> bytes:
    """One to three requests for one connection; about half of all have something wrong."""
    requests = [_request(random) for _ in range(random.choice((1, 1, 1, 2, 3)))]
    # What comes behind a last request is answered by h11 with 400 in place of the request.
    closing = [each for each in requests if closes(each)]
    if closing:
        return closing[0]
    raw = b"".join(requests)
    garbled = _garbled(random, raw)
    return garbled if random.random() < 0.3 and not closes(garbled) else raw


def closes(raw: bytes) -> bool:
    """A request in it asks for the connection to be closed."""
    return _CLOSES.search(raw) is not None


def _request(random: Random) -> bytes:
    method = random.choice(METHODS)
    target = (
        f"/v1/state/{random.choice(KEYS)}" if random.random() < 0.6 else random.choice(OTHER_PATHS)
    )
    if target == "/v1/events" and method == "GET":
        method = "POST"  # The other is a stream: it has no end to wait for.
    first = f"{method} {target} HTTP/1.1"
    lines = ["Host: test", *random.sample(EXTRA_LINES, random.choice((0, 0, 1, 2, 4)))]
    if random.random() < 0.05:
        first = random.choice(HOSTILE_LINES_FIRST)
    if random.random() < 0.15:
        lines.insert(random.randrange(len(lines) + 1), random.choice(HOSTILE_LINES))
    if random.random() < 0.03:
        lines.remove("Host: test")
    body = b""
    if method in ("PUT", "PATCH", "POST") or random.random() < 0.1:
        body = _body(random, target)
        framed, line = _framed(random, body)
        lines.append(line)
        body = framed
    random.shuffle(lines)
    return "\r\n".join((first, *lines, "", "")).encode("latin-1") + body


def _body(random: Random, target: str) -> bytes:
    value = random.choice(VALUES)
    if "batch" in target:
        key = json.dumps(random.choice(("a", "b", "")))
        return f'{{"operations":[{{"key":{key},"value":{value}}}]}}'.encode()
    if "events" in target:
        return f'{{"type":"{random.choice(("log", "gap", "state_x"))}","data":{value}}}'.encode()
    guard = random.choice(("", "", ',"if_revision":1', ',"if_revision":true', ',"if_revision":-1'))
    return f'{{"value":{value}{guard}}}'.encode()


def _framed(random: Random, body: bytes) -> tuple[bytes, str]:
    if random.random() < 0.6:
        return body, f"Content-Length: {len(body)}"
    at = random.randrange(len(body) + 1)
    size = random.choice(("%x", "%X", "%x", "%x;ext=1", "0%x", "0x%x", "%x ", " %x"))
    end = random.choice((b"\r\n", b"\r\n", b"\r\n", b"\n"))
    chunks = [
        (size % len(part)).encode() + end + part + b"\r\n"
        for part in (body[:at], body[at:])
        if part
    ]
    last = random.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"00\r\n\r\n"))
    return b"".join(chunks) + last, "Transfer-Encoding: chunked"


def _garbled(random: Random, raw: bytes) -> bytes:
    at = random.randrange(len(raw))
    insert = random.choice(
        (b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b"\xff", b"\x0b", b"0")
    )
    return random.choice(
        (
            raw[:at] + insert + raw[at:],
            raw[:at] + raw[at + 1 :],
            raw[:at] + insert + raw[at + 1 :],
            raw[: raw.find(b"\r\n")] + insert + raw[raw.find(b"\r\n") + 2 :],
        )
    )
