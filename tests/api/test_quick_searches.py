"""Searches that are answered without a thread, and those that must not be."""

import json
import struct
from functools import partial
from urllib.parse import quote

import pytest
import trio

from kissvdb.api.compiled import loading
from kissvdb.api.frame.http import Request, Response
from kissvdb.api.vectors.forms import OCTETS
from kissvdb.core.rows.view import SearchTooNarrow
from tests.api.caller import Caller

SECONDS_MAX = 900.0
"""The kernels may have to be compiled first."""
ROWS = 300


def begun(call: Caller, **body):
    """What there is without a task; None: it needs one."""
    bound, params = call.api.find("POST", "/v1/vector/c/search")
    text = json.dumps({"vector": [1, 0], "k": 10, **body}).encode()
    return call.api.begin(Request("POST", "/v1/vector/c/search", body=text, params=params), bound)


@pytest.fixture
async def filled(call: Caller):
    await call("POST", "/v1/vector/c", {"dim": 2, "metric": "cosine"})
    vectors = [
        {"id": str(n), "vector": [n, 1], "meta": {"n": n, "tags": ["a", "b"], "text": "x" * 2000}}
        for n in range(ROWS)
    ]
    for first in range(0, ROWS, 100):
        await call("POST", "/v1/vector/c/upsert_batch", {"items": vectors[first : first + 100]})
    with trio.fail_after(SECONDS_MAX):
        await call.database.vectors.compiled.wait()
        while begun(call) is None:
            await trio.lowlevel.checkpoint()
    return call


@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"k": 64},
        {"k": 20, "include_meta": True},
        {"filters": {"n": {"$lt": 100}}},
        {"filters": {"tags": {"$contains": "a"}}},
        {"ef_search": 256},
    ],
    ids=str,
)
async def test_a_small_search_needs_no_task(filled, wishes):
    answer = begun(filled, **wishes)
    assert isinstance(answer, Response)
    usual = await filled("POST", "/v1/vector/c/search", {"vector": [1, 0], "k": 10, **wishes})
    assert answer.body == usual.body
    assert len(json.loads(answer.body)["hits"]) == wishes.get("k", 10)


ODD = [
    {"id": 'a "quoted" \\ id', "vector": [3, 1], "meta": {"vector": [1, 2], "text": "é\n"}},
    {"id": "twin of 7", "vector": [7, 1]},
    {"id": "\N{SNOWMAN}", "vector": [-1, 5], "meta": None},
    {"id": "nothing", "vector": [0, 0], "meta": {"n": -1}},
]


def written(call, body, target="/v1/vector/c/search", kind="application/json"):
    path, _, query = target.partition("?")
    bound, params = call.api.find("POST", path)
    headers = {"content-type": kind}
    return call.api.begin(Request("POST", path, query, headers, body, params), bound)


async def test_whatever_compiled_code_answers_is_what_is_answered_without_it(filled):
    await filled("POST", "/v1/vector/c/upsert_batch", {"items": ODD})
    for vector in ([1, 0.25], [-1.5e0, 0.12345678901234567], [7, 1], [0, 0], [3, 1], [0, 1e-4]):
        for wishes in ({"k": 5}, {"k": 40, "filters": {"n": {"$lt": 30}}}, {"include_meta": True}):
            body = {"vector": vector, **wishes}
            raw = struct.pack("<2f", *vector)
            told = await filled("POST", "/v1/vector/c/search", {**body, "explain": True})
            usual = json.loads(told.body)
            del usual["explain"]
            asked = "&".join(f"{key}={json.dumps(value)}" for key, value in wishes.items())
            for answer in (
                begun(filled, **{"k": 10, **body}),
                written(filled, json.dumps({**wishes, "vector": vector}, indent=1).encode()),
                written(filled, raw, "/v1/vector/c/search?" + quote(asked, safe="=&"), OCTETS),
            ):
                assert (answer.status, json.loads(answer.body)) == (200, usual)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"vector":[1,0],"filters":{"vector":[1,2]}}', 200),
        (b'{"filters":{"vector":[1,2]},"vector":[1,0]}', 200),
        (b'{"vector":[5,1],"vector":[1,0]}', 200),
        (b'{"vector":[1,2],"k":0}', 400),
        (b'{"vector":[1,2],"kk":1}', 422),
        (b'{"vector":[1,2],"id":"1"}', 400),
        (b'{"vector":[1,2,3]}', 400),
        (b'{"vector":[1,1e999]}', 400),
        (b'{"vector":[1,1e16]}', 400),
        (b'{"vector":[1,01]}', 400),
        (b'{"vector":[1,null]}', 422),
        (b'{"vector":[1,2]', 400),
        (b'{"vector":[1,2]}}', 400),
    ],
    ids=str,
)
async def test_what_is_odd_is_read_as_a_whole_and_refused_as_ever(filled, body, status):
    first = written(filled, body)
    answer = await filled("POST", "/v1/vector/c/search", body=body)
    assert answer.status == status
    if first is not None:
        assert first.body == answer.body
    if status != 200:
        assert written(filled, body).body == answer.body


def _surely(read, *arguments):
    found = read(*arguments)
    assert found is not None
    return found


