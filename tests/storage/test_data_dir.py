"""Who may use a data directory, and what it says of itself."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from kissvdb.errors import Damaged, DirectoryInUse
from kissvdb.storage.data_dir import DataDir, NewerFormat

OPEN = """
import sys
from kissvdb.errors import DirectoryInUse
from kissvdb.storage.data_dir import DataDir
try:
    DataDir.open(sys.argv[1]).close()
except DirectoryInUse as error:
    print(error.message)
"""


def test_a_new_directory_gets_an_identity_that_stays(tmp_path: Path) -> None:
    path = tmp_path / "a" / "data"
    with DataDir.open(path) as first:
        identity = first.database_id
        assert uuid.UUID(identity).version == 4
        assert first.offset_floor == 0
        assert first.log_dir.is_dir()
        assert first.state_path(3) == path / "state-3.db"
    with DataDir.open(path) as second:
        assert second.database_id == identity
    assert json.loads((path / "meta.json").read_text())["format_version"] == 1


def test_a_second_process_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path)]
    with DataDir.open(tmp_path):
        refused = subprocess.run(command, capture_output=True, text=True, check=True)
        assert str(tmp_path) in refused.stdout
        assert f"process {os.getpid()}" in refused.stdout
        with pytest.raises(DirectoryInUse):
            DataDir.open(tmp_path)
    allowed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert allowed.stdout == ""


def test_the_floor_rises_and_never_falls(tmp_path: Path) -> None:
    with DataDir.open(tmp_path) as directory:
        directory.set_offset_floor(10)
        directory.set_offset_floor(4)
        assert directory.offset_floor == 10
    with DataDir.open(tmp_path) as directory:
        assert directory.offset_floor == 10
    assert not (tmp_path / "meta.json.tmp").exists()


def test_a_directory_of_a_later_format_is_refused_and_unlocked_again(tmp_path: Path) -> None:
    DataDir.open(tmp_path).close()
    meta = json.loads((tmp_path / "meta.json").read_text())
    (tmp_path / "meta.json").write_text(json.dumps({**meta, "format_version": 2}))
    with pytest.raises(NewerFormat, match="start the kissvdb that wrote it"):
        DataDir.open(tmp_path)
    (tmp_path / "meta.json").write_text(json.dumps({**meta, "later_field": 1}))
    DataDir.open(tmp_path).close()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format_version": "1"}', "\x00" * 50])
def test_an_unreadable_meta_file_is_damage_that_names_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "meta.json").write_text(content)
    with pytest.raises(Damaged, match=str(tmp_path / "meta.json")):
        DataDir.open(tmp_path)


def test_closing_twice_is_fine(tmp_path: Path) -> None:
    directory = DataDir.open(tmp_path)
    directory.close()
    directory.close()
    DataDir.open(tmp_path).close()
