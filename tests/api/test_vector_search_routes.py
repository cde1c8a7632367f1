"""Vector collections over real HTTP, through both doors: searching, counting, scrolling."""

import json
import struct

import httpx
import msgpack
import pytest

from kissvdb.config import Config, Http, Search, Server, Storage
from kissvdb.testing import serve
from tests.api.vector_client import MSGPACK, OCTETS, Collection, refused
from tests.patience import PATIENCE_SECS


def test_search_orders_pages_and_cuts(client):
    made = Collection(client, metric="cosine")
    for id_, numbers in {"up": (0, 1), "right": (1, 0), "none": (0, 0), "both": (1, 1)}.items():
        made.upsert(id_, *numbers, meta={"id": id_})
    answer = made.ok("search", {"vector": [0, 2], "k": 9})
    assert [(hit["id"], hit["meta"]) for hit in answer["hits"]] == [
        ("up", None),
        ("both", None),
        ("none", None),
        ("right", None),
    ]
    assert [hit["score"] for hit in answer["hits"]] == [1, 0.70710677, 0, 0]
    assert made.ids(vector=[0, 2], offset=1, k=2) == ["both", "none"]
    assert made.ids(vector=[0, 2], min_score=0.5) == ["up", "both"]
    assert made.ids(vector=[0, 2], exact=True, ef_search=100) == ["up", "both", "none", "right"]
    (hit,) = made.ok("search", {"id": "right", "k": 1, "include_meta": True})["hits"]
    assert (hit["id"], hit["meta"], "vector" in hit) == ("right", {"id": "right"}, False)
    (hit,) = made.ok("search", {"id": "both", "k": 1, "include_vector": True})["hits"]
    assert hit["vector"] == [1, 1]
    empty = Collection(client)
    assert empty.ok("search", {"vector": [1, 2], "k": 1}) == {"hits": []}


def test_search_results_say_at_which_offset_they_are_true(client):
    made = Collection(client)
    written = made.upsert("a", 1, 2)
    answer = made.post("search", {"vector": [1, 2], "k": 1})
    assert int(answer.headers["kissvdb-offset"]) >= written["offset"]


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"k": 0}, 400),
        ({"k": 51}, 400),
        ({"k": True}, 422),
        ({"k": "3"}, 422),
        ({"offset": -1}, 400),
        ({"offset": 10_001}, 400),
        ({"ef_search": 0}, 400),
        ({"min_score": "x"}, 422),
        ({"filters": []}, 400),
        ({"filters": {"a": {"$near": 1}}}, 400),
        ({"namespace": ""}, 400),
        ({"id": "a"}, 400),
        ({"group_limit": 0, "group_by": "a"}, 400),
        ({"group_limit": 2}, 400),
        ({"group_by": "a", "offset": 1}, 400),
        ({"group_by": ""}, 400),
        ({"vector_b64": ""}, 400),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(client, wish, status):
    made = Collection(client)
    body = {"vector": [1, 2], "k": 1, **wish}
    refused(made.post("search", body), status, "invalid_argument", *list(wish)[:1])


def test_k_is_ten_and_the_metric_cosine_unless_said_otherwise(client):
    made = Collection(client, metric=None)
    assert made.created.json()["metric"] == "cosine"
    assert client.get(made.url).json()["metric"] == "cosine"
    other = f"{made.url}-bare"
    assert client.post(other, json={"dim": 2}).json()["metric"] == "cosine"
    for number in range(12):
        made.upsert(f"v{number:02}", 1, number)
    for wish in ({}, {"k": None}):
        assert len(made.ok("search", {"vector": [1, 0], **wish})["hits"]) == 10
        (one,) = made.ok("search_batch", {"vectors": [[1, 0]], **wish})["results"]
        assert len(one["hits"]) == 10
    assert len(made.ok("search", struct.pack("<2f", 1, 0), OCTETS)["hits"]) == 10


@pytest.mark.parametrize("what", ["search", "search_batch", "count", "scroll", "delete_by_filter"])
def test_a_filter_over_the_limit_of_json_is_too_large(client, what):
    made = Collection(client)
    made.upsert("a", 1, 2)
    vectors = {"search": {"vector": [1, 2]}, "search_batch": {"vectors": [[1, 2]]}}.get(what, {})
    large = {"a": {"$in": list(range(100))}}
    answer = made.post(what, {**vectors, "filters": large})
    refused(answer, 413, "payload_too_large", "filters", "limits.json_bytes_max", "MAX_JSON_BYTES")
    packed = msgpack.packb({**vectors, "filters": large})
    refused(made.post(what, packed, MSGPACK), 413, "payload_too_large", "filters")
    # What is large is the body, not the filter.
    padded = json.dumps({**vectors, "filters": {"a": 1}}).encode() + b" " * 400
    assert made.post(what, padded).status_code == 200