async def test_a_batch_that_compiled_code_reads_is_stored_and_refused_as_ever(filled, monkeypatch):
    items = [
        {"id": "a", "vector": [0.1, -2.5e-3], "meta": {"vector": 7, "x": '"vector":[1]'}},
        {"id": "a", "vector": [1, 16777217]},
        {"id": "b", "vector": [0.058123450726270676, 3e-5], "ttl_ms": 10**9, "namespace": "n"},
        {"id": "", "vector": [1, 2]},
        {"id": "c", "vector": [1, 2], "meta": None},
    ]
    odd = [
        [{"id": "d", "vector": [1, 2], "meta": {"vector": [3, 4]}}],
        [{"id": "e", "vector": [1, 2, 3]}, {"id": "f", "vector": [1, 2]}],
        [
            {"id": "g", "vector": [1, 2], "vector_b64": "AACAPwAAAEA="},
            {"id": "h", "vector": [1, 2]},
        ],
        [{"id": "i", "vector_b64": "AACAPwAAAEA="}, {"id": "j", "vector": [1, 2]}],
        [{"id": "k", "vector": "AACAPwAAAEA="}],
        [{"id": "l", "vector": [1, 1e30]}, {"id": "m", "vector": [1, 1e-42]}],
        [{"id": "o", "vector": [1, "2"]}],
        [{"id": "p", "vector": [1, 2], "colour": 1}],
        [{"id": "q"}, {"id": "r", "vector": [1, 2]}],
    ]
    for batch in (items, *odd):
        seen = []
        body = json.dumps({"items": batch}).encode()
        for plainly in (False, True):
            with monkeypatch.context() as patch:
                if plainly:
                    patch.setattr(loading, "read", lambda *_: None)
                elif batch is items:
                    patch.setattr(loading, "read", partial(_surely, loading.read))
                answer = await filled("POST", "/v1/vector/c/upsert_batch", body=body)
            found = json.loads(answer.body)
            for each in found.get("results", ()):
                each.pop("offset", None)
            rows = [filled.database.vectors.get("c", item["id"]) for item in batch if item["id"]]
            stored = [row and (row.vector, row.meta, row.text) for row in rows]
            status = answer.status, found.get("error"), found.get("message"), found.get("results")
            seen.append((status, stored))
        assert seen[0] == seen[1]


async def test_a_walk_that_was_not_enough_is_left_to_a_thread(filled, monkeypatch):
    def short(*_, may_scan, **__):
        assert not may_scan
        raise SearchTooNarrow

    with monkeypatch.context() as patch:
        patch.setattr("kissvdb.core.rows.search.candidates", short)
        assert begun(filled) is None
    assert isinstance(begun(filled), Response)


@pytest.mark.parametrize(
    "wishes",
    [
        {"k": 65},
        {"exact": True},
        {"include_vector": True},
        {"group_by": "n"},
        {"k": 60, "include_meta": True},
        {"filters": {"tags": ["a", "b"]}},
        {"filters": {"$or": [{}] * 20}},
        {"filters": {"n": {"$nin": list(range(20))}}},
        {"filters": {"n": list(range(20))}},
        {"filters": {"$and": [{"tags": {"$contains": each}} for each in "abcde"]}},
        # A body over 64 KiB, with a filter that is just under.
        {"filters": {"n": {"$nin": ["x" * 9_356 for _ in range(7)]}}},
    ],
    ids=lambda wishes: str(wishes)[:50],
)
async def test_what_may_take_long_is_left_to_a_thread(filled, wishes):
    assert begun(filled, **wishes) is None
    answer = await filled("POST", "/v1/vector/c/search", {"vector": [1, 0], "k": 10, **wishes})
    assert answer.status == 200


@pytest.fixture
async def documents(call: Caller):
    written = [
        {"id": str(n), "doc": {"n": n, "text": f"word{n % 7} and more", "long": "x" * 2000}}
        for n in range(ROWS)
    ]
    for first in range(0, ROWS, 100):
        body = {"documents": written[first : first + 100]}
        assert (await call("POST", "/v1/doc/d/put_batch", body)).status == 200
    with trio.fail_after(SECONDS_MAX):
        await call.database.vectors.compiled.wait()
    return call


def begun_at(call: Caller, path: str, body):
    bound, params = call.api.find("POST", path)
    request = Request("POST", path, body=json.dumps(body).encode(), params=params)
    return call.api.begin(request, bound)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/doc/d/search", {"text": "word3 more"}),
        ("/v1/doc/d/search", {"text": "word3", "filter": {"n": {"$lt": 100}}}),
        ("/v1/doc/d/find", {"filter": {"n": {"$lt": 20}}}),
    ],
    ids=str,
)
async def test_a_small_search_of_documents_needs_no_task(documents, path, body):
    answer = begun_at(documents, path, body)
    assert isinstance(answer, Response)
    explained = await documents("POST", path, {**body, "explain": True})
    found, usual = json.loads(answer.body), json.loads(explained.body)
    del usual["explain"]
    assert found == usual
    assert found.get("hits") or found.get("documents")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/doc/d/search", {"text": "word3", "highlight": True}),
        ("/v1/doc/d/search", {"text": "moer"}),
        ("/v1/doc/d/search", {"text": "wor*"}),
        ("/v1/doc/d/search", {"text": "word3", "k": 60}),
        ("/v1/doc/d/find", {}),
        ("/v1/doc/d/find", {"filter": {"n": {"$lt": 20}}, "sort": ["n"]}),
        ("/v1/doc/d/find", {"filter": {"n": {"$lt": 200}}, "limit": 100}),
    ],
    ids=str,
)
async def test_what_may_take_long_of_documents_is_left_to_a_thread(documents, path, body):
    assert begun_at(documents, path, body) is None
    assert (await documents("POST", path, body)).status == 200
