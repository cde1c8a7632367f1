"""Vector collections over real HTTP, through both doors: making them, and writing."""

import base64
import json

import msgpack
import pytest

from tests.api.vector_client import (
    JSON,
    MSGPACK,
    NAMES,
    NDJSON,
    OCTETS,
    Collection,
    floats,
    refused,
)


def test_a_collection_is_created_listed_described_and_deleted(client):
    index = {"kind": "hnsw", "ef_search": 77}
    made = Collection(client, dim=3, metric="cosine", index=index, ttl_ms=60_000)
    created = made.created.json()
    said = {"collection": made.name, "dim": 3, "metric": "cosine"}
    assert created == {**said, "offset": created["offset"]}
    refused(
        client.post(made.url, json={"dim": 3, "metric": "cosine"}),
        409,
        "already_exists",
        "already exists",
    )
    made.upsert("a", 1, 2, 3)
    detail = client.get(made.url).json()
    assert {name: detail[name] for name in ("dim", "metric", "count", "deleted", "ttl_ms")} == {
        "dim": 3,
        "metric": "cosine",
        "count": 1,
        "deleted": 0,
        "ttl_ms": 60_000,
    }
    assert detail["index"] == {"kind": "hnsw", "m": 16, "ef_construction": 200, "ef_search": 77}
    key = f"/v1/state/vector:{made.name}:manifest"
    manifest = client.get(key).json()["value"]
    assert detail["manifest"] == manifest
    refused(client.put(key, json={"value": 1}), 403, "reserved_key", made.url)
    refused(client.delete(key), 403, "reserved_key", made.url)
    assert manifest["created_at_ms"] == detail["created_at_ms"]
    listed = client.get("/v1/vector").json()["collections"]
    assert [each["name"] for each in listed] == sorted(each["collection"] for each in listed)
    (mine,) = [each for each in listed if each["name"] == made.name]
    assert mine == {name: detail[name] for name in mine}
    older = {"name": "collection", "live_count": "count", "deleted_count": "deleted"}
    older |= {"file_len": "bytes"}
    assert {mine[name] for name in ("total_records", "upsert_count", "count")} == {1}
    assert {name: mine[name] for name in older} == {old: mine[new] for old, new in older.items()}
    dropped = client.delete(made.url).json()
    assert dropped["deleted"] is True
    refused(client.get(made.url), 404, "not_found", made.name)
    refused(client.delete(made.url), 404, "not_found")
    kinds = [event["type"] for event in made.events(3)]
    assert kinds == ["vector_collection_created", "vector_upserted", "vector_collection_deleted"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"metric": "dot"}, 422),
        ({"metric": "l2"}, 422),
        ({"dim": True, "metric": "dot"}, 422),
        ({"dim": 2.5, "metric": "dot"}, 422),
        ({"dim": 0, "metric": "dot"}, 400),
        ({"dim": 4097, "metric": "dot"}, 400),
        ({"dim": 3, "metric": "hamming"}, 422),
        ({"dim": 3, "metric": "dot", "index": {"m": 1}}, 422),
        ({"dim": 3, "metric": "dot", "quantization": "q1"}, 422),
        ({"dim": 3, "metric": "dot", "ttl_ms": 0}, 422),
        ([], 422),
    ],
)
def test_a_collection_that_cannot_be_is_refused(client, body, status):
    name = next(NAMES)
    refused(client.post(f"/v1/vector/{name}", json=body), status, "invalid_argument")
    refused(client.get(f"/v1/vector/{name}"), 404, "not_found")


@pytest.mark.parametrize("name", [".x", "%2e%2e%2fx", "a%20b", "x" * 65, "%C3%A4"])
def test_a_name_that_is_no_directory_name_is_refused(client, name):
    answer = client.post(f"/v1/vector/{name}", json={"dim": 1, "metric": "dot"})
    refused(answer, 400, "invalid_argument", "collection")


