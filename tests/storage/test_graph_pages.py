"""A graph in the pages of a file: packed, opened without building, written anew, and mended."""

import shutil

import numpy as np
import pytest

from kissvdb.core import bitmaps
from kissvdb.core.filters import parse as filters
from kissvdb.core.index.disk import VamanaIndex
from kissvdb.core.rows.rules import Delete
from kissvdb.core.search import Search
from kissvdb.storage.rows import array_file
from tests.core.row_world import clusters, compiled
from tests.storage.row_directory import DIM, file_of, flip, reopen, save, stored_world
from tests.storage.test_row_rebuild import problems

ROWS = 1500
EVEN = filters.parse({"even": True})
PAGE = 4096


@pytest.fixture(scope="module")
def kernels():
    return compiled()


@pytest.fixture(scope="module")
def made(kernels, tmp_path_factory):
    """A directory with a packed graph of ROWS rows, and its world; not to be changed."""
    directory = tmp_path_factory.mktemp("rows") / "c"
    directory.mkdir()
    here = stored_world(directory, kernels, index="vamana")
    write(here, 0, ROWS)
    here.upkeep()
    save(here, directory)
    return directory, here


@pytest.fixture(autouse=True)
def walks(monkeypatch):
    """So few rows would be scanned."""
    monkeypatch.setattr(VamanaIndex, "_scan_is_cheaper", lambda *_: False)


@pytest.fixture
def again(made, tmp_path):
    """That collection, opened from a copy of its directory, which comes with it."""
    directory = tmp_path / "c"
    shutil.copytree(made[0], directory)
    here, warnings = reopen(made[1], directory)
    assert warnings == []
    return here, directory


def write(here, first, stop):
    vectors = clusters(7, stop, DIM)[first:]
    numbers = range(first, stop)
    meta = {f"v{n}": b'{"even":%s}' % (b"false" if n % 2 else b"true") for n in numbers}
    here.upsert({f"v{n}": each for n, each in zip(numbers, vectors, strict=True)}, meta)


def check(here):
    queries = clusters(7, 40, DIM) + np.float32(0.01)
    for search in (Search(10), Search(10, tree=EVEN), Search(3, ef=32)):
        assert here.view().audit(queries, search) >= 0.97
    here.check(queries[0], 12)


def pages_of(here):
    index = here.view().index
    assert isinstance(index, VamanaIndex)
    return index.pages


def test_a_packed_graph_opens_without_building_and_is_read_from_its_file(again):
    here, _ = again
    pages = pages_of(here)
    assert here.view().indexed_rows == ROWS
    assert pages.file is not None
    assert len(here.view().index.body.graph.links) == 0
    assert here.view().index.cost(10, None) > 1 << 40, "the event loop does not wait for a disk"
    check(here)
    read = here.view().index.pages_read(here.view().data, prepared(here, 5), 10, 64)
    assert (read > 0).all()
    assert (read < len(pages.array)).all()


def test_a_walk_ends_where_what_is_left_is_far(made):
    here = made[1]
    view, queries, ef = here.view(), prepared(here, 40), 256
    index, everyone = view.index, bitmaps.full(ROWS)
    # With a filter all that is in view is read.
    parts = (index.body.graph, index.body.walk, view.data.metric, queries, 12, ef, 8)
    _, _, whole = pages_of(here).search(*parts, everyone, ROWS, sure=10, cut=None)
    rows, _, read = pages_of(here).search(*parts, None, 0, sure=10, cut=None)
    assert read.mean() < 0.8 * whole.mean()
    best = view.search(clusters(7, 40, DIM), Search(10, exact=True)).hits
    pairs = zip(rows[:, :10].tolist(), best, strict=True)
    assert np.mean([len(set(found) & set(hits.rows.tolist())) for found, hits in pairs]) > 9.7


def prepared(here, count):
    return here.kernels.prepared(clusters(7, count, DIM), here.spec.metric)


def test_pages_in_memory_answer_as_pages_in_a_file(again):
    here, _ = again
    pages = pages_of(here)
    found = [each.ids for each in here.view().search(clusters(7, 30, DIM), Search(10)).hits]
    pages.file = None
    same = [each.ids for each in here.view().search(clusters(7, 30, DIM), Search(10)).hits]
    assert list(map(list, found)) == list(map(list, same))


