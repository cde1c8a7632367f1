"""The client for JavaScript in a real browser, from the server that serves it."""

import os
import re
from pathlib import Path

import pytest

from kissvdb.testing import serve
from tests.patience import PATIENCE_SECS

PROGRAM = Path(__file__).with_name("client.mjs")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "clients.md"
CHROMIUM = Path(os.environ.get("KISSVDB_CHROMIUM", "/usr/bin/chromium"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page():
    """A page of the server, where the client may be imported from."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM} (KISSVDB_CHROMIUM)")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with serve() as running, sync_api.sync_playwright() as playwright:
        # Chromium refuses its sandbox to root.
        arguments = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        found = browser.new_page()
        found.set_default_timeout(PATIENCE_SECS * 1000)
        # A plain page of that origin: nothing else runs on it.
        found.goto(f"{running.url}/v1/health")
        yield found
        browser.close()


def test_every_part_in_a_browser(page):
    program = PROGRAM.read_text(encoding="utf-8").replace("export async function", "async function")
    start = "return run(await import('/kissvdb.js'), location.origin);"
    assert page.evaluate(f"async () => {{ {program}\n{start} }}") == "ok"


def test_the_programs_of_the_page_run_in_a_browser(page):
    shown = re.findall(r"```js\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert shown
    for text in shown:
        if "embedder" in text:
            continue  # Run in Node, where the server has one.
        body = re.sub(
            r'import (\{ \w+ \}) from "[^"]+";', r'const \1 = await import("/kissvdb.js");', text
        )
        noted = "const said = []; const console = { log: (...all) => said.push(all.join(' ')) };"
        assert page.evaluate(f"async () => {{ {noted}\n{body}\nreturn said; }}")


def test_events_come_although_the_connection_is_lost_for_a_while(page):
    page.evaluate(
        """async () => {
          const { Client } = await import("/kissvdb.js");
          window.seen = [];
          const db = new Client({ retries: 100 });
          const since = (await db.state.put("offline:0", 0)).offset - 1;
          (async () => {
            for await (const event of db.subscribe({ since, keyPrefix: "offline:" })) {
              window.seen.push(event.data.value);
            }
          })();
        }"""
    )
    page.wait_for_function("window.seen.length === 1")
    page.context.set_offline(True)
    page.wait_for_timeout(300)
    page.context.set_offline(False)
    page.evaluate(
        """async () => {
          const { Client } = await import("/kissvdb.js");
          for (let n = 1; n < 5; n += 1) await new Client().state.put(`offline:${n}`, n);
        }"""
    )
    page.wait_for_function("window.seen.length === 5")
    assert page.evaluate("window.seen") == [0, 1, 2, 3, 4]
