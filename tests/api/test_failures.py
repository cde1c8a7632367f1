"""What a failed request leaves: an answer that ends in a newline, and a line in the log."""

import json
import logging

import pytest

from kissvdb.api.frame import failures
from kissvdb.api.frame.failures import LINES_AT_ONCE, FailureLog
from kissvdb.api.frame.http import Request
from kissvdb.config import Limits
from kissvdb.errors import NotFound, Overloaded
from kissvdb.logs import JsonFormatter
from tests.api.wire import configured, door


@pytest.fixture(params=[True, False], ids=["lane", "hypercorn"])
def lane(request):
    return request.param


@pytest.fixture
def lines(caplog):
    """The lines of failed requests so far, as the log writes them."""
    caplog.set_level(logging.INFO, "kissvdb.api")
    formatter = JsonFormatter()

    def written():
        found = [json.loads(formatter.format(record)) for record in caplog.records]
        return [line for line in found if line["message"] == "a request failed"]

    return written


async def test_every_json_answer_ends_in_a_newline(lane):
    async with door(configured(lane)) as server:
        http = server.http
        answers = [
            await http.put("/v1/state/k", json={"value": 1}),
            await http.get("/v1/state/k"),
            await http.get("/v1/state"),
            await http.patch("/v1/state/k", json={"a": 1}),
            await http.post("/v1/events", json={"type": "log", "data": 1}),
            await http.post("/v1/vector/c", json={"dim": 2, "metric": "dot"}),
            await http.post("/v1/vector/c/upsert", json={"id": "a", "vector": [1, 0]}),
            await http.post("/v1/vector/c/search", json={"vector": [1, 0], "k": 1}),
            await http.get("/v1/ready"),
            await http.delete("/v1/state/k"),
            await http.get("/v1/state/k"),
            await http.get("/nowhere"),
            await http.put("/v1/state/k", content=b"{"),
        ]
        for answer in answers:
            assert answer.headers["content-type"] == "application/json"
            assert answer.content.endswith(b"\n")
            assert int(answer.headers["content-length"]) == len(answer.content)
            json.loads(answer.content)
        head = await http.head("/v1/state")
        assert int(head.headers["content-length"]) == len((await http.get("/v1/state")).content)
        assert (await http.get("/v1/health")).content == b"ok"
        malformed = await server.exchange(b"GET  / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert malformed.startswith(b"HTTP/1.1 400 ")
        assert malformed.endswith(b"}\n") or not lane


async def test_a_failed_request_is_in_the_log(lane, lines):
    limits = Limits(body_bytes_max=1024)
    async with door(configured(lane, limits=limits)) as server:
        http = server.http
        named = {"x-request-id": "find-me"}
        await http.get("/v1/state/job%3A1", headers=named)
        await http.put("/v1/state/job:2", content=b"{")
        await http.put("/v1/state/big", content=b"x" * 2000)
        await http.post("/v1/vector/none/search", json={"vector": [1], "k": 1})
        await http.get("/nowhere")
        await http.get("/v1/health")
        await http.put("/v1/state/ok", json={"value": 1})
        answer = await http.get("/v1/state/job%3A1?api_key=s3cret")
    first, second, third, fourth, fifth, last = lines()
    assert first["request_id"] == "find-me"
    assert (first["route"], first["key"]) == ("GET /v1/state/{key}", "job:1")
    assert (first["status"], first["error"]) == (404, "not_found")
    assert first["reason"] == "no such key: job:1"
    assert first["level"] == "info"
    assert (second["status"], second["key"]) == (400, "job:2")
    assert (third["status"], third["route"]) == (413, "PUT /v1/state/{key}")
    assert (fourth["collection"], fourth["status"]) == ("none", 404)
    assert (fifth["route"], fifth["reason"].split(":")[0]) == ("unmatched", "no route /nowhere")
    assert last["request_id"] == answer.headers["x-request-id"]
    assert "s3cret" not in json.dumps(lines())


async def test_a_value_that_was_to_be_stored_is_not_in_the_log(lines):
    async with door(configured(lane=True)) as server:
        answer = await server.http.put("/v1/state/session", json={"token": "very-secret"})
    assert "very-secret" in answer.json()["message"]
    [line] = lines()
    assert "very-secret" not in str(line)
    assert line["reason"].startswith("body.token: unknown field")


async def test_a_request_that_cannot_be_read_is_in_the_log(lines):
    async with door(configured(lane=True)) as server:
        await server.exchange(b"GET  / HTTP/1.1\r\nhost: x\r\n\r\n")
    (line,) = lines()
    assert (line["status"], line["route"]) == (400, "unmatched")


async def test_a_bug_is_in_the_log_with_its_request(lines):
    async with door(configured(lane=True)) as server:
        # No answer can be made from this: what the engine really raises cannot be had on demand.
        server.database.get = lambda key: 1 // 0
        await server.http.get("/v1/state/k")
    (line,) = lines()
    assert (line["status"], line["error"], line["key"]) == (500, "internal", "k")


async def test_a_flood_does_not_fill_the_log(lane, lines, monkeypatch):
    monkeypatch.setattr(failures, "LINES_PER_SECOND", 0.0)
    count = 3 * LINES_AT_ONCE
    async with door(configured(lane)) as server:
        for _ in range(count):
            await server.http.get("/v1/state/none")
        await server.http.put("/v1/state/k", content=b"{")
    found = lines()
    assert len(found) == LINES_AT_ONCE + 1
    assert (found[-1]["error"], "left_out" in found[-1]) == ("invalid_argument", False)


def test_what_was_left_out_is_counted_by_the_next_line_of_its_kind(lines):
    time = 0.0
    log = FailureLog(lambda: time)
    request = Request("GET", "/v1/state/k")

    def fail(error, times):
        for _ in range(times):
            log.note(error, request, "GET /v1/state/{key}", "r1")

    fail(NotFound("no"), LINES_AT_ONCE + 7)
    fail(Overloaded("full"), 1)
    assert len(lines()) == LINES_AT_ONCE + 1
    time = 0.9
    fail(NotFound("no"), 1)
    assert len(lines()) == LINES_AT_ONCE + 1
    time = 2.0
    fail(NotFound("no"), 3)
    *_, one, two = lines()
    assert one["left_out"] == 8
    assert "left_out" not in two
    time = 1e9
    fail(NotFound("no"), 2 * LINES_AT_ONCE)
    assert len(lines()) == 2 * LINES_AT_ONCE + 3
    assert [line["left_out"] for line in lines() if "left_out" in line] == [8, 1]
