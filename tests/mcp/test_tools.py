"""What the tools do, and for whom: through the dispatcher, on a database in memory."""

import json

import attrs
import pytest

from kissvdb.api.frame.principal import Scope
from kissvdb.api.mcp.tools import TOOLS
from kissvdb.api.routes import ROUTES
from kissvdb.config import Embedder
from kissvdb.core.grants import Grants
from kissvdb.core.quotas import KeyLimits
from tests.api.caller import opened
from tests.api.embedding_service import service
from tests.api.keyed import CONFIG, keyed
from tests.mcp.rpc import Rpc, message

OPEN = attrs.evolve(CONFIG, server=attrs.evolve(CONFIG.server, api_key=""))
# A model that is not installed.
WORDS_ONLY = {"embedder": Embedder(model="use")}


@pytest.fixture
async def rpc():
    async with opened(OPEN, **WORDS_ONLY) as caller:
        yield Rpc(caller)


def test_tools_are_made_of_routes_that_are_there():
    routes = {route.name: route for route in ROUTES}
    for tool in TOOLS.values():
        assert set(tool.routes) <= set(routes), tool.name
        scopes = [routes[name].scope for name in tool.routes]
        assert max(scopes, default=Scope.READ) == tool.scope, tool.name
        shown = tool.described()
        assert shown["inputSchema"]["type"] == shown["outputSchema"]["type"] == "object"
        assert shown["annotations"]["readOnlyHint"] == (tool.scope is Scope.READ)
        for each in shown["inputSchema"]["properties"].values():
            assert each, f"{tool.name}: a field without a type"


async def test_a_memory_is_remembered_superseded_and_forgotten(rpc):
    first = await rpc.tool("remember", text="Ana takes the 8:15 train", meta={"about": "ana"})
    assert first["recalled_by"] == "words"
    await rpc.tool("remember", id="bo", text="Bo takes the bus", meta={"about": "bo"})
    second = await rpc.tool("remember", text="Ana takes the 9:30 train", supersedes=first["id"])
    found = await rpc.tool("recall", query="which train does Ana take?", k=1)
    assert [each["text"] for each in found["memories"]] == ["Ana takes the 9:30 train"]
    found = await rpc.tool("recall", query="takes", filter={"meta.about": "bo"})
    assert [each["id"] for each in found["memories"]] == ["bo"]

    then = await rpc.tool("as_of", offset=first["offset"])
    assert [each["text"] for each in then["memories"]] == ["Ana takes the 8:15 train"]
    one = await rpc.tool("as_of", offset=first["offset"], id=first["id"])
    assert "superseded_by" not in one["memories"][0]
    now = await rpc.tool("as_of", offset=second["offset"], limit=1)
    assert now["cursor"] is not None

    assert (await rpc.tool("forget", id="bo"))["forgotten"]
    assert not (await rpc.tool("forget", id="bo"))["forgotten"]
    changes = await rpc.tool("changed_since", offset=first["offset"])
    told = [(each["id"], each["change"]) for each in changes["changes"]]
    expected = [("bo", "remembered"), (second["id"], "remembered"), (first["id"], "superseded")]
    assert told == [*expected, ("bo", "forgotten")]
    assert not changes["more"]
    again = await rpc.tool("changed_since", offset=changes["offset"])
    assert (again["changes"], again["offset"]) == ([], changes["offset"])


async def test_changes_come_in_portions_and_none_is_left_out(rpc):
    for number in range(7):
        await rpc.tool("remember", id=f"m{number}", text="x")
    await rpc.tool("state_put", key="unrelated", value=1)
    offset, seen, more = 0, [], True
    while more:
        found = await rpc.tool("changed_since", offset=offset, limit=3)
        offset, more = found["offset"], found["more"]
        seen += [each["id"] for each in found["changes"]]
    assert seen == [f"m{number}" for number in range(7)]


async def test_what_is_refused_says_what_to_do(rpc):
    assert "did you mean text?" in await rpc.refused("remember", txt="x")
    assert "arguments.meta: expected an object" in await rpc.refused("remember", text="x", meta=[1])
    assert "does not supersede itself" in await rpc.refused(
        "remember", text="x", id="a", supersedes="a"
    )
    missing = await rpc.refused("remember", text="x", supersedes="nobody")
    assert "nothing of the batch was done" in missing
    assert (await rpc.tool("recall", query="x"))["memories"] == []
    assert "not_found" in await rpc.refused("state_get", key="nothing")
    assert "write $gte" in await rpc.refused("find", collection="c", filter={"a": {"gte": 1}})
    assert "arguments.offset" in await rpc.refused("as_of", offset=-1)
    assert "arguments.offset: offset 999" in await rpc.refused("as_of", offset=999)
    ahead = await rpc.tool("changed_since", offset=999)
    assert ahead["lost"]["reason"] == "ahead"
    assert "arguments.filter.$bad" in await rpc.refused("recall", query="x", filter={"$bad": 1})
    assert "invalid_argument: id: must have" in await rpc.refused("forget", id="")
    assert "arguments.text" in await rpc.refused("remember", text="")
    assert "arguments.query: " in await rpc.refused("recall", query="-")
    assert (await rpc.result("tools/call", name="collections", arguments=None))["isError"] is False
    assert "no such table" in await rpc.refused("sql_query", sql="SELECT * FROM nowhere")
    assert "a query begins with SELECT" in await rpc.refused("sql_query", sql="DELETE FROM nowhere")
    assert "of documents only" in await rpc.refused(
        "search", collection="c", text="x", kind="vectors", fields=["a"]
    )


