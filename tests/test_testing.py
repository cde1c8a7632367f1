"""What the package offers to other people's tests."""

import threading
import urllib.request
from contextlib import asynccontextmanager

import pytest
import trio

from kissvdb import daemon, testing
from kissvdb.config import Config, Server, Storage
from kissvdb.errors import Damaged
from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS


def test_with_a_server(kissvdb_server):
    assert urllib.request.urlopen(kissvdb_server.url + "/v1/health").read() == b"ok"


def test_two_servers_run_side_by_side_and_share_nothing():
    with serve() as one, serve() as other:
        assert one.port != other.port
        request = urllib.request.Request(
            f"{one.url}/v1/state/a",
            data=b'{"value":1}',
            method="PUT",
            headers={"content-type": "application/json"},
        )
        assert urllib.request.urlopen(request).status == 200
        assert urllib.request.urlopen(f"{other.url}/v1/state").read() == b"[]\n"


def test_a_server_that_cannot_start_says_why(tmp_path):
    (tmp_path / "state-0.db").write_bytes(b"not a database" * 100)
    config = Config(server=Server(port=0), storage=Storage(data_dir=str(tmp_path)))
    problem = pytest.RaisesExc(Damaged, match=r"state-0\.db")
    with pytest.RaisesGroup(problem, flatten_subgroups=True), serve(config):
        pass


def test_a_server_that_takes_too_long_to_start_is_given_up(monkeypatch):
    @asynccontextmanager
    async def never_running(config):
        await trio.sleep_forever()
        yield

    monkeypatch.setattr(daemon, "running", never_running)
    monkeypatch.setattr(testing, "START_SECONDS_MAX", 0.1)
    before = set(threading.enumerate())
    with pytest.raises(TimeoutError, match="has not started"), serve():
        pass
    for thread in set(threading.enumerate()) - before:
        if thread.name == "kissvdb-test-server":
            thread.join(PATIENCE_SECS)
            assert not thread.is_alive()
