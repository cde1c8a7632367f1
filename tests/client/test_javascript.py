"""The client for JavaScript in Node, against a real server that also serves it."""

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from kissvdb.testing import serve
from kissvdb.version import VERSION
from tests.patience import PATIENCE_SECS

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "kissvdb" / "web" / "client" / "kissvdb.js"
PROGRAM = Path(__file__).with_name("client.mjs")
PAGE = ROOT / "docs" / "clients.md"
NODE = shutil.which("node")

needs_node = pytest.mark.skipif(NODE is None, reason="no Node here")


@pytest.fixture(scope="module")
def url():
    with serve() as running:
        yield running.url


def node(*arguments, **options):
    return subprocess.run(
        [NODE, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECS,
        check=False,
        **options,
    )


@needs_node
def test_every_part_in_node(url):
    start = (
        f"import {{ run }} from {PROGRAM.as_uri()!r};"
        f"console.log(await run(await import({MODULE.as_uri()!r}), {url!r})); process.exit(0)"
    )
    done = node("--input-type=module", "-e", start)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.strip() == "ok"


@needs_node
def test_the_programs_of_the_page_run_in_node(url, tmp_path):
    pages = (PAGE, ROOT / "README.md")
    texts = "".join(page.read_text(encoding="utf-8") for page in pages)
    shown = re.findall(r"```js\n(.*?)```", texts, re.DOTALL)
    assert shown
    for number, text in enumerate(shown):
        path = tmp_path / f"{number}.mjs"
        text = text.replace("http://127.0.0.1:9917/kissvdb.js", MODULE.as_uri())
        path.write_text(text.replace("new Client()", f'new Client({{ url: "{url}" }})'))
        done = node(path)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert done.stdout.strip()


def test_the_server_serves_it(url):
    served = httpx.get(f"{url}/kissvdb.js")
    assert served.headers["content-type"].startswith("text/javascript")
    assert served.text == MODULE.read_text(encoding="utf-8")
    types = httpx.get(f"{url}/kissvdb.d.ts").text
    assert types == MODULE.with_suffix(".d.ts").read_text(encoding="utf-8")


def test_the_package_has_the_version_of_the_server():
    assert f'"version": "{VERSION}"' in MODULE.with_name("package.json").read_text()
