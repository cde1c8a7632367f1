"""The view of keys in a real browser: a tree that is complete and live, edits that lose nothing."""

import pytest

from tests.browser.conftest import ADMIN_KEY

TTL_MS = 3_600_000


def row(page, name):
    return page.get_by_role("row", name=name)


def editor(page):
    return page.get_by_role("textbox", name="Value as JSON")


def write(page, text):
    editor(page).click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def test_a_tree_of_any_depth_that_follows_what_happens(page, site):
    for name in ("job:1:progress", "job:1:log:a", "job:2:progress", "alone", "ключ:é"):
        site.put(name, {"n": 1})
    page.goto(f"{site.url}/#/state")
    row(page, "job: 3 keys").click()
    row(page, "1: 2 keys").click()
    row(page, "log: 1 key").click()
    row(page, "ключ: 1 key").wait_for()
    site.put("job:1:log:b", [1, 2])
    row(page, "log: 2 keys").wait_for()
    page.get_by_text("b", exact=True).wait_for()
    site.http.delete("/v1/state/alone")
    page.get_by_text("alone").wait_for(state="detached")
    # A branch goes whole, and how much that is was asked before.
    page.get_by_role("checkbox", name="Choose job:1:", exact=True).check()
    page.get_by_role("button", name="Delete 1 chosen").click()
    question = page.get_by_role("dialog", name="Delete 3 keys?")
    question.get_by_role("button", name="Delete").click()
    row(page, "job: 1 key").wait_for()
    assert [each["key"] for each in site.get("/v1/state?prefix=job:")] == ["job:2:progress"]


def test_an_edit_keeps_time_to_live_and_numbers_and_loses_to_nobody(page, site, visit):
    visit.allow("409")
    raw = '{"value":{"big":12345678901234567890,"exact":0.10,"n":1},"ttl_ms":3600000}'
    json_type = {"content-type": "application/json"}
    site.http.put("/v1/state/config", content=raw, headers=json_type).raise_for_status()
    page.goto(f"{site.url}/#/state/config")
    page.get_by_role("button", name="Edit").click()
    text = editor(page).inner_text()
    assert "12345678901234567890" in text
    write(page, text.replace('"n": 1', '"n": 2'))
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved", exact=True).wait_for()
    stored = site.http.get("/v1/state/config")
    assert '"value":{"big":12345678901234567890,"exact":0.10,"n":2}' in stored.text
    left_ms = site.get("/v1/state/config")["expires_at_ms"] - site.get("/v1/stats")["now_ms"]
    assert TTL_MS - 120_000 < left_ms <= TTL_MS

    page.get_by_role("button", name="Edit").click()
    write(page, '{"mine": true}')
    site.put("config", {"theirs": True})
    # What is being edited is not touched.
    page.get_by_text("has changed while you edit").wait_for()
    assert "mine" in editor(page).inner_text()
    page.get_by_role("button", name="Save").click()
    conflict = page.get_by_text("Somebody else has written this key: it is at revision 3 now")
    conflict.wait_for()
    lines = page.get_by_label("Differences").inner_text()
    assert '"mine": true' in lines
    assert '"theirs": true' in lines
    assert site.get("/v1/state/config")["value"] == {"theirs": True}
    page.get_by_role("button", name="Keep mine").click()
    # Not "Go on editing", which is there until it is written.
    page.get_by_role("button", name="Edit", exact=True).wait_for()
    assert site.get("/v1/state/config")["value"] == {"mine": True}


def test_a_chosen_key_that_a_filter_hides_takes_no_others_with_it(page, site):
    for name in ("step1", "step10", "step11", "far"):
        site.put(name, 1)
    page.goto(f"{site.url}/#/state")
    page.get_by_role("checkbox", name="Choose step1", exact=True).check()
    page.get_by_role("searchbox", name="Filter the keys").fill("far")
    page.get_by_text("step1", exact=True).wait_for(state="detached")
    page.get_by_role("button", name="Delete 1 chosen").click()
    question = page.get_by_role("dialog", name="Delete 1 key?")
    question.get_by_role("button", name="Delete").click()
    page.get_by_text("1 deleted").wait_for()
    left = [each["key"] for each in site.get("/v1/state?prefix=step")]
    assert left == ["step10", "step11"]


def test_nobody_leaves_an_edit_without_being_asked(page, site):
    site.put("draft:1", {"n": 1})
    page.goto(f"{site.url}/#/state/draft%3A1")
    page.get_by_role("button", name="Edit").click()
    write(page, '{"n": 2}')
    question = page.get_by_role("dialog", name="Leave without saving?")
    page.get_by_role("link", name="SQL").click()
    question.get_by_role("button", name="Cancel").click()
    assert page.url.endswith("#/state/draft%3A1")
    assert editor(page).inner_text() == '{"n": 2}'
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Saved", exact=True).wait_for()
    page.get_by_role("link", name="SQL").click()
    page.get_by_role("textbox", name="SQL statement").wait_for()


def test_a_key_is_made_only_where_there_is_none(page, site, visit):
    visit.allow("409")
    site.put("there", 1)
    page.goto(f"{site.url}/#/state")
    page.get_by_role("button", name="New key").click()
    dialog = page.get_by_role("dialog", name="New key")
    dialog.get_by_label("Key", exact=True).fill("there")
    dialog.get_by_role("button", name="Create").click()
    dialog.get_by_text("revision_mismatch").wait_for()
    dialog.get_by_label("Key", exact=True).fill("né w/1")
    dialog.get_by_role("button", name="Create").click()
    page.get_by_role("heading", name="né w/1").wait_for()
    assert site.get("/v1/state/n%C3%A9%20w%2F1")["value"] == {}
    assert site.get("/v1/state/there")["value"] == 1


def test_a_key_that_only_reads_some_names(page, locked_site, visit):
    """It sees what it may, and what it may not is off and says why."""
    body = {"name": "reader", "role": "read", "scopes": {"keys": ["job:*", "one"]}}
    made = locked_site.http.post("/v1/auth/keys", json=body).json()
    for name in ("job:1", "secret:1", "one"):
        locked_site.put(name, {"n": 1})
    visit.allow("401")
    page.goto(locked_site.url)
    page.evaluate("key => sessionStorage.setItem('kissvdb.key', key)", made["key"])
    page.goto(f"{locked_site.url}/#/state")
    page.reload()
    page.get_by_text("reader").wait_for()
    row(page, "job:").click()
    row(page, "one").wait_for()
    page.get_by_text("secret").wait_for(state="detached")
    page.get_by_text("1", exact=True).first.click()
    edit = page.get_by_role("button", name="Edit")
    edit.wait_for()
    assert edit.is_disabled()
    assert "needs the role write" in edit.get_attribute("title")
    page.goto(f"{locked_site.url}/#/overview")
    page.get_by_text("job:*").wait_for()
    assert ADMIN_KEY not in page.content()


@pytest.mark.slow
def test_a_level_of_many_keys_is_listed_to_its_end(page, site):
    lines = "".join(f'{{"op":"put","key":"many/{n:05}","value":{n}}}\n' for n in range(12_000))
    site.http.post(
        "/v1/bulk?answers=errors", content=lines, headers={"content-type": "application/x-ndjson"}
    ).raise_for_status()
    page.goto(f"{site.url}/#/state?prefix=many/")
    page.get_by_text("12,000 shown").wait_for()
    page.get_by_role("region", name="Keys").evaluate("box => box.scrollTo(0, box.scrollHeight)")
    page.get_by_text("11999").wait_for()
