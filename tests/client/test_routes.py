"""Both clients have a method for every route, or there is a reason why not."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from kissvdb import errors
from kissvdb.api.frame.router import Router
from kissvdb.api.routes import PAGES, ROUTES
from kissvdb.client import Client, Config
from kissvdb.client.blocking.http import Http
from kissvdb.config import Config as ServerConfig
from kissvdb.config import Server, Storage
from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS

MODULE = Path(__file__).resolve().parents[2] / "kissvdb" / "web" / "client" / "kissvdb.js"
NODE = shutil.which("node")
WITHOUT = {
    **{f"{route.method} {route.path}": "a page or a file, for browsers" for route in PAGES},
    "GET /v1/events": "another name of GET /v1/stream",
    "POST /v1/vector/{collection}/map": "what the page draws",
    "POST /mcp": "agents speak it",
}
KEY = "the-server-s-own"


@pytest.fixture
def server(tmp_path):
    # With a directory: a server in memory has no backup.
    storage = Storage(data_dir=str(tmp_path / "data"))
    with serve(ServerConfig(server=Server(port=0, api_key=KEY), storage=storage)) as running:
        yield running


def templates(asked):
    """The routes of the table that these requests were."""
    router = Router((route.method, route.path, f"{route.method} {route.path}") for route in ROUTES)
    return {router.find(*each.split(" ", 1))[0] for each in asked}


def left(asked):
    table = {f"{route.method} {route.path}" for route in ROUTES}
    assert set(WITHOUT) <= table, "a reason for a route that is no more"
    called = templates(asked)
    assert not called & set(WITHOUT), "a reason for a route that is called"
    return table - called - set(WITHOUT)


def use_state_and_vectors(client):
    client.state.put("k", 1)
    results = client.state.put_batch([{"key": "n", "value": None}, {"key": "", "value": 1}])
    assert [each["status"] for each in results] == ["ok", "error"]
    client.state.get("k")
    client.state.patch("k", {"a": 1})
    list(client.state.items())
    client.state.tree("a:")
    client.state.delete("k")
    client.events.publish("log", 1)
    vector = client.vector
    vector.create("v", 2, "dot")
    vector.collections()
    vector.info("v")
    vector.upsert("v", "a", [1, 0], {"x": 1})
    vector.add("v", "b", [0, 1])
    vector.update("v", "b", meta={"x": 2})
    vector.upsert_batch("v", [{"id": "c", "vector": [1, 1]}])
    vector.get("v", "a")
    vector.search("v", [1, 0], k=1)
    vector.search_batch("v", [[1, 0]], k=1)
    vector.count("v", {"x": 1})
    assert [each.id for each in vector.all("v", limit=1)] == ["a", "b", "c"]
    vector.delete("v", "a")
    assert [each["status"] for each in vector.delete_batch("v", ["b", "b"])] == ["deleted", "error"]
    vector.delete_by_filter("v", {"x": 9})
    vector.vacuum("v")
    with pytest.raises(errors.KissError):
        vector.reindex("v", "none")
    assert vector.reindex("v", index={"m": 8})["index"]["m"] == 8
    vector.end_reindex("v")
    vector.upsert("v", "t", [1, 0])
    assert vector.tune("v", 0.9)["effort"] is None
    assert not vector.diskann_status("v")["available"]
    with pytest.raises(errors.KissError):
        # It waits for compiled code, if it is not refused.
        vector.diskann_build("v", max_degree="many")
    with pytest.raises(errors.KissError):
        vector.diskann_tune("v", search_list_size=99)
    vector.drop("v")


def use_documents_and_sql(client):
    client.doc.put("d", "1", {"a": "tide"})
    assert client.doc.put_batch("d", [{"id": "2", "doc": {}}])[0]["revision"] == 1
    client.doc.get("d", "1")
    client.doc.patch("d", "1", {"b": 1})
    list(client.doc.all("d"))
    client.doc.search("d", "tide")
    client.doc.collections()
    client.doc.info("d")
    assert client.doc.configure("d", text={"default": {"language": "german"}})["collection"] == "d"
    client.doc.vacuum("d")
    client.doc.delete("d", "1")
    assert client.doc.delete_batch("d", ["2"])[0]["deleted"]
    client.doc.delete_by_filter("d", {"a": 1})
    client.doc.drop("d")
    client.sql.exec("CREATE TABLE t(x)")
    client.sql.query("SELECT * FROM t")
    client.sql.batch([("INSERT INTO t VALUES (?)", [1])])
    client.sql.schema()
    client.batch([{"op": "put", "key": "m", "value": 1}])
    client.bulk([{"op": "put", "key": "m", "value": 1}])
    client.ingest({"id": 1, "vector": [1.0, 0.0], "content": "harbour", "metadata": {}})
    client.search("TEST_VEC:1,0", mode="vector")


def use_what_admins_do(client, url, path):
    assert (client.keys.me().role, client.keys.me().protected) == ("admin", True)
    made = client.keys.issue("job", role="write", scopes={"keys": ["a:*"]}, ttl_ms=60_000)
    assert made.key not in repr(made)
    with Client(url, made.key) as other:
        other.state.put("a:1", 1)
        with pytest.raises(errors.Forbidden):
            other.state.put("b:1", 1)
        again = client.keys.rotate(made.id, grace_ms=0)
        with pytest.raises(errors.Unauthorized):
            other.state.put("a:1", 1)
    assert again.key != made.key
    (listed,) = client.keys.list()
    assert (listed.id, listed.role, listed.scopes["keys"]) == (made.id, "write", ["a:*"])
    assert client.keys.revoke(made.id)
    assert not client.keys.revoke(made.id)
    assert client.admin.snapshot() >= made.offset
    assert "# TYPE" in client.admin.metrics()
    client.admin.embedders()
    client.admin.stats()
    with path.open("wb") as file:
        for piece in client.admin.backup():
            file.write(piece)


def test_every_route_has_a_method_in_python(server, tmp_path, monkeypatch):
    asked = set()

    def noting(method):
        def call(http, call, *arguments, **named):
            asked.add(f"{call.method} {call.path}")
            return method(http, call, *arguments, **named)

        return call

    monkeypatch.setattr(Http, "call", noting(Http.call))
    monkeypatch.setattr(Http, "open", noting(Http.open))
    with Client(config=Config(url=server.url, key=KEY)) as client:
        assert client.health()
        assert client.ready()["ready"]
        use_state_and_vectors(client)
        use_documents_and_sql(client)
        use_what_admins_do(client, server.url, tmp_path / "copy.tar")
        with client.stream.events() as stream:
            next(stream)
    assert left(asked) == set()
    import tarfile

    with tarfile.open(tmp_path / "copy.tar") as copy:
        assert copy.getnames()


@pytest.mark.skipif(NODE is None, reason="no Node here")
def test_every_route_has_a_method_in_javascript(server):
    program = Path(__file__).with_name("routes.mjs")
    done = subprocess.run(
        [NODE, program, MODULE.as_uri(), server.url, KEY],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert left(json.loads(done.stdout)) == set()
