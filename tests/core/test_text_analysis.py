"""How texts become terms: folding, cutting, stemming, and where terms lie in the original."""

import itertools
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kissvdb.core.text.analysis import KEYWORD_BYTES_MAX, TOKEN_BYTES_MAX, Analyzer, fold
from kissvdb.core.text.fields import TEXTS_MAX, texts_of
from kissvdb.core.text.settings import CODES, LANGUAGES, FieldSettings, TextSettings
from kissvdb.errors import InvalidArgument

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
# Dense in what is hard: marks that join, signs that widen, scripts without spaces.
HARD = st.text(
    "aAéßİıﬁ™½①²e\u0301\u0308か\u3099ｶﾞ東京都\u1100\u1161\u11a8한ก็ำ\u200d👍🏽١й ё .-'", max_size=24
)
TOKENIZERS = ("words", "keyword", "ngram")


def words(text, **settings):
    return Analyzer(FieldSettings(language="none", **settings)).tokens(text)


def stems(text, language):
    return Analyzer(FieldSettings(language=language)).tokens(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Straße ØRE naïve", ["strasse", "ore", "naive"]),
        ("C++ e-mail it's x_y", ["c", "e", "mail", "it", "s", "x", "y"]),
        ("Foo™ ﬁne m² ½", ["foo", "fine", "m2", "1", "2"]),
        ("İSTANBUL ıstanbul ISTANBUL", ["istanbul"] * 3),
        ("ΣΊΣΥΦΟΣ Σίσυφος", ["σισυφοσ"] * 2),
        ("й ё Ёлка", ["й", "е", "елка"]),
        ("שָׁלוֹם مُحَمَّد أحمد", ["שלום", "محمد", "احمد"]),
        ("हिन्दी", ["हिन्दी"]),
        ("١٢٣ ４２", ["123", "42"]),
        ("soft\u00adhyphen zero\u200bwidth", ["softhyphen", "zero", "width"]),
        ("👍🏽ok🎉", ["👍", "ok", "🎉"]),
        ("« quoted » … — ·", ["quoted"]),
        ("", []),
    ],
)
def test_case_accents_width_and_punctuation_make_no_difference(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("東京都内", ["東京", "京都", "都内"]),
        ("東", ["東"]),
        ("東京 都", ["東京", "都"]),
        ("第3章 tower東京", ["第", "3", "章", "tower", "東京"]),
        ("ひらがなカナ", ["ひら", "らが", "がな", "なカ", "カナ"]),
        ("ｶﾞｷﾞ", ["ガギ"]),
        ("한국어", ["한국", "국어"]),
        (unicodedata.normalize("NFD", "한국어"), ["한국", "국어"]),
        ("ภาษา", ["ภา", "าษ", "ษา"]),
    ],
)
def test_scripts_without_spaces_are_cut_into_pairs(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("language", "groups"),
    [
        ("english", ["searching searches searched search", "databases database", "Studies study"]),
        (
            "spanish",
            [
                "comunicación comunicacion comunicaciones COMUNICACIÓN",
                "canción canciones",
                "biología biologías biologia",
                "niño niños niñas",
                "corriendo correr corremos",
                "rápida rápidas rapidas",
                "habitación habitaciones",
            ],
        ),
        ("portuguese", ["comunicação comunicações comunicacao", "existência existências"]),
        ("french", ["qualité qualités qualite", "mangé manger"]),
        ("italian", ["qualità qualita", "comunicazione comunicazioni"]),
        ("german", ["Häuser hauser", "Katze Katzen"]),
        ("russian", ["новый новая новые", "книга книги"]),
        ("none", ["Wörter worter"]),
    ],
)
def test_forms_of_a_word_have_one_term_with_their_accents_and_without(language, groups):
    for group in groups:
        assert len(set(stems(group, language))) == 1, (group, stems(group, language))


def test_without_a_language_words_stay_as_they_are():
    assert words("searching searches") == ["searching", "searches"]


def test_a_keyword_is_its_whole_value_with_its_punctuation():
    assert len(words("  New   York ", tokenizer="keyword")) == 1
    assert words("  New   York ", tokenizer="keyword") == words("new york", tokenizer="keyword")
    assert words("C++", tokenizer="keyword") != words("C", tokenizer="keyword")
    assert words(" ", tokenizer="keyword") == []


def test_ngrams_lie_within_words():
    assert words("Hello wé", tokenizer="ngram") == ["hel", "ell", "llo", "we"]


