"""POST /mcp as messages: both eras, what contradicts itself, and what is none."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kissvdb.api.mcp import handlers
from kissvdb.api.mcp.protocol import CAPABILITIES_KEY, STATELESS, SUPPORTED, VERSION_KEY
from kissvdb.api.mcp.tools import TOOLS
from kissvdb.config import Embedder, Server
from tests.api.caller import header, opened, refused
from tests.api.keyed import CONFIG
from tests.mcp.rpc import ENVELOPE, Rpc, message, stateless

JSON = {"content_type": "application/json"}
NO_KEY = Server()


@pytest.fixture
async def call():
    # A model that is not installed: no test here is about one.
    async with opened(CONFIG, server=NO_KEY, embedder=Embedder(model="use")) as caller:
        yield caller


async def post(call, sent, headers=JSON):
    body = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    fields = {name.replace("-", "_"): text for name, text in headers.items()}
    answer = await call("POST", "/mcp", body=body, **{**JSON, **fields})
    return answer.status, json.loads(answer.body) if answer.body else None


def code(answer):
    return answer[0], answer[1]["error"]["code"]


async def test_a_stateless_request_needs_no_beginning(call):
    result = await Rpc(call).result("server/discover")
    assert result["supportedVersions"] == list(SUPPORTED)
    assert result["resultType"] == "complete"
    assert (result["ttlMs"] > 0, result["cacheScope"]) == (True, "private")
    assert result["capabilities"]["resources"] == {"subscribe": True, "listChanged": True}
    for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
        assert {"ttlMs", "cacheScope", "resultType"} <= set(await Rpc(call).result(method))


@pytest.mark.parametrize("wanted", ["2025-06-18", "2025-11-25", "2024-11-05", "1.0"])
async def test_an_older_client_begins_with_initialize(call, wanted):
    params = {"protocolVersion": wanted, "capabilities": {}, "clientInfo": {"name": "t"}}
    status, answer = await post(call, message("initialize", params))
    agreed = wanted if wanted in SUPPORTED else "2025-11-25"
    assert (status, answer["result"]["protocolVersion"]) == (200, agreed)
    assert answer["result"]["serverInfo"]["name"] == "kissvdb"
    begun = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert await post(call, begun) == (202, None)
    rpc = Rpc(call, legacy=True)
    assert await rpc.result("ping") == {}
    listed = await rpc.result("tools/list")
    assert set(listed) == {"tools"}
    assert {each["name"] for each in listed["tools"]} == set(TOOLS)


async def test_what_is_of_the_other_era_is_not_there(call):
    assert (await Rpc(call).error("ping"))["code"] == -32601
    assert (await Rpc(call).error("initialize"))["code"] == -32601
    answer = await Rpc(call, legacy=True).send("server/discover")
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (200, -32601)
    answer = await Rpc(call).send("no/method")
    assert answer.status == 404


async def test_a_request_that_contradicts_itself_is_refused(call):
    sent, headers = stateless("tools/call", {"name": "collections"})
    assert (await post(call, sent, headers))[0] == 200
    for name in headers:
        without = {key: value for key, value in headers.items() if key != name}
        assert code(await post(call, sent, without)) == (400, -32020)
        assert code(await post(call, sent, {**headers, name: "other"})) == (400, -32020)
    encoded = "=?base64?Y29sbGVjdGlvbnM=?="
    assert (await post(call, sent, {**headers, "mcp-name": encoded}))[0] == 200
    assert code(await post(call, sent, {**headers, "mcp-name": "=?base64?%%?="})) == (400, -32020)
    del sent["params"]["_meta"][CAPABILITIES_KEY]
    assert code(await post(call, sent, headers)) == (400, -32602)
    del sent["params"]["_meta"]
    assert code(await post(call, sent, headers)) == (400, -32602)


async def test_a_version_that_is_not_spoken_is_told_which_are(call):
    later = "2031-01-01"
    sent, headers = stateless("tools/list", {})
    sent["params"]["_meta"] = {**ENVELOPE, VERSION_KEY: later}
    said = {**headers, "mcp-protocol-version": later}
    status, answer = await post(call, sent, said)
    assert (status, answer["error"]["code"]) == (400, -32022)
    assert answer["error"]["data"] == {"supported": list(SUPPORTED), "requested": later}
    status, answer = await post(call, message("ping", {}), {"mcp-protocol-version": "2024-11-05"})
    assert (status, answer["error"]["code"]) == (400, -32022)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b'{"jsonrpc":"2.0","id":"\xff","method":"ping"}', -32700),
        (b"[]", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
        (b"null", -32600),
        (b'{"id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600),
    ],
)
async def test_what_is_no_message_is_refused(call, body, expected):
    status, answer = await post(call, body)
    assert (status, answer["error"]["code"], answer["id"]) == (400, expected, None)


@pytest.mark.parametrize("params", [[], 1, "x", {"_meta": 1}, {"name": 1}, {"name": "nope"}])
async def test_parameters_of_another_shape_are_refused_under_the_id(call, params):
    status, answer = await post(call, message("tools/call", params))
    assert (status in (200, 400), answer["error"]["code"]) == (True, -32602)
    assert isinstance(answer["id"], int)


async def test_there_is_nothing_to_get_and_no_session_to_delete(call):
    for method in ("GET", "DELETE", "PUT"):
        answer = await call(method, "/mcp")
        assert (answer.status, header(answer, "allow")) == (405, "POST, OPTIONS")
    answer = await call("POST", "/mcp", body=b"{}", content_type="text/plain")
    refused(answer, 415, "unsupported_media_type")
    big = b'{"jsonrpc":"2.0","method":"x","params":"%b"}' % (b"x" * 2**20)
    refused(await call("POST", "/mcp", body=big, **JSON), 413, "payload_too_large")


async def test_a_page_of_another_origin_is_refused(call):
    """DNS rebinding: as on every route."""
    sent = json.dumps(message("tools/list", {})).encode()
    foreign = {"origin": "https://evil.example", "host": "127.0.0.1:9917"}
    refused(await call("POST", "/mcp", body=sent, **JSON, **foreign), 403, "forbidden")
    rebound = {"origin": "http://evil.example", "host": "evil.example"}
    refused(await call("POST", "/mcp", body=sent, **JSON, **rebound), 403, "forbidden")


METHODS = sorted({*handlers._COMMON, *handlers._STATELESS, *handlers._WITH_HANDSHAKE})
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
FIELDS = sorted({name for tool in TOOLS.values() for name in tool.arguments.__struct_fields__})
arguments = st.dictionaries(st.sampled_from(FIELDS), values, max_size=4) | values
params = (
    st.fixed_dictionaries({"name": st.sampled_from(sorted(TOOLS)), "arguments": arguments})
    | st.fixed_dictionaries({"uri": st.text(max_size=9).map("kissvdb://".__add__)})
    | st.fixed_dictionaries({"cursor": values})
    | values
)


@st.composite
def hostile(draw):
    method = draw(st.sampled_from([*METHODS, "subscriptions/listen"]) | st.text(max_size=9))
    given = draw(params)
    if draw(st.booleans()) and isinstance(given, dict):
        named = {key: value for key, value in given.items() if isinstance(value, str)}
        sent, headers = stateless(method, {"name": "", "uri": "", **named})
        sent["params"] = {**given, "_meta": ENVELOPE}
        if draw(st.booleans()):
            headers["mcp-protocol-version"] = draw(st.sampled_from([STATELESS, "x"]))
        return sent, headers
    return {**message(method, given), **draw(st.dictionaries(st.text(max_size=4), values))}, {}


async def check_never_a_500(call, sent, headers):
    fields = {name.replace("-", "_"): text for name, text in headers.items()}
    body = json.dumps(sent).encode("utf-8", "surrogatepass")
    answer = await call("POST", "/mcp", body=body, **{**JSON, **fields})
    if hasattr(answer.body, "aclose"):
        await answer.body.aclose()
        return
    assert answer.status in (200, 202, 400, 404), answer.body
    if answer.status != 202:
        told = json.loads(answer.body)
        assert ("result" in told) != ("error" in told)


async def test_whatever_comes_there_is_an_answer(call):
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(hostile())
    def collect(each):
        tried.append(each)

    tried = []
    collect()
    for sent, headers in tried:
        await check_never_a_500(call, sent, headers)


@pytest.mark.slow
async def test_whatever_comes_there_is_an_answer_for_long(call):
    @settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
    @given(hostile())
    def collect(each):
        tried.append(each)

    tried = []
    collect()
    for sent, headers in tried:
        await check_never_a_500(call, sent, headers)
