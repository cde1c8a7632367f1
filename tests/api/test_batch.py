"""POST /v1/batch: all or none, in order, named refusals, and a repeat that is answered again."""

import json
from contextlib import asynccontextmanager

import attrs
import pytest

from kissvdb.config import Config, Search, State, Storage
from tests.api.caller import IN_MEMORY, Caller, message, opened, reading, refused

PUT = {"op": "put", "key": "a", "value": 1}
VECTOR = {"op": "upsert", "collection": "v", "id": "x", "vector": [1, 0]}
EVENT = {"op": "event", "type": "done", "data": {"n": 1}}


@asynccontextmanager
async def over(shards):
    config = attrs.evolve(IN_MEMORY, search=Search(compile=False))
    async with opened(config, state=State(shards=shards)) as caller:
        assert (await caller("POST", "/v1/vector/v", {"dim": 2})).status == 200
        yield caller


@pytest.fixture(params=[1, 3], ids=["one shard", "three shards"])
async def call(request):
    async with over(request.param) as caller:
        yield caller


@pytest.fixture
async def spread():
    """Keys lie on three shards."""
    async with over(3) as caller:
        yield caller


async def batch(call, *operations, **more):
    preconditions = more.pop("preconditions", None)
    body = {"operations": list(operations), "preconditions": preconditions}
    return await call("POST", "/v1/batch", body, **more)


def failed(answer, status, code, **where):
    found = reading(answer)
    assert (answer.status, found.pop("error")) == (status, code), found
    text = found.pop("message")
    assert found == where
    for name, place in where.items():
        assert f"{name}s[{place}]" in text
    return text


async def test_operations_over_every_model_happen_together_with_consecutive_offsets(call: Caller):
    before = call.database.last_offset
    answer = reading(await batch(call, PUT, VECTOR, EVENT, {"op": "put", "key": "b", "value": 2}))
    assert (answer["first_offset"], answer["last_offset"]) == (before + 1, before + 5)
    assert call.database.last_offset == before + 5
    offsets = [each["offset"] for each in answer["results"]]
    # The first is that of the mark in front of them.
    assert sorted(offsets) == list(range(before + 2, before + 6))
    assert [each.get("revision") for each in answer["results"]] == [1, None, None, 1]
    assert call.database.get("a").offset == offsets[0]
    assert call.database.get("b").offset == offsets[3]
    assert call.database.vectors.get("v", "x") is not None


async def test_operations_on_one_key_work_in_order(call: Caller):
    steps = (
        PUT,
        {"op": "patch", "key": "a", "patch": {"x": 1}, "if_revision": 1},
        {"op": "delete", "key": "a"},
        {"op": "delete", "key": "a"},
        {"op": "put", "key": "a", "value": 9, "if_revision": 0},
    )
    results = reading(await batch(call, *steps, VECTOR))["results"]
    assert [each.get("revision") for each in results] == [1, 2, None, None, 1, None]
    assert [each.get("deleted") for each in results] == [None, None, True, False, None, None]
    assert results[3]["offset"] is None
    assert call.database.get("a").value == b"9"


REFUSED = [
    ({"op": "put", "key": "a", "value": 2, "if_revision": 7}, 409, "revision_mismatch"),
    ({"op": "put", "key": "b", "value": 2, "if_offset": 7}, 409, "revision_mismatch"),
    ({"op": "add", "collection": "v", "id": "old", "vector": [0, 1]}, 409, "already_exists"),
    ({"op": "update", "collection": "v", "id": "no", "meta": {}}, 404, "not_found"),
    ({"op": "vector_delete", "collection": "v", "id": "no"}, 404, "not_found"),
    ({"op": "vector_delete", "collection": "none", "id": "no"}, 404, "not_found"),
    ({"op": "upsert", "collection": "v", "id": "y", "vector": [0, 1, 2]}, 400, "dim_mismatch"),
    ({"op": "put", "key": "", "value": 2}, 400, "invalid_argument"),
    ({"op": "put", "key": "a", "valu": 2}, 422, "invalid_argument"),
    ({"op": "put", "key": "vector:v:manifest", "value": 2}, 403, "reserved_key"),
    ({"op": "ack", "consumer": "a"}, 422, "invalid_argument"),
    ({"op": "put", "key": "a", "value": 2, "op_id": "x"}, 400, "invalid_argument"),
]


