"""Reading SQL: what a statement answers, what it is refused, and that it ends."""

import apsw
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from kissvdb.core.grants import Grants
from kissvdb.engine.sql.reader_threads import Turns
from kissvdb.engine.sql.readers import WAITING_FACTOR, Readers
from kissvdb.engine.sql.reading import SqlQuery
from kissvdb.errors import (
    Forbidden,
    InvalidArgument,
    Overloaded,
    RequestTimeout,
    SqliteError,
)

ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c"


@pytest.fixture
def writer(tmp_path):
    """A connection that writes the file, as its owner does."""
    db = apsw.Connection(str(tmp_path / "sql.db"))
    db.execute("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0").fetchall()
    db.execute("PRAGMA synchronous=OFF; BEGIN").fetchall()
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, n)").fetchall()
    db.executemany("INSERT INTO t(name, n) VALUES (?,?)", [(f"row{n}", n) for n in range(2000)])
    db.execute("PRAGMA application_id=3; PRAGMA user_version=-2; COMMIT").fetchall()
    yield db
    db.close()


@pytest.fixture
async def readers(writer, tmp_path, nursery):
    found = Readers(tmp_path / "sql.db", 2)
    nursery.start_soon(found.look_after)
    yield found
    found.close()


async def read(readers, sql, params=(), **more):
    async with readers.reader(SqlQuery(sql, params, **more)) as rows:
        found = [row async for chunk in rows for row in chunk]
    return rows, found


async def test_rows_their_columns_and_the_offset_they_are_true_at(readers):
    rows, found = await read(readers, "SELECT id, name FROM t WHERE id <= ?", (2,))
    assert found == [(1, "row0"), (2, "row1")]
    assert rows.columns == ("id", "name")
    assert rows.offset == (3 << 32) + (1 << 32) - 2
    assert not rows.truncated


async def test_parameters_by_name(readers):
    _, found = await read(readers, "SELECT :a + $b + @c", {"a": 1, "b": 2, "c": 3})
    assert found == [(6,)]


async def test_all_values_keep_their_type(readers):
    values = (None, 7, -(2**63), 0.5, "text\0é", b"\0\xff")
    _, found = await read(readers, "SELECT ?,?,?,?,?,?", values)
    assert found == [values]


async def test_columns_of_one_name_are_told_apart(readers):
    sql = "SELECT 1 AS id, 2 AS id, 3 AS 'id:1', 4 AS id"
    rows, _ = await read(readers, sql)
    assert rows.columns == ("id", "id:1", "id:1:1", "id:2")


async def test_many_rows_come_in_chunks_of_one_moment(readers, writer):
    async with readers.reader(SqlQuery("SELECT n FROM t ORDER BY id")) as rows:
        found = [await anext(rows)]
        writer.execute("DELETE FROM t").fetchall()
        found += [chunk async for chunk in rows]
    assert [n for chunk in found for (n,) in chunk] == list(range(2000))
    assert len(found) > 2
    assert readers.busy == 0


async def test_what_is_over_the_limits_is_cut_off_and_said(readers):
    rows, found = await read(readers, "SELECT n FROM t", rows_max=2000)
    assert (len(found), rows.truncated) == (2000, False)
    rows, found = await read(readers, "SELECT n FROM t", rows_max=1999)
    assert (len(found), rows.truncated) == (1999, True)
    rows, found = await read(readers, "SELECT zeroblob(100000) FROM t", bytes_max=1_000_000)
    assert 7 < len(found) < 12
    assert rows.truncated


async def test_rows_take_their_form_in_the_thread(readers):
    query = SqlQuery("SELECT n FROM t")
    async with readers.reader(query, shape=len) as rows:
        assert sum([count async for count in rows]) == 2000


@pytest.mark.parametrize(
    ("sql", "params", "word"),
    [
        ("SELECT missing FROM t", (), "no such column"),
        ("SELEC", (), "syntax"),
        ("SELECT ?", (), "bindings"),
        ("SELECT ?", (1, 2), "bindings"),
        ("SELECT :a", {}, "'a'"),
        ("SELECT :a", {"a": 1, "b": 2}, ":b"),
        ("SELECT ?", (2**63,), "64 bits"),
        ("SELECT CAST(x'ff' AS TEXT)", (), "UTF-8"),
        ("SELECT 1\0", (), "null character"),
        ("SELECT ?", ("x" * 2_000_000,), "1 MiB"),
        ("SELECT sum(n) FROM t WHERE abs(-9223372036854775808)", (), "overflow"),
    ],
)
async def test_what_sqlite_does_not_take(readers, sql, params, word):
    with pytest.raises(SqliteError, match=word):
        await read(readers, sql, params)
    assert readers.busy == 0
    await read(readers, "SELECT 1")


