"""The client of PyPI `mcp` against a server process, in both eras, straight and over the bridge.

Slow only because of the imports of that client.
"""

import json
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager

import httpx
import pytest
import trio

from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS

pytestmark = [
    pytest.mark.slow,
    # Of the client's own making.
    pytest.mark.filterwarnings("default"),
]

KEY = "s3cret"


@pytest.fixture(scope="module")
def sdk():
    return pytest.importorskip("mcp.client.client", reason="needs the package mcp")


@contextmanager
def server_process(tmp_path):
    url_file = tmp_path / "url"
    environment = {**os.environ, "API_KEY": KEY}
    command = ["serve", "--port", "0", "--memory", "--url-file", str(url_file)]
    process = subprocess.Popen([sys.executable, "-m", "kissvdb", *command], env=environment)
    try:
        deadline = time.monotonic() + PATIENCE_SECS
        while not (url_file.exists() and url_file.read_text().strip()):
            assert process.poll() is None, "the server did not start"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield url_file.read_text().strip()
    finally:
        process.terminate()
        process.wait(PATIENCE_SECS)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with server_process(tmp_path_factory.mktemp("server")) as address:
        yield address


@asynccontextmanager
async def over_http(url):
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    key = {"authorization": f"Bearer {KEY}"}
    async with (
        httpx2.AsyncClient(headers=key, timeout=PATIENCE_SECS) as client,
        streamable_http_client(f"{url}/mcp", http_client=client) as streams,
    ):
        yield streams


def over_bridge(url):
    from mcp.client.stdio import StdioServerParameters, stdio_client

    arguments = ["-m", "kissvdb", "mcp", "--url", url, "--key", KEY]
    return stdio_client(StdioServerParameters(command=sys.executable, args=arguments))


@pytest.fixture(params=[over_http, over_bridge], ids=["http", "bridge"])
def transport(request):
    return request.param


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
async def test_tools_resources_and_prompts(sdk, url, transport, mode):
    with trio.fail_after(PATIENCE_SECS):
        async with sdk.Client(transport(url), mode=mode) as client:
            tools = {each.name: each for each in (await client.list_tools()).tools}
            assert tools["recall"].annotations.read_only_hint
            assert tools["forget"].annotations.destructive_hint
            # The client holds structured content to the schema of the tool.
            put = await client.call_tool("state_put", {"key": f"k:{mode}", "value": {"a": "ü"}})
            offset = put.structured_content["offset"]
            answers = [
                put,
                await client.call_tool("state_get", {"key": f"k:{mode}"}),
                await client.call_tool("publish", {"type": "t", "data": 1}),
                await client.call_tool("collections", {}),
                await client.call_tool("find", {"collection": "c", "count": True}),
                await client.call_tool("search", {"collection": "c", "text": "x"}),
                await client.call_tool("sql_query", {"sql": "SELECT 1 AS one"}),
                await client.call_tool("as_of", {"offset": offset, "collection": "c"}),
                await client.call_tool("changed_since", {"offset": 0, "collection": "c"}),
            ]
            assert not any(each.is_error for each in answers)
            assert answers[1].structured_content["value"] == {"a": "ü"}
            wrong = await client.call_tool("state_get", {"kee": "k"})
            assert wrong.is_error
            assert "did you mean key?" in wrong.content[0].text
            read = await client.read_resource(f"kissvdb://state/k:{mode}")
            assert json.loads(read.contents[0].text)["value"] == {"a": "ü"}
            assert (await client.list_resource_templates()).resource_templates
            await client.list_resources()
            prompt = await client.get_prompt("use_memory")
            assert "supersedes" in prompt.messages[0].content.text


async def test_a_memory_with_the_local_model(sdk, url, transport):
    with trio.fail_after(PATIENCE_SECS):
        async with sdk.Client(transport(url)) as client:
            name = transport.__name__
            for id_, text in (("tea", "Ana drinks green tea"), ("car", "Bo drives a red car")):
                given = {"text": text, "id": id_, "collection": name}
                assert not (await client.call_tool("remember", given)).is_error
            found = await client.call_tool(
                "recall", {"query": "Who has a vehicle?", "collection": name, "k": 1}
            )
            if found.structured_content["recalled_by"] == "words":
                pytest.skip("the local model is not installed")
            assert found.structured_content["memories"][0]["id"] == "car"


async def test_what_changes_is_heard_of(sdk, url, transport):
    with trio.fail_after(PATIENCE_SECS):
        async with sdk.Client(transport(url)) as client:
            uri = "kissvdb://state/heard"
            async with client.listen(resource_subscriptions=[uri]) as changes:
                async with httpx.AsyncClient(base_url=url, headers={"x-api-key": KEY}) as http:
                    await http.put("/v1/state/heard", json={"value": 1})
                async for change in changes:
                    assert change.uri == uri
                    break


async def test_a_wrong_key_is_told(sdk, url):
    from mcp.client.stdio import StdioServerParameters, stdio_client

    arguments = ["-m", "kissvdb", "mcp", "--url", url, "--key", "wrong"]
    bridge = stdio_client(StdioServerParameters(command=sys.executable, args=arguments))
    with pytest.RaisesGroup(
        pytest.RaisesExc(Exception, match="unauthorized"),
        allow_unwrapped=True,
        flatten_subgroups=True,
    ):
        async with sdk.Client(bridge):
            pass


# The package of npm, if somebody has it: `npm install @modelcontextprotocol/conformance`, Node 22.
CONFORMANCE = os.environ.get("MCP_CONFORMANCE", "")
SCENARIOS = ("server-initialize", "ping", "tools-list", "resources-list", "prompts-list")


@pytest.mark.skipif(not CONFORMANCE, reason="MCP_CONFORMANCE: where its dist/index.js is")
@pytest.mark.parametrize("scenario", [*SCENARIOS, "dns-rebinding-protection"])
def test_the_conformance_package_finds_no_fault(scenario):
    """The scenarios that are about any server; the others want tools of their own making."""
    with serve() as server:
        command = ["node", CONFORMANCE, "server", "--url", f"{server.url}/mcp"]
        done = subprocess.run(
            [*command, "--scenario", scenario],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECS,
            check=False,
        )
    assert done.returncode == 0, done.stdout
    assert " 0 failed" in done.stdout
