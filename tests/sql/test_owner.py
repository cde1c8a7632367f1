"""SQL commands through the database: executed, logged, answered, replayed."""

import attrs
import pytest
import trio

from kissvdb.config import Config, Sql, State, Storage
from kissvdb.core.sql.commands import SqlCommand, Statement
from kissvdb.core.state.rules import Put
from kissvdb.engine.batches import Batch
from kissvdb.engine.opening import open_database
from kissvdb.engine.sql.reading import SqlQuery
from kissvdb.errors import OpIdReused, PayloadTooLarge, SqliteError
from tests.sql.dumping import dump


def config_of(path, **sql):
    return Config(storage=Storage(data_dir=str(path)), sql=Sql(**sql))


def command(*texts, op_id=None, params=()):
    return SqlCommand(tuple(Statement(text, params) for text in texts), op_id)


async def test_a_command_is_answered_with_rows_and_offsets(tmp_path):
    async with open_database(config_of(tmp_path / "d")) as database:
        made = await database.write(command("CREATE TABLE t(id INTEGER PRIMARY KEY, a)"))
        assert (made.rows_affected, made.first_offset, made.offset) == ((0,), 1, 1)
        done = await database.write(
            command("INSERT INTO t(a) VALUES (1), (2)", "UPDATE t SET a = a + 1")
        )
        assert (done.rows_affected, done.first_offset, done.offset) == ((2, 2), 2, 4)
        assert done.changes == 2
        assert database.applied_offset == 4
        nothing = await database.write(command("DELETE FROM t WHERE id = 9"))
        assert (nothing.rows_affected, nothing.offset) == ((0,), None)


async def test_what_is_refused_leaves_nothing_behind(tmp_path):
    async with open_database(config_of(tmp_path / "d")) as database:
        await database.write(command("CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE)"))
        with pytest.raises(SqliteError, match=r"statements\[1\].*UNIQUE"):
            await database.write(command(*["INSERT INTO t(a) VALUES (1)"] * 2))
        assert database.last_offset == 1
    assert dump(tmp_path / "d" / "sql.db")["t"] == []


async def test_a_crash_is_survived_by_replay(tmp_path):
    async with open_database(config_of(tmp_path / "d")) as database:
        await database.write(command("CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE)"))
        await database.write(command("INSERT INTO t(a) VALUES ('x'), ('y')"))
        swap = ("a = NULL WHERE id = 1", "a = 'x' WHERE id = 2", "a = 'y' WHERE id = 1")
        done = await database.write(command(*(f"UPDATE t SET {each}" for each in swap)))
        assert done.changes == 2
    before = dump(tmp_path / "d" / "sql.db")
    for left in (tmp_path / "d").glob("sql.db*"):
        left.unlink()
    async with open_database(config_of(tmp_path / "d")) as database:
        assert database.applied_offset == database.last_offset
    assert dump(tmp_path / "d" / "sql.db") == before


async def test_commands_that_wait_share_one_append(tmp_path):
    async with open_database(config_of(tmp_path / "d")) as database:
        await database.write(command("CREATE TABLE t(id INTEGER PRIMARY KEY, a)"))
        answers = []

        async def insert(number):
            answers.append(await database.write(command(f"INSERT INTO t VALUES ({number}, 0)")))

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(insert, number)
        assert sorted(each.offset for each in answers) == list(range(3, 102, 2))


async def test_a_repeat_is_answered_as_the_first_time(tmp_path):
    insert = command("INSERT INTO t(a) VALUES (7)", op_id="once")
    async with open_database(config_of(tmp_path / "d")) as database:
        await database.write(command("CREATE TABLE t(id INTEGER PRIMARY KEY, a)"))
        first = await database.write(insert)
        again = await database.write(insert)
        assert (again.offset, again.rows_affected, again.repeated) == (first.offset, (1,), True)
        with pytest.raises(OpIdReused):
            await database.write(command("INSERT INTO t(a) VALUES (8)", op_id="once"))
        same = await database.write_many([command("DELETE FROM t WHERE a = 9", op_id="z")] * 2)
        assert [each.repeated for each in same] == [False, True]
    async with open_database(config_of(tmp_path / "d")) as database:
        assert (await database.write(insert)).repeated
    assert len(dump(tmp_path / "d" / "sql.db")["t"]) == 1


