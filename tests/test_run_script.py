"""``scripts/run`` behind its set-up: real servers, and what is loaded into which."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from kissvdb.config import Config, Search, Server, Storage
from kissvdb.testing import serve

SAMPLE = Path(__file__).resolve().parents[1] / "scripts" / "sample"
ROWS = 1200
MARK = "sample.unfinished"
PATIENCE_SECS = 120
# Compiling is for other tests.
QUICK = {"KISSVDB_COMPILE": "false"}


@contextmanager
def started(*flags, **environ):
    """The script as a process group of its own; ended with it, if it still runs."""
    process = subprocess.Popen(
        [sys.executable, SAMPLE / "run.py", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **QUICK, **environ},
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def said_until(process, mark):
    """What server and loader say, up to a line with ``mark``."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if mark in line:
            return "".join(lines)
    raise AssertionError(f"{mark} was not said:\n{''.join(lines)}")


def call(url, path, method="GET", body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json", **headers}
    request = urllib.request.Request(url + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE_SECS) as answer:
        return json.loads(answer.read())


def url_in(said):
    return re.search(r"serves on (http://\S+)", said)[1]


def test_the_sample_goes_into_the_server_that_flags_and_environment_describe(tmp_path):
    (tmp_path / "own.env").write_text("API_KEY=hunter2\n")
    flags = ["--port", "0", "--memory", "--env-file", str(tmp_path / "own.env")]
    with started(*flags) as process:
        said = said_until(process, "/docs")
        assert f"loaded {ROWS} package descriptions" in said
        key = {"x-api-key": "hunter2"}
        assert call(url_in(said), "/v1/vector/debian", **key)["count"] == ROWS
        assert "hunter2" not in said
        os.killpg(process.pid, signal.SIGINT)
        assert "Traceback" not in process.stdout.read()
        assert process.wait() == 0


def test_another_server_on_the_port_gets_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as another:
        another.setblocking(False)
        port = str(another.getsockname()[1])
        for name in ("PORT_RUST_KISS_VDB", "KISSVDB_PORT"):
            with started(**{name: port}, DATA_DIR=str(tmp_path)) as process:
                # To the end of both: the loader holds the pipe as well.
                said = process.stdout.read()
                assert process.wait() == 1
            assert "cannot listen on" in said
            assert "Traceback" not in said
            with pytest.raises(BlockingIOError):
                another.accept()


def test_a_database_that_holds_something_gets_no_sample(tmp_path):
    with started("--port", "0", "--data-dir", str(tmp_path)) as process:
        url = url_in(said_until(process, "/docs"))
        call(url, "/v1/vector/debian", "DELETE")
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait() == 0
    with started("--port", "0", "--data-dir", str(tmp_path)) as process:
        said = said_until(process, "/docs")
        assert "loaded" not in said
        assert call(url_in(said), "/v1/vector")["collections"] == []


def test_a_load_that_was_broken_off_is_finished_by_the_next_start(tmp_path):
    config = Config(
        server=Server(port=0), storage=Storage(data_dir=str(tmp_path)), search=Search(compile=False)
    )
    with serve(config) as server:
        call(server.url, "/v1/vector/debian", "POST", {"dim": 384, "metric": "cosine"})
    (tmp_path / MARK).touch()
    with started("--port", "0", "--data-dir", str(tmp_path)) as process:
        said = said_until(process, "/docs")
        assert call(url_in(said), "/v1/vector/debian")["count"] == ROWS
    assert not (tmp_path / MARK).exists()


@pytest.mark.slow
def test_ctrl_c_during_the_load_is_quiet_and_leaves_what_the_next_start_finishes(tmp_path):
    with started("--port", "0", "--data-dir", str(tmp_path)) as process:
        # Before the loader is told where, so that it can only have begun.
        said = said_until(process, "serves on")
        os.killpg(process.pid, signal.SIGINT)
        said += process.stdout.read()
        assert process.wait() == 0
    assert "Traceback" not in said
    assert "Error" not in said
    with started("--port", "0", "--data-dir", str(tmp_path)) as process:
        said = said_until(process, "/docs")
        assert call(url_in(said), "/v1/vector/debian")["count"] == ROWS
