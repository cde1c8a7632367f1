"""Who one is, figures as JSON, and keys as a tree: what the page stands on."""

import pytest

from kissvdb.api.frame.principal import Scope
from kissvdb.config import Config, Limits, Storage
from kissvdb.core.grants import Grants
from kissvdb.version import VERSION
from tests.api.caller import Caller, opened, reading, refused
from tests.api.keyed import keyed


async def put(call, *keys):
    for key in keys:
        assert (await call("PUT", f"/v1/state/{key}", {"value": {"é": 1}})).status == 200


def names(page):
    return [each.get("prefix") or each["key"] for each in page["entries"]]


async def test_who_asks_an_open_server_may_do_everything(call: Caller):
    me = reading(await call("GET", "/v1/auth/me"))
    assert (me["role"], me["scopes"], me["protected"]) == ("admin", None, False)
    assert me["version"] == VERSION


async def test_figures_are_counted_from_the_start(call: Caller):
    await put(call, "a", "b")
    await call("GET", "/v1/state/nothing")
    stats = reading(await call("GET", "/v1/stats"))
    assert (stats["ready"], stats["recovery"], stats["offset"]) == (True, None, 2)
    assert (stats["state_puts"], stats["logged_records"]) == (2, 2)
    routes = {each["route"]: each for each in stats["requests"]}
    assert routes["PUT /v1/state/{key}"]["count"] == 2
    assert routes["GET /v1/state/{key}"]["errors"] == 1
    times = stats["request_seconds"]
    assert times["count"] == sum(times["counts"]) == 3
    assert len(times["counts"]) == len(times["bounds"]) + 1


@pytest.mark.parametrize("memory", [True, False], ids=["memory", "files"])
async def test_a_level_of_the_tree(tmp_path, memory):
    storage = Storage(memory=True) if memory else Storage(data_dir=str(tmp_path))
    async with opened(storage=storage) as call:
        await put(
            call, "a", "job:1:x", "job:1:y", "job:10", "job:2:z:deep", "jobs", "%D0%BA:%C3%A9"
        )
        page = reading(await call("GET", "/v1/tree"))
        assert names(page) == ["a", "job:", "jobs", "к:"]
        assert page["entries"][1] == {"prefix": "job:", "keys": 4, "more": False}
        assert page["entries"][0]["bytes"] == len(r'{"\u00e9":1}')
        assert (page["cursor"], page["offset"]) == (None, 7)
        page = reading(await call("GET", "/v1/tree?prefix=job:"))
        assert names(page) == ["job:10", "job:1:", "job:2:"]
        await call("DELETE", "/v1/state/job:2:z:deep")
        assert names(reading(await call("GET", "/v1/tree?prefix=job:"))) == ["job:10", "job:1:"]
        whole = reading(await call("GET", "/v1/tree?prefix=job:&separator=%01"))
        assert names(whole) == ["job:10", "job:1:x", "job:1:y"]


async def test_pages_of_a_level_follow_on_each_other(call: Caller):
    await put(
        call, *(f"b{n}:{m}" for n in range(5) for m in range(3)), *(f"k{n}" for n in range(5))
    )
    found, cursor = [], ""
    for _ in range(20):
        page = reading(await call("GET", f"/v1/tree?limit=2{cursor}"))
        found += names(page)
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
    assert found == [f"b{n}:" for n in range(5)] + [f"k{n}" for n in range(5)]


async def test_what_the_tree_refuses(call: Caller):
    refused(await call("GET", "/v1/tree?separator="), 400, "invalid_argument", "separator")
    refused(await call("GET", "/v1/tree?cursor=%25"), 400, "invalid_argument", "cursor")
    other = "/v1/tree?prefix=x&cursor=YQ"
    refused(await call("GET", other), 400, "invalid_argument", "another prefix")
    long = Config(storage=Storage(memory=True), limits=Limits(key_bytes_max=64))
    async with opened(long) as small:
        refused(await small("GET", f"/v1/tree?prefix={'x' * 65}"), 400, "invalid_argument")


async def test_a_key_with_scopes_sees_its_branches():
    grants = Grants.from_json({"keys": ["job:*"]})
    async with keyed(reader=(Scope.READ, grants), writer=(Scope.WRITE, None)) as holders:
        reader, writer = holders("reader"), holders("writer")
        await put(writer, "job:1:x", "secret:1")
        me = reading(await reader("GET", "/v1/auth/me"))
        assert (me["name"], me["role"], me["protected"]) == ("reader", "read", True)
        assert me["scopes"] == {"keys": ["job:*"]}
        assert names(reading(await reader("GET", "/v1/tree?prefix=job:"))) == ["job:1:"]
        for target in ("/v1/tree", "/v1/tree?prefix=secret:", "/v1/stats"):
            refused(await reader("GET", target), 403, "forbidden")
        refused(await holders(None)("GET", "/v1/auth/me"), 401, "unauthorized")
