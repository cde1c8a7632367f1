"""The drill of the production guide: its commands, against a server with something in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.crash.process import server_process
from tests.patience import PATIENCE_SECS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "production.md"


@pytest.mark.slow
def test_what_was_backed_up_is_there_after_the_drill(tmp_path):
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (commands,) = [block for block in blocks if "restore" in block]
    with server_process(tmp_path / "data", "--set", "search.compile=false") as server:
        httpx.put(f"{server.url}/v1/state/drill:canary", json={"value": "ünd sings"})
        httpx.put(f"{server.url}/v1/doc/books/1", json={"title": "Solaris"})
        done = subprocess.run(
            ["bash", "-euc", commands],
            cwd=tmp_path,
            env={
                **os.environ,
                "KISSVDB_PORT": str(server.port),
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE_SECS,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ünd sings" in done.stdout.splitlines()
