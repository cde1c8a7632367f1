"""The programs of docs/guides/migration.md, against the real thing where it is installed."""

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from kissvdb.client import Client
from kissvdb.config import Config, Search, Server, Storage
from kissvdb.testing import serve
from tests.crash.process import free_port
from tests.patience import PATIENCE_SECS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "migration.md"
PROGRAMS = {
    name: re.search(rf"^## {name}$.*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL | re.M)[1]
    for name in ("Redis", "Chroma", "Qdrant")
}
REDIS = shutil.which("redis-server")
pytestmark = pytest.mark.slow


def needs(module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed here")


@pytest.fixture
def client():
    config = Config(
        server=Server(port=0), storage=Storage(memory=True), search=Search(compile=False)
    )
    with serve(config) as server, Client(server.url) as client:
        yield client


def migrated(name, client, **variables):
    """Run twice: the second time changes nothing."""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAMS[name]],
            env={**os.environ, "KISSVDB_URL": client.config.url, **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert ", 0 refused" in done.stdout, done.stdout
    return done.stdout


@contextmanager
def redis_server(folder):
    port = free_port()
    command = [REDIS, "--port", str(port), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE_SECS
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE_SECS)


def test_redis(client, tmp_path):
    needs("redis")
    if REDIS is None:
        pytest.skip("redis-server is not installed here")
    import redis

    with redis_server(tmp_path) as url:
        with closing(redis.Redis.from_url(url)) as source:
            source.set("greeting", "grüezi")
            source.set("session", "x", px=600_000)
            source.hset("user:1", mapping={"name": "Ada"})
            source.rpush("todo", "a", "b")
            source.sadd("tags", "b", "a")
            source.zadd("scores", {"ada": 2.5})
            source.xadd("log", {"step": "one"})
        migrated("Redis", client, REDIS_URL=url)
    found = {item.key: item.value for item in client.state.items()}
    assert found == {
        "greeting": "grüezi",
        "session": "x",
        "user:1": {"name": "Ada"},
        "todo": ["a", "b"],
        "tags": ["a", "b"],
        "scores": [["ada", 2.5]],
    }
    assert client.state.get("session").expires_at_ms is not None
    with client.stream.events(since=0, types=["redis"]) as stream:
        assert next(stream).data == {"step": "one"}
    # Both runs were in the log by then: the event is there once.
    assert client.sql.query("SELECT count(*) AS n FROM events WHERE type = 'redis'").rows == [
        {"n": 1}
    ]


def test_chroma(client, tmp_path):
    needs("chromadb")
    import chromadb

    source = chromadb.PersistentClient(str(tmp_path))
    books = source.create_collection("books", configuration={"hnsw": {"space": "cosine"}})
    books.add(
        ids=["solaris", "dune"],
        embeddings=[[1, 0, 0], [0, 1, 0]],
        documents=["An ocean that thinks", "A desert planet"],
        metadatas=[{"year": 1961}, {"year": 1965}],
    )
    migrated("Chroma", client, CHROMA_PATH=str(tmp_path))
    theirs = books.query(query_embeddings=[[0.9, 0.1, 0]], n_results=2)
    ours = client.vector.search("books", [0.9, 0.1, 0], include_text=True)
    assert [hit.id for hit in ours] == theirs["ids"][0]
    for hit, distance in zip(ours, theirs["distances"][0], strict=True):
        assert hit.score == pytest.approx(1 - distance, abs=1e-5)
    assert (ours.hits[0].text, ours.hits[0].meta) == ("An ocean that thinks", {"year": 1961})


def test_qdrant(client, tmp_path):
    needs("qdrant_client")
    from qdrant_client import QdrantClient, models

    with closing(QdrantClient(path=str(tmp_path))) as source:
        source.create_collection(
            "books", models.VectorParams(size=3, distance=models.Distance.COSINE)
        )
        points = [
            models.PointStruct(id=n, vector=vector, payload={"year": 1960 + n})
            for n, vector in ((1, [1, 0, 0]), (5, [0, 2, 0]))
        ]
        source.upsert("books", points)
        theirs = source.query_points("books", [0.9, 0.1, 0]).points
    migrated("Qdrant", client, QDRANT_URL=str(tmp_path))
    ours = client.vector.search("books", [0.9, 0.1, 0])
    assert [hit.id for hit in ours] == [str(point.id) for point in theirs]
    for hit, point in zip(ours, theirs, strict=True):
        assert hit.score == pytest.approx(point.score, abs=1e-5)
        assert hit.meta == point.payload
