"""`server.slow_request_ms`: what takes long is said in the log, and what does not is not."""

import json
import logging

import attrs
import pytest

from kissvdb.api.frame.failures import LINES_AT_ONCE
from kissvdb.api.frame.http import Request
from kissvdb.api.frame.slow import SlowLog
from kissvdb.config import Storage
from kissvdb.logs import JsonFormatter
from tests.api.wire import configured, door

# Some tens of milliseconds of SQLite.
LONG = """WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    SELECT max(i) AS most FROM n"""


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "kissvdb.api")
    formatter = JsonFormatter()

    def written():
        found = [json.loads(formatter.format(record)) for record in caplog.records]
        return [line for line in found if line["message"] == "a slow request"]

    return written


def slow(lane, ms):
    config = configured(lane)
    return attrs.evolve(config, server=attrs.evolve(config.server, slow_request_ms=ms))


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "hypercorn"])
async def test_a_request_that_takes_long_is_noted_with_its_id(lane, lines):
    async with door(slow(lane, 1)) as server:
        answer = await server.http.post("/v1/sql/query", json={"sql": LONG})
        assert answer.status_code == 200, answer.text
        (line,) = [line for line in lines() if line["route"] == "POST /v1/sql/query"]
        assert line["request_id"] == answer.headers["x-request-id"]
        assert line["ms"] >= 1
        assert line["status"] == 200
        assert line["body_bytes"] > len("WITH RECURSIVE")
        assert 0 < line["query_ms"] <= line["ms"] + 0.1


async def test_a_slow_write_says_what_its_time_went_into(lines, tmp_path):
    config = attrs.evolve(slow(True, 1), storage=Storage(data_dir=str(tmp_path / "data")))
    parts = ("queue_ms", "decide_ms", "append_ms", "fsync_ms", "apply_ms")
    async with door(config) as server:
        value = ["x" * 1000] * 60
        items = [{"op": "put", "key": f"k{n}", "value": value} for n in range(15)]
        body = {"operations": items}
        answer = await server.http.post("/v1/batch", json=body)
        assert answer.status_code == 200, answer.text
        (line,) = [line for line in lines() if line["route"] == "POST /v1/batch"]
        assert [name for name in line if name in parts] == list(parts)
        assert sum(line[name] for name in parts) <= line["ms"] + 0.2
        assert "trace_id" not in line


@pytest.mark.parametrize("ms", [0, 3_600_000])
async def test_what_is_quick_is_not_noted(ms, lines):
    async with door(slow(True, ms)) as server:
        await server.http.post("/v1/sql/query", json={"sql": LONG})
        await server.http.put("/v1/state/k", json={"value": 1})
        assert lines() == []


def test_a_flood_of_one_route_hides_no_other(lines):
    time = 0.0
    log = SlowLog(1, lambda: time)
    request = Request("GET", "/v1/state/k", params={"key": "k"})
    for _ in range(LINES_AT_ONCE + 7):
        log.note(request, "GET /v1/state/{key}", "id", 200, 0.5)
    assert len(lines()) == LINES_AT_ONCE
    log.note(request, "GET /v1/state", "id", 200, 0.5)
    assert len(lines()) == LINES_AT_ONCE + 1
    time = 2.0
    log.note(request, "GET /v1/state/{key}", "id", 200, 0.5)
    assert lines()[-1]["left_out"] == 7
    assert lines()[-1]["key"] == "k"
