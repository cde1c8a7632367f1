"""Messages of MCP, sent as a client of either era sends them."""

import json
from itertools import count

from kissvdb.api.frame.http import StreamResponse
from kissvdb.api.mcp.protocol import CAPABILITIES_KEY, NAMED_BY, STATELESS, VERSION_KEY

ENVELOPE = {VERSION_KEY: STATELESS, CAPABILITIES_KEY: {}}
_ids = count(1)


def message(method, params):
    return {"jsonrpc": "2.0", "id": next(_ids), "method": method, "params": params}


def stateless(method, params):
    """A request of 2026-07-28: the message and its headers."""
    headers = {"mcp-protocol-version": STATELESS, "mcp-method": method}
    if method in NAMED_BY:
        headers["mcp-name"] = params[NAMED_BY[method]]
    return message(method, {**params, "_meta": dict(ENVELOPE)}), headers


class Rpc:
    """Calls through a dispatcher (see `tests.api.keyed` and `tests.api.caller`)."""

    def __init__(self, caller, *, legacy=False):
        self.caller = caller
        self.legacy = legacy

    async def send(self, method, **params):
        """The answer as the door gets it."""
        sent, headers = stateless(method, params)
        if self.legacy:
            del sent["params"]["_meta"]
            headers = {"mcp-protocol-version": "2025-11-25"}
        headers = {name.replace("-", "_"): text for name, text in headers.items()}
        headers["content_type"] = "application/json"
        body = json.dumps(sent).encode()
        answer = await self.caller("POST", "/mcp", body=body, **headers)
        if not isinstance(answer, StreamResponse) and answer.status not in (401, 429):
            assert json.loads(answer.body)["id"] == sent["id"]
        return answer

    async def result(self, method, **params):
        answer = await self.send(method, **params)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)["result"]

    async def error(self, method, **params):
        answer = await self.send(method, **params)
        return json.loads(answer.body)["error"]

    async def tool(self, name, **arguments):
        """What a tool answers."""
        result = await self.result("tools/call", name=name, arguments=arguments)
        assert not result["isError"], result
        assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
        return result["structuredContent"]

    async def refused(self, name, **arguments):
        """What a tool is refused with."""
        result = await self.result("tools/call", name=name, arguments=arguments)
        assert result["isError"], result
        return result["content"][0]["text"]

    async def tools(self):
        return {each["name"] for each in (await self.result("tools/list"))["tools"]}