async def test_keys_events_documents_and_tables(rpc):
    written = await rpc.tool("state_put", key="ключ/1 ?#", value={"n": 1}, op_id="w1")
    again = await rpc.tool("state_put", key="ключ/1 ?#", value={"n": 1}, op_id="w1")
    assert again == {**written, "repeated": True}
    late = await rpc.refused("state_put", key="ключ/1 ?#", value=2, if_revision=7)
    assert late.startswith("revision_mismatch: ")
    await rpc.tool("state_put", key="ключ/1 ?#", value=None)
    assert (await rpc.tool("state_get", key="ключ/1 ?#"))["value"] is None
    then = await rpc.tool("state_get", key="ключ/1 ?#", at=written["offset"])
    assert then["value"] == {"n": 1}
    assert (await rpc.tool("publish", type="seen", data=[1], key="k", tags=["a"]))["offset"] > 0

    for year in (1961, 1965):
        await rpc.caller("PUT", f"/v1/doc/books/{year}", {"title": f"of {year}", "year": year})
    found = await rpc.tool("find", collection="books", sort="-year", fields=["year"], count=True)
    assert [each["doc"] for each in found["documents"]] == [{"year": 1965}, {"year": 1961}]
    found = await rpc.tool("search", collection="books", text="1961", k=1)
    assert found["hits"][0]["id"] == "1961"
    sql = "SELECT count(*) AS n FROM documents('books') WHERE id > ?"
    rows = (await rpc.tool("sql_query", sql=sql, params=["1962"]))["rows"]
    assert rows == [{"n": 1}]
    await rpc.caller("POST", "/v1/sql/exec", {"sql": "CREATE TABLE t (id INTEGER PRIMARY KEY, a)"})
    there = await rpc.tool("collections")
    assert there["documents"] == [{"collection": "books", "count": 2}]
    assert there["tables"] == [{"name": "t", "columns": ["id", "a"]}]


async def test_an_answer_that_is_too_long_is_refused(rpc):
    for number in range(5):
        await rpc.caller("PUT", f"/v1/doc/long/{number}", {"text": "x" * 60_000})
    told = await rpc.refused("find", collection="long")
    assert told.startswith("payload_too_large: ")
    assert "limit" in told
    assert len((await rpc.tool("find", collection="long", limit=2))["documents"]) == 2


KEYS = {
    "all": (Scope.WRITE, None),
    "reader": (Scope.READ, None),
    "words": (Scope.WRITE, Grants.from_json({"documents": ["mine"]})),
    "both": (Scope.WRITE, Grants.from_json({"documents": ["mine"], "vectors": ["mine"]})),
    "keys": (Scope.WRITE, Grants.from_json({"keys": ["job:*"]})),
    "routes": (
        Scope.WRITE,
        Grants.from_json({"documents": ["mine"], "routes": ["/mcp", "/v1/doc/*"]}),
    ),
}
READING = {name for name, tool in TOOLS.items() if tool.scope is Scope.READ}


async def test_the_key_decides_what_is_listed_and_what_is_done():
    async with keyed(attrs.evolve(CONFIG, **WORDS_ONLY), **KEYS) as keys:
        everybody, reader, words = Rpc(keys("all")), Rpc(keys("reader")), Rpc(keys("words"))
        assert await everybody.tools() == set(TOOLS)
        assert await reader.tools() == READING
        of_documents = {name for name, tool in TOOLS.items() if "documents" in tool.kinds}
        assert await words.tools() == of_documents
        assert await Rpc(keys("keys")).tools() == {"state_get", "state_put", "sql_query"}
        assert await Rpc(keys("routes")).tools() == {"recall", "find", "search"}
        assert (await Rpc(keys(None)).send("tools/list")).status == 401

        assert "needs the role write" in await reader.refused("state_put", key="k", value=1)
        # Forgotten by its words it would still be found by its vector.
        assert "among vectors" in await words.refused("remember", text="x", collection="mine")
        both = Rpc(keys("both"))
        await both.tool("remember", text="ours", collection="mine", id="1")
        await everybody.tool("remember", text="of others", collection="theirs", id="1")
        assert (await words.tool("recall", query="ours", collection="mine"))["memories"]
        for tool, given in {
            "recall": {"query": "others"},
            "find": {},
            "as_of": {"offset": 1},
            "as_of ": {"offset": 1, "id": "1"},
            "forget": {"id": "1"},
            "search": {"text": "others"},
        }.items():
            told = await both.refused(tool.strip(), collection="theirs", **given)
            assert told.startswith("forbidden: "), tool
        seen = await both.tool("changed_since", offset=0, collection="theirs")
        assert seen["changes"] == []
        assert (await both.error("resources/read", uri="kissvdb://doc/theirs/1"))["code"] == -32602
        uris = [each["uri"] for each in (await both.result("resources/list"))["resources"]]
        assert uris == ["kissvdb://doc/mine"]
        names = [
            each["name"]
            for each in (await both.result("resources/templates/list"))["resourceTemplates"]
        ]
        assert names == ["document", "vector"]


