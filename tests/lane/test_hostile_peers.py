"""Clients that leave, stall or dawdle change nothing for the others."""

import gc
import resource

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.config import Http, Server
from tests.lane.peers import (
    IN_MEMORY,
    GatedApi,
    Peer,
    chunked_request,
    get,
    open_lane,
    put,
    request,
    until,
)

SOON = attrs.evolve(
    IN_MEMORY, http=Http(header_timeout_secs=5), server=Server(shutdown_timeout_secs=5)
)
HEALTH = request("GET", "/v1/health")


async def healthy(served):
    """A well-behaved client is served."""
    async with served.connect() as peer:
        await peer.send(HEALTH + put("healthy", 1) + get("healthy"))
        assert (await peer.answer()).body == b"ok"
        assert (await peer.answer()).status == 200
        assert (await peer.answer()).json()["value"] == 1


def connections(served):
    return served.lane.statistics().connections


SCRIPTS = {
    "hot": put("a", 1) + get("a"),
    "chunked": chunked_request("PUT", "/v1/state/a", b"5\r\n12345\r\n0\r\n\r\n"),
    "handed over": request("GET", "/v1/metrics") + get("a"),
    "stream": request("GET", "/v1/stream"),
    "bulk": chunked_request("POST", "/v1/bulk", b"5\r\n12345\r\n").replace(b"json", b"x-ndjson"),
}


@pytest.mark.parametrize("raw", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("settle", [False, True], ids=["at once", "once it was read"])
async def test_a_client_may_reset_at_every_point(lane, raw, settle, caplog):
    for at in range(0, len(raw) + 1, 3):
        async with lane.connect() as peer:
            await peer.send(raw[:at])
            if settle:
                await wait_all_tasks_blocked()
            peer.reset()
    await until(lambda: connections(lane) == 0)
    await healthy(lane)
    assert [each for each in caplog.records if each.name.startswith("kissvdb.lane")] == []


async def test_a_client_may_reset_while_its_answer_is_made():
    async with open_lane(api_class=GatedApi) as served:
        served.api.gate = trio.Event()
        for raw in (put("gone", 1), get("gone")):
            async with served.connect() as peer:
                await peer.send(raw)
                await until(lambda: served.api.started > served.api.finished)
                peer.reset()
        served.api.gate.set()
        await until(lambda: connections(served) == 0)
        assert served.database.get("gone").value == b"1"


async def test_a_read_is_abandoned_when_its_client_has_left(mock_clock):
    async with open_lane(api_class=GatedApi) as served, served.connect() as stays:
        served.api.gate = trio.Event()
        async with served.connect() as leaves:
            await leaves.send(get("a"))
            await stays.send(get("a"))
            await until(lambda: served.api.started == 2)
            leaves.half_close()
        for _ in range(3):
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(1)
        await until(lambda: connections(served) == 1)
        served.api.gate.set()
        assert (await stays.answer()).status == 404
        assert served.api.finished == 1


async def test_a_write_is_never_abandoned(mock_clock):
    async with open_lane(api_class=GatedApi) as served:
        served.api.gate = trio.Event()
        async with served.connect() as peer:
            await peer.send(put("kept", 1))
            await until(lambda: served.api.started == 1)
            peer.reset()
        for _ in range(3):
            await wait_all_tasks_blocked(0.01)
            mock_clock.jump(1)
        assert connections(served) == 1
        served.api.gate.set()
        await until(lambda: connections(served) == 0)
        assert served.database.get("kept").value == b"1"


async def test_a_reader_that_stalls_is_cut_off(mock_clock):
    value = "x" * 60_000
    async with open_lane(send_stall_secs=5) as served:
        await served.database.put("large", value)
        async with served.connect(receive_buffer_bytes=4096) as stalled:
            await stalled.send(get("large") * 200)
            await wait_all_tasks_blocked(0.01)
            await healthy(served)
            await until(lambda: connections(served) == 1)
            mock_clock.jump(7)
            await until(lambda: connections(served) == 0)


async def test_a_reader_that_stalls_with_hypercorn_is_cut_off(mock_clock):
    value = "x" * 60_000
    async with open_lane(send_stall_secs=5) as served:
        await served.database.put("large", value)
        async with served.connect(receive_buffer_bytes=4096) as stalled:
            await stalled.send(request("GET", "/v1/metrics") + get("large") * 500)
            await wait_all_tasks_blocked(0.05)
            await healthy(served)
            await until(lambda: connections(served) == 1)
            mock_clock.jump(7)
            await until(lambda: connections(served) == 0)


async def test_a_reader_that_stalls_with_hypercorn_and_resets_is_let_go():
    async with open_lane() as served:
        await served.database.put("large", "x" * 60_000)
        async with served.connect(receive_buffer_bytes=4096) as stalled:
            await stalled.send(request("GET", "/v1/metrics") + get("large") * 500)
            await wait_all_tasks_blocked(0.05)
            assert connections(served) == 1
            stalled.reset()
            await until(lambda: connections(served) == 0)


async def dawdle(served, count, mock_clock):
    """``count`` connections that each send a head byte by byte and never end it."""
    async with trio.open_nursery() as nursery:
        opened = []

        async def one():
            async with served.connect() as peer:
                await peer.send(b"GET /v1/health HTTP/1.1\r\nX: ")
                opened.append(peer)
                await peer.rest()

        for _ in range(count):
            nursery.start_soon(one)
        await until(lambda: connections(served) == count)
        for _ in range(3):
            for peer in opened:
                await peer.send(b"x")
        await healthy(served)
        await wait_all_tasks_blocked(0.01)
        mock_clock.jump(7)
    await until(lambda: connections(served) == 0)


async def test_200_slow_connections_disturb_nobody_and_are_closed_in_time(mock_clock):
    async with open_lane(SOON) as served:
        await dawdle(served, 200, mock_clock)
        await healthy(served)


@pytest.mark.slow
async def test_2000_slow_connections_leave_no_memory_behind(mock_clock):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        async with open_lane(SOON) as served:
            sizes = []
            for _ in range(8):
                await dawdle(served, 2000, mock_clock)
                await healthy(served)
                gc.collect()
                sizes.append(resident_kib())
        # 8,000 connections later: a leak of one kilobyte in each would show.
        assert sizes[-1] - sizes[3] < 8000
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident_kib():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() // 1024


async def test_running_out_of_descriptors_is_survived(caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with open_lane(accept_backoff_secs=0.001) as served, served.connect() as early:
        await early.send(HEALTH)
        assert (await early.answer()).status == 200
        with trio.socket.socket() as sock:
            late = Peer(sock)
            with trio.socket.socket() as probe:
                lowest_free = probe.fileno()
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
            try:
                await sock.connect(("127.0.0.1", served.port))
                await late.send(HEALTH)
                await until(lambda: "cannot accept" in caplog.text)
                await early.send(HEALTH)
                assert (await early.answer()).status == 200
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert (await late.answer()).status == 200
