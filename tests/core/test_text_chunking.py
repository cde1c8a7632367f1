"""Long texts in pieces that lie where they say, overlap, and end where sentences do."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kissvdb.core.text.analysis import Analyzer
from kissvdb.core.text.chunking import CHUNKS_MAX, Chunking, chunks
from kissvdb.core.text.settings import FieldSettings
from kissvdb.errors import InvalidArgument

PROSE = st.lists(
    st.sampled_from(
        ["word", "two words", ". ", "! ", "\n\n", "\n", " ", "東京", "。", "e\u0301", "x-y"]
    ),
    max_size=120,
).map("".join)


@given(PROSE, st.integers(8, 30), st.data())
def test_pieces_are_cut_out_of_the_text_and_hold_all_of_it(text, tokens, data):
    chunking = Chunking(tokens, data.draw(st.integers(0, tokens // 2)))
    found = chunks(text, chunking)
    assert found == chunks(text, chunking)
    covered = 0
    for chunk in found:
        assert chunk.text == text[chunk.start : chunk.end] != ""
        assert not text[covered : chunk.start].strip()
        assert chunk.end > covered
        covered = chunk.end
    assert not text[covered:].strip()
    assert [chunk.start for chunk in found] == sorted({chunk.start for chunk in found})


def test_a_piece_ends_with_a_sentence_and_the_next_begins_with_one():
    sentences = [f"This is sentence number {i} of the text." for i in range(20)]
    found = chunks(" ".join(sentences), Chunking(32, 12))
    assert len(found) > 3
    for chunk in found:
        assert chunk.text.startswith("This")
        assert chunk.text.endswith("text.")
    for before, after in itertools.pairwise(found):
        assert after.start < before.end


def test_a_paragraph_goes_before_a_sentence():
    text = "One two three four five six.\n\nSeven eight. Nine ten."
    assert chunks(text, Chunking(12, 0))[0].text == "One two three four five six."


def test_a_short_text_is_one_piece_and_an_empty_one_none():
    assert [each.text for each in chunks(" A short text. ", Chunking())] == ["A short text."]
    assert chunks(" \n ", Chunking()) == []


def test_text_without_spaces_is_cut_too():
    found = chunks("東京都は日本の首都です。" * 20, Chunking(24, 0))
    assert all(len(each.text) <= 24 and each.text.endswith("。") for each in found)


@pytest.mark.parametrize(("tokens", "overlap"), [(7, 0), (8193, 0), (10, 6), (10, -1)])
def test_sizes_are_bounded(tokens, overlap):
    with pytest.raises(InvalidArgument, match=r"chunk\.(tokens|overlap): expected"):
        Chunking(tokens, overlap)


def test_a_text_of_too_many_pieces_is_refused():
    with pytest.raises(InvalidArgument, match="more than 10,000 chunks of 8 tokens"):
        chunks("w " * (CHUNKS_MAX * 8 + 1), Chunking(8, 0))


def test_characters_of_the_pieces_are_those_of_the_analyzer():
    text = "Ein Satz. " * 50
    analyzer = Analyzer(FieldSettings(language="none"))
    pieces = chunks(text, Chunking(16, 0))
    assert [t for piece in pieces for t in analyzer.tokens(piece.text)] == analyzer.tokens(text)
