"""What comes while the data is still recovered, through both doors over real sockets."""

import socket
from contextlib import asynccontextmanager

import httpx
import pytest
import trio

from kissvdb.api.dispatch import Api
from kissvdb.api.frame.starting import Recovering
from kissvdb.api.quart.app import create_app
from kissvdb.config import Config, Server, Storage
from kissvdb.engine.opening import open_database
from kissvdb.lane import serve_lane
from kissvdb.lane.hypercorn_door import serve_alone
from kissvdb.metrics import Metrics
from tests.patience import PATIENCE_SECS


@asynccontextmanager
async def recovering(config, lane):
    """A server whose data is not recovered yet: its api and a client. ``api.open`` ends it."""
    api = Api(Recovering(), config, Metrics())
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    stop = trio.Event()
    async with trio.open_nursery() as serving:
        if lane:
            serving.start_soon(
                lambda: serve_lane(
                    api, lambda: create_app(api), config, listeners=[listener], shutdown=stop
                )
            )
        else:
            serving.start_soon(serve_alone, api, create_app(api), config, [listener], stop, 1)
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECS) as client:
            try:
                yield api, client
            finally:
                stop.set()
                serving.cancel_scope.deadline = trio.current_time() + PATIENCE_SECS


IN_MEMORY = Config(storage=Storage(memory=True))


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "hypercorn"])
async def test_what_comes_during_recovery_is_answered_once_it_is_done(lane):
    answers = {}
    publications = [
        ("PUT", "/v1/state/k", {"value": 1}),
        ("POST", "/v1/events", {"type": "log", "data": 1}),
        ("POST", "/v1/bulk", {"op": "put", "key": "b", "value": 2}),
        ("GET", "/v1/vector", None),
        ("GET", "/v1/state/nothing", None),
    ]
    async with recovering(IN_MEMORY, lane) as (api, client):

        async def ask(method, path, body):
            media = "application/x-ndjson" if path == "/v1/bulk" else "application/json"
            content = {} if body is None else {"json": body, "headers": {"content-type": media}}
            answers[path] = await client.request(method, path, **content)

        async with trio.open_nursery() as clients:
            for each in publications:
                clients.start_soon(ask, *each)
            # Answered while the others wait, and after they have come: the server has one loop.
            assert (await client.get("/v1/health")).text == "ok"
            ready = await client.get("/v1/ready")
            assert (ready.status_code, ready.json()["error"]) == (503, "starting")
            assert (await client.get("/v1/metrics")).status_code == 200
            assert answers == {}
            async with open_database(IN_MEMORY) as database:
                api.open(database)
                with trio.fail_after(PATIENCE_SECS):
                    while len(answers) < len(publications):
                        await trio.lowlevel.checkpoint()
                assert (await client.get("/v1/ready")).json()["ready"] is True
                assert (await client.get("/v1/state/k")).json()["value"] == 1
                assert (await client.get("/v1/state/b")).json()["value"] == 2
    statuses = {path: answer.status_code for path, answer in answers.items()}
    assert statuses.pop("/v1/state/nothing") == 404
    assert set(statuses.values()) == {200}


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "hypercorn"])
@pytest.mark.parametrize("path", ["/v1/state/k", "/v1/stream", "/v1/vector"])
async def test_a_recovery_that_outlasts_a_request_is_said_so(lane, path):
    config = Config(storage=Storage(memory=True), server=Server(request_timeout_secs=1))
    async with recovering(config, lane) as (_, client):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["error"]) == (503, "starting")
        assert "retry" in answer.json()["message"]
        assert answer.headers["retry-after"]
