"""The commands of a terminal, against a running server."""

import io
import json
import threading

import pytest

from kissvdb.cli import main
from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS


@pytest.fixture(scope="module")
def url():
    with serve() as running:
        yield running.url


@pytest.fixture
def run(capsys, url):
    """Run a command: what it printed, read as JSON where it is, and what went to standard error."""

    def read(line):
        try:
            return json.loads(line)
        except ValueError:
            return line

    def run(*argv, code=0):
        found = main([argv[0], "--url", url, *argv[1:]])
        out, err = capsys.readouterr()
        assert found == code, err
        return [read(line) for line in out.splitlines()], err

    return run


def test_keys(run, monkeypatch):
    assert run("put", "t:1", '{"a": 1}')[0][0]["revision"] == 1
    run("put", "t:2", "just text")
    monkeypatch.setattr("sys.stdin", io.StringIO("[1, 2]"))
    run("put", "t:3", "-", "--ttl", "60")
    assert [run("get", f"t:{n}")[0] for n in (1, 2, 3)] == [[{"a": 1}], ["just text"], [[1, 2]]]
    assert [item["key"] for item in run("ls", "t:")[0]] == ["t:1", "t:2", "t:3"]
    assert run("del", "t:1", "t:9")[0][0]["deleted"]
    _, err = run("get", "t:1", code=1)
    assert "no such key: t:1" in err
    _, err = run("put", "t:2", "1", "--if-revision", "9", code=1)
    assert "revision" in err


def test_what_is_followed_is_told_as_it_comes(run, url):
    offset = run("publish", "log", "hello", "--about", "k", "--tag", "x")[0][0]["offset"]
    shown, _ = run("tail", "--since", str(offset - 1), "--count", "1")
    assert (shown[0]["type"], shown[0]["data"], shown[0]["tags"]) == ("log", "hello", ["x"])
    later = threading.Timer(0.3, run, ("publish", "later", "1"))
    later.start()
    assert run("tail", "--types", "later", "--count", "1")[0][-1]["data"] == 1
    later.join(PATIENCE_SECS)


def test_files_go_in_and_out(run, tmp_path, capsys, url):
    path = tmp_path / "books.csv"
    path.write_text("id,title\n1,Tide tables\n2,Harbour lights\n")
    done = run("import", str(path), "--collection", "books")[0][0]
    assert (done["done"], done["refused"]) == (2, 0)
    assert [each["offset"] for each in run("find", "books")[0]][-1] == done["offset"]
    assert [each["id"] for each in run("find", "books", '{"title": "Tide tables"}')[0]] == ["1"]
    assert [each["id"] for each in run("search", "books", "harbour")[0]] == ["2"]
    exported, _ = run("export", "--collection", "books")
    again = tmp_path / "again.jsonl"
    again.write_text("".join(json.dumps(each) + "\n" for each in exported))
    run("import", str(again), "--collection", "copies", "--load-id", "copies")
    assert [each["doc"] for each in run("export", "--collection", "copies")[0]] == [
        each["doc"] for each in exported
    ]
    again.write_text('{"key": "i:1", "value": [1]}\n{"key": "", "value": 0}\n')
    done, err = run("import", str(again), code=1)
    assert (done[0]["done"], done[0]["refused"]) == (1, 1)
    assert err.startswith("2: invalid_argument")
    again.write_text("{nonsense}\n")
    assert "line 1" in run("import", str(again), code=1)[1]


def test_search_says_why_there_is_nothing(run):
    run("put", "t:other", "1")
    _, err = run("search", "nosuch", "tide", code=1)
    assert "no documents 'nosuch'" in err
    main_input = '{"id": "a", "vector": [1, 0], "text": "high water"}'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(main_input.encode())))
        run("import", "-", "--vectors", "waters")
    _, err = run("search", "waters", "high", code=1)
    assert "--vectors" in err
    assert run("search", "waters", "high", "--vectors", "--limit", "1")[0][0]["id"] == "a"


def test_a_closed_standard_input_is_said(run, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    for words in (("put", "t:1", "-"), ("import", "-")):
        _, err = run(*words, code=1)
        assert "standard input is closed" in err


def test_sql(run):
    run("sql", "CREATE TABLE books(id INTEGER PRIMARY KEY, title TEXT)")
    assert run("sql", "INSERT INTO books(title) VALUES (?)", "Tide tables")[0] == [
        {"rows_affected": 1}
    ]
    assert run("sql", "SELECT * FROM books WHERE id = ?", "1")[0] == [
        {"id": 1, "title": "Tide tables"}
    ]
    assert "no such table" in run("sql", "SELECT * FROM missing", code=1)[1]


def test_no_server_is_said_so(capsys):
    assert main(["get", "x", "--url", "http://127.0.0.1:9"]) == 1
    assert "does the server run" in capsys.readouterr().err.replace("\n", " ")
