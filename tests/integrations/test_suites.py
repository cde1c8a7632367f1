"""The suites of frameworks, in a pytest of their own: they need asyncio, and one server for all."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS

SUITES = Path(__file__).with_name("suites")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "langchain.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
TIME_MAX_SECS = 600.0
PACKAGES = ("langchain_tests", "langgraph.checkpoint.conformance", "llama_index.core")


def run(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(SUITES / "pytest.ini")]
    done = subprocess.run(
        [*command, "--rootdir", str(SUITES), str(SUITES), *arguments],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=TIME_MAX_SECS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    outcome = done.stdout.strip().splitlines()[-1]
    found = re.fullmatch(r"(\d+) passed(, \d+ deselected)? in .*", outcome)
    assert found, outcome
    return int(found[1])


@pytest.fixture(autouse=True)
def _installed():
    for package in PACKAGES:
        # Without a search for it: that would import the packages above it.
        pytest.importorskip(package.split(".")[0], reason=f"needs {package}")


def test_the_suites_of_the_frameworks_pass_and_none_of_their_tests_is_skipped(tmp_path):
    chosen = [str(SUITES / f"suite_{name}.py") for name in ("langchain", "langgraph", "graphs")]
    assert run(tmp_path, "-m", "not slow", *chosen) >= 80


@pytest.mark.slow
def test_the_long_ones_pass_as_well(tmp_path):
    assert run(tmp_path) >= 138


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_programs_of_the_page_run(number, tmp_path):
    with serve() as server:
        done = subprocess.run(
            [sys.executable, "-W", "error::kissvdb", "-c", PROGRAMS[number]],
            cwd=tmp_path,
            env={**os.environ, "KISSVDB_URL": server.url},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECS,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize(
    ("package", "extra", "without"),
    [
        ("langchain", "langchain", "langchain_core"),
        ("langgraph", "langgraph", "langgraph"),
        ("llamaindex", "llama-index", "llama_index"),
    ],
)
def test_where_a_framework_is_missing_it_is_said_what_to_install(package, extra, without):
    code = f"import sys; sys.modules[{without!r}] = None; import kissvdb.{package}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"pip install 'kissvdb[{extra}]'" in done.stderr.splitlines()[-1]
