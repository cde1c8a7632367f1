"""The state table as SQLite sees it."""

import apsw
import pytest

from kissvdb.errors import Damaged, PersistenceFailed
from kissvdb.records import Item, Operation
from kissvdb.storage.state import table_writer
from kissvdb.storage.state.table import StateTable


def put(table, *keys, offset, gone=()):
    items = {key: Item(key, b"1", 1, offset) for key in keys}
    store(table, items | dict.fromkeys(gone), {}, offset)


def store(table, items, operations, offset):
    for _ in table.writer.store_steps([sorted(items.items())], operations, offset):
        pass


def test_commits_leave_the_fsync_to_the_log_and_checkpoints_to_the_engine(tmp_path):
    table = StateTable(tmp_path / "state-0.db")
    assert table.writer.settings() == {
        "journal_mode": "wal",
        "synchronous": 1,
        "wal_autocheckpoint": 0,
        "cache_size": -4096,
        "temp_store": 2,
        "page_size": 4096,
    }
    table.close()


def test_what_is_stored_is_seen_at_once_and_as_a_whole(tmp_path):
    for path in (None, tmp_path / "state-0.db"):
        table = StateTable(path)
        put(table, *(f"k{n:03}" for n in range(200)), offset=5)
        done = {"one": Operation("put", "k000", 5, 1, None)}
        store(table, {"k007": None, "k008": Item("k008", b"2", 2, 6, 99)}, done, 7)
        assert table.applied_offset == 7
        assert table.get("k007") is None
        assert table.get("k008") == Item("k008", b"2", 2, 6, 99)
        assert table.operation("one") == done["one"]
        keys = [item.key for item in table.items("k", after="k004", now_ms=0)]
        assert keys == [f"k{n:03}" for n in range(5, 200) if n != 7]
        assert list(table.expired(98)) == []
        assert list(table.expired(99)) == [("k008", 99)]
        assert list(table.expired(99, 100)) == []
        table.close()


def test_a_checkpoint_moves_everything_into_the_file_and_starts_the_wal_anew(tmp_path):
    path = tmp_path / "state-0.db"
    table = StateTable(path)
    put(table, *(f"k{n}" for n in range(100)), offset=99)
    assert table.writer.wal_pages > 0
    assert table.writer.checkpoint()
    assert table.writer.wal_pages == 0
    wal_bytes = (tmp_path / "state-0.db-wal").stat().st_size
    alone = tmp_path / "alone.db"
    alone.write_bytes(path.read_bytes())
    copy = StateTable(alone)
    assert copy.applied_offset == 99
    assert copy.get("k7") == Item("k7", b"1", 1, 99)
    copy.close()
    put(table, "a", offset=100)
    assert 0 < table.writer.wal_pages < 10
    assert (tmp_path / "state-0.db-wal").stat().st_size == wal_bytes
    table.close()


def test_a_checkpoint_beside_a_reader_is_not_complete_and_says_so(tmp_path):
    path = tmp_path / "state-0.db"
    table = StateTable(path)
    put(table, "a", offset=1)
    reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    with reader:
        assert reader.execute("SELECT v FROM meta WHERE k='applied'").get == 1
        put(table, gone=["a"], offset=2)
        assert not table.writer.checkpoint()
    reader.close()
    assert table.writer.checkpoint()
    table.close()


def test_operations_are_forgotten_when_they_are_old_enough(monkeypatch):
    monkeypatch.setattr(table_writer, "OPERATIONS_KEPT", 1000)
    table = StateTable(None)
    for first in range(0, 4000, 200):
        done = {f"op{n}": Operation("event", "", n) for n in range(first, first + 200)}
        store(table, {}, done, first + 199)
    assert table.operation("op3999").offset == 3999
    assert table.operation("op3100") is not None
    kept = [n for n in range(4000) if table.operation(f"op{n}") is not None]
    assert kept == list(range(kept[0], 4000))
    assert len(kept) < 1500
    table.close()


def test_a_store_that_is_given_up_changes_nothing():
    table = StateTable(None)
    put(table, "a", offset=1)
    steps = table.writer.store_steps([[("a", None), ("b", Item("b", b"1", 1, 2))]], {}, 2)
    next(steps)
    steps.close()
    assert (table.applied_offset, table.get("b")) == (1, None)
    assert table.get("a") is not None
    table.close()


class BusyTwice:
    """SQLite while another checkpoint is under way: the lock comes free after two tries."""

    tries = 0

    def wal_checkpoint(self, *, mode):
        assert mode == apsw.SQLITE_CHECKPOINT_PASSIVE
        self.tries += 1
        if self.tries < 3:
            raise apsw.BusyError("database is locked")
        return 7, 7


def test_a_checkpoint_waits_for_the_one_that_is_under_way():
    sqlite = BusyTwice()
    assert table_writer._move(sqlite) == (7, 7)
    assert sqlite.tries == 3


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", ["a", "a\ud7ff", "a\ue000", "b", "\U0010ffff", "\U0010ffffx"]),
        ("a", ["a", "a\ud7ff", "a\ue000"]),
        ("a\ud7ff", ["a\ud7ff"]),
        ("\U0010ffff", ["\U0010ffff", "\U0010ffffx"]),
        ("c", []),
    ],
)
def test_a_prefix_ends_where_the_next_code_point_begins(prefix, expected):
    table = StateTable(None)
    keys = ["a", "a\ud7ff", "a\ue000", "b", "\U0010ffff", "\U0010ffffx"]
    put(table, *keys, offset=1)
    items = table.items(prefix, after=None, now_ms=0)
    assert [item.key for item in items] == expected
    table.close()


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "state-0.db"
    path.write_bytes(b"something else" * 500)
    with pytest.raises(Damaged, match="state-0"):
        StateTable(path)


def test_a_store_that_the_disk_refuses_in_the_middle_changes_nothing(tmp_path):
    """SQLite rolls back by itself then: there is nothing left to roll back."""
    table = StateTable(tmp_path / "state-0.db")
    put(table, "k", offset=1)
    connection = table.writer._db
    connection.execute("PRAGMA cache_size = 5")
    connection.execute(
        f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').get + 40}"
    )
    items = {f"k{n:05}": Item(f"k{n:05}", b'"%s"' % (b"x" * 500), 1, n + 2) for n in range(3000)}
    for _ in range(2):
        with pytest.raises(PersistenceFailed, match="full"):
            store(table, items, {}, 3001)
    assert table.applied_offset == 1
    assert [item.key for item in table.items("", after=None, now_ms=0)] == ["k"]
    connection.execute("PRAGMA max_page_count = 1000000")
    store(table, items, {}, 3001)
    assert table.applied_offset == 3001
    table.close()
