"""`kissvdb mcp`: the process that a client starts, and a real server behind it."""

import json
import subprocess
import sys
import time

import attrs
import pytest

from kissvdb.client import Config as ClientConfig
from kissvdb.commands import mcp
from kissvdb.config import Config, Search, Server, Storage
from kissvdb.testing import serve
from tests.mcp.rpc import message, stateless
from tests.patience import PATIENCE_SECS

CONFIG = Config(
    server=Server(port=0, api_key="s3cret"),
    storage=Storage(memory=True),
    search=Search(compile=False),
)
BEGIN = message(
    "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {}}
)


@pytest.fixture(scope="module")
def url():
    with serve(CONFIG) as server:
        yield server.url


def bridged(url, key="s3cret"):
    return subprocess.Popen(
        [sys.executable, "-m", "kissvdb", "mcp", "--url", url, "--key", key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def talk(url, *lines, **key):
    """Send lines, and everything that is answered until the process has ended, by id."""
    text = b"\n".join(each if isinstance(each, bytes) else _line(each) for each in lines)
    with bridged(url, **key) as process:
        out, err = process.communicate(text, timeout=PATIENCE_SECS)
    assert (process.returncode, err) == (0, b"")
    return {found["id"]: found for found in map(json.loads, out.splitlines())}


def _line(sent):
    return json.dumps(sent).encode()


def test_lines_are_forwarded_and_answered_in_both_eras(url):
    put = {"name": "state_put", "arguments": {"key": "é", "value": {"a": 1}}}
    read, _ = stateless("resources/read", {"uri": "kissvdb://state/é"})
    discover, _ = stateless("server/discover", {})
    legacy = message("tools/call", put)
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "x"}}
    answers = talk(url, BEGIN, cancel, b"", legacy, discover, read, b"{nonsense")
    assert answers[BEGIN["id"]]["result"]["protocolVersion"] == "2025-06-18"
    assert answers[legacy["id"]]["result"]["structuredContent"]["key"] == "é"
    assert answers[discover["id"]]["result"]["supportedVersions"]
    # The headers of a stateless request are right, also for a name that is no ASCII.
    assert "none of kissvdb://doc/COLLECTION" in answers[read["id"]]["error"]["message"]
    assert answers[None]["error"]["code"] == -32700
    refused = talk(url, legacy, key="wrong")[legacy["id"]]["error"]
    assert refused["message"].startswith("unauthorized: ")


async def bridged_here(url, *lines):
    """What a client that reads slowly is told."""
    told = []

    def write(line):
        time.sleep(0.05)
        told.append(json.loads(line))

    async def each():
        for line in lines:
            yield line

    await mcp.Bridge(ClientConfig(url, "s3cret")).run(each(), write)
    return told


async def test_the_last_answer_is_written_before_it_ends(url):
    ping = message("ping", {})
    assert [found["id"] for found in await bridged_here(url, _line(ping))] == [ping["id"]]


async def test_a_line_that_is_no_message_is_answered_without_a_server(monkeypatch):
    monkeypatch.setattr(mcp, "CONNECT_SECS_MAX", 0.1)
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    (told,) = await bridged_here("http://127.0.0.1:1", _line(note), b"{nonsense")
    assert (told["id"], told["error"]["code"]) == (None, -32000)


def test_a_closed_standard_input_is_said():
    command = [sys.executable, "-m", "kissvdb", "mcp"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *command], capture_output=True, timeout=PATIENCE_SECS
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"kissvdb: standard input or output is closed")


def test_a_stream_is_told_line_by_line_and_ends_when_it_is_cancelled(url):
    listen, _ = stateless(
        "subscriptions/listen", {"notifications": {"resourceSubscriptions": ["kissvdb://state/k"]}}
    )
    put = message("tools/call", {"name": "state_put", "arguments": {"key": "k", "value": 1}})
    with bridged(url) as process:

        def send(sent):
            process.stdin.write(_line(sent) + b"\n")
            process.stdin.flush()

        def told():
            return json.loads(process.stdout.readline())

        send(listen)
        assert told()["method"] == "notifications/subscriptions/acknowledged"
        send(put)
        told_of_both = [told(), told()]
        assert {each.get("method") for each in told_of_both} == {
            None,
            "notifications/resources/updated",
        }
        listened = {"requestId": listen["id"]}
        send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": listened})
        send(message("ping", {}))
        assert told()["result"] == {}
        send(listen)
        assert told()["method"] == "notifications/subscriptions/acknowledged"
        process.stdin.close()
        assert process.wait(PATIENCE_SECS) == 0


@pytest.mark.slow
def test_a_server_that_is_down_is_said_and_one_that_comes_back_is_used(tmp_path):
    storage = Storage(data_dir=str(tmp_path / "data"))
    with serve(attrs.evolve(CONFIG, storage=storage)) as server:
        port = server.port
    ping = message("ping", {})
    listen, _ = stateless("subscriptions/listen", {"notifications": {"resourcesListChanged": True}})
    with bridged(f"http://127.0.0.1:{port}") as process:

        def ask(sent):
            process.stdin.write(_line(sent) + b"\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        down = ask(ping)
        assert (down["id"], down["error"]["code"]) == (ping["id"], -32000)
        assert "start one with `kissvdb serve`" in down["error"]["message"]
        again = attrs.evolve(CONFIG, storage=storage, server=Server(port=port, api_key="s3cret"))
        with serve(again):
            assert ask(ping)["result"] == {}
            assert ask(listen)["method"] == "notifications/subscriptions/acknowledged"
        # The end that the server itself says.
        assert json.loads(process.stdout.readline())["result"]["resultType"] == "complete"
        process.stdin.close()
        assert process.wait(PATIENCE_SECS) == 0
