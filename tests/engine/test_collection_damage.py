"""Collections whose files were damaged: what is served, what is refused, what `check` says."""

from pathlib import Path

import pytest

from kissvdb.cli import main
from kissvdb.engine.opening import open_database
from kissvdb.engine.vectors.collection_store import verify_rows
from kissvdb.errors import Damaged
from kissvdb.storage import check
from kissvdb.storage.rows import array_file
from kissvdb.storage.rows.arrays import HEADER_BYTES
from tests.engine.test_collection import config, directory, fill
from tests.storage.row_directory import flip

__all__ = ["config"]

FIRST_ROW = 4096
"""Where the rows of a file begin."""


async def test_a_damaged_row_is_named_and_never_served(config):
    async with open_database(config) as db:
        await fill(db, 10)
    file = directory(config) / "vectors.0.rows"
    with file.open("r+b") as rows:
        rows.seek(FIRST_ROW)
        before = rows.read(4)
        rows.seek(FIRST_ROW)
        rows.write(bytes(byte ^ 0xFF for byte in before))
    async with open_database(config) as db:
        with pytest.raises(Damaged, match="'c'"):
            await db.vectors.search("c", [0, 0, 0], 10)
        with pytest.raises(Damaged, match="'c'"):
            db.vectors.get("c", "id000")
        with pytest.raises(Damaged, match="'c'"):
            await db.vectors.update("c", "id000", meta={})
        with pytest.raises(Damaged, match="'c'"):
            await db.vectors.delete_matching("c", None)
        # Everything else goes on.
        await db.vectors.upsert("c", "new", [1, 2, 3])
        assert db.vectors.get("c", "new").id == "new"
        await db.put("k", 1)


async def test_check_tells_of_collections_what_can_be_mended_and_what_cannot(config):
    async with open_database(config) as db:
        await fill(db, 10)
    data_dir = Path(config.storage.data_dir)
    report = check.check(data_dir)
    assert report.ok
    assert report.views[-1].name == "vectors/c"
    (index,) = directory(config).glob("metadata.*.arrays")
    index.write_bytes(index.read_bytes()[:-1])
    report = check.check(data_dir)
    assert report.ok
    assert "metadata" in report.notes[0]
    (index,) = directory(config).glob("rows.*.arrays")
    index.write_bytes(index.read_bytes()[:-1])
    assert not check.check(data_dir).ok
    async with open_database(config) as db:
        with pytest.raises(Damaged):
            db.vectors.find("c")
        await db.put("k", 1)


@pytest.mark.parametrize("name", ["vectors", "blob", "ends", "expires"])
async def test_check_compares_the_rows_with_their_checksums(config, name):
    async with open_database(config) as db:
        await fill(db, 100)
    data_dir = Path(config.storage.data_dir)
    assert check.check(data_dir, verify_rows).ok
    (rows,) = directory(config).glob(f"{name}.*.rows")
    flip(rows, HEADER_BYTES + 70)
    assert check.check(data_dir).ok
    report = check.check(data_dir, verify_rows)
    assert "do not match their checksum" in report.problems[0]
    assert str(directory(config)) in report.problems[0]


async def test_check_deep_finds_an_index_that_is_not_what_its_rows_say(config, capsys):
    async with open_database(config) as db:
        await fill(db, 10)
    data_dir = str(config.storage.data_dir)
    assert main(["check", "--deep", data_dir]) == 0
    (index,) = directory(config).glob("ids.*.arrays")
    arrays = {name: array.copy() for name, array in array_file.read(index).items()}
    arrays["slots"][arrays["slots"].argmax()] += 1
    array_file.write(index, arrays)
    assert main(["check", data_dir]) == 0
    capsys.readouterr()
    assert main(["check", "--deep", data_dir]) == 1
    said = capsys.readouterr().out
    assert f"PROBLEM: {directory(config)}: the index 'ids' ({index.name}) is not what" in said
    index.unlink()
    async with open_database(config) as db:
        assert db.vectors.get("c", "id000").id == "id000"
    assert main(["check", "--deep", data_dir]) == 0


async def test_a_database_with_a_damaged_index_opens_and_serves(config):
    async with open_database(config) as db:
        await fill(db, 10)
        before = await db.vectors.search("c", [3, 0, 0], 5, filters={"n": {"$gt": 2}})
    for name in ("metadata", "ids"):
        (index,) = directory(config).glob(f"{name}.*.arrays")
        index.write_bytes(index.read_bytes()[:-1])
    async with open_database(config) as db:
        assert await db.vectors.search("c", [3, 0, 0], 5, filters={"n": {"$gt": 2}}) == before
        assert db.vectors.get("c", "id004").id == "id004"
