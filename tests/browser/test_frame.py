"""The frame of the page: views, commands, colours, keys, and what the server sends it with."""

import gzip
import re

import httpx
import pytest

from kissvdb.config import Config, Http, Search, Server, Storage
from kissvdb.testing import serve
from scripts import vendor
from tests.browser.conftest import ADMIN_KEY

WEIGHT_BYTES_MAX = 250_000
"""All files of the page as gzip, those that only some views need included."""


@pytest.fixture(scope="module", params=[True, False], ids=["lane", "hypercorn"])
def http(request):
    config = Config(
        server=Server(port=0),
        storage=Storage(memory=True),
        http=Http(lane=request.param),
        search=Search(compile=False),
    )
    with serve(config) as running, httpx.Client(base_url=running.url) as client:
        yield client


def test_no_script_or_style_but_those_of_the_server(http):
    answer = http.get("/")
    policy = dict(
        each.strip().partition(" ")[::2]
        for each in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*src=)|\sstyle=|<style|\son\w+=", answer.text)
    for target in re.findall(r'(?:src|href)="(/[^"]+)"', answer.text):
        assert http.get(target).status_code == 200, target


def test_files_are_asked_for_again_and_sent_packed(http):
    plain = http.get("/page/app.js", headers={"accept-encoding": "identity"})
    packed = http.get("/page/app.js", headers={"accept-encoding": "br, gzip;q=0.5"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == plain.text
    assert plain.headers["etag"] != packed.headers["etag"]
    for answer in (plain, packed):
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["vary"] == "Accept-Encoding"
        again = {"if-none-match": answer.headers["etag"]}
        again["accept-encoding"] = "gzip" if answer is packed else "gzip;q=0"
        unchanged = http.get("/page/app.js", headers=again)
        assert (unchanged.status_code, unchanged.content) == (304, b"")
    for wrong in (
        "/page/%2e%2e%2findex.html",
        "/page/x.js",
        "/vendor/app.js",
    ):
        assert http.get(wrong).status_code == 404


def test_the_page_is_light():
    """Its weight on the wire, the first time."""
    files = [vendor.WEB / "index.html", vendor.WEB / "client" / "kissvdb.js"]
    for folder in ("page", "views", "vendor"):
        files += [path for path in (vendor.WEB / folder).iterdir() if path.suffix != ".txt"]
    weight = sum(len(gzip.compress(path.read_bytes())) for path in files)
    assert weight < WEIGHT_BYTES_MAX


def test_vendored_files_are_what_npm_has():
    vendor.check()


def test_commands_shortcuts_and_colours(page, site):
    page.goto(site.url)
    page.get_by_role("heading", name="Overview").wait_for()
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("colours")
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.reload()
    page.get_by_role("heading", name="Overview").wait_for()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 14, 17)"
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Shortcuts").get_by_text("Go to", exact=True).wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")


def test_a_locked_server_asks_for_the_key(page, locked_site, visit):
    visit.allow("401")
    page.goto(locked_site.url)
    field = page.get_by_role("textbox", name="API key")
    field.fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("The server does not take this key").wait_for()
    field.fill(ADMIN_KEY)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Overview").wait_for()
    page.reload()
    page.get_by_role("heading", name="Overview").wait_for()
    assert ADMIN_KEY not in page.url
    # Forgotten is forgotten, also where the server then asks for another.
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("forget")
    page.keyboard.press("Enter")
    field.wait_for()
    assert page.evaluate("() => sessionStorage.length") == 0
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("This server needs an API key").wait_for()
    page.get_by_role("heading", name="Overview").wait_for(state="detached")
