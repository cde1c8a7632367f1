"""SQL in a program of one's own: values of Python in and out."""

import pytest

import kissvdb
from kissvdb.config import Config, Search, Sql, Storage
from kissvdb.errors import InvalidArgument, NotEnabled, OpIdReused, SqliteError

IN_MEMORY = Config(storage=Storage(memory=True), search=Search(compile=False))
NUMBERS = (
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 20000) SELECT x FROM c"
)


async def test_what_is_written_is_read_with_everything_else():
    async with kissvdb.open_database(IN_MEMORY) as db:
        await db.sql.exec("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
        values = [None, 1, 0.5, "text", b"\x00\xff"]
        done = await db.sql.batch([("INSERT INTO t(v) VALUES (?)", [each]) for each in values])
        assert (done.rows_affected, done.changes) == ((1,) * 5, 5)
        assert done.offset == db.last_offset
        found = await db.sql.query("SELECT v FROM t ORDER BY id")
        assert [value for (value,) in found.rows] == values
        assert (found.columns, found.offset, found.truncated) == (("v",), done.offset, False)
        await db.put("k", {"n": 3})
        found = await db.sql.query(
            "SELECT value ->> 'n' AS n FROM state WHERE key = :k", {"k": "k"}
        )
        assert found.dicts() == [{"n": 3}]
        plan = await db.sql.query("SELECT * FROM t WHERE id = 1", explain=True)
        assert "PRIMARY KEY" in plan.dicts()[0]["detail"]


async def test_many_rows_are_taken_as_they_are_read():
    async with kissvdb.open_database(IN_MEMORY) as db:
        async with db.sql.rows(NUMBERS) as rows:
            numbers = [number async for chunk in rows for (number,) in chunk]
        assert numbers == list(range(1, 20_001))
        assert (rows.columns, rows.truncated) == (("x",), False)
        found = await db.sql.query(NUMBERS)
        assert (len(found.rows), found.truncated) == (10_000, True)
        assert len((await db.sql.query(NUMBERS, rows_max=15_000)).rows) == 15_000


async def test_what_is_refused():
    async with kissvdb.open_database(IN_MEMORY) as db:
        await db.sql.exec("CREATE TABLE t(a)")
        with pytest.raises(InvalidArgument):
            await db.sql.query("DELETE FROM t")
        with pytest.raises(SqliteError, match="list"):
            await db.sql.exec("INSERT INTO t VALUES (?)", [[1]])
        with pytest.raises(SqliteError, match="syntax"):
            await db.sql.exec("INSERT t")
        await db.sql.exec("INSERT INTO t VALUES (1)", op_id="once")
        assert (await db.sql.exec("INSERT INTO t VALUES (1)", op_id="once")).repeated
        with pytest.raises(OpIdReused):
            await db.sql.exec("INSERT INTO t VALUES (2)", op_id="once")
    off = Config(storage=Storage(memory=True), search=Search(compile=False), sql=Sql(enabled=False))
    async with kissvdb.open_database(off) as db:
        with pytest.raises(NotEnabled):
            await db.sql.query("SELECT 1")
        with pytest.raises(NotEnabled):
            await db.sql.exec("CREATE TABLE t(a)")
