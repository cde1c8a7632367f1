"""Makes the pictures of docs/page.md: `.venv/bin/python -m tests.browser.shots`.

A real server with a small sample of its own, looked at by a real browser; each picture is a WebP
below PICTURE_BYTES_MAX. Not a test.
"""

import base64
import random
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM, serving

DOCS = Path(__file__).resolve().parents[2] / "docs" / "page"
PICTURE_BYTES_MAX = 120_000
WIDE, NARROW = (1280, 800), (390, 780)


def fill(site):
    chance = random.Random(7)
    for n in range(400):
        job = n % 12
        done = {"done": n % 50, "of": 50, "worker": f"worker-{n % 3}"}
        site.put(f"job:{job}:progress", done, **({"ttl_ms": 3_600_000} if job % 4 == 0 else {}))
        if n % 5 == 0:
            kind = chance.choice(["import.done", "mail.sent", "log"])
            data = {"file": f"invoices-{n}.csv", "rows": chance.randrange(10, 9000)}
            site.event(kind, data, key=f"job:{job}", tags=["import"])
        if n % 40 == 0:
            site.put(f"user:{n}:settings", {"language": "es", "theme": "dark", "limit": n})
    site.http.delete("/v1/state/job:3:progress")


def take(page, name):
    page.wait_for_timeout(700)
    session = page.context.new_cdp_session(page)
    for quality in (80, 60, 40):
        shot = session.send("Page.captureScreenshot", {"format": "webp", "quality": quality})
        data = base64.b64decode(shot["data"])
        if len(data) < PICTURE_BYTES_MAX:
            break
    (DOCS / f"{name}.webp").write_bytes(data)
    print(name, len(data))


def overview(page, site):
    page.goto(f"{site.url}/#/overview")
    page.get_by_role("heading", name="Overview").wait_for()
    for _ in range(6):
        fill(site)
        page.wait_for_timeout(300)


def events(page, site):
    page.goto(f"{site.url}/#/stream?since=0")
    page.locator(".ev:not(.mark)").nth(6).click()


def state(page, site):
    page.goto(f"{site.url}/#/state")
    page.get_by_role("row", name="job:").click()
    page.get_by_role("row", name="4: 1 key").click()
    page.get_by_text("progress", exact=True).first.click()
    page.get_by_role("button", name="Edit").wait_for()


def conflict(page, site):
    state(page, site)
    page.get_by_role("button", name="Edit").click()
    box = page.get_by_role("textbox", name="Value as JSON")
    box.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text('{\n  "done": 50,\n  "of": 50,\n  "worker": "me"\n}')
    site.put("job:4:progress", {"done": 12, "of": 50, "worker": "worker-1"}, ttl_ms=3_600_000)
    page.get_by_role("button", name="Save").click()
    page.get_by_label("Differences").wait_for()


SHOTS = (
    ("overview", overview, WIDE, "light"),
    ("events", events, WIDE, "dark"),
    ("state", state, WIDE, "light"),
    ("conflict", conflict, WIDE, "dark"),
    ("narrow", overview, NARROW, "dark"),
)


def shoot(fill, shots):
    """A picture each of ``shots``: name, what is done before, size, colours."""
    DOCS.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp()) / "data"
    with serving(directory) as site, sync_playwright() as playwright:
        fill(site)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name, prepare, (width, height), colours in shots:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=colours
            )
            page = context.new_page()
            prepare(page, site)
            take(page, name)
            context.close()
        browser.close()


if __name__ == "__main__":
    shoot(fill, SHOTS)
