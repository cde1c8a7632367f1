"""The virtual tables: they show what the database holds, at one offset, and read no more than the
statement asks for."""

import json
from contextlib import asynccontextmanager
from functools import partial

import apsw
import attrs
import numpy as np
import pytest
import trio

from kissvdb.config import Config, Search, State, Storage
from kissvdb.core.events.publishing import Publish
from kissvdb.core.grants import Grants
from kissvdb.engine.opening import open_database
from kissvdb.engine.tables.registering import VirtualTables
from kissvdb.engine.tables.sight import Bounds
from kissvdb.engine.tables.taking import take
from kissvdb.engine.tables.uses import uses_of
from kissvdb.errors import DimMismatch, Forbidden, InvalidArgument, NotFound
from tests.patience import PATIENCE_SECS

QUICK = Config(search=Search(compile=False), state=State(shards=3))


class Reader:
    """A connection with the user's tables, and ours over a database."""

    def __init__(self, db):
        self.db = db
        self.connection = apsw.Connection(":memory:")
        self.tables = VirtualTables(self.connection)
        self.offset = 0

    async def snapshot(self, sql, params=(), *, sight=None, is_over=lambda: False):
        sources = self.db.sources
        uses = uses_of(sql, params, sources.has_documents, sources.has_vectors)
        assert uses is not None
        bounds = Bounds(is_over, lambda: 10.0, 100, sight)
        found = await take(sources, uses, bounds)
        self.offset = found.offset
        return found

    async def select(self, sql, params=(), **asked):
        snapshot = await self.snapshot(sql, params, **asked)
        return await self.run(snapshot, sql, params)

    async def run(self, snapshot, sql, params=()):
        return await trio.to_thread.run_sync(partial(self._run, snapshot, sql, params))

    def _run(self, snapshot, sql, params):
        try:
            with self.tables.reading(snapshot):
                return self.connection.execute(sql, params, can_cache=False).fetchall()
        finally:
            snapshot.close()

    async def plan(self, sql):
        rows = await self.select(f"EXPLAIN QUERY PLAN {sql}")
        return " / ".join(row[3] for row in rows)


@asynccontextmanager
async def opened(storage):
    async with open_database(attrs.evolve(QUICK, storage=storage)) as db:
        with trio.fail_after(PATIENCE_SECS):
            yield Reader(db)


@pytest.fixture(params=["memory", "disk"])
async def reader(request, tmp_path):
    memory = request.param == "memory"
    storage = Storage(memory=True) if memory else Storage(data_dir=str(tmp_path))
    async with opened(storage) as found:
        yield found


@pytest.fixture
async def quick_reader():
    async with opened(Storage(memory=True)) as found:
        yield found


async def stored(db):
    """What was written until now goes from the memtables into the tables."""
    for upkeep in db._state.targets():
        await upkeep.store()


async def test_state_shows_keys_wherever_they_are(reader):
    db = reader.db
    for n in range(40):
        await db.put(f"user:{n:02}", {"n": n})
    await db.put("short", 1, ttl_ms=1)
    await stored(db)
    changed = await db.put("user:03", {"n": 300})
    await db.delete("user:04")
    await db.put("user:40", {"n": 40})
    await trio.sleep(0.01)

    rows = await reader.select("SELECT key, value ->> 'n', revision FROM state ORDER BY key")

    expected = [(f"user:{n:02}", n, 1) for n in range(41) if n != 4]
    expected[3] = ("user:03", 300, 2)
    assert rows == expected
    assert reader.offset == db.last_offset
    sql = "SELECT value, offset, expires_at_ms FROM state WHERE key = ?"
    assert await reader.select(sql, ("user:03",)) == [('{"n":300}', changed.offset, None)]
    assert await reader.select(sql, ("user:04",)) == []
    assert await reader.select(sql, ("short",)) == []
    assert await reader.select(sql, (None,)) == []


CONDITIONS = [
    "key > 'b:1' AND key <= 'b:3'",
    "key >= 'b' AND key < 'c'",
    "key GLOB 'b:*'",
    "key GLOB '*:2'",
    "key LIKE 'B:%'",
    "key LIKE '1:%'",
    "key LIKE '%:2'",
    "key = 'b:2' OR key = 'a:1' OR key GLOB 'b:*'",
    "key IN ('a:1', 'none', 'b:2')",
    "key = 5",
    "key = 'B:2' COLLATE NOCASE",
    "key > 4",
    "key BETWEEN 'a' AND 'b:1'",
    "key > x'00'",
    "key NOT LIKE 'b%'",
    "value ->> 'n' > 1",
]


