"""`subscriptions/listen` over real sockets, through both doors."""

import json
from contextlib import asynccontextmanager

import pytest
import trio

from kissvdb.api.frame.principal import Scope
from kissvdb.api.mcp.protocol import SUBSCRIPTION_KEY
from kissvdb.client import Config, wire
from kissvdb.client.aio import net
from kissvdb.client.aio.http import Connection
from kissvdb.config import Search, Server
from kissvdb.core.grants import Grants
from kissvdb.core.quotas import KeyLimits
from tests.api.wire import configured, door
from tests.mcp.rpc import stateless
from tests.patience import PATIENCE_SECS

ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture
async def server(request):
    """Through the fast lane, unless a test asks for both doors."""
    lane = getattr(request, "param", True)
    config = configured(lane, Server(api_key="s3cret"), search=Search(compile=False))
    async with door(config) as opened:
        yield opened


@asynccontextmanager
async def listening(server, key="s3cret", **notifications):
    """A function that answers the next message of the stream."""
    sent, headers = stateless("subscriptions/listen", {"notifications": notifications})
    origin = Config(f"http://127.0.0.1:{server.port}").origin()
    headers = tuple({**headers, **ACCEPT}.items())
    call = wire.Call("POST", "/mcp", json.dumps(sent).encode(), headers=headers)
    connection = Connection(await net.connect(origin, PATIENCE_SECS))
    parser, rest = connection.parser, b""

    async def told():
        nonlocal rest
        while b"\n\n" not in rest:
            if parser.is_complete:
                return None
            await connection.receive(PATIENCE_SECS)
            rest += parser.take().body
        frame, _, rest = rest.partition(b"\n\n")
        if b"data: " not in frame:
            return await told()
        found = json.loads(frame.partition(b"data: ")[2])
        about = found.get("params") or found["result"]
        assert about["_meta"][SUBSCRIPTION_KEY] == sent["id"]
        return found

    try:
        request = wire.encode(call, "", wire.common_headers(origin.host, key), 0)
        await connection.send(request, net.monotonic() + PATIENCE_SECS)
        while not parser.has_head:
            await connection.receive(PATIENCE_SECS)
        answer = parser.take()
        rest = answer.body
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
        yield told
    finally:
        with trio.CancelScope(shield=True):
            await connection.stream.aclose()


async def put(server, path, body):
    answer = await server.http.put(path, json=body, headers={"x-api-key": "s3cret"})
    assert answer.status_code == 200, answer.text


def uri_of(found):
    assert found["method"] == "notifications/resources/updated"
    return found["params"]["uri"]


@pytest.mark.parametrize("server", [True, False], ids=["lane", "hypercorn"], indirect=True)
async def test_what_changes_is_told_and_nothing_else(server):
    uris = ["kissvdb://state/job:1", "kissvdb://doc/books", "kissvdb://doc/books/a%2Fb"]
    async with listening(server, resourceSubscriptions=uris, toolsListChanged=True) as told:
        begun = await told()
        assert begun["method"] == "notifications/subscriptions/acknowledged"
        assert begun["params"]["notifications"] == {"resourceSubscriptions": uris}
        await put(server, "/v1/state/job:2", {"value": 1})
        await put(server, "/v1/state/job:1", {"value": 1})
        assert uri_of(await told()) == uris[0]
        await put(server, "/v1/doc/books/other", {"t": 1})
        assert uri_of(await told()) == uris[1]
        await put(server, "/v1/doc/books/a%2Fb", {"t": 1})
        assert {uri_of(await told()), uri_of(await told())} == set(uris[1:])


async def test_a_collection_that_comes_changes_the_list(server):
    async with listening(server, resourcesListChanged=True) as told:
        assert (await told())["params"]["notifications"] == {"resourcesListChanged": True}
        await put(server, "/v1/doc/new/1", {"t": 1})
        assert (await told())["method"] == "notifications/resources/list_changed"
        await put(server, "/v1/doc/new/2", {"t": 1})
        await put(server, "/v1/doc/newer/1", {"t": 1})
        assert (await told())["method"] == "notifications/resources/list_changed"
        key = {"x-api-key": "s3cret"}
        for id_ in "12":
            await server.http.delete(f"/v1/doc/new/{id_}", headers=key)
        assert (await told())["method"] == "notifications/resources/list_changed"


async def test_the_stream_is_of_its_key_and_ends_with_it(server):
    keys = server.database.keys
    scopes = Grants.from_json({"keys": ["mine:*"]})
    made = await keys.issue("k", Scope.READ.name.lower(), scopes=scopes)
    uris = ["kissvdb://state/mine:1", "kissvdb://state/theirs:1", "kissvdb://vector/v/1"]
    async with listening(server, key=made.text, resourceSubscriptions=uris) as told:
        agreed = (await told())["params"]["notifications"]
        assert agreed == {"resourceSubscriptions": uris[:1]}
        await put(server, "/v1/state/theirs:1", {"value": 1})
        await put(server, "/v1/state/mine:1", {"value": 1})
        assert uri_of(await told()) == uris[0]
        await keys.revoke(made.record.id)
        assert (await told())["result"]["resultType"] == "complete"
        assert await told() is None


async def test_streams_are_counted_and_given_back(server):
    made = await server.database.keys.issue("k", "read", limits=KeyLimits(streams_max=1))
    for _ in range(3):
        async with listening(server, key=made.text, resourcesListChanged=True) as told:
            await told()
            sent, headers = stateless("subscriptions/listen", {"notifications": {}})
            headers |= {**ACCEPT, "x-api-key": made.text}
            second = await server.http.post("/mcp", json=sent, headers=headers)
            assert "rate_limited" in second.json()["error"]["message"]
        # The server hears a little later that the client has left.
        with trio.fail_after(PATIENCE_SECS):
            while server.database.hub.client_count:  # noqa: ASYNC110
                await trio.sleep(0.01)


@pytest.mark.parametrize(
    "notifications",
    [
        {"resourceSubscriptions": ["kissvdb://nothing"]},
        {"resourceSubscriptions": ["kissvdb://state/k"] * 257},
        {"resourceSubscriptions": 1},
    ],
)
async def test_what_cannot_be_followed_is_refused(server, notifications):
    sent, headers = stateless("subscriptions/listen", {"notifications": notifications})
    answer = await server.http.post(
        "/mcp", json=sent, headers={**headers, **ACCEPT, "x-api-key": "s3cret"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32602)


async def test_who_reads_no_stream_gets_none(server):
    sent, headers = stateless("subscriptions/listen", {"notifications": {}})
    headers |= {"accept": "application/json", "x-api-key": "s3cret"}
    answer = await server.http.post("/mcp", json=sent, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32600)