async def test_a_batch_of_keys_and_rows_happens_together(tmp_path):
    async with open_database(config_of(tmp_path / "d")) as database:
        await database.write(command("CREATE TABLE t(id INTEGER PRIMARY KEY, a)"))
        insert = command("INSERT INTO t VALUES (1, 'x')")
        answer = await database.batch(Batch([Put("k", b"1"), insert]))
        assert (answer.first_offset, answer.last_offset) == (2, 5)
        with pytest.raises(SqliteError, match=r"operations\[1\]"):
            await database.batch(Batch([Put("k", b"2"), insert]))
        assert database.get("k").value == b"1"
        many = command("INSERT INTO t SELECT value, 0 FROM generate_series(2, 5)")
        with pytest.raises(SqliteError, match="generate_series"):
            await database.batch(Batch([many, Put("k", b"2")], op_id="b"))
        fine = await database.batch(Batch([command("DELETE FROM t"), Put("k", b"3")], op_id="b"))
        again = await database.batch(Batch([command("DELETE FROM t"), Put("k", b"3")], op_id="b"))
        assert again.repeated
        assert again.last_offset == fine.last_offset
    assert dump(tmp_path / "d" / "sql.db")["t"] == []


async def test_a_command_that_changes_too_much_is_refused(tmp_path):
    rows = (
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {})"
        " INSERT INTO t SELECT i, 0 FROM n"
    )
    async with open_database(config_of(tmp_path / "d", changes_max=100)) as database:
        await database.write(command("CREATE TABLE t(id INTEGER PRIMARY KEY, a)"))
        with pytest.raises(PayloadTooLarge, match=r"sql\.changes_max"):
            await database.write(command(rows.format(101)))
        assert (await database.write(command(rows.format(100)))).changes == 100


async def test_a_statement_that_rolls_everything_back_takes_nobody_with_it(tmp_path):
    async with open_database(config_of(tmp_path / "d")) as database:
        await database.write(command("CREATE TABLE t(id INTEGER PRIMARY KEY, a)"))
        outcomes = await database.write_many(
            [
                command("INSERT INTO t VALUES (1, 0)"),
                command("INSERT OR ROLLBACK INTO t VALUES (1, 1)"),
                command("INSERT INTO t VALUES (2, 0)"),
                command("INSERT OR ROLLBACK INTO t VALUES (2, 1)"),
            ]
        )
        assert [isinstance(each, SqliteError) for each in outcomes] == [False, True, False, True]
        assert [outcomes[0].offset, outcomes[2].offset] == [3, 5]
    assert dump(tmp_path / "d" / "sql.db")["t"] == [(1, 0), (2, 0)]


async def test_in_memory_it_is_the_same(tmp_path):
    async with open_database(Config(storage=Storage(memory=True))) as database:
        path = database.sql.path
        await database.write(command("CREATE TABLE t(id INTEGER PRIMARY KEY, a)"))
        await database.write(command("INSERT INTO t(a) VALUES (?)", params=(b"\0x",)))
        assert dump(path)["t"] == [(1, b"\0x")]
        assert database.applied_offset == 3
    assert not path.parent.exists()


async def test_queries_that_follow_each_other_without_a_gap_do_not_keep_the_wal_growing(tmp_path):
    config = attrs.evolve(config_of(tmp_path / "d"), state=State(checkpoint_pages=20))
    async with open_database(config) as database:
        await database.write(command("CREATE TABLE t(id INTEGER PRIMARY KEY, a)"))
        numbers = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 900)"
        await database.write(command(f"{numbers} INSERT INTO t SELECT i, hex(zeroblob(50)) FROM n"))
        done = 0

        async def read():
            nonlocal done
            while True:
                async with database.sql.reader(SqlQuery("SELECT a FROM t")):
                    await trio.sleep(0.1)
                done += 1

        wal = tmp_path / "d" / "sql.db-wal"
        async with trio.open_nursery() as readers:
            for _ in range(3):
                readers.start_soon(read)
                # When one ends the others are at their middle.
                await trio.sleep(0.03)
            for n in range(45):
                await database.write(command(f"UPDATE t SET a = hex(zeroblob(50)) || {n}"))
                await trio.sleep(0.01)
            readers.cancel_scope.cancel()
        assert done > 3
        # Each of them is 27 pages: all of them were 5 MB.
        assert wal.stat().st_size < 3_000_000
