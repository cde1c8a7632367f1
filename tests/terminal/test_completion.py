"""The scripts of `kissvdb completion`, in the shells they are for."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kissvdb.cli import main
from kissvdb.client import Client
from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS

PROGRAM = Path(sys.executable).with_name("kissvdb")
# Line, what must be offered, and what must not.
LINES = [
    ("kissvdb imp", {"import"}, {"export"}),
    ("kissvdb lo", {"log"}, {"list"}),
    ("kissvdb log ", {"dump"}, {"serve"}),
    ("kissvdb import --for", {"--format"}, {"--force"}),
    ("kissvdb import --format ", {"jsonl", "csv", "parquet", "npy"}, {"import"}),
    ("kissvdb import --format cs", {"csv"}, {"jsonl"}),
    ("kissvdb --por", {"--port"}, {"--help"}),
    ("kissvdb service install --pr", {"--print"}, {"--root"}),
    ("kissvdb keys create name --role ", {"read", "write", "admin"}, set()),
    ("kissvdb completion ", {"bash", "zsh", "fish"}, set()),
]
ON_SERVER = [
    ("kissvdb get --url {url} sh", {"shelf:1", "shelf:añ"}, {"other"}),
    ("kissvdb del --url={url} other shelf:", {"shelf:1"}, {"other"}),
    ("kissvdb find --url {url} ", {"books"}, {"shelf:1"}),
    ("kissvdb export --url {url} --vectors ", {"places"}, {"books"}),
]


@pytest.fixture(scope="module")
def url():
    with serve() as running:
        with Client(running.url) as client:
            for key in ("shelf:1", "shelf:añ", "other"):
                client.state.put(key, 1)
            client.doc.put("books", "1", {})
            client.vector.create("places", dim=2)
        yield running.url


def environment():
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", "KISSVDB_URL": "http://127.0.0.1:9"}


def said(shell, capsys):
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def run(*command, text=""):
    done = subprocess.run(
        command,
        input=text,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f]")
ASK = """
COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
ask() {
  COMP_LINE=$1 COMP_POINT=${#1}
  COMPREPLY=()
  _kissvdb
  printf '%s|' "${COMPREPLY[@]}"
  echo
}
"""


def test_bash(capsys, url):
    lines = [(line.format(url=url), *rest) for line, *rest in LINES + ON_SERVER]
    script = said("bash", capsys) + ASK + "\n".join(f"ask '{line}'" for line, *_ in lines)
    answers = run("bash", "--norc", "-uc", script).splitlines()
    assert len(answers) == len(lines)
    for (line, wanted, unwanted), answer in zip(lines, answers, strict=True):
        offered = set(answer.split("|")) - {""}
        if line.endswith("shelf:"):
            # Bash has the part up to the colon as a word of its own.
            wanted = {each.removeprefix("shelf:") for each in wanted}
        assert wanted <= offered, (line, answer)
        assert not unwanted & offered, (line, answer)


def test_bash_completes_files_and_values_after_an_equals_sign(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "books.csv").touch()
    (tmp_path / "shelf").mkdir()
    lines = ["kissvdb import bo", "kissvdb serve --data-dir s", "kissvdb import --format=c"]
    script = said("bash", capsys) + ASK + "\n".join(f"ask '{line}'" for line in lines)
    script += "\nCOMP_WORDBREAKS=' '; ask 'kissvdb import --format=c'; complete -p kissvdb"
    assert run("bash", "--norc", "-uc", script).splitlines() == [
        "books.csv|",
        "shelf|",
        "csv|",
        "--format=csv|",
        "complete -F _kissvdb kissvdb",
    ]


@pytest.mark.slow
def test_fish(capsys, url, tmp_path, monkeypatch):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    lines = [(line.format(url=url), *rest) for line, *rest in LINES + ON_SERVER]
    asked = "".join(f"complete -C '{line}'\necho --\n" for line, *_ in lines)
    answers = run("fish", "--no-config", text=said("fish", capsys) + asked).split("--\n")
    # A flag that is offered begins as the mark between answers does, which stands alone.
    for (line, wanted, unwanted), answer in zip(lines, answers, strict=False):
        offered = {each.partition("\t")[0] for each in answer.splitlines()}
        assert wanted <= offered, (line, answer)
        assert not unwanted & offered, (line, answer)


@pytest.mark.slow
def test_zsh(capsys, url, tmp_path):
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    (tmp_path / "script").write_text(said("zsh", capsys), encoding="utf-8")
    setup = f"PS1='> '; autoload -Uz compinit; compinit -u -d {tmp_path}/dump; "
    # One candidate is inserted, as a person sees it; more of them are listed.
    setup += f"source {tmp_path}/script; LISTMAX=1000; print ready\n"
    main_, child = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"],
        stdin=child,
        stdout=child,
        stderr=child,
        cwd=tmp_path,
        env={**environment(), "TERM": "dumb", "COLUMNS": "200"},
        start_new_session=True,
    )
    os.close(child)
    try:
        os.write(main_, setup.encode())
        read_until(main_, {"ready\r"})
        for line, wanted, _ in LINES + ON_SERVER:
            os.write(main_, b"\x15" + line.format(url=url).encode() + b"\t\t")
            read_until(main_, wanted)
    finally:
        shell.kill()
        shell.wait()
        os.close(main_)


def read_until(terminal, wanted):
    found, ends = "", time.monotonic() + PATIENCE_SECS
    while not all(each in found for each in wanted):
        ready, _, _ = select.select([terminal], [], [], max(ends - time.monotonic(), 0))
        assert ready, found
        # Where it rings, or goes to and fro, is not what is said.
        found += CONTROLS.sub("", os.read(terminal, 65536).decode("utf-8", "replace"))


def test_nothing_is_offered_where_no_server_answers(capsys):
    assert main(["_complete", "--url", "http://127.0.0.1:9", "keys", ""]) == 0
    assert capsys.readouterr() == ("", "")


def test_what_nobody_types_is_not_offered(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "_complete" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["nonsense"])
    assert "_complete" not in capsys.readouterr().err
