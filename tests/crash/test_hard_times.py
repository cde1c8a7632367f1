"""A disk that is full, a reader that stalls, a second server, damage: what the daemon does."""

import json
import resource
import socket
import subprocess
import sys
from functools import partial

import httpx
import pytest

from kissvdb.commands.log_dump import dump
from tests.crash.process import ServerProcess, server_process
from tests.patience import PATIENCE_SECS

FILE_BYTES_MAX = 3_000_000
VALUE = "x" * 50_000


def put(server, key, value):
    try:
        return httpx.put(
            f"{server.url}/v1/state/{key}", json={"value": value}, timeout=PATIENCE_SECS
        )
    except httpx.TransportError:
        return None


def publish(server, number):
    event = {"type": "log", "data": {"number": number, "text": VALUE}}
    return httpx.post(f"{server.url}/v1/events", json=event, timeout=PATIENCE_SECS)


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "kissvdb", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def start_with_little_room(server):
    limit = (FILE_BYTES_MAX, resource.RLIM_INFINITY)
    server.start(prepare=partial(resource.setrlimit, resource.RLIMIT_FSIZE, limit))


def test_a_full_log_refuses_writes_and_goes_on_reading(tmp_path):
    server = ServerProcess(tmp_path / "data")
    start_with_little_room(server)
    try:
        assert put(server, "k", VALUE).status_code == 200
        answers = [publish(server, number) for number in range(100)]
        kept = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert kept
        assert refused
        for answer in refused:
            assert (answer.status_code, answer.json()["error"]) == (503, "persistence_error")
            assert answer.headers["retry-after"]
        assert httpx.get(f"{server.url}/v1/state/k").json()["value"] == VALUE
        server.kill()
        server.start()
        offsets = [event["offset"] for event in map(json.loads, dump(server.directory, 0))]
        assert offsets == [1, *(answer.json()["offset"] for answer in kept)]
        assert publish(server, 0).json()["offset"] > offsets[-1]
    finally:
        server.kill()


def test_a_full_disk_loses_nothing_that_was_answered(tmp_path):
    server = ServerProcess(tmp_path / "data")
    start_with_little_room(server)
    try:
        acknowledged = []
        for number in range(200):
            answer = put(server, f"k{number}", VALUE)
            if answer is None or answer.status_code == 503:
                break
            assert answer.status_code == 200
            acknowledged.append(f"k{number}")
        assert 0 < len(acknowledged) < 200
        server.kill()
        server.start()
        for key in acknowledged:
            assert httpx.get(f"{server.url}/v1/state/{key}").json()["value"] == VALUE
        assert put(server, "after", 1).status_code == 200
    finally:
        server.kill()


@pytest.mark.parametrize(
    "door",
    [
        pytest.param("true", id="lane"),
        pytest.param("false", id="hypercorn", marks=pytest.mark.slow),
    ],
)
def test_a_stalled_reader_does_not_hold_the_shutdown(tmp_path, door):
    settings = ("--set", f"http.lane={door}", "--set", "server.shutdown_timeout_secs=3")
    with server_process(tmp_path / "data", *settings) as server:
        stalled = socket.create_connection(("127.0.0.1", server.port))
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        for number in range(60):
            assert put(server, f"k{number}", "x" * 60_000).status_code == 200
        assert server.stop(seconds_max=PATIENCE_SECS) == 0
        stalled.close()