def test_writes_answer_and_stream_what_they_did(client):
    made = Collection(client)
    added = made.ok("add", {"id": "a", "vector": [1, 0.1], "meta": {"n": 1.50}})
    assert added == {"ok": True, "offset": added["offset"]}
    refused(made.post("add", {"id": "a", "vector": [1, 2]}), 409, "already_exists", "'a'")
    made.upsert("a", 2, 3)
    assert made.get("a").json() == {
        "id": "a",
        "vector": [2, 3],
        "meta": None,
        "expires_at_ms": None,
    }
    made.ok("update", {"id": "a", "meta": {"n": 2}})
    updated = made.ok("update", {"id": "a", "vector": [4, 5], "meta": None})
    assert made.get("a").text.startswith('{"id":"a","vector":[4.0,5.0],"meta":{"n":2},')
    deleted = made.ok("delete", {"id": "a"})
    assert deleted == {"deleted": True, "offset": updated["offset"] + 1}
    refused(made.post("delete", {"id": "a"}), 404, "not_found", "'a'")
    refused(made.post("update", {"id": "a", "vector": [1, 2]}), 404, "not_found")
    refused(made.get("a"), 404, "not_found", "'a'")
    _, *events = made.events(6)
    assert [event["type"] for event in events] == [
        "vector_added",
        "vector_upserted",
        "vector_updated",
        "vector_updated",
        "vector_deleted",
    ]
    assert events[0]["offset"] == added["offset"]
    assert events[0]["data"] == {
        "collection": made.name,
        "id": "a",
        "vector": [1, 0.1],
        "meta": {"n": 1.5},
    }
    # The merged result, not what was sent.
    assert events[3]["data"]["meta"] == {"n": 2}
    assert events[4]["data"] == {"collection": made.name, "id": "a", "reason": "explicit"}


def test_the_stream_leaves_numbers_out_when_asked(client):
    made = Collection(client)
    made.upsert("a", 1, 2, meta={"job_id": "j"})
    _, event = made.events(2, vectors="false")
    assert event["data"] == {"collection": made.name, "id": "a", "meta": {"job_id": "j"}}
    (event,) = made.events(1, job_id="j")
    assert event["data"]["vector"] == [1, 2]
    refused(client.get("/v1/stream", params={"vectors": "no"}), 400, "invalid_argument", "vectors")


def test_every_form_of_a_vector_is_the_same_vector(client):
    made = Collection(client)
    raw = floats(0.1, -2.5)
    text = base64.b64encode(raw).decode()
    made.ok("upsert", {"id": "json", "vector": [0.1, -2.5], "meta": {"x": 1}})
    made.ok("upsert", {"id": "text", "vector": text, "meta": {"x": 1}})
    made.ok("upsert", {"id": "b64", "vector_b64": text, "meta": {"x": 1}})
    for id_, numbers in (("bin", raw), ("list", [0.1, -2.5])):
        packed = msgpack.packb({"id": id_, "vector": numbers, "meta": {"x": 1}})
        made.ok("upsert", packed, MSGPACK)
    made.ok("upsert", raw, OCTETS, id="octets", meta='{"x": 1}')
    items = [{"id": "b1", "vector": raw, "meta": {"x": 1}}]
    made.ok("upsert_batch", msgpack.packb({"items": items}), MSGPACK)
    head = json.dumps({"ids": ["b2", "b3"], "metas": [{"x": 1}, {"x": 1}]}).encode()
    made.ok("upsert_batch", head + b"\n" + raw + raw, OCTETS)
    expected = sorted(["json", "text", "b64", "bin", "list", "octets", "b1", "b2", "b3"])
    for id_ in expected:
        answer = made.get(id_).text.rstrip("\n")
        assert answer.endswith('"vector":[0.1,-2.5],"meta":{"x":1},"expires_at_ms":null}'), answer
    wanted = {"k": 9, "filters": {"x": 1}}
    for answer in (
        made.ok("search", {**wanted, "vector": [0.1, -2.5]}),
        made.ok("search", {**wanted, "vector_b64": text}),
        made.ok("search", {**wanted, "id": "json"}),
        made.ok("search", msgpack.packb({**wanted, "vector": raw}), MSGPACK),
        made.ok("search", raw, OCTETS, k=9, filters='{"x":1}'),
        made.ok("search_batch", {**wanted, "vectors": [[0.1, -2.5]]})["results"][0],
        made.ok("search_batch", raw, OCTETS, k=9)["results"][0],
    ):
        assert [hit["id"] for hit in answer["hits"]] == expected, "equal scores come by id"
        assert {hit["score"] for hit in answer["hits"]} == {0}


