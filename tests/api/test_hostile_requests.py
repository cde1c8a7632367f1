"""Seeded nonsense through the dispatcher: always an answer, never a crash, one error shape."""

import random

import pytest

from kissvdb.api.frame.http import Response
from tests.api.caller import Caller, reading

METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "", "\x00"]
PATHS = [
    "/v1/state",
    "/v1/state/",
    "/v1/state/batch_put",
    "/v1/events",
    "/v1/stream",
    "/v1/ready",
    "/v1/health",
    "/v1/metrics",
    "/v1/snapshot",
    "/docs/",
    "/",
    "",
    "*",
    "http://x/v1/state",
]
PIECES = [
    "a",
    "/",
    "//",
    "%2F",
    "%",
    "%zz",
    "%C3%A9",
    "%ff",
    "\xff",
    "%00",
    "+",
    "..",
    ":",
    "k" * 600,
]
NAMES = [
    "prefix",
    "limit",
    "cursor",
    "since",
    "types",
    "ttl_ms",
    "if_revision",
    "if_offset",
    "key",
    "api_key",
    "",
    "%ff",
    "\xe9",
]
VALUES = [
    "",
    "1",
    "0",
    "-1",
    "1e3",
    str(2**64),
    str(2**64 - 1),
    "x",
    "%",
    "%00",
    "a,b",
    "AAAA",
    "\xff",
]
HEADERS = [
    "content-type",
    "if-match",
    "if-none-match",
    "last-event-id",
    "authorization",
    "origin",
    "x-request-id",
    "x-api-key",
    "content-length",
]
HEADER_VALUES = [
    "",
    "*",
    '"1"',
    'W/"1"',
    '"',
    "application/json",
    "text/plain",
    "\xff\x00",
    "1" * 99,
    "Bearer x",
    "null",
    "application/json;",
    ";",
    '"1","2"',
]
BODIES = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b'{"value":1}',
    b'{"value":',
    b'{"value":1,"ttl_ms":1}',
    b'{"operations":[{"key":"a","value":1}]}',
    b'{"operations":[]}',
    b'{"operations":{}}',
    b'{"type":"log","data":1}',
    b'{"type":"gap","data":1}',
    b"\xff\xfe",
    b"\x00",
    b"1e999",
    b'{"value":"\\ud800"}',
    b"[" * 2000,
    b'{"value":' + b" " * 70_000 + b"}",
]


def request(rng):
    path = rng.choice(PATHS) + "".join(rng.choices(PIECES, k=rng.choice([0, 0, 1, 2, 5])))
    pairs = [f"{rng.choice(NAMES)}={rng.choice(VALUES)}" for _ in range(rng.choice([0, 0, 1, 3]))]
    headers = {rng.choice(HEADERS): rng.choice(HEADER_VALUES) for _ in range(rng.choice([0, 1, 2]))}
    body = rng.choice(BODIES)
    if body and rng.random() < 0.3:
        place = rng.randrange(len(body))
        body = body[:place] + bytes([rng.randrange(256)]) + body[place + 1 :]
    return rng.choice(METHODS), "?".join([path, *filter(None, ["&".join(pairs)])]), headers, body


@pytest.mark.parametrize("seed", range(4))
async def test_every_request_gets_a_well_formed_answer(call: Caller, seed):
    rng = random.Random(seed)
    statuses = set()
    for _ in range(8000):
        method, target, headers, body = request(rng)
        answer = await call(method, target, body=body, timed=False, **headers)
        statuses.add(answer.status)
        if not isinstance(answer, Response):
            assert await anext(answer.body) == b": ok\n\n"
            await answer.body.aclose()
        elif answer.status >= 400:
            assert answer.status < 500, (method, target, headers, body, answer.body)
            assert set(reading(answer)) == {"error", "message"}
        assert "x-request-id" in dict(answer.headers)
        for name, value in answer.headers:
            assert name.isascii()
            assert value.isprintable(), "a header must not be split"
    assert {200, 204, 400, 404, 405, 415, 422} <= statuses