@pytest.mark.parametrize("alone", [True, False], ids=["one owner", "two owners"])
@pytest.mark.parametrize(("operation", "status", "code"), REFUSED)
async def test_a_refused_operation_is_named_and_nothing_is_done(
    spread: Caller, operation, status, code, alone
):
    old = {"op": "upsert", "collection": "v", "id": "old", "vector": [1, 1]}
    assert (await batch(spread, old)).status == 200
    before = spread.database.last_offset
    others = (PUT, PUT) if alone else (PUT, VECTOR)
    text = failed(await batch(spread, *others, operation), status, code, operation=2)
    assert "line" not in text
    assert spread.database.last_offset == before
    assert spread.database.get("a") is None
    assert spread.database.vectors.get("v", "x") is None
    # And everybody goes on.
    assert (await batch(spread, *others)).status == 200


async def test_an_unknown_operation_lists_all(call: Caller):
    text = message(await batch(call, {"op": "ack"}))
    for op in ("put", "patch", "delete", "event", "upsert", "add", "update", "vector_delete"):
        assert op in text


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"key": "k", "if_revision": 1}, True),
        ({"key": "k", "if_revision": 2}, False),
        ({"key": "none", "if_revision": 0}, True),
        ({"key": "k", "if_offset": 3}, True),
        ({"key": "k", "if_offset": 2}, False),
        ({"key": "k", "if_absent": False}, True),
        ({"key": "k", "if_absent": True}, False),
        ({"key": "none", "if_absent": True}, True),
        ({"documents": "d", "id": "b:c", "if_absent": False}, True),
        ({"documents": "d", "id": "b", "if_absent": False}, False),
        ({"vectors": "v", "id": "one", "if_absent": False}, True),
        ({"vectors": "v", "id": "one", "if_absent": True}, False),
        ({"documents": "d", "if_filter_count": {"equals": 1}}, True),
        ({"documents": "d", "if_filter_count": {"filters": {"n": {"$gt": 1}}, "equals": 0}}, True),
        ({"documents": "d", "if_filter_count": {"filters": {"n": 1}, "at_most": 0}}, False),
        ({"documents": "none", "if_filter_count": {"equals": 0}}, True),
        ({"vectors": "v", "if_filter_count": {"equals": 1}}, True),
        ({"vectors": "v", "if_filter_count": {"at_least": 2}}, False),
        ({"vectors": "v", "if_filter_count": {"at_most": 0}}, False),
        ({"vectors": "v", "if_filter_count": {"filters": {"n": 1}, "at_most": 0}}, True),
    ],
)
async def test_preconditions_are_those_of_the_whole_batch(spread: Caller, condition, holds):
    one = {"op": "upsert", "collection": "v", "id": "one", "vector": [1, 1]}
    for each in ({"op": "put", "key": "doc:d:b:c", "value": {"n": 1}}, PUT | {"key": "k"}, one):
        assert (await batch(spread, each)).status == 200
    before = spread.database.last_offset
    answer = await batch(spread, PUT, preconditions=[{"key": "no", "if_absent": True}, condition])
    if holds:
        assert answer.status == 200, answer.body
        return
    failed(answer, 409, "revision_mismatch", precondition=1)
    assert spread.database.last_offset == before


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"key": "a"},
        {"key": "a", "id": "b", "if_absent": True},
        {"key": "a", "vectors": "v", "if_absent": True},
        {"vectors": "v", "if_absent": True},
        {"vectors": "v", "id": "x", "if_revision": 1},
        {"vectors": "v", "if_filter_count": {}},
        {"vectors": "v", "if_filter_count": {"equals": 1, "at_most": 2}},
        {"vectors": "v", "id": "a", "if_filter_count": {"equals": 1}},
        {"vectors": "v", "if_filter_count": {"filters": {"a": {"$no": 1}}, "equals": 1}},
        {"key": "a", "if_filter_count": {"equals": 1}},
    ],
)
async def test_a_precondition_that_says_nothing_is_refused(spread: Caller, condition):
    answer = await batch(spread, PUT, preconditions=[condition])
    failed(answer, 400, "invalid_argument", precondition=0)


async def test_a_precondition_looks_at_what_was_there_before_the_batch(call: Caller):
    answer = await batch(call, PUT, preconditions=[{"key": "a", "if_absent": True}])
    assert answer.status == 200


@pytest.mark.parametrize("operations", [(PUT, PUT), (PUT, VECTOR), (VECTOR,)])
async def test_a_repeat_is_answered_as_the_first_time_and_changes_nothing(call: Caller, operations):
    first = reading(await batch(call, *operations, idempotency_key="k1"))
    assert first.pop("repeated") is False
    offset = call.database.last_offset
    again = reading(await batch(call, *operations, idempotency_key="k1"))
    assert again.pop("repeated") is True
    assert again == first
    assert call.database.last_offset == offset
    other = await batch(call, *operations, PUT | {"key": "z"}, idempotency_key="k1")
    refused(other, 409, "op_id_reused")
    refused(await batch(call, PUT, idempotency_key=""), 400, "invalid_argument")


