"""`kissvdb import` and `export`: what goes into a file comes out of it."""

import io
import json
import subprocess
import sys

import msgspec
import numpy as np
import pytest

from kissvdb.cli import main
from kissvdb.client import Client
from kissvdb.testing import serve

VALUES = {
    "f:text": "añb 😀 \u2028 line\nbreak \r tab\t quote\" comma, 'x'",
    "f:like-json": ["1", "1.10", "null", '"quoted"', "[1]", "", "true"],
    "f:null": None,
    "f:nested": {"a": [1, {"b": None}], "é": {"": []}},
    "f:big": 2**70,
    "f:least": -(2**63),
    "f:float": 0.1,
    "f:whole": 1.0,
    "f:true": True,
    "f:empty": "",
    "f:number-text": "007",
}
# Every kind of cell, and fields that are not in all of them.
DOCS = {
    "1": {"id": "1", "title": "Tide, tables", "year": 1987, "price": 1.5, "open": True},
    "2": {"id": "2", "title": "1987", "year": 2**65, "price": 2.25, "note": None},
    "3": {"id": "3", "title": "", "year": -1, "price": 1e300, "tags": ["a", {"b": 1}]},
    "4": {"id": "4", "title": "añ\u2028o\r\n😀", "open": False, "mixed": "7"},
    "5": {"id": "5", "mixed": 7, "vector": [0.5, 0.25]},
}


@pytest.fixture(scope="module")
def client():
    with serve() as running, Client(running.url) as client:
        yield client


@pytest.fixture
def run(capfdbinary, client):
    def run(*argv, code=0):
        found = main([argv[0], "--url", client.config.url, *map(str, argv[1:])])
        out, err = capfdbinary.readouterr()
        assert found == code, err
        return out, err.decode()

    return run


def keys(client):
    return {item.key: item.value for item in client.state.items("f:")}


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_keys_come_back_as_they_were(client, run, tmp_path, kind):
    for key, value in VALUES.items():
        client.state.put(key, value)
    assert keys(client) == VALUES
    path = tmp_path / f"keys.{kind}"
    run("export", "f:", "--output", path)
    for key in VALUES:
        client.state.delete(key)
    done = json.loads(run("import", path)[0])
    assert (done["done"], done["refused"]) == (len(VALUES), 0)
    back = keys(client)
    assert back == VALUES
    assert [type(back[key]) for key in VALUES] == [type(value) for value in VALUES.values()]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_documents_come_back_as_they_were(client, run, tmp_path, kind):
    for id_, doc in DOCS.items():
        client.doc.put("books", id_, doc)
    path = tmp_path / "books.file"
    run("export", "--collection", "books", "--format", kind, "--output", path)
    run("import", path, "--format", kind, "--collection", f"c-{kind}")
    assert {each.id: each.doc for each in client.doc.all(f"c-{kind}")} == DOCS
    assert [path.name for path in tmp_path.iterdir()] == ["books.file"]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_vectors_come_back_as_they_were(client, run, tmp_path, kind):
    if not any(each["collection"] == "v" for each in client.vector.collections()):
        client.vector.create("v", dim=2)
        client.vector.upsert("v", "a é", [0.1, 12345678.0], {"n": [1]}, text="añ")
        client.vector.upsert("v", "b", [1, 0])
    path = tmp_path / f"v.{kind}"
    run("export", "--vectors", "v", "--output", path)
    run("import", path, "--vectors", f"v-{kind}")
    assert list(client.vector.all(f"v-{kind}")) == list(client.vector.all("v"))


def test_arrays_come_back_with_their_ids(client, run, tmp_path):
    array = np.random.default_rng(1).normal(size=(250, 8)).astype(np.float32)
    ids = ['"', "two\nlines", " é", *map(str, range(3, 250))]
    np.save(tmp_path / "a.npy", array)
    lines = [msgspec.json.encode(each).decode() if n < 2 else each for n, each in enumerate(ids)]
    (tmp_path / "ids.txt").write_text("\n".join(lines))
    run("import", tmp_path / "a.npy", "--ids", tmp_path / "ids.txt", "--vectors", "arr")
    run("export", "--vectors", "arr", "--output", tmp_path / "b.npy", "--ids", tmp_path / "b.txt")
    assert (np.load(tmp_path / "b.npy") == array).all()
    assert (tmp_path / "b.txt").read_text().split("\n")[:-1] == lines
    # Through a pipe, and without ids: they are the numbers of the rows.
    out, _ = run("export", "--vectors", "arr", "--format", "npy")
    (tmp_path / "c.npy").write_bytes(out)
    run("import", tmp_path / "c.npy", "--vectors", "numbered", "--metric", "l2")
    assert client.vector.info("numbered")["metric"] == "l2"
    assert (client.vector.get("numbered", "249").numpy() == array[249]).all()