@pytest.mark.parametrize("order", ["", " ORDER BY key", " ORDER BY key DESC LIMIT 3 OFFSET 1"])
async def test_conditions_find_what_a_plain_table_would(reader, order):
    db = reader.db
    for n, key in enumerate(["a:1", "a:2", "b:1", "b:2", "b:3", "B:2", "c", "5", "1:x", "é:2"]):
        await db.put(key, {"n": n})
        if n == 5:
            await stored(db)
    copied = await reader.select("SELECT * FROM state")
    reader.connection.execute(
        "CREATE TABLE plain(key TEXT PRIMARY KEY, value TEXT, revision INTEGER, offset INTEGER,"
        " expires_at_ms INTEGER) WITHOUT ROWID"
    )
    reader.connection.executemany("INSERT INTO plain VALUES (?,?,?,?,?)", copied)
    for condition in CONDITIONS:
        sql = "SELECT * FROM {} WHERE " + condition + order
        expected = reader.connection.execute(sql.format("plain")).fetchall()
        found = await reader.select(sql.format("state"))
        assert found == expected if order else sorted(found) == sorted(expected), condition


async def test_documents_and_vectors_are_rows(quick_reader):
    db = quick_reader.db
    for n in range(30):
        await db.put(f"doc:notes:{n:02}", {"n": n, "lang": "en" if n % 2 else "de"})
    await db.put("doc:notes:03", {"n": 300})
    await db.delete("doc:notes:04")
    await db.vectors.create("v", dim=2, metric="l2")
    await db.vectors.upsert("v", "x", [1.0, 2.0], {"n": 1}, text="some words")
    await db.vectors.upsert("v", "y", [3.0, 4.0])
    select = quick_reader.select

    rows = await select("SELECT id, doc ->> 'n', revision FROM documents('notes') ORDER BY id")
    assert [row[:2] for row in rows] == [
        (f"{n:02}", 300 if n == 3 else n) for n in range(30) if n != 4
    ]
    assert rows[3][2] == 2
    sql = "SELECT id FROM documents WHERE collection = ? AND id = ?"
    assert await select(sql, ("notes", "07")) == [("07",)]
    assert await select(sql, ("notes", "04")) == []
    filters = json.dumps({"lang": "en", "n": {"$gte": 25}})
    sql = "SELECT id FROM documents('notes', ?)"
    assert await select(sql, (filters,)) == [("25",), ("27",), ("29",)]
    assert await select("SELECT * FROM documents('empty')") == []
    sql = "SELECT id, meta, text, vector FROM vectors('v')"
    assert await select(sql) == [
        ("x", '{"n":1}', "some words", np.array([1, 2], "<f4").tobytes()),
        ("y", None, None, np.array([3, 4], "<f4").tobytes()),
    ]


async def test_an_id_is_found_as_it_was_though_it_was_written_since(quick_reader):
    db = quick_reader.db
    for n in range(5):
        await db.put(f"doc:notes:a{n}", {"n": n})
    sql = "SELECT doc ->> 'n' FROM documents('notes') WHERE id = ?"
    for change in (db.put("doc:notes:a3", {"n": -1}), db.delete("doc:notes:a3")):
        await db.put("doc:notes:a3", {"n": 3})
        snapshot = await quick_reader.snapshot(sql, ("a3",))
        await change
        await db.documents.view("notes")
        assert await quick_reader.run(snapshot, sql, ("a3",)) == [(3,)]
    assert await quick_reader.select(sql, ("a3",)) == []


async def test_events_are_read_from_both_ends(reader):
    db = reader.db
    for n in range(200):
        await db.publish(Publish("step" if n % 2 else "jump", b'{"n":%d}' % n, key=f"k{n % 3}"))
    await db.put("a", 1)
    select = reader.select

    assert await select("SELECT count(*), min(offset), max(offset) FROM events") == [(201, 1, 201)]
    sql = "SELECT offset, type, key FROM events ORDER BY offset DESC LIMIT 2"
    assert await select(sql) == [(201, "state_updated", "a"), (200, "step", "k1")]
    sql = "SELECT data ->> 'n' FROM events WHERE type = 'jump' AND key = 'k2' AND offset > 180"
    assert await select(sql) == [(182,), (188,), (194,)]
    sql = "SELECT offset FROM events WHERE offset >= 5 AND offset < 7 ORDER BY offset DESC"
    assert await select(sql) == [(6,), (5,)]
    assert await select("SELECT type FROM events WHERE offset = 2") == [("step",)]
    assert await select("SELECT type FROM events WHERE offset > 201") == []


