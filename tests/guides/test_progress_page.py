"""The page of docs/guides/progress.md, in a browser, while a job runs and the server restarts."""

import http.server
import os
import re
import threading
from functools import partial
from pathlib import Path

import pytest

from kissvdb.client import Client, Config
from tests.crash.process import server_process
from tests.patience import PATIENCE_SECS

CHROMIUM = Path(os.environ.get("KISSVDB_CHROMIUM", "/usr/bin/chromium"))
PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "progress.md"
HTML = re.search(r"```html\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
pytestmark = pytest.mark.slow


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Nothing."""


@pytest.fixture
def address(tmp_path):
    """Where the page is: an origin of its own on loopback."""
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "progress.html").write_text(HTML, encoding="utf-8")
    handler = partial(Quiet, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/progress.html"
        server.shutdown()
        thread.join()


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


def test_the_page_follows_the_job_also_over_a_restart(browser, address, tmp_path):
    with (
        server_process(tmp_path / "data", "--set", "search.compile=false") as server,
        Client(config=Config(url=server.url)) as client,
    ):
        client.state.put("job:import", {"done": 1, "of": 4})
        page = browser.new_page()
        page.goto(f"{address}?server={server.url}")
        patience = PATIENCE_SECS * 1000

        def shows(text):
            page.wait_for_function(
                "text => document.getElementById('text').textContent === text",
                arg=text,
                timeout=patience,
            )

        shows("1 of 4")
        client.state.put("job:import", {"done": 2, "of": 4})
        shows("2 of 4")
        assert server.stop() == 0
        server.start()
        client.state.put("job:import", {"done": 4, "of": 4})
        shows("4 of 4")
        page.close()
