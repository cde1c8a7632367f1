"""``min_offset``: every route that reads waits for what it is to see, or says that it cannot."""

from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.api.frame.route import Scope
from kissvdb.api.routes import ROUTES
from kissvdb.core.state.rules import Put
from kissvdb.engine.log.writer import Append
from kissvdb.engine.owner import Hold
from tests.api.caller import Caller, header, reading, refused

READS = [route for route in ROUTES if route.reads]
PATHS = {"key": "k", "collection": "v", "id": "d"}


def target(route):
    path = route.path.replace("...", "")
    for name, value in PATHS.items():
        path = path.replace("{" + name + "}", value)
    return path


def test_every_route_that_reads_data_takes_it():
    names = {route.name for route in READS}
    assert names >= {"GET /v1/state", "GET /v1/state/{key}", "GET /v1/stream"}
    assert all(route.scope is Scope.READ for route in READS)
    assert not {"GET /v1/metrics", "GET /v1/health", "POST /v1/batch"} & names


@pytest.mark.parametrize("route", READS, ids=lambda route: route.name)
async def test_what_is_not_there_in_time_is_a_503_with_the_offset(call: Caller, route):
    await call.database.put("k", 1)
    answer = await call(route.method, f"{target(route)}?min_offset=9&timeout_ms=1")
    refused(answer, 503, "offset_not_reached", "offset 9", "is at 1")
    assert header(answer, "retry-after") == "1"
    assert header(answer, "kissvdb-offset") == "1"
    answer = await call(route.method, f"{target(route)}?min_offset=-1")
    refused(answer, 400, "invalid_argument", "query.min_offset")
    answer = await call(route.method, f"{target(route)}?min_offset=1&timeout_ms=30001")
    refused(answer, 400, "invalid_argument", "query.timeout_ms")


async def test_what_is_there_is_answered_at_once(call: Caller):
    await call.database.put("k", 1)
    request = partial(call, "GET", "/v1/state/k?min_offset=1")
    assert (await request()).status == 200
    assert reading(await call("GET", "/v1/state?min%5Foffset=1"))[0]["key"] == "k"


async def test_a_read_waits_for_the_offset_and_then_sees_it(call: Caller):
    answers = []

    async def read():
        answers.append(await call("GET", "/v1/state/k?min_offset=3&timeout_ms=20000"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for n in range(3):
            await wait_all_tasks_blocked()
            assert not answers
            await call.database.put("k", n)
    assert reading(answers[0])["value"] == 2


async def test_what_is_in_the_log_is_read_once_its_owner_has_taken_it_over(call: Caller):
    """The stream may have told a client of an offset some turns before reads see it."""
    database = call.database
    await database.put("k", 1)
    held = await database._state.owners[0].ask(Hold((Put("k", b"2"),)))
    assert await database._log.ask(Append(held.records)) == 2
    assert database.last_offset == 2
    answers = []

    async def read():
        answers.append(await call("GET", "/v1/state/k?min_offset=2&timeout_ms=20000"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        early = await call("GET", "/v1/state/k?min_offset=2&timeout_ms=1")
        refused(early, 503, "offset_not_reached", "is at 1")
        assert reading(await call("GET", "/v1/state/k"))["value"] == 1
        assert not answers
        held.apply(2)
    assert reading(answers[0])["value"] == 2


@pytest.mark.parametrize("path", ["/v1/state/k", "/v1/state"])
def test_both_doors_take_it(client, path):
    assert client.put("/v1/state/k", json={"value": 1}).status_code == 200
    offset = client.get("/v1/state/k").json()["offset"]
    answer = client.get(path, params={"min_offset": offset})
    assert answer.status_code == 200
    answer = client.get(path, params={"min_offset": offset + 1000, "timeout_ms": 5})
    assert (answer.status_code, answer.json()["error"]) == (503, "offset_not_reached")
    assert int(answer.headers["kissvdb-offset"]) >= offset
