"""Documents point at what is there."""

import re
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted(DOCS.rglob("*.md")),
]
INDEXES = [ROOT / "README.md", DOCS / "guides" / "README.md"]
"""What a reader begins with: every page is linked from one of them."""
CODE = re.compile(
    r"^(`{3,})[^\n]*\n.*?^\1`*$|(?<!`)(`+)(?!`).+?(?<!`)\2(?!`)", re.DOTALL | re.MULTILINE
)
LINK = re.compile(r"\]\(([^)\s]+)(?: \"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
FENCE = re.compile(r"^(`{3,})[^\n]*\n.*?^\1`*$", re.DOTALL | re.MULTILINE)


def links(page):
    """What a page links to, outside of its code."""
    return LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))


@cache
def anchors(page):
    """The names of a page's headings, as GitHub makes them."""
    found, counts = set(), {}
    for heading in HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        count = counts[name] = counts.get(name, -1) + 1
        found.add(f"{name}-{count}" if count else name)
    return found


def of_page(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=of_page)
def test_links_lead_to_what_is_there(page):
    for link in links(page):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            assert parts.scheme in ("http", "https", "mailto"), f"{link}: not an address"
            assert parts.netloc or parts.path, f"{link}: not an address"
            continue
        target = (page.parent / parts.path).resolve() if parts.path else page
        assert target.exists(), f"{of_page(page)} links to {link}"
        assert target.is_relative_to(ROOT), f"{link} leads out of the project"
        if parts.fragment and target.suffix == ".md":
            assert parts.fragment in anchors(target), f"{of_page(page)}: no heading for {link}"


def test_every_page_is_linked_from_the_readme_or_the_index_of_guides():
    linked = {
        (index.parent / urlsplit(link).path).resolve() for index in INDEXES for link in links(index)
    }
    for page in DOCS.rglob("*.md"):
        assert page in linked, f"{of_page(page)} is not in the README, nor in docs/guides/README.md"


def test_the_two_commands_come_first():
    text = (ROOT / "README.md").read_text()
    first = text.index("```sh")
    assert text[first:].startswith("```sh\nscripts/run")
    assert "scripts/test" in text[first:].split("```")[1]