@pytest.mark.parametrize(
    ("vector", "status", "code"),
    [
        ([1], 400, "dim_mismatch"),
        ([1, 2, 3], 400, "dim_mismatch"),
        ([], 400, "dim_mismatch"),
        ([1, True], 422, "invalid_argument"),
        ([1, None], 422, "invalid_argument"),
        ([1, "2"], 422, "invalid_argument"),
        ([1, 1e39], 400, "invalid_argument"),
        (None, 422, "invalid_argument"),
        ("AAAA", 400, "invalid_argument"),
        ("not base64", 422, "invalid_argument"),
        (base64.b64encode(floats(1, float("nan"))).decode(), 400, "invalid_argument"),
        ({"1": 2}, 422, "invalid_argument"),
    ],
)
def test_a_vector_that_is_none_is_refused_everywhere(client, vector, status, code):
    made = Collection(client)
    for what in ("add", "upsert"):
        refused(made.post(what, {"id": "a", "vector": vector}), status, code, "vector")
    search = made.post("search", {"vector": vector, "k": 1})
    refused(search, 400 if vector is None else status, code, "vector")
    made.upsert("a", 1, 2)
    if vector is not None:
        refused(made.post("update", {"id": "a", "vector": vector}), status, code, "vector")
    assert made.get("a").json()["vector"] == [1, 2]


@pytest.mark.parametrize(
    ("media", "body"),
    [
        (JSON, b'{"id":"a","vector":[1,1e999]}'),
        (JSON, b'{"id":"a","vector":[1,NaN]}'),
        (MSGPACK, msgpack.packb({"id": "a", "vector": [1, float("inf")]})),
        (MSGPACK, msgpack.packb({"id": "a", "vector": floats(1, float("nan"))})),
        (MSGPACK, msgpack.packb({"id": "a", "vector": [1, 2], "meta": {"x": b"bytes"}})),
        (MSGPACK, b"\xc1"),
        (OCTETS, floats(1, float("inf"))),
        (OCTETS, b"12345"),
        # Their scores would not be finite.
        (JSON, b'{"id":"a","vector":[1,1.1e15]}'),
        (OCTETS, floats(1, -3e38)),
    ],
)
def test_numbers_that_have_no_place_in_a_vector_never_get_in(client, media, body):
    made = Collection(client)
    query = {"id": "a"} if media == OCTETS else {}
    refused(made.post("upsert", body, media, **query), 400, "invalid_argument")
    refused(made.get("a"), 404, "not_found")


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_scores_of_the_largest_numbers_are_finite(client, metric):
    made = Collection(client, metric=metric)
    made.ok("upsert", {"id": "a", "vector": [1e15, 1e15]})
    made.ok("upsert", {"id": "b", "vector": [-1e15, -1e15]})
    hits = made.ok("search", {"vector": [1e15, 1e15], "k": 2})["hits"]
    assert [hit["id"] for hit in hits] == ["a", "b"]


@pytest.mark.parametrize("numbers", [b"", floats(1)])
def test_a_raw_batch_without_its_numbers_is_refused(client, numbers):
    made = Collection(client)
    body = b'{"ids":["a","b"]}\n' + numbers
    refused(made.post("upsert_batch", body, OCTETS), 400, "invalid_argument", "2 vectors")


