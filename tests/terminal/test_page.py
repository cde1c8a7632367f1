"""Every command of docs/terminal.md runs as it stands, in its order, against a server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "terminal.md"


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path):
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with serve() as running:
        done = subprocess.run(
            ["bash", "-euc", "\n".join(blocks)],
            cwd=tmp_path,
            env={**os.environ, "KISSVDB_URL": running.url, "PATH": path},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECS,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "shelf.jsonl").read_text().count("\n") == 2
    assert (tmp_path / "places.txt").read_text() == "a\n"
