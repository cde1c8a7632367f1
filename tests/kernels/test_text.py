"""The compiled search of texts gives what the plain one gives, bit by bit."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kissvdb.core import bitmaps
from kissvdb.core.postings import compiled
from kissvdb.core.postings.state import SCANNED_TERMS_MAX
from kissvdb.core.text.index import TextIndex
from kissvdb.core.text.query import PLAIN_CHARS_MAX
from kissvdb.core.text.settings import FieldSettings, TextSettings
from kissvdb.core.text.typos import nearest
from tests.core.text_world import QUERIES, SETTINGS, query, random_rows

KERNELS = SimpleNamespace(text=compiled)


def both(rows, step, text_settings=SETTINGS):
    plain, fast = TextIndex(text_settings), TextIndex(text_settings, KERNELS)
    for start in range(0, len(rows), step):
        plain.extend(start, rows[start : start + step])
        fast.extend(start, rows[start : start + step])
    return plain, fast


def assert_equal(plain, fast, text, k, allow=None):
    parsed = query(text)
    want, hits = plain.search(parsed, k, allow), fast.search(parsed, k, allow)
    assert hits.rows.tolist() == want.rows.tolist(), text
    assert hits.scores.tolist() == want.scores.tolist(), text
    assert (fast.matching(parsed, allow) == plain.matching(parsed, allow)).all()
    rows = np.random.default_rng(k).permutation(plain.row_count)
    assert fast.score(parsed, rows).tolist() == plain.score(parsed, rows).tolist()
    assert fast.ceiling(parsed) == plain.ceiling(parsed)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 900),
    step=st.integers(1, 400),
    k=st.sampled_from([1, 3, 10, 200]),
    share=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    text=st.sampled_from(QUERIES),
)
def test_compiled_answers_are_the_plain_ones(seed, count, step, k, share, text):
    plain, fast = both(random_rows(seed, count), max(step, count // 20 + 1))
    allow = bitmaps.pack(np.random.default_rng(seed).random(count) < share)
    assert_equal(plain.view(), fast.view(), text, k)
    assert_equal(plain.view(), fast.view(), text, k, allow)


@pytest.fixture(scope="module")
def many():
    # Over one window of 4,096 rows, with words of every frequency.
    rng = np.random.default_rng(5)
    words = [f"w{number}" for number in range(300)]
    chance = 1 / np.arange(1, 301)
    rows = []
    for _ in range(10_000):
        size = rng.integers(1, 30)
        rows.append([("body", " ".join(rng.choice(words, size, p=chance / chance.sum())))])
    return both(rows, 2500)


@pytest.mark.parametrize(
    "text",
    ["w0", "w0 w1 w2 w3", "w250 w0 w100", "w99 w98 w97 w96 w1", '"w0 w1" w4', "w29*", "+w3 +w7"],
)
def test_windows_and_lists_that_are_not_walked_change_nothing(many, text):
    plain, fast = many
    assert_equal(plain.view(), fast.view(), text, 10)
    for share in (0.01, 0.5):
        allow = bitmaps.pack(np.random.default_rng(1).random(10_000) < share)
        assert_equal(plain.view(), fast.view(), text, 10, allow)


def test_postings_built_by_kernels_are_the_plain_ones(many):
    for plain, fast in zip(*(index.view().to_arrays().items() for index in many), strict=True):
        if plain[0] not in ("header", "word_hashes", "word_slots"):
            assert plain[0] == fast[0]
            assert plain[1].dtype == fast[1].dtype
            assert plain[1].tolist() == fast[1].tolist(), plain[0]


def test_mapped_arrays_that_cannot_be_written_are_searched_and_grow():
    plain, fast = both(random_rows(2, 500), 90)
    arrays = fast.view().to_arrays()
    for array in arrays.values():
        array.flags.writeable = False
    reopened = TextIndex.from_arrays(arrays, SETTINGS, KERNELS)
    assert_equal(plain.view(), reopened.view(), "alpha beta gam*", 10)
    more = [[("title", f"new{row} words alpha")] for row in range(400)]
    for index in (plain, reopened):
        index.extend(500, more)
    assert_equal(plain.view(), reopened.view(), "alpha words new399", 10)


def test_a_tail_that_is_searched_as_it_grows_answers_as_one_that_came_at_once():
    rows = random_rows(7, 150)
    grown = TextIndex(SETTINGS, KERNELS)
    for number, row in enumerate(rows):
        grown.extend(number, [row])
        if number % 10 in (0, 7, 8, 9):
            whole, _ = both(rows[: number + 1], 200)
            for text in ("alpha beta gamma", '"alpha beta" zeta', "+alpha -beta"):
                assert_equal(whole.view(), grown.view(), text, 5)


PADDING = " " * PLAIN_CHARS_MAX
"""A query that is so long is read at once, and looked up word by word."""


@pytest.mark.parametrize("text", ["w0 W3 w0", "w1-w2, (w99) w1 w250", "w7 w7 w7 w1", "w5 unheard"])
def test_plain_words_are_looked_up_at_once_as_one_by_one(many, text):
    _, fast = many
    view = fast.view()
    mine, other = query(text), query(text + PADDING)
    assert mine.words is not None
    assert other.words is None
    for allow in (
        None,
        bitmaps.pack(np.arange(10_000) % 3 == 0),
        bitmaps.pack(np.zeros(10_000, np.bool_)),
    ):
        hits, want = view.search(mine, 10, allow), view.search(other, 10, allow)
        assert hits.rows.tolist() == want.rows.tolist()
        assert hits.scores.tolist() == want.scores.tolist()


@pytest.mark.parametrize(
    ("text", "at_once"), [("w0 w1 w1", True), ("w0 unheard", False), ("w7 w7 w7", False)]
)
def test_what_is_no_plain_word_is_left_to_the_planner(many, text, at_once):
    state, asked = many[1]._state, many[1]._lexicon.asked_in(None)
    found = compiled.top_of_words(state, text.encode(), *asked, 0.9, 0.6, 10, None)
    assert (found is not None) == at_once


def test_words_of_rows_that_were_just_added_are_found_in_long_rows_too():
    plain, fast = both(random_rows(3, 70), 70)
    long = " ".join(f"long{number}" for number in range(SCANNED_TERMS_MAX))
    for number, text in enumerate(["alpha fresh", f"fresh {long} alpha", "alpha"], 70):
        for index in (plain, fast):
            index.extend(number, [[("body", text), ("title", "fresh alpha")]])
        for asked in ("fresh", "alpha fresh", "long7 alpha"):
            assert_equal(plain.view(), fast.view(), asked, 5)


def test_rows_are_found_while_another_thread_adds_words():
    index = TextIndex(SETTINGS, KERNELS)
    index.extend(0, [[("body", "word0 first")]])
    failed = []

    def search():
        while (view := index.view()).row_count < 1500:
            row = view.row_count - 1
            hits = view.search(query(f"word{row}"), 3)
            if hits.rows.tolist() != [row]:
                failed.append((row, hits.rows.tolist()))

    with ThreadPoolExecutor(2) as threads:
        searches = [threads.submit(search) for _ in range(2)]
        for row in range(1, 1500):
            index.extend(row, [[("body", f"word{row} more{row % 7} alpha")]])
        for each in searches:
            each.result()
    assert not failed


TEXTS = [
    "Plain ASCII, with 3 numbers; foo_bar--baz!",
    "a" * 62 + " " + "a" * 63 + " " + "a" * 64 + " " + "a" * 200,
    "naïve Ünïcode 日本語テキスト Привет мир",
    "",
    "  ?!  ",
    "e\u0301té x",
]


@pytest.mark.parametrize("tokenizer", ["words", "keyword", "ngram"])
def test_texts_are_cut_by_kernels_as_by_python(tokenizer):
    field = FieldSettings(tokenizer=tokenizer)
    rows = [[("f", text), ("f", "again"), ("g", text)] for text in TEXTS]
    # Twice: first every word is new, then every word is known.
    plain, fast = both(rows * 2, len(rows), TextSettings(default=field))
    mine, other = plain.view().to_arrays(), fast.view().to_arrays()
    assert mine["stream"].tolist() == other["stream"].tolist()
    assert mine["words"].tolist() == other["words"].tolist()


@given(st.lists(st.text("abcé", min_size=1, max_size=9), min_size=1, max_size=30))
@settings(max_examples=30, deadline=None)
def test_near_words_are_those_of_the_distance(words):
    rows = [[("body", word)] for word in words]
    plain, fast = both(rows, 50, TextSettings(default=FieldSettings(language="none")))
    folded = [word.replace("é", "e") for word in words]
    counted = [(word, folded.count(word)) for word in set(folded)]
    for token in (folded[0], folded[0][::-1], "abcabc"):
        want = nearest(counted, token, 2, 8)
        assert fast.view().near("body", token, 2, 8) == want
        assert plain.view().near("body", token, 2, 8) == want
