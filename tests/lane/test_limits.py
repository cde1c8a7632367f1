"""Every limit of the lane, met and overstepped."""

import json
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.config import Http, Limits, Server
from tests.lane.peers import (
    IN_MEMORY,
    GatedApi,
    chunked_request,
    get,
    open_lane,
    put,
    request,
    until,
)

SMALL = attrs.evolve(
    IN_MEMORY,
    server=Server(request_timeout_secs=4, shutdown_timeout_secs=5),
    http=Http(header_bytes_max=1024, header_timeout_secs=2, idle_timeout_secs=6),
    limits=Limits(body_bytes_max=2048),
)


@pytest.fixture
async def small():
    """A lane whose limits are soon reached."""
    async with open_lane(SMALL, request_line_bytes_max=600, headers_max=10) as served:
        yield served


@asynccontextmanager
async def passing(clock):
    """Time passes: a second whenever nobody has had anything to do for a moment."""

    async def pass_time():
        while True:
            await wait_all_tasks_blocked(0.005)
            clock.jump(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_time)
        yield
        nursery.cancel_scope.cancel()


def head_of(size):
    """A head of exactly ``size`` bytes."""
    bare = request("GET", "/v1/health", b"", "X-Fill: ")
    return bare.replace(b"X-Fill: ", b"X-Fill: " + b"x" * (size - len(bare)))


async def test_a_head_of_the_largest_size_is_read(small):
    async with small.connect() as peer:
        await peer.send(head_of(1024))
        assert (await peer.answer()).status == 200


@pytest.mark.parametrize("size", [1025, 5000, 200_000])
async def test_a_larger_head_is_refused(small, size):
    answer, closed = await small.say(head_of(size))
    assert (answer.status, answer.error, closed) == (431, "invalid_argument", True)
    assert "http.header_bytes_max" in answer.json()["message"]


async def test_a_head_without_end_is_refused_as_soon_as_it_is_too_large(small):
    answer, closed = await small.say(head_of(2000)[:1500])
    assert (answer.status, closed) == (431, True)


@pytest.mark.parametrize(("count", "status"), [(9, 200), (10, 431)])
async def test_the_number_of_headers_is_limited(small, count, status):
    async with small.connect() as peer:
        await peer.send(request("GET", "/v1/health", b"", *(f"X-{n}: y" for n in range(count))))
        assert (await peer.answer()).status == status


@pytest.mark.parametrize(("length", "status"), [(500, 404), (700, 414)])
async def test_the_request_line_is_limited(small, length, status):
    async with small.connect() as peer:
        await peer.send(get("k" * length))
        assert (await peer.answer()).status == status


async def test_a_request_line_without_end_is_refused(small):
    answer, closed = await small.say(get("k" * 700)[:650])
    assert (answer.status, closed) == (414, True)


async def test_a_body_of_the_largest_size_is_read(small):
    body = json.dumps({"value": "x" * (2048 - 13)}).encode()
    assert len(body) == 2048
    async with small.connect() as peer:
        await peer.send(request("PUT", "/v1/state/a", body))
        assert (await peer.answer()).status == 200
        await peer.send(chunked_request("PUT", "/v1/state/a", b"800\r\n%b\r\n0\r\n\r\n" % body))
        assert (await peer.answer()).status == 200


@pytest.mark.parametrize("size", [2049, 10**18])
async def test_a_larger_body_is_refused_before_it_is_read(small, size):
    raw = request("PUT", "/v1/state/a", b"", f"Content-Length: {size}", "X-Request-Id: r1")
    answer, closed = await small.say(raw)
    assert (answer.status, answer.error, closed) == (413, "payload_too_large", True)
    assert "MAX_BODY_BYTES" in answer.json()["message"]
    assert answer.headers["x-request-id"] == "r1"


@pytest.mark.parametrize("chunks", [b"801\r\n", b"400\r\n" + b"x" * 1024 + b"\r\n401\r\n"])
async def test_a_larger_chunked_body_is_refused_at_the_size_that_tells(small, chunks):
    answer, closed = await small.say(chunked_request("PUT", "/v1/state/a", chunks))
    assert (answer.status, answer.error, closed) == (413, "payload_too_large", True)


async def test_a_refused_client_that_still_sends_gets_its_answer(small):
    raw = request("PUT", "/v1/state/a", b"", "Content-Length: 1000000")
    async with small.connect() as peer:
        await peer.send(raw + b"x" * 1_000_000)
        assert (await peer.answer()).status == 413
        assert await peer.rest() == b""


