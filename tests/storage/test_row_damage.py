"""Damaged rows are named and never served; what is derived from rows is made anew."""

import json
import os

import numpy as np
import pytest

from kissvdb.commands.deep_check import DeepCheck
from kissvdb.core.filters import parse as filters
from kissvdb.core.rows.rules import Delete, Upsert
from kissvdb.core.search import Search
from kissvdb.errors import Damaged
from kissvdb.storage.rows import array_file
from kissvdb.storage.rows import files as row_files
from kissvdb.storage.rows.arrays import HEADER_BYTES, RowArrays
from tests.core.row_world import clusters, compiled, raw
from tests.storage.row_directory import DIM, file_of, fill, flip, reopen, save, stored_world


@pytest.fixture(scope="module")
def kernels():
    return compiled()


def test_a_damaged_row_is_named_and_never_served(tmp_path):
    here = stored_world(tmp_path)
    vectors = fill(here)
    save(here, tmp_path)
    row = 150
    flip(file_of(tmp_path, "vectors"), HEADER_BYTES + row * 4 * 16 + 5)
    again, warnings = reopen(here, tmp_path)
    assert warnings == []
    assert again.view().get("v0").vector == raw(vectors[0])
    for look in (
        lambda: again.view().get("v150"),
        lambda: again.view().search(vectors[row : row + 1], Search(3)),
        lambda: again.view().scroll(148, 5),
        lambda: again.rows.stored("v151"),
    ):
        with pytest.raises(Damaged, match="rows 144 to 159"):
            look()
    work = again.rows.work_due()
    assert work.kind == "verification"
    work.run()
    again.rows.install(work)
    assert "rows 144 to 159" in again.rows.damage
    assert again.rows.work_due() is None


@pytest.mark.parametrize("name", ["sent", "sent_flags", "blob", "ends", "expires"])
def test_damage_in_any_part_of_a_row_is_noticed(tmp_path, name):
    here = stored_world(tmp_path)
    fill(here, 20)
    save(here, tmp_path)
    flip(file_of(tmp_path, name), HEADER_BYTES + 3)
    again, _ = reopen(here, tmp_path)
    again.upkeep()
    assert "rows 0 to 15" in again.rows.damage
    with pytest.raises(Damaged):
        again.rows.vacuum()


def test_rows_that_were_checked_are_not_checked_again(tmp_path):
    here = stored_world(tmp_path)
    fill(here)
    save(here, tmp_path)
    again, _ = reopen(here, tmp_path)
    assert again.upkeep() == ["verification"]
    assert again.rows.work_due() is None
    assert again.view().data.guard is None


def test_a_checkpoint_does_not_bless_a_damaged_block_that_grew(tmp_path):
    here = stored_world(tmp_path)
    fill(here, 20)
    save(here, tmp_path)
    flip(file_of(tmp_path, "vectors"), HEADER_BYTES + 18 * 4 * 16)
    again, _ = reopen(here, tmp_path)
    again.upsert({"new": [1.0] * DIM})
    for _ in range(2):
        save(again, tmp_path)
        again, _ = reopen(again, tmp_path)
        again.upkeep()
        assert "rows 16 to" in again.rows.damage
        for id_ in ("v16", "v19"):
            with pytest.raises(Damaged, match="rows 16 to"):
                again.view().get(id_)
        # What came behind them shares nothing with them.
        assert again.view().get("new").vector == raw([1.0] * DIM)
        assert again.view().get("v15") is not None


