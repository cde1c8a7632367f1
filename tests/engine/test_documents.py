"""Documents as an embedder uses them: found when acknowledged, listed, deleted, recovered."""

import errno
import json
import shutil
from contextlib import suppress
from pathlib import Path

import attrs
import pytest
import trio
import trio.lowlevel

from kissvdb.config import Config, Limits, Search, State, Storage
from kissvdb.core.filters import parse as filters
from kissvdb.core.state.rules import Delete, Patch, Put
from kissvdb.core.text.settings import TextSettings
from kissvdb.engine.documents import collection, pending, registry
from kissvdb.engine.documents.settings import DocumentSettings
from kissvdb.engine.opening import open_database
from kissvdb.errors import InvalidArgument, NotFound, PersistenceFailed, Refused, ReservedKey
from tests.engine.test_database import Clock

# Compiled code is for the tests of kernels; here it would only take time.
IN_NUMPY = Search(compile=False)
IN_MEMORY = Config(storage=Storage(memory=True), search=IN_NUMPY)


@pytest.fixture
def config(tmp_path):
    return Config(
        storage=Storage(data_dir=str(tmp_path / "data")),
        search=IN_NUMPY,
        state=State(shards=2),
    )


def directory(config, name="c"):
    return Path(config.storage.data_dir) / "documents" / name


async def found(db, tree=None, collection="c"):
    """The documents that pass, by id, as rows have them."""
    view = await db.documents.view(collection)
    rows = view.scroll(limit=10**6, tree=filters.parse(tree))
    return {row.id: json.loads(row.meta) for row in rows}


async def stored(db, collection="c"):
    """All documents, by id, as the state has them."""
    items, after = {}, None
    while True:
        page = await db.list(f"doc:{collection}:", limit=1000, after=after)
        for item in page.items:
            items[item.key.removeprefix(f"doc:{collection}:")] = json.loads(item.value)
        after = page.cursor
        if after is None:
            return items


async def is_like_the_keys(db, collection="c"):
    """Rows are what the keys are, with their revisions and offsets."""
    view = await db.documents.view(collection)
    for row in view.scroll(limit=10**6):
        item = db.get(f"doc:{collection}:{row.id}")
        assert (item.value, item.revision, item.offset) == (row.meta, row.revision, row.offset)
    assert await found(db, None, collection) == await stored(db, collection)


async def fill(db, count, collection="c", start=0):
    await db.write_many(
        [
            Put(f"doc:{collection}:d{n:05}", b'{"n":%d,"text":"number %d of many"}' % (n, n))
            for n in range(start, start + count)
        ]
    )


async def test_a_document_is_found_once_it_is_answered():
    async with open_database(IN_MEMORY) as db:
        await db.put("doc:c:a", {"x": 1, "deep": {"y": 2}})
        assert await found(db, {"x": 1}) == {"a": {"x": 1, "deep": {"y": 2}}}
        await db.write(Patch("doc:c:a", b'{"x":2}'))
        assert await found(db, {"x": 1}) == {}
        assert list(await found(db, {"x": 2, "deep.y": 2})) == ["a"]
        await db.put("doc:c:b", {"x": 2})
        await db.delete("doc:c:a")
        assert await found(db, {"x": 2}) == {"b": {"x": 2}}
        await is_like_the_keys(db)


async def test_a_key_is_of_one_collection_and_one_document():
    async with open_database(IN_MEMORY) as db:
        for key in ("doc:a:b:c", "doc:a:", "doc:no colon", "doc::x", "doc:.b:c", "docs:a:b", "doc"):
            await db.put(key, {"key": key})
        assert await found(db, None, "a") == {"b:c": {"key": "doc:a:b:c"}}
        assert [each.name for each in await db.documents.collections()] == ["a"]


async def test_any_json_may_be_a_document():
    odd = [b"1", b'"text"', b"null", b"[1,2]", b"{}", b"1e999", b'{"a":' * 900 + b"1" + b"}" * 900]
    async with open_database(IN_MEMORY) as db:
        for number, value in enumerate(odd):
            await db.write(Put(f"doc:c:{number}", value))
        await db.put("doc:c:good", {"x": 1})
        view = await db.documents.view("c")
        assert [row.meta for row in view.scroll()] == [*odd, b'{"x":1}']
        assert list(await found(db, {"x": 1})) == ["good"]


async def test_collections_come_and_go_with_their_documents():
    async with open_database(IN_MEMORY) as db:
        assert await db.documents.collections() == []
        with pytest.raises(NotFound, match="first document"):
            await db.documents.view("c")
        await fill(db, 3)
        await fill(db, 2, "b")
        listed = await db.documents.collections()
        assert [(each.name, each.count) for each in listed] == [("b", 2), ("c", 3)]
        assert all(each.offset == db.last_offset and each.bytes for each in listed)
        assert await db.documents.drop("c") == (3, 8)
        with pytest.raises(NotFound):
            await db.documents.drop("c")
        assert [each.name for each in await db.documents.collections()] == ["b"]
        await fill(db, 1)
        assert list(await found(db)) == ["d00000"]