async def test_resources_are_listed_in_pages_and_read(rpc, monkeypatch):
    monkeypatch.setattr("kissvdb.api.mcp.resources.PAGE", 2)
    for name in "abcde":
        await rpc.caller("PUT", f"/v1/doc/{name}/x%2Fy", {"n": name})
    await rpc.caller("POST", "/v1/vector/v", {"dim": 2})
    await rpc.caller("POST", "/v1/vector/v/upsert", {"id": "ä", "vector": [1, 0], "text": "t"})
    uris, cursor = [], {}
    while cursor is not None:
        page = await rpc.result("resources/list", **cursor)
        uris += [each["uri"] for each in page["resources"]]
        cursor = {"cursor": page["nextCursor"]} if "nextCursor" in page else None
    assert uris == [*(f"kissvdb://doc/{name}" for name in "abcde"), "kissvdb://vector/v"]
    assert (await rpc.error("resources/list", cursor="nonsense"))["code"] == -32602

    async def read(uri):
        (content,) = (await rpc.result("resources/read", uri=uri))["contents"]
        assert (content["uri"], content["mimeType"]) == (uri, "application/json")
        return json.loads(content["text"])

    assert (await read("kissvdb://doc/a/x%2Fy"))["doc"] == {"n": "a"}
    assert (await read("kissvdb://doc/a/x/y"))["doc"] == {"n": "a"}
    about = await read("kissvdb://doc/a")
    assert (about["about"]["count"], about["found"]["documents"][0]["id"]) == (1, "x/y")
    assert (await read("kissvdb://vector/v/%C3%A4"))["text"] == "t"
    assert (await read("kissvdb://vector/v"))["dim"] == 2
    assert (await read("kissvdb://state/doc:a:x/y"))["revision"] == 1
    for bad in ("file:///etc/passwd", "kissvdb://", "kissvdb://doc/", "kissvdb://state/%ff", "x"):
        assert (await rpc.error("resources/read", uri=bad))["code"] == -32602
    assert (await Rpc(rpc.caller, legacy=True).error("resources/read", uri="kissvdb://doc/no/1"))[
        "code"
    ] == -32002


async def test_prompts(rpc):
    await rpc.tool("remember", id="m", text="The key is under the mat")
    got = await rpc.result("prompts/get", name="with_memories", arguments={"question": "the key?"})
    assert "The key is under the mat (id m" in got["messages"][0]["content"]["text"]
    assert "supersedes" in str(await rpc.result("prompts/get", name="use_memory"))
    assert (await rpc.error("prompts/get", name="with_memories"))["code"] == -32602
    assert (await rpc.error("prompts/get", name="no"))["code"] == -32602


async def test_a_call_is_counted_once_and_as_the_route_that_it_asks():
    async with keyed(CONFIG) as keys:
        database = keys(None).caller.database
        limits = KeyLimits(requests_per_sec=3)
        made = await database.keys.issue("slow", "write", limits=limits)
        holder = attrs.evolve(keys(None), key=made.text)
        rpc = Rpc(holder)
        for number in range(3):
            await rpc.tool("state_put", key="k", value=number)
        assert (await rpc.caller("POST", "/mcp", message("ping", {}))).status == 429


async def test_memories_are_found_by_meaning_where_there_is_an_embedder():
    with service() as words:
        async with opened(OPEN, embedder=words.settings()) as caller:
            rpc = Rpc(caller)
            first = await rpc.tool("remember", text="green tea", meta={"of": "ana"}, id="a")
            assert first["recalled_by"] == "words and meaning"
            await rpc.tool("remember", text="black tea", meta={"of": "ana"}, supersedes="a")
            found = await rpc.tool("recall", query="tea", filter={"meta.of": "ana"})
            assert [each["text"] for each in found["memories"]] == ["black tea"]
            assert found["recalled_by"] == "words and meaning"
            assert found["memories"][0]["supersedes"] == "a"
            words.broken = True
            found = await rpc.tool("recall", query="tea that was never asked for")
            assert (found["recalled_by"], len(found["memories"])) == ("words", 1)
            assert "embedder_unavailable" in await rpc.refused("remember", text="never seen")
            words.broken = False
            assert (await rpc.tool("forget", id=found["memories"][0]["id"]))["forgotten"]
            assert (await rpc.tool("recall", query="tea"))["memories"] == []
            # What began without a model stays so: its first memories have no vectors.
            await caller.database.vectors.drop("memories")
            assert (await rpc.tool("remember", text="later"))["recalled_by"] == "words"