@pytest.mark.parametrize("name", ["ids", "metadata", "graph"])
def test_a_damaged_index_is_made_anew_from_the_rows_with_a_warning(tmp_path, kernels, name):
    here = stored_world(tmp_path, kernels)
    fill(here, 1300)
    here.run(Delete("v5"), Upsert("v6", raw([1.0] * DIM)))
    here.upkeep()
    save(here, tmp_path)
    path = file_of(tmp_path, name)
    flip(path, path.stat().st_size // 2)
    again, warnings = reopen(here, tmp_path)
    (warning,) = warnings
    assert name in warning
    assert path.name in warning
    again.check(clusters(9, 1, DIM)[0], 30, filters.parse({"even": 1}))
    again.upkeep()
    assert again.view().indexed_rows > 1000
    assert again.view().audit(clusters(9, 20, DIM), Search(10)) >= 0.95


@pytest.mark.parametrize("grown", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_damaged_codes_are_made_anew_from_the_rows(tmp_path, kernels, bits, grown):
    here = stored_world(tmp_path, kernels)
    fill(here, 1300)
    here.upkeep()
    save(here, tmp_path)
    assert deep_check(tmp_path) == ([], [])
    flip(file_of(tmp_path, f"codes{bits}-1300"), HEADER_BYTES + 777)
    found, notes = deep_check(tmp_path)
    assert found == []
    assert "collection 'c': the index 'graph' is made anew from the rows" in notes[0]
    again, warnings = reopen(here, tmp_path)
    assert (warnings, again.view().indexed_rows) == ([], 1300)
    # They are compared before anything else is done, and not before rows are served.
    work = again.rows.work_due()
    assert work.kind == "code verification"
    again.check(clusters(9, 1, DIM)[0], 30, filters.parse({"even": 1}))
    if grown:
        again.rows.abandon(work)
        again.upsert({"new": [1.0] * DIM})
        save(again, tmp_path)
        again, _ = reopen(again, tmp_path)
        work = again.rows.work_due()
    work.run()
    again.rows.install(work)
    assert again.view().indexed_rows == 0
    again.upkeep()
    assert again.view().indexed_rows >= 1300
    assert again.view().audit(clusters(9, 20, DIM), Search(10)) >= 0.95
    save(again, tmp_path)
    last, _ = reopen(again, tmp_path)
    assert last.upkeep() == ["code verification", "verification"]
    assert last.view().indexed_rows >= 1300


def deep_check(directory):
    opened = row_files.open_directory(directory)
    check = DeepCheck(directory.parent)
    try:
        return check(opened), check.notes
    finally:
        opened.arrays.close()


@pytest.mark.parametrize("graph", ["sound", "gone"])
@pytest.mark.parametrize("bits", [4, 8])
def test_codes_that_are_gone_are_made_anew_from_the_rows(tmp_path, kernels, bits, graph):
    here = stored_world(tmp_path, kernels)
    fill(here, 1300)
    here.upkeep()
    save(here, tmp_path)
    file_of(tmp_path, f"codes{bits}-1300").unlink()
    if graph == "gone":
        file_of(tmp_path, "graph").unlink()
    again, warnings = reopen(here, tmp_path)
    assert "graph" in warnings[0]
    again.upkeep()
    assert again.view().audit(clusters(9, 20, DIM), Search(10)) >= 0.95
    save(again, tmp_path)
    _, warnings = reopen(again, tmp_path)
    assert warnings == []


@pytest.mark.parametrize("how", ["gone", "cut off", "changed", "not a file of rows"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("ivf", name) for name in ("lists-1300-rows", "lists4-1300", "signs-1300", "lists")),
        ("vamana", "pages-1"),
    ],
)
def test_what_any_kind_of_index_has_in_files_is_made_anew(tmp_path, kernels, kind, name, how):
    here = stored_world(tmp_path, kernels, index=kind)
    vectors = fill(here, 1300)
    here.upkeep()
    save(here, tmp_path)
    path = file_of(tmp_path, name)
    if how == "gone":
        path.unlink()
    elif how == "cut off":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        flip(path, path.stat().st_size // 3 if how == "changed" else 3)
    again, _ = reopen(here, tmp_path)
    assert again.view().audit(vectors[:400:20], Search(10)) >= 0.95
    again.upkeep()
    assert again.view().indexed_rows > 1000
    assert again.view().audit(vectors[:400:20], Search(10)) >= 0.95
    save(again, tmp_path)
    last, warnings = reopen(again, tmp_path)
    assert warnings == []
    assert last.view().audit(vectors[:400:20], Search(10)) >= 0.95


@pytest.mark.parametrize("name", ["vectors", "sent", "sent_flags", "blob"])
def test_rows_that_are_cut_off_are_damage(tmp_path, name):
    here = stored_world(tmp_path)
    fill(here, 1000)
    save(here, tmp_path)
    path = file_of(tmp_path, name)
    os.truncate(path, HEADER_BYTES + 300)
    with pytest.raises(Damaged, match=f"{name}.*is cut off"):
        reopen(here, tmp_path)


def test_nothing_is_made_anew_from_damaged_rows(tmp_path):
    here = stored_world(tmp_path)
    fill(here, 50)
    save(here, tmp_path)
    path = file_of(tmp_path, "ids")
    path.write_bytes(b"")
    flip(file_of(tmp_path, "blob"), HEADER_BYTES + 100)
    with pytest.raises(Damaged, match="rows 0 to 15"):
        reopen(here, tmp_path)


def test_lost_tombstones_are_damage(tmp_path):
    here = stored_world(tmp_path)
    fill(here, 10)
    save(here, tmp_path)
    path = next(path for path in tmp_path.glob("rows.*.arrays"))
    flip(path, path.stat().st_size - 70)
    with pytest.raises(Damaged, match=path.name):
        reopen(here, tmp_path)


def test_a_damaged_manifest_is_named(tmp_path):
    here = stored_world(tmp_path)
    fill(here, 10)
    save(here, tmp_path)
    path = tmp_path / row_files.MANIFEST
    sound = path.read_text()
    for text in (
        sound.replace('"offset": 10', '"offset": 11'),
        sound[:50],
        "[]",
        json.dumps({"manifest": {"format": 9}, "crc32": 0}),
    ):
        path.write_text(text)
        with pytest.raises(Damaged, match=r"manifest\.json"):
            row_files.open_directory(tmp_path)
    path.write_text(sound)
    file_of(tmp_path, "vectors").unlink()
    with pytest.raises(Damaged, match="vectors"):
        row_files.open_directory(tmp_path)


def test_a_row_file_of_another_form_is_named(tmp_path):
    arrays = RowArrays(tmp_path, 1)
    arrays.array("vectors", "<f4", 16, 10)
    arrays.close()
    with pytest.raises(Damaged, match="vectors"):
        RowArrays(tmp_path, 1).array("vectors", "<f4", 32, 10)


@pytest.mark.parametrize("length", [0, 10, 40, 200])
def test_a_cut_array_file_is_damaged(tmp_path, length):
    path = tmp_path / "x.arrays"
    array_file.write(path, {"a": np.arange(100)})
    os.truncate(path, length)
    with pytest.raises(Damaged, match=r"x\.arrays"):
        array_file.read(path)
    with pytest.raises(Damaged):
        array_file.read(tmp_path / "missing.arrays")
