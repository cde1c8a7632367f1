"""The text index against BM25 by its formula, through its whole life."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kissvdb.core import bitmaps
from kissvdb.core.postings import segment_arrays
from kissvdb.core.text.index import TextIndex
from kissvdb.core.text.query import QueryOptions
from kissvdb.core.text.settings import FieldSettings, TextSettings
from kissvdb.errors import Damaged, InvalidArgument
from tests.core.text_world import QUERIES, SETTINGS, Reference, query, random_rows


def index_of(rows, *, text_settings=SETTINGS, step=None):
    index = TextIndex(text_settings)
    step = step or max(len(rows), 1)
    for start in range(0, len(rows), step):
        index.extend(start, rows[start : start + step])
    return index


def assert_same(view, reference, text, k, allowed=None):
    parsed = query(text)
    words = None
    if allowed is not None:
        flags = np.zeros(view.row_count, bool)
        flags[list(allowed)] = True
        words = bitmaps.pack(flags)
    hits = view.search(parsed, k, words)
    want = reference.best(parsed, k, allowed)
    assert hits.rows.tolist() == [row for row, _ in want], text
    assert hits.scores == pytest.approx([score for _, score in want], rel=1e-9)
    scores = reference.scores(parsed)
    every = np.arange(view.row_count)
    assert view.score(parsed, every) == pytest.approx([scores.get(row, 0.0) for row in every])
    passing = [row for row in sorted(scores) if allowed is None or row in allowed]
    assert bitmaps.row_numbers(view.matching(parsed, words)).tolist() == passing


def reopened(index):
    arrays = index.view().to_arrays()
    for array in arrays.values():
        array.flags.writeable = False
    return TextIndex.from_arrays(arrays, SETTINGS)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    steps=st.lists(st.sampled_from(["few", "many", "merge", "remap", "reopen"]), max_size=7),
    text=st.sampled_from(QUERIES),
)
def test_answers_are_those_of_the_formula_through_the_whole_life(seed, steps, text):
    rng = np.random.default_rng(seed)
    rows, index = [], TextIndex(SETTINGS)
    old = []
    for step in ["few", *steps]:
        if step in ("few", "many"):
            more = random_rows(seed + len(rows), 7 if step == "few" else 300)
            index.extend(len(rows), more)
            rows = rows + more
        elif step == "merge":
            due = index.merge_due()
            if due is not None:
                index.install(due, index.merge(due))
            index.settle()
        elif step == "remap":
            keep = np.flatnonzero(rng.random(len(rows)) < 0.7)
            index = index.view().remap(keep)
            rows = [rows[row] for row in keep]
        else:
            index = reopened(index)
        old.append((index.view(), rows))
    allowed = set(np.flatnonzero(rng.random(len(rows)) < 0.4).tolist())
    assert_same(index.view(), Reference(rows), text, 10)
    assert_same(index.view(), Reference(rows), text, 3, allowed)
    view, rows_then = old[len(old) // 2]
    assert_same(view, Reference(rows_then), text, 5)


@pytest.mark.parametrize("text", QUERIES)
def test_every_kind_of_query_over_segments_and_a_tail(text):
    rows = random_rows(1, 700)
    index = index_of(rows, step=130)
    assert_same(index.view(), Reference(rows), text, 20)
    assert_same(index.view(), Reference(rows), text, 20, set(range(3, 700, 50)))


def test_equal_rows_come_in_their_order():
    index = index_of([[("body", "alpha beta")]] * 50, step=9)
    hits = index.view().search(query("beta alpha gamma"), 7)
    assert hits.rows.tolist() == list(range(7))
    assert len(set(hits.scores.tolist())) == 1


def test_a_phrase_does_not_reach_from_one_text_into_the_next():
    index = index_of([[("body", "alpha"), ("body", "beta")], [("body", "alpha beta")]])
    assert index.view().search(query('"alpha beta"'), 5).rows.tolist() == [1]


def test_inflected_words_meet_in_their_stem_and_fields_keep_their_language():
    english = TextSettings(fields={"es": FieldSettings(language="spanish")})
    index = index_of(
        [[("en", "running dogs"), ("es", "gatos")], [("en", "cats")]], text_settings=english
    )
    view = index.view()
    for text, rows in (("run", [0]), ("dog", [0]), ("gato", [0]), ("cat", [1]), ("runner", [])):
        assert view.search(query(text), 5).rows.tolist() == rows, text


def test_the_fields_of_the_query_and_their_weights_replace_those_of_the_settings():
    rows = [[("title", "alpha"), ("body", "beta")], [("title", "beta"), ("body", "alpha")]]
    view = index_of(rows).view()
    assert view.search(query("alpha"), 1).rows.tolist() == [0]
    heavy = query("alpha", QueryOptions(fields={"body": 9.0, "title": 1.0}))
    assert view.search(heavy, 1).rows.tolist() == [1]
    only = query("alpha", QueryOptions(fields={"title": 1.0, "nowhere": 1.0}))
    assert view.search(only, 5).rows.tolist() == [0]


def test_a_score_does_not_exceed_the_ceiling_in_one_field():
    rows = [[("body", "alpha beta")], [("body", "alpha")], [("body", "gamma")]]
    view = index_of(rows).view()
    parsed = query("alpha beta unheard")
    ceiling = view.ceiling(parsed)
    assert 0 < view.search(parsed, 1).scores[0] < ceiling
    assert view.ceiling(query("unheard")) == 0.0


def test_fields_beyond_the_bound_are_not_searched_but_declared_ones_are():
    index = index_of([[(f"field{number}", "alpha") for number in range(100)]])
    assert len(index.view().paths) == 64
    index.extend(1, [[("title", "alpha"), ("field99", "alpha")]])
    view = index.view()
    assert view.paths[-1] == "title"
    assert view.search(query("title:alpha"), 5).rows.tolist() == [1]


def test_ten_thousand_different_words_are_indexed_and_a_beginning_stands_for_the_commonest():
    rows = [[("body", f"ab{row} common abx")] for row in range(10_000)]
    view = index_of(rows).view()
    hits = view.search(query("ab*"), 5)
    assert hits.rows.tolist() == [0, 1, 2, 3, 4]
    assert hits.ignored == 10_001 - 64


def test_a_long_query_leaves_out_the_commonest_words_and_says_so():
    rows = [[("body", "common " + " ".join(f"w{row}x{n}" for n in range(3)))] for row in range(200)]
    view = index_of(rows).view()
    text = "common " + " ".join(f"w{row}x{n}" for row in range(100) for n in range(3))
    hits = view.search(query(text), 5)
    assert len(hits.rows) == 5
    assert hits.ignored == 301 - 256


def test_too_many_words_that_must_match_are_refused():
    words = " ".join(f"w{n}" for n in range(500))
    view = index_of([[(f"field{n}", words) for n in range(9)]]).view()
    assert view.search(query(words), 5).rows.tolist() == [0]
    with pytest.raises(InvalidArgument, match="at most 4,096"):
        view.search(query(words, QueryOptions(match="all")), 5)
    some = query(words, QueryOptions(match="all", fields={"field1": 1.0, "field7": 1.0}))
    assert view.search(some, 5).rows.tolist() == [0]


def test_no_text_and_no_row_are_no_error():
    view = TextIndex(SETTINGS).view()
    assert view.search(query("alpha"), 5).rows.tolist() == []
    index = index_of([[], [("body", "")], [("body", "?! --")]])
    assert index.view().search(query('alpha "beta gamma" ga* -eta'), 5).rows.tolist() == []
    assert reopened(index).row_count == 3


def test_words_that_no_row_has_any_more_are_forgotten():
    index = index_of([[("body", "alpha")], [("body", "beta")]])
    kept = index.view().remap(np.array([1]))
    assert kept.view().rows_with("body", "beta") == 1
    assert kept.view().rows_with("body", "alpha") == 0
    assert len(kept.view().to_arrays()["term_fields"]) == 1


def test_an_index_of_other_settings_or_of_torn_arrays_is_damaged():
    # So many that some words have their rows in bits too.
    arrays = index_of(random_rows(3, 1500)).view().to_arrays()
    with pytest.raises(Damaged, match="other settings"):
        TextIndex.from_arrays(arrays, TextSettings())
    for name in arrays:
        torn = dict(arrays)
        torn[name] = arrays[name][: len(arrays[name]) // 2]
        with pytest.raises(Damaged):
            TextIndex.from_arrays(torn, SETTINGS)
        del torn[name]
        with pytest.raises(Damaged):
            TextIndex.from_arrays(torn, SETTINGS)


def test_an_index_that_was_stored_without_rows_in_bits_gets_them():
    arrays = index_of(random_rows(3, 1500)).view().to_arrays()
    assert arrays["dense"].size
    header = segment_arrays.decode(arrays)
    counts = [msgspec.structs.replace(each, dense=-1) for each in header.segments]
    old = {name: arrays[name] for name in arrays if name not in ("dense", "bits")}
    old["header"] = segment_arrays.encode(msgspec.structs.replace(header, segments=counts))
    again = TextIndex.from_arrays(old, SETTINGS).view().to_arrays()
    for name in ("dense", "bits"):
        assert again[name].tolist() == arrays[name].tolist()


def test_a_phrase_reaches_from_no_text_of_a_field_into_the_next():
    note = ("note", "!!")
    rows = [
        [("name", "red"), note, ("name", "fish")],
        [("name", "red"), ("name", "fish")],
        [("name", "red fish")],
    ]
    view = index_of(rows).view()
    assert view.search(query('"red fish"'), 9).rows.tolist() == [2]
