"""A real server and a real browser: Chromium, without a window, driven by Playwright.

A test that leaves an error in the console, an exception on the page, or a breach of the content
security policy has failed, whatever else it says.
"""

import os
from contextlib import contextmanager
from pathlib import Path

import attrs
import httpx
import pytest

from tests.crash.process import ServerProcess
from tests.patience import PATIENCE_SECS

CHROMIUM = Path(os.environ.get("KISSVDB_CHROMIUM", "/usr/bin/chromium"))
ADMIN_KEY = "the-key-of-the-tests"


@attrs.define
class Site:
    """A server process, and a client of it for what a test prepares or checks."""

    server: ServerProcess
    http: httpx.Client

    @property
    def url(self):
        return self.server.url

    def put(self, key, value, **more):
        return self.http.put(f"/v1/state/{key}", json={"value": value, **more}).raise_for_status()

    def get(self, path):
        return self.http.get(path).raise_for_status().json()

    def event(self, type_, data, **more):
        body = {"type": type_, "data": data, **more}
        return self.http.post("/v1/events", json=body).raise_for_status().json()


def started(directory, key="", **environment):
    if key:
        environment["API_KEY"] = key
    server = ServerProcess(directory, environment=environment)
    server.start()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return Site(server, httpx.Client(base_url=server.url, headers=headers, timeout=PATIENCE_SECS))


@contextmanager
def serving(directory, key="", **environment):
    found = started(directory, key, **environment)
    try:
        yield found
    finally:
        found.http.close()
        found.server.kill()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """An open server, shared by the tests of a module: each writes names of its own."""
    with serving(tmp_path_factory.mktemp("site") / "data") as found:
        yield found


@pytest.fixture(scope="module")
def memory_site(tmp_path_factory):
    """A server that keeps nothing: each start begins another history."""
    directory = tmp_path_factory.mktemp("memory") / "data"
    with serving(directory, KISSVDB_STORAGE_MEMORY="true") as found:
        yield found


@pytest.fixture(scope="module")
def locked_site(tmp_path_factory):
    """A server that wants a key: ADMIN_KEY."""
    with serving(tmp_path_factory.mktemp("locked") / "data", ADMIN_KEY) as found:
        yield found


# Not longer: Playwright leaves an event loop of asyncio in the thread, which other tests want.
@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM} (KISSVDB_CHROMIUM)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        # Chromium refuses its sandbox to root.
        arguments = ["--no-sandbox"] if os.getuid() == 0 else []
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield running
        running.close()


@attrs.define
class Visit:
    """What a page did wrong. ``allow`` takes words of what may be said."""

    problems: list = attrs.field(factory=list)
    allowed: list = attrs.field(factory=list)

    def allow(self, *words):
        self.allowed.extend(words)

    def left(self):
        return [each for each in self.problems if not any(word in each for word in self.allowed)]

    def watch(self, page):
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        page.on("console", lambda message: self._console(message))
        page.on("crash", lambda: self.problems.append("the page crashed"))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('CSP: ' + "
            "e.violatedDirective + ' ' + e.blockedURI))"
        )

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")


@pytest.fixture
def visit():
    """To allow what a test provokes: ``visit.allow("409")``."""
    return Visit()


@pytest.fixture
def page(browser, visit):
    """A new page, 1280 by 800; fails the test for what goes wrong on it."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    context.set_default_timeout(PATIENCE_SECS * 1000 / 2)
    opened = context.new_page()
    visit.watch(opened)
    yield opened
    context.close()
    assert not visit.left()
