"""What is written from the page, backups, and what a key may not."""

import io
import json
import re
import tarfile

import httpx
import pytest

from tests.browser.conftest import ADMIN_KEY, started
from tests.patience import PATIENCE_SECS

expect = pytest.importorskip("playwright.sync_api").expect

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path):
    """An open server of each test's own. Named before `page`: it ends after it."""
    found = started(tmp_path / "data")
    yield found
    found.http.close()
    found.server.kill()


@pytest.fixture
def locked_site(tmp_path):
    """As `site`, with a key."""
    found = started(tmp_path / "data", ADMIN_KEY)
    yield found
    found.http.close()
    found.server.kill()


def write(page, editor, text):
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def test_a_collection_is_made_filled_changed_and_dropped(site, page):
    page.goto(f"{site.url}/#/vectors")
    page.get_by_role("button", name="New collection").click()
    page.get_by_label("Name").fill("notes")
    page.get_by_label("Numbers (dim)").fill("2")
    page.get_by_role("button", name="Create").click()
    for id_, kind in (("a", "old"), ("ü/λ", "new")):
        page.get_by_role("button", name="Add a row").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Id").fill(id_)
        dialog.get_by_label("Text", exact=True).fill(f"text of {id_}")
        meta = dialog.get_by_role("textbox", name="Metadata as JSON")
        write(page, meta, f'{{"kind": "{kind}", "n": 12345678901234567890, "p": 0.10}}')
        dialog.get_by_role("textbox", name="Vector").fill("1, 2, 3")
        dialog.get_by_role("button", name="Add", exact=True).click()
        dialog.get_by_text("the vector has 3 numbers, notes has 2").wait_for()
        dialog.get_by_role("textbox", name="Vector").fill("[1, 2]")
        dialog.get_by_role("button", name="Add", exact=True).click()
        page.get_by_text(f"Added {id_}").wait_for()
    # A change of the text leaves the numbers as they were sent.
    page.get_by_role("row").filter(has_text="ü/λ").click()
    dialog = page.get_by_role("dialog", name="ü/λ")
    dialog.get_by_label("Text", exact=True).fill("another text")
    dialog.get_by_role("button", name="Save changes").click()
    page.get_by_text("Saved ü/λ").wait_for()
    stored = site.http.get("/v1/vector/notes/get", params={"id": "ü/λ"}).text
    assert '"n":12345678901234567890,"p":0.1' in stored
    assert '"another text"' in stored
    # By a filter, and not without the name typed.
    page.get_by_role("row").filter(has_text="old").click()
    page.get_by_role("dialog").get_by_role("button", name="old", exact=True).click()
    page.get_by_role("button", name="Delete these 1").click()
    sure = page.get_by_role("button", name="Delete 1", exact=True)
    expect(sure).to_be_disabled()
    page.get_by_label("Type notes").fill("notes")
    sure.click()
    page.get_by_text("1 vector deleted").wait_for()
    assert site.get("/v1/vector/notes")["count"] == 1
    page.get_by_role("tab", name="About").click()
    page.get_by_role("button", name="Vacuum now").click()
    page.get_by_text("dead rows are gone").wait_for()
    page.get_by_role("button", name="Drop the collection").click()
    page.get_by_label("Type notes").fill("notes")
    page.get_by_role("button", name="Drop", exact=True).click()
    page.get_by_text("No collections of vectors yet").wait_for()


def test_a_batch_is_done_together_or_says_which_part_was_refused(site, page, visit):
    visit.allow("409")
    page.goto(f"{site.url}/#/batch")
    for each in ("put a key", "put a document", "append an event"):
        page.get_by_label("Add an operation").select_option(each)
    page.get_by_label("Add a guard").select_option("a key is absent")
    page.get_by_role("button", name="Send 3 together").click()
    page.get_by_text("visible at one moment").wait_for()
    first = page.get_by_role("region", name="Operations").get_by_role("listitem").first
    first.get_by_text("revision 1").wait_for()
    assert site.get("/v1/state/order:1")["value"] == {"items": 2}
    editor = page.get_by_role("textbox", name="Operations 0 as JSON")
    write(page, editor, '{"op": "put", "key": "order:1"')
    expect(page.get_by_role("button", name=re.compile("Send"))).to_be_disabled()
    write(page, editor, '{"op": "put", "key": "order:1", "value": 3}')
    page.get_by_role("button", name="Send 3 together").click()
    guards = page.get_by_role("region", name="Guards")
    guards.get_by_text("refused").wait_for()
    assert site.get("/v1/state/order:1")["revision"] == 1
    page.reload()
    page.get_by_role("textbox", name="Operations 2 as JSON").wait_for()


