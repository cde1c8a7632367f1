"""The lane stops: at once what is idle, in time what is not, and always in the end."""

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.config import Server
from tests.lane.peers import (
    IN_MEMORY,
    PATIENCE_SECS,
    GatedApi,
    Gone,
    get,
    open_lane,
    put,
    request,
    until,
)

QUICK = attrs.evolve(IN_MEMORY, server=Server(shutdown_timeout_secs=5))


async def stopped(served):
    with trio.fail_after(PATIENCE_SECS):
        await served.finished.wait()


async def test_idle_connections_are_closed_and_new_ones_refused(lane):
    async with lane.connect() as fresh, lane.connect() as used, lane.connect() as handed:
        await used.send(request("GET", "/v1/health"))
        await used.answer()
        await handed.send(request("GET", "/v1/metrics"))
        await handed.answer()
        await until(lambda: lane.lane.statistics().connections == 3)
        lane.shutdown.set()
        await stopped(lane)
        for peer in (fresh, used, handed):
            assert await peer.rest() == b""
        with pytest.raises(OSError, match="refused"):
            async with lane.connect():
                pass


async def test_a_half_sent_request_is_told_that_the_server_stops(lane):
    async with lane.connect() as peer:
        await peer.send(put("a", 1)[:20])
        await wait_all_tasks_blocked(0.01)
        lane.shutdown.set()
        answer = await peer.answer()
        assert (answer.status, answer.error) == (503, "stopping")
        assert await peer.rest() == b""
        await stopped(lane)


@pytest.mark.parametrize("raw", [put("a", 1), request("PUT", "/v1/state/a", b'{"value":1}')])
async def test_an_answer_under_way_is_finished_and_says_that_it_is_the_last(raw):
    async with open_lane(QUICK, api_class=GatedApi) as served, served.connect() as peer:
        served.api.gate = trio.Event()
        await peer.send(raw + get("a"))
        await until(lambda: served.api.started == 1)
        served.shutdown.set()
        await wait_all_tasks_blocked(0.01)
        assert not served.finished.is_set()
        served.api.gate.set()
        answer = await peer.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await peer.rest() == b""
        peer.reset()
        await stopped(served)
        assert served.api.started == 1


async def test_hypercorn_finishes_its_answer_too():
    async with open_lane(QUICK, api_class=GatedApi) as served, served.connect() as peer:
        served.api.gate = trio.Event()
        await peer.send(request("GET", "/v1/metrics"))
        await until(lambda: served.api.started == 1)
        served.shutdown.set()
        await wait_all_tasks_blocked(0.01)
        served.api.gate.set()
        assert (await peer.answer()).status == 200
        assert await peer.rest() == b""
        await stopped(served)


async def test_streams_end_with_their_last_chunk(lane):
    async with lane.connect() as peer:
        await peer.send(request("GET", "/v1/stream"))
        await peer.stream_head()
        await until(lambda: lane.lane.statistics().pushed == 1)
        lane.shutdown.set()
        with pytest.raises(Gone, match="ok"):
            await peer.sse(b"never")
        await stopped(lane)
    assert lane.database.hub.client_count == 0


async def test_a_stream_through_hypercorn_ends_when_the_hub_ends_it(lane):
    async with lane.connect() as peer:
        await peer.send(request("GET", "/v1/metrics") + request("GET", "/v1/stream"))
        await peer.answer()
        await peer.stream_head()
        lane.database.end_streams()
        lane.shutdown.set()
        await stopped(lane)


@pytest.mark.parametrize("door", ["lane", "hypercorn"])
async def test_an_answer_that_does_not_come_is_cut_off_at_the_deadline(door, mock_clock):
    async with open_lane(QUICK, api_class=GatedApi) as served, served.connect() as peer:
        served.api.gate = trio.Event()
        await peer.send(get("a") if door == "lane" else request("GET", "/v1/metrics"))
        await until(lambda: served.api.started == 1)
        served.shutdown.set()
        await wait_all_tasks_blocked(0.01)
        assert not served.finished.is_set()
        mock_clock.jump(6)
        await stopped(served)
        assert await peer.rest() == b""


@pytest.mark.parametrize("first", [b"", request("GET", "/v1/metrics")], ids=["lane", "hypercorn"])
async def test_a_stalled_reader_does_not_hold_the_shutdown(first, mock_clock):
    async with open_lane(QUICK) as served:
        await served.database.put("large", "x" * 60_000)
        async with served.connect(receive_buffer_bytes=4096) as stalled:
            await stalled.send(first + get("large") * 500)
            await wait_all_tasks_blocked(0.05)
            served.shutdown.set()
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(6)
            await stopped(served)


async def test_cancelling_the_server_closes_everything():
    async with open_lane() as served, served.connect() as idle, served.connect() as stream:
        await idle.send(request("GET", "/v1/health"))
        await idle.answer()
        await stream.send(request("GET", "/v1/stream"))
        await stream.stream_head()
        served.cancel()
        await stopped(served)
        assert await idle.rest() == b""
        await stream.rest()
