"""docs/mcp.md says what the code does."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import attrs
import pytest

from kissvdb.api.frame.principal import Scope
from kissvdb.api.mcp.prompts import PROMPTS
from kissvdb.api.mcp.protocol import SUPPORTED
from kissvdb.api.mcp.tools import TOOLS
from kissvdb.cli import main
from kissvdb.config import Config, Embedder, Search, Server, Storage
from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "mcp.md").read_text(encoding="utf-8")
CONFIG = Config(
    server=Server(port=0),
    storage=Storage(memory=True),
    search=Search(compile=False),
    embedder=Embedder(model="use"),
)


def test_the_table_has_every_tool_and_what_it_may_do():
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", PAGE, re.MULTILINE))
    assert rows == {
        name: "reads" if tool.scope is Scope.READ else "writes" for name, tool in TOOLS.items()
    }
    assert all(f"`{name}`" in PAGE for name in PROMPTS)
    assert all(version in PAGE for version in SUPPORTED)


def test_the_files_of_clients_are_json():
    blocks = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        ((_, servers),) = json.loads(block).items()
        assert servers["kissvdb"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_page_run(tmp_path):
    blocks = re.findall(r"```sh\n(curl .*?)```", PAGE, re.DOTALL)
    with serve(CONFIG) as server:
        script = "\n".join(blocks).replace("localhost:9917", f"127.0.0.1:{server.port}")
        script = script.replace("curl ", "curl -sS --fail-with-body --max-time 30 ")
        done = subprocess.run(
            ["bash", "-euc", script], capture_output=True, timeout=PATIENCE_SECS, cwd=tmp_path
        )
    assert done.returncode == 0, done.stderr
    remembered, recalled = map(json.loads, done.stdout.splitlines())
    assert remembered["result"]["structuredContent"]["id"] == "ana-train"
    assert recalled["result"]["structuredContent"]["memories"][0]["id"] == "ana-train"


def test_the_key_of_the_page_can_be_made(capsys):
    (command,) = re.findall(r"```sh\nkissvdb (keys .*?)\n```", PAGE, re.DOTALL)
    arguments = re.findall(r"'[^']*'|\S+", command)
    with serve(attrs.evolve(CONFIG, server=Server(port=0, api_key="s3cret"))) as server:
        given = [each.strip("'") for each in arguments]
        assert main([*given, "--url", server.url, "--api-key", "s3cret"]) == 0
    assert "rk_live_" in capsys.readouterr().out