def test_what_is_too_long_for_a_word_is_cut_at_a_character():
    assert words("x" * 1000) == ["x" * TOKEN_BYTES_MAX]
    assert words("é" + "ж" * 1000) == ["e" + "ж" * ((TOKEN_BYTES_MAX - 1) // 2)]
    assert words("x" * 1000, tokenizer="keyword") == ["x" * KEYWORD_BYTES_MAX]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_half_a_surrogate_pair_is_refused_with_its_place(tokenizer):
    analyzer = Analyzer(FieldSettings(tokenizer=tokenizer))
    with pytest.raises(InvalidArgument, match="character 3 is half of a surrogate pair"):
        analyzer.tokens("abc\ud800")


@given(TEXTS | HARD, st.sampled_from(TOKENIZERS), st.sampled_from(["none", "english", "spanish"]))
def test_spans_are_the_tokens_with_their_places(text, tokenizer, language):
    analyzer = Analyzer(FieldSettings(tokenizer=tokenizer, language=language))
    spans = analyzer.spans(text)
    assert [term for term, _, _ in spans] == analyzer.tokens(text)
    assert all(0 <= start < end <= len(text) for _, start, end in spans)
    assert all(before[1] <= after[1] for before, after in itertools.pairwise(spans))


@given(TEXTS | HARD)
def test_folding_what_is_folded_changes_no_token(text):
    tokens = words(text)
    assert words(" ".join(tokens)) == tokens
    assert (
        re.findall(rb"[0-9a-z\x80-\xff]+", fold(text))
        == fold(text)
        .translate(
            bytes(
                b if b in b"0123456789abcdefghijklmnopqrstuvwxyz" or b > 127 else 32
                for b in range(256)
            )
        )
        .split()
    )


@given(HARD)
def test_a_span_cut_out_of_its_text_has_its_token(text):
    analyzer = Analyzer(FieldSettings(language="none"))
    for term, start, end in analyzer.spans(text):
        assert term in analyzer.tokens(text[start:end])


def test_texts_of_a_document_are_its_strings_by_path():
    document = {
        "title": "A",
        "author": {"name": "B", "born": 1965},
        "tags": ["C", {"label": "D"}, ["E", None]],
        "empty": "",
    }
    every = [
        ("title", "A"),
        ("author.name", "B"),
        ("tags", "C"),
        ("tags.label", "D"),
        ("tags", "E"),
    ]
    assert texts_of(document, TextSettings()) == every
    declared = TextSettings.from_json({"fields": ["tags"], "others": False})
    assert texts_of(document, declared) == [("tags", "C"), ("tags", "E")]
    assert texts_of(["A"], TextSettings()) == texts_of("A", TextSettings()) == []


def test_texts_of_a_document_are_bounded_in_number_and_not_in_depth():
    deep = {"a": "end"}
    for _ in range(100):
        deep = {"a": deep}
    assert texts_of(deep, TextSettings()) == [(".".join("a" * 101), "end")]
    assert len(texts_of({"a": ["x"] * 100_000}, TextSettings())) == TEXTS_MAX


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"language": "spanish"}, "text.language: unknown"),
        ({"default": {"language": "tlh"}}, "text.default.language: unknown"),
        ({"default": {"language": "Spanisch"}}, "did you mean spanish"),
        ({"default": {"tokenizer": "word"}}, "did you mean words"),
        ({"fields": {"a": {"wieght": 2}}}, "text.fields.a.wieght: unknown, did you mean weight"),
        ({"fields": {"a": {"weight": 0}}}, "text.fields.a.weight: expected a number above 0"),
        ({"fields": {"a": {"weight": True}}}, "text.fields.a.weight: expected a number"),
        ({"fields": {"": {}}}, "1 to 256 characters"),
        ({"fields": [f"f{i}" for i in range(65)]}, "more than 64 fields"),
        ({"fields": "title"}, "an object of fields, or a list of their names"),
        ({"b": 1.5}, "text.b: expected a number 0 to 1"),
        ({"k1": float("nan")}, "text.k1: expected a number"),
        ({"others": False}, "declare at least one"),
        ({"others": 1}, "true or false"),
        ([], "expected an object"),
    ],
)
def test_wrong_settings_are_told_what_is_wrong(settings, message):
    with pytest.raises(InvalidArgument, match=re.escape(message)):
        TextSettings.from_json(settings)


def test_the_docs_name_every_language():
    page = (Path(__file__).resolve().parents[2] / "docs" / "search.md").read_text()
    named = set(re.search(r"The languages: ([a-z,\s]+)\.", page)[1].replace(",", " ").split())
    assert named == set(LANGUAGES) - {"none", "porter", "dutch_porter"}
    assert set(CODES.values()) <= named


def test_settings_come_back_from_their_json():
    settings = TextSettings.from_json(
        {"fields": {"title": {"weight": 3, "language": "es"}, "tag": {"tokenizer": "keyword"}}}
    )
    assert TextSettings.from_json(settings.to_json()) == settings
    assert settings.field("title") == FieldSettings(3.0, "spanish")
    assert settings.field("other") == settings.default
