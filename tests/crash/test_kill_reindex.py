"""kill -9 while a collection gets another embedder: it has the one or the other, and all texts."""

import random
import time

import httpx
import pytest

from tests.api.embedding_service import service
from tests.crash.process import ServerProcess
from tests.patience import PATIENCE_SECS

DIMS = {"few": 8, "many": 12}
ROWS = 400

CONFIG = """
[embedders.{name}]
kind = "openai"
model = "{name}"
base_url = "{url}"
dimensions = {dim}
retries = 0
cache_bytes_max = 0
"""


def kill_under_reindex(tmp_path, rounds, seed):
    chance = random.Random(seed)
    with service() as words:
        words.dims = DIMS
        config = tmp_path / "config.toml"
        config.write_text(
            "".join(CONFIG.format(name=name, url=words.url, dim=DIMS[name]) for name in DIMS)
        )
        settings = ("--config", str(config), "--set", "search.compile=false")
        server = ServerProcess(
            tmp_path / "data", *settings, "--set", "storage.snapshot_interval_secs=1"
        )
        server.start()
        try:
            with httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client:
                made = client.post("/v1/vector/c", json={"embedder": "few"})
                assert made.status_code == 200, made.text
                known = {f"v{n}": f"text {n}" for n in range(ROWS)}
                items = [{"id": id_, "text": text} for id_, text in known.items()]
                for part in (items[: ROWS // 2], items[ROWS // 2 :]):
                    answer = client.post("/v1/vector/c/upsert_batch", json={"items": part})
                    assert answer.status_code == 200, answer.text
            for number in range(rounds):
                one_round(server, chance, known, number)
        finally:
            server.kill()


def one_round(server, chance, known, number):
    target = ("many", "few")[number % 2]
    with httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client:
        answer = client.post("/v1/vector/c/reindex", json={"embedder": target})
        assert answer.status_code == 202, answer.text
        until = time.monotonic() + chance.random() * 0.6
        while time.monotonic() < until:
            id_, text = f"v{chance.randrange(ROWS)}", f"text {chance.random()}"
            sent = client.post("/v1/vector/c/upsert", json={"id": id_, "text": text})
            if sent.status_code == 200:
                known[id_] = text
        server.kill()
    server.start()
    with httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client:
        assert detail(client)["embedder"]["name"] in DIMS
        deadline = time.monotonic() + PATIENCE_SECS
        while detail(client)["reindex"] is not None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        found = detail(client)
        assert (found["embedder"]["name"], found["dim"]) == (target, DIMS[target])
        wanted = {"limit": ROWS, "include_vector": True, "include_text": True}
        rows = client.post("/v1/vector/c/scroll", json=wanted).json()["items"]
        assert {row["id"]: row["text"] for row in rows} == known
        assert {len(row["vector"]) for row in rows} == {DIMS[target]}


def detail(client):
    return client.get("/v1/vector/c").json()


def test_a_collection_is_whole_whenever_it_is_killed(tmp_path):
    kill_under_reindex(tmp_path, rounds=1, seed=1)


INDEXES = (
    {"index": {"kind": "flat"}},
    {"index": {"kind": "hnsw", "m": 24}, "quantization": "q8"},
    {"index": {"ef_construction": 64}},
)


def kill_under_another_index(tmp_path, rounds, seed):
    chance = random.Random(seed)
    settings = ("--set", "storage.snapshot_interval_secs=1", "--set", "search.compile=false")
    server = ServerProcess(tmp_path / "data", *settings)
    server.start()
    try:
        with httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client:
            client.post("/v1/vector/c", json={"dim": 4}).raise_for_status()
            known = {f"v{n}": [n, 1, 2, 3] for n in range(ROWS)}
            items = [{"id": id_, "vector": vector} for id_, vector in known.items()]
            for part in (items[: ROWS // 2], items[ROWS // 2 :]):
                client.post("/v1/vector/c/upsert_batch", json={"items": part}).raise_for_status()
        for number in range(rounds):
            index_round(server, chance, known, INDEXES[number % len(INDEXES)])
    finally:
        server.kill()


def index_round(server, chance, known, wanted):
    with httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client:
        answer = client.post("/v1/vector/c/reindex", json=wanted)
        assert answer.status_code == 202, answer.text
        target = {name: answer.json()[name] for name in ("index", "quantization")}
        until = time.monotonic() + chance.random() * 0.8
        while time.monotonic() < until:
            id_, vector = f"v{chance.randrange(ROWS)}", [chance.randrange(1000), 1, 2, 3]
            client.post("/v1/vector/c/upsert", json={"id": id_, "vector": vector})
            known[id_] = vector
        server.kill()
    server.start()
    with httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as client:
        deadline = time.monotonic() + PATIENCE_SECS
        while detail(client)["reindex"] is not None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        found = detail(client)
        assert {name: found[name] for name in target} == target
        page = {"limit": ROWS, "include_vector": True}
        rows = client.post("/v1/vector/c/scroll", json=page).json()["items"]
        assert {row["id"]: row["vector"] for row in rows} == known


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_collection_that_gets_another_index_is_whole_whenever_it_is_killed(tmp_path, seed):
    kill_under_another_index(tmp_path, rounds=12, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_collection_is_whole_in_many_rounds(tmp_path, seed):
    kill_under_reindex(tmp_path, rounds=20, seed=seed)
