"""kill -9 under load: what was acknowledged is there, and the stream never lies."""

import gc
import json
import subprocess
import sys

import httpx
import pytest
import trio

from kissvdb.commands.log_dump import dump
from tests.crash.process import ServerProcess
from tests.crash.workload import Acknowledged, Reader, Writer, replayed
from tests.patience import PATIENCE_SECS

# httpx leaves its inner generators to the garbage collector when a stream is cancelled.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LIST_LIMIT = 1000
FACTS_MIN = 20


@pytest.fixture(autouse=True)
def _collected():
    """What httpx left is collected here, where its warning is ignored, and in no later test."""
    yield
    gc.collect()


async def kill_under_load(directory, *, rounds, writers, readers, seconds, seed):
    server = ServerProcess(directory)
    await trio.to_thread.run_sync(server.start)
    acknowledged = Acknowledged()
    watching = [Reader(server.url) for _ in range(readers)]
    async with trio.open_nursery() as reading:
        for reader in watching:
            reading.start_soon(reader.run)
        stop = trio.Event()
        async with trio.open_nursery() as writing:
            for number in range(writers):
                writing.start_soon(Writer(number, server.url, acknowledged, seed).run, stop)
            for _ in range(rounds):
                await _some_load(acknowledged, seconds)
                server.kill()
                await trio.to_thread.run_sync(server.start)
            await _some_load(acknowledged, seconds)
            stop.set()
        with trio.fail_after(PATIENCE_SECS):
            # Short TTLs run out, then nothing moves any more.
            await watching[0].wait_for(await trio.to_thread.run_sync(_last_offset, server.url))
            await watching[0].wait_until(_no_ttl_is_left)
            last = await trio.to_thread.run_sync(_last_offset, server.url)
            for reader in watching:
                await reader.wait_for(last)
        reading.cancel_scope.cancel()
    listed = _list_all(server.url)
    assert await trio.to_thread.run_sync(server.stop) == 0
    return acknowledged, watching, listed, last


async def _some_load(acknowledged, seconds):
    """For so long, and however slow the machine is, until the load has done something."""
    enough = len(acknowledged.facts) + FACTS_MIN
    await trio.sleep(seconds)
    with trio.fail_after(PATIENCE_SECS):
        await acknowledged.wait_for(enough)


def _no_ttl_is_left(events):
    return not any(key.startswith("ttl:") for key in replayed(events))


def _last_offset(url):
    return httpx.get(f"{url}/v1/ready").json()["offset"]


def _list_all(url):
    items, cursor = [], ""
    while True:
        parameters = {"limit": LIST_LIMIT, **({"cursor": cursor} if cursor else {})}
        page = httpx.get(f"{url}/v1/state", params=parameters)
        items += page.json()
        cursor = page.headers.get("kissvdb-cursor", "")
        if not cursor:
            return {item["key"]: (item["value"], item["revision"]) for item in items}


def verify(directory, acknowledged, readers, listed, last):
    # Offsets are skipped where a kill cut a write off; what the log holds is what was there to see.
    expected = [event["offset"] for event in map(json.loads, dump(directory, 0))]
    assert expected[-1] == last
    by_offset = {event["offset"]: event for event in readers[0].events}
    for reader in readers:
        offsets = [event["offset"] for event in reader.events]
        assert offsets == expected, "an offset was lost, repeated or reordered"
    offsets = [offset for offset, _, _ in acknowledged.facts]
    assert len(set(offsets)) == len(offsets), "two acknowledgements share an offset"
    for offset, type_, fields in acknowledged.facts:
        event = by_offset.get(offset)
        assert event is not None, f"acknowledged and lost: offset {offset}"
        assert event["type"] == type_
        assert fields.items() <= event["data"].items()
    assert replayed(readers[0].events) == listed
    check = subprocess.run(
        [sys.executable, "-m", "kissvdb", "check", "--data-dir", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stdout + check.stderr


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path):
    directory = tmp_path / "data"
    result = await kill_under_load(
        directory, rounds=2, writers=10, readers=2, seconds=0.7, seed="short"
    )
    verify(directory, *result)


@pytest.mark.slow
async def test_fifty_kills_lose_nothing(tmp_path):
    directory = tmp_path / "data"
    result = await kill_under_load(
        directory, rounds=50, writers=32, readers=4, seconds=0.6, seed="long"
    )
    verify(directory, *result)
