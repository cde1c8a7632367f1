"""What axe finds, in light and dark; what a narrow screen shows."""

import hashlib
import io
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest

AXE = "https://registry.npmjs.org/axe-core/-/axe-core-4.14.1.tgz"
SHA256 = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"
CACHE = Path(__file__).resolve().parents[2] / ".pytest_cache" / "axe-core-4.14.1.js"
VIEWS = ("overview", "stream", "state", "vectors", "documents", "sql", "batch", "keys", "backup")


@pytest.fixture(scope="module")
def axe():
    """Too large to be kept here: fetched once, checked, and skipped where there is no network."""
    if not CACHE.exists():
        try:
            with urllib.request.urlopen(AXE, timeout=30) as answer:
                archive = answer.read()
        except (urllib.error.URLError, TimeoutError) as error:
            pytest.skip(f"axe-core cannot be fetched: {error}")
        assert hashlib.sha256(archive).hexdigest() == SHA256
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            script = files.extractfile("package/axe.min.js").read()
        CACHE.parent.mkdir(exist_ok=True)
        CACHE.write_bytes(script)
    return CACHE.read_text()


def serious(page, axe):
    page.evaluate(axe)
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    return [
        (each["id"], [node["target"] for node in each["nodes"]][:4], each["help"])
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


def filled(site):
    for n in range(5):
        site.put(f"job:{n}:progress", {"done": n, "of": 5})
        site.event("progress", {"n": n}, key=f"job:{n}")


@pytest.mark.slow
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_nothing_serious(page, site, axe, colours):
    filled(site)
    page.goto(site.url)
    page.evaluate("name => localStorage.setItem('kissvdb.theme', name)", colours)
    page.reload()
    for view in VIEWS:
        page.goto(f"{site.url}/#/{view}{'?since=0' if view == 'stream' else ''}")
        page.get_by_role("heading", level=1).wait_for()
        page.wait_for_timeout(700)
        assert not serious(page, axe), view
    page.goto(f"{site.url}/#/state/job%3A1%3Aprogress")
    page.get_by_role("button", name="Edit").click()
    page.get_by_role("textbox", name="Value as JSON").wait_for()
    assert not serious(page, axe), "a key that is edited"
    for key, name in (("Control+k", "Commands"), ("?", "Shortcuts")):
        page.locator("main").focus()
        page.keyboard.press(key)
        page.get_by_role("dialog", name=name).wait_for()
        assert not serious(page, axe), name
        page.keyboard.press("Escape")


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(page, site, width):
    filled(site)
    page.set_viewport_size({"width": width, "height": 780})
    for view in VIEWS:
        page.goto(f"{site.url}/#/{view}")
        page.get_by_role("heading", level=1).wait_for()
        page.wait_for_timeout(500)
        wide = page.evaluate("document.querySelector('main').scrollWidth - innerWidth")
        assert wide <= 0, (view, wide)
