"""Limits and quotas of a key, over real sockets: issued, enforced, kept over a restart."""

import pytest

from kissvdb.config import Audit, Server, Storage
from tests.api.wire import configured, door
from tests.engine.sse import collect

ADMIN = {"x-api-key": "the-key"}
DOORS = pytest.mark.parametrize("lane", [True, False], ids=["lane", "hypercorn"])


def keyed(lane=True, **sections):
    return door(configured(lane, server=Server(api_key="the-key"), **sections))


async def issued(server, **body):
    answer = await server.http.post("/v1/auth/keys", json={"name": "tenant", **body}, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    return answer.json()


def exceeded(answer, **quota):
    assert answer.status_code == 409, answer.text
    assert answer.json()["error"] == "quota_exceeded"
    assert answer.json()["quota"] == quota
    return True


@DOORS
async def test_a_keys_quota_holds_on_every_way_to_write(lane):
    async with keyed(lane) as server:
        scopes = {"keys": ["a:*"], "documents": ["a_*"], "vectors": ["a_*"]}
        key = await issued(server, scopes=scopes, limits={"rows_max": 2})
        mine = {"x-api-key": key["key"]}
        ask = server.http.request

        assert (await ask("PUT", "/v1/state/a:1", json={"value": 1}, headers=mine)).is_success
        answer = await ask("PUT", "/v1/doc/a_notes/1", json={"doc": {}}, headers=mine)
        assert answer.is_success, answer.text
        before = server.database.last_offset
        full = {"what": "rows", "used": 2, "asked": 1, "limit": 2}
        refused = await ask("PUT", "/v1/state/a:2", json={"value": 1}, headers=mine)
        assert exceeded(refused, **full)
        refused = await ask("PUT", "/v1/doc/a_notes/2", json={"doc": {}}, headers=mine)
        assert exceeded(refused, **full)
        operations = [
            {"op": "put", "key": "a:1", "value": 2},
            {"op": "put", "key": "a:2", "value": 2},
        ]
        refused = await ask("POST", "/v1/batch", json={"operations": operations}, headers=mine)
        assert exceeded(refused, **full)
        # Whoever writes into the scope: it is what it holds that is limited.
        refused = await ask("PUT", "/v1/state/a:2", json={"value": 1}, headers=ADMIN)
        assert exceeded(refused, **full)
        assert server.database.last_offset == before, "nothing reached the log"
        assert (await ask("PUT", "/v1/state/b:1", json={"value": 1}, headers=ADMIN)).is_success
        assert (await ask("DELETE", "/v1/state/a:1", headers=mine)).is_success
        assert (await ask("PUT", "/v1/state/a:2", json={"value": 1}, headers=mine)).is_success


@DOORS
async def test_a_keys_own_rate_is_no_other_ones(lane):
    async with keyed(lane) as server:
        key = await issued(server, limits={"requests_per_sec": 1, "requests_burst": 2})
        mine = {"x-api-key": key["key"]}
        answers = [await server.http.get("/v1/state", headers=mine) for _ in range(30)]
        assert answers[0].headers["ratelimit-policy"] == '"requests";q=2;w=2'
        assert answers[-1].status_code == 429
        answer = await server.http.get("/v1/state", headers=ADMIN)
        assert answer.status_code == 200
        assert "ratelimit" not in answer.headers


async def test_a_quota_is_right_after_a_restart_and_goes_with_its_key(tmp_path):
    storage = Storage(data_dir=str(tmp_path))
    async with keyed(storage=storage) as server:
        key = await issued(server, limits={"rows_max": 1})
        assert (await server.http.put("/v1/state/k", json={"value": 1}, headers=ADMIN)).is_success
    async with keyed(storage=storage) as server:
        refused = await server.http.put("/v1/state/other", json={"value": 1}, headers=ADMIN)
        assert exceeded(refused, what="rows", used=1, asked=1, limit=1)
        await server.http.delete(f"/v1/auth/keys/{key['id']}", headers=ADMIN)
        answer = await server.http.put("/v1/state/other", json={"value": 1}, headers=ADMIN)
        assert answer.is_success


async def test_keys_that_come_and_go_are_audited_without_their_secrets():
    async with keyed(audit=Audit(enabled=True)) as server:
        key = await issued(server)
        path = f"/v1/auth/keys/{key['id']}"
        await server.http.post(f"{path}/rotate", json={}, headers=ADMIN)
        await server.http.delete(path, headers=ADMIN)
        frames = await collect(server.database, 3, types=frozenset({"audit"}), private=True)
    told = [data["data"] for _, _, data in frames]
    assert [data["action"] for data in told] == [
        "POST /v1/auth/keys",
        "POST /v1/auth/keys/{id}/rotate",
        "DELETE /v1/auth/keys/{id}",
    ]
    assert {data["outcome"] for data in told} == {"done"}
    assert key["key"] not in str(told)


async def test_who_lacks_the_role_is_counted_and_audited_as_who_it_is():
    async with keyed(audit=Audit(enabled=True)) as server:
        key = await issued(server, role="read")
        answer = await server.http.post("/v1/snapshot", headers={"x-api-key": key["key"]})
        assert answer.status_code == 403
        metrics = (await server.http.get("/v1/metrics", headers=ADMIN)).text
        assert 'kissvdb_http_refusals_total{reason="forbidden",role="read"} 1.0' in metrics
        frames = await collect(server.database, 2, types=frozenset({"audit"}), private=True)
    refused = frames[1][2]["data"]
    assert (refused["key_id"], refused["role"]) == (key["id"], "read")
    assert refused["outcome"] == "forbidden"


@DOORS
async def test_keys_that_are_put_together_are_refused_one_by_one(lane):
    async with keyed(lane) as server:
        await issued(server, scopes={"keys": ["a:*"]}, limits={"rows_max": 2})
        names = ["b:1", "a:1", "a:2", "a:3", "b:2"]
        before = server.database.last_offset
        body = {"operations": [{"key": name, "value": 1} for name in names]}
        answer = await server.http.post("/v1/state/batch_put", json=body, headers=ADMIN)
        assert answer.status_code == 200, answer.text
        results = answer.json()["results"]
        assert [each["status"] for each in results] == ["ok", "ok", "ok", "error", "ok"]
        assert results[3]["error"]["error"] == "quota_exceeded"
        assert [each["offset"] - before for each in results if each["status"] == "ok"] == [
            *range(1, 5)
        ]
        assert server.database.last_offset == before + 4
        assert server.database.get("a:3") is None
