"""Bitmaps, against lists of booleans."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kissvdb.core import bitmaps


@given(st.lists(st.booleans(), max_size=300), st.integers(0, 300))
def test_a_bitmap_holds_the_rows_it_was_packed_from(flags, rows):
    words = bitmaps.pack(np.array(flags, np.bool_))
    assert words.dtype == np.uint64
    assert len(words) == bitmaps.word_count(len(flags))
    for row, flag in enumerate(flags):
        assert int(words[row >> 6]) >> (row & 63) & 1 == flag
    assert bitmaps.unpack(words, len(flags)).tolist() == flags
    assert bitmaps.unpack(words, rows).tolist()[: len(flags)] == flags[:rows]
    assert not bitmaps.unpack(words, rows)[len(flags) :].any()
    assert bitmaps.count(words) == sum(flags)
    assert bitmaps.row_numbers(words).tolist() == [row for row, flag in enumerate(flags) if flag]
    resized = bitmaps.resize(words, rows)
    assert len(resized) == bitmaps.word_count(rows)
    kept = [row for row, flag in enumerate(flags[:rows]) if flag]
    assert bitmaps.row_numbers(resized).tolist() == kept


@given(st.integers(0, 300))
def test_a_full_bitmap_has_all_rows_and_no_more(rows):
    assert bitmaps.row_numbers(bitmaps.full(rows)).tolist() == list(range(rows))
