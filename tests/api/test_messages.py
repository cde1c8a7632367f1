"""What a refusal says: what would have been right, where it is wrong, what to do about it."""

import json
import re

import msgpack
import pytest

from kissvdb.config import Limits
from kissvdb.settings import SETTINGS
from tests.api.caller import Caller, message, opened, refused

LIMITS = Limits(
    body_bytes_max=1024,
    json_bytes_max=64,
    text_bytes_max=64,
    key_bytes_max=8,
    collection_bytes_max=4,
    collections_max=2,
    id_bytes_max=4,
    vector_dim_max=4,
    k_max=4,
    state_batch_max=4,
    vector_batch_max=4,
    event_tags_max=2,
    event_type_bytes_max=4,
    list_limit_max=4,
    doc_find_max=4,
    document_fields_max=2,
    document_depth_max=2,
    batch_operations_max=25,
    batch_bytes_max=1024,
)
LONG = "x" * 100
VECTOR = [1, 0]

BEYOND = {
    "body_bytes_max": ("PUT", "/v1/state/k", {"value": "x" * 2000}),
    "json_bytes_max": ("PUT", "/v1/state/k", {"value": LONG}),
    "json_bytes_max of a patch": ("PATCH", "/v1/state/p", {"b": "x" * 40}),
    "json_bytes_max of an event": ("POST", "/v1/events", {"type": "a", "data": LONG}),
    "text_bytes_max": (
        "POST",
        "/v1/vector/a/upsert",
        {"id": "a", "vector": VECTOR, "text": LONG},
    ),
    "key_bytes_max": ("PUT", "/v1/state/abcdefghi", {"value": 1}),
    "key_bytes_max of a prefix": ("GET", "/v1/state?prefix=abcdefghi", None),
    "collection_bytes_max": ("POST", "/v1/vector/abcde", {"dim": 2}),
    "collections_max": ("POST", "/v1/vector/c", {"dim": 2}),
    "id_bytes_max": ("POST", "/v1/vector/a/upsert", {"id": "abcde", "vector": VECTOR}),
    "vector_dim_max": ("POST", "/v1/vector/d", {"dim": 5}),
    "k_max": ("POST", "/v1/vector/a/search", {"vector": VECTOR, "k": 5}),
    "state_batch_max": (
        "POST",
        "/v1/state/batch_put",
        {"operations": [{"key": "a", "value": 1}] * 5},
    ),
    "vector_batch_max": (
        "POST",
        "/v1/vector/a/upsert_batch",
        {"items": [{"id": "a", "vector": VECTOR}] * 5},
    ),
    "vector_batch_max of queries": (
        "POST",
        "/v1/vector/a/search_batch",
        {"vectors": [VECTOR] * 5, "k": 1},
    ),
    "event_tags_max": ("POST", "/v1/events", {"type": "a", "data": 1, "tags": ["a", "b", "c"]}),
    "event_type_bytes_max": ("POST", "/v1/events", {"type": "abcde", "data": 1}),
    "document_fields_max": ("PUT", "/v1/doc/c/d", {"a": {"b": {}, "c": 1}}),
    "document_depth_max": ("PUT", "/v1/doc/c/d", [[[]]]),
    "batch_operations_max": (
        "POST",
        "/v1/batch",
        {"operations": [{"op": "delete", "key": "a"}] * 26},
    ),
    "batch_bytes_max": (
        "POST",
        "/v1/batch",
        {"operations": [{"op": "patch", "key": "p", "patch": {"b": 1}}] * 20},
    ),
    "doc_find_max": ("POST", "/v1/doc/c/find", {"limit": 5}),
    "list_limit_max": ("POST", "/v1/vector/a/scroll", {"limit": 5}),
}


def test_every_limit_that_can_be_met_is_looked_at():
    fields = {name.partition(".")[2] for name in SETTINGS if name.startswith("limits.")}
    # Keys are issued by servers that have one of their own: tests/engine/test_keys.py.
    # What memory is bounded to is no limit of a request: tests/api/test_memory.py.
    others = {"keys_max", "vector_memory_bytes"}
    assert {name.split()[0] for name in BEYOND} == fields - others


@pytest.mark.parametrize("name", BEYOND)
async def test_a_limit_error_names_the_setting_and_its_variable(name):
    method, target, value = BEYOND[name]
    async with opened(limits=LIMITS) as call:
        for collection in "ab":
            assert (await call("POST", f"/v1/vector/{collection}", {"dim": 2})).status == 200
        assert (await call("PUT", "/v1/state/p", {"value": {"a": "x" * 40}})).status == 200
        answer = await (call(method, target) if value is None else call(method, target, value))
    assert answer.status in (400, 413, 422), answer.body
    setting = SETTINGS[f"limits.{name.split()[0]}"]
    assert f"{setting.name} (" in message(answer)
    named = message(answer).partition(f"{setting.name} (")[2].partition(")")[0]
    assert named in setting.environment_names
    # A seed's deployment finds the name that it uses.
    assert named == setting.environment_names[-1] or "KISSVDB" in setting.environment_names[-1]


async def test_a_bulk_line_over_the_limit_names_it_too():
    async with opened(limits=LIMITS) as call:
        line = b'{"op":"put","key":"a","value":"%b"}' % (b"x" * 1100)
        answer = await call("POST", "/v1/bulk", body=line)
    assert b"limits.body_bytes_max (MAX_BODY_BYTES)" in answer.body