def test_metadata_has_a_limit_and_keeps_its_text(client):
    made = Collection(client)
    made.ok("upsert", b'{"id":"a","vector":[1,2],"meta":{"n": 1.10, "s": "\\u00e4"}}')
    assert '"meta":{"n":1.10,"s":"\\u00e4"}' in made.get("a").text
    refused(
        made.post("upsert", {"id": "b", "vector": [1, 2], "meta": {"s": "x" * 200}}),
        413,
        "payload_too_large",
        "meta",
    )
    for id_ in ("", "x" * 129):
        refused(made.post("upsert", {"id": id_, "vector": [1, 2]}), 400, "invalid_argument", "id")


def test_a_batch_answers_for_each_item(client):
    made = Collection(client)
    items = [
        {"id": "a", "vector": [1, 2]},
        {"id": "b", "vector": [1]},
        {"id": "", "vector": [1, 2]},
        {"id": "c", "vector": [1, 2], "meta": {"s": "x" * 200}},
        {"id": "a", "vector": [3, 4]},
    ]
    results = made.ok("upsert_batch", {"items": items})["results"]
    assert [(each["status"], each["id"]) for each in results] == [
        ("upserted", "a"),
        ("error", "b"),
        ("error", ""),
        ("error", "c"),
        ("upserted", "a"),
    ]
    assert [each["error"]["error"] for each in results[1:4]] == [
        "dim_mismatch",
        "invalid_argument",
        "payload_too_large",
    ]
    assert made.get("a").json()["vector"] == [3, 4], "the last of an id wins"
    results = made.ok("delete_batch", {"ids": ["a", "zz", "a"]})["results"]
    assert [each["status"] for each in results] == ["deleted", "error", "error"]
    assert results[1]["error"]["error"] == "not_found"
    for count in (0, 9):
        batch = {"items": [{"id": "a", "vector": [1, 2]}] * count}
        refused(made.post("upsert_batch", batch), 400, "invalid_argument", "MAX_VECTOR_BATCH")
        batch = {"ids": ["a"] * count}
        refused(made.post("delete_batch", batch), 400, "invalid_argument", "MAX_VECTOR_BATCH")
    refused(made.post("upsert_batch", {"items": [{"id": "a"}]}), 422, "invalid_argument", "items")
    nowhere = client.post("/v1/vector/nowhere/upsert_batch", json={"items": items})
    refused(nowhere, 404, "not_found", "nowhere")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no line",
        b"{}\n" + floats(1, 2),
        b'{"ids":[]}\n',
        b'{"ids":["a","b"]}\n' + floats(1, 2, 3),
        b'{"ids":["a"],"metas":[]}\n' + floats(1, 2),
        b'{"ids":["a"]}\n' + floats(1, float("nan")),
    ],
)
def test_a_raw_batch_that_does_not_add_up_is_refused(client, body):
    made = Collection(client)
    answer = made.post("upsert_batch", body, OCTETS)
    refused(answer, 422 if body.startswith(b"{}") else 400, "invalid_argument")
    assert made.ok("count", {})["count"] == 0


def test_a_body_over_the_limit_says_what_to_do(client):
    made = Collection(client)
    items = [{"id": str(n), "vector": [0.123456789] * 500} for n in range(8)]
    answer = made.post("upsert_batch", {"items": items})
    refused(answer, 413, "payload_too_large", "octet-stream", "smaller")


