"""A collection that is large enough for a graph, in a server process that may be killed."""

import json
import random
import time

import httpx
import numpy as np
import pytest

from tests.crash.process import server_process
from tests.patience import PATIENCE_SECS

ROWS, DIM = 3000, 32
SECONDS_MAX = 900.0
"""The kernels may have to be compiled first."""
NDJSON = "application/x-ndjson"
RAW = {"content-type": "application/octet-stream"}


def data(rows):
    """Clustered vectors, as real ones are."""
    rng = np.random.default_rng(7)
    centres = rng.standard_normal((40, DIM))
    return (centres[rng.integers(0, 40, rows)] + 0.5 * rng.standard_normal((rows, DIM))).astype(
        "<f4"
    )


def load(client, vectors, meta=None, namespace=None, kind="hnsw"):
    dim = vectors.shape[1]
    asked = {"dim": dim, "metric": "cosine", "index": {"kind": kind}}
    made = client.post("/v1/vector/c", json=asked)
    assert made.status_code == 200
    for first in range(0, len(vectors), 250):
        part = vectors[first : first + 250]
        head = {"ids": [str(row) for row in range(first, first + len(part))]}
        if meta is not None:
            head |= {"metas": [meta] * len(part), "namespace": namespace}
        body = json.dumps(head).encode() + b"\n" + part.tobytes()
        answer = client.post("/v1/vector/c/upsert_batch", content=body, headers=RAW)
        assert '"error"' not in answer.text


def wait_until(client, reached):
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        detail = client.get("/v1/vector/c").json()
        if reached(detail):
            return detail
        time.sleep(0.05)
    raise AssertionError(f"not in time: {detail}")


def recall(client, vectors, queries, k=10, **wishes):
    answer = client.post(
        "/v1/vector/c/search_batch",
        params={"k": k, **wishes},
        content=queries.tobytes(),
        headers=RAW,
    )
    lengths = np.linalg.norm(vectors, axis=1)
    best = np.argsort(-(queries @ vectors.T) / lengths, axis=1)[:, :k]
    found = [{int(hit["id"]) for hit in each["hits"]} for each in answer.json()["results"]]
    good = sum(len(mine & set(rows.tolist())) for mine, rows in zip(found, best, strict=True))
    return good / (k * len(queries))


@pytest.mark.parametrize(
    "kind", ["hnsw", *(pytest.param(each, marks=pytest.mark.slow) for each in ("ivf", "vamana"))]
)
def test_searches_use_an_index_that_outlives_the_process(tmp_path, kind):
    vectors = data(ROWS + 64)
    vectors, queries = vectors[:ROWS], vectors[ROWS:]
    with (
        server_process(tmp_path / "data") as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client,
    ):
        load(client, vectors, kind=kind)
        # At first everything is scanned, exactly.
        assert recall(client, vectors, queries, exact="true") == 1.0
        detail = wait_until(client, lambda detail: detail["tail"] < 600 and detail["segments"])
        assert detail["count"] == ROWS
        assert 0.8 <= detail["indexed"] <= 1 - detail["tail"] / ROWS
        assert recall(client, vectors, queries) >= 0.95
        body = {"id": "0", "k": 1, "explain": True}
        explained = client.post("/v1/vector/c/search", json=body).json()["explain"]
        assert explained["plan"] != "exact scan"
        assert client.post("/v1/snapshot").status_code == 200
        client.post("/v1/vector/c/delete", json={"id": "1"})
        server.kill()
        server.start()
        detail = client.get("/v1/vector/c").json()
        assert (detail["count"], detail["segments"]) == (ROWS - 1, 1), "the graph was not rebuilt"
        assert client.get("/v1/vector/c/get", params={"id": "1"}).status_code == 404
        wait_until(client, lambda detail: not detail["notes"])
        assert recall(client, vectors, queries) >= 0.94


@pytest.mark.slow
def test_a_load_does_not_get_far_ahead_of_its_index(tmp_path):
    vectors, most = data(40_000), 4096
    with (
        server_process(tmp_path / "data", "--set", f"search.tail_bytes_max={256 * most}") as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client,
    ):
        load(client, vectors[:ROWS])
        wait_until(client, lambda detail: not detail["notes"] and detail["tail"] < 256)
        tails = []
        for first in range(ROWS, len(vectors), 250):
            part = vectors[first : first + 250]
            head = {"ids": [str(row) for row in range(first, first + len(part))]}
            body = json.dumps(head).encode() + b"\n" + part.tobytes()
            answer = client.post("/v1/vector/c/upsert_batch", content=body, headers=RAW)
            assert answer.status_code == 200, answer.text
            tails.append(client.get("/v1/vector/c").json()["tail"])
        assert max(tails) <= most + 250
        lines = [
            {"op": "upsert", "collection": "c", "id": f"b{row}", "vector": vector.tolist()}
            for row, vector in enumerate(vectors[: 3 * most])
        ]
        sent = b"\n".join(json.dumps(line).encode() for line in lines)
        answer = client.post("/v1/bulk", content=sent, headers={"content-type": NDJSON})
        assert answer.text.count('"error"') == 0
        assert client.get("/v1/vector/c").json()["count"] == len(vectors) + len(lines)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ivf", "vamana"])
