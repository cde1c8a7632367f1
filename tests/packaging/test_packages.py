"""What is built of the repository: a wheel and an sdist that need nothing of it."""

import ast
import json
import os
import re
import subprocess
import sys
import tarfile
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECS

ROOT = Path(__file__).resolve().parents[2]
THIRD_PARTY = ROOT / "docs" / "third_party.md"
PYTHONS = ("3.11", "3.12", "3.13")
BUILD_SECS = 600
EXTRAS = {"embed", "openai", "langchain", "langgraph", "llama-index", "mcp", "tui", "parquet"}


def tracked(*paths):
    done = subprocess.run(
        ["git", "ls-files", *paths], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode or not done.stdout:
        pytest.skip("not a git checkout")
    return done.stdout.splitlines()


def test_every_file_of_others_is_listed_with_its_licence():
    page = THIRD_PARTY.read_text(encoding="utf-8")
    files = tracked("kissvdb/web/vendor", "kissvdb/web/swagger", "kissvdb/embedders/bert")
    for name in files:
        if not name.endswith((".py", ".md")):
            assert f"`{name}`" in page, f"{name} is not listed"
    # And nothing that is not there.
    for name in re.findall(r"`(kissvdb/[^`*]+\.[a-z.A-Z]+)`", page):
        assert (ROOT / name).is_file(), name


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel, built of the sdist, built of the files that git knows."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=BUILD_SECS, cwd=out)
    (wheel,) = out.glob("*.whl")
    (sdist,) = out.glob("*.tar.gz")
    return wheel, sdist


@pytest.mark.slow
def test_what_is_in_the_wheel(built):
    wheel, sdist = built
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        tops = {name.partition("/")[0] for name in names}
        info = next(top for top in tops if top.endswith(".dist-info"))
        # So general a name as "actors" is not taken from others.
        assert tops == {"kissvdb", "kissvdb_actors", info}
        for name in names:
            if name.endswith(".py"):
                assert "actors" not in imported(archive.read(name)), name
        metadata = archive.read(f"{info}/METADATA").decode()
        assert set(re.findall(r"^Provides-Extra: (.+)$", metadata, re.MULTILINE)) >= EXTRAS
        assert "License-Expression: MIT" in metadata
        for licence in ("LICENSE", "docs/third_party.md", "kissvdb/web/vendor/preact.LICENSE.txt"):
            assert f"{info}/licenses/{licence}" in names
        assert "kissvdb/py.typed" in names
        assert not any("/tests/" in name or name.endswith((".nbi", ".nbc")) for name in names)
        missing = {name for name in tracked("kissvdb") if "__pycache__" not in name} - names
        assert not missing, sorted(missing)[:10]
    with tarfile.open(sdist) as archive:
        there = {name.partition("/")[2] for name in archive.getnames()}
    assert {"actors/mailbox.py", "docs/third_party.md", "pyproject.toml"} <= there


def imported(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]


def python_of(version):
    """An interpreter of this version, or a skip."""
    places = [*Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for candidate in (*map(str, places), f"python{version}"):
        try:
            asked = [candidate, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
            done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
        except OSError:
            continue
        if done.stdout.strip() == version:
            return candidate
    pytest.skip(f"no Python {version} here")


@pytest.fixture(params=PYTHONS)
def installed(request, built, tmp_path):
    """The program of a clean environment with the wheel in it, which knows nothing of here."""
    python = python_of(request.param)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([python, "-m", "venv", str(tmp_path / "venv")], check=True, timeout=BUILD_SECS)
    pip = [str(tmp_path / "venv/bin/python"), "-m", "pip", "install", "-q"]
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", str(built[0])],
        capture_output=True,
        text=True,
        timeout=BUILD_SECS,
        env=environment,
        check=False,
    )
    if "Failed to establish a new connection" in done.stderr or "resolution" in done.stderr:
        pytest.skip(f"no package index can be reached: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr[-2000:]
    # Somebody else's package of the name that the kit has in the repository.
    (site,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (site / "actors").mkdir()
    (site / "actors" / "__init__.py").write_text("raise ImportError('not this one')\n")
    return tmp_path / "venv/bin/kissvdb", environment


@pytest.mark.slow
def test_the_wheel_serves(installed, tmp_path):
    program, environment = installed
    file, log = tmp_path / "url", tmp_path / "log"
    command = [str(program), "serve", "--port", "0", "--data-dir", str(tmp_path / "data")]
    # Its kernels are compiled in slow time of its own; searches are exact until then.
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, "--set", "search.compile=false", "--url-file", str(file)],
            stderr=errors,
            cwd=tmp_path,
            env=environment,
        )
    try:
        ends = time.monotonic() + PATIENCE_SECS
        while not file.exists() or not file.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < ends
            time.sleep(0.05)
        url = file.read_text().strip()
        for path, holds in (
            ("/", b"<script"),
            ("/docs", b"swagger"),
            ("/kissvdb.js", b"export"),
            ("/page/app.js", b"import"),
            ("/vendor/preact.js", b"function"),
            ("/openapi.yaml", b"openapi:"),
        ):
            with urllib.request.urlopen(url + path, timeout=PATIENCE_SECS) as answer:
                assert holds in answer.read(), path
        asking = {**environment, "KISSVDB_URL": url}
        for argv in (["put", "a", "1"], ["get", "a"], ["ls"]):
            run(program, asking, tmp_path, *argv)
        report = json.loads(run(program, asking, tmp_path, "doctor", "--json", "--memory"))
        assert next(each for each in report["findings"] if each["name"] == "packages")
    finally:
        process.terminate()
        assert process.wait(PATIENCE_SECS) == 0
    run(program, environment, tmp_path, "check", str(tmp_path / "data"))
    assert "pip install 'kissvdb[tui]'" in run(program, environment, tmp_path, "top", code=1)


def run(program, environment, directory, *argv, code=0):
    done = subprocess.run(
        [str(program), *argv],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_SECS,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout
