"""The site of the documentation: references that leave nothing out, pages that need no network."""

import importlib.util
import inspect
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from kissvdb.api.description import openapi
from kissvdb.api.routes import ROUTES
from kissvdb.client import Client, Config
from tests.patience import PATIENCE_SECS

CHROMIUM = Path(os.environ.get("KISSVDB_CHROMIUM", "/usr/bin/chromium"))
ROOT = Path(__file__).resolve().parents[2]
BUILD_SECS = 600
"""Of a build on a busy machine; seven seconds of CPU."""


@pytest.fixture(scope="module")
def hooks():
    pytest.importorskip("mkdocs")
    path = ROOT / "config" / "mkdocs_hooks.py"
    spec = importlib.util.spec_from_file_location("mkdocs_hooks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_http_reference_has_every_described_route(hooks):
    told = set(re.findall(r"^### `(\w+) (\S+)`$", hooks.http_reference(), re.MULTILINE))
    described = openapi.description(ROUTES)
    assert told == {
        (method.upper(), path)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict) and "summary" in operation
    }
    assert ("PUT", "/v1/state/{key}") in told


def test_the_python_reference_has_every_method(hooks):
    told = set(re.findall(r"^### `client\.([\w.]+)`$", hooks.python_reference(), re.MULTILINE))
    with Client(config=Config()) as client:
        for name in ("state", "vector", "doc", "sql", "events", "stream"):
            for method, found in vars(type(getattr(client, name))).items():
                second_name = inspect.isfunction(found) and found.__name__ != method
                if inspect.isfunction(found) and method[0] != "_" and not second_name:
                    assert f"{name}.{method}" in told
    assert {"batch", "bulk", "lock", "last_offset"} <= told


def test_a_link_out_of_the_docs_leads_to_a_place_on_the_site(hooks):
    page = ROOT / "docs" / "guides" / "production.md"
    text = "[a](../../config/nginx.conf) [b](../config.md#web-pages) `[c](../x.md)` [d](http://e)"
    assert hooks.linked(text, page) == (
        "[a](../files/config/nginx.conf) [b](../config.md#web-pages) `[c](../x.md)` [d](http://e)"
    )
    home = hooks.linked("[a](docs/api.md) [b](CHANGELOG.md)", ROOT / "README.md")
    assert home == "[a](api.md) [b](project/CHANGELOG.md)"


class Page(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loaded, self.anchors = [], [], {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if "id" in found:
            self.anchors.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in ("script", "img", "source") and found.get("src"):
            self.loaded.append(found["src"])
        if tag == "link" and found.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(found["href"])


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM} (KISSVDB_CHROMIUM)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.getuid() == 0 else []
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        [*command, "-f", str(ROOT / "config" / "mkdocs.yml")],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=BUILD_SECS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "excluded from the built site" not in done.stderr
    return folder


@pytest.mark.slow
def test_the_site_is_built_strictly_and_needs_no_network(site):
    pages = {path: Page(path) for path in site.rglob("*.html")}
    names = {str(path.relative_to(site)) for path in pages}
    assert {"index.html", "guides/index.html", "reference/http.html", "roadmap.html"} <= names
    for path, page in pages.items():
        if path.name == "404.html":  # Its paths are those of a server's root.
            continue
        for source in page.loaded:
            parts = urlsplit(source)
            assert parts.scheme in ("", "data"), f"{path.name} loads {source}"
            assert parts.scheme or (path.parent / unquote(parts.path)).exists(), source
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), f"{path.relative_to(site)}: {link}"
            if target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, f"{path.name}: {link}"


@pytest.mark.slow
def test_the_search_works_in_pages_opened_from_the_disk(site, browser):
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "guides" / "production.html").as_uri())
    page.locator("input.md-search__input").click()
    page.keyboard.type("fdatasync")
    found = page.locator("a.md-search-result__link")
    found.first.wait_for(timeout=PATIENCE_SECS * 1000)
    assert found.count() > 0
    page.close()
    assert all(url.startswith(("file:", "data:", "blob:", "about:")) for url in asked), asked