async def with_searches(db):
    await db.vectors.create("v", dim=2, metric="l2")
    for n in range(10):
        await db.vectors.upsert("v", f"v{n}", [float(n), 0.0], {"n": n}, text=f"word{n} common")
        await db.put(f"doc:notes:n{n}", {"title": f"title{n} of all", "n": n})


async def test_searches_are_tables_to_be_joined(quick_reader):
    await with_searches(quick_reader.db)
    select = quick_reader.select
    execute = quick_reader.connection.execute
    execute("CREATE TABLE mine(id TEXT, price INTEGER); INSERT INTO mine VALUES ('v3',3),('v8',8)")

    near = [(f"v{n}", rank) for rank, n in enumerate((3, 2, 4), start=1)]
    blob = np.array([2.9, 0], "<f4").tobytes()
    for vector in ("[2.9, 0]", " [2.9,0.0] ", blob):
        sql = "SELECT id, rank FROM vector_search('v', ?, 3)"
        assert await select(sql, (vector,)) == near
    sql = "SELECT id FROM vector_search('v', '[2.9, 0]', 3, '{\"n\": {\"$gte\": 5}}')"
    assert await select(sql) == [("v5",), ("v6",), ("v7",)]
    sql = (
        "SELECT mine.price, s.meta ->> 'n', s.rank FROM mine"
        " JOIN vector_search('v', '[2.9, 0]', 7) AS s ON s.id = mine.id"
    )
    assert await select(sql) == [(3, 3, 1)]
    sql = "SELECT count(*) FROM (SELECT id FROM vector_search('v', '[2.9, 0]'){})"
    db = quick_reader.db
    for n in range(10, 30):
        await db.vectors.upsert("v", f"v{n}", [float(n), 0.0], {"n": n})
    for limit, count in (("", 10), (" LIMIT 25", 25), (" LIMIT 5 OFFSET 20", 5), (" LIMIT -1", 10)):
        assert await select(sql.format(limit)) == [(count,)], limit
    sql = "SELECT id FROM vector_search('v', '[2.9, 0]') WHERE id = 'v7' LIMIT 1"
    assert await select(sql) == [("v7",)]
    sql = "SELECT id, doc ->> 'n' FROM text_search('notes', 'title7', 3)"
    assert await select(sql) == [("n7", 7)]
    sql = "SELECT id, text FROM text_search('v', 'word7', 3)"
    assert await select(sql) == [("v7", "word7 common")]
    sql = "SELECT id FROM hybrid_search('v', 'word7', 2, NULL, '[7, 0]')"
    assert (await select(sql))[0] == ("v7",)
    # Of each row's vector the nearest other.
    sql = (
        "SELECT t.id, s.id FROM vectors('v') AS t, vector_search('v', t.vector, 2) AS s"
        " WHERE s.rank = 1 AND t.id IN ('v1', 'v9')"
    )
    assert await select(sql) == [("v1", "v1"), ("v9", "v9")]


async def test_plans_show_what_is_pushed_down(quick_reader):
    await with_searches(quick_reader.db)
    execute = quick_reader.connection.execute
    execute("CREATE TABLE mine(id TEXT PRIMARY KEY, price INTEGER)")
    plan = quick_reader.plan

    assert "key=" in await plan("SELECT * FROM state WHERE key = 'a'")
    ranged = await plan("SELECT * FROM state WHERE key GLOB 'a*' ORDER BY key")
    assert "key GLOB" in ranged
    # In order already: nothing is sorted.
    assert ranged.endswith("ORDER BY key")
    newest = await plan("SELECT * FROM events WHERE type = 'a' ORDER BY offset DESC LIMIT 5")
    assert "type=" in newest
    assert newest.endswith("ORDER BY offset DESC")
    assert "id=" in await plan("SELECT * FROM documents('notes') WHERE id = 'a'")
    joined = await plan(
        "SELECT * FROM mine JOIN vector_search('v', '[1, 2]', 5) AS s ON s.id = mine.id"
    )
    assert joined.index("SCAN s") < joined.index("SEARCH mine")


