"""Passages that match, with marks where the words are, in any script, escaped or plain."""

import html
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kissvdb.core.text.highlight import (
    ANSWER_CHARS_MAX,
    SCANNED_CHARS_MAX,
    Highlighter,
    Highlighting,
    to_json,
)
from kissvdb.core.text.query import QueryOptions, parse
from kissvdb.core.text.settings import TextSettings
from kissvdb.errors import InvalidArgument

FIELDS = frozenset({"title", "body", "tag"})
SETTINGS = TextSettings.from_json(
    {"fields": {"tag": {"tokenizer": "keyword"}, "code": {"tokenizer": "ngram"}}}
)


def found(texts, query, options):
    return Highlighter(query, SETTINGS, options).passages(texts)


def marked(text, query, field="body", **options):
    settings = {"pre": "[", "post": "]", "length": 0, **options}
    texts = [(field, text)] if isinstance(text, str) else text
    parsed = parse(query, QueryOptions(known=FIELDS))
    return [each.text for each in found(texts, parsed, Highlighting(**settings))]


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("Searching many databases.", "search database", "[Searching] many [databases]."),
        ("Ein naïves Café", "cafe naive", "Ein [naïves] [Café]"),
        ("cafe\u0301 x", "café", "[cafe\u0301] x"),
        ("A STRASSE, a Straße", "straße", "A [STRASSE], a [Straße]"),
        ("vector and vectors, in vectorial", "vector*", "[vector] and [vectors], in [vectorial]"),
        ("new york, york new", '"new york"', "[new] [york], york new"),
        ("a e-mail b", "e-mail", "a [e]-[mail] b"),
        ("kept apart", "kept -apart", "[kept] apart"),
        ("東京都は日本の首都", "東京都", "[東京都]は日本の首都"),
        ("한국어 텍스트", "한국", "[한국]어 텍스트"),
        ("I ❤ 🎉!", "🎉", "I ❤ [🎉]!"),
    ],
)
def test_words_are_marked_where_they_are_in_the_original(text, query, expected):
    assert marked(text, query) == [expected]


def test_text_is_escaped_around_marks_unless_asked_for_plain():
    text = '<script>alert("data")</script>'
    assert marked(text, "data", pre="<b>", post="</b>") == [
        "&lt;script&gt;alert(&quot;<b>data</b>&quot;)&lt;/script&gt;"
    ]
    assert marked(text, "data", escape=False) == ['<script>alert("[data]")</script>']


def test_each_field_is_marked_by_what_was_asked_of_it():
    texts = [("title", "red fish"), ("body", "red fish"), ("tag", "red fish"), ("code", "infrared")]
    assert marked(texts, "title:red fish") == ["[red] [fish]", "red [fish]"]
    assert marked(texts, 'tag:"red fish"') == ["[red fish]"]
    assert marked(texts, "frared") == ["in[frared]"]
    assert marked(texts, "red", fields=("body",)) == ["[red] fish"]
    parsed = parse("red", QueryOptions(fields={"title": 2.0}))
    passages = found(texts, parsed, Highlighting())
    assert [each.field for each in passages] == ["title"]


def test_nothing_is_shown_of_a_text_that_does_not_match():
    assert marked("some words", "others") == []


def test_the_passage_is_the_one_with_most_of_the_query():
    text = f"alpha {'filler ' * 50}alpha beta {'filler ' * 50}beta"
    (passage,) = marked(text, "alpha beta", length=60)
    assert "[alpha] [beta]" in passage
    assert passage.startswith("…filler")
    assert passage.endswith("filler…")
    assert len(passage) <= 60 + 6


def test_an_answer_reads_so_much_of_its_texts_again():
    highlighter = Highlighter(parse("sea", QueryOptions()), SETTINGS, Highlighting())
    text = "the sea " * (ANSWER_CHARS_MAX // 80)
    found = [bool(highlighter.passages([("body", text)])) for _ in range(20)]
    assert found == [True] * sum(found) + [False] * (20 - sum(found))
    assert sum(found) == -(-ANSWER_CHARS_MAX // SCANNED_CHARS_MAX)


def test_several_passages_come_in_order_and_do_not_overlap():
    text = "".join(f"word{i} {'x ' * 40}" for i in range(5))
    texts = [("body", text)]
    parsed = parse("word1 word3 word4", QueryOptions())
    passages = found(texts, parsed, Highlighting(length=40, count=3))
    assert [text[slice(*each.marks[0])] for each in passages] == ["word1", "word3", "word4"]
    assert all(before.end <= after.start for before, after in itertools.pairwise(passages))


@given(
    st.text("ab éß東京é\u0301<&\"' .", max_size=80),
    st.integers(0, 30),
    st.integers(1, 3),
    st.booleans(),
)
def test_marks_and_passages_lie_where_they_say(text, length, count, escape):
    query = parse("a bb* 東京 é", QueryOptions())
    options = Highlighting(pre="\x01", post="\x02", length=length, count=count, escape=escape)
    for each in found([("body", text)], query, options):
        plain = each.text.replace("\x01", "").replace("\x02", "")
        passage = text[each.start : each.end]
        shown = html.escape(passage) if escape else passage
        cut = ("…" if each.start else "") + shown + ("…" if each.end < len(text) else "")
        assert plain == cut
        assert each.marks
        assert each.text.count("\x01") == each.text.count("\x02") == len(each.marks)
        assert all(each.start <= start < end <= each.end for start, end in each.marks)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("yes", "highlight: expected true, or an object"),
        ({"lenght": 3}, "highlight.lenght: unknown"),
        ({"length": -1}, "highlight.length: expected a whole number 0 to 10,000"),
        ({"length": True}, "highlight.length"),
        ({"count": 0}, "highlight.count: expected a whole number 1 to 10"),
        ({"pre": 5}, "highlight.pre: expected at most 64 characters"),
        ({"post": "x" * 65}, "highlight.post"),
        ({"escape": "no"}, "highlight.escape: expected true or false"),
        ({"fields": "title"}, "highlight.fields: expected a list"),
    ],
)
def test_wrong_options_are_told_what_is_wrong(value, message):
    with pytest.raises(InvalidArgument, match=message):
        Highlighting.from_json(value)


def test_options_come_from_json_and_passages_go_to_it():
    assert Highlighting.from_json(False) is None
    assert Highlighting.from_json(True) == Highlighting()
    options = Highlighting.from_json({"fields": ["body"], "length": 0, "pre": "", "post": ""})
    passages = found([("body", "a b")], parse("b", QueryOptions()), options)
    assert to_json(passages) == [
        {"field": "body", "text": "a b", "start": 0, "end": 3, "marks": [[2, 3]]}
    ]