async def test_a_refused_client_that_sends_without_end_is_cut_off():
    async with open_lane(SMALL, linger_bytes_max=100_000) as served, served.connect() as peer:
        await peer.send(b"\r\n\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await peer.send(b"x" * 100_000_000)


async def test_connections_over_the_limit_are_turned_away_with_503():
    config = attrs.evolve(SMALL, server=Server(connections_max=2))
    async with open_lane(config) as served, served.connect() as one, served.connect():
        await until(lambda: served.lane.statistics().connections == 2)
        answer, closed = await served.say(request("GET", "/v1/health"))
        assert (answer.status, answer.error, closed) == (503, "overloaded", True)
        assert int(answer.headers["retry-after"]) > 0
        assert "server.connections_max" in answer.json()["message"]
        await one.send(request("GET", "/v1/health"))
        assert (await one.answer()).status == 200
        assert served.lane.statistics().turned_away == 1


async def test_connections_are_free_again_when_others_have_closed():
    config = attrs.evolve(SMALL, server=Server(connections_max=1))
    async with open_lane(config) as served:
        for _ in range(3):
            async with served.connect() as peer:
                await peer.send(request("GET", "/v1/health"))
                assert (await peer.answer()).status == 200
            await until(lambda: served.lane.statistics().connections == 0)


async def test_only_so_many_are_turned_away_with_an_answer_at_a_time():
    config = attrs.evolve(SMALL, server=Server(connections_max=1))
    async with open_lane(config, refusals_max=1) as served, served.connect():
        await until(lambda: served.lane.statistics().connections == 1)
        async with served.connect() as second, served.connect() as third:
            assert (await second.answer()).status == 503
            assert await third.rest() == b""


async def test_a_head_that_is_not_complete_in_time_is_refused(small, mock_clock):
    async with passing(mock_clock), small.connect() as peer:
        began = trio.current_time()
        await peer.send(b"GET /v1/health HTTP/1.1\r\nHost:")
        answer = await peer.answer()
        assert (answer.status, answer.error) == (408, "timeout")
        assert trio.current_time() - began >= 2
        assert await peer.rest() == b""


async def test_more_bytes_do_not_extend_the_time_of_a_head(small, mock_clock, nursery):
    async with passing(mock_clock), small.connect() as peer:

        async def drip():
            while True:
                await peer.send(b"x")
                await trio.sleep(1)

        await peer.send(b"GET /v1/health HTTP/1.1\r\nX: ")
        nursery.start_soon(drip)
        assert (await peer.answer()).status == 408


async def test_an_idle_connection_is_closed_without_a_word(small, mock_clock):
    async with passing(mock_clock), small.connect() as peer:
        await peer.send(request("GET", "/v1/health"))
        assert (await peer.answer()).status == 200
        began = trio.current_time()
        assert await peer.rest() == b""
        assert trio.current_time() - began >= 6


async def test_a_body_that_is_not_complete_in_time_is_refused(small, mock_clock):
    for raw in (put("a", 1)[:-1], chunked_request("PUT", "/v1/state/a", b"B\r\n")):
        async with passing(mock_clock), small.connect() as peer:
            began = trio.current_time()
            await peer.send(raw)
            answer = await peer.answer()
            assert (answer.status, answer.error) == (408, "timeout")
            assert trio.current_time() - began >= 4
    assert small.database.get("a") is None


async def test_an_answer_that_takes_too_long_is_a_timeout(mock_clock):
    async with open_lane(SMALL, api_class=GatedApi) as served, served.connect() as peer:
        served.api.gate = trio.Event()
        await peer.send(put("a", 1) + put("b", 2))
        async with passing(mock_clock):
            answer = await peer.answer()
        assert (answer.status, answer.error) == (408, "timeout")
        assert "check with GET" in answer.json()["message"]
        assert await peer.rest() == b""
        assert served.api.started == 1


async def test_a_client_that_pipelines_without_end_leaves_others_their_turn(small):
    async with small.connect() as greedy, small.connect() as modest:
        flood = request("GET", "/v1/health") * 2000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(greedy.send, flood)
            await modest.send(request("GET", "/v1/health"))
            assert (await modest.answer()).status == 200
            for _ in range(2000):
                assert (await greedy.answer()).status == 200
