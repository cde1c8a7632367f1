"""The way from one model to another that docs/embedders.md shows."""

import importlib.util
from pathlib import Path

import httpx
import trio

from kissvdb.config import Config, Embedder, Server, Storage
from kissvdb.testing import serve
from tests.embedders.letters import DIM
from tests.embedders.service import Service

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "another_model.py"


async def test_texts_are_copied_and_embedded_by_the_other_model_once(nursery):
    service = Service()
    await nursery.start(service.run)
    url, memory = service.url, Storage(memory=True)
    names = {
        name: Embedder(kind="openai", base_url=url, model=name, dimensions=DIM)
        for name in ("one", "two")
    }
    config = Config(server=Server(port=0), storage=memory, embedders=names)
    with serve(config) as server:
        await trio.to_thread.run_sync(copied, server.url)
    asked = [body["input"] for *_, body in service.requests if body["model"] == "two"]
    assert sorted(text for texts in asked for text in texts) == sorted(f"{n}abc" for n in range(99))


def copied(url):
    spec = importlib.util.spec_from_file_location("another_model", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    with httpx.Client(base_url=url, timeout=60) as client:
        for name in ("one", "two"):
            client.post(f"/v1/vector/{name}", json={"embedder": name}).raise_for_status()
        items = [{"id": str(n), "text": f"{n}abc", "meta": {"n": n}} for n in range(99)]
        client.post("/v1/vector/one/upsert_batch", json={"items": items}).raise_for_status()
        assert example.copy(url, "one", "two") == 99
        assert example.copy(url, "one", "two") == 99
        found = client.get("/v1/vector/two/get", params={"id": "7"}).json()
        assert (found["text"], found["meta"]) == ("7abc", {"n": 7})
        assert client.get("/v1/vector/two").json()["count"] == 99