def test_keys_are_issued_once_rotated_and_revoked(locked_site, page):
    page.add_init_script(f"sessionStorage.setItem('kissvdb.key', {json.dumps(ADMIN_KEY)})")
    page.goto(f"{locked_site.url}/#/keys")
    page.get_by_role("button", name="Issue a key").click()
    page.get_by_label("Name", exact=True).fill("dash board")
    page.get_by_label("Role").select_option("write")
    page.get_by_label("Ends after").fill("2")
    page.get_by_label("only some names").check()
    expect(page.get_by_role("button", name="Issue", exact=True)).to_be_disabled()
    page.get_by_label("collections of documents").fill("books, notes_*")
    page.get_by_label("routes (left empty: all)").fill("GET /v1/doc*")
    page.get_by_role("button", name="Issue", exact=True).click()
    secret = page.locator(".v-secret code").inner_text()
    page.get_by_role("button", name="I have kept it").click()
    listed = locked_site.get("/v1/auth/keys")
    assert listed[0]["scopes"] == {"documents": ["books", "notes_*"], "routes": ["GET /v1/doc*"]}
    assert listed[0]["expires_at_ms"] is not None
    assert secret not in page.content()
    asked = {"headers": {"x-api-key": secret}, "timeout": PATIENCE_SECS}
    assert httpx.get(f"{locked_site.url}/v1/doc", **asked).status_code == 200
    page.get_by_role("button", name="Rotate dash board").click()
    page.get_by_label("The former secret").fill("0")
    page.get_by_role("button", name="Rotate", exact=True).click()
    assert page.locator(".v-secret code").inner_text() != secret
    page.keyboard.press("Escape")
    assert httpx.get(f"{locked_site.url}/v1/doc", **asked).status_code == 401
    page.get_by_role("button", name="Revoke dash board").click()
    page.get_by_role("button", name="Revoke", exact=True).click()
    page.get_by_text("No keys issued yet").wait_for()


def test_a_key_that_only_reads_some_names_sees_these_and_why_the_rest_is_off(
    locked_site, page, visit
):
    visit.allow("403")
    http = locked_site.http
    for name in ("mine", "theirs"):
        http.post(f"/v1/vector/{name}", json={"dim": 2}).raise_for_status()
        item = {"id": "a", "vector": [1, 0], "text": "some words", "meta": {"kind": "x"}}
        http.post(f"/v1/vector/{name}/upsert", json=item).raise_for_status()
    body = {"name": "reader", "role": "read", "scopes": {"vectors": ["mine"]}}
    key = http.post("/v1/auth/keys", json=body).raise_for_status().json()["key"]
    page.add_init_script(f"sessionStorage.setItem('kissvdb.key', {json.dumps(key)})")
    page.goto(f"{locked_site.url}/#/vectors")
    page.get_by_role("link", name="mine").wait_for()
    assert page.get_by_role("link", name="theirs").count() == 0
    new = page.get_by_role("button", name="New collection")
    expect(new).to_be_disabled()
    assert "needs the role write" in new.get_attribute("title")
    page.get_by_role("link", name="mine").click()
    page.get_by_role("searchbox", name="Words").fill("words")
    page.keyboard.press("Enter")
    page.locator(".v-hit").wait_for()
    page.get_by_role("tab", name="Map").click()
    page.get_by_role("list", name="Vectors of the map").get_by_role("button").wait_for()
    page.get_by_role("tab", name="Rows").click()
    expect(page.get_by_role("button", name="Add a row")).to_be_disabled()
    page.goto(f"{locked_site.url}/#/keys")
    page.get_by_text("Keys are for admins").wait_for()
    page.goto(f"{locked_site.url}/#/backup")
    expect(page.get_by_role("button", name="Download a backup")).to_be_disabled()
    page.goto(f"{locked_site.url}/#/vectors/theirs")
    page.get_by_role("alert").get_by_text("scopes of this API key").first.wait_for()


def test_a_backup_is_downloaded_and_files_are_brought_up_to_date(site, page):
    site.put("a", 1)
    page.goto(f"{site.url}/#/backup")
    page.get_by_role("button", name="Checkpoint").click()
    page.get_by_text("Every file holds everything up to offset 1").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download a backup").click()
    path = download.value.path()
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as tar:
        assert any("log" in each for each in tar.getnames())
    page.goto(f"{site.url}/#/keys")
    page.get_by_text("This server is open").wait_for()