async def test_who_looks_while_a_collection_ends_sees_what_was_deleted():
    async with open_database(IN_MEMORY) as db:

        async def look():
            with suppress(NotFound):
                assert await found(db) == {}

        for _ in range(12):
            await fill(db, 20)
            assert len(await found(db)) == 20
            await db.write_many([Delete(f"doc:c:d{n:05}") for n in range(20)])
            db.documents._registry.retire("c")
            async with trio.open_nursery() as readers:
                for _ in range(3):
                    readers.start_soon(look)


async def test_there_are_so_many_collections_and_no_more():
    config = attrs.evolve(IN_MEMORY, limits=Limits(collections_max=2))
    async with open_database(config) as db:
        await db.put("doc:a:1", 1)
        await db.put("doc:b:1", 1)
        last = db.last_offset
        with pytest.raises(Refused, match="collections_max"):
            await db.put("doc:c:1", 1)
        with pytest.raises(Refused, match="collections_max"):
            await db.documents.configure("c", DocumentSettings())
        assert db.last_offset == last
        await db.put("doc:a:2", 1)
        await db.documents.drop("a")
        with trio.fail_after(5):
            while True:
                # Room comes a moment later.
                try:
                    await db.put("doc:c:1", 1)
                    break
                except Refused:
                    await trio.sleep(0.01)
        assert list(await found(db)) == ["1"]


async def test_what_passes_is_deleted_and_nothing_else():
    async with open_database(IN_MEMORY) as db:
        await fill(db, 2500)
        tree = filters.parse({"n": {"$gte": 100}})
        assert await db.documents.delete_matching("c", tree) == (2400, db.last_offset)
        assert len(await found(db)) == 100
        assert await db.documents.delete_matching("c", tree) == (0, None)
        await is_like_the_keys(db)


async def test_many_at_once_are_found_too_and_all_or_none_of_a_batch():
    async with open_database(IN_MEMORY) as db:
        sizes = []
        done = trio.Event()

        async def write():
            for start in range(0, 6000, 1000):
                await fill(db, 1000, start=start)
                assert len(await found(db)) >= start + 1000
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            while not done.is_set():
                await trio.sleep(0.001)
                if db.get("doc:c:d00000") is not None:
                    sizes.append((await db.documents.view("c")).live_count)
        # One write of many is one install.
        assert {size % 1000 for size in sizes} == {0}


async def test_an_expired_document_is_not_found_before_its_end_is_logged():
    clock = Clock()
    async with open_database(IN_MEMORY, clock_ms=clock) as db:
        await db.put("doc:c:short", {"x": 1}, ttl_ms=50)
        await db.put("doc:c:long", {"x": 1})
        assert len(await found(db, {"x": 1})) == 2
        clock.now_ms += 100
        assert list(await found(db, {"x": 1})) == ["long"]
        with trio.fail_after(5):
            while db.last_offset < 3:  # noqa: ASYNC110
                await trio.sleep(0.01)
        await is_like_the_keys(db)


async def test_settings_are_a_key_that_only_configure_writes(config):
    key = "docs:c:manifest"
    wanted = DocumentSettings(TextSettings.from_json({"fields": {"title": {"weight": 3}}}))
    async with open_database(config) as db:
        for command in (Put(key, b"1"), Patch(key, b"{}"), Delete(key)):
            with pytest.raises(ReservedKey, match="PUT /v1/doc/c"):
                await db.write(command)
        with pytest.raises(InvalidArgument):
            await db.documents.configure("no name", wanted)
        await db.documents.configure("c", wanted)
        assert db.documents.settings("c") == wanted
        (listed,) = await db.documents.collections()
        assert (listed.name, listed.count, listed.configured) == ("c", 0, True)
        with pytest.raises(ReservedKey):
            await db.delete(key)
    async with open_database(config) as db:
        assert db.documents.settings("c") == wanted
        assert await found(db) == {}
        await fill(db, 1)
        assert (await db.documents.view("c")).spec.text_settings == wanted.text
        assert (await db.documents.drop("c"))[0] == 1
        assert db.get(key) is None
        assert await db.documents.collections() == []


async def test_other_text_settings_make_other_rows_while_writes_go_on(config):
    wanted = DocumentSettings(TextSettings.from_json({"others": False, "fields": ["text"]}))
    async with open_database(config) as db:
        await fill(db, 600)
        await db.documents.configure("c", wanted)
        count = 600
        with trio.fail_after(20):
            while (await db.documents.view("c")).spec.text_settings != wanted.text:
                await fill(db, 10, start=count)
                count += 10
                await db.delete(f"doc:c:d{count - 5:05}")
        await is_like_the_keys(db)
    async with open_database(config) as db:
        assert (await db.documents.view("c")).spec.text_settings == wanted.text
        await is_like_the_keys(db)


