"""Batches of vectors that are read as columns say what they say item by item."""

import base64
import json
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kissvdb.api.compiled import columns
from kissvdb.api.frame.http import Request
from kissvdb.api.vectors import writes
from kissvdb.config import Config, Limits
from kissvdb.core.rows.rules import Upsert
from kissvdb.core.store.columns import UpsertMany
from kissvdb.core.store.space import decoded
from kissvdb.errors import KissError
from tests.api.caller import opened, reading

DIM = 2
CONTEXT = SimpleNamespace(config=Config(limits=Limits(json_bytes_max=64)), strict=True)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.integers(-9, 2**60)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
metas = values | st.sampled_from([{"_namespace": "n"}, "x" * 70, {"a": 1, "b": [1.0, "é"]}])
numbers = st.sampled_from([1.0, -0.0, 0.25, 3e15, 1e-300, 0.1])
items = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["a", "b", "é", "", "x" * 600, 'q"']),
        "vector": st.lists(numbers, min_size=DIM, max_size=DIM),
    },
    optional={"meta": metas},
)
odd = st.sampled_from(
    [
        {"namespace": "n"},
        {"ttl_ms": 5},
        {"op_id": "o"},
        {"text": "t"},
        {"if_changed": True},
        {"vector": [1.0]},
    ]
)
batches = st.lists(items, min_size=1, max_size=6)


def plain_json(items):
    return "application/json", json.dumps({"items": items}).encode()


def base64_json(items):
    packed = [
        {**each, "vector": base64.b64encode(np.array(each["vector"], "<f4").tobytes()).decode()}
        for each in items
    ]
    return "application/json", json.dumps({"items": packed}, ensure_ascii=False).encode()


def packed(items):
    packed = [{**each, "vector": np.array(each["vector"], "<f4").tobytes()} for each in items]
    return "application/msgpack", msgspec.msgpack.encode({"items": packed})


def raw(items):
    head = {"ids": [each["id"] for each in items], "metas": [each.get("meta") for each in items]}
    if "namespace" in items[0]:
        head["namespace"] = items[0]["namespace"]
    numbers = np.array([number for each in items for number in each["vector"]], "<f4")
    return "application/octet-stream", json.dumps(head).encode() + b"\n" + numbers.tobytes()


# The kernels take a while to load.
FORMS = [base64_json, packed, raw, pytest.param(plain_json, marks=pytest.mark.slow)]


def commands(form, items):
    """What a batch says, item by item, and whether it was read as columns; or how it is refused."""
    media, body = form(items)
    request = Request("POST", "/v1/vector/c/upsert_batch", "", {"content-type": media}, body)
    compiled = None
    if form is plain_json:
        from kissvdb.core.numbers import compiled
    try:
        read = writes._upserts("c", CONTEXT, request, compiled, DIM)
    except KissError as refusal:
        return str(refusal), False
    if not isinstance(read, UpsertMany):
        ids, outcomes = read
        return list(
            zip(ids, [str(getattr(each, "command", each)) for each in outcomes], strict=True)
        ), False
    assert read.vectors.shape == (len(read.ids), DIM)
    said = zip(read.ids, read.vectors, read.metas, read.documents, strict=True)
    for _, _, meta, document in said:
        assert document == decoded(meta)
    said = zip(read.ids, read.vectors, read.metas, strict=True)
    return [(id_, str(Upsert(id_, row.tobytes(), meta))) for id_, row, meta in said], True


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=20, deadline=None)
@given(items=batches, more=st.none() | odd)
def test_columns_say_what_items_say(form, items, more):
    items[0].update(more or {})
    said, _ = commands(form, items)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "of_columns", lambda *args, **more: None)
        expected, quick = commands(form, items)
    assert not quick
    assert said == expected


@pytest.mark.parametrize("form", FORMS)
def test_what_is_plain_is_read_as_columns(form):
    items = [{"id": f"i{n}", "vector": [n, 0.5], "meta": {"n": n, "t": ["é"]}} for n in range(3)]
    assert commands(form, items)[1]
    assert not commands(form, [{**items[0], "namespace": "n"}])[1]


async def test_a_batch_of_columns_is_answered_and_kept():
    async with opened() as ask:
        reading(await ask("POST", "/v1/vector/c", {"dim": DIM}))
        ids = ["a", "b", 'q"', "a"]
        items = [{"id": id_, "vector": [n, 1], "meta": {"n": n}} for n, id_ in enumerate(ids)]
        media, body = raw(items)
        answer = await ask("POST", "/v1/vector/c/upsert_batch", body=body, content_type=media)
        assert reading(answer)["results"] == [
            {"status": "upserted", "id": id_, "offset": offset} for offset, id_ in enumerate(ids, 2)
        ]
        stored = reading(await ask("GET", "/v1/vector/c/get?id=a"))
        assert (stored["vector"], stored["meta"]) == ([3.0, 1.0], {"n": 3})
        assert ask.metrics.vector_ops_total.value == 4
        missing = await ask("POST", "/v1/vector/none/upsert_batch", body=body, content_type=media)
        assert missing.status == 404
