"""What a stream shows of SQL, and what a backup has of it."""

import io
import sqlite3
from contextlib import aclosing, closing

import msgspec
import pytest

from kissvdb.core.events.publishing import StreamQuery
from kissvdb.core.state.rules import Put
from kissvdb.engine.batches import Batch
from kissvdb.engine.opening import open_database
from kissvdb.errors import NotSupported
from kissvdb.storage import backup
from tests.engine.sse import collect, parse
from tests.sql.dumping import dump
from tests.sql.test_owner import command, config_of


def executed(*statements, tables=(), changes=0):
    data = {"statements": list(statements), "tables": list(tables), "changes": changes}
    return "sql_executed", data


def changed(table, op, key, old, new):
    return "sql_row_changed", {"table": table, "op": op, "key": key, "old": old, "new": new}


async def test_each_changed_row_is_an_event(tmp_path):
    made = ("CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)", "CREATE TABLE u(x)")
    async with open_database(config_of(tmp_path / "d")) as database:
        await database.write(command(*made))
        await database.write(command("INSERT INTO t VALUES (1, ?, ?)", params=(b"\0\1", 1e999)))
        await database.write(command("UPDATE t SET b = 'x'", "INSERT INTO u VALUES (5)"))
        await database.write(command("DELETE FROM t"))
        frames = await collect(database, 8)
        whole = {"id": 1, "a": "AAE", "b": None}
        assert [(kind, data["data"]) for kind, _, data in frames] == [
            executed(*made),
            executed(tables=["t"], changes=1),
            changed("t", "insert", {"id": 1}, None, whole),
            executed(tables=["t", "u"], changes=2),
            changed("t", "update", {"id": 1}, {"b": None}, {"b": "x"}),
            changed("u", "insert", {"_rowid_": 1}, None, {"x": 5}),
            executed(tables=["t"], changes=1),
            changed("t", "delete", {"id": 1}, {**whole, "b": "x"}, None),
        ]
        found = await collect(database, 1, table="u")
        assert [place for _, place, _ in found] == [6]


async def test_a_stream_never_shows_a_part_of_a_transaction(tmp_path):
    async with open_database(config_of(tmp_path / "d")) as database:
        await database.write(command("CREATE TABLE t(id INTEGER PRIMARY KEY, a)"))
        async with aclosing(database.subscribe(StreamQuery(since=None))) as blobs:
            await anext(blobs)
            long = "x" * 1000
            rows = ", ".join(f"({number}, '{long}')" for number in range(600))
            await database.write(command(f"INSERT INTO t VALUES {rows}", "CREATE TABLE u(x)"))
            assert len(parse(await anext(blobs))) == 602


async def test_a_backup_has_the_database_as_any_tool_reads_it(tmp_path):
    async with open_database(config_of(tmp_path / "d")) as database:
        await database.write(command("CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE)"))
        insert = command("INSERT INTO t(a) VALUES (1)")
        await database.batch(Batch([insert, Put("k", b"1")]))
        async with aclosing(database.backup()) as blocks:
            packed = b"".join([block async for block in blocks])
        await database.write(command("INSERT INTO t(a) VALUES (2)"))
        offset = database.last_offset
    copy = tmp_path / "copy"
    assert backup.unpack(io.BytesIO(packed), copy) == 5
    with closing(sqlite3.connect(copy / "sql.db")) as db:
        assert db.execute("SELECT * FROM t").fetchall() == [(1, 1)]
        assert db.execute("PRAGMA journal_mode").fetchall() == [("delete",)]
        tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert tables == [("t",)]
    assert sorted(each.name for each in copy.glob("sql*")) == ["sql.db"]
    restored = tmp_path / "restored"
    backup.restore(copy, restored)
    async with open_database(config_of(restored)) as database:
        assert database.get("k").value == b"1"
        again = await database.write(command("INSERT INTO t(a) VALUES (3)"))
        assert again.offset > offset
    assert dump(restored / "sql.db")["t"] == [(1, 1), (2, 3)]


async def test_a_checkpoint_lets_the_log_go_and_the_next_start_replays_nothing(tmp_path):
    async with open_database(config_of(tmp_path / "d")) as database:
        await database.write(command("CREATE TABLE t(id INTEGER PRIMARY KEY, a)"))
        await database.write(Put("k", b"1"))
        assert await database.snapshot() == 2
        assert database.sql.durable_offset == 2
    header = (tmp_path / "d" / "sql.db").read_bytes()[60:64]
    assert int.from_bytes(header, "big") == 2
    assert msgspec.json.decode((tmp_path / "d" / "meta.json").read_bytes())["has_sql"] is True


async def test_in_memory_there_is_no_backup():
    from kissvdb.config import Config, Storage

    async with open_database(Config(storage=Storage(memory=True))) as database:
        await database.write(command("CREATE TABLE t(a)"))
        assert await database.snapshot() == 1
        with pytest.raises(NotSupported):
            database.backup()
