"""API keys over HTTP: issued by who may, asked for on every route, and ended with their streams,
through both doors."""

import json
import time
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.api.dispatch import Api
from kissvdb.api.frame.http import Request
from kissvdb.api.frame.starting import Recovering
from kissvdb.api.routes import ROUTES
from kissvdb.config import Config, Server, Storage
from kissvdb.engine.opening import open_database
from kissvdb.metrics import Metrics
from tests.api.caller import message, opened, reading, refused
from tests.api.wire import configured, door, read_until
from tests.patience import PATIENCE_SECS

KEY = "s3cret"
GUARDED = Server(api_key=KEY)


@pytest.fixture(params=[True, False], ids=["lane", "hypercorn"])
def lane(request):
    return request.param


@pytest.fixture
async def call():
    async with opened(server=GUARDED) as caller:
        yield caller


@pytest.fixture
async def served(lane):
    async with door(configured(lane, server=GUARDED)) as found:
        yield found


async def issued(call, **body):
    answer = await call("POST", "/v1/auth/keys", {"name": "k", **body}, x_api_key=KEY)
    assert answer.status == 200, answer.body
    assert ("cache-control", "no-store") in answer.headers
    return reading(answer)


async def made(served, **body):
    answer = await served.http.post(
        "/v1/auth/keys", json={"name": "k", **body}, headers={"x-api-key": KEY}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_key_is_issued_listed_rotated_and_revoked(call):
    # The database's clock never goes back, and may be a moment behind one that was set.
    before = int(time.time() * 1000) - 1000
    wanted = {
        "role": "read",
        "scopes": {"keys": ["a:*"]},
        "limits": {"requests_per_sec": 7},
        "permissions": {"team": [1]},
        "ttl_ms": 60_000,
    }
    key = await issued(call, **wanted)
    assert key["key"].startswith(f"rk_live_{key['id']}_")
    assert before + 60_000 <= key["expires_at_ms"] <= before + 120_000
    (listed,) = reading(await call("GET", "/v1/auth/keys", x_api_key=KEY))
    kept = {name: wanted[name] for name in ("role", "scopes", "limits", "permissions")}
    assert listed | kept | {"id": key["id"], "name": "k", "last_used_ms": None} == listed
    assert key["key"] not in json.dumps(listed)
    assert (await call("GET", "/v1/state?prefix=a:", x_api_key=key["key"])).status == 200
    (listed,) = reading(await call("GET", "/v1/auth/keys", x_api_key=KEY))
    assert before <= listed["last_used_ms"]
    path = f"/v1/auth/keys/{key['id']}"
    second = reading(await call("POST", f"{path}/rotate", {"grace_ms": 60_000}, x_api_key=KEY))
    for text in (key["key"], second["key"]):
        assert (await call("GET", "/v1/state?prefix=a:", x_api_key=text)).status == 200
    third = reading(await call("POST", f"{path}/rotate", x_api_key=KEY))
    answer = await call("GET", "/v1/state?prefix=a:", x_api_key=second["key"])
    refused(answer, 401, "unauthorized", "has another secret now")
    answer = await call("DELETE", path, x_api_key=KEY)
    assert (answer.status, answer.body) == (204, b"")
    for text in (third["key"], second["key"]):
        answer = await call("GET", "/v1/state?prefix=a:", x_api_key=text)
        refused(answer, 401, "unauthorized", "revoked")
    refused(await call("DELETE", path, x_api_key=KEY), 404, "not_found")
    refused(await call("POST", f"{path}/rotate", x_api_key=KEY), 404, "not_found")
    assert reading(await call("GET", "/v1/auth/keys", x_api_key=KEY)) == []


async def test_what_cannot_be_meant_is_refused_and_never_logged(call):
    for body, status, says in (
        ({}, 422, "name"),
        ({"name": ""}, 422, "body.name"),
        ({"name": "n" * 201}, 422, "body.name"),
        ({"name": "n", "role": "root"}, 422, "body.role"),
        ({"name": "n", "scope": {}}, 422, "scopes"),
        ({"name": "n", "scopes": {}}, 422, "nothing is granted"),
        ({"name": "n", "scopes": {"key": []}}, 422, "keys"),
        ({"name": "n", "scopes": {"keys": ["a*b"]}}, 422, "body.scopes.keys[0]"),
        (
            {"name": "n", "scopes": {"keys": ["a"], "routes": ["/v1/doc/*", "/v1/stat/*"]}},
            422,
            "/v1/stat",
        ),
        (
            {"name": "n", "scopes": {"keys": ["a"], "routes": ["POST /v1/stream"]}},
            422,
            "'/v1/stream'",
        ),
        ({"name": "n", "limits": {"rows": 1}}, 422, "body.limits.rows"),
        ({"name": "n", "ttl_ms": 0}, 422, "body.ttl_ms"),
        ({"name": "n", "ttl_ms": 1, "expires_at_ms": 2}, 422, "not both"),
        ({"name": "n", "expires_at_ms": 1}, 400, "expires_at_ms"),
        ({"name": "n", "permissions": []}, 422, "body.permissions"),
        ({"name": "n", "permissions": {"a": "x" * 70_000}}, 413, "body.permissions"),
    ):
        answer = await call("POST", "/v1/auth/keys", body, x_api_key=KEY)
        assert answer.status == status, (body, answer.body)
        assert says in message(answer)
    assert call.database.last_offset == 0


async def test_a_server_without_a_key_of_its_own_issues_none():
    async with opened() as call:
        answer = await call("POST", "/v1/auth/keys", {"name": "k"})
        refused(answer, 409, "server_key_missing", "server.api_key")
        assert (await call("GET", "/v1/state")).status == 200


async def test_each_role_may_what_the_routes_say(call):
    for role, rank in (("read", 1), ("write", 2), ("user", 2), ("admin", 3)):
        key = await issued(call, role=role)
        assert key["role"] == ("write" if role == "user" else role)
        for route in ROUTES:
            if route.method == "DELETE" or "keys" in route.path:
                continue
            answer = await call(route.method, route.path.replace("...", ""), x_api_key=key["key"])
            if route.scope > rank:
                name = route.scope.name.lower()
                refused(answer, 403, "forbidden", f"needs the role {name}", f"has {key['role']}")
            else:
                assert answer.status not in (401, 403), (route.name, answer.status)
            if hasattr(answer.body, "aclose"):
                await answer.body.aclose()


async def test_a_key_is_taken_wherever_the_static_one_is(call):
    text = (await issued(call))["key"]
    for headers, query in (
        ({"authorization": f"Bearer {text}"}, ""),
        ({"authorization": f"bearer  {text} "}, ""),
        ({"x_api_key": text}, ""),
        ({}, f"?api_key={text}"),
    ):
        assert (await call("GET", f"/v1/state{query}", **headers)).status == 200
    for headers, query in (
        ({"authorization": f"Basic {text}", "x_api_key": text}, ""),
        ({"x_api_key": text + "0"}, ""),
        ({"x_api_key": text.upper()}, ""),
        ({"x_api_key": "rk_live_"}, ""),
        ({"x_api_key": "\udcff"}, ""),
        ({}, "?api_key="),
        ({}, ""),
    ):
        refused(await call("GET", f"/v1/state{query}", **headers), 401, "unauthorized")
        refused(await call("GET", f"/v1/nowhere{query}", **headers), 401, "unauthorized")


async def test_issued_keys_are_asked_for_when_the_servers_own_is_gone(tmp_path):
    storage = Storage(data_dir=str(tmp_path / "data"))
    async with opened(Config(storage=storage), server=GUARDED) as call:
        key = await issued(call, role="admin")
    async with opened(Config(storage=storage)) as call:
        refused(await call("GET", "/v1/state"), 401, "unauthorized")
        assert (await call("GET", "/v1/health")).status == 200
        assert (await call("OPTIONS", "/v1/state")).status == 204
        assert (await call("GET", "/v1/state", x_api_key=key["key"])).status == 200
        path = f"/v1/auth/keys/{key['id']}"
        answer = await call("DELETE", path, x_api_key=key["key"])
        refused(answer, 409, "server_key_missing", "last")


async def test_a_request_that_comes_during_recovery_is_asked_when_keys_are_known(tmp_path):
    storage = Storage(data_dir=str(tmp_path / "data"))
    config = Config(storage=storage, server=GUARDED)
    async with opened(config) as call:
        reader, gone = await issued(call, role="read"), await issued(call)
        await call("DELETE", f"/v1/auth/keys/{gone['id']}", x_api_key=KEY)
    for server, nobody in ((GUARDED, 401), (Server(), 401)):
        config = Config(storage=storage, server=server)
        metrics = Metrics()
        api = Api(Recovering(), config, metrics)
        asked = [
            ("GET", reader["key"], 200),
            ("PUT", reader["key"], 403),
            ("GET", gone["key"], 401),
            ("GET", "", nobody),
        ]
        found = {}

        async def ask(place, method, text, api=api, found=found):
            body = b'{"value":1}' if method == "PUT" else b""
            headers = {"x-api-key": text} if text else {}
            path = "/v1/state/k" if method == "PUT" else "/v1/state"
            found[place] = (await api.dispatch(Request(method, path, "", headers, body))).status

        with trio.fail_after(PATIENCE_SECS):
            async with (
                open_database(config, metrics=metrics) as database,
                trio.open_nursery() as tasks,
            ):
                for place, (method, text, _) in enumerate(asked):
                    tasks.start_soon(ask, place, method, text)
                await wait_all_tasks_blocked(0.01)
                headers = {"x-api-key": reader["key"]}
                answer = await api.dispatch(Request("GET", "/v1/metrics", "", headers))
                assert answer.status == (503 if server.api_key else 200)
                api.open(database)
        assert [found[place] for place in range(len(asked))] == [each for *_, each in asked]


@asynccontextmanager
async def streaming(served, text):
    """A stream on a socket of its own, once it has begun."""
    async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
        head = f"GET /v1/stream?since=now HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {text}\r\n\r\n"
        await stream.send_all(head.encode())
        assert b"200" in await read_until(stream, b": ok\n")
        yield stream


async def rest_of(stream):
    """What comes until the server closes, or the chunked body ends."""
    return await read_until(stream, b"0\r\n\r\n")


async def revoke(served, key):
    await served.http.delete(f"/v1/auth/keys/{key['id']}", headers={"x-api-key": KEY})


async def rotate(served, key):
    path = f"/v1/auth/keys/{key['id']}/rotate"
    await served.http.post(path, headers={"x-api-key": KEY})


@pytest.mark.parametrize(("end", "reason"), [(revoke, "revoked"), (rotate, "rotated")])
async def test_open_streams_end_with_their_key(served, end, reason):
    key, other = await made(served, role="read"), await made(served, role="read")
    async with (
        streaming(served, key["key"]) as one,
        streaming(served, key["key"]) as two,
        streaming(served, other["key"]) as kept,
    ):
        headers = {"x-api-key": KEY}
        await served.http.put("/v1/state/before", json={"value": 1}, headers=headers)
        for stream in (one, two, kept):
            await read_until(stream, b'"before"')
        await end(served, key)
        await served.http.put("/v1/state/after", json={"value": 1}, headers=headers)
        for stream in (one, two):
            last = await rest_of(stream)
            assert last.count(b"event: ended\n") == 1
            assert f'data: {{"reason":"{reason}"}}\n\n'.encode() in last
            assert b"after" not in last
        assert b"ended" not in await read_until(kept, b'"after"')
    answer = await served.http.get("/v1/stream", headers={"x-api-key": key["key"]})
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/v1/stream?", "/v1/state/k?"])
async def test_a_key_that_is_revoked_while_its_request_waits_gets_no_answer(call, path):
    key, answers = await issued(call, role="read"), []

    async def ask():
        target = f"{path}min_offset=2&timeout_ms=10000"
        answers.append(await call("GET", target, x_api_key=key["key"]))

    async with trio.open_nursery() as tasks:
        tasks.start_soon(ask)
        await wait_all_tasks_blocked()
        await call("DELETE", f"/v1/auth/keys/{key['id']}", x_api_key=KEY)
        await call("PUT", "/v1/state/k", {"value": 1}, x_api_key=KEY)
    refused(answers[0], 401, "unauthorized", "revoked")


async def test_open_streams_end_when_their_key_expires(served):
    key = await made(served, role="read", ttl_ms=1500)
    async with streaming(served, key["key"]) as stream:
        last = await rest_of(stream)
        assert b'event: ended\ndata: {"reason":"expired"}\n\n' in last
    answer = await served.http.get("/v1/state", headers={"x-api-key": key["key"]})
    assert (answer.status_code, "expired" in answer.json()["message"]) == (401, True)


async def test_only_an_admin_follows_what_happens_to_keys(served):
    reader = await made(served, role="read")
    admin = await made(served, role="admin")
    async with (
        streaming(served, reader["key"]) as reads,
        streaming(served, admin["key"]) as sees,
    ):
        third = await made(served)
        seen = await read_until(sees, third["id"].encode())
        assert b"event: api_key_issued" in seen
        await served.http.put("/v1/state/k", json={"value": 1}, headers={"x-api-key": KEY})
        seen = await read_until(reads, b"state_updated")
        assert b"api_key" not in seen
        assert third["id"].encode() not in seen


async def test_events_of_keys_cannot_be_forged(call):
    for type_ in ("api_key_issued", "ended", "audit"):
        answer = await call("POST", "/v1/events", {"type": type_, "data": 1}, x_api_key=KEY)
        refused(answer, 400, "invalid_argument", "api_key_*")


async def test_a_load_that_takes_long_ends_with_its_key(served):
    key = await made(served, role="write")
    async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
        head = (
            "POST /v1/bulk HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-ndjson\r\n"
            f"transfer-encoding: chunked\r\nx-api-key: {key['key']}\r\n\r\n"
        )
        await stream.send_all(head.encode())
        line = b'{"op":"put","key":"k","value":1}\n'
        chunk = b"%x\r\n%b\r\n" % (len(line), line)
        await stream.send_all(chunk)
        await read_until(stream, b'"ok"')
        await revoke(served, key)
        await stream.send_all(chunk)
        said = await read_until(stream, b"\n\r\n")
        assert b'"unauthorized"' in said
        assert b"revoked" in said
    assert served.database.get("k").revision == 1
