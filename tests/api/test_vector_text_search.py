"""Searching vectors by their texts, by vectors that are made of texts, and by both."""

import json
import threading

import attrs
import httpx
import pytest

from kissvdb.api.vectors import search_requests
from kissvdb.config import Config, Limits, Search, Server, Storage
from kissvdb.core.text.query import parse
from kissvdb.testing import serve
from tests.api.embedding_service import DIM, service
from tests.api.vector_client import NAMES, NDJSON, Collection, refused
from tests.patience import PATIENCE_SECS

TEXTS = {
    "http": "A small HTTP server written in Python for tests",
    "proxy": "A caching HTTP proxy for the web",
    "game": "A game of chess with a graphical board",
    "chess": "Chess engine without a board, plays by itself",
    "edit": "A text editor that highlights Python",
}


@pytest.fixture(scope="module")
def words():
    with service() as running:
        yield running


@pytest.fixture(scope="module")
def http(words):
    config = Config(
        server=Server(port=0),
        storage=Storage(memory=True),
        search=Search(compile=False),
        limits=Limits(k_max=50),
        embedder=words.settings(),
    )
    with serve(config) as server, httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as http:
        yield http


class Texts(Collection):
    """A collection that embeds its texts."""

    def __init__(self, http, texts=TEXTS, **options):
        super().__init__(http, dim=None, metric=None, embedder="default", **options)
        if texts:
            items = [
                {"id": id_, "text": text, "meta": {"kind": id_[0], "n": n}}
                for n, (id_, text) in enumerate(texts.items())
            ]
            results = self.ok("upsert_batch", {"items": items})["results"]
            assert {each["status"] for each in results} == {"upserted"}

    def found(self, text, **more):
        return [hit["id"] for hit in self.ok("search", {"text": text, "k": 9, **more})["hits"]]


def test_a_collection_with_an_embedder_takes_its_dim_from_it(http):
    here = Texts(http, {})
    assert here.created.json() == {
        "collection": here.name,
        "dim": DIM,
        "metric": "cosine",
        "offset": here.created.json()["offset"],
        "embedder": "default",
    }
    detail = http.get(here.url).json()
    assert detail["embedder"]["name"] == "default"
    assert "words" in detail["embedder"]["model"]
    assert detail["manifest"]["embedder_model"] == detail["embedder"]["model"]
    for wrong in ({"dim": 7}, {"metric": "l2"}):
        answer = http.post(f"/v1/vector/{next(NAMES)}", json={"embedder": "default", **wrong})
        refused(answer, 400, "invalid_argument", next(iter(wrong)))
    agreed = {"embedder": "default", "dim": DIM, "metric": "cosine"}
    assert http.post(f"/v1/vector/{next(NAMES)}", json=agreed).status_code == 200


def test_texts_are_found_by_words_by_meaning_and_by_both(http):
    here = Texts(http)
    assert set(here.found("python", mode="text")) == {"http", "edit"}
    assert here.found("chess board", mode="text")[0] in ("game", "chess")
    assert here.found("chess", match="all", mode="text") == here.found("chess", mode="text")
    assert here.found("chess python", match="all", mode="text") == []
    assert set(here.found('"chess engine"', mode="text")) == {"chess"}
    assert set(here.found("chess -engine", mode="text")) == {"game"}
    by_vector = here.ok("search", {"text": TEXTS["proxy"], "mode": "vector", "k": 1})["hits"]
    assert by_vector[0]["id"] == "proxy"
    assert by_vector[0]["score"] == pytest.approx(1, abs=1e-6)
    # Without a mode: by both, so what only one side finds is there too.
    both = here.ok("search", {"text": "python server", "k": 9, "explain": True})
    assert both["explain"]["mode"] == "hybrid"
    assert len(both["hits"]) == 5
    assert both["hits"][0]["id"] == "http"
    parts = both["hits"][0]["parts"]
    assert parts["text"]["rank"] == 1
    assert parts["text"]["score"] > 0
    last = both["hits"][-1]["parts"]
    assert last["text"] == {"rank": None, "score": 0.0}
    # With the stored vector of another, or one's own, beside the words.
    assert here.found("chess", id="http", hybrid={"text": 0.0})[0] == "http"
    assert here.found("chess", id="http", hybrid={"text": 1.0})[0] in ("game", "chess")
    assert here.found("chess", vector=[0.5] * DIM, hybrid={"method": "rrf", "k": 1})


