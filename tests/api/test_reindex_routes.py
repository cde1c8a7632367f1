"""POST /v1/vector/{c}/reindex over HTTP."""

import time

import httpx
import pytest

from kissvdb.config import Config, Search, Server, Storage
from kissvdb.testing import serve
from tests.api.embedding_service import DIM, service
from tests.api.vector_client import Collection, refused, stream
from tests.patience import PATIENCE_SECS

FAR = 48


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
        embedder=words.settings(),
        embedders={"far": words.settings("far", FAR)},
    )
    with serve(config) as server, httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as http:
        yield http


def texts(http, word="note"):
    here = Collection(http, dim=None, metric=None, embedder="default")
    items = [{"id": f"n{n}", "text": f"{word} {n}", "meta": {"n": n}} for n in range(5)]
    here.ok("upsert_batch", {"items": items})
    return here


def until(http, here, reached):
    deadline = time.monotonic() + PATIENCE_SECS
    while not reached(detail := http.get(here.url).json()):
        assert time.monotonic() < deadline, detail
        time.sleep(0.01)
    return detail


def test_a_collection_gets_another_embedder_while_it_serves(http, words):
    here = texts(http)
    assert http.get(here.url).json()["reindex"] is None
    words.may_answer.clear()
    answer = here.post("reindex", {"embedder": "far"})
    assert answer.status_code == 202, answer.text
    job = http.get(here.url).json()["reindex"]
    assert job == answer.json()
    assert (job["embedder"], job["state"], job["total"], job["error"]) == (
        "far",
        "running",
        5,
        None,
    )
    refused(here.post("reindex", {"embedder": "far"}), 409, "already_exists", "DELETE")
    listed = {each["collection"] for each in http.get("/v1/vector").json()["collections"]}
    assert here.name in listed
    assert not any("~" in each for each in listed)
    assert http.get(f"/v1/vector/~{here.name}").status_code == 400
    assert here.ids(text="note", mode="text") == [f"n{n}" for n in range(5)]
    words.may_answer.set()
    detail = until(http, here, lambda detail: detail["reindex"] is None)
    assert (detail["dim"], detail["embedder"]["name"], detail["count"]) == (FAR, "far", 5)
    assert here.ids(text="note 3", mode="vector")[0] == "n3"
    assert here.get("n3").json()["meta"] == {"n": 3}
    key = http.get(f"/v1/state/vector:{here.name}:manifest").json()
    assert (key["value"]["dim"], key["revision"]) == (FAR, 2)
    (event,) = stream(http, 1, types="vector_collection_reindexed", since=0)
    assert event["data"] == {
        "collection": here.name,
        "dim": FAR,
        "metric": "cosine",
        "embedder": "far",
        "embedder_model": detail["embedder"]["model"],
        "index": "hnsw",
    }


def test_a_job_is_ended_and_leaves_the_collection_as_it_was(http, words):
    # Others than above: those are in the embedder's cache.
    here = texts(http, "memo")
    words.broken = True
    assert here.post("reindex", {"embedder": "far"}).status_code == 202
    job = until(http, here, lambda detail: detail["reindex"]["state"] == "waiting")["reindex"]
    assert "503" in job["error"]
    ended = http.delete(f"{here.url}/reindex")
    assert ended.json()["ended"] is True
    assert http.delete(f"{here.url}/reindex").json() == {"ended": False, "offset": None}
    words.broken = False
    detail = http.get(here.url).json()
    assert (detail["dim"], detail["reindex"], detail["count"]) == (DIM, None, 5)


def test_what_cannot_be_done_is_refused_and_says_why(http):
    here = texts(http)
    refused(here.post("reindex", {"embedder": "nobody"}), 404, "not_found", "far")
    answer = here.post("reindex", {"embeder": "far"})
    refused(answer, 422, answer.json()["error"], "embedder")
    here.upsert("bare", *[1] * DIM)
    refused(here.post("reindex", {"embedder": "far"}), 409, "text_missing", "1 of", "text")
    refused(http.post("/v1/vector/none/reindex", json={"embedder": "far"}), 404, "not_found")
    refused(http.delete("/v1/vector/none/reindex"), 404, "not_found")


def test_a_collection_gets_another_index_and_keeps_its_vectors(http):
    here = texts(http)
    known = http.get(here.url).json()
    body = {"index": {"kind": "flat"}, "quantization": "q8"}
    answer = here.post("reindex", body)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["embedder"], job["model"], job["total"]) == (None, None, 5)
    assert (job["index"]["kind"], job["quantization"]) == ("flat", "q8")
    detail = until(http, here, lambda detail: detail["reindex"] is None)
    assert (detail["index"]["kind"], detail["quantization"]) == ("flat", "q8")
    assert (detail["count"], detail["manifest"]) == (5, known["manifest"])
    assert here.post("reindex", {"index": {"kind": "hnsw", "ef_search": 77}}).status_code == 202
    detail = until(http, here, lambda detail: detail["reindex"] is None)
    assert detail["index"] == {"kind": "hnsw", "m": 16, "ef_construction": 200, "ef_search": 77}
    assert detail["quantization"] == "q8"


def test_what_is_shown_of_an_index_can_be_asked_for_and_is_nothing_of_a_former_kind(http):
    here = texts(http)
    for name, asked, shown in (
        ("one", {"m": 24}, {"kind": "hnsw", "m": 24, "ef_construction": 200}),
        ("two", {"kind": "vamana"}, {"kind": "vamana", "ef_construction": 200}),
        ("three", {"kind": "ivf", "nprobe": 9}, {"kind": "ivf", "nprobe": 9}),
        ("four", {"kind": "hnsw"}, {"kind": "hnsw", "m": 16, "ef_construction": 200}),
    ):
        assert here.post("reindex", {"index": asked}).status_code == 202
        detail = until(http, here, lambda detail: detail["reindex"] is None)
        assert detail["index"] == shown
        body = {"dim": 3, "index": shown}
        assert http.post(f"/v1/vector/like-{name}", json=body).is_success


def test_what_no_index_can_be_is_refused(http):
    here = texts(http)
    refused(here.post("reindex", {}), 422, "invalid_argument", "index")
    refused(here.post("reindex", {"index": {"m": 3}}), 422, "invalid_argument", "body.index.m")
    refused(here.post("reindex", {"index": {"kidn": "flat"}}), 422, "invalid_argument", "kind")
    refused(here.post("reindex", {"quantization": "q2"}), 422, "invalid_argument", "quantization")
    refused(here.post("reindex", {"index": {"nprobe": 4}}), 422, "invalid_argument", "ivf", "hnsw")
    body = {"dim": 3, "index": {"kind": "flat", "ef_search": 9}}
    refused(http.post("/v1/vector/other", json=body), 422, "invalid_argument", "hnsw")
    assert http.get(here.url).json()["reindex"] is None
