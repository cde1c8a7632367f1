"""What a statement of anybody's may not do with our tables: take longer than it may, hold on to
memory, or see more than its sight."""

import numpy as np
import pytest
import trio

from kissvdb.config import Storage
from kissvdb.core.events.publishing import Publish
from kissvdb.core.grants import Grants
from kissvdb.core.rows.rules import Upsert
from kissvdb.core.sql.commands import SqlCommand, Statement
from kissvdb.core.state.rules import Put
from kissvdb.engine.batches import Batch
from kissvdb.engine.sql.reading import SqlQuery
from kissvdb.engine.vectors.collection import VectorCommand
from kissvdb.errors import Forbidden, InvalidArgument, KissError, RequestTimeout, SqliteError
from kissvdb.records import EventPublished
from tests.engine.test_sql_tables import opened

TIMEOUT_MS = 200


@pytest.fixture
async def db():
    async with opened(Storage(memory=True)) as found:
        db = found.db
        await db.vectors.create("v", dim=2, metric="l2")
        await db.batch(Batch([each for n in range(50) for each in commands_of(n)]))
        yield db


def commands_of(n):
    meta = b'{"n":%d,"text":"word%d"}' % (n, n)
    vector = np.array([n, 0], "<f4").tobytes()
    return (
        Put(f"k{n}", meta),
        Put(f"doc:notes:n{n}", meta),
        VectorCommand("v", Upsert(f"v{n}", vector, meta)),
        Publish("step", b"{}"),
    )


async def read(db, sql, params=(), timeout_ms=60_000, **more):
    async with db.sql.reader(SqlQuery(sql, params, timeout_ms=timeout_ms, **more)) as rows:
        return [row async for chunk in rows for row in chunk]


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
BOMBS = [
    "SELECT count(*) FROM state, state AS b, state AS c, events",
    "SELECT count(*) FROM events, events AS b, events AS c",
    "SELECT count(*) FROM documents('notes'), documents('notes') AS b, events, events AS c",
    ENDLESS + "SELECT count(*) FROM c, vector_search('v', json_array(x, 1), 50)",
    ENDLESS + "SELECT count(*) FROM c, text_search('notes', 'word' || x, 50)",
    ENDLESS + "SELECT count(*) FROM c, state WHERE key = 'k' || x",
    ENDLESS + "SELECT count(*) FROM c, documents('notes') WHERE id = 'n' || x",
    ENDLESS + "SELECT count(*) FROM c, events WHERE offset = x % 50",
    ENDLESS + "SELECT count(*) FROM c, documents('notes', json_object('n', x))",
]


@pytest.mark.parametrize("sql", BOMBS)
async def test_a_statement_ends_in_time_whatever_it_does(db, sql):
    ticks = 0
    async with trio.open_nursery() as tasks:

        async def tick():
            nonlocal ticks
            while True:
                await trio.sleep(0.005)
                db.get("k1")
                ticks += 1

        tasks.start_soon(tick)
        with pytest.raises(RequestTimeout):
            await read(db, sql, timeout_ms=TIMEOUT_MS)
        tasks.cancel_scope.cancel()
    # The loop has gone on meanwhile, and nothing is held.
    assert ticks
    assert not any(shard.view.is_pinned for shard in db.sources.state.shards)
    assert await read(db, "SELECT value ->> 'n' FROM state WHERE key = 'k1'") == [(1,)]


async def test_values_are_no_longer_than_others(db):
    await db.put("long", "x" * 60_000)
    sql = "SELECT group_concat(value) FROM state, documents('notes') WHERE key = 'long'"
    with pytest.raises(SqliteError, match="too big"):
        await read(db, sql)


async def test_nobody_writes_our_tables(db):
    for sql in (
        "INSERT INTO state(key, value) VALUES ('a', '1')",
        "DELETE FROM state",
        "UPDATE events SET type = 'a'",
        "DROP TABLE documents",
        "CREATE VIRTUAL TABLE mine USING state",
    ):
        with pytest.raises(KissError):
            await read(db, sql)


async def test_a_view_in_the_users_file_cannot_read_them(db):
    create = "CREATE VIEW keys AS SELECT key FROM state"
    await db.write(SqlCommand((Statement(create),)))
    # Also where the statement itself reads the table.
    for sql in ("SELECT * FROM keys", "SELECT * FROM keys, state"):
        with pytest.raises(SqliteError, match="unsafe use of virtual table"):
            await read(db, sql)


async def test_grants_hold_for_tables_of_both_kinds(db):
    for create in ("CREATE TABLE mine(id)", "CREATE TABLE no(n)"):
        await db.write(SqlCommand((Statement(create),)))
    sight = Grants(keys=("k1",), tables=("mine",))
    assert await read(db, "SELECT key FROM state", sight=sight) == [("k1",)]
    assert await read(db, "SELECT * FROM mine, state", sight=sight) == []
    assert await read(db, "SELECT count(*) FROM events", sight=sight) == [(1,)]
    for sql in (
        "SELECT * FROM no, state",
        "SELECT * FROM documents('notes')",
        "SELECT * FROM vectors('v')",
        "SELECT * FROM vector_search('v', '[1, 2]')",
        "SELECT * FROM hybrid_search('none', 'a')",
    ):
        with pytest.raises(Forbidden):
            await read(db, sql, sight=sight)


async def test_events_of_keys_and_audits_are_for_admins(db):
    record = EventPublished("audit", b"{}")
    await db.append_events([record]).wait()
    sql = "SELECT count(*) FROM events WHERE type = 'audit'"
    assert await read(db, sql) == [(1,)]
    assert await read(db, sql, private=False) == [(0,)]
    assert await read(db, sql, sight=Grants(keys=("*",), events=("*",))) == [(0,)]


async def test_too_many_collections_are_refused_before_anything_is_read(db):
    names = [f"c{n}" for n in range(70)]
    for name in names:
        await db.write(Put(f"doc:{name}:1", b"1"))
    marks = ",".join("?" * len(names))
    with pytest.raises(InvalidArgument, match="ask in several statements"):
        await read(db, f"SELECT * FROM documents('c1') WHERE id IN ({marks})", names)
