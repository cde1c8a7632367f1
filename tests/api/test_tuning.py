"""How hard searches try: measured, set, asked for, and called by the name of the kind."""

import json

import numpy as np
import pytest
import trio

from tests.api.caller import Caller

DIM, ROWS = 16, 1300
SECONDS_MAX = 900.0
"""The kernels may have to be compiled first."""


@pytest.fixture
async def indexed(call: Caller):
    """A collection of which searches walk a poor graph."""
    body = {"dim": DIM, "index": {"m": 4, "ef_construction": 8}, "quantization": "none"}
    assert (await call("POST", "/v1/vector/c", body)).status == 200
    data = np.random.default_rng(5).normal(size=(ROWS, DIM)).round(3)
    for first in range(0, ROWS, 250):
        part = enumerate(data[first : first + 250].tolist(), first)
        items = [{"id": f"v{n}", "vector": vector} for n, vector in part]
        answer = await call("POST", "/v1/vector/c/upsert_batch", {"items": items})
        assert answer.status == 200
    with trio.fail_after(SECONDS_MAX):
        found = call.database.vectors.find("c")
        while not found.actor.view().indexed_rows:
            await trio.lowlevel.checkpoint()
    return call


def told(answer):
    assert answer.status < 300, answer.body
    return json.loads(answer.body)


async def refused(call, path, body, status, *words):
    answer = await call("POST", f"/v1/vector/{path}", body)
    assert answer.status == status, answer.body
    told = json.loads(answer.body)
    for word in words:
        assert word in told["message"]
    return told["error"]


async def test_the_least_effort_that_finds_enough_is_set_and_asked_for_by_recall(indexed):
    call, wish = indexed, {"vector": [1.0] * DIM, "k": 10, "explain": True}
    code = await refused(call, "c/search", {**wish, "recall": 0.9}, 409, "tune", "ef_search")
    assert code == "not_tuned"
    body = {"recall": 0.9, "queries": 40}
    found = told(await call("POST", "/v1/vector/c/tune", body))
    ladder = {rung["effort"]: rung["recall"] for rung in found["tuning"]["ladder"]}
    assert found["reached"] == ladder[found["effort"]] >= 0.9
    assert all(recall < 0.9 for effort, recall in ladder.items() if effort < found["effort"])
    assert (found["option"], found["tuning"]["queries"]) == ("ef_search", 40)
    detail = told(await call("GET", "/v1/vector/c"))
    assert detail["index"]["ef_search"] == found["effort"]
    assert detail["tuning"] == found["tuning"]
    plain = told(await call("POST", "/v1/vector/c/search", wish))
    assert plain["explain"]["ef"] == max(found["effort"], 18)
    most = max(ladder.values())
    asked = told(await call("POST", "/v1/vector/c/search", {**wish, "recall": 0.95}))
    least = min(effort for effort, recall in ladder.items() if recall >= 0.95)
    assert asked["explain"]["ef"] == max(least, 18)
    batch = {"vectors": [[1.0] * DIM], "recall": 0.5}
    assert (await call("POST", "/v1/vector/c/search_batch", batch)).status == 200
    # More than was measured, and for more than it was measured for.
    if most < 0.9999:
        await refused(call, "c/search", {**wish, "recall": 0.9999}, 409, "exact")
    await refused(call, "c/search", {**wish, "recall": 0.9, "offset": 1}, 409, '"k": 11')
    # A measure of far fewer vectors says little.
    items = [{"id": f"n{n}", "vector": [n, *[1.0] * (DIM - 1)]} for n in range(250)]
    for first in range(0, 3 * ROWS, 250):
        items = [{**item, "id": f"n{first + n}"} for n, item in enumerate(items)]
        assert (await call("POST", "/v1/vector/c/upsert_batch", {"items": items})).status == 200
    assert "tune" in told(await call("GET", "/v1/vector/c"))["notes"][-1]
    # Another index was not measured.
    await call("POST", "/v1/vector/c/reindex", {"quantization": "q8"})
    with trio.fail_after(SECONDS_MAX):
        while told(await call("GET", "/v1/vector/c"))["reindex"] is not None:
            await trio.lowlevel.checkpoint()
    detail = told(await call("GET", "/v1/vector/c"))
    assert (detail["tuning"], detail["tail"]) == (None, 0)
    assert await refused(call, "c/search", {**wish, "recall": 0.9}, 409) == "not_tuned"


async def test_effort_has_the_name_that_its_kind_gives_it(call: Caller):
    await call("POST", "/v1/vector/h", {"dim": 2})
    await call("POST", "/v1/vector/f", {"dim": 2, "index": {"kind": "flat"}})
    await call("POST", "/v1/vector/d", {"dim": 2, "index": {"kind": "vamana"}})
    wish = {"vector": [1, 0], "k": 1}
    await refused(call, "h/search", {**wish, "nprobe": 4}, 422, "hnsw", "ef_search")
    await refused(call, "h/search_batch", {"vectors": [[1, 0]], "nprobe": 4}, 422, "ef_search")
    await refused(call, "f/search", {**wish, "nprobe": 4}, 422, "flat", "every vector")
    await refused(call, "d/search", {**wish, "nprobe": 4}, 422, "search_list_size")
    await refused(call, "h/search", {**wish, "ef_search": 9, "recall": 0.9}, 422, "one of")
    await refused(call, "h/search", {**wish, "exact": True, "recall": 0.9}, 422, "one of")
    await refused(call, "h/search", {**wish, "ef_search": 5000}, 400, "4096")
    await refused(call, "h/search", {**wish, "recall": 1}, 422, "exact")
    await refused(call, "h/search", {**wish, "recal": 0.9}, 422, "recall")
    for name, value in (("search_list_size", 9), ("ef_search", 9)):
        assert (await call("POST", "/v1/vector/d/search", {**wish, name: value})).status == 200
    # Where every search is exact there is nothing to measure, and nothing that is not found.
    for collection in "hfd":
        await refused(call, f"{collection}/tune", {"recall": 0.9}, 400, "no vectors")
        await call("POST", f"/v1/vector/{collection}/upsert", {"id": "a", "vector": [1, 0]})
        answer = await call("POST", f"/v1/vector/{collection}/tune", {"recall": 0.9})
        found = told(answer)
        assert (found["effort"], found["reached"], found["offset"]) == (None, 1.0, None)
        assert "nothing to tune" in found["note"]
        answer = await call("POST", f"/v1/vector/{collection}/search", {**wish, "recall": 0.9})
        assert [hit["id"] for hit in told(answer)["hits"]] == ["a"]
    await refused(call, "h/tune", {"recall": 1.5}, 422, "recall")
    await refused(call, "h/tune", {}, 422, "recall")
    await refused(call, "nowhere/tune", {"recall": 0.9}, 404, "nowhere")
