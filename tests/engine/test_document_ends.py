"""The end of a collection whose documents are all gone."""

import trio

from kissvdb.core.state.rules import Delete
from kissvdb.engine.opening import open_database
from kissvdb.engine.state import view as state_view
from kissvdb.engine.state.view import StateView
from tests.engine.test_documents import IN_MEMORY, fill, found


async def test_what_comes_while_a_collection_of_many_gone_documents_ends_is_kept(monkeypatch):
    page, pages = StateView.page, []

    def counted(view, prefix, after, *rest, **options):
        pages.append(after)
        if len(pages) == 3:
            # Before where it looks.
            tasks.start_soon(db.put, "doc:c:a", 1)
        return page(view, prefix, after, *rest, **options)

    async with open_database(IN_MEMORY) as db, trio.open_nursery() as tasks:
        await fill(db, 40)
        await db.write_many([Delete(f"doc:c:d{n:05}") for n in range(40)])
        monkeypatch.setattr(state_view, "PASSED_MAX", 3)
        monkeypatch.setattr(StateView, "page", counted)
        db.documents._registry.retire("c")
        with trio.fail_after(5):
            while len(pages) < 14:  # noqa: ASYNC110 - nobody tells of it
                await trio.sleep(0.001)
        assert await found(db) == {"a": 1}
        # Others had their turn after each page.
        assert len(set(pages)) > 10
        await db.documents.drop("c")
        with trio.fail_after(5):
            while "c" in db.documents._registry.opened:  # noqa: ASYNC110 - nor of that
                await trio.sleep(0.001)