def test_explain_tells_what_a_filter_does_not_mean(client):
    made = Collection(client)
    for number in range(3):
        made.upsert(f"v{number}", number, 0, meta={"year": 2020 + number, "tags": ["a", "b"]})
    made.upsert("text", 9, 0, meta={"year": "2021", "tags": "a"})

    def notes(**filters):
        body = {"vector": [0, 0], "filters": filters, "explain": True}
        return made.ok("search", body)["explain"]["notes"]

    (note,) = notes(year={"$gte": "2020"})
    assert note.startswith("year: ")
    assert "3 rows" in note
    assert "numbers" in note
    (note,) = notes(year={"$gte": 2020})
    assert "1 row " in note
    (note,) = notes(**{"$or": [{"tags": ["a", "b"]}, {"year": 1}]})
    assert note.startswith("tags: ")
    assert "$in" in note
    assert "$contains" in note
    assert notes(tags={"$contains": "a"}) == []
    assert notes(tags="a") == []
    assert made.ok("search", {"vector": [0, 0], "explain": True})["explain"]["notes"] == []


def test_filters_namespaces_and_groups_choose_among_the_vectors(client):
    made = Collection(client)
    for number in range(6):
        made.upsert(
            f"v{number}",
            number,
            0,
            meta={"n": number, "even": number % 2 == 0},
            namespace="low" if number < 3 else "high",
        )
    origin = {"vector": [0, 0]}
    assert made.ids(**origin, filters={"even": True}) == ["v0", "v2", "v4"]
    assert made.ids(**origin, filters={"n": {"$gte": 4}}) == ["v4", "v5"]
    assert made.ids(**origin, namespace="high") == ["v3", "v4", "v5"]
    assert made.ids(**origin, namespace="high", filters={"even": True}) == ["v4"]
    assert made.ids(**origin, namespace="none") == []
    groups = made.ok("search", {**origin, "k": 2, "group_by": "even", "group_limit": 2})["groups"]
    assert [(each["value"], [hit["id"] for hit in each["hits"]]) for each in groups] == [
        (True, ["v0", "v2"]),
        (False, ["v1", "v3"]),
    ]
    assert made.ok("count", {}) == {"count": 6}
    assert made.ok("count", {"filters": {"even": True}, "namespace": "low"}) == {"count": 2}
    assert made.http.post(f"{made.url}/count").json() == {"count": 6}
    results = made.ok("search_batch", {"vectors": [[0, 0], [9, 0]], "k": 1, "namespace": "low"})
    assert [each["hits"][0]["id"] for each in results["results"]] == ["v0", "v2"]
    refused(
        made.post("upsert", {"id": "a", "vector": [1, 2], "meta": 1, "namespace": "n"}),
        400,
        "invalid_argument",
        "meta",
    )
    for meta in (b'{"_namespace":1}', b'{"_namespace":null}', rb'{"\u005fnamespace":5}'):
        body = b'{"id":"a","vector":[1,2],"meta":%b}' % meta
        refused(made.post("upsert", body), 400, "invalid_argument", "_namespace")
    for meta in (b'{"_namespace":"low"}', rb'{"\u005fnamespace":"low"}', b'{"_namespace":null}'):
        body = b'{"id":"a","vector":[1,2],"namespace":"high","meta":%b}' % meta
        refused(made.post("upsert", body), 400, "invalid_argument", "_namespace")
    raw = made.post("search", struct.pack("<2f", 0, 0), OCTETS, k=9, namespace="")
    refused(raw, 400, "invalid_argument", "namespace")


def test_explain_tells_how_a_search_went(client):
    made = Collection(client)
    for number in range(4):
        made.upsert(str(number), number, 0, meta={"n": number})
    body = {"vector": [0, 0], "k": 2, "filters": {"n": {"$lt": 1}}, "explain": True}
    explained = made.ok("search", body)["explain"]
    assert explained["plan"] == "exact scan"
    assert (explained["rows"], explained["selectivity"]) == (4, 0.25)
    assert {"queue_us", "filter_us", "index_us", "tail_us", "order_us"} <= set(explained)


