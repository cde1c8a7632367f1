"""An op_id used again: for the same operation, for another one, before and after a restart."""

import apsw
import pytest

from kissvdb import records
from kissvdb.config import Config, Storage
from kissvdb.core.events.publishing import Publish
from kissvdb.core.rows.rules import Delete, Upsert
from kissvdb.core.state.rules import Patch, Put
from kissvdb.engine.opening import open_database
from kissvdb.errors import OpIdReused
from kissvdb.storage.state.table import StateTable

VECTOR = bytes(4)


@pytest.fixture
def config(tmp_path):
    return Config(storage=Storage(data_dir=str(tmp_path / "data")))


@pytest.mark.parametrize("stored", [False, True], ids=["from-the-log", "from-the-files"])
async def test_the_operation_is_known_after_a_restart(config, stored):
    patch, event = Patch("a", b'{"b":1}', op_id="p"), Publish("log", b"1", op_id="e")
    upsert = Upsert("v", VECTOR, op_id="u")
    async with open_database(config) as db:
        await db.vectors.create("c", dim=1, metric="l2")
        done = [await db.write(patch), await db.write(event), await db.vectors.write("c", upsert)]
        assert not any(each.repeated for each in done)
        if stored:
            await db.snapshot()
    async with open_database(config) as db:
        last = db.last_offset
        again = [await db.write(patch), await db.write(event), await db.vectors.write("c", upsert)]
        assert all(each.repeated for each in again)
        assert [each.offset for each in again] == [each.offset for each in done]
        for reused in (Put("a", b'{"b":1}', op_id="p"), Publish("log", b"2", op_id="e")):
            with pytest.raises(OpIdReused):
                await db.write(reused)
        with pytest.raises(OpIdReused):
            await db.vectors.write("c", Delete("v", op_id="u"))
        assert db.vectors.get("c", "v") is not None
        assert db.last_offset == last


def test_a_table_of_an_older_version_is_read_and_gets_fingerprints(tmp_path):
    path = tmp_path / "state-0.db"
    StateTable(path).close()
    with apsw.Connection(str(path)) as old:
        old.execute("DROP TABLE ops")
        old.execute(
            "CREATE TABLE ops(op_id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, key TEXT NOT"
            " NULL, off INT NOT NULL, revision INT NOT NULL, expires_at INT) WITHOUT ROWID"
        )
        old.execute("INSERT INTO ops VALUES ('x', 'put', 'a', 5, 2, NULL)")
    old.close()
    table = StateTable(path)
    assert table.operation("x") == records.Operation("put", "a", 5, 2)
    new = records.Operation("event", "", 6, fingerprint=b"12345678")
    for _ in table.writer.store_steps([], {"y": new}, 6):
        pass
    assert table.operation("y") == new
    table.close()


def test_records_of_an_older_version_are_read():
    old = [b"\x96\xa2kw\xa1a\xc4\x011\x01\xc0\xa1x", b"\x94\xa2kd\xa1a\xa8explicit\xa1x"]
    assert records.decode(old[0]) == records.KeyWritten("a", b"1", 1, None, "x")
    assert records.decode(old[1]) == records.KeyDeleted("a", "explicit", "x")
