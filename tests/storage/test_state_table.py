"""The state table as SQLite sees it."""

import apsw
import pytest

from kissvdb.errors import Damaged
from kissvdb.records import Item, KeyDeleted, KeyWritten
from kissvdb.storage import state_table
from kissvdb.storage.state_table import StateTable


def test_commits_leave_the_fsync_to_the_log_and_checkpoints_to_the_engine(tmp_path):
    table = StateTable(tmp_path / "state-0.db")
    assert table.settings() == {
        "journal_mode": "wal",
        "synchronous": 1,
        "wal_autocheckpoint": 0,
        "cache_size": -4096,
        "temp_store": 2,
        "page_size": 4096,
    }
    table.close()


def test_a_finished_checkpoint_moves_everything_into_the_file(tmp_path):
    path = tmp_path / "state-0.db"
    table = StateTable(path)
    table.apply([(n, KeyWritten(f"k{n}", b"1", 1)) for n in range(1, 100)], 99)
    assert table.wal_pages > 0
    assert state_table.checkpoint(path, finish=True)
    alone = tmp_path / "alone.db"
    alone.write_bytes(path.read_bytes())
    copy = StateTable(alone)
    assert copy.applied_offset == 99
    assert copy.get("k7") == Item("k7", b"1", 1, 7)
    copy.close()
    table.close()


def test_a_checkpoint_beside_a_reader_is_not_complete_and_says_so(tmp_path):
    path = tmp_path / "state-0.db"
    table = StateTable(path)
    table.apply([(1, KeyWritten("a", b"1", 1))], 1)
    reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    with reader:
        assert reader.execute("SELECT v FROM meta WHERE k='applied'").get == 1
        table.apply([(2, KeyDeleted("a", "explicit"))], 2)
        assert not state_table.checkpoint(path, finish=True)
    reader.close()
    assert state_table.checkpoint(path, finish=True)
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
    assert state_table._move(sqlite) == (7, 7)
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
    table.apply([(n, KeyWritten(key, b"1", 1)) for n, key in enumerate(keys, 1)], len(keys))
    items, more = table.scan(prefix, after=None, limit=10, now_ms=0)
    assert ([item.key for item in items], more) == (expected, False)
    table.close()


def test_a_page_ends_before_it_grows_too_large():
    table = StateTable(None)
    value = b'"' + b"x" * (state_table.LIST_BYTES_MAX // 3) + b'"'
    table.apply([(n, KeyWritten(f"k{n}", value, 1)) for n in range(1, 6)], 5)
    items, more = table.scan("", after=None, limit=10, now_ms=0)
    assert 1 <= len(items) < 5
    assert more
    table.close()


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "state-0.db"
    path.write_bytes(b"something else" * 500)
    with pytest.raises(Damaged, match="state-0"):
        StateTable(path)
