"""``kissvdb keys``: through a running server."""

import json
import urllib.request

import pytest

from kissvdb.cli import main
from kissvdb.config import Config, Server, Storage
from kissvdb.testing import serve

KEY = "s3cret"


@pytest.fixture
def url():
    with serve(Config(server=Server(port=0, api_key=KEY), storage=Storage(memory=True))) as server:
        yield server.url


@pytest.fixture
def keys(capsys, url):
    """Runs a command: the exit code, and what is said on standard output and error."""

    def run(*arguments, key=KEY):
        code = main(["keys", *arguments, "--url", url, "--api-key", key])
        return code, *capsys.readouterr()

    return run


def lists(url, key):
    request = urllib.request.Request(f"{url}/v1/state?prefix=a:", headers={"x-api-key": key})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as problem:
        with problem:
            return problem.code, json.load(problem)


def test_a_key_is_made_used_rotated_and_revoked(keys, url):
    code, secret, said = keys("create", "tenant a", "--role", "read", "--scope", "keys=a:*")
    assert (code, "'tenant a'" in said, "this once" in said) == (0, True, True)
    secret = secret.removesuffix("\n")
    assert lists(url, secret) == (200, [])
    id_ = secret.split("_")[2]
    code, table, _ = keys("list")
    head, row = table.splitlines()
    assert head.split() == ["id", "name", "role", "scopes", "expires", "last", "used"]
    assert row.split()[:6] == [id_, "tenant", "a", "read", "keys=a:*", "never"]
    assert secret not in table
    code, second, said = keys("rotate", id_, "--grace", "1h", "--ttl", "30d")
    assert (code, lists(url, secret)[0], lists(url, second.strip())[0]) == (0, 200, 200)
    assert keys("rotate", id_)[0] == 0
    assert lists(url, second.strip())[0] == 401
    assert keys("revoke", id_) == (0, f"{id_} is revoked\n", "")
    code, _, problem = keys("revoke", id_)
    assert (code, "no API key" in problem) == (1, True)


def test_what_the_server_refuses_is_said(keys):
    assert keys("list", key="wrong")[0] == 1
    code, _, problem = keys("list", key="")
    assert (code, "RUSTKISS_API_KEY" in problem) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        *(("create", "a", "--scope", "key=a"), ("create", "a", "--scope", "keys=")),
        *(("create", "a", "--ttl", "1y"), ("create", "a", "--role", "root")),
        *(("create",), ("rotate",), ("revoke",), ("no",), ()),
    ],
)
def test_wrong_usage_is_said(capsys, arguments):
    with pytest.raises(SystemExit) as left:
        main(["keys", *arguments])
    assert left.value.code == 2
    assert "kissvdb keys" in capsys.readouterr().err


def test_it_asks_where_the_clients_do(url, monkeypatch, capsys):
    monkeypatch.setenv("KISSVDB_URL", url)
    monkeypatch.setenv("KISSVDB_KEY", KEY)
    assert main(["keys", "list"]) == 0
    # A flag goes first, under either of its names.
    for flag in ("--key", "--api-key"):
        assert main(["keys", "list", flag, "wrong"]) == 1
    monkeypatch.setenv("KISSVDB_KEY", "wrong")
    assert main(["keys", "list", "--key", KEY]) == 0
    monkeypatch.setenv("KISSVDB_URL", "http://127.0.0.1:9")
    assert main(["keys", "list", "--url", url, "--key", KEY]) == 0
    assert "refused" in capsys.readouterr().err
