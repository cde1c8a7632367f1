"""Batches of events: a JSON array to /v1/events, all or nothing."""

import pytest

from kissvdb.api.reading.json_body import DEPTH_MAX
from tests.api.caller import Caller, refused
from tests.api.test_event_routes import frames

PLAIN = b'{"type":"log","data":{"n":1}}'
SOUND = [
    PLAIN,
    b'{"type":"log","data":null}',
    b'{ "data" : [ 1.50, -0.0, 1E2 ] ,\n"type" : "log" }',
    b'{"type":"log","data":"a b\\u00e9 \\n"}',
    b'{"type":"end","data":12345678901234567890}',
]
CLOSELY_LOOKED_AT = [
    b'{"type":"log","data": {"a" : 1},"key":"job:1"}',
    b'{"type":"log","data":true,"tags":["red","\xc3\xa9"]}',
    b'{"type":"log","data":1,"transient":false}',
    b'{"type":"log","data":1,"include_meta":false}',
]


def array(*events: bytes) -> bytes:
    return b"[%b]" % b",".join(events)


@pytest.mark.parametrize("events", [SOUND, SOUND + CLOSELY_LOOKED_AT], ids=["plain", "more"])
async def test_a_batch_is_streamed_like_its_events_one_by_one(call: Caller, events):
    for event in events:
        assert (await call("POST", "/v1/events", body=event)).status == 200
    answer = await call("POST", "/v1/events", body=array(*events))
    count = len(events)
    assert answer.body == b'{"offset":%d,"last_offset":%d}\n' % (count + 1, 2 * count)
    found = await frames(await call("GET", "/v1/stream"), 2 * count)
    one_by_one, batch = found[:count], found[count:]
    for alone, together in zip(one_by_one, batch, strict=True):
        assert int(together[1]) == int(alone[1]) + count
        for varying in ("offset", "ts_ms"):
            del alone[2][varying], together[2][varying]
        assert (together[0], together[2]) == (alone[0], alone[2])


@pytest.mark.parametrize("rest", [PLAIN, CLOSELY_LOOKED_AT[0]], ids=["plain", "more"])
@pytest.mark.parametrize(
    ("event", "status", "words"),
    [
        (b'{"type":"log","data":1e999}', 400, "body[1].data"),
        (b'{"type":"log","data":"\\ud800"}', 400, "body: "),
        (b'{"type":"log","data":"\xff"}', 400, "body[1].data"),
        (b'{"type":"log","data":%b}' % (b"[" * 129 + b"]" * 129), 400, "body[1].data"),
        (b'{"type":"log","data":"%b"}' % (b"x" * 70_000), 413, "body[1].data"),
        (b'{"type":"a b","data":1}', 400, "body[1].type"),
        (b'{"type":"gap","data":1}', 400, "body[1].type"),
        (b'{"type":"log","data":1,"transient":true}', 400, "body[1].transient"),
        (b'{"type":"log","data":1,"tags":[""]}', 400, "body[1].tags"),
        (b'{"type":"log","data":1,"key":""}', 400, "body[1].key"),
        (b'{"type":"log"}', 422, "data"),
        (b'{"type":1,"data":1}', 422, "type"),
        (b"1", 422, "body[1]"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_one_wrong_event_refuses_the_batch(call: Caller, event, status, words, rest):
    answer = await call("POST", "/v1/events", body=array(rest, event, rest))
    refused(answer, status, answer_code(status), words)
    assert call.database.last_offset == 0


def answer_code(status: int) -> str:
    return "payload_too_large" if status == 413 else "invalid_argument"


async def test_data_as_deep_as_allowed_is_taken(call: Caller):
    deep = b'{"type":"log","data":%b}' % (b"[" * DEPTH_MAX + b"]" * DEPTH_MAX)
    assert (await call("POST", "/v1/events", body=array(PLAIN, deep))).status == 200


@pytest.mark.parametrize("count", [0, 1001])
@pytest.mark.parametrize("event", [PLAIN, CLOSELY_LOOKED_AT[0]], ids=["plain", "more"])
async def test_a_batch_has_1_to_1000_events(call: Caller, count, event):
    answer = await call("POST", "/v1/events", body=array(*[event] * count))
    refused(answer, 400, "invalid_argument", "1 to 1000 events")
    assert call.database.last_offset == 0