@pytest.mark.parametrize(
    ("target", "value", "where", "words"),
    [
        ("c", {"dim": 2, "metric": "cosin"}, "body.metric", {"cosine", "dot", "l2"}),
        ("c", {"dim": 2, "quantization": "q9"}, "body.quantization", {"auto", "q4", "q8", "none"}),
        (
            "c",
            {"dim": 2, "index": {"kind": "tree"}},
            "body.index.kind",
            {"hnsw", "flat", "ivf", "vamana"},
        ),
    ],
)
@pytest.mark.parametrize("form", ["json", "msgpack"])
async def test_an_enum_error_lists_the_values(call: Caller, target, value, where, words, form):
    body = json.dumps(value).encode() if form == "json" else msgpack.packb(value)
    media = f"application/{form}"
    answer = await call("POST", f"/v1/vector/{target}", body=body, content_type=media)
    refused(answer, 422, "invalid_argument", where, ": use ", *words)


async def test_an_unknown_operation_lists_all(call: Caller):
    answer = await call("POST", "/v1/bulk", body=b'{"op":"puut","key":"a"}')
    line = json.loads(answer.body)["error"]["message"]
    for op in ("put", "patch", "delete", "event", "upsert", "vector_delete"):
        assert op in line
    assert "line.op" in line


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (5, '{"value": 5}'),
        ("text", '{"value": "text"}'),
        (None, '{"value": null}'),
        ([1, 2], '{"value": [1,2]}'),
        ({}, '{"value": {}}'),
        ({"a": 1}, '{"value": {"a":1}}'),
        ({"val": 1, "ttl_ms": 5}, '{"value": ...}'),
        (["x" * 500], '{"value": ...}'),
    ],
)
async def test_put_without_value_says_how_to_wrap_it(call: Caller, sent, shown):
    answer = await call("PUT", "/v1/state/k", sent)
    refused(answer, 422, "invalid_argument", "wrap", shown)
    wrapped = await call("PUT", "/v1/state/k", {"value": sent})
    assert wrapped.status == 200


@pytest.mark.parametrize(
    "body", [b'{"ttl_ms":"x",', b'{"ttl_ms":"x","a":1e999}', b"5 5", b'{"ttl_ms":[]' + b"[" * 9000]
)
async def test_a_body_that_is_wrong_twice_is_told_of_the_first(call: Caller, body):
    answer = await call("PUT", "/v1/state/k", body=body)
    assert answer.status in (400, 422), answer.body


LONE = {
    "a high one at the end": (b'"\\ud800"', 1),
    "a high one and a letter": (b'"ab\\uDBFFcd"', 3),
    "a low one": (b'["x","\\udc00"]', 6),
    "two high ones": (b'"\\ud83d\\ud83d\\ude00"', 1),
    "a high one and another escape": (b'"\\ud83d\\u0041"', 1),
    "behind a pair": (b'"\\ud83d\\ude00\\udead"', 13),
    "behind a backslash": (b'"\\\\ud800\\ud800"', 8),
    "in a name": (b'{"\\udfff":1}', 2),
}


@pytest.mark.parametrize("text", LONE.values(), ids=LONE)
async def test_half_a_surrogate_pair_is_named_with_its_place(call: Caller, text):
    text, place = text
    told = set()
    for method, target, before, after in (
        ("PUT", "/v1/state/k", b'{"value":', b"}"),
        ("PATCH", "/v1/state/k", b"", b""),
        ("POST", "/v1/events", b'{"type":"a","data":', b"}"),
        ("POST", "/v1/bulk", b'{"op":"put","key":"k","value":', b"}"),
    ):
        answer = await call(method, target, body=before + text + after)
        said = json.loads(answer.body)
        said = said["error"] if target == "/v1/bulk" else said
        assert said["error"] == "invalid_argument"
        assert f"at byte {len(before) + place}:" in said["message"]
        told.add(re.sub(r"^\w+: |\d+", "", said["message"]))
    assert len(told) == 1, "one text for all"


async def test_half_a_surrogate_pair_in_a_field_of_ours_is_named_the_same_way(call: Caller):
    body = b'{"operations":[{"key":"a\\ud800","value":1}]}'
    answer = await call("POST", "/v1/state/batch_put", body=body)
    refused(answer, 400, "invalid_argument", "half a surrogate pair", "at byte 24:")


async def test_text_that_breaks_off_is_not_taken_for_half_a_pair(call: Caller):
    for body in (b'{"value":"\\ud83d\\ude00', b'{"value":"\\\\ud800', b'{"value":1'):
        answer = await call("PUT", "/v1/state/k", body=body)
        refused(answer, 400, "invalid_argument", "cut short")
        assert "surrogate" not in message(answer)


async def test_utf16_is_named(call: Caller):
    """What a shell of Windows writes into a file."""
    for text in ('{"value":1}', '{"value":"\u00e9"}'):
        for body in (text.encode("utf-16-le"), text.encode("utf-16-be")):
            mark = b"\xff\xfe" if body.startswith(b"{") else b"\xfe\xff"
            answer = await call("PUT", "/v1/state/k", body=mark + body)
            refused(answer, 400, "invalid_argument", "UTF-16", "UTF-8")


async def test_broken_utf8_is_named_with_its_place(call: Caller):
    answer = await call("PUT", "/v1/state/k", body=b'{"value":"a\xff"}')
    refused(answer, 400, "invalid_argument", "not valid UTF-8", "at byte 2")
