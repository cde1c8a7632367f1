"""The views of data in a browser: searches, the map, documents, SQL."""

import re

import httpx
import pytest

from tests.crash.process import ServerProcess
from tests.patience import PATIENCE_SECS

KINDS = ("fruit", "tool", "song")
sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

WORDS = ("apple pear plum", "hammer saw drill", "ballad hymn march")


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A server with something of every model; what tests write has names of its own."""
    directory = tmp_path_factory.mktemp("views") / "data"
    server = ServerProcess(directory, "--set", "search.compile=false")
    server.start()
    with httpx.Client(base_url=server.url, timeout=PATIENCE_SECS) as http:
        fill(http)
        yield http
    server.kill()


def fill(http):
    def post(path, body):
        http.post(path, json=body).raise_for_status()

    post("/v1/vector/things", {"dim": 3, "metric": "l2"})
    items = [
        {
            "id": f"thing-{n}",
            "vector": [10 * (n % 3), n / 10, 1],
            "text": f"{WORDS[n % 3]} number {n}",
            "meta": {"kind": KINDS[n % 3], "n": n, "tags": ["all", f"t{n % 2}"]},
        }
        for n in range(60)
    ]
    post("/v1/vector/things/upsert_batch", {"items": items})
    books = [
        {"id": f"book-{n:02}", "doc": {"title": f"Volume {n}", "genre": KINDS[n % 3], "year": n}}
        for n in range(40)
    ]
    post("/v1/doc/books/put_batch", {"documents": books})
    post("/v1/sql/exec", {"sql": "CREATE TABLE loans (id INTEGER PRIMARY KEY, book TEXT, days)"})
    insert = "INSERT INTO loans (book, days) VALUES ('book-01', 7), ('<b>', 9007199254740993)"
    post("/v1/sql/exec", {"sql": insert})


def at(filled, path):
    return f"{filled.base_url}/#/{path}".replace("//#", "/#")


def test_what_is_found_can_be_narrowed_by_clicks(page, filled):
    page.goto(at(filled, "vectors"))
    page.get_by_role("link", name="things").click()
    page.get_by_role("searchbox", name="Words").fill("hammer")
    page.keyboard.press("Enter")
    hits = page.get_by_role("list", name="Hits").locator("> li")
    hits.nth(9).wait_for()
    assert hits.first.locator("mark").inner_text() == "hammer"
    assert "text" in page.get_by_role("region", name="How the search went").inner_text()
    # A value in a hit becomes a condition; a condition can be turned round.
    hits.first.get_by_role("button", name="t1", exact=True).click()
    chip = page.get_by_role("button", name=re.compile("tags ∋ t1"))
    chip.wait_for()
    with_other = hits.filter(has=page.get_by_role("button", name="t0", exact=True))
    expect(with_other).to_have_count(0)
    chip.click()
    expect(with_other).to_have_count(10)
    # What counts a field counts what matches, and is clicked, too.
    page.get_by_role("region", name="values of kind").get_by_role("button", name="tool").click()
    page.get_by_role("button", name=re.compile("kind = tool")).wait_for()
    page.get_by_role("button", name="filter as JSON").click()
    page.get_by_role("textbox", name="filter as JSON").fill('{"n": {"$lt": 10}')
    page.get_by_role("alert").wait_for()
    page.get_by_role("textbox", name="filter as JSON").fill('{"n": {"$lt": 10}}')
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_text("These are all that match and pass.").wait_for()
    assert hits.locator(".v-id").all_inner_texts() == ["thing-4"]
    hits.first.get_by_role("link", name="similar").click()
    expect(page.get_by_role("region", name="How the search went")).to_contain_text("vector")
    page.get_by_role("button", name="API").click()
    calls = page.get_by_role("dialog").inner_text()
    assert "/v1/vector/things/search" in calls
    assert '"id":"thing-4"' in calls.replace(" ", "")


def test_the_map_shows_points_and_leads_to_what_is_near(page, filled):
    page.goto(at(filled, "vectors/things?tab=map"))
    colours = page.get_by_role("list", name="Colours of kind")
    colours.get_by_text("song").wait_for()
    assert re.sub(r"\s+", " ", colours.inner_text()) == "fruit 20 song 20 tool 20"
    drawn = """() => {
      const canvas = document.querySelector("canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.some((each) => each);
    }"""
    page.evaluate("() => new Promise(requestAnimationFrame)")
    page.evaluate("() => new Promise(requestAnimationFrame)")
    assert page.evaluate(drawn)
    # By keys: the list beside it, its row, and what is similar to that.
    page.get_by_role("searchbox", name="Find in the list").fill("song")
    points = page.get_by_role("list", name="Vectors of the map").get_by_role("button")
    points.nth(19).wait_for()
    points.first.focus()
    page.keyboard.press("ArrowDown")
    name = page.evaluate("document.activeElement.querySelector('span').innerText")
    page.locator(".v-row").get_by_text("hymn").wait_for()
    assert name in page.locator(".v-row").inner_text()
    page.keyboard.press("Enter")
    first = page.get_by_role("list", name="Hits").locator("> li").first
    first.wait_for()
    assert first.locator(".v-id").inner_text() == name
    assert f"id={name}" in page.url


def test_an_edit_of_a_document_keeps_numbers_and_never_hides_another(page, filled, visit):
    visit.allow("409")
    put = "/v1/doc/exact/one"
    filled.put(put, content='{"big":12345678901234567890,"price":0.10,"name":"a"}')
    page.goto(at(filled, "documents/exact?id=one"))
    editor = page.get_by_role("textbox", name="Document as JSON")
    editor.get_by_text('"a"').wait_for()
    assert "12345678901234567890" in editor.inner_text()

    def write(name):
        editor.click()
        page.keyboard.press("Control+a")
        page.keyboard.insert_text(
            f'{{"big": 12345678901234567890, "price": 0.10, "name": "{name}"}}'
        )

    write("mine")
    filled.put(put, content='{"big":1,"name":"theirs"}').raise_for_status()
    page.get_by_role("button", name="Save", exact=True).click()
    conflict = page.get_by_label("Conflict")
    conflict.get_by_text("it is at revision 2 now, you read 1").wait_for()
    expect(conflict.locator(".v-less").filter(has_text='"theirs"')).to_have_count(1)
    expect(conflict.locator(".v-more").filter(has_text='"mine"')).to_have_count(1)
    conflict.get_by_role("button", name="Write mine over it").click()
    page.get_by_text("Saved one").wait_for()
    stored = filled.get(put).text
    assert '"big":12345678901234567890,"price":0.10,"name":"mine"' in stored
    assert '"revision":3' in stored


@pytest.mark.slow
def test_documents_are_found_by_facets_and_order(page, filled):
    page.goto(at(filled, "documents/books"))
    page.get_by_text("40 found").wait_for()
    facet = page.get_by_role("region", name="values of genre").get_by_role("button", name="song")
    facet.click()
    page.get_by_text("13 found").wait_for()
    page.get_by_role("button", name="year", exact=True).click()
    page.get_by_role("button", name="year", exact=True).click()
    expect(page.locator("tbody tr").first).to_contain_text("book-38")
    page.get_by_role("tab", name="Search by words").click()
    page.get_by_role("searchbox", name="Words").fill("volume")
    page.keyboard.press("Enter")
    page.get_by_text("13 documents match").wait_for()


def test_sql_is_completed_from_what_stands_there_also_ahead_of_the_list(page, filled):
    page.goto(at(filled, "sql"))
    page.get_by_role("button", name="loans", exact=True).wait_for()
    editor = page.get_by_role("textbox", name="SQL statement")
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.press("Backspace")
    page.keyboard.type("SELECT loans.")
    page.get_by_role("option", name="book").wait_for()
    page.evaluate(
        "() => { window.later = requestAnimationFrame; requestAnimationFrame = () => 0; }"
    )
    page.keyboard.type("da")
    page.keyboard.press("Tab")
    page.evaluate("() => { requestAnimationFrame = window.later; }")
    assert editor.inner_text().strip() == "SELECT loans.days"


def test_sql_is_completed_run_explained_and_refused_in_its_place(page, filled, visit):
    visit.allow("400")
    page.goto(at(filled, "sql"))
    editor = page.get_by_role("textbox", name="SQL statement")
    page.get_by_role("button", name="loans", exact=True).wait_for()

    def write(text):
        editor.click()
        page.keyboard.press("Control+a")
        page.keyboard.press("Backspace")
        page.keyboard.type(text)

    write("SELECT book, days FROM loa")
    page.get_by_role("option", name="loans").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.type(" WHERE lo")
    page.keyboard.press("Escape")
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    page.keyboard.type("loans.da")
    page.get_by_role("option", name="days").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.type(" > 1")
    assert editor.inner_text().strip() == "SELECT book, days FROM loans WHERE loans.days > 1"
    page.keyboard.press("Control+Enter")
    page.get_by_text("2 rows").first.wait_for()
    cells = page.get_by_role("region", name="Rows of the statement").inner_text()
    assert "9007199254740993" in cells
    assert "<b>" in cells
    page.get_by_role("button", name="Plan", exact=True).click()
    page.get_by_role("region", name="Plan of the statement").get_by_text("SCAN loans").wait_for()
    # Several lines at once, as an input method or a drop brings them.
    write("")
    page.keyboard.insert_text("SELECT book\nFORM loans LIMIT 1")
    page.keyboard.press("Control+Enter")
    place = page.get_by_role("alert")
    place.get_by_text("line 2").wait_for()
    # What writes is executed on demand only, and asked about when it takes everything.
    write("DELETE FROM loans")
    page.get_by_role("button", name="Switch to Execute").click()
    page.keyboard.press("Escape")
    editor.click()
    page.keyboard.press("Control+Enter")
    page.get_by_role("dialog", name="Execute this?").get_by_text("every row").wait_for()
    page.get_by_role("button", name="Cancel").click()
    left = filled.post("/v1/sql/query", json={"sql": "SELECT count(*) AS n FROM loans"}).json()
    assert left["rows"] == [{"n": 2}]
    page.get_by_text("History").click()
    assert page.locator(".v-history li").count() >= 2


def test_another_index_is_built_and_searches_are_tuned(page, filled):
    filled.post("/v1/vector/few", json={"dim": 3, "metric": "l2"}).raise_for_status()
    items = [{"id": f"few-{n}", "vector": [n, n % 5, n % 7]} for n in range(100)]
    filled.post("/v1/vector/few/upsert_batch", json={"items": items}).raise_for_status()
    page.goto(at(filled, "vectors/few?tab=about"))
    page.get_by_role("button", name="Another index").click()
    dialog = page.get_by_role("dialog", name="Another index")
    expect(dialog.get_by_label("Codes")).to_have_value("auto")
    dialog.get_by_label("Index").select_option("ivf")
    dialog.get_by_label("lists").fill("20")
    dialog.get_by_role("button", name="Build it").click()
    facts = page.locator(".v-facts")
    facts.get_by_text("nprobe").wait_for()
    assert filled.get("/v1/vector/few").json()["index"] == {"kind": "ivf", "lists": 20}
    expect(facts).to_contain_text("never: tune")
    page.get_by_role("button", name="Tune").click()
    dialog = page.get_by_role("dialog", name="How hard searches try")
    dialog.get_by_role("button", name="Measure and set").click()
    dialog.get_by_role("status", name="What was measured").get_by_text("finds").first.wait_for()
    dialog.get_by_role("button", name="Close").last.click()
    expect(dialog).to_have_count(0)