async def crashed(config, tmp_path, work):
    """A configuration for a copy of what a crash after this work leaves."""
    async with open_database(config) as db:
        await work(db)
        shutil.copytree(config.storage.data_dir, tmp_path / "crashed")
    return attrs.evolve(config, storage=Storage(data_dir=str(tmp_path / "crashed")))


async def test_a_clean_stop_leaves_nothing_to_do(config, caplog):
    async with open_database(config) as db:
        await fill(db, 400)
    async with open_database(config) as db:
        assert db.documents._registry.opened["c"].actor.built
        assert len(await found(db, {"n": {"$lt": 70}})) == 70
        await is_like_the_keys(db)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("saved", [True, False])
async def test_a_crash_loses_no_document(config, tmp_path, saved):
    if saved:
        config = attrs.evolve(config, state=State(shards=1))

    async def work(db):
        await fill(db, 300)
        if saved:
            await db.snapshot()
        await db.delete("doc:c:d00007")
        await db.put("doc:c:d00008", {"n": -1})
        await fill(db, 300, start=300)

    config = await crashed(config, tmp_path, work)
    for _ in range(2):
        async with open_database(config) as db:
            assert len(await found(db)) == 599
            assert list(await found(db, {"n": -1})) == ["d00008"]
            await is_like_the_keys(db)


def refuse(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_no_checkpoint_lacks_what_rows_could_not_take(config, tmp_path, monkeypatch):
    async def work(db):
        await fill(db, 10)
        await db.snapshot()
        rows = db.documents._registry.opened["c"].actor.rows
        with monkeypatch.context() as patch:
            patch.setattr(rows, "reserve", refuse)
            await fill(db, 10, start=10)
            with pytest.raises(PersistenceFailed, match="cannot grow"):
                await found(db)
            await db.snapshot()
        assert len(await found(db)) == 20
        await db.snapshot()

    async with open_database(await crashed(config, tmp_path, work)) as db:
        assert len(await found(db)) == 20
        await is_like_the_keys(db)


async def test_a_collection_that_cannot_begin_refuses_writes_once_too_much_waits(monkeypatch):
    monkeypatch.setattr(registry, "RETRY_SECONDS", 0.1)
    async with open_database(IN_MEMORY) as db:
        with monkeypatch.context() as patch:
            patch.setattr(pending, "PENDING_MAX", 5)
            patch.setattr(db._store.documents, "create", refuse)
            await fill(db, 5)
            with trio.fail_after(5), pytest.raises(PersistenceFailed, match="could not begin"):
                await db.put("k", 1)
        with trio.fail_after(5):
            while True:
                with suppress(PersistenceFailed):
                    assert len(await found(db)) == 5
                    break
                await trio.sleep(0.05)
        await db.put("k", 1)


async def test_a_stop_does_not_wait_for_rows_that_are_being_built(config, monkeypatch):
    wanted = DocumentSettings(TextSettings.from_json({"others": False, "fields": ["text"]}))
    monkeypatch.setattr(collection, "SCANNED_AT_ONCE", 1)
    async with open_database(config) as db:
        await fill(db, 1500)
        await found(db)
        await db.documents.configure("c", wanted)
        with trio.fail_after(5):
            while db.documents._registry.opened["c"].upkeep.working != "text settings":
                await trio.lowlevel.checkpoint()
        actor = db.documents._registry.opened["c"].actor
    assert actor.rows.spec.text_settings != wanted.text
    monkeypatch.undo()
    async with open_database(config) as db:
        with trio.fail_after(20):
            while (await db.documents.view("c")).spec.text_settings != wanted.text:  # noqa: ASYNC110
                await trio.sleep(0.05)
        await is_like_the_keys(db)


def lose(path):
    shutil.rmtree(path)


def tear(path):
    (file,) = path.glob("ends.*.rows")
    file.write_bytes(file.read_bytes()[:100])


def scribble(path):
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace("generation", "generatiom"))


@pytest.mark.parametrize("harm", [lose, tear, scribble])
async def test_files_that_are_lost_or_damaged_are_made_anew(config, caplog, harm):
    async with open_database(config) as db:
        await fill(db, 300)
    harm(directory(config))
    for _ in range(2):
        async with open_database(config) as db:
            assert len(await found(db, {"n": {"$lt": 50}})) == 50
            await is_like_the_keys(db)
    warned = [record for record in caplog.records if "made anew from the keys" in record.message]
    assert len(warned) == (harm is not lose)


async def test_a_backup_has_the_documents(config, tmp_path):
    import io

    from kissvdb.storage import backup

    async with open_database(config) as db:
        await fill(db, 300)
        blocks = [block async for block in db.backup()]
        await fill(db, 100, start=5000)
    backup.unpack(io.BytesIO(b"".join(blocks)), tmp_path / "restored")
    assert (tmp_path / "restored" / "documents" / "c" / "manifest.json").exists()
    restored = attrs.evolve(config, storage=Storage(data_dir=str(tmp_path / "restored")))
    async with open_database(restored) as db:
        assert len(await found(db)) == 300
        await is_like_the_keys(db)
