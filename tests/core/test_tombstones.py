"""Dead rows, against a set."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kissvdb.core import bitmaps
from kissvdb.core.store.tombstones import Tombstones
from kissvdb.errors import Damaged


@given(st.lists(st.integers(0, 300)), st.sets(st.integers(0, 199)), st.booleans())
def test_tombstones_are_a_set_of_rows(rows, passing, stored):
    tombstones, dead = Tombstones(), set()
    for row in rows:
        assert tombstones.bury(row) == (row not in dead)
        dead.add(row)
    if stored:
        tombstones = Tombstones.from_arrays(tombstones.view().to_arrays())
    view = tombstones.view()
    assert len(tombstones) == view.count == len(dead)
    assert [row for row in range(400) if view.is_dead(row)] == sorted(dead)
    assert view.living(200).tolist() == [row for row in range(200) if row not in dead]
    words = bitmaps.pack(np.isin(np.arange(200), list(passing)))
    allowed = view.allowed(200, words)
    assert bitmaps.row_numbers(allowed).tolist() == sorted(passing - dead)


@given(st.lists(st.lists(st.integers(0, 300))), st.booleans())
def test_many_rows_are_buried_as_one_by_one(batches, seen):
    some, each = Tombstones(), Tombstones()
    for batch in batches:
        before = some.view() if seen else None
        words = None if before is None else before.words.tolist()
        some.bury_all(np.array(batch, np.int64))
        for row in batch:
            each.bury(row)
        assert len(some) == len(each)
        assert before is None or before.words.tolist() == words
    view, other = some.view(), each.view()
    assert [view.is_dead(row) for row in range(400)] == [other.is_dead(row) for row in range(400)]


def test_without_tombstones_and_filter_all_rows_are_allowed():
    view = Tombstones().view()
    assert view.allowed(70) is None
    assert view.living(3).tolist() == [0, 1, 2]


def test_a_view_stays_as_it_was():
    tombstones = Tombstones()
    views = []
    for row in range(0, 1000, 7):
        tombstones.bury(row)
        views.append((row, tombstones.view()))
    for last, view in views:
        assert [row for row in range(1000) if view.is_dead(row)] == list(range(0, last + 1, 7))


def test_read_only_memory_is_not_written():
    tombstones = Tombstones()
    tombstones.bury(5)
    words = tombstones.view().words
    words.flags.writeable = False
    opened = Tombstones.from_arrays({"words": words})
    assert opened.bury(6)
    assert bitmaps.row_numbers(opened.view().words).tolist() == [5, 6]
    assert bitmaps.row_numbers(words).tolist() == [5]


def test_other_arrays_are_damaged():
    with pytest.raises(Damaged):
        Tombstones.from_arrays({})
    with pytest.raises(Damaged):
        Tombstones.from_arrays({"words": np.zeros(1, np.uint8)})