def test_tables_of_others(client, run, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"id": [1, 2], "at": pa.array([0, 1], pa.timestamp("s")), "l": [[1, None], None]}),
        tmp_path / "o.parquet",
    )
    run("import", tmp_path / "o.parquet", "--collection", "others")
    assert [each.doc for each in client.doc.all("others")] == [
        {"id": 1, "at": "1970-01-01T00:00:00", "l": [1, None]},
        {"id": 2, "at": "1970-01-01T00:00:01", "l": None},
    ]
    (tmp_path / "o.csv").write_bytes(b"\xef\xbb\xbfid,zip,n\r\n1,00850,7\r\n2,1e5,\r\n")
    run("import", tmp_path / "o.csv", "--collection", "zips")
    docs = [{"id": 1, "zip": "00850", "n": 7}, {"id": 2, "zip": "1e5"}]
    assert [each.doc for each in client.doc.all("zips")] == docs
    run("import", tmp_path / "o.csv", "--collection", "texts", "--texts")
    assert client.doc.get("texts", "2").doc == {"id": "2", "zip": "1e5", "n": ""}


def test_fields_beside_a_vector_describe_it(client, run, tmp_path):
    path = tmp_path / "beside.jsonl"
    row = {"id": 7, "vector": [1, 0], "collection": "x", "op": "y", "meta": {"n": 1}, "text": None}
    path.write_text(json.dumps(row) + "\n")
    run("import", path, "--vectors", "beside")
    found = client.vector.get("beside", "7")
    assert (found.meta, found.text) == ({"collection": "x", "op": "y", "n": 1}, None)
    path.write_text(json.dumps({**row, "meta": [1]}) + "\n")
    assert (
        "line 1: has fields beside a meta" in run("import", path, "--vectors", "beside", code=1)[1]
    )


def test_what_json_cannot_hold_is_refused_with_its_place(run, tmp_path, client):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ["a"], "x": [float("nan")]}), tmp_path / "n.parquet")
    pq.write_table(pa.table({"id": ["a"], "x": [b"\0"]}), tmp_path / "b.parquet")
    np.save(tmp_path / "n.npy", np.array([[0.0, 1.0], [np.nan, 1.0]]))
    np.save(tmp_path / "flat.npy", np.zeros(3))
    (tmp_path / "n.jsonl").write_text('{"key": "a", "value": 1}\n\n{"key": "b", "value": NaN}\n')
    (tmp_path / "n.csv").write_text("id,a\n1,2,3\n")
    docs, vectors = ("--collection", "bad"), ("--vectors", "bad")
    for name, argv, said in (
        ("n.parquet", docs, "row 1: x is nan"),
        ("b.parquet", docs, "row 1: x holds bytes"),
        ("n.npy", vectors, "row 2"),
        ("flat.npy", vectors, "[rows, dim]"),
        ("n.npy", docs, "--vectors"),
        ("n.jsonl", (), "line 3"),
        ("n.csv", docs, "line 2: 3 cells"),
        ("missing.csv", docs, "No such file"),
        ("n.csv", (*docs, "--format", "parquet"), "not Parquet"),
        ("n.csv", (*docs, *vectors), "give one"),
    ):
        err = run("import", tmp_path / name, *argv, code=1)[1]
        assert said in err, err
    # What was read before the bad line is said, and how to go on.
    assert "--load-id" in run("import", tmp_path / "n.jsonl", code=1)[1]


def test_a_load_goes_on_where_it_broke_off(run, tmp_path, client):
    lines = [f'{{"key": "r:{n}", "value": {n}}}\n' for n in range(2500)]
    path = tmp_path / "r.jsonl"
    path.write_text("".join(lines[:2400]) + "broken\n")
    err = run("import", path, code=1)[1]
    words = err.splitlines()[0].split("say the same with ")[1].split()
    assert words[2:] == ["--skip", "400"]
    begun = {item.key: item.revision for item in client.state.items("r:")}
    assert len(begun) == 2000
    path.write_text("".join(lines))
    assert json.loads(run("import", path, *words)[0])["done"] == 2100
    # What had been done was not done twice.
    assert {item.revision for item in client.state.items("r:")} == {1}
    assert len(list(client.state.items("r:"))) == 2500


def test_refusals_name_the_line_of_the_file(run, tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('\n{"key": "x:1", "value": 1}\n\n\n{"key": "", "value": 1}\n')
    out, err = run("import", path, "--skip", "1", code=1)
    assert json.loads(out)["refused"] == 1
    assert err.startswith("5: invalid_argument")


def test_without_pyarrow_it_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    err = run("import", tmp_path / "a.parquet", code=1)[1]
    assert "pip install 'kissvdb[parquet]'" in err


def test_pipes(client, monkeypatch):
    command = [sys.executable, "-m", "kissvdb"]
    url = ("--url", client.config.url)
    client.doc.put("p", "1", {"t": "añ\u2028"})
    out = subprocess.run(
        [*command, "export", *url, "--collection", "p"], capture_output=True, check=True
    ).stdout
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(out)))
    assert main(["import", "-", *url, "--collection", "q"]) == 0
    assert client.doc.get("q", "1").doc == {"t": "añ\u2028"}
