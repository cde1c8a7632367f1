"""Requests that come again with another vector are answered as the first was, by the same rules."""

import json

import numpy as np
import pytest
import trio

from kissvdb.api.compiled import ready, searching
from kissvdb.api.vectors.json_text import HITS_BYTES_MAX
from kissvdb.config import Config, Storage
from kissvdb.core.rows.view import RowsView
from tests.api.caller import opened

COMPILED = Config(storage=Storage(memory=True))
ROWS, DIM = 250, 8
VECTORS = np.random.default_rng(5).standard_normal((ROWS, DIM)).astype("<f4")
WISHES = (
    {},
    {"k": 3, "include_meta": True},
    {"k": 4, "filters": {"n": {"$lt": 5}}},
    {"k": 9, "filters": {"n": {"$lt": 5}, "name": 'a "vector": [1]'}},
    {"ef_search": 70, "namespace": "x"},
    {"k": 2, "include_vector": True},
    {"k": 2, "min_score": 0.3},
)
TEXTS = (
    '{"vector":%s,"k":2}',
    '{ "k" :2, "vector" : %s }',
    '{"k":2,"vector":%s,"include_meta":true}',
    '{"k":2,"vector":%s,"filters":{"tags":{"$in":["vector","b"]}}}',
    '{"filters":{"tags":["vector"]},"k":2,"vector":%s}',
    '{"k":2,"vector":%s,"vector":[1,2,3,4,5,6,7,8]}',
    '{"vector":[1,2,3,4,5,6,7,8],"k":2,"vector":%s}',
    '{"k":2,"vector":%s,"knee":3}',
    '{"k":2,"vector":%s}}',
    '{"k":2,"vector":[%s]}',
    '{"k":0,"vector":%s}',
)


async def filled(call):
    assert (await call("POST", "/v1/vector/c", {"dim": DIM})).status == 200
    with trio.fail_after(600):
        await call.database.vectors.compiled.wait()
    items = [
        {"id": f"v{n}", "vector": each.tolist(), "meta": {"n": n % 50, "tags": ["b"] * (n % 2)}}
        for n, each in enumerate(VECTORS)
    ]
    assert (await call("POST", "/v1/vector/c/upsert_batch", {"items": items})).status == 200


@pytest.fixture
def counted(monkeypatch):
    """How many answers came from searches that were ready; with ``off`` none does."""

    class Counted:
        count, off = 0, False

    real = ready.answer

    def answer(*arguments):
        found = None if Counted.off else real(*arguments)
        Counted.count += found is not None
        return found

    monkeypatch.setattr(ready, "answer", answer)
    return Counted


def body_of(answer):
    return answer.status, answer.body, dict(answer.headers).get("kissvdb-offset")


async def test_a_request_that_comes_again_is_answered_as_if_it_were_the_first(counted):
    bodies = [
        (lambda vector, wish=wish: json.dumps({"vector": vector, **wish})) for wish in WISHES
    ] + [(lambda vector, text=text: text % json.dumps(vector)) for text in TEXTS]
    async with opened(COMPILED) as call:
        await filled(call)

        async def search(body, query="", **headers):
            return body_of(await call("POST", f"/v1/vector/c/search{query}", body=body, **headers))

        for step in range(2):
            for made in bodies:
                for n in range(4):
                    vector = [round(float(each), 4) for each in VECTORS[step * 7 + n] + 0.01 * n]
                    asked = made(vector if n or step else vector[::-1]).encode()
                    counted.off = False
                    found = await search(asked)
                    counted.off = True
                    assert found == await search(asked), asked
            for query in ("", "?k=3", "?k=3&filters=%7B%22n%22%3A3%7D", "?knee=3"):
                for n in range(4):
                    asked, type_ = VECTORS[n].tobytes(), "application/octet-stream"
                    counted.off = False
                    found = await search(asked, query, content_type=type_)
                    counted.off = True
                    assert found == await search(asked, query, content_type=type_)
            # Each view is its own: what was written is found.
            new = {"id": f"new{step}", "vector": VECTORS[step * 7].tolist()}
            assert (await call("POST", "/v1/vector/c/add", new)).status == 200
    assert counted.count >= 30


