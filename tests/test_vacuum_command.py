"""``kissvdb vacuum``: through a running server, and without one."""

import json
import urllib.request

import pytest

from kissvdb.cli import main
from kissvdb.config import Config, Search, Server, Storage
from kissvdb.testing import serve

NOBODY = "http://127.0.0.1:1"


def post(url, path, body):
    content = json.dumps(body).encode()
    request = urllib.request.Request(url + path, content, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def fill(url, dead):
    post(url, "/v1/vector/c", {"dim": 2, "metric": "dot"})
    for number in range(dead + 1):
        post(url, "/v1/vector/c/upsert", {"id": "same", "vector": [number, 1]})


@pytest.fixture
def config(tmp_path):
    storage = Storage(data_dir=str(tmp_path / "data"))
    return Config(server=Server(port=0), storage=storage, search=Search(compile=False))


def vacuum(capsys, config, url, collection="c"):
    """The exit code, and what is said on standard output and error."""
    arguments = ["--collection", collection, "--url", url]
    arguments += ["--data-dir", config.storage.data_dir, "--set", "search.compile=false"]
    code = main(["vacuum", *arguments])
    return code, *capsys.readouterr()


def test_a_running_server_is_asked(capsys, config):
    with serve(config) as server:
        fill(server.url, dead=3)
        assert vacuum(capsys, config, server.url) == (0, "c: 3 dead rows removed\n", "")
        assert vacuum(capsys, config, server.url) == (0, "c: 0 dead rows removed\n", "")
        code, _, problem = vacuum(capsys, config, server.url, "nowhere")
        assert (code, "nowhere" in problem) == (1, True)
        # One that runs but cannot be reached keeps the directory for itself.
        code, _, problem = vacuum(capsys, config, NOBODY)
        assert (code, "in use" in problem) == (1, True)


def test_without_a_server_the_directory_is_opened(capsys, config):
    with serve(config) as server:
        fill(server.url, dead=3)
    assert vacuum(capsys, config, NOBODY) == (0, "c: 3 dead rows removed\n", "")
    assert vacuum(capsys, config, NOBODY) == (0, "c: 0 dead rows removed\n", "")
    code, _, problem = vacuum(capsys, config, NOBODY, "nowhere")
    assert (code, "nowhere" in problem) == (1, True)
    with serve(config) as server:
        assert post(server.url, "/v1/vector/c/count", {}) == {"count": 1}
