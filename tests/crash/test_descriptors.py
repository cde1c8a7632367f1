"""Too few descriptors for all who connect: real processes under ``ulimit -n``."""

import resource
import socket
import time
from contextlib import ExitStack, suppress
from functools import partial

import httpx
import pytest

from kissvdb.lane.descriptors import RAISED_MAX
from kissvdb.storage.check import check
from tests.crash.process import ServerProcess
from tests.patience import PATIENCE_SECS

FILES_MAX = 128
IDLE = 300
SEGMENT_BYTES = 2**20
TEXT = "x" * 50_000


def few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))


def connect(port):
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    sock.setblocking(False)
    return sock


def answer_of(sock):
    """What an idle client was told without asking, or None."""
    sock.settimeout(30)
    try:
        return sock.recv(65536)
    except ConnectionResetError:
        return b""


def test_a_start_raises_the_limit_as_far_as_it_goes(tmp_path):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = ServerProcess(tmp_path / "data")
    server.start(prepare=partial(resource.setrlimit, resource.RLIMIT_NOFILE, (FILES_MAX, hard)))
    try:
        soft, _ = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        assert soft == min(hard, RAISED_MAX)
        with ExitStack() as stack, httpx.Client(base_url=server.url, timeout=60) as client:
            for _ in range(IDLE):
                stack.enter_context(connect(server.port))
            assert client.put("/v1/state/k", json={"value": 1}).status_code == 200
    finally:
        server.kill()


@pytest.mark.parametrize("lane", ["true", pytest.param("false", marks=pytest.mark.slow)])
def test_idle_connections_leave_the_log_its_descriptors(tmp_path, lane):
    settings = [f"log.segment_max_bytes={SEGMENT_BYTES}", f"http.lane={lane}"]
    flags = [flag for each in settings for flag in ("--set", each)]
    server = ServerProcess(tmp_path / "data", *flags)
    server.start(prepare=few_files)
    try:
        with httpx.Client(base_url=server.url, timeout=60) as client, ExitStack() as stack:
            assert client.get("/v1/health").text == "ok"
            idle = [stack.enter_context(connect(server.port)) for _ in range(IDLE)]
            offsets = []
            for number in range(60):
                event = {"type": "log", "data": {"number": number, "text": TEXT}}
                answer = client.post("/v1/events", json=event)
                assert answer.status_code == 200, answer.text
                offsets.append(answer.json()["offset"])
            assert len(list((tmp_path / "data" / "log").glob("*.log"))) > 2
            # So many as there is room for wait; the last of them was told that there is none.
            told = answer_of(idle[-1])
            assert told == b"" or (b" 503 " in told and b"overloaded" in told)
            # What needs more files goes on as well: a replay, a checkpoint, vectors.
            assert client.post("/v1/snapshot").status_code == 200
            made = client.post("/v1/vector/c", json={"dim": 4, "metric": "l2"})
            assert made.status_code == 200, made.text
            with client.stream("GET", "/v1/stream?since=0") as stream:
                assert f"id: {offsets[-1]}" in stream.iter_lines()
        # The others have left; when the server has noticed there is room again.
        url, deadline = f"{server.url}/v1/state/k", time.monotonic() + PATIENCE_SECS
        while (status := put(url)) == 503 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert status == 200
        assert server.stop() == 0
    finally:
        server.kill()
    assert check(tmp_path / "data").ok


def put(url):
    """The status; 503 also where the answer was lost: who is turned away is not read to the end."""
    try:
        return httpx.put(url, json={"value": 1}, timeout=60).status_code
    except httpx.ReadError:
        return 503


@pytest.mark.slow
def test_collections_that_use_up_all_descriptors_are_refused_and_nothing_ends(tmp_path):
    server = ServerProcess(tmp_path / "data", "--set", f"log.segment_max_bytes={SEGMENT_BYTES}")
    server.start(prepare=few_files)
    try:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            made = []
            for number in range(FILES_MAX):
                answer = client.post(f"/v1/vector/c{number}", json={"dim": 4, "metric": "l2"})
                if answer.status_code != 200:
                    break
                made.append(number)
                body = {"id": "a", "vector": [1, 2, 3, number]}
                answer = client.post(f"/v1/vector/c{number}/upsert", json=body)
                if answer.status_code != 200:
                    break
            assert (answer.status_code, answer.json()["error"]) == (503, "persistence_error")
            assert "limit of open files" in answer.json()["message"]
            statuses = set()
            for number in range(60):
                event = {"type": "log", "data": {"number": number, "text": TEXT}}
                statuses.add(client.post("/v1/events", json=event).status_code)
            assert statuses <= {200, 503}
            # On connections of their own, which may be turned away.
            for method, path in (("POST", "/v1/snapshot"), ("GET", "/docs")):
                with suppress(httpx.TransportError):
                    answer = httpx.request(method, server.url + path, timeout=60)
                    assert answer.status_code in (200, 503)
            # Room again: all goes on.
            for number in made[2:]:
                assert client.delete(f"/v1/vector/c{number}").status_code == 200
            answer = client.post("/v1/vector/again", json={"dim": 4, "metric": "l2"})
            assert answer.status_code == 200, answer.text
            for number in range(30):
                event = {"type": "log", "data": {"number": number, "text": TEXT}}
                assert client.post("/v1/events", json=event).status_code == 200
            assert client.post("/v1/snapshot").status_code == 200
            assert client.get("/v1/backup").status_code == 200
        assert server.stop() == 0
        server.start()
        with httpx.Client(base_url=server.url, timeout=60) as client:
            kept = [each["collection"] for each in client.get("/v1/vector").json()["collections"]]
            assert "again" in kept
    finally:
        server.kill()
    assert check(tmp_path / "data").ok