def test_a_search_is_streamed_only_when_it_asks_for_it(client):
    made = Collection(client)
    made.upsert("a", 1, 2)
    heard = []
    # Transient: it reaches who listens when it happens, so the listener is there first.
    with client.stream("GET", "/v1/stream", params={"collection": made.name}) as answer:
        lines = answer.iter_lines()
        assert next(lines) == ": ok"
        made.ok("search", {"vector": [1, 2], "k": 1})
        made.ok("search", {"vector": [1, 2], "k": 1, "emit": True})
        for line in lines:
            if line.startswith("data: "):
                heard.append(json.loads(line[6:]))
            if heard and heard[-1]["type"] == "vector_search":
                break
    assert [event["type"] for event in heard].count("vector_search") == 1
    assert heard[-1]["offset"] is None
    assert heard[-1]["data"]["hits"] == ["a"]


def test_scroll_reads_every_vector_once(client):
    made = Collection(client)
    for number in range(7):
        made.upsert(f"v{number}", number, 0, meta={"n": number})
    made.ok("delete", {"id": "v3"})
    seen, cursor = [], None
    while True:
        page = made.ok("scroll", {"limit": 2, "cursor": cursor, "include_meta": True})
        seen += [(item["id"], item["meta"]["n"]) for item in page["items"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert seen == [(f"v{number}", number) for number in (0, 1, 2, 4, 5, 6)]
    page = made.ok("scroll", {"filters": {"n": {"$gt": 4}}, "include_vector": True})
    assert [(item["id"], item["vector"]) for item in page["items"]] == [
        ("v5", [5, 0]),
        ("v6", [6, 0]),
    ]
    for bad in ({"limit": 0}, {"limit": 1001}, {"cursor": "%%%"}, {"cursor": "eA"}):
        refused(made.post("scroll", bad), 400, "invalid_argument")


def test_a_scroll_goes_on_behind_a_vacuum(client):
    made = Collection(client)
    for number in range(6):
        made.upsert(f"v{number}", number, 0)
    made.ok("delete_batch", {"ids": ["v0", "v1"]})
    page = made.ok("scroll", {"limit": 2})
    assert [item["id"] for item in page["items"]] == ["v2", "v3"]
    vacuumed = made.http.post(f"{made.url}/vacuum").json()
    assert vacuumed == {"ok": True, "removed": 2}
    rest = made.ok("scroll", {"limit": 9, "cursor": page["cursor"]})
    assert [item["id"] for item in rest["items"]] == ["v4", "v5"]


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "hypercorn"])
def test_an_answer_is_bounded_in_bytes(lane):
    config = Config(
        server=Server(port=0),
        storage=Storage(memory=True),
        http=Http(lane=lane),
        search=Search(compile=False),
    )
    with serve(config) as server, httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as http:
        made = Collection(http)
        for first in range(0, 150, 15):
            items = [
                {"id": f"v{n}", "vector": [n, 1], "meta": {"n": n, "text": f"{n}" + "x" * 60_000}}
                for n in range(first, first + 15)
            ]
            made.ok("upsert_batch", {"items": items})
        few = {"vectors": [[1, 1]] * 3, "k": 30, "include_meta": True}
        assert [len(each["hits"]) for each in made.ok("search_batch", few)["results"]] == [30] * 3
        one = {"vector": [1, 1], "k": 150}
        for wishes in (
            {"group_by": "n"},
            {"group_by": "n", "include_vector": True},
            {"include_meta": False},
        ):
            assert made.ok("search", {**one, **wishes})
        too_large = [
            ("search_batch", {"vectors": [[n, 1] for n in range(200)], "k": 150}),
            ("search_batch", {"vectors": [[1, 1], [2, 1]], "k": 80}),
            ("search", {**one, "group_by": "n"}),
            ("search", {**one, "group_by": "text", "include_meta": False}),
            ("search", one),
        ]
        for route, wishes in too_large:
            answer = made.post(route, {"include_meta": True, **wishes})
            assert (answer.status_code, answer.json()["error"]) == (413, "payload_too_large")
            assert "include_meta" in answer.json()["message"]


def test_pages_share_no_vector(client):
    made = Collection(client)
    for n in range(60):
        made.upsert(f"v{n:02}", n % 3, 1)
    pages = [made.ids(vector=[0, 1], k=5, offset=start) for start in range(0, 60, 5)]
    ids = [id_ for page in pages for id_ in page]
    assert ids == sorted(ids, key=lambda id_: (int(id_[1:]) % 3, id_))
