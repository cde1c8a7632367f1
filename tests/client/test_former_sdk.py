"""The SDK of the former server works as it is: `rustkissvdb` of PyPI where it is installed, and the
requests that it makes, with what it takes from the answers, in any case."""

import httpx
import pytest

from kissvdb.config import Config, Server, Storage
from kissvdb.testing import serve

KEY = "dev"


@pytest.fixture(scope="module")
def url():
    # The former server wanted a key, and its SDK sends one.
    server = Server(port=0, api_key=KEY)
    with serve(Config(server=server, storage=Storage(memory=True))) as running:
        yield running.url


def use_keys(client):
    assert client.state.put("job:1", {"progress": 0}, ttl_ms=60_000)["revision"] == 1
    assert client.state.put("job:1", {"progress": 1}, if_revision=1)["key"] == "job:1"
    assert client.state.get("job:1")["value"] == {"progress": 1}
    client.state.put("job:a/b", 1)
    assert [item["key"] for item in client.state.list(prefix="job:")] == ["job:1", "job:a/b"]
    batch = client.state.batch_put([{"key": "x", "value": 1}, {"key": "", "value": 2}])
    assert [each["status"] for each in batch["results"]] == ["ok", "error"]
    assert client.state.delete("job:1") is True
    assert client.state.delete("job:1") is False


def use_vectors(client):
    vector = client.vector
    assert vector.create_collection("docs", 2)["dim"] == 2
    vector.upsert("docs", vector_id="a", vector=[1.0, 0.0], meta={"lang": "en"})
    batch = vector.upsert_batch("docs", [{"id": "b", "vector": [0.0, 1.0], "meta": {"lang": "es"}}])
    assert batch["results"][0]["status"] == "upserted"
    hits = vector.search("docs", [1.0, 0.0], k=5)["hits"]
    assert [(hit["id"], hit["meta"]["lang"]) for hit in hits] == [("a", "en"), ("b", "es")]
    assert hits[0]["score"] == pytest.approx(1.0)
    found = vector.search("docs", [1.0, 0.0], k=5, include_meta=False, filters={"lang": "es"})
    assert [(hit["id"], hit["meta"]) for hit in found["hits"]] == [("b", None)]
    assert vector.list()[0]["collection"] == "docs"
    assert vector.info("docs")["count"] == 2
    assert vector.delete("docs", "a") is True
    assert vector.delete_batch("docs", ["b"])["results"][0]["status"] == "deleted"


def use_documents_and_sql(client):
    assert client.doc.put("notes", "1", {"title": "x"})["revision"] == 1
    assert client.doc.get("notes", "1")["doc"] == {"title": "x"}
    assert [each["id"] for each in client.doc.find("notes", filter={"title": "x"})] == ["1"]
    assert client.doc.find("notes", limit=5)[0]["doc"] == {"title": "x"}
    assert client.doc.delete("notes", "1") is True
    assert client.sql.execute("CREATE TABLE t(a INTEGER, b TEXT)") >= 0
    assert client.sql.execute("INSERT INTO t VALUES (?, ?)", [1, "x"]) == 1
    assert client.sql.query("SELECT * FROM t WHERE a = ?", [1]) == [{"a": 1, "b": "x"}]


def drop(url):
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as http:
        http.delete("/v1/vector/docs")
        http.post("/v1/sql/exec", json={"sql": "DROP TABLE IF EXISTS t"})


def test_the_sdk_of_pypi_as_it_is(url):
    rustkissvdb = pytest.importorskip("rustkissvdb", reason="rustkissvdb of PyPI is not installed")
    drop(url)
    with rustkissvdb.Client(url, api_key=KEY) as client:
        use_keys(client)
        use_vectors(client)
        use_documents_and_sql(client)
        with pytest.raises(rustkissvdb.RustKissVDBError, match=r"already_exists - .+ already"):
            client.vector.create_collection("docs", 2)
        with pytest.raises(rustkissvdb.RustKissVDBError, match="not_found - "):
            client.state.get("nothing")
    with (
        rustkissvdb.Client(url) as nobody,
        pytest.raises(rustkissvdb.RustKissVDBError, match="unauthorized - "),
    ):
        nobody.state.list()


