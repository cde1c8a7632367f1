"""Texts of vectors over real HTTP, through both doors: written beside the numbers, and read."""

import json

import msgpack

from tests.api.vector_client import MSGPACK, NAMES, NDJSON, OCTETS, Collection, floats, refused

TEXT = "Ein Dämon für die Zeit 時"


def test_a_text_is_written_read_and_streamed_beside_its_vector(client):
    here = Collection(client)
    here.upsert("a", 1, 2, text=TEXT, meta={"n": 1})
    assert here.get("a").json() == {
        "id": "a",
        "vector": [1.0, 2.0],
        "meta": {"n": 1},
        "expires_at_ms": None,
        "text": TEXT,
    }
    here.upsert("b", 1, 2)
    assert "text" not in here.get("b").json()
    _, first, second = here.events(3)
    assert first["data"]["text"] == TEXT
    assert first["data"]["vector"] == [1.0, 2.0]
    assert "text" not in second["data"]
    (_, short) = here.events(2, vectors="false")
    assert short["data"] == {"collection": here.name, "id": "a", "meta": {"n": 1}, "text": TEXT}
    page = here.ok("scroll", {"include_text": True})["items"]
    assert page == [{"id": "a", "meta": None, "text": TEXT}, {"id": "b", "meta": None}]
    assert here.ok("scroll", {})["items"][0] == {"id": "a", "meta": None}
    hits = here.ok("search", {"vector": [1, 2], "include_text": True})["hits"]
    assert [hit.get("text") for hit in hits] == [TEXT, None]


def test_every_form_of_a_write_takes_a_text(client):
    here = Collection(client)
    here.ok("add", msgpack.packb({"id": "m", "vector": floats(1, 0), "text": "pack"}), MSGPACK)
    here.ok("upsert", floats(1, 0), OCTETS, id="r", text="raw words")
    line = json.dumps({"ids": ["x", "y"], "texts": ["ex", None]}).encode()
    here.ok("upsert_batch", line + b"\n" + floats(1, 0, 0, 1), OCTETS)
    here.ok("upsert_batch", {"items": [{"id": "i", "vector": [0, 1], "text": "item"}]})
    lines = {"op": "upsert", "collection": here.name, "id": "l", "vector": [0, 1], "text": "line"}
    answer = client.post(
        "/v1/bulk", content=json.dumps(lines), headers={"content-type": NDJSON}
    ).text
    assert '"status":"ok"' in answer
    texts = {id_: here.get(id_).json().get("text") for id_ in "mrxyil"}
    expected = {"m": "pack", "r": "raw words", "x": "ex", "y": None, "i": "item", "l": "line"}
    assert texts == expected


def test_an_update_keeps_changes_or_takes_away_the_text(client):
    here = Collection(client)
    here.upsert("a", 1, 2, text="one")
    here.ok("update", {"id": "a", "meta": {"n": 1}})
    assert here.get("a").json()["text"] == "one"
    here.ok("update", {"id": "a", "text": "two"})
    assert here.get("a").json() | {"expires_at_ms": 0} == {
        "id": "a",
        "vector": [1.0, 2.0],
        "meta": {"n": 1},
        "expires_at_ms": 0,
        "text": "two",
    }
    here.ok("update", {"id": "a", "text": ""})
    assert "text" not in here.get("a").json()
    here.upsert("a", 1, 2, text="three")
    here.upsert("a", 1, 2)
    assert "text" not in here.get("a").json()


def test_a_text_that_cannot_be_is_refused(client):
    here = Collection(client)
    alone = {"id": "a", "text": "words without a vector"}
    refused(here.post("upsert", alone), 400, "invalid_argument", here.name, "embedder")
    refused(here.post("add", {"id": "a"}), 422, "invalid_argument", "vector", "text")
    body = {"id": "a", "vector": [1, 2]}
    refused(here.post("add", body | {"text": ""}), 400, "invalid_argument", "body.text")
    refused(here.post("add", body | {"text": 7}), 422, "invalid_argument", "body.text")
    refused(
        here.post("add", b'{"id":"a","vector":[1,2],"text":"\\ud800"}'), 400, "invalid_argument"
    )
    refused(here.post("add", body | {"vector": [], "text": "a"}), 400, "dim_mismatch")
    raw = json.dumps({"ids": ["x", "y"], "texts": ["ex"]}).encode() + b"\n" + floats(1, 0, 0, 1)
    refused(here.post("upsert_batch", raw, OCTETS), 400, "invalid_argument", "1 texts")
    assert here.ok("count", {}) == {"count": 0}


def test_an_upsert_that_would_change_nothing_is_left_out_on_demand(client):
    here = Collection(client)
    same = {"id": "a", "vector": [1, 2], "text": "one", "meta": {"n": 1}, "if_changed": True}
    first = here.ok("upsert", same)
    assert "unchanged" not in first
    again = here.ok("upsert", same)
    assert again == {"ok": True, "offset": again["offset"], "unchanged": True}
    for change in ({"text": "two"}, {"meta": {"n": 2}}, {"vector": [2, 1]}, {"text": None}):
        assert "unchanged" not in here.ok("upsert", same | change), change
        here.upsert("a", 1, 2, text="one", meta={"n": 1})
    batch = [same, same | {"text": "two"}, same]
    results = here.ok("upsert_batch", {"items": batch})["results"]
    # The third changes what the second wrote.
    assert ["unchanged" in each for each in results] == [True, False, False]
    assert here.get("a").json()["text"] == "one"
    line = json.dumps({"op": "upsert", "collection": here.name, **same})
    answer = client.post("/v1/bulk", content=line, headers={"content-type": NDJSON}).json()
    assert answer["unchanged"] is True
    line = json.dumps({"op": "add", "collection": here.name, **same})
    answer = client.post("/v1/bulk", content=line, headers={"content-type": NDJSON}).json()
    assert "if_changed" in answer["error"]["message"]


def test_how_texts_are_searched_is_said_at_creation(client):
    name = next(NAMES)
    url = f"/v1/vector/{name}"
    bad = {"dim": 2, "text": {"language": "klingon"}}
    refused(client.post(url, json=bad), 400, "invalid_argument", "body.text.language")
    bad = {"dim": 2, "text": {"k1": -1}}
    refused(client.post(url, json=bad), 422, "invalid_argument", "body.text.k1")
    text = {"language": "spanish", "b": 0.5}
    assert client.post(url, json={"dim": 2, "text": text}).status_code == 200
    shown = client.get(url).json()["text"]
    assert shown == {"language": "spanish", "tokenizer": "words", "k1": shown["k1"], "b": 0.5}
    refused(
        client.post(f"/v1/vector/{next(NAMES)}", json={"embedder": "none-such"}),
        404,
        "not_found",
        "none-such",
    )
