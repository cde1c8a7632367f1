"""What admins did and who was refused, as events of the log: through both doors."""

import json

import pytest
import trio

from kissvdb.config import Audit, Rate, Server
from tests.api.wire import configured, door
from tests.patience import PATIENCE_SECS

KEY = {"x-api-key": "the-key"}
DOORS = pytest.mark.parametrize("lane", [True, False], ids=["lane", "hypercorn"])


def audited(lane=True, **sections):
    sections.setdefault("server", Server(api_key="the-key"))
    sections.setdefault("audit", Audit(enabled=True))
    return door(configured(lane, **sections))


async def events(server, count, query="?types=audit", key="the-key"):
    """The first events of a stream: (type, data) of each."""
    head = f"GET /v1/stream{query} HTTP/1.0\r\nhost: localhost\r\nx-api-key: {key}\r\n\r\n"
    received, found = b"", []
    with trio.fail_after(PATIENCE_SECS):
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(head.encode())
            while len(found) < count:
                received += await stream.receive_some()
                lines = received.decode().rpartition("\n\n")[0].split("\n")
                sent = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
                found = [(event["type"], event["data"]) for event in sent]
    return found


@DOORS
async def test_what_an_admin_does_is_in_the_log_with_who_and_how_it_ended(lane):
    async with audited(lane) as server:
        ask = server.http.request
        headers = {**KEY, "x-request-id": "mine"}
        await ask("PUT", "/v1/state/k", json={"value": "a secret"}, headers=KEY)
        assert (await ask("POST", "/v1/snapshot", headers=headers)).status_code == 200
        assert (await ask("DELETE", "/v1/vector/none", headers=KEY)).status_code == 404
        assert (await ask("GET", "/v1/backup", headers=KEY)).status_code == 501
        found = await events(server, 3)
    assert [type_ for type_, _ in found] == ["audit"] * 3
    snapshot, drop, backup = [data for _, data in found]
    assert snapshot == {
        "action": "POST /v1/snapshot",
        "outcome": "done",
        "about": {},
        "key_id": None,
        "name": "key",
        "role": "admin",
        "address": "127.0.0.1",
        "request_id": "mine",
    }
    assert (drop["action"], drop["outcome"]) == ("DELETE /v1/vector/{collection}", "not_found")
    assert drop["about"] == {"collection": "none"}
    assert backup["outcome"] == "not_supported"
    assert "the-key" not in json.dumps(found)


async def test_changes_of_the_schema_are_noted_and_rows_are_not():
    async with audited() as server:
        table = "/* mine */ CREATE TABLE t (a)"
        for sql in (table, "INSERT INTO t VALUES ('a secret')", "DROP TABLE t"):
            answer = await server.http.post("/v1/sql/exec", json={"sql": sql}, headers=KEY)
            assert answer.status_code == 200
        found = [data for _, data in await events(server, 2)]
    assert [data["statements"] for data in found] == [["CREATE TABLE t (a)"], ["DROP TABLE t"]]
    assert found[0]["action"] == "POST /v1/sql/exec"
    assert "a secret" not in json.dumps(found)


@DOORS
async def test_refusals_are_few_events_however_many_there_are(lane):
    ours = Server(api_key="the-key", trusted_proxies=("127.0.0.1",))
    async with audited(lane, server=ours, rate=Rate(failures_burst=5)) as server:
        for n in range(30):
            headers = {"x-api-key": f"guess-{n}", "x-forwarded-for": "192.0.2.7"}
            assert (await server.http.get("/v1/state/k", headers=headers)).status_code in (401, 429)
        found = [data for _, data in await events(server, 2)]
        last = server.database.last_offset
    first = next(data for data in found if data["outcome"] == "unauthorized")
    assert (first["role"], first["name"], first["address"]) == ("none", None, "192.0.2.7")
    assert first["action"] == "GET /v1/state/{key}"
    assert last < 20, "a flood of guesses is not a flood of events"
    assert "guess" not in json.dumps(found)


async def test_what_was_left_out_is_counted_in_the_next_one():
    async with audited() as server:
        for _ in range(5):
            await server.http.get("/v1/state/k")
        await trio.sleep(1.1)
        await server.http.get("/v1/state/k")
        found = [data for _, data in await events(server, 2)]
    assert sum(1 + data["left_out"] for data in found) >= 5
    assert found[-1]["left_out"] > 0


async def test_nothing_is_audited_unless_it_is_wanted():
    async with audited(audit=Audit()) as server:
        await server.http.post("/v1/snapshot", headers=KEY)
        await server.http.get("/v1/state/k")
        assert server.database.last_offset == 0


@DOORS
async def test_nobody_can_publish_an_event_of_this_type(lane):
    async with audited(lane, audit=Audit()) as server:
        for event in (
            {"type": "audit", "data": 1},
            {"type": "audit", "data": 1, "transient": True},
        ):
            answer = await server.http.post("/v1/events", json=event, headers=KEY)
            assert answer.status_code == 400
            assert "audit belongs to the database" in answer.json()["message"]
        assert server.database.last_offset == 0
