"""Rows on disk: stored, opened as they were, and never served when they are damaged."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from kissvdb.core import filters
from kissvdb.core.collection import Add, Delete, Upsert
from kissvdb.core.row_index import Kernels
from kissvdb.core.rows import CollectionSpec, Rows
from kissvdb.errors import Damaged, PersistenceFailed
from kissvdb.storage import array_file, row_files
from kissvdb.storage.row_arrays import HEADER_BYTES, RowArrays
from tests.core.row_world import SALT, World, clusters, compiled, raw

DIM = 8


@pytest.fixture(scope="module")
def kernels():
    return compiled()


def stored_world(directory, kernels=None, **fields):
    kernels = Kernels() if kernels is None else kernels
    spec = CollectionSpec("c", DIM, fields.pop("metric", "cosine"), **fields)
    return World(spec, kernels, Rows(spec, SALT, kernels, RowArrays(directory, 1)))


def save(here, directory):
    """One checkpoint, as the engine does it."""
    work = here.rows.checkpoint()
    work.run()
    row_files.save(directory, here.rows.space, work.manifest, work.indexes)
    here.rows.install(work)
    return work.offset


def reopen(here, directory):
    """The same world on rows that come from the directory and the rest of the log."""
    found = row_files.open_directory(directory)
    rows, warnings = Rows.opened(
        found.manifest, found.indexes, found.damaged, found.arrays, SALT, here.kernels
    )
    rest = [(offset, record) for offset, record in here.log if offset > rows.applied_offset]
    rows.apply_all(rest)
    again = World(here.spec, here.kernels, rows, list(here.log), dict(here.model), here.now_ms)
    return again, warnings


def fill(here, count=200, seed=1):
    vectors = clusters(seed, count, DIM)
    meta = {f"v{n}": b'{"n":%d,"even":%d}' % (n, n % 2 == 0) for n in range(count)}
    here.upsert({f"v{n}": each for n, each in enumerate(vectors)}, meta)
    return vectors


def flip(path, at):
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x10]))


def file_of(directory, name):
    (path,) = directory.glob(f"{name}.*")
    return path


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_what_was_stored_is_opened_as_it_was(tmp_path, metric):
    here = stored_world(tmp_path, metric=metric)
    vectors = fill(here)
    here.run(Delete("v3"), Upsert("v4", raw(vectors[0])), Add("t", raw(vectors[1]), ttl_ms=50))
    here.run(Add("o", raw(vectors[2]), op_id="once"))
    offset = save(here, tmp_path)
    again, warnings = reopen(here, tmp_path)
    assert warnings == []
    assert again.rows.applied_offset == offset == here.log[-1][0]
    assert again.rows.spec == here.spec
    for tree in (None, filters.parse({"even": 1}), filters.parse({"n": {"$lt": 50}})):
        again.check(vectors[5], 30, tree)
    assert again.rows.operation("once").offset == offset
    again.now_ms += 50
    again.check(vectors[1], 30)
    assert again.rows.expired(again.now_ms, 9) == ["t"]


def test_what_came_after_the_checkpoint_comes_from_the_log(tmp_path):
    here = stored_world(tmp_path)
    vectors = fill(here)
    save(here, tmp_path)
    here.run(Delete("v9"), Add("new", raw(vectors[9])), Upsert("v10", raw(vectors[11])))
    again, _ = reopen(here, tmp_path)
    again.check(vectors[9], 200)
    again, _ = reopen(again, tmp_path)
    again.check(vectors[10], 200)


@pytest.mark.parametrize("quantization", ["q4", "q8", "none"])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_a_graph_is_opened_without_building_and_grows_on(tmp_path, kernels, metric, quantization):
    here = stored_world(tmp_path, kernels, metric=metric, quantization=quantization)
    fill(here, 1500)
    here.upkeep()
    save(here, tmp_path)
    before = here.view()
    again, warnings = reopen(here, tmp_path)
    view = again.view()
    assert warnings == []
    assert view.indexed_rows == before.indexed_rows == 1500
    asked = clusters(9, 20, DIM)
    ids = [each.ids for each in before.search(asked, 10).hits]
    assert [each.ids for each in view.search(asked, 10).hits] == ids
    more = clusters(3, 800, DIM)
    again.upsert({f"more{n}": each for n, each in enumerate(more)})
    assert "drain" in again.upkeep()
    assert again.view().indexed_rows == 2300
    assert again.view().audit(asked, 10) >= 0.95
    # The files are the first process's too: what the second wrote is behind what it sees.
    assert [each.ids for each in before.search(asked, 10).hits] == ids
    save(again, tmp_path)
    third, _ = reopen(again, tmp_path)
    assert third.view().indexed_rows == 2300
    third.check(asked[0], 20)


def test_an_audit_s_finer_codes_survive_a_restart(tmp_path, kernels):
    here = stored_world(tmp_path, kernels)
    fill(here, 1200)
    here.upkeep()
    assert here.rows.refine() == "q8"
    save(here, tmp_path)
    assert not list(tmp_path.glob("codes4*"))
    again, _ = reopen(here, tmp_path)
    assert again.view().statistics().precision == "q8"
    assert again.rows.refine() == "none"
    save(again, tmp_path)
    third, warnings = reopen(again, tmp_path)
    assert warnings == []
    assert third.view().statistics().precision == "none"
    assert third.view().audit(clusters(9, 20, DIM), 10) >= 0.95


def test_a_vacuum_s_rows_take_the_place_of_the_old_ones_with_the_next_checkpoint(tmp_path, kernels):
    here = stored_world(tmp_path, kernels)
    fill(here, 1500)
    here.upkeep()
    save(here, tmp_path)
    here.run(*(Delete(f"v{n}") for n in range(700)))
    work = here.rows.vacuum()
    while work is not None:
        work.run()
        here.rows.install(work)
        work = here.rows.work_due()
    # A crash before the checkpoint: the old files and the log are enough.
    again, _ = reopen(here, tmp_path)
    again.check(clusters(9, 1, DIM)[0], 30)
    save(here, tmp_path)
    names = {path.name for path in tmp_path.glob("*.rows")}
    assert {name.split(".")[1] for name in names} == {"2"}
    third, _ = reopen(here, tmp_path)
    assert third.view().statistics().deleted_rows == 0
    third.check(clusters(9, 1, DIM)[0], 30)


class Crash(Exception):
    """The process ends here."""


def crash_after(steps, patched):
    """Let so many writes, syncs and renames happen, and no more."""
    left = steps

    def counted(call):
        def run(*arguments):
            nonlocal left
            if left == 0:
                raise Crash
            left -= 1
            return call(*arguments)

        return run

    for name in ("pwrite", "fdatasync", "fsync", "replace", "unlink"):
        patched.setattr(os, name, counted(getattr(os, name)))


def test_a_crash_at_any_step_of_a_checkpoint_leaves_a_whole_one(tmp_path, monkeypatch):
    here = stored_world(tmp_path)
    vectors = fill(here, 40)
    save(here, tmp_path)
    steps, crashed = 0, True
    while crashed:
        here.run(Upsert(f"s{steps}", raw(vectors[steps % 40])), Delete(f"v{steps % 40}"))
        here.upsert({f"v{steps % 40}": vectors[0]})
        with monkeypatch.context() as patched:
            crash_after(steps, patched)
            try:
                save(here, tmp_path)
                crashed = False
            except Crash:
                steps += 1
        here, warnings = reopen(here, tmp_path)
        assert warnings == []
        here.check(vectors[1], 100)
    assert steps > 20
    assert len(list(tmp_path.glob("*.arrays"))) == 3


def test_a_checkpoint_syncs_every_file_before_the_manifest_that_names_it(tmp_path, monkeypatch):
    here = stored_world(tmp_path)
    fill(here, 40)
    synced, sync, replace = set(), os.fdatasync, os.replace

    def note_sync(fd):
        sync(fd)
        synced.add(os.fstat(fd).st_ino)

    def note_replace(old, new):
        files = [path for path in tmp_path.iterdir() if path.suffix in (".rows", ".arrays")]
        assert {path.stat().st_ino for path in files} | {os.stat(old).st_ino} == synced
        assert len(files) == 5 + 3
        replace(old, new)
        synced.clear()

    monkeypatch.setattr(os, "fdatasync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    save(here, tmp_path)
    assert not synced


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
        lambda: again.view().search(vectors[row : row + 1], 3),
        lambda: again.view().scroll(148, 5),
        lambda: again.rows.stored("v151"),
    ):
        with pytest.raises(Damaged, match="rows 144 to 159"):
            look()
    work = again.rows.work_due()
    assert work.kind == "verification"
    with pytest.raises(Damaged, match="rows 144 to 159"):
        work.run()


@pytest.mark.parametrize("name", ["sent", "blob", "ends", "expires"])
def test_damage_in_any_part_of_a_row_is_noticed(tmp_path, name):
    here = stored_world(tmp_path)
    fill(here, 20)
    save(here, tmp_path)
    flip(file_of(tmp_path, name), HEADER_BYTES + 3)
    again, _ = reopen(here, tmp_path)
    with pytest.raises(Damaged, match="rows 0 to 15"):
        again.rows.work_due().run()


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
    with pytest.raises(Damaged, match="rows 16 to 19"):
        again.rows.checkpoint().run()


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
    assert again.view().audit(clusters(9, 20, DIM), 10) >= 0.95


@pytest.mark.parametrize("bits", [4, 8])
def test_damaged_codes_are_made_anew_from_the_rows_with_a_warning(tmp_path, kernels, bits):
    here = stored_world(tmp_path, kernels)
    fill(here, 1300)
    here.upkeep()
    save(here, tmp_path)
    flip(file_of(tmp_path, f"codes{bits}-1300"), HEADER_BYTES + 777)
    again, warnings = reopen(here, tmp_path)
    assert "graph" in warnings[0]
    again.upkeep()
    assert again.view().audit(clusters(9, 20, DIM), 10) >= 0.95


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


def test_a_larger_array_leaves_readers_theirs_and_shows_both_the_same_rows(tmp_path):
    for directory in (tmp_path, None):
        arrays = RowArrays(directory, 1)
        small = arrays.array("a", "<i8", 2, 3)
        small[0] = (7, 8)
        large = arrays.array("a", "<i8", 2, 100_000)
        assert large[0].tolist() == [7, 8]
        assert not large[1:].any()
        large[1] = (9, 9)
        assert small[1].tolist() == [9, 9]
        assert small.flags.writeable
        assert small.ctypes.data % 64 == 0
        arrays.close()
        assert small[0].tolist() == [7, 8]


def test_a_full_disk_refuses_rows_before_they_are_logged(tmp_path, monkeypatch):
    here = stored_world(tmp_path)
    vectors = fill(here)

    def no_room(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", no_room)
        with pytest.raises(PersistenceFailed, match="No space left"):
            here.rows.reserve(100_000, 0)
    here.check(vectors[0], 20)
    here.upsert({f"more{n}": [1.0] * DIM for n in range(2000)})
    here.check(vectors[0], 20)


def test_a_checkpoint_that_fails_leaves_the_one_before(tmp_path, monkeypatch):
    here = stored_world(tmp_path)
    vectors = fill(here)
    save(here, tmp_path)
    here.run(Delete("v1"))

    def broken(*_arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    work = here.rows.checkpoint()
    work.run()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        with pytest.raises(PersistenceFailed, match="Input/output error"):
            row_files.save(tmp_path, here.rows.space, work.manifest, work.indexes)
    here.rows.abandon(work)
    again, _ = reopen(here, tmp_path)
    again.check(vectors[1], 30)


def test_leftovers_of_a_crash_are_removed_by_the_next_checkpoint(tmp_path):
    here = stored_world(tmp_path)
    fill(here, 10)
    (tmp_path / "graph.7.arrays").write_bytes(b"half of a file")
    (tmp_path / (row_files.MANIFEST + ".tmp")).write_bytes(b"{")
    assert not row_files.exists(tmp_path)
    save(here, tmp_path)
    assert row_files.exists(tmp_path)
    assert not (tmp_path / "graph.7.arrays").exists()
    row_files.remove(tmp_path)
    assert not Path(tmp_path).exists()


def test_array_files_hold_any_array(tmp_path):
    path = tmp_path / "x.arrays"
    arrays = {
        "empty": np.zeros((0, 4), np.float32),
        "words": np.arange(9, dtype=np.uint64),
        "matrix": np.arange(12, dtype=np.int32).reshape(3, 4)[:, ::2],
        "none": np.zeros(0, np.uint8),
    }
    array_file.write(path, arrays)
    found = array_file.read(path)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    # A private copy: what a reader changes is not in the file.
    found["words"][0] = 99
    assert array_file.read(path)["words"][0] == 0


@pytest.mark.parametrize("length", [0, 10, 40, 200])
def test_a_cut_array_file_is_damaged(tmp_path, length):
    path = tmp_path / "x.arrays"
    array_file.write(path, {"a": np.arange(100)})
    os.truncate(path, length)
    with pytest.raises(Damaged, match=r"x\.arrays"):
        array_file.read(path)
    with pytest.raises(Damaged):
        array_file.read(tmp_path / "missing.arrays")