def test_filters_groups_pages_and_passages_go_with_words(http):
    here = Texts(http)
    few = here.ok("search", {"text": "a", "k": 3, "filters": {"kind": "g"}, "include_text": True})
    assert [(hit["id"], hit["text"]) for hit in few["hits"]] == [("game", TEXTS["game"])]
    assert few["exhausted"] is True
    assert "exhausted" not in here.ok("search", {"text": "chess", "k": 2})
    assert here.ok("search", {"text": "chess", "k": 3, "mode": "text"})["exhausted"] is True
    groups = here.ok("search", {"text": "a chess board", "group_by": "kind", "k": 9})["groups"]
    assert sorted(group["value"] for group in groups) == ["c", "e", "g", "h", "p"]
    whole = here.found("a python http")
    assert [here.found("a python http", k=2, offset=n) for n in (0, 2)] == [whole[:2], whole[2:4]]
    hit = here.ok("search", {"text": "chess", "mode": "text", "k": 1, "highlight": True})["hits"][0]
    (passage,) = hit["highlight"]
    start, end = passage["marks"][0]
    assert TEXTS[hit["id"]][start:end].lower() == "chess"
    assert "<mark>" in passage["text"]
    marked = {"pre": "[", "post": "]", "length": 0}
    hit = here.ok("search", {"text": "boards", "k": 1, "highlight": marked})["hits"][0]
    assert hit["highlight"][0]["text"].count("[board]") == 1


def test_a_word_that_no_text_has_stands_for_those_that_are_near(http):
    here = Texts(http)
    asked = {"text": "highlihgts", "mode": "text", "k": 3, "explain": True, "highlight": True}
    found = here.ok("search", asked)
    assert [hit["id"] for hit in found["hits"]] == ["edit"]
    assert found["explain"]["corrected"] == {"highlihgts": ["highlights"]}
    assert "<mark>highlights</mark>" in found["hits"][0]["highlight"][0]["text"]
    assert here.found("highlihgts", mode="text", typos="off") == []


def test_facets_count_what_passes_and_in_text_mode_what_matches(http):
    here = Texts(http)

    def counts(**search):
        facet = here.ok("search", {"k": 1, "facets": ["kind"], **search})["facets"]["kind"]
        assert facet["distinct"] == len(facet["values"])
        return {each["value"]: each["count"] for each in facet["values"]}

    assert counts(text="chess", mode="text") == {"g": 1, "c": 1}
    assert counts(text="chess") == dict.fromkeys("hpgce", 1)
    assert counts(vector=[1.0] * DIM, filters={"n": {"$gte": 3}}) == {"c": 1, "e": 1}
    assert counts(text="chess", mode="text", group_by="kind") == {"g": 1, "c": 1}
    refused(
        here.post("search", {"text": "a", "facets": {"kind": 0}}), 400, "invalid_argument", "facets"
    )


def test_queries_come_in_batches(http):
    here = Texts(http)
    body = {"texts": ["chess", "python"], "mode": "text", "k": 9}
    results = here.ok("search_batch", body)["results"]
    assert [[hit["id"] for hit in each["hits"]] for each in results] == [
        here.found("chess", mode="text"),
        here.found("python", mode="text"),
    ]
    results = here.ok("search_batch", {"texts": ["chess", "python"], "k": 9})["results"]
    assert [hit["id"] for hit in results[1]["hits"]] == here.found("python")
    vectors = [[1.0] * DIM] * 2
    results = here.ok("search_batch", {"texts": ["chess", "python"], "vectors": vectors, "k": 9})
    assert len(results["results"]) == 2
    refused(here.post("search_batch", {"k": 1}), 422, "invalid_argument", "vectors", "texts")
    few = here.post("search_batch", {"texts": ["a"], "vectors": vectors})
    refused(few, 400, "invalid_argument", "2 vectors", "1 texts")


def test_a_search_that_cannot_be_is_refused(http):
    here = Texts(http)
    plain = Collection(http, dim=2)
    plain.upsert("a", 1, 0, text="words")
    assert [hit["id"] for hit in plain.ok("search", {"text": "words"})["hits"]] == ["a"]
    hybrid = {"text": "words", "mode": "hybrid"}
    refused(plain.post("search", hybrid), 400, "invalid_argument", "embedder")
    for body, word in (
        ({}, "text"),
        ({"vector": [1, 0], "mode": "text"}, "mode"),
        ({"vector": [1, 0], "match": "all"}, "match"),
        ({"text": " "}, "body.text"),
        ({"text": "-chess"}, "body.text"),
        ({"text": "a*"}, "body.text"),
        ({"text": "x " * 9000}, "body.text"),
        ({"text": "a", "vector": [1], "id": "a"}, "either"),
    ):
        refused(plain.post("search", body), 400, "invalid_argument", word)
    for body, word in (
        ({"text": "a", "mode": "both"}, "mode"),
        ({"text": "a", "hybrid": {"text": 2}}, "hybrid.text"),
        ({"text": "a", "hybrid": {"methode": "sum"}}, "method"),
        ({"text": "a", "highlight": {"length": -1}}, "length"),
    ):
        refused(plain.post("search", body), 422, "invalid_argument", word)
    refused(here.post("search", {"text": "a", "vector": [1, 0]}), 400, "dim_mismatch")