REFUSED = [
    ("SELECT * FROM documents", InvalidArgument, "collection missing: write FROM documents('notes"),
    ("SELECT * FROM documents(7)", InvalidArgument, "collection must be text, not an integer"),
    ("SELECT * FROM documents('no' || 'tes')", InvalidArgument, "'notes' is not named"),
    ("SELECT * FROM vectors('none')", NotFound, "no collection 'none'"),
    ("SELECT * FROM documents('notes', '{')", InvalidArgument, "filters must be JSON text"),
    ("SELECT * FROM documents('notes', '[1]')", InvalidArgument, "expected an object"),
    ("SELECT * FROM vector_search('v')", InvalidArgument, "query missing: write FROM vector_sea"),
    ("SELECT * FROM vector_search('v', '[1]')", DimMismatch, "send 2 numbers"),
    ("SELECT * FROM vector_search('v', '[1')", InvalidArgument, "no JSON array of numbers"),
    ("SELECT * FROM vector_search('v', '[1, 1e300]')", InvalidArgument, "infinity or a number"),
    ("SELECT * FROM vector_search('v', x'0102')", InvalidArgument, "of 4 bytes each"),
    ("SELECT * FROM vector_search('v', 7)", InvalidArgument, "a text to embed, not an integer"),
    ("SELECT * FROM vector_search('v', 'text')", InvalidArgument, "has no embedder"),
    ("SELECT * FROM vector_search('v', ' ')", InvalidArgument, "an empty text has no vector"),
    ("SELECT * FROM vector_search('v', '[1, 2]', 0)", InvalidArgument, "from 1 to 100, not 0"),
    ("SELECT * FROM vector_search('v', '[1, 2]', 101)", InvalidArgument, "MAX_K"),
    ("SELECT * FROM vector_search('v', '[1, 2]', 'x')", InvalidArgument, "not text"),
    ("SELECT * FROM text_search('none', 'x')", NotFound, "no documents and no vectors"),
    ("SELECT * FROM text_search('notes', '')", InvalidArgument, "text_search: query: "),
    ("SELECT * FROM text_search('both', 'x')", InvalidArgument, "say which"),
    ("SELECT * FROM text_search('v', 'x', 3, NULL, 'keys')", InvalidArgument, "kind must be"),
]


async def test_bad_arguments_say_what_to_do(quick_reader):
    db = quick_reader.db
    await with_searches(db)
    await db.put("doc:both:1", {"a": "b"})
    await db.vectors.create("both", dim=2, metric="l2")
    for sql, error, message in REFUSED:
        with pytest.raises(error) as caught:
            await quick_reader.select(sql)
        assert message in str(caught.value), sql


async def test_who_has_grants_sees_no_more_than_these(reader):
    db = reader.db
    await with_searches(db)
    for key in ("mine:1", "mine:2", "one", "ones", "other:1", "doc:secret:1"):
        await db.put(key, {"k": key})
    await stored(db)
    await db.put("mine:3", 1)
    await db.put("other:2", 1)
    await db.publish(Publish("seen", b"1"))
    await db.publish(Publish("hidden", b"1"))
    sight = Grants(keys=("mine:*", "one"), documents=("n*",), events=("seen",))
    select = partial(reader.select, sight=sight)

    expected = [(f"doc:notes:n{n}",) for n in range(10)]
    expected += [("mine:1",), ("mine:2",), ("mine:3",), ("one",)]
    assert await select("SELECT key FROM state ORDER BY key") == expected
    assert await select("SELECT key FROM state WHERE key IN ('one', 'ones')") == [("one",)]
    assert await select("SELECT key FROM state WHERE key > 'mine:2'") == [("mine:3",), ("one",)]
    assert await select("SELECT count(*) FROM documents('notes')") == [(10,)]
    types = "SELECT DISTINCT type FROM events ORDER BY 1"
    assert await select(types) == [("seen",), ("state_updated",)]
    hidden = "SELECT count(*) FROM events WHERE key GLOB 'other*' OR key GLOB '*secret*'"
    assert await select(hidden) == [(0,)]
    for collection in ("secret", "zero"):
        # The same whether there is one or not.
        with pytest.raises(Forbidden, match=f"do not have the documents '{collection}'"):
            await select(f"SELECT * FROM documents('{collection}')")
        with pytest.raises(Forbidden, match=f"the documents '{collection}'"):
            await select(f"SELECT * FROM text_search('{collection}', 'x')")
    for collection in ("v", "none"):
        with pytest.raises(Forbidden, match=f"do not have the vectors '{collection}'"):
            await select(f"SELECT * FROM vector_search('{collection}', '[1, 2]')")
