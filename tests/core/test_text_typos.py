"""Words that nothing has are taken for those they nearly are, and no others are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kissvdb.core.text.analysis import Analyzer
from kissvdb.core.text.index import TextIndex
from kissvdb.core.text.query import QueryOptions, parse
from kissvdb.core.text.settings import FieldSettings, TextSettings
from kissvdb.core.text.typos import bounded_distance, corrections, nearest

WORDS = {
    "title": {
        "database": 9,
        "search": 5,
        "searches": 2,
        "rare": 1,
        "uncommons": 1,
        "vector": 3,
        "sector": 90,
    },
    "body": {"databases": 2, "network": 4, "straße": 2, "東京": 5, "12345": 3, "four": 7},
}
ANALYZERS = {name: Analyzer(FieldSettings(language="none")) for name in WORDS}


class Words:
    """A vocabulary in a dict, searched by the plain distance."""

    def rows_with(self, field, token):
        return WORDS[field].get(token, 0)

    def near(self, field, token, distance_max, limit):
        return nearest(WORDS[field].items(), token, distance_max, limit)


def corrected(text, **options):
    query = parse(text, QueryOptions(known=frozenset(WORDS), **options))
    return {word: likely[0] for word, likely in corrections(query, Words(), ANALYZERS).items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("databse", {"databse": "database"}),
        ("Databsae", {"databsae": "database"}),
        ("vectr", {"vectr": "vector"}),
        ("vektor", {"vektor": "vector"}),
        ('"serach netwrok"', {"serach": "search", "netwrok": "network"}),
        ("+serach", {"serach": "search"}),
        ("database network", {}),
        ("rares", {"rares": "rare"}),
        ("uncommun", {}),
        ("fou", {}),
        ("12346", {}),
        ("東都", {}),
        ("serach* search -serach", {}),
        ("qqqqqqqq", {}),
        ("title:netwrok", {}),
        ("body:netwrok", {"netwrok": "network"}),
    ],
)
def test_only_unknown_words_are_corrected_to_words_of_two_rows(text, expected):
    assert corrected(text) == expected


def test_swapped_letters_are_likelier_than_others_and_up_to_three_words_are_tried():
    words = {"cost": 90, "cors": 2, "cos": 50, "costr": 1, "coser": 5}

    class Few(Words):
        def rows_with(self, field, token):
            return words.get(token, 0)

        def near(self, field, token, distance_max, limit):
            return nearest(words.items(), token, distance_max, limit)

    found = corrections(parse("cosr", QueryOptions()), Few(), {"a": ANALYZERS["title"]})
    assert found == {"cosr": ("cors", "cost", "cos")}


def test_typos_can_be_left_alone():
    assert corrected("databse", typos="off") == {}


def test_only_the_fields_that_are_asked_are_looked_at():
    assert corrected("netwrok", fields={"title": 1.0}) == {}
    assert corrected("network", fields={"title": 1.0}) == {}
    assert corrected("netwrok", fields={"body": 1.0}) == {"netwrok": "network"}


def reference(one, other):
    """Optimal string alignment by its definition."""
    table = {}
    for i in range(len(one) + 1):
        for j in range(len(other) + 1):
            if not i or not j:
                table[i, j] = i + j
                continue
            cost = one[i - 1] != other[j - 1]
            options = [table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + cost]
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                options.append(table[i - 2, j - 2] + 1)
            table[i, j] = min(options)
    return table[len(one), len(other)]


@given(st.text("abc", max_size=8), st.text("abc", max_size=8), st.integers(0, 4))
def test_distances_are_those_of_the_definition_up_to_the_bound(one, other, most):
    assert bounded_distance(one, other, most) == min(reference(one, other), most + 1)


def test_what_a_field_of_keywords_or_parts_has_as_it_was_typed_stays():
    text_settings = TextSettings(
        fields={"sku": FieldSettings(tokenizer="keyword"), "part": FieldSettings(tokenizer="ngram")}
    )
    index = TextIndex(text_settings)
    index.extend(0, [[("sku", "abcde-fghij")], [("title", "abcdf rotted")], [("part", "carotene")]])
    view = index.view()
    analyzers = {path: Analyzer(text_settings.field(path)) for path in view.paths}
    for text in ("abcde-fghij", "roten"):
        query = parse(text, QueryOptions(known=frozenset(view.paths)))
        assert corrections(query, view, analyzers) == {}
    query = parse("abcde-fghijk", QueryOptions())
    assert corrections(query, view, analyzers) == {"abcde": ("abcdf",)}
