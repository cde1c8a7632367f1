"""A statement sees the whole database at one offset, whatever is written meanwhile."""

import itertools

import apsw
import attrs
import numpy as np
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.config import Storage
from kissvdb.core.events.publishing import Publish
from kissvdb.core.rows.rules import Upsert
from kissvdb.core.sql.commands import SqlCommand, Statement
from kissvdb.core.state.rules import Put
from kissvdb.engine.batches import Batch
from kissvdb.engine.sql.reading import SqlQuery
from kissvdb.engine.state import view as state_view
from kissvdb.engine.tables import taking
from kissvdb.engine.vectors.collection import VectorCommand
from tests.engine.test_sql_tables import opened, stored

EVERYTHING = (
    "SELECT s.value, d.doc ->> 'n', v.meta ->> 'n', w.meta ->> 'n', m.n,"
    " (SELECT data FROM events WHERE type = 'step' ORDER BY offset DESC LIMIT 1),"
    " (SELECT max(offset) FROM events), s.offset"
    " FROM state AS s, documents('notes') AS d, vectors('v') AS v, vectors('w') AS w, mine AS m"
    " WHERE s.key = 'n' AND d.id = 'n' AND v.id = 'n' AND w.id = 'n' AND m.id = 'n'"
)


def step(n):
    vector = np.array([n, 0], "<f4").tobytes()
    meta = b'{"n":%d}' % n
    return Batch(
        [
            Put("n", b"%d" % n),
            Put("doc:notes:n", meta),
            VectorCommand("v", Upsert("n", vector, meta)),
            VectorCommand("w", Upsert("n", vector, meta)),
            SqlCommand((Statement("UPDATE mine SET n = ? WHERE id = 'n'", (n,)),)),
            Publish("step", b"%d" % n),
        ]
    )


async def execute(db, sql, *params):
    await db.write(SqlCommand((Statement(sql, params),)))


async def write_steps(db, stop):
    n = 0
    while not stop.is_set():
        n += 1
        await db.batch(step(n))


async def write_noise(db, key, stop):
    n = 0
    while not stop.is_set():
        n += 1
        await db.put(key, n)
        await db.put(f"doc:notes:{key}", {"n": n})
        await db.vectors.upsert("v", key, [n, 1])
        await execute(db, "INSERT INTO mine VALUES (?, ?)", f"{key}{n}", n)


@pytest.fixture(params=["memory", "disk"])
async def reader(request, tmp_path):
    memory = request.param == "memory"
    storage = Storage(memory=True) if memory else Storage(data_dir=str(tmp_path))
    async with opened(storage) as found:
        for name in "vw":
            await found.db.vectors.create(name, dim=2, metric="l2")
        await execute(found.db, "CREATE TABLE mine(id TEXT PRIMARY KEY, n INTEGER)")
        await execute(found.db, "INSERT INTO mine VALUES ('n', -1)")
        await found.db.batch(step(0))
        yield found


@pytest.mark.parametrize("turns_max", [taking.TURNS_MAX, 0])
async def test_a_reader_never_sees_half_a_batch(reader, monkeypatch, turns_max):
    """``turns_max`` 0: owners are held for each snapshot."""
    monkeypatch.setattr(taking, "TURNS_MAX", turns_max)
    db, stop = reader.db, trio.Event()
    seen = set()
    async with trio.open_nursery() as writers:
        writers.start_soon(write_steps, db, stop)
        for key in ("a", "b"):
            writers.start_soon(write_noise, db, key, stop)
        while len(seen) < 10:
            before = db.last_offset
            async with db.sql.reader(SqlQuery(EVERYTHING)) as rows:
                (((value, *others, event, last, _),),) = [chunk async for chunk in rows]
            assert {int(value), *others, int(event)} == {int(value)}
            assert before <= last == rows.offset
            seen.add(value)
        stop.set()


async def test_a_snapshot_stays_as_it_was(reader):
    db = reader.db
    await db.put("gone", 1)
    sql = (
        "SELECT (SELECT group_concat(key || value, ' ' ORDER BY key) FROM state),"
        " (SELECT count(*) FROM documents('notes')), (SELECT count(*) FROM vectors('v')),"
        " (SELECT max(offset) FROM events)"
    )
    offset = db.last_offset
    snapshot = await reader.snapshot(sql)
    for n in range(20):
        await db.batch(step(n))
        await db.put(f"doc:notes:more{n}", {"n": n})
        await db.vectors.upsert("v", f"more{n}", [n, n])
    await db.delete("gone")
    if not db.config.storage.memory:
        await stored(db)

    assert await reader.run(snapshot, sql) == [('doc:notes:n{"n":0} gone1 n0', 1, 1, offset)]
    assert (await reader.select(sql))[0][1:] == (21, 21, db.last_offset)


