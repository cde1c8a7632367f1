"""The commands of the API pages are run as they stand, and the routes and codes are all there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kissvdb import errors
from kissvdb.api.routes import ROUTES
from kissvdb.config import Config, Server, Storage
from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_route_is_documented_with_curl(route):
    text = (DOCS / "api.md").read_text()
    assert f"`{route.name}`" in text
    parts = (r"[^/\s]+" if part[:1] == "{" else re.escape(part) for part in route.path.split("/"))
    assert re.search(r"curl .*localhost:\d+" + "/".join(parts) + r"[?'\s]", text)


def kinds(kind=errors.KissError):
    yield kind
    for each in kind.__subclasses__():
        yield from kinds(each)


def test_every_error_code_is_documented_with_its_status():
    text = (DOCS / "errors.md").read_text()
    startup = {errors.Damaged, errors.DirectoryInUse, errors.ConfigError}
    for kind in kinds():
        if kind.__module__ == "kissvdb.errors":
            row = f"| `{kind.code}` |" if kind in startup else f"| {kind.status} | `{kind.code}` |"
            assert row in text, kind


def commands(page):
    """The calls of a page, but those that stream for ever."""
    for block in re.findall(r"```sh\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        if not block.startswith(("kissvdb ", "curl -N")):
            yield block


def ran(script, tmp_path):
    """What commands print that talk to a server on the default port."""
    storage = Storage(data_dir=str(tmp_path / "data"))
    begin = 'curl() { command curl -sS --fail-with-body --max-time 30 "$@"; }\nset -e\n'
    with serve(Config(server=Server(port=0), storage=storage)) as server:
        script = re.sub(r"(localhost|127\.0\.0\.1):9917", f"127.0.0.1:{server.port}", script)
        done = subprocess.run(
            ["bash", "-c", begin + script],
            cwd=tmp_path,
            capture_output=True,
            timeout=PATIENCE_SECS,
        )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr
    return done.stdout.decode()


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@needs_curl
@pytest.mark.parametrize("page", ["api.md", "batch.md", "vectors.md"])
def test_the_commands_of_the_pages_do_what_they_show(tmp_path, page):
    output = re.sub(r"\d{13}", "TIME", ran("\n".join(commands(page)), tmp_path).replace("\r", ""))
    shown = re.findall(r"```json\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    for answer in shown:
        assert re.sub(r"\d{13}", "TIME", answer.strip()) in output


@needs_curl
def test_the_five_minutes_work(tmp_path):
    text = (DOCS / "five_minutes.md").read_text()
    block = next(each for each in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "url=" in each)
    # Streams have no end.
    script = re.sub(r"(?m)^curl -N .*$", "", block)
    output = ran(script, tmp_path)
    assert "<mark>ocean</mark> that <mark>thinks</mark>" in output
    assert '"id":"b","score":0.8' in output
