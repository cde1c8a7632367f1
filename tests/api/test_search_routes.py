"""/search and /search/ingest over real HTTP: documents in, the ones that answer a question out."""

import threading

import httpx
import pytest

from kissvdb.config import Config, Http, Limits, Search, Server, Storage
from kissvdb.testing import serve
from tests.api.embedding_service import DIM, service
from tests.api.vector_client import refused, stream
from tests.patience import PATIENCE_SECS


@pytest.fixture(scope="module")
def words():
    with service() as running:
        yield running


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "hypercorn"])
def server(request, words):
    config = Config(
        server=Server(port=0),
        storage=Storage(memory=True),
        http=Http(lane=request.param),
        search=Search(compile=False),
        limits=Limits(k_max=50, text_bytes_max=4000),
        embedder=words.settings(),
    )
    with serve(config) as running:
        yield running


@pytest.fixture
def http(server):
    with httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client:
        client.delete("/v1/vector/search")
        yield client


def ingest(http, id_, content, vector=None, chunk=None, **metadata):
    document = {"id": id_, "content": content, "metadata": metadata}
    if vector is not None:
        document["vector"] = vector
    answer = http.post("/search/ingest", json={"document": document, "chunk": chunk})
    assert answer.status_code == 200, answer.text
    assert answer.content == b""