async def test_what_comes_again_in_another_length_or_too_long_is_refused(counted):
    async with opened(COMPILED) as call:
        await filled(call)
        for vector in ([0.5] * DIM, [0.25] * DIM, [0.75] * DIM):
            answer = await call("POST", "/v1/vector/c/search", {"vector": vector})
            assert answer.status == 200
        assert counted.count == 1
        for vector in ([0.5] * (DIM - 1), [0.5] * (DIM + 1), [], ["a"] * DIM, [1e39] * DIM):
            answer = await call("POST", "/v1/vector/c/search", {"vector": vector})
            assert answer.status in (400, 422)
        assert counted.count == 1
        assert (await call("DELETE", "/v1/vector/c")).status == 200
        answer = await call("POST", "/v1/vector/c/search", {"vector": [0.5] * DIM})
        assert answer.status == 404


BATCHES = (
    '{"vectors":%s,"k":2}',
    '{ "k" :3, "include_meta":true, "vectors" :\n %s , "filters":{"n":{"$lt":5}}}',
    '{"vectors":%s,"include_vector":true,"k":1}',
    '{"vectors":%s,"exact":true,"k":4}',
    '{"vectors":%s,"min_score":0.2}',
    '{"filters":{"tags":{"$in":["\\"vectors\\":[[1]]","b"]}},"vectors":%s}',
    '{"filters":{"vectors":[[1,2,3,4,5,6,7,8]]},"vectors":%s}',
    '{"filters":{"a\\"vectors":[[1,2,3,4,5,6,7,8]]}}',
    '{"vectors":%s,"vectors":[[1,2,3,4,5,6,7,8]]}',
    '{"vectors":%s,"texts":["a"]}',
    '{"vectors":[%s]}',
    '{"vectors":%s,"k":0}',
    '{"vectors":%s,"knee":0}',
    '{"vectors":%s',
    '{"vectors":"%s"}',
)


async def test_a_batch_whose_numbers_compiled_code_reads_is_answered_as_any_other(monkeypatch):
    sets = [VECTORS[:4].tolist(), [VECTORS[7].tolist()], [[0.5] * 7], [[0.5] * 8, [0.5]], [], [[]]]
    async with opened(COMPILED) as call:
        await filled(call)
        # Two that tie are put in order by their ids.
        for id_ in ("same", "again"):
            item = {"id": id_, "vector": VECTORS[7].tolist()}
            assert (await call("POST", "/v1/vector/c/add", item)).status == 200
        read = 0
        for text in BATCHES:
            for vectors in sets:
                body = text.replace("%s", json.dumps(vectors)).encode()
                found = await call("POST", "/v1/vector/c/search_batch", body=body)
                with monkeypatch.context() as plain:
                    plain.setattr(searching, "_read_batch", lambda *_: None)
                    plain.setattr(
                        RowsView, "search_as_texts", lambda _, rows, *__, **___: [None] * len(rows)
                    )
                    expected = await call("POST", "/v1/vector/c/search_batch", body=body)
                assert body_of(found) == body_of(expected), body
                read += found.status == 200
        assert read >= 14
        raw = await call(
            *("POST", "/v1/vector/c/search_batch?k=2"),
            body=VECTORS[:4].tobytes(),
            content_type="application/octet-stream",
        )
        first = await call("POST", "/v1/vector/c/search_batch", {"vectors": sets[0], "k": 2})
        assert (raw.status, raw.body) == (200, first.body)


async def test_of_a_batch_no_more_is_written_than_an_answer_may_have(monkeypatch):
    sizes, real = [], RowsView.search_as_texts

    def search(*arguments, **named):
        found = real(*arguments, **named)
        sizes.append(sum(len(each[0]) for each in found if each))
        return found

    monkeypatch.setattr(RowsView, "search_as_texts", search)
    async with opened(COMPILED) as call:
        await filled(call)
        meta = {"long": "x" * 60_000}
        items = [{"id": f"l{n}", "vector": [9, n / 9] * 4, "meta": meta} for n in range(15)]
        assert (await call("POST", "/v1/vector/c/upsert_batch", {"items": items})).status == 200
        asked = {"vectors": [[9, n / 99] * 4 for n in range(80)], "k": 15, "include_meta": True}
        answer = await call("POST", "/v1/vector/c/search_batch", asked)
        assert (answer.status, json.loads(answer.body)["error"]) == (413, "payload_too_large")
        few = {**asked, "vectors": asked["vectors"][:2]}
        assert (await call("POST", "/v1/vector/c/search_batch", few)).status == 200
    assert 0 < sizes[0] <= HITS_BYTES_MAX