async def test_one_statement_only(readers):
    for sql in ("SELECT 1; SELECT 2", "SELECT 1; DROP TABLE t", "SELECT 1;;x"):
        with pytest.raises(InvalidArgument, match="more than one"):
            await read(readers, sql)
    for sql in ("SELECT 1;", "SELECT 1 ; -- done", "SELECT 1;;/* ; */ \n;", "-- a\nSELECT 1"):
        assert (await read(readers, sql))[1] == [(1,)]


async def test_what_takes_too_long_is_stopped(readers):
    with pytest.raises(RequestTimeout, match="100 ms"):
        await read(readers, f"SELECT count(*) FROM ({ENDLESS})", timeout_ms=100)
    assert (await read(readers, "SELECT 1"))[1] == [(1,)]


async def test_what_needs_too_much_room_is_stopped(readers):
    sql = f"SELECT count(*) FROM (SELECT x, hex(zeroblob(5000)) y FROM ({ENDLESS}) ORDER BY y, x)"
    with pytest.raises(SqliteError, match="MiB of what it sorts"):
        await read(readers, sql, timeout_ms=60_000)


async def test_whoever_leaves_stops_the_statement(readers):
    sql = f"SELECT count(*) FROM ({ENDLESS})"
    with trio.move_on_after(0.1) as scope:
        await read(readers, sql, timeout_ms=3_600_000)
    assert scope.cancelled_caught
    assert readers.busy == 0
    assert (await read(readers, "SELECT 1"))[1] == [(1,)]


async def test_rows_that_nobody_takes_do_not_hold_on_to_the_past(readers, writer):
    async with readers.reader(SqlQuery(ENDLESS, rows_max=10**9, timeout_ms=150)) as rows:
        await anext(rows)
        writer.execute("DELETE FROM t WHERE id = 1").fetchall()
        log, moved = writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        assert moved < log
        await trio.sleep(0.4)
        log, moved = writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        assert moved == log
        assert readers.busy == 0
        with pytest.raises(RequestTimeout, match="150 ms"):
            async for _ in rows:
                pass


async def test_when_all_connections_are_busy_some_wait_and_some_are_turned_away(readers):
    began, over = (trio.Event(), trio.Event()), trio.Event()
    refused = []

    async def hold(began):
        async with readers.reader(SqlQuery(ENDLESS, rows_max=10**9, timeout_ms=60_000)) as rows:
            await anext(rows)
            began.set()
            await over.wait()

    async def ask():
        try:
            await read(readers, "SELECT 1", timeout_ms=60_000)
        except Overloaded as refusal:
            refused.append(refusal)

    async with trio.open_nursery() as holders:
        holders.start_soon(hold, began[0])
        holders.start_soon(hold, began[1])
        await began[0].wait()
        await began[1].wait()
        with pytest.raises(Overloaded, match="busy"):
            await read(readers, "SELECT 1", timeout_ms=20)
        async with trio.open_nursery() as askers:
            for _ in range(2 * WAITING_FACTOR + 2):
                askers.start_soon(ask)
            await wait_all_tasks_blocked()
            over.set()
    assert len(refused) == 2


async def test_a_reader_never_waits_for_a_writer(readers, writer):
    writer.execute("BEGIN IMMEDIATE; DELETE FROM t").fetchall()
    assert (await read(readers, "SELECT count(*) FROM t"))[1] == [(2000,)]
    writer.execute("COMMIT").fetchall()
    assert (await read(readers, "SELECT count(*) FROM t"))[1] == [(0,)]


async def test_a_schema_that_changes_is_seen(readers, writer):
    await read(readers, "SELECT * FROM t LIMIT 1")
    writer.execute("ALTER TABLE t ADD COLUMN more DEFAULT 5; DROP TABLE IF EXISTS u").fetchall()
    rows, found = await read(readers, "SELECT * FROM t LIMIT 1")
    assert rows.columns[-1] == "more"
    assert found[0][-1] == 5


