"""Every program of the page runs as it stands, against a server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "clients.md"
PROGRAMS = [
    program
    for page in (PAGE, ROOT / "README.md")
    for program in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    if "kissvdb.client" in program
]


@pytest.fixture(scope="module")
def url():
    with serve() as running:
        yield running.url


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_programs_of_the_page_run(url, number, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAMS[number]],
        cwd=tmp_path,
        env={**os.environ, "KISSVDB_URL": url},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