def test_every_row_has_one_place_and_shares_its_page_with_neighbours(made):
    pages = pages_of(made[1])
    assert sorted(pages.place) == list(range(ROWS))
    links, lost = pages.links(ROWS)
    assert len(lost) == 0
    here = pages.place // pages.layout.per_page
    shared = sum((here[links[n][links[n] >= 0]] == here[n]).any() for n in range(ROWS))
    assert shared > 0.7 * ROWS


def test_few_new_rows_are_tail_and_more_are_written_into_new_pages(again):
    here, directory = again
    former, view = pages_of(here), here.view()
    write(here, ROWS, ROWS + 200)
    assert "drain" not in here.upkeep()
    check(here)
    write(here, ROWS + 200, ROWS + 400)
    here.run(*(Delete(f"v{n}") for n in range(0, 300, 2)))
    assert "drain" in here.upkeep()
    assert here.view().indexed_rows == ROWS + 400
    assert pages_of(here).number == former.number + 1
    check(here)
    # Whoever holds the view of before reads the pages of before.
    queries = clusters(7, 10, DIM)
    assert view.audit(queries, Search(10)) >= 0.97
    save(here, directory)
    assert [path.name for path in directory.glob("pages*")] == ["pages-2.1.rows"]
    opened, warnings = reopen(here, directory)
    assert warnings == []
    check(opened)


def test_new_pages_that_no_checkpoint_names_are_as_if_they_were_not(again):
    here, directory = again
    write(here, ROWS, ROWS + 300)
    here.upkeep()
    assert pages_of(here).number == 2
    # Killed here: and of the new file, not all came to the disk.
    path = file_of(directory, "pages-2")
    path.write_bytes(path.read_bytes()[: 5 * PAGE])
    opened, warnings = reopen(here, directory)
    assert warnings == []
    assert pages_of(opened).number == 1
    check(opened)
    opened.upkeep()
    assert opened.view().indexed_rows == ROWS + 300
    check(opened)


def test_a_damaged_page_costs_time_and_is_mended(again):
    here, directory = again
    for page in range(3, 40, 3):
        flip(file_of(directory, "pages-1"), PAGE * page + 100)
    said = []
    assert problems(directory, notes=said) == []
    assert "of its 1500 rows are not what was written" in said[0], said
    opened, warnings = reopen(here, directory)
    assert warnings == []
    check(opened)
    assert pages_of(opened).damaged
    assert "drain" in opened.upkeep()
    assert not pages_of(opened).damaged
    check(opened)
    assert not pages_of(opened).damaged
    save(opened, directory)
    assert problems(directory) == []


@pytest.mark.parametrize("left", [None, 3 * PAGE])
def test_pages_that_are_gone_or_cut_off_are_made_again_from_the_rows(again, left):
    here, directory = again
    path = file_of(directory, "pages-1")
    if left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:left])
    opened, warnings = reopen(here, directory)
    assert len(warnings) == 1
    assert "made anew" in warnings[0]
    check(opened)
    opened.upkeep()
    assert opened.view().indexed_rows == ROWS
    check(opened)


def test_places_that_are_no_places_are_found_out(again):
    here, directory = again
    path = file_of(directory, "vamana")
    arrays = {name: each.copy() for name, each in array_file.read(path).items()}
    arrays["place"][3] = arrays["place"][4]
    array_file.write(path, arrays)
    opened, warnings = reopen(here, directory)
    assert len(warnings) == 1
    check(opened)


def test_a_graph_is_packed_when_no_rows_wait_and_searched_in_memory_until_then(kernels, tmp_path):
    here = stored_world(tmp_path, kernels, index="vamana", metric="l2")
    write(here, 0, 6000)
    assert here.upkeep(1) == ["drain"]
    assert pages_of(here) is None
    assert here.view().indexed_rows == 4096
    check(here)
    save(here, tmp_path)
    opened, warnings = reopen(here, tmp_path)
    assert warnings == []
    assert opened.view().indexed_rows == 4096
    opened.upkeep()
    assert pages_of(opened).size == 6000
    check(opened)


def test_equal_rows_are_found_by_lowest_id(kernels, tmp_path):
    here = stored_world(tmp_path, kernels, index="vamana", metric="dot")
    same = np.ones((1100, DIM), np.float32)
    here.upsert({f"v{n:04}": each for n, each in enumerate(same)})
    here.upkeep()
    assert pages_of(here) is not None
    found = here.view().search(same[:1], Search(5)).hits[0]
    assert list(found.ids) == [f"v{n:04}" for n in range(5)]