def test_an_update_with_a_new_text_brings_a_new_vector(http):
    here = Texts(http)
    before = here.get("game").json()["vector"]
    here.ok("update", {"id": "game", "meta": {}})
    assert here.get("game").json()["vector"] == before
    here.ok("update", {"id": "game", "text": TEXTS["proxy"]})
    now = here.get("game").json()
    assert now["vector"] == here.get("proxy").json()["vector"] != before
    assert now["text"] == TEXTS["proxy"]


def test_an_operation_that_is_done_is_not_embedded_again(http, words):
    here = Texts(http, {})
    once = {"id": "a", "text": "only once embedded", "op_id": "op-1"}
    first = here.ok("upsert", once)
    count = len(words.texts)
    assert here.ok("upsert", once) == {**first, "repeated": True}
    assert len(words.texts) == count
    other = here.post("upsert", {**once, "text": "another text"})
    refused(other, 409, "op_id_reused")


def test_bulk_answers_line_by_line_and_goes_on_where_it_broke_off(http, words):
    here = Texts(http, {})
    lines = [
        {"op": "upsert", "collection": here.name, "id": str(n), "text": f"line {n}"}
        for n in range(300)
    ]

    def send(lines, **more):
        body = "\n".join(json.dumps({**line, **more}) for line in lines)
        answer = http.post("/v1/bulk", content=body, headers={"content-type": NDJSON})
        return [json.loads(line) for line in answer.text.splitlines()]

    first = send(lines[:200], if_changed=True)
    assert {each["status"] for each in first} == {"ok"}
    count = len(words.texts)
    again = send(lines, if_changed=True)
    assert [each.get("unchanged", False) for each in again] == [True] * 200 + [False] * 100
    assert len(words.texts) == count + 100
    assert here.ok("count", {}) == {"count": 300}
    assert here.found("217", mode="text") == ["217"]


def test_a_service_that_is_down_stops_what_needs_it_and_nothing_else(http, words):
    here = Texts(http)
    words.broken = True
    try:
        down = here.post("upsert", {"id": "new", "text": "not embedded yet"})
        refused(down, 503, "embedder_unavailable")
        assert "retry-after" in down.headers
        items = [
            {"id": "x", "text": "another one"},
            {"id": "y", "vector": [1.0] * DIM, "text": "brought its own"},
        ]
        results = here.ok("upsert_batch", {"items": items})["results"]
        assert results[0]["error"]["error"] == "embedder_unavailable"
        assert results[1]["status"] == "upserted"
        refused(here.post("search", {"text": "unheard of"}), 503, "embedder_unavailable")
        assert here.found("chess", mode="text")
        assert here.ok("search", {"vector": [1.0] * DIM})["hits"]
    finally:
        words.broken = False


def test_vectors_of_two_models_never_mix(tmp_path, words):
    config = Config(
        server=Server(port=0),
        storage=Storage(data_dir=str(tmp_path / "data")),
        search=Search(compile=False),
        embedder=words.settings(),
    )
    with serve(config) as server, httpx.Client(base_url=server.url) as http:
        here = Texts(http)
    other = attrs.evolve(config, embedder=words.settings(model="others"))
    with serve(other) as server, httpx.Client(base_url=server.url) as http:
        here.http = http
        for answer in (
            here.post("upsert", {"id": "new", "text": "of another model"}),
            here.post("search", {"text": "chess"}),
        ):
            refused(answer, 409, "embedder_mismatch", "words", "others", "collection")
        assert here.found("chess", mode="text")
        assert here.get("game").json()["text"] == TEXTS["game"]


def test_long_queries_are_read_off_the_loop(http, monkeypatch):
    here, threads = Texts(http), []

    def noting(text, options):
        threads.append(threading.current_thread())
        return parse(text, options)

    monkeypatch.setattr(search_requests, "parse_text", noting)
    long = "dogs " * 400
    here.found("dogs")
    here.found(long)
    here.ok("search_batch", {"texts": [long]})
    assert len(threads) == 3
    assert threads[0] not in threads[1:]