def search(http, query, **more):
    answer = http.post("/search", json={"query": query, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(http, query, **more):
    return [each["document"]["id"] for each in search(http, query, **more)["results"]]


def test_the_seeds_clients_find_what_they_ingested(http):
    assert search(http, "TEST_VEC:1,0") == {
        "query": "TEST_VEC:1,0",
        "top_k": 10,
        "results": [],
        "exhausted": True,
    }
    more = {"filename": "a.md", "processed_at": 5, "version": "1", "document_id": "d"}
    ingest(http, 1, "north", [0, 1], category="faq", group_id=9, **more)
    ingest(http, 2, "east", [1, 0])
    answer = search(http, "TEST_VEC:1,0", top_k=2)
    assert answer == {
        "query": "TEST_VEC:1,0",
        "top_k": 2,
        "results": [
            {"score": 1.0, "document": {"id": 2, "content": "east", "metadata": {}}},
            {
                "score": 0.0,
                "document": {
                    "id": 1,
                    "content": "north",
                    "metadata": {**more, "category": "faq", "group_id": 9},
                },
            },
        ],
    }
    # There is no embedder for vectors of two numbers: words are looked for as words.
    assert ids(http, "north") == [1]
    detail = http.get("/v1/vector/search").json()
    assert (detail["dim"], detail["count"], detail["embedder"]) == (2, 2, None)


def test_what_cannot_be_is_refused_and_changes_nothing(http):
    ingest(http, 1, "north", [0, 1])
    document = {"id": 2, "content": "words", "vector": [1, 0]}

    def put(more=None, **change):
        return http.post("/search/ingest", json={"document": document | change, **(more or {})})

    refused(put(vector=[1, 0, 0]), 400, "dim_mismatch", "3 numbers", "2")
    refused(put(vector=[]), 400, "dim_mismatch")
    refused(put(vector=None), 400, "invalid_argument", "embedder")
    refused(put(id=2**32), 422, "invalid_argument", "document.id")
    refused(put(id=-1), 422, "invalid_argument", "document.id")
    refused(put(content="x" * 4001), 413, "payload_too_large", "chunk", "TEXT_BYTES_MAX")
    refused(put(metadata={"categori": "a"}), 422, "invalid_argument", "category")
    refused(put(chunk={}), 422, "invalid_argument", "chunk")
    refused(put({"chunk": {}}), 400, "invalid_argument", "vector")
    refused(put({"chunk": {"overlap": 150}}, vector=None), 400, "invalid_argument", "overlap")
    for body, status, word in (
        ({}, 422, "query"),
        ({"query": " "}, 400, "query"),
        ({"query": "a", "top_k": 0}, 400, "top_k"),
        ({"query": "a", "top_k": 51}, 400, "MAX_K"),
        ({"query": "a", "group_by": "color"}, 422, "group_by"),
        ({"query": "a", "filters": {"kategory": "x"}}, 422, "category"),
        ({"query": "a", "mode": "vector"}, 400, "embedder"),
        ({"query": "TEST_VEC:1,x"}, 400, "TEST_VEC"),
        ({"query": "TEST_VEC:1,0", "mode": "text"}, 400, "mode"),
    ):
        refused(http.post("/search", json=body), status, "invalid_argument", word)
    refused(http.post("/search", json={"query": "TEST_VEC:1"}), 400, "dim_mismatch")
    assert http.get("/v1/vector/search").json()["count"] == 1


def test_texts_are_embedded_and_found_by_both(http, words):
    ingest(http, 1, "how to open an account", category="faq", language="en")
    ingest(http, 2, "how to close the door", category="home", language="en", status="old")
    ingest(http, 3, "was heute zu tun ist", category="faq", language="de")
    assert http.get("/v1/vector/search").json()["embedder"]["name"] == "default"
    answer = search(http, "open account", explain=True, highlight=True)
    assert answer["mode"] == "hybrid"
    best = answer["results"][0]
    assert best["document"]["id"] == 1
    assert best["parts"]["text"]["rank"] == 1
    assert "<mark>account</mark>" in best["highlight"][0]["text"]
    assert set(ids(http, "open account")) == {1, 2, 3}
    assert ids(http, "open account", mode="text") == [1]
    assert ids(http, "how to close the door", mode="vector", top_k=1) == [2]
    assert ids(http, "how", filters={"category": "faq", "language": ["en", "fr"]}) == [1]
    assert set(ids(http, "how", filters={"category": ["faq", "home"]})) == {1, 2, 3}
    assert ids(http, "how", filters={"status": "old"}) == [2]
    assert search(http, "how", filters={"status": "none"})["exhausted"] is True
    # Vectors of the embedder's length may come from outside, too.
    ingest(http, 4, "brought along", [1.0] * DIM)
    words.broken = True
    try:
        down = search(http, "an unheard of account")
        assert (down["mode"], down["results"][0]["document"]["id"]) == ("text", 1)
        both = {"query": "an unheard of account", "mode": "hybrid"}
        refused(http.post("/search", json=both), 503, "embedder_unavailable")
        new = {"document": {"id": 5, "content": "not embedded"}}
        refused(http.post("/search/ingest", json=new), 503, "embedder_unavailable")
    finally:
        words.broken = False


def test_versions_and_groups(http):
    for number in range(40):
        # Forty versions of one document, then others that fit less and less.
        ingest(
            http, number, "v", [1, number / 100], group_id=1, processed_at=number, version=number
        )
    ingest(http, 50, "w", [1, 0.5], group_id=2, processed_at=1, category="x")
    ingest(http, 51, "w", [1, 0.6], group_id=2, category="y")
    ingest(http, 52, "alone", [1, 0.7], category="x")
    ingest(http, 53, "alone", [1, 0.8], category="x")
    north = "TEST_VEC:1,0"
    assert ids(http, north, top_k=3) == [0, 1, 2]
    latest = {"version_policy": "latest"}
    assert ids(http, north, top_k=4, filters=latest) == [39, 50, 52, 53]
    # The latest of those that pass.
    assert ids(http, north, filters={**latest, "category": "y"}) == [51]
    assert ids(http, north, top_k=2, filters={**latest, "category": ["x", "y"]}) == [50, 52]
    assert ids(http, north, top_k=5, group_by="group_id") == [0, 50, 52, 53]
    assert ids(http, north, top_k=5, group_by="group_id", group_limit=2) == [0, 1, 50, 51, 52]
    assert ids(http, north, top_k=3, group_by="group_id", group_limit=2) == [0, 1, 50]
    grouped = {"group_by": "category", "group_limit": 3, "filters": {"category": ["x", "y"]}}
    assert ids(http, north, top_k=9, **grouped) == [50, 52, 53, 51]
    both = search(http, north, group_by="group_id", filters=latest)
    assert [each["document"]["id"] for each in both["results"]] == [39, 50, 52, 53]
    assert both["exhausted"] is True


STORY = (
    "The keeper lit the lamp at dusk. Ships far out saw the light and turned away from the rocks. "
    "In winter the storms came, and the keeper counted the waves. "
    "Nobody ever found the brass telescope that was buried under the third step. "
    "In spring the birds returned to the tower, and the keeper painted the door blue."
)


def test_a_document_in_chunks_is_found_once_by_its_best_chunk(http):
    chunk = {"tokens": 20, "overlap": 4}
    ingest(http, 7, STORY, chunk=chunk, category="story")
    ingest(http, 8, "A telescope of glass", category="thing")
    found = search(http, "buried brass telescope", top_k=5, mode="text")["results"]
    assert [each["document"]["id"] for each in found] == [7, 8]
    document, piece = found[0]["document"], found[0]["chunk"]
    assert document["content"] == STORY[piece["start"] : piece["end"]]
    assert "telescope" in document["content"]
    assert document["metadata"] == {"category": "story"}
    assert "chunk" not in found[1]
    rows = http.get("/v1/vector/search").json()["count"]
    assert rows >= 4
    # Again and shorter: all chunks of before are gone.
    ingest(http, 7, "The keeper has left.")
    assert http.get("/v1/vector/search").json()["count"] == 2
    assert ids(http, "brass", mode="text") == []
    assert ids(http, "keeper", mode="text") == [7]


def test_a_document_is_never_seen_beside_its_former_self(http):
    chunk = {"tokens": 8, "overlap": 0}
    texts = {"old": "old " * 48, "new": "new " * 24}
    ingest(http, 1, texts["old"], chunk=chunk)
    seen, stop = [], threading.Event()

    def look():
        while not stop.is_set():
            page = http.post("/v1/vector/search/scroll", json={"include_text": True}).json()
            seen.append({word for each in page["items"] for word in each["text"].split()})

    reader = threading.Thread(target=look)
    reader.start()
    for n in range(12):
        ingest(http, 1, texts[("new", "old")[n % 2]], chunk=chunk)
    stop.set()
    reader.join()
    assert all(len(each) == 1 for each in seen), seen
    events = stream(http, 3, collection="search")
    assert events[0]["type"] == "vector_collection_created"
