"""The commands for a data directory that no server has open: check, repair, restore."""

import gzip
import json
import logging
import re
import urllib.request
from pathlib import Path

import pytest

from kissvdb.cli import main
from kissvdb.config import Config, Server, Storage
from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command in this process: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def run(*argv: str) -> tuple[object, str, str]:
        code = main(argv)
        return code, *capsys.readouterr()

    yield run
    # What `serve` wrote its log to is closed after the test.
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def filled(tmp_path):
    """A data directory that a server wrote three records into and closed."""
    directory = tmp_path / "filled"
    config = Config(server=Server(port=0), storage=Storage(data_dir=str(directory)))
    with serve(config) as server:
        for number in range(3):
            call("PUT", f"{server.url}/v1/state/k{number}", {"value": {"n": number}})
    return directory


def call(method: str, url: str, body: object = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE_SECS) as answer:
        content: bytes = answer.read()
        return content


def test_check_reports_a_sound_directory_and_exits_with_0(run, filled):
    for argv in (["check", str(filled)], ["check", "--data-dir", str(filled)]):
        code, out, err = run(*argv)
        assert (code, err) == (0, "")
        assert out != ""


def test_check_finds_damage_and_repair_makes_the_directory_sound(run, filled):
    segment = max((filled / "log").glob("*.log"))
    content = bytearray(segment.read_bytes())
    content[content.index(b"k1")] ^= 1
    segment.write_bytes(content)
    code, out, _ = run("check", str(filled))
    assert code == 1
    assert f"PROBLEM: {segment}" in out
    size = len(content)
    assert f"  `kissvdb check --repair {filled}` would\n" in out
    assert f"cut {segment} at byte " in out
    foreseen = re.search(
        r"at byte (\d+): (\d+) bytes\n    lose the offsets from 2 on, (\d+) at most", out
    )
    assert foreseen is not None
    assert int(foreseen[1]) + int(foreseen[2]) == size
    assert segment.read_bytes() == content
    code, out, _ = run("check", "--repair", str(filled))
    assert code == 0
    assert f"repaired: cut {segment} at byte {foreseen[1]}\n" in out
    assert f"no offset up to {foreseen[3]} will be used again" in out
    assert run("check", str(filled))[0] == 0


def test_check_says_what_else_a_repair_would_do(run, filled):
    (filled / "meta.json").unlink()
    code, out, _ = run("check", str(filled))
    assert code == 1
    assert f"`kissvdb check --repair {filled}` would\n    write a new meta.json\n" in out
    assert "lose" not in out
    assert run("check", "--repair", str(filled))[0] == 0
    code, out, _ = run("check", str(filled))
    assert (code, "--repair" in out) == (0, False)


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_in_the_data_directorys_place_is_named_as_that(run, tmp_path, name):
    (tmp_path / "file").write_text("x")
    code, _, err = run("serve", "--port", "0", "--data-dir", str(tmp_path / name))
    assert (code, err.count("\n")) == (1, 1)
    assert "storage.data_dir" in err
    assert f"{tmp_path / 'file'} is a file" in err or f"{tmp_path / name} is a file" in err
    assert "--data-dir" in err


def test_check_of_a_directory_without_a_database_is_one_line(run, tmp_path):
    code, out, err = run("check", str(tmp_path))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "no kissvdb database" in err


def test_restore_takes_the_tar_that_the_server_answers(run, filled, tmp_path):
    config = Config(server=Server(port=0), storage=Storage(data_dir=str(filled)))
    with serve(config) as server:
        tar = call("GET", f"{server.url}/v1/backup")
    (tmp_path / "b.tar").write_bytes(tar)
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(tar))
    for number, name in enumerate(("b.tar", "b.tar.gz")):
        code, out, err = run("restore", str(tmp_path / name), "--data-dir", f"r{number}")
        assert (code, err) == (0, "")
        assert out == f"r{number} holds {tmp_path / name}, at offset 3\n"
        assert run("check", f"r{number}")[0] == 0
        dumps = [run("log", "dump", "--data-dir", each) for each in (f"r{number}", str(filled))]
        assert dumps[0] == dumps[1]
    packed = gzip.compress(tar)
    for broken in (tar[: len(tar) // 2], b"nonsense" * 100, b"", packed[: len(packed) // 2]):
        (tmp_path / "broken").write_bytes(broken)
        code, out, err = run("restore", str(tmp_path / "broken"), "--data-dir", "none")
        assert (code, out, err.count("\n")) == (1, "", 1), err
        assert not Path("none").exists()