def test_delete_by_filter_wants_to_know_which(client):
    made = Collection(client)
    for number in range(4):
        made.upsert(f"v{number}", number, 0, meta={"n": number}, namespace=f"s{number % 2}")
    for everything in ({}, {"filters": {"must": []}}, {"filters": {"$or": [{"n": 1}, {}]}}):
        refused(made.post("delete_by_filter", everything), 400, "invalid_argument", '"all"')
    deleted = made.ok("delete_by_filter", {"filters": {"n": {"$gte": 2}}, "namespace": "s1"})
    assert deleted["deleted"] == 1
    assert made.ok("delete_by_filter", {"filters": {"n": 9}}) == {"deleted": 0, "offset": None}
    assert made.ids(vector=[0, 0]) == ["v0", "v1", "v2"]
    assert made.ok("delete_by_filter", {"all": True})["deleted"] == 3
    assert made.ids(vector=[0, 0]) == []


def test_a_repeated_write_is_answered_and_not_done_again(client):
    made = Collection(client)
    body = {"id": "a", "vector": [1, 2], "op_id": f"{made.name}-once"}
    first = made.ok("add", body)
    assert made.ok("add", body) == {**first, "repeated": True}
    items = {"items": [{**body, "op_id": f"{made.name}-b"}, {**body, "op_id": None}]}
    (once, _), (again, new) = (made.ok("upsert_batch", items)["results"] for _ in range(2))
    assert (again, "repeated" in new) == ({**once, "repeated": True}, False)


def test_bulk_takes_vectors_among_other_operations(client):
    made = Collection(client)
    text = base64.b64encode(floats(3, 4)).decode()
    operations = [
        {"op": "upsert", "collection": made.name, "id": "a", "vector": [1, 2], "meta": {"x": 1}},
        {"op": "upsert", "collection": made.name, "id": "b", "vector_b64": text},
        {"op": "put", "key": f"{made.name}:k", "value": 1},
        {"op": "upsert", "collection": made.name, "id": "c", "vector": [1]},
        {"op": "upsert", "collection": "nowhere", "id": "c", "vector": [1]},
        {"op": "vector_delete", "collection": made.name, "id": "a"},
        {"op": "vector_delete", "collection": made.name, "id": "a"},
    ]
    lines = b"".join(json.dumps(each).encode() + b"\n" for each in operations)
    answer = client.post("/v1/bulk", content=lines, headers={"content-type": NDJSON})
    results = [json.loads(line) for line in answer.text.splitlines()]
    codes = [each["error"]["error"] if "error" in each else "ok" for each in results]
    assert codes == ["ok", "ok", "ok", "dim_mismatch", "not_found", "ok", "not_found"]
    assert results[5]["deleted"] is True
    packed = msgpack.packb(
        {"op": "upsert", "collection": made.name, "id": "m", "vector": floats(5, 6)}
    ) + msgpack.packb({"op": "upsert", "collection": made.name, "id": "n", "vector": ["x", 6]})
    answer = client.post("/v1/bulk", content=packed, headers={"content-type": MSGPACK})
    results = [json.loads(line) for line in answer.text.splitlines()]
    assert [each["status"] for each in results] == ["ok", "error"]
    assert made.ids(vector=[3, 4]) == ["b", "m"]


def test_an_expired_vector_is_gone(client):
    made = Collection(client)
    made.upsert("a", 1, 2, ttl_ms=60_000)
    assert made.get("a").json()["expires_at_ms"] is not None
    made.upsert("b", 1, 2, ttl_ms=1)
    *_, event = made.events(4)
    assert (event["type"], event["data"]["id"], event["data"]["reason"]) == (
        "vector_deleted",
        "b",
        "ttl",
    )
    assert made.ids(vector=[1, 2]) == ["a"]


def test_metrics_count_vector_writes(client):
    def written():
        text = client.get("/v1/metrics").text
        (line,) = [each for each in text.splitlines() if each.startswith("vector_ops_total ")]
        return float(line.split()[1])

    made = Collection(client)
    before = written()
    made.upsert("a", 1, 2)
    assert written() == before + 1
    assert f'kissvdb_collection_vectors{{collection="{made.name}"}} 1.0' in (
        client.get("/v1/metrics").text
    )
