"""Makes the pictures of docs/page_data.md: `.venv/bin/python -m tests.browser.data_shots`.

As `shots`, of the sample of real data. Not a test.
"""

from scripts.sample import sample
from tests.browser.shots import WIDE, shoot


def fill(site):
    sample.load(sample.Server(site.url))
    made = "CREATE TABLE packages (name TEXT PRIMARY KEY NOT NULL, section TEXT, synopsis TEXT)"
    site.http.post("/v1/sql/exec", json={"sql": made}).raise_for_status()
    insert = "INSERT INTO packages VALUES (?, ?, ?)"
    statements = [
        {"sql": insert, "params": [each["id"], each["section"], each["synopsis"]]}
        for each in sample.packages()
    ]
    for first in range(0, len(statements), 200):
        part = {"statements": statements[first : first + 200]}
        site.http.post("/v1/sql/batch", json=part).raise_for_status()


def search(page, site):
    page.goto(f"{site.url}/#/vectors/{sample.COLLECTION}?tab=search&by=hybrid&q=music+player")
    page.get_by_role("button", name="Search", exact=True).click()
    page.locator(".v-hit").first.wait_for()
    page.get_by_role("button", name="sound").first.click()
    page.get_by_role("button", name="section = sound").wait_for()


def vector_map(page, site):
    page.goto(f"{site.url}/#/vectors/{sample.COLLECTION}?tab=map")
    points = page.get_by_role("list", name="Vectors of the map").get_by_role("button")
    points.nth(3).focus()
    page.locator(".v-row .v-passage").wait_for()


def sql(page, site):
    page.goto(f"{site.url}/#/sql")
    page.get_by_role("button", name="packages", exact=True).click()
    page.get_by_role("textbox", name="SQL statement").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(
        "SELECT found.rank, found.id, packages.section, packages.synopsis\n"
        f"FROM text_search('{sample.DOCUMENTS}', 'music player', 20) AS found\n"
        "JOIN packages ON packages.name = found.id\nORDER BY found.rank"
    )
    page.keyboard.press("Control+Enter")
    page.get_by_role("region", name="Rows of the statement").wait_for()


SHOTS = (
    ("search", search, WIDE, "light"),
    ("map", vector_map, WIDE, "dark"),
    ("sql", sql, WIDE, "light"),
)


if __name__ == "__main__":
    shoot(fill, SHOTS)