def test_an_index_that_is_killed_at_any_moment_is_one_of_all_rows(tmp_path, kind):
    chance = random.Random(5)
    vectors = data(ROWS + 64)
    vectors, queries = vectors[:ROWS], vectors[ROWS:]
    often = ("--set", "storage.snapshot_interval_secs=1")
    with (
        server_process(tmp_path / "data", *often) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client,
    ):
        load(client, vectors, kind=kind)
        for _ in range(5):
            until = time.monotonic() + 3 * chance.random()
            while time.monotonic() < until:
                # Written anew, in another place: the index grows.
                first = 250 * chance.randrange(ROWS // 250)
                part = vectors[first : first + 250]
                ids = [str(row) for row in range(first, first + len(part))]
                body = json.dumps({"ids": ids}).encode() + b"\n" + part.tobytes()
                client.post("/v1/vector/c/upsert_batch", content=body, headers=RAW)
            server.kill()
            server.start()
            # Lost answers: whatever was asked for is there.
            assert client.get("/v1/vector/c").json()["count"] == ROWS
            wait_until(client, lambda detail: not detail["notes"] and detail["tail"] < 600)
            assert recall(client, vectors, queries, exact="true") == 1.0
            assert recall(client, vectors, queries) >= 0.94
        assert client.get("/v1/vector/c").json()["damage"] is None


@pytest.mark.slow
def test_a_collection_whose_audit_finds_too_little_is_searched_by_a_finer_code(tmp_path):
    rng = np.random.default_rng(3)
    # Without any structure, so that codes of four bits cannot tell the nearest apart.
    vectors = rng.standard_normal((ROWS, DIM)).astype("<f4")
    demanding = ("search.audit_interval_secs=1", "search.recall_percent_min=100")
    settings = [word for each in demanding for word in ("--set", each)]
    with (
        server_process(tmp_path / "data", *settings) as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client,
    ):
        load(client, vectors)
        wait_until(client, lambda detail: detail["tail"] < 600 and detail["segments"])
        deadline = time.monotonic() + SECONDS_MAX
        precision = "q4"
        while precision == "q4" and time.monotonic() < deadline:
            for query in rng.standard_normal((20, DIM)).astype("<f4"):
                client.post(
                    "/v1/vector/c/search",
                    params={"k": 10},
                    content=query.tobytes(),
                    headers=RAW,
                )
            detail = client.get("/v1/vector/c").json()
            precision = detail["precision"]
        assert precision in ("q8", "none")
        # That of the finer code, not what the coarser one had.
        detail = wait_until(client, lambda detail: detail["recall"] is not None)
        assert detail["recall"] >= 0.95
        assert "kissvdb_collection_recall" in client.get("/v1/metrics").text


def near_duplicates(rows, dim):
    """Half of the vectors are one tight cluster; its rows, and its centre."""
    rng = np.random.default_rng(1)
    centre = rng.standard_normal(dim)
    tight = centre + 0.2 * rng.standard_normal((rows // 2, dim))
    vectors = np.concatenate([tight, rng.standard_normal((rows - rows // 2, dim))])
    order = rng.permutation(rows)
    return vectors[order].astype("<f4"), np.flatnonzero(order < rows // 2), centre.astype("<f4")


@pytest.mark.slow
def test_near_duplicates_are_found_in_the_tail_drained_and_after_a_restart(tmp_path):
    vectors, tight, centre = near_duplicates(ROWS, 64)
    queries = vectors[tight[:100]]

    def check(client):
        assert recall(client, vectors, queries) >= 0.97
        assert recall(client, vectors, queries, filters='{"t":1}') >= 0.97
        assert recall(client, vectors, queries, namespace="n") >= 0.97
        own = {"k": 1, "namespace": "n"}
        answer = client.post(
            "/v1/vector/c/search_batch", params=own, content=queries.tobytes(), headers=RAW
        )
        found = [each["hits"][0]["id"] for each in answer.json()["results"]]
        assert found == [str(row) for row in tight[:100]]
        ids = []
        for start in range(0, 200, 10):
            page = client.post(
                "/v1/vector/c/search",
                params={"k": 10, "offset": start},
                content=centre.tobytes(),
                headers=RAW,
            )
            ids += [hit["id"] for hit in page.json()["hits"]]
        assert len(set(ids)) == 200

    with (
        server_process(tmp_path / "data") as server,
        httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client,
    ):
        load(client, vectors, {"t": 1}, "n")
        check(client)
        wait_until(client, lambda detail: detail["tail"] < 256)
        assert client.get("/v1/vector/c").json()["precision"] == "q4"
        check(client)
        assert client.post("/v1/snapshot").status_code == 200
        server.kill()
        server.start()
        wait_until(client, lambda detail: detail["segments"] and not detail["notes"])
        check(client)
