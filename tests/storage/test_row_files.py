"""Rows on disk: stored, and opened as they were."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from kissvdb.core.filters import parse as filters
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.rows.rules import Add, Delete, Upsert
from kissvdb.core.search import Search
from kissvdb.errors import PersistenceFailed
from kissvdb.storage.rows import array_file
from kissvdb.storage.rows import files as row_files
from kissvdb.storage.rows.arrays import RowArrays
from tests.core.row_world import clusters, compiled, raw
from tests.storage.row_directory import DIM, fill, reopen, save, stored_world


@pytest.fixture(scope="module")
def kernels():
    return compiled()


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
    ids = [each.ids for each in before.search(asked, Search(10)).hits]
    assert [each.ids for each in view.search(asked, Search(10)).hits] == ids
    more = clusters(3, 800, DIM)
    again.upsert({f"more{n}": each for n, each in enumerate(more)})
    assert "drain" in again.upkeep()
    assert again.view().indexed_rows == 2300
    assert again.view().audit(asked, Search(10)) >= 0.95
    # The files are the first process's too: what the second wrote is behind what it sees.
    assert [each.ids for each in before.search(asked, Search(10)).hits] == ids
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
    assert third.view().audit(clusters(9, 20, DIM), Search(10)) >= 0.95


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


def test_rows_are_served_and_vacuumed_while_kernels_are_still_compiled(tmp_path, kernels):
    here = stored_world(tmp_path, kernels)
    fill(here, 1500)
    here.upkeep()
    save(here, tmp_path)
    here.kernels = Kernels()
    again, _ = reopen(here, tmp_path)
    asked = clusters(9, 1, DIM)[0]
    again.check(asked, 20)
    again.run(*(Delete(f"v{n}") for n in range(1100)))
    assert "vacuum" in again.upkeep()
    assert again.view().statistics().deleted_rows == 0
    again.check(asked, 20)
    again.upsert({f"more{n}": each for n, each in enumerate(clusters(3, 800, DIM))})
    assert "drain" not in again.upkeep()
    again.kernels.load()
    assert "drain" in again.upkeep()
    again.check(asked, 20)


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
        assert len(files) == 6 + 3
        replace(old, new)
        synced.clear()

    monkeypatch.setattr(os, "fdatasync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    save(here, tmp_path)
    assert not synced


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