@pytest.fixture
def tenants(writer):
    writer.execute(
        "CREATE TABLE other(secret); INSERT INTO other VALUES ('s');"
        "CREATE VIEW of_other AS SELECT secret FROM other;"
        "CREATE VIRTUAL TABLE words USING fts5(text); INSERT INTO words VALUES ('a word')"
    ).fetchall()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM other",
        "SELECT count(*) FROM other",
        "SELECT 1 FROM t WHERE EXISTS (SELECT 1 FROM other)",
        "SELECT (SELECT secret FROM other) FROM t",
        "WITH t AS (SELECT secret FROM other) SELECT * FROM t",
        "SELECT * FROM of_other",
        "SELECT count(*) FROM of_other",
        "SELECT name FROM sqlite_schema",
        "SELECT * FROM pragma_table_list",
        "SELECT * FROM pragma_table_info('other')",
        "SELECT * FROM words_content",
    ],
)
async def test_a_key_of_some_tables_reads_no_other(readers, tenants, sql):
    with pytest.raises((Forbidden, SqliteError)) as caught:
        await read(readers, sql, sight=Grants(tables=("t",)))
    assert "secret" not in caught.value.message.replace(sql, "")


async def test_a_key_of_a_full_text_table_searches_it(readers, tenants):
    sql = "SELECT text FROM words WHERE words MATCH 'word'"
    assert (await read(readers, sql, sight=Grants(tables=("words",))))[1] == [("a word",)]
    assert (await read(readers, "SELECT count(*) FROM t", sight=Grants(tables=("t",))))[1] == [
        (2000,)
    ]


async def test_who_is_cancelled_before_the_next_rows_are_read_leaves_at_once(readers):
    async with readers.reader(SqlQuery("SELECT * FROM t")) as rows:
        await anext(rows)
        with trio.fail_after(5), trio.CancelScope() as scope:
            scope.cancel()
            await anext(rows)
        assert scope.cancelled_caught
    assert readers.busy == 0
    assert (await read(readers, "SELECT count(*) FROM t"))[1] == [(2000,)]


@pytest.mark.parametrize("table", ["sqlite_schema", "sqlite_master", "pragma_table_list"])
async def test_a_pattern_that_takes_names_of_sqlite_in_does_not_show_all_tables(readers, table):
    for pattern in (("s*", "p*"), ("sqlite_*", "pragma_*")):
        with pytest.raises(Forbidden):
            await read(readers, f"SELECT name FROM {table}", sight=Grants(tables=pattern))
    if table != "pragma_table_list":
        everything = Grants(tables=("*",))
        assert (await read(readers, f"SELECT name FROM {table}", sight=everything))[1] == [("t",)]


def lay_trap(writer, name):
    """Views of which the last is the first 512 times."""
    writer.execute(f"CREATE VIEW {name}0 AS SELECT * FROM t")
    for n in range(9):
        inner = f"SELECT * FROM {name}{n}"
        writer.execute(f"CREATE VIEW {name}{n + 1} AS {inner} UNION ALL {inner}")


async def test_views_of_views_are_counted_before_sqlite_writes_them_out(readers, writer):
    _, found = await read(readers, "SELECT 1")
    lay_trap(writer, "deep")
    with pytest.raises(SqliteError, match="views of views"):
        await read(readers, "SELECT * FROM deep9")
    _, found = await read(readers, "SELECT count(*) FROM deep3")
    assert found == [(16_000,)]


async def test_views_that_a_key_may_not_see_are_told_as_what_is_not_there(readers, writer):
    lay_trap(writer, "deep")
    sight = Grants(tables=("t",))
    refusals = []
    for name in ("deep9", "nope9"):
        with pytest.raises(Forbidden) as caught:
            await read(readers, f"SELECT * FROM {name}", sight=sight)
        refusals.append(caught.value.message.replace(name, "X"))
    assert refusals[0] == refusals[1]


async def test_who_computes_for_long_lets_others_have_their_turn(readers, nursery):
    readers._turns = Turns(1)
    scope = trio.CancelScope()

    async def endless():
        with scope:
            await read(readers, f"SELECT count(*) FROM ({ENDLESS})", timeout_ms=60_000)

    nursery.start_soon(endless)
    await wait_all_tasks_blocked()
    for _ in range(3):
        _, found = await read(readers, "SELECT 1", timeout_ms=20_000)
        assert found == [(1,)]
    assert readers.busy == 1
    scope.cancel()


def test_a_turn_is_given_to_who_waits_and_not_waited_for_without_end():
    turns = Turns(1)
    assert turns.take()
    assert not turns.take()
    assert not turns.are_wanted
    turns.give()
    assert turns.take()
