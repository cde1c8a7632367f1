"""Documents in a program of one's own: Python values in and out, found as soon as written."""

import pytest

import kissvdb
from kissvdb.config import Config, Search, Storage
from kissvdb.errors import InvalidArgument, NotFound, RevisionMismatch

IN_MEMORY = Config(storage=Storage(memory=True), search=Search(compile=False))


async def test_documents_are_written_found_and_deleted():
    async with kissvdb.open_database(IN_MEMORY) as db:
        docs = db.documents
        assert await docs.names() == []
        written = await docs.put("books", "a/b:c", {"title": "Running home", "year": 1961})
        await docs.put("books", "ubik", {"title": "Ubik", "year": 1969})
        assert docs.get("books", "a/b:c").document == {"title": "Running home", "year": 1961}
        assert db.get("doc:books:a/b:c").revision == written.revision == 1
        with pytest.raises(RevisionMismatch):
            await docs.put("books", "ubik", {}, if_revision=0)
        await docs.patch("books", "ubik", {"year": 1970, "author": "Dick"})
        page = await docs.find("books", {"year": {"$gte": 1970}})
        assert [(each.id, each.revision) for each in page.items] == [("ubik", 2)]
        assert await docs.count("books", {"author": "Dick"}) == 1
        assert await docs.delete_matching("books", {"year": 1961}) == 1
        assert (await docs.delete("books", "ubik")).deleted
        assert await docs.names() == []
        assert (await docs.find("books")).items == []
        assert docs.get("books", "ubik") is None


async def test_pages_go_on_in_an_order():
    async with kissvdb.open_database(IN_MEMORY) as db:
        for number in range(7):
            await db.documents.put("c", f"d{number}", {"n": number % 3})
        ids, cursor = [], None
        while True:
            page = await db.documents.find("c", sort="-n", limit=3, cursor=cursor)
            ids += [each.id for each in page.items]
            cursor = page.cursor
            if cursor is None:
                break
        assert ids == ["d2", "d5", "d1", "d4", "d0", "d3", "d6"]


async def test_words_find_documents_by_the_settings_of_their_collection():
    async with kissvdb.open_database(IN_MEMORY) as db:
        docs = db.documents
        await docs.configure("c", {"text": {"fields": {"title": {"weight": 5}}}})
        await docs.put("c", "said", {"title": "nothing", "body": "he runs"})
        await docs.put("c", "named", {"title": "running", "body": "nothing"})
        hits = await docs.search("c", "run")
        assert [hit.item.id for hit in hits] == ["named", "said"]
        assert hits[0].score > hits[1].score
        assert [hit.item.id for hit in await docs.search("c", "runing")] == ["named", "said"]
        assert await docs.search("c", "runing", typos="off") == []
        assert await docs.search("c", "title:run", filters={"body": "he runs"}) == []
        with pytest.raises(InvalidArgument, match="settings"):
            await docs.configure("c", {"texts": {}})
        assert await docs.drop("c") == 2
        assert await docs.search("c", "run") == []
        with pytest.raises(NotFound):
            await docs.drop("c")


@pytest.mark.parametrize("name", ["", "a:b", ".a", "x" * 65])
async def test_names_are_as_over_http(name):
    async with kissvdb.open_database(IN_MEMORY) as db:
        with pytest.raises(InvalidArgument):
            await db.documents.put(name, "a", {})
        with pytest.raises(InvalidArgument):
            await db.documents.put("c", "", {})