async def test_writes_to_memory_go_on_while_a_snapshot_keeps_the_table(monkeypatch):
    monkeypatch.setattr(state_view, "ENTRIES_MAX", 50)
    async with opened(Storage(memory=True)) as reader:
        db = reader.db
        for n in range(40):
            await db.put(f"k{n:03}", n)
        await stored(db)
        snapshot = await reader.snapshot("SELECT * FROM state")
        for n in range(1000):
            await db.put(f"k{n:03}", -n)
        sql = "SELECT count(*), sum(value) FROM state"
        assert await reader.run(snapshot, sql) == [(40, sum(range(40)))]
        # It is let go of: the next one sees what was written, and the table gets it.
        assert await reader.select(sql) == [(1000, -sum(range(1000)))]
        with trio.fail_after(60):
            for shard in db.sources.state.shards:
                while shard.view.pending_entries > 50:  # noqa: ASYNC110 - nobody tells of it
                    await trio.sleep(0.01)


def from_the(number):
    """Whether it is over: no, until it has been asked so many times."""
    asked = itertools.count(1)
    return lambda: next(asked) >= number


async def test_what_is_over_ends_wherever_it_is(reader):
    db = reader.db
    await db.put("k", 1)
    await stored(db)
    for sql, looks in (
        ("SELECT count(*) FROM events WHERE type = 'none'", 2),
        ("SELECT count(*) FROM documents('notes')", 2),
        ("SELECT * FROM vector_search('v', '[1, 2]', 3)", 2),
        ("SELECT count(*) FROM state", 1),
    ):
        snapshot = await reader.snapshot(sql)
        snapshot.bounds = attrs.evolve(snapshot.bounds, is_over=from_the(looks))
        with pytest.raises(apsw.InterruptError):
            await reader.run(snapshot, sql)
    # Nothing of it is left open.
    assert await reader.select("SELECT value FROM state WHERE key = 'k'") == [("1",)]


async def test_a_view_or_a_trigger_cannot_use_our_tables(reader):
    reader.connection.execute("CREATE VIEW keys AS SELECT key FROM state")
    with pytest.raises(Exception, match="unsafe use of virtual table"):
        await reader.select("SELECT * FROM keys, state")


async def test_a_table_of_the_users_goes_before_ours(reader):
    await reader.db.put("a", 1)
    reader.connection.execute("CREATE TABLE state(mine); INSERT INTO state VALUES (7)")
    sql = "SELECT (SELECT mine FROM state), (SELECT key FROM kissvdb_state WHERE key = 'a')"
    assert await reader.select(sql) == [(7, "a")]


async def test_a_table_has_readers_again_once_statements_end(tmp_path):
    async with opened(Storage(data_dir=str(tmp_path))) as reader:
        await reader.db.put("a", 1)
        for _ in range(5):
            await reader.select("SELECT * FROM state")
        (table,) = {shard.view.table.idle_readers for shard in reader.db.sources.state.shards}
        assert table == 1
        first = await reader.snapshot("SELECT * FROM state")
        second = await reader.snapshot("SELECT * FROM state")
        first.close()
        first.close()
        second.close()
        (table,) = {shard.view.table.idle_readers for shard in reader.db.sources.state.shards}
        assert table == 2


async def test_snapshots_without_a_gap_do_not_keep_the_wal_growing(tmp_path):
    async with opened(Storage(data_dir=str(tmp_path))) as reader:
        db, sql = reader.db, "SELECT count(*) FROM state"
        (upkeep, *_) = db.sources.state.targets()
        upkeep._wal_pages_max = 1
        writer = upkeep.shard.view.table.writer
        snapshot = await reader.snapshot(sql)
        for n in range(50):
            await db.put(f"k{n}", "x" * 1000)
        await stored(db)
        await upkeep.bound_wal(nothing)
        assert writer.wal_pages > 4
        async with trio.open_nursery() as tasks:
            counts = []

            async def count():
                counts.append(await reader.select(sql))

            tasks.start_soon(count)
            await wait_all_tasks_blocked(0.05)
            assert not counts
            snapshot.close()
            await upkeep.bound_wal(nothing)
        assert writer.wal_pages == 0
        assert counts == [[(50,)]]


async def nothing():
    """Nothing of the log may go."""


def test_the_collections_of_a_statement_are_bounded():
    from kissvdb.engine.tables.uses import COLLECTIONS_MAX, uses_of
    from kissvdb.errors import InvalidArgument

    names = [f"c{n}" for n in range(COLLECTIONS_MAX + 1)]
    sql = "SELECT * FROM vectors(?)"
    uses = uses_of(sql, names[1:], lambda name: False, names.__contains__)
    assert uses is not None
    assert uses.vectors == set(names[1:])
    with pytest.raises(InvalidArgument, match="ask in several statements"):
        uses_of(sql, names, lambda name: False, names.__contains__)
    assert uses_of("SELECT * FROM mine", (), names.__contains__, names.__contains__) is None
