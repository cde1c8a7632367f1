"""A collection in a plane, over real HTTP."""

import pytest

from tests.api.vector_client import MSGPACK, Collection, refused


def filled(client, count=30):
    made = Collection(client, dim=3)
    for n in range(count):
        kind = "even" if n % 2 == 0 else ["odd", "of", "them"]
        made.upsert(f"v{n}", 10 * n, n % 2, 0, meta={"kind": kind, "n": n, "deep": {"er": n % 3}})
    return made


def test_a_map_has_every_point_once_with_its_value(client):
    made = filled(client)
    answer = made.post("map", {"field": "kind"})
    found = answer.json()
    assert int(answer.headers["kissvdb-offset"]) == found["offset"] > 30
    assert found["passing"] == 30
    assert sorted(each["id"] for each in found["points"]) == sorted(f"v{n}" for n in range(30))
    assert {each["value"] for each in found["points"]} == {"even", "odd"}
    along, across = found["explained"]
    assert along > 0.99
    assert 0 <= across < 0.01
    places = {each["id"]: each["x"] for each in found["points"]}
    assert places["v29"] - places["v0"] == pytest.approx(290, rel=1e-3)
    assert made.ok("map", b"") == made.ok("map", {})
    assert "value" not in made.ok("map", {})["points"][0]


def test_a_map_is_of_what_passes_and_at_most_a_sample(client):
    made = filled(client)
    some = made.ok("map", {"filters": {"n": {"$lt": 9}}, "field": "deep.er"})
    assert some["passing"] == 9
    assert [each["value"] for each in some["points"]] == [n % 3 for n in range(9)]
    drawn = made.ok("map", {"sample": 4, "field": "deep"})
    assert (drawn["passing"], len(drawn["points"])) == (30, 4)
    assert all("value" not in each for each in drawn["points"])
    assert made.ok("map", {"namespace": "nobody"})["points"] == []
    raw = b"\x81\xa6sample\x02"
    assert len(made.ok("map", raw, MSGPACK)["points"]) == 2
    empty = Collection(client, dim=5).ok("map", {})
    assert empty["points"] == []
    assert empty["explained"] == [0, 0]


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"sample": 0}, 400, "5000"),
        ({"sample": 5001}, 400, "5000"),
        ({"sample": "9"}, 422, "sample"),
        ({"field": ""}, 400, "field"),
        ({"fields": "a"}, 422, "field"),
        ({"namespace": ""}, 400, "namespace"),
        ({"filters": {"a": {"$near": 1}}}, 400, "$near"),
    ],
)
def test_a_map_that_cannot_be_is_refused(client, body, status, word):
    answer = filled(client, 2).post("map", body)
    assert (answer.status_code, word in answer.text) == (status, True), answer.text


def test_a_map_of_no_collection(client):
    refused(client.post("/v1/vector/nothing-here/map", json={}), 404, "not_found")