class Replay:
    """The requests of that SDK: its methods, paths and bodies, for the three functions above."""

    def __init__(self, http):
        self._http = http
        self.state = self.vector = self.doc = self.sql = self

    def ask(self, method, path, **more):
        answer = self._http.request(method, path, **more)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/json")
        return answer.json()


class Keys(Replay):
    def list(self, prefix):
        return self.ask("GET", "/v1/state", params={"prefix": prefix, "limit": 100})

    def get(self, key):
        return self.ask("GET", f"/v1/state/{key}")

    def put(self, key, value, **more):
        return self.ask("PUT", f"/v1/state/{key}", json={"value": value, **more})

    def delete(self, key):
        return self.ask("DELETE", f"/v1/state/{key}")["deleted"]

    def batch_put(self, operations):
        return self.ask("POST", "/v1/state/batch_put", json={"operations": operations})


class Vectors(Replay):
    def list(self):
        return self.ask("GET", "/v1/vector")["collections"]

    def info(self, collection):
        return self.ask("GET", f"/v1/vector/{collection}")

    def create_collection(self, name, dim, metric="cosine"):
        return self.ask("POST", f"/v1/vector/{name}", json={"dim": dim, "metric": metric})

    def upsert(self, name, *, vector_id, vector, meta):
        body = {"id": vector_id, "vector": vector, "meta": meta}
        return self.ask("POST", f"/v1/vector/{name}/upsert", json=body)

    def upsert_batch(self, name, items):
        return self.ask("POST", f"/v1/vector/{name}/upsert_batch", json={"items": items})

    def delete(self, name, id):
        return self.ask("POST", f"/v1/vector/{name}/delete", json={"id": id})["deleted"]

    def delete_batch(self, name, ids):
        return self.ask("POST", f"/v1/vector/{name}/delete_batch", json={"ids": ids})

    def search(self, name, vector, *, k, include_meta=True, **more):
        body = {"vector": vector, "k": k, "include_meta": include_meta, **more}
        return self.ask("POST", f"/v1/vector/{name}/search", json=body)


class DocumentsAndSql(Replay):
    def put(self, name, id, doc):
        return self.ask("PUT", f"/v1/doc/{name}/{id}", json=doc)

    def get(self, name, id):
        return self.ask("GET", f"/v1/doc/{name}/{id}")

    def delete(self, name, id):
        return self.ask("DELETE", f"/v1/doc/{name}/{id}")["deleted"]

    def find(self, name, filter=None, limit=20):
        body = {"filter": filter or {}, "limit": limit}
        return self.ask("POST", f"/v1/doc/{name}/find", json=body)["documents"]

    def query(self, sql, params=()):
        return self.ask("POST", "/v1/sql/query", json={"sql": sql, "params": list(params)})["rows"]

    def execute(self, sql, params=()):
        body = {"sql": sql, "params": list(params)}
        return self.ask("POST", "/v1/sql/exec", json=body)["rows_affected"]


def test_its_requests_are_answered_as_it_reads_them(url):
    drop(url)
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as http:
        use_keys(Keys(http))
        use_vectors(Vectors(http))
        use_documents_and_sql(DocumentsAndSql(http))
        again = http.post("/v1/vector/docs", json={"dim": 2, "metric": "cosine"})
        assert (again.status_code, again.json()["error"]) == (409, "already_exists")
        assert "already exists" in again.json()["message"]
        # Its stream: lines of event, id and data, which it splits at the first colon.
        params = {"since": 0, "types": "state_updated,state_deleted", "key_prefix": "job:"}
        lines = []
        with http.stream("GET", "/v1/stream", params=params) as answer:
            for line in answer.iter_lines():
                lines.append(line)
                if line.startswith("data:"):
                    break
        names = [line.split(":", 1)[0] for line in lines if line and not line.startswith(":")]
        assert names == ["event", "id", "data"]
