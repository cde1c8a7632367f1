"""User events and the stream over HTTP."""

import json
from contextlib import aclosing

import pytest

from kissvdb.config import Stream
from tests.api.caller import Caller, header, opened, reading, refused


async def frames(answer, count):
    """The first ``count`` events of a stream: (type, id, data)."""
    found = []
    async with aclosing(answer.body) as blobs:
        async for blob in blobs:
            for text in blob.decode().split("\n\n")[:-1]:
                if not text.startswith(":"):
                    fields = dict(line.split(": ", 1) for line in text.split("\n"))
                    found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
            if len(found) >= count:
                break
    return found


async def test_an_event_gets_an_offset_and_is_streamed(call: Caller):
    event = {"type": "job.progress:1", "data": {"done": 1}, "key": "job:1", "tags": ["a", "é"]}
    answer = await call("POST", "/v1/events", event)
    assert answer.body == b'{"offset":1}\n'
    stream = await call("GET", "/v1/stream")
    assert (stream.content_type, header(stream, "cache-control")) == (
        "text/event-stream",
        "no-cache",
    )
    [(type_, place, data)] = await frames(stream, 1)
    assert (type_, place) == ("job.progress:1", "1")
    assert {name: data[name] for name in event} == event


async def test_a_transient_event_has_no_offset(call: Caller):
    event = {"type": "log", "data": None, "transient": True}
    assert (await call("POST", "/v1/events", event)).body == b'{"offset":null}\n'
    assert call.database.last_offset == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": ""}, "body.type"),
        ({"type": "a b"}, "body.type"),
        ({"type": "é"}, "body.type"),
        ({"type": "log\n"}, "body.type"),
        ({"type": "x" * 65}, "64"),
        ({"type": "gap"}, "reserved: audit, batch_committed, ended, error, gap"),
        ({"type": "message"}, "belongs to the database"),
        ({"type": "state_updated"}, "state_*"),
        ({"type": "vector_anything"}, "vector_*"),
        ({"type": "doc_x"}, "doc_*"),
        ({"type": "sql_x"}, "sql_*"),
        ({"key": ""}, "body.key"),
        ({"key": "k" * 513}, "body.key"),
        ({"tags": ["ok", ""]}, "body.tags[1]"),
        ({"tags": ["é" * 33]}, "body.tags[0]"),
        ({"tags": ["t"] * 17}, "body.tags"),
    ],
    ids=str,
)
async def test_what_an_event_must_not_be_is_refused_by_name(call: Caller, change, words):
    answer = await call("POST", "/v1/events", {"type": "log", "data": 1, **change})
    refused(answer, 400, "invalid_argument", words)
    assert call.database.last_offset == 0


@pytest.mark.parametrize(
    "change",
    [{"type": 1}, {"type": None}, {"tags": "a"}, {"tags": [1]}, {"key": 1}, {"transient": 1}],
    ids=str,
)
async def test_a_mistyped_field_of_an_event_is_a_422(call: Caller, change):
    answer = await call("POST", "/v1/events", {"type": "log", "data": 1, **change})
    refused(answer, 422, "invalid_argument", f"body.{next(iter(change))}")


async def test_an_event_needs_data_but_it_may_be_null(call: Caller):
    refused(await call("POST", "/v1/events", {"type": "log"}), 422, "invalid_argument", "data")
    assert (await call("POST", "/v1/events", {"type": "log", "data": None})).status == 200


async def test_data_has_the_limit_of_a_value(call: Caller):
    answer = await call("POST", "/v1/events", {"type": "log", "data": "x" * 70_000})
    refused(answer, 413, "payload_too_large", "body.data", "MAX_JSON_BYTES")


async def fill(call):
    """Offsets 1 to 6, of all kinds."""
    await call("PUT", "/v1/state/job:1", {"value": {"job_id": "j1"}})
    await call("PUT", "/v1/state/user:1", {"value": 1})
    await call("DELETE", "/v1/state/user:1")
    await call("POST", "/v1/events", {"type": "log", "data": 1, "tags": ["red"]})
    await call("POST", "/v1/events", {"type": "progress", "data": 2, "key": "job:1"})
    await call("POST", "/v1/events", {"type": "end", "data": {"job_id": "j1"}, "tags": ["red"]})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2, 3, 4, 5, 6]),
        ("?types=", [1, 2, 3, 4, 5, 6]),
        ("?since=", [1, 2, 3, 4, 5, 6]),
        ("?since=4", [5, 6]),
        ("?types=log,%20end%20,", [4, 6]),
        ("?types=state_updated", [1, 2]),
        ("?key=job:1", [1, 5]),
        ("?key_prefix=user:", [2, 3]),
        ("?prefix=user:", [2, 3]),
        ("?job_id=j1", [1, 6]),
        ("?tag=red", [4, 6]),
        ("?tag=red&types=log&since=1", [4]),
    ],
)
@pytest.mark.parametrize("path", ["/v1/stream", "/v1/events"])
async def test_filters_and_together(call: Caller, path, query, expected):
    await fill(call)
    found = await frames(await call("GET", path + query), len(expected))
    assert [int(place) for _, place, _ in found] == expected


@pytest.mark.parametrize("since", ["now", "latest", "-1", "%20now%20"])
async def test_a_stream_from_now_on_starts_at_the_head(call: Caller, since):
    await fill(call)
    answer = await call("GET", f"/v1/stream?since={since}")
    # One that is cut off before its first event has a place to come back to.
    assert await anext(answer.body) == b": ok\nid: 6\n\n"
    await call("POST", "/v1/events", {"type": "log", "data": 1})
    assert [place for _, place, _ in await frames(answer, 1)] == ["7"]


async def test_last_event_id_wins_when_it_is_an_offset(call: Caller):
    await fill(call)
    for last_event_id, first in (
        ("3", "4"),
        ("3 ", "4"),
        ("\t3", "4"),
        ("x", "2"),
        ("-1", "2"),
        ("", "2"),
        ("9" * 20, "2"),
    ):
        answer = await call("GET", "/v1/stream?since=1", last_event_id=last_event_id)
        assert (await frames(answer, 1))[0][1] == first


@pytest.mark.parametrize(
    "query",
    [
        "since=x",
        "since=-2",
        "since=Now",
        "since=1.0",
        f"since={2**64}",
        "types=%ff",
        "key_prefix=" + "k" * 513,
    ],
)
async def test_a_bad_stream_query_is_a_400(call: Caller, query):
    refused(await call("GET", f"/v1/stream?{query}"), 400, "invalid_argument", "query")


async def test_head_of_a_stream_opens_none(call: Caller):
    answer = await call("HEAD", "/v1/stream")
    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    assert call.database.hub.client_count == 0


async def test_one_stream_too_many_is_told_to_come_back():
    async with opened(stream=Stream(clients_max=1)) as call:
        first = await call("GET", "/v1/stream")
        assert await anext(first.body) == b": ok\n\n"
        answer = await call("GET", "/v1/stream")
        refused(answer, 503, "overloaded", "stream.clients_max")
        assert header(answer, "retry-after") == "1"
        await first.body.aclose()
        second = await call("GET", "/v1/stream")
        assert await anext(second.body) == b": ok\n\n"
        await second.body.aclose()


async def test_a_stopping_server_takes_no_streams(call: Caller):
    call.database.end_streams()
    refused(await call("GET", "/v1/stream"), 503, "stopping")
    assert reading(await call("GET", "/v1/state")) == []
