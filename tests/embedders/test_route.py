"""GET /v1/embedders, and what one that is down means for the rest."""

import httpx

from kissvdb.config import Config, Embedder, Server, Storage
from kissvdb.testing import serve

FAR = Embedder(kind="openai", base_url="http://127.0.0.1:9/v1", dimensions=8, retries=0)


def test_an_embedder_that_is_down_is_said_and_stops_nothing_else():
    config = Config(server=Server(port=0), storage=Storage(memory=True), embedders={"far": FAR})
    with serve(config) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        listed = client.get("/v1/embedders").json()["embedders"]
        assert [(each["name"], each["kind"], each["dim"]) for each in listed] == [
            ("default", "local", 384),
            ("far", "openai", 8),
        ]
        assert listed[1]["available"]
        assert client.post("/v1/vector/notes", json={"embedder": "far"}).json()["dim"] == 8
        refused = client.post("/v1/vector/notes/add", json={"id": "a", "text": "hello"})
        assert refused.status_code == 503
        assert refused.json()["error"] == "embedder_unavailable"
        assert "ConnectError" in refused.json()["message"]
        assert refused.headers["retry-after"] == "5"
        far = client.get("/v1/embedders").json()["embedders"][1]
        assert (far["available"], far["embedded"], far["waiting"]) == (False, 0, 0)
        assert "ConnectError" in far["problem"]
        both = {"id": "a", "text": "hello", "vector": [1] * 8}
        assert client.post("/v1/vector/notes/add", json=both).status_code == 200
        found = client.post("/v1/vector/notes/search", json={"vector": [1] * 8, "k": 1}).json()
        assert found["hits"][0]["id"] == "a"
        wrong = client.post("/v1/vector/other", json={"embedder": "fra"})
        assert wrong.status_code == 404
        assert "configured: default, far" in wrong.json()["message"]