def test_a_reader_that_follows_gets_the_end_of_its_stream_at_shutdown(tmp_path):
    with server_process(tmp_path / "data") as server:
        reader = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_SECS)
        reader.sendall(b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while b": ok" not in received:
            received += reader.recv(4096)
        assert server.stop() == 0
        while block := reader.recv(4096):
            received += block
        assert received.endswith(b"0\r\n\r\n"), "the chunked body ends as it should"
        reader.close()


def test_a_second_server_on_the_directory_is_refused_clearly(tmp_path):
    with server_process(tmp_path / "data") as server:
        other = run("serve", "--port", "0", "--data-dir", server.directory)
        assert other.returncode == 1
        assert f"in use by process {server.pid}" in other.stderr
        assert "Traceback" not in other.stderr


def test_a_port_in_use_is_refused_clearly(tmp_path):
    with server_process(tmp_path / "data") as server:
        other = run("serve", "--memory", "--port", server.port)
        assert other.returncode == 1
        assert "ddress already in use" in other.stderr
        assert "Traceback" not in other.stderr


def test_damage_in_the_log_is_named_and_repaired_without_reusing_offsets(tmp_path):
    directory = tmp_path / "data"
    with server_process(directory) as server:
        for number in range(20):
            put(server, f"k{number}", number)
    segment = next((directory / "log").glob("*.log"))
    content = bytearray(segment.read_bytes())
    at = content.find(b"k3")
    content[at] ^= 1
    segment.write_bytes(content)

    refused = run("serve", "--port", "0", "--data-dir", directory)
    assert refused.returncode == 1
    assert segment.name in refused.stderr
    assert "check --repair" in refused.stderr

    assert run("check", "--data-dir", directory).returncode == 1
    repaired = run("check", "--repair", "--data-dir", directory)
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert list(directory.glob("cut-*")), "what was cut is kept"
    assert run("check", "--data-dir", directory).returncode == 0

    with server_process(directory) as server:
        assert put(server, "after", 1).json()["offset"] > 20


@pytest.mark.parametrize("door", ["true", "false"], ids=["lane", "hypercorn"])
def test_damage_met_by_running_streams_ends_them_and_nothing_else(tmp_path, door):
    directory = tmp_path / "data"
    settings = (f"http.lane={door}", "stream.ring_events=16", "log.segment_max_bytes=1048576")
    arguments = [each for setting in settings for each in ("--set", setting)]
    with server_process(directory, *arguments) as server:
        for number in range(40):
            assert put(server, f"k{number}", VALUE).status_code == 200
        with httpx.stream("GET", f"{server.url}/v1/stream?since=now", timeout=60) as live:
            lines = live.iter_lines()
            assert next(lines) == ": ok"
            segment = min((directory / "log").glob("*.log"))
            content = segment.read_bytes()
            with segment.open("r+b") as file:
                file.seek(content.index(b"k3"))
                file.write(b"K")
            for _ in range(3):
                with httpx.stream("GET", f"{server.url}/v1/stream?since=0", timeout=60) as old:
                    *_, last = [line for line in old.iter_lines() if line.startswith("data: ")]
                told = json.loads(last.removeprefix("data: "))
                assert told["error"] == "damaged"
                assert segment.name in told["message"]
            assert put(server, "after", 1).status_code == 200
            assert any('"key":"after"' in line for line in lines)
        assert server.log_path.read_text().count("the log is damaged") == 1
        assert server.stop() == 0


def test_a_backup_comes_back_as_it_was(tmp_path):
    with server_process(tmp_path / "data") as server:
        for number in range(10):
            put(server, f"k{number}", number)
        done = run("backup", tmp_path / "monday", "--url", server.url)
        assert done.returncode == 0, done.stderr
        put(server, "later", 1)
    assert run("restore", tmp_path / "monday", "--data-dir", tmp_path / "other").returncode == 0
    again = run("restore", tmp_path / "monday", "--data-dir", tmp_path / "other")
    assert again.returncode == 1
    assert "not empty" in again.stderr
    with server_process(tmp_path / "other") as server:
        items = httpx.get(f"{server.url}/v1/state").json()
        assert {item["key"]: item["value"] for item in items} == {f"k{n}": n for n in range(10)}
        assert httpx.get(f"{server.url}/v1/ready").json()["offset"] == 10


def test_the_log_is_dumped_beside_a_running_server(tmp_path):
    with server_process(tmp_path / "data") as server:
        for number in range(5):
            put(server, f"k{number}", number)
        dumped = run("log", "dump", "--since", "2", "--data-dir", server.directory)
        events = [json.loads(line) for line in dumped.stdout.splitlines()]
        assert [event["offset"] for event in events] == [3, 4, 5]
        assert events[0]["data"]["key"] == "k2"