async def test_a_repeat_is_answered_though_its_preconditions_do_not_hold_any_more(call: Caller):
    add = {"op": "add", "collection": "v", "id": "n", "vector": [0, 1]}
    condition = [{"key": "a", "if_absent": True}]
    first = reading(await batch(call, PUT, add, preconditions=condition, idempotency_key="k"))
    again = reading(await batch(call, PUT, add, preconditions=condition, idempotency_key="k"))
    assert again == first | {"repeated": True}


async def test_a_repeat_is_answered_though_a_collection_of_it_is_gone(call: Caller):
    counted = {"vectors": "v", "if_filter_count": {"at_most": 0}}
    first = reading(await batch(call, PUT, VECTOR, preconditions=[counted], idempotency_key="k"))
    await call("DELETE", "/v1/vector/v")
    again = await batch(call, PUT, VECTOR, preconditions=[counted], idempotency_key="k")
    assert reading(again) == first | {"repeated": True}
    failed(await batch(call, PUT, VECTOR), 404, "not_found", operation=1)


async def test_preconditions_are_looked_at_before_any_operation(spread: Caller):
    # "collection-v" is held before the shards, and "collection-w" before "collection-x".
    for name in ("w", "x"):
        assert (await spread("POST", f"/v1/vector/{name}", {"dim": 2})).status == 200
    broken = {"op": "update", "collection": "w", "id": "none", "meta": {}}
    nowhere = VECTOR | {"collection": "nowhere"}
    there = {"vectors": "x", "id": "none", "if_absent": False}
    counted = {"vectors": "v", "if_filter_count": {"at_least": 1}}
    for refused_one in (broken, nowhere):
        for condition in (there, counted, {"key": "none", "if_absent": False}):
            answer = await batch(spread, PUT, refused_one, preconditions=[condition])
            failed(answer, 409, "revision_mismatch", precondition=0)
        holds = [{"key": "none", "if_absent": True}, there | {"if_absent": True}]
        answer = await batch(spread, PUT, refused_one, preconditions=holds)
        failed(answer, 404, "not_found", operation=1)
    assert (await batch(spread, PUT, VECTOR)).status == 200


async def test_a_batch_that_changes_nothing_has_no_offsets_unless_it_is_to_be_remembered(
    call: Caller,
):
    gone = {"op": "delete", "key": "none"}
    answer = reading(await batch(call, gone))
    assert (answer["first_offset"], answer["last_offset"]) == (None, None)
    answer = reading(await batch(call, gone, idempotency_key="k"))
    assert answer["first_offset"] == answer["last_offset"] == call.database.last_offset
    assert reading(await batch(call, gone, idempotency_key="k"))["repeated"] is True


async def test_the_key_in_the_body_and_in_the_header_are_one(call: Caller):
    body = {"operations": [PUT], "op_id": "k"}
    assert (await call("POST", "/v1/batch", body, idempotency_key="k")).status == 200
    assert reading(await call("POST", "/v1/batch", body))["repeated"] is True
    both = await call("POST", "/v1/batch", body, idempotency_key="other")
    refused(both, 400, "invalid_argument", "Idempotency-Key")
    # A write of its own under the name of a batch is another operation.
    line = json.dumps(PUT | {"op_id": "k"}).encode()
    answer = await call("POST", "/v1/bulk", body=line)
    if len(call.database._state.owners) == 1:
        assert b"op_id_reused" in answer.body


async def test_repeats_are_known_after_a_restart(tmp_path):
    config = Config(storage=Storage(data_dir=str(tmp_path)), search=Search(compile=False))
    operations = (PUT, VECTOR, {"op": "delete", "key": "b"}, EVENT)
    async with opened(config) as call:
        await call("POST", "/v1/vector/v", {"dim": 2})
        first = reading(await batch(call, *operations, idempotency_key="k"))
        await call.database.snapshot()
        second = reading(await batch(call, PUT, idempotency_key="l"))
    async with opened(config) as call:
        offset = call.database.last_offset
        again = reading(await batch(call, *operations, idempotency_key="k"))
        assert again == first | {"repeated": True}
        again = reading(await batch(call, PUT, idempotency_key="l"))
        assert again == second | {"repeated": True}
        assert call.database.last_offset == offset
