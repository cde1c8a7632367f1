"""What becomes of a sql.db that is lost, damaged or older than the log reaches."""

from contextlib import closing, suppress

import apsw
import msgspec
import pytest
import trio

from kissvdb.cli import main
from kissvdb.config import Config, Log, Storage
from kissvdb.core.state.rules import Put
from kissvdb.engine.batches import Batch
from kissvdb.engine.opening import open_database
from kissvdb.errors import Damaged, OutcomeUnknown, Stopping
from kissvdb.storage.sql.file import SqlFile
from tests.sql.dumping import dump
from tests.sql.test_owner import command, config_of


async def filled(path):
    async with open_database(config_of(path)) as database:
        await database.write(command("CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE)"))
        await database.write(command("INSERT INTO t(a) VALUES ('x'), ('y')"))
    return dump(path / "sql.db")


async def test_a_damaged_file_is_made_anew_and_kept_aside(tmp_path):
    path = tmp_path / "d"
    before = await filled(path)
    (path / "sql.db").write_bytes(b"nonsense" * 1000)
    async with open_database(config_of(path)) as database:
        assert (await database.write(command("DELETE FROM t WHERE a = 'z'"))).changes == 0
    assert dump(path / "sql.db") == before
    assert (path / "damaged-sql.db").read_bytes().startswith(b"nonsense")


async def test_a_file_that_lacks_a_row_is_made_anew(tmp_path):
    path = tmp_path / "d"
    await filled(path)
    old = (path / "sql.db").read_bytes()
    async with open_database(config_of(path)) as database:
        await database.write(command("INSERT INTO t VALUES (7, 'seven')"))
        await database.write(command("UPDATE t SET a = 'sieben' WHERE id = 7"))
        offset = database.last_offset
    before = dump(path / "sql.db")
    # As if the insert had been lost: its file says that it holds it.
    at = bytearray(old)
    at[60:64] = (offset - 2).to_bytes(4, "big")
    (path / "sql.db").write_bytes(at)
    async with open_database(config_of(path)):
        pass
    assert dump(path / "sql.db") == before
    assert (path / "damaged-sql.db").exists()


async def test_a_lost_file_that_the_log_does_not_reach_back_to_is_damage(tmp_path):
    path = tmp_path / "d"
    await filled(path)
    storage = Storage(data_dir=str(path))
    small = Config(storage=storage, log=Log(segment_max_bytes=1 << 20, retention_segments=1))
    async with open_database(small) as database:
        for _ in range(3):
            for number in range(12):
                await database.write(Put(f"k{number}", b'"' + b"x" * 60_000 + b'"'))
            await database.snapshot()
    (path / "sql.db").unlink()
    with pytest.raises(Damaged, match="restore a backup"):
        async with open_database(small):
            pass


async def test_a_directory_from_before_there_was_sql_begins_with_none(tmp_path):
    path = tmp_path / "d"
    async with open_database(config_of(path)) as database:
        await database.write(Put("k", b"1"))
    (path / "sql.db").unlink()
    meta = msgspec.json.decode((path / "meta.json").read_bytes())
    del meta["has_sql"]
    (path / "meta.json").write_bytes(msgspec.json.encode(meta))
    async with open_database(config_of(path)) as database:
        assert database.sql.applied_offset == 1
        await database.write(command("CREATE TABLE t(a)"))


@pytest.mark.parametrize("offset", [1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40 + 7, 2**62])
def test_any_offset_fits_into_the_header(tmp_path, offset):
    file = SqlFile(tmp_path / "sql.db", durable=True)
    file.advance(offset)
    file.close()
    again = SqlFile(tmp_path / "sql.db", durable=True)
    assert again.applied_offset == offset
    again.close()


async def test_a_check_knows_a_sound_database_from_a_damaged_one(tmp_path, capsys):
    path = tmp_path / "d"
    before = await filled(path)
    asked = ["check", "--data-dir", str(path)]
    assert main([*asked, "--deep"]) == 0
    assert "sql.db" in capsys.readouterr().out
    assert dump(path / "sql.db") == before
    with closing(apsw.Connection(str(path / "sql.db"))) as db:
        db.execute("UPDATE t SET a = 'z' WHERE id = 2")
    assert main(asked) == 0
    assert main([*asked, "--deep"]) == 1
    assert "table 't', the row of key (2,)" in capsys.readouterr().out
    content = bytearray((path / "sql.db").read_bytes())
    content[4096:4200] = bytes(104)
    (path / "sql.db").write_bytes(content)
    assert main(asked) == 1
    assert "sql.db is damaged" in capsys.readouterr().out
    (path / "sql.db").unlink()
    assert main(asked) == 0
    assert "sql.db is missing" in capsys.readouterr().out


@pytest.mark.parametrize("held", [False, True])
async def test_a_commit_that_fails_behind_the_log_ends_the_database_and_is_done_by_recovery(
    tmp_path, held
):
    path = tmp_path / "d"
    await filled(path)
    insert = command("INSERT INTO t VALUES (3, 'z')")
    with pytest.RaisesGroup(OutcomeUnknown, allow_unwrapped=True, flatten_subgroups=True):
        async with open_database(config_of(path)) as database:
            # SQLite asks before it commits, and is told no.
            database.sql._owner._file.db.set_commit_hook(lambda: True)
            with suppress(Stopping, OutcomeUnknown):
                if held:
                    await database.batch(Batch([Put("k", b"1"), insert]))
                else:
                    await database.write(insert)
            await trio.sleep_forever()
    async with open_database(config_of(path)) as database:
        assert (database.get("k") is not None) == held
    assert dump(path / "sql.db")["t"] == [(1, b"x"), (2, b"y"), (3, b"z")]


SPELLINGS = (
    (
        "CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, v, u UNIQUE)",
        "INSERT INTO t VALUES ('a', 1, 1), ('b', 2, 2), ('c', 3, 3)",
        "UPDATE t SET k = 'A' WHERE k = 'a'",
        "UPDATE t SET k = 'B', v = 9 WHERE k = 'b'",
        "DELETE FROM t WHERE k = 'c'",
        "INSERT INTO t VALUES ('C', 4, 3)",
    ),
    (
        "CREATE TABLE t(k TEXT COLLATE RTRIM, n NOT NULL, v, PRIMARY KEY (k, n)) WITHOUT ROWID",
        "INSERT INTO t VALUES ('a', 1, 1), ('b', 2, 2)",
        "UPDATE t SET k = k || ' ', n = n + 0.0",
    ),
    (
        "CREATE TABLE t(k PRIMARY KEY NOT NULL, u UNIQUE)",
        "INSERT INTO t VALUES (1, 1), (2, 2)",
        "UPDATE t SET k = k + 0.0",
        "INSERT OR REPLACE INTO t VALUES (1, 3)",
    ),
)


@pytest.mark.parametrize("texts", SPELLINGS)
@pytest.mark.parametrize("together", [True, False])
async def test_keys_that_compare_equal_in_another_spelling_are_recovered(tmp_path, texts, together):
    config = config_of(tmp_path / "d")
    async with open_database(config) as database:
        for script in [texts] if together else [[text] for text in texts]:
            await database.write(command(*script))
    before = dump(tmp_path / "d" / "sql.db")
    for left in (tmp_path / "d").glob("sql.db*"):
        left.unlink()
    async with open_database(config):
        pass
    assert dump(tmp_path / "d" / "sql.db") == before
