"""Rate limits over real sockets, through both doors."""

import httpx
import pytest
import trio

from kissvdb.config import Rate, Server
from tests.api.wire import configured, door, read_until
from tests.patience import PATIENCE_SECS

DOORS = pytest.mark.parametrize("lane", [True, False], ids=["lane", "hypercorn"])


def limited(lane, *, server=None, **rate):
    return door(configured(lane, server=server, rate=Rate(**rate)))


def is_refused(answer, *words):
    assert answer.status_code == 429
    assert answer.json()["error"] == "rate_limited"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    for word in words:
        assert word in answer.json()["message"]
    return True


async def until_refused(server, method, path, **more):
    """The first answer that is a refusal: a slow machine lets in a few more."""
    for _ in range(100):
        answer = await server.http.request(method, path, **more)
        if answer.status_code == 429:
            return answer
    raise AssertionError("never refused")


@DOORS
async def test_who_asks_too_often_is_told_when_to_come_back(lane):
    async with limited(lane, requests_per_sec=1, requests_burst=3) as server:
        answer = await server.http.put("/v1/state/k", json={"value": 0})
        assert answer.status_code == 200
        assert answer.headers["ratelimit-policy"] == '"requests";q=3;w=3'
        assert answer.headers["ratelimit"] == '"requests";r=2;t=1'
        assert answer.headers["ratelimit-limit"] == "3"
        assert answer.headers["ratelimit-remaining"] == "2"
        # A wrong path is a request as well.
        refused = await until_refused(server, "GET", "/v1/nothing")
        assert is_refused(refused, "over 1 requests a second: wait 1 s")
        assert refused.headers["ratelimit"] == '"requests";r=0;t=1'
        assert refused.headers.get_list("ratelimit-reset") == ["1"]
        refused = await until_refused(server, "PUT", "/v1/state/refused", json={"value": 9})
        # Whoever watches over the server is not held up by who uses it.
        assert (await server.http.get("/v1/health")).status_code == 200
        assert "ratelimit" not in (await server.http.get("/v1/ready")).headers
        await trio.sleep(int(refused.headers["retry-after"]))
        assert (await server.http.get("/v1/state/k")).status_code == 200


@DOORS
async def test_nothing_is_limited_by_default(lane):
    async with door(configured(lane)) as server:
        for _ in range(50):
            answer = await server.http.get("/v1/state")
            assert answer.status_code == 200
            assert not [name for name in answer.headers if name.startswith("ratelimit")]


@DOORS
async def test_behind_a_proxy_of_ours_each_client_counts_for_itself(lane):
    ours = Server(trusted_proxies=("127.0.0.0/8",))
    async with limited(lane, server=ours, requests_per_sec=1) as server:

        async def ask(address):
            return await server.http.get("/v1/state", headers={"x-forwarded-for": address})

        headers = {"x-forwarded-for": "198.51.100.7, 192.0.2.1"}
        await until_refused(server, "GET", "/v1/state", headers=headers)
        assert (await ask("192.0.2.2")).status_code == 200
        assert (await ask("198.51.100.7")).status_code == 200


@DOORS
async def test_from_anybody_else_the_header_is_only_words(lane):
    async with limited(lane, requests_per_sec=1) as server:
        for n in range(100):
            headers = {"x-forwarded-for": f"192.0.2.{n}"}
            answer = await server.http.get("/v1/state", headers=headers)
            if answer.status_code == 429:
                break
        assert is_refused(answer)


@DOORS
async def test_bodies_are_limited_by_their_bytes(lane):
    async with limited(lane, body_bytes_per_sec=1000) as server:
        large = {"value": "x" * 60_000}
        answer = await server.http.put("/v1/state/k", json=large)
        assert answer.status_code == 200
        assert answer.headers["ratelimit"].startswith('"bytes";r=0;t=')
        refused = await server.http.put("/v1/state/other", json=large)
        assert is_refused(refused, "1000 bytes of bodies a second")
        assert 'qu="content-bytes"' in refused.headers["ratelimit-policy"]
        assert (await server.http.get("/v1/state/k")).status_code == 200
        assert (await server.http.get("/v1/state/other")).status_code == 404


@DOORS
async def test_streams_are_counted_while_they_are_open(lane):
    async with limited(lane, streams_max=1) as server:
        follow = b"GET /v1/stream HTTP/1.1\r\nhost: localhost\r\n\r\n"
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as first:
            await first.send_all(follow)
            await read_until(first, b": ok")
            assert is_refused(await server.http.get("/v1/stream"), "1 streams are under way")
        with trio.fail_after(PATIENCE_SECS):
            while True:
                async with await trio.open_tcp_stream("127.0.0.1", server.port) as again:
                    await again.send_all(follow)
                    if b" 200 " in await read_until(again, b"\r\n"):
                        break
                await trio.sleep(0.02)


@DOORS
async def test_searches_are_counted_while_they_last(lane):
    async with limited(lane, searches_max=1) as server:
        answers = []

        async def find(query):
            path = f"/v1/doc/notes/find{query}"
            answers.append(await server.http.post(path, json={}))

        async with trio.open_nursery() as asking:
            # It waits for an offset that never comes.
            asking.start_soon(find, "?min_offset=1000&timeout_ms=700")
            await trio.sleep(0.3)
            await find("")
        assert is_refused(answers[0], "1 searches are under way")
        assert answers[1].json()["error"] == "offset_not_reached"
        await find("")
        assert answers[2].status_code != 429


@DOORS
async def test_who_guesses_keys_is_held_up_and_nobody_else(lane):
    ours = Server(api_key="the-right-one", trusted_proxies=("127.0.0.1",))
    async with limited(lane, server=ours, failures_burst=3, failures_per_min=1) as server:

        async def ask(key, address):
            headers = {"authorization": f"Bearer {key}", "x-forwarded-for": address}
            return await server.http.get("/v1/state", headers=headers)

        for _ in range(3):
            assert (await ask("a guess", "192.0.2.1")).status_code == 401
        assert is_refused(await ask("a guess", "192.0.2.1"), "too many wrong API keys")
        # It does not learn whether a guess is right.
        assert is_refused(await ask("the-right-one", "192.0.2.1"))
        assert (await ask("the-right-one", "192.0.2.2")).status_code == 200
        # Without a key nothing is guessed.
        for _ in range(10):
            answer = await server.http.get("/v1/state", headers={"x-forwarded-for": "192.0.2.3"})
            assert answer.status_code == 401
        metrics = await server.http.get("/v1/metrics", headers={"x-api-key": "the-right-one"})
        lines = metrics.text.splitlines()
        assert 'kissvdb_http_refusals_total{reason="unauthorized",role="none"} 13.0' in lines
        assert any('reason="rate_limited"' in line for line in lines)


@DOORS
async def test_pages_may_read_what_is_left(lane):
    async with limited(lane, requests_per_sec=5) as server:
        headers = {"origin": "http://localhost:3000"}
        answer = await server.http.get("/v1/state", headers=headers)
        assert "RateLimit" in answer.headers["access-control-expose-headers"]
        assert answer.headers["ratelimit-policy"] == '"requests";q=5;w=1'


async def test_what_was_read_without_a_task_counts_once():
    # The lane tries to answer at once, and may find that it cannot.
    async with (
        limited(True, requests_per_sec=1, requests_burst=2) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client,
    ):
        answer = await client.get("/v1/state/k?min_offset=5&timeout_ms=1")
        assert answer.status_code == 503
        assert answer.headers["ratelimit-remaining"] in ("1", "2")
