"""How soon the page is there: ``.venv/bin/python -m bench.page [--keys N] [--vectors N]``.

Starts a server (or takes that of ``--url``), loads keys and vectors, opens the page in Chromium
with nothing kept, and says when something was painted first (First Contentful Paint), when the
figures and the root of the tree of keys were drawn, and what came over the wire.
"""

import argparse
import contextlib
import json
import random
import tempfile
import time
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM, serving

DIM = 32
LINES = 1000
ROUNDS = 5
NDJSON = {"content-type": "application/x-ndjson"}


def lines_of(operations):
    waiting = []
    for operation in operations:
        waiting.append(json.dumps(operation))
        if len(waiting) == LINES:
            yield ("\n".join(waiting) + "\n").encode()
            waiting = []
    if waiting:
        yield ("\n".join(waiting) + "\n").encode()


def load(site, keys, vectors):
    chance = random.Random(1)
    puts = (
        {"op": "put", "key": f"user:{n % 2000:04}:session:{n}", "value": {"n": n, "on": True}}
        for n in range(keys)
    )
    site.http.post("/v1/vector/bench", json={"dim": DIM}).raise_for_status()
    upserts = (
        {
            "op": "upsert",
            "collection": "bench",
            "id": f"v{n}",
            "vector": [round(chance.gauss(0, 1), 4) for _ in range(DIM)],
            "meta": {"group": n % 10},
        }
        for n in range(vectors)
    )
    for operations in (puts, upserts):
        with httpx.Client(base_url=site.url, timeout=3600) as client:
            done = client.post(
                "/v1/bulk?answers=errors", content=lines_of(operations), headers=NDJSON
            )
            assert '"errors":0' in done.text.splitlines()[-1], done.text[-300:]


def visit(browser, url, wait):
    """Milliseconds: painted first, all there; bytes on the wire."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    begun = time.monotonic()
    page.goto(url)
    wait(page)
    there_ms = (time.monotonic() - begun) * 1000
    painted_ms = page.evaluate(
        "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    )
    size = page.evaluate(
        "performance.getEntries().reduce((sum, each) => sum + (each.encodedBodySize ?? 0), 0)"
    )
    context.close()
    return painted_ms, there_ms, size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--vectors", type=int, default=50_000)
    parser.add_argument("--url", help="of a server that has them: nothing is loaded")
    arguments = parser.parse_args()
    views = {
        "overview": lambda page: page.get_by_text("Time to answer").wait_for(),
        "state": lambda page: page.locator("td .leaf").first.wait_for(),
        "vectors": lambda page: page.get_by_text("bench", exact=True).first.wait_for(),
    }
    with contextlib.ExitStack() as stack:
        url = arguments.url
        if url is None:
            directory = Path(tempfile.mkdtemp(prefix="kissvdb-page-")) / "data"
            site = stack.enter_context(serving(directory))
            load(site, arguments.keys, arguments.vectors)
            url = site.url
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, wait in views.items():
            found = [visit(browser, f"{url}/#/{name}", wait) for _ in range(ROUNDS)]
            painted, there, size = (sorted(part)[ROUNDS // 2] for part in zip(*found, strict=True))
            print(f"{name}: painted {painted:.0f} ms, there {there:.0f} ms, {size / 1000:.0f} kB")
        browser.close()


if __name__ == "__main__":
    main()
