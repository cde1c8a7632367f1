"""What a body may be, seen through PUT."""

import json

import pytest

from kissvdb.api.reading.json_body import DEPTH_MAX
from tests.api.caller import Caller, message, reading, refused

MALFORMED = [
    b"",
    b" \n",
    b"{",
    b'{"value":}',
    b'{"value":1,}',
    b'{"value":1} x',
    b"{'value':1}",
    b'{"value":NaN}',
    b'{"value":Infinity}',
    b'{"value":-Infinity}',
    b'{"value":01}',
    b'{"value":1e999}',
    b'{"value":[-1e400]}',
    b'{"value":"\xff"}',
    b'{"value":"\xed\xa0\x80"}',
    b'{"value":"\\ud800"}',
    b'{"value":"tab\there"}',
    b'\xef\xbb\xbf\xef\xbb\xbf{"value":1}',
    b'{"value":' + b"1" * 5000 + b"}",
    b'{"value":1,"ttl_ms":NaN}',
    b'{"value":' + b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1) + b"}",
    b'{"value":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    b'{"value":' + b'{"a":' * 30_000 + b"1" + b"}" * 30_000 + b"}",
]


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: repr(body[:24]))
async def test_malformed_json_is_a_400_and_writes_nothing(call: Caller, body):
    refused(await call("PUT", "/v1/state/k", body=body), 400, "invalid_argument", "body")
    assert call.database.last_offset == 0


MISTYPED = [
    ([], "body: expected object, got array"),
    (None, "body: expected object, got null"),
    ("value", "body: expected object, got str"),
    ({}, "body: object missing required field value"),
    ({"ttl_ms": 5}, "value"),
    ({"value": 1, "ttl_ms": True}, "body.ttl_ms: expected int or null, got bool"),
    ({"value": 1, "ttl_ms": 1.5}, "body.ttl_ms"),
    ({"value": 1, "ttl_ms": 1.0}, "body.ttl_ms"),
    ({"value": 1, "ttl_ms": "5"}, "body.ttl_ms"),
    ({"value": 1, "ttl_ms": -1}, "body.ttl_ms"),
    ({"value": 1, "ttl_ms": 0}, "ttl_ms must be at least 1; leave it out for no expiry"),
    ({"value": 1, "ttl_ms": 2**63}, "end of time"),
    ({"value": 1, "ttl_ms": 2**64}, "end of time"),
    ({"value": 1, "if_revision": -1}, "body.if_revision"),
    ({"value": 1, "if_revision": False}, "body.if_revision"),
    ({"value": 1, "if_revision": 2**64}, "body.if_revision"),
    ({"value": 1, "if_offset": 10**400}, "body.if_offset"),
    ({"value": 1, "if_offset": {}}, "body.if_offset"),
]


@pytest.mark.parametrize(("body", "words"), MISTYPED, ids=str)
async def test_a_mistyped_field_is_a_422_that_names_it(call: Caller, body, words):
    refused(await call("PUT", "/v1/state/k", body), 422, "invalid_argument", words)
    assert call.database.last_offset == 0


async def test_a_mistyped_element_is_named_by_its_place(call: Caller):
    operations = [{"key": "a", "value": 1}, {"key": 2, "value": 1}]
    answer = await call("POST", "/v1/state/batch_put", {"operations": operations})
    refused(answer, 422, "invalid_argument", "body.operations[1].key: expected str, got int")


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "-0",
        "1.50",
        "1E5",
        "123456789012345678901234567890",
        '"\\u00e9\\ud83e\\udd8b"',
        '"é🦋\\u0000\\/"',
        "[]",
        "{}",
        '{"b":1,"a":2,"b":3}',
        '[" a  b ",{"c d":[1.0e-5,true,false,null]}]',
        "[" * DEPTH_MAX + "1" + "]" * DEPTH_MAX,
        "[" + ",".join(["[]"] * 500) + "]",
    ],
)
async def test_a_value_keeps_the_clients_bytes(call: Caller, text):
    await call("PUT", "/v1/state/k", body=b'{"value":%b}' % text.encode())
    answer = await call("GET", "/v1/state/k")
    assert b'"value":%b,' % text.encode() in answer.body


async def test_only_the_whitespace_between_tokens_goes(call: Caller):
    body = b' { "value" :\r\n\t{ "a b" : [ 1.0 , "x  y\\n" ] } , "ttl_ms" : 60000 } '
    assert (await call("PUT", "/v1/state/k", body=body)).status == 200
    answer = await call("GET", "/v1/state/k")
    assert b'"value":{"a b":[1.0,"x  y\\n"]},' in answer.body


async def test_absent_and_null_are_the_same_for_what_may_be_left_out(call: Caller):
    body = {"value": None, "ttl_ms": None, "if_revision": None, "if_offset": None}
    assert reading(await call("PUT", "/v1/state/k", body))["expires_at_ms"] is None


async def test_u64_goes_up_to_its_end(call: Caller):
    body = {"value": 1, "if_revision": 2**64 - 1}
    refused(await call("PUT", "/v1/state/k", body), 409, "revision_mismatch")
    body = {"value": 1, "if_offset": 2**64 - 1}
    refused(await call("PUT", "/v1/state/k", body), 409, "revision_mismatch")


async def test_large_bodies_are_checked_just_as_strictly(call: Caller):
    pad = " " * 70_000
    answer = await call("PUT", "/v1/state/k", body=f'{{"value":{pad}[1, 2]}}'.encode())
    assert reading(answer)["revision"] == 1
    answer = await call("PUT", "/v1/state/k", body=f'{{"value":{pad}1e999}}'.encode())
    refused(answer, 400, "invalid_argument")
    answer = await call("PUT", "/v1/state/k", body=f'{{"value":{pad}1,"ttl_ms":"1"}}'.encode())
    refused(answer, 422, "invalid_argument")


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_is_read_as_json(call: Caller, content_type):
    answer = await call("PUT", "/v1/state/k", {"value": 1}, content_type=content_type)
    assert answer.status == 200


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""]
)
async def test_another_content_type_is_told_what_to_send(call: Caller, content_type):
    answer = await call("PUT", "/v1/state/k", {"value": 1}, content_type=content_type)
    refused(answer, 415, "unsupported_media_type", "application/json")


async def test_messages_stay_readable_for_hostile_names(call: Caller):
    answer = await call("PUT", "/v1/state/k", body=json.dumps({"va\nlue\x00": 1}).encode())
    assert "value" in message(answer)
