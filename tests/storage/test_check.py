"""`kissvdb check` and `check --repair` on data directories of every kind."""

import json
import random
import subprocess
import sys
import zlib
from pathlib import Path

import apsw
import pytest

from kissvdb.errors import ConfigError, Damaged, DirectoryInUse
from kissvdb.storage.check import check, repair
from kissvdb.storage.data_dir import DataDir, NewerFormat
from kissvdb.storage.disk import Disk
from kissvdb.storage.log.segment import HEADER_BYTES, index_name, segment_name
from kissvdb.storage.log.segmented_log import SegmentedLog

SEGMENT_BYTES_MAX = 400
RECORDS = 12


def open_log(directory: DataDir) -> SegmentedLog:
    applied = [0]
    for path in directory.path.glob("state-*.db"):
        with apsw.Connection(str(path)) as connection:
            applied += [row[0] for row in connection.execute("SELECT v FROM meta")]
    return SegmentedLog.open(
        Disk(directory.log_dir),
        segment_bytes_max=SEGMENT_BYTES_MAX,
        offset_floor=max(directory.offset_floor, *applied),
    )


def make_table(path: Path, applied: int) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "WAL")
    connection.execute("CREATE TABLE IF NOT EXISTS meta(k TEXT PRIMARY KEY, v) WITHOUT ROWID")
    connection.execute("INSERT OR REPLACE INTO meta VALUES ('applied', ?)", (applied,))
    connection.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A database with twelve records in several segments and one table."""
    path = tmp_path / "data"
    with DataDir.open(path) as directory:
        log = open_log(directory)
        for number in range(1, RECORDS + 1):
            log.append(number, [b"%d|" % number + bytes(60) + b"."])
        assert len(log.segments) >= 3
        log.close()
        make_table(directory.state_path(0), RECORDS)
    return path


def logs(data: Path) -> list[Path]:
    return sorted((data / "log").glob("*.log"))


def flip(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 0xFF
    file.write_bytes(content)


def tree(path: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def offsets_after_restart(data: Path) -> list[int]:
    """The offsets in the log, and that of a record written now."""
    with DataDir.open(data) as directory:
        log = open_log(directory)
        found = [r.offset for r in log.read(log.first_offset - 1, bytes_max=1_000_000)]
        found.append(log.append(0, [b"new"]))
        log.close()
    return found


def test_a_whole_database_is_ok_and_untouched(data: Path) -> None:
    before = tree(data)
    report = check(data)
    assert report.ok
    assert (report.first_offset, report.last_offset, report.records) == (1, 12, 12)
    assert [(view.name, view.applied_offset) for view in report.views] == [("state-0.db", 12)]
    assert report.notes == ()
    text = "\n".join(report.lines())
    assert "12 records, offsets 1 to 12" in text
    assert "state-0.db: applied up to offset 12" in text
    assert text.endswith("ok")
    assert tree(data) == before


def test_a_new_database_without_records_is_ok(tmp_path: Path) -> None:
    with DataDir.open(tmp_path) as directory:
        open_log(directory).close()
    report = check(tmp_path)
    assert report.ok
    assert any("no records" in line for line in report.lines())


def test_a_directory_without_a_database_is_said_to_be_none(tmp_path: Path) -> None:
    for act in (check, repair):
        with pytest.raises(ConfigError, match="no kissvdb database"):
            act(tmp_path / "nothing")
    assert list(tmp_path.iterdir()) == []


def test_a_running_server_keeps_check_and_repair_out(data: Path) -> None:
    with DataDir.open(data):
        for act in (check, repair):
            with pytest.raises(DirectoryInUse):
                act(data)


def test_a_running_check_keeps_a_server_out(data: Path) -> None:
    script = (
        "import sys; from kissvdb.storage.check import _locked\n"
        "with _locked(sys.argv[1], shared=True): print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(data)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        assert check(data).ok
        with pytest.raises(DirectoryInUse):
            DataDir.open(data)
        other.communicate("")


def test_a_torn_tail_is_a_note_and_no_problem(data: Path) -> None:
    last = logs(data)[-1]
    make_table(data / "state-0.db", 10)
    last.write_bytes(last.read_bytes().rstrip(b"\0") + b"half a record")
    report = check(data)
    assert report.ok
    assert "13 bytes of an unfinished write" in report.notes[0]


@pytest.mark.parametrize("with_index", [True, False])
def test_a_flipped_byte_anywhere_in_a_sealed_segment_is_found(data: Path, with_index: bool) -> None:
    first = logs(data)[0]
    if not with_index:
        (data / "log" / index_name(1)).unlink()
    content = first.read_bytes()
    for at in range(0, len(content.rstrip(b"\0")), 5):
        if 36 <= at < HEADER_BYTES:
            continue
        flip(first, at)
        report = check(data)
        assert not report.ok
        assert str(first) in report.problems[0]
        assert "kissvdb check --repair" in report.problems[0]
        assert all("state-0.db" not in problem for problem in report.problems)
        first.write_bytes(content)
    assert check(data).ok


def test_repair_cuts_at_the_damage_keeps_what_it_cuts_and_no_offset_is_used_again(
    data: Path,
) -> None:
    second = logs(data)[1]
    later = {file.name: file.read_bytes() for file in logs(data)[2:]}
    first_of_second = int(second.name[7:27])
    content = second.read_bytes()
    flip(second, content.index(b"%d|" % (first_of_second + 1)))
    damaged = second.read_bytes()
    with DataDir.open(data) as directory:
        log = open_log(directory)
        with pytest.raises(Damaged, match="kissvdb check --repair"):
            log.read(first_of_second, bytes_max=1_000_000)
        log.close()

    report = repair(data)

    assert report.ok
    assert report.after.last_offset == first_of_second
    assert report.cut_dir is not None
    assert report.cut_dir.name.startswith("cut-")
    kept = {file.name: file.read_bytes() for file in report.cut_dir.iterdir()}
    cut_name = next(name for name in kept if name.startswith(second.name))
    position = int(cut_name.rpartition("-")[2])
    assert kept.pop(cut_name) == damaged[position:]
    assert kept == later
    assert second.read_bytes() == content[:position]
    assert "what was cut is kept" in "\n".join(report.lines())
    found = offsets_after_restart(data)
    assert found[:-1] == list(range(1, first_of_second + 1))
    assert found[-1] > RECORDS
    again = repair(data)
    assert again.ok
    assert again.actions == ()
    assert again.lines()[0] == "nothing to repair"


def test_repair_after_damage_at_any_byte_leaves_a_database_that_starts(data: Path) -> None:
    files = tree(data)
    names = logs(data)
    chance = random.Random(5)
    for file in names:
        used = len(files[str(file)].rstrip(b"\0"))
        for at in sorted(chance.sample(range(used), 12)):
            flip(file, at)
            report = repair(data)
            assert report.ok, (file, at, report.lines())
            found = offsets_after_restart(data)
            assert found[:-1] == list(range(1, len(found)))
            assert found[-1] > RECORDS
            assert check(data).ok
            for left in data.rglob("*"):
                if left.is_file():
                    left.unlink()
            for name, content in files.items():
                Path(name).parent.mkdir(exist_ok=True)
                Path(name).write_bytes(content)


def test_repair_writes_a_lost_header_again_and_loses_no_record(data: Path) -> None:
    for file in (logs(data)[0], logs(data)[1], logs(data)[-1]):
        flip(file, 0)
    assert not check(data).ok
    report = repair(data)
    assert report.ok
    assert report.cut_dir is None
    assert offsets_after_restart(data) == list(range(1, RECORDS + 2))


def test_repair_of_a_log_that_begins_with_damage_still_leaves_one_that_starts(data: Path) -> None:
    first = logs(data)[0]
    first.write_bytes(b"\xff" * len(first.read_bytes()))
    report = repair(data)
    assert report.ok
    assert report.after.records == 0
    assert report.cut_dir is not None
    assert {file.name for file in report.cut_dir.iterdir()} == {
        segment_name(int(name.name[7:27])) for name in report.cut_dir.glob("*.log")
    }
    (offset,) = offsets_after_restart(data)
    assert offset > RECORDS


def test_a_missing_segment_is_found_and_repaired(data: Path) -> None:
    logs(data)[1].unlink()
    report = check(data)
    assert "a part of the log is missing" in report.problems[0]
    repaired = repair(data)
    assert repaired.ok
    assert offsets_after_restart(data)[-1] > RECORDS


def test_a_table_beyond_the_log_is_a_problem_that_repair_settles(data: Path) -> None:
    make_table(data / "state-0.db", 40)
    report = check(data)
    assert "has applied offset 40, but the log ends at 12" in report.problems[0]
    assert repair(data).ok
    assert offsets_after_restart(data)[-1] == 41


def test_a_removed_log_is_a_note_and_offsets_go_on_after_the_table(data: Path) -> None:
    for file in (data / "log").iterdir():
        file.unlink()
    report = check(data)
    assert report.ok
    assert "offsets go on after the table's" in report.notes[0]
    assert offsets_after_restart(data) == [13]


def test_a_table_that_misses_removed_records_is_a_problem(data: Path) -> None:
    make_table(data / "state-0.db", 0)
    logs(data)[0].unlink()
    report = check(data)
    assert "restore a backup" in report.problems[0]


def test_a_table_that_sqlite_finds_damaged_is_a_problem(data: Path) -> None:
    table = data / "state-0.db"
    table.write_bytes(table.read_bytes()[:100] + b"\xff" * 4_000)
    report = check(data)
    assert not report.ok
    assert str(table) in report.problems[0]
    make_table(data / "state-1.db", 0)
    with apsw.Connection(str(data / "state-1.db")) as connection:
        connection.execute("DELETE FROM meta")
    assert "names no applied offset" in check(data).problems[1]


def test_a_table_whose_newest_rows_are_in_its_wal_is_read_with_them(data: Path) -> None:
    connection = apsw.Connection(str(data / "state-0.db"))
    connection.pragma("wal_autocheckpoint", 0)
    connection.execute("UPDATE meta SET v = 11 WHERE k = 'applied'")
    for name in ("state-0.db", "state-0.db-wal"):
        (data / f"copy-{name}").write_bytes((data / name).read_bytes())
    connection.close()
    for name in ("state-0.db", "state-0.db-wal"):
        (data / f"copy-{name}").replace(data / name)
    assert check(data).views[0].applied_offset == 11


def test_an_index_that_does_not_match_is_a_note(data: Path) -> None:
    with DataDir.open(data) as directory:
        log = open_log(directory)
        log.append(0, [bytes(10)] * 3)
        log.close()
    other = data / "log" / index_name(1)
    content = bytearray(other.read_bytes())
    content[-12:-4] = (70).to_bytes(8, "little")
    content[-4:] = zlib.crc32(content[:-4]).to_bytes(4, "little")
    other.write_bytes(content)
    report = check(data)
    assert report.ok
    assert "does not match" in report.notes[0]


def test_an_unreadable_meta_file_is_written_anew_and_the_old_one_kept(data: Path) -> None:
    (data / "meta.json").write_text("{not json")
    assert not check(data).ok
    report = repair(data)
    assert report.ok
    assert report.cut_dir is not None
    assert (report.cut_dir / "meta.json").read_text() == "{not json"
    (data / "meta.json").unlink()
    assert "is missing" in check(data).problems[0]
    assert repair(data).ok
    assert offsets_after_restart(data)[-1] == 13


def test_a_database_of_a_later_format_is_left_alone(data: Path) -> None:
    meta = json.loads((data / "meta.json").read_text())
    (data / "meta.json").write_text(json.dumps({**meta, "format_version": 9}))
    before = tree(data)
    for act in (check, repair):
        with pytest.raises(NewerFormat):
            act(data)
    assert {name: content for name, content in tree(data).items() if "LOCK" not in name} == {
        name: content for name, content in before.items() if "LOCK" not in name
    }


def test_two_repairs_in_one_second_keep_both_copies(data: Path) -> None:
    folders = set()
    for _ in range(2):
        last = logs(data)[-1]
        last.write_bytes(last.read_bytes().rstrip(b"\0") + b"torn")
        folder = repair(data).cut_dir
        assert folder is not None
        folders.add(folder)
        offsets_after_restart(data)
    assert len(folders) == 2
