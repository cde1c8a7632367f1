"""What people type is read as they meant it, or refused with what to do; it never breaks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kissvdb.core.text.analysis import Analyzer
from kissvdb.core.text.query import PLAIN_CHARS_MAX, QUERY_CHARS_MAX, Clause, QueryOptions, parse
from kissvdb.core.text.settings import FieldSettings
from kissvdb.errors import InvalidArgument

FIELDS = frozenset({"title", "author.name", "tag"})


def read(text, **options):
    return parse(text, QueryOptions(known=FIELDS, **options)).clauses


def word(text, field=None, weight=1.0, occur="should"):
    return Clause("word", text, field, weight, occur)


def phrase(text, field=None, weight=1.0, occur="should"):
    return Clause("phrase", text, field, weight, occur)


def prefix(text, field=None, weight=1.0, occur="should"):
    return Clause("prefix", text, field, weight, occur)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vector database", [word("vector"), word("database")]),
        ('"vector database" fast', [phrase("vector database"), word("fast")]),
        ("“curly quotes” «y tú»", [phrase("curly quotes"), phrase("y tú")]),
        ("data*", [prefix("data")]),
        ("a -b +c", [word("a"), word("b", occur="must_not"), word("c", occur="must")]),
        ('a -"b c"', [word("a"), phrase("b c", occur="must_not")]),
        ("a -state-of-the-art", [word("a"), word("state-of-the-art", occur="must_not")]),
        ("title:dune^3", [word("dune", "title", 3.0)]),
        ('author.name:"frank herbert"^.5', [phrase("frank herbert", "author.name", 0.5)]),
        ("a -title:b", [word("a"), word("b", "title", occur="must_not")]),
        ("tag:C++ tag:pre*", [word("C++", "tag"), prefix("pre", "tag")]),
        ("tag:a:b", [word("a:b", "tag")]),
        ("to be or to be", [word("to", weight=2.0), word("be", weight=2.0), word("or")]),
        ("Foo foo fóo", [word("Foo", weight=3.0)]),
    ],
)
def test_the_grammar(text, expected):
    assert list(read(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("foo:bar", [word("foo:bar")]),
        ("std::vector<int>", [word("std::vector<int>")]),
        ("https://a.example/x?y=z#w", [word("https://a.example/x?y=z#w")]),
        ("me@mail.example", [word("me@mail.example")]),
        ("C++ C# .NET", [word("C++", weight=2.0), word(".NET")]),
        ("title: dune", [word("title:"), word("dune")]),
        ("title:*", [word("title:*")]),
        ('"stray quote', [word('"stray'), word("quote")]),
        ('5" disk', [word('5"'), word("disk")]),
        ('x="1" y', [word("x="), phrase("1"), word("y")]),
        ('""', None),
        ('"" a', [word("a")]),
        ("a - b -- c", [word("a"), word("b"), word("c")]),
        ("--force +-3", [word("force"), word("3")]),
        ("x^y x^-1 x^0", [word("x^y"), word("x^-1"), word("x^0")]),
        ("(a AND b)", [word("(a"), word("AND"), word("b)")]),
        ("don't", [word("don't")]),
        ("🎉", [word("🎉")]),
        ("a * b", [word("a"), word("b")]),
        ("**bold**", [word("**bold**")]),
    ],
)
def test_what_is_no_operator_is_text(text, expected):
    if expected is None:
        with pytest.raises(InvalidArgument):
            read(text)
    else:
        assert list(read(text)) == expected


def test_match_all_asks_for_every_word():
    assert {clause.occur for clause in read("a bc*", match="all")} == {"must"}
    assert [clause.occur for clause in read('a "b c" -d', match="all")] == [
        "must",
        "must",
        "must_not",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no word to look for"),
        (" \n ", "no word to look for"),
        ("*", "no word to look for"),
        ("!?... -- ()", "no word to look for"),
        ('"..."', "no word to look for"),
        ("-a -b", "only says what not to find"),
        ("a*", "at least 2 characters before"),
        (" ".join(f"w{n}*" for n in range(17)), "at most 16"),
        (" ".join(f"w{i}" for i in range(513)), "more than 512 different words"),
        ("東" + "京都" * 600, "more than 512"),
        ('"' + "a b " * 33 + '"', "a phrase of 66 words"),
        ("word " * 10_000, f"at most {QUERY_CHARS_MAX:,} are searched"),
        ("a \udc00", "half of a surrogate pair"),
    ],
)
def test_what_asks_for_nothing_or_too_much_is_refused_with_what_to_do(text, message):
    if text.startswith("東"):
        text = "".join(chr(0x4E00 + i) for i in range(1100))
    with pytest.raises(InvalidArgument, match=message):
        read(text)


def test_a_word_repeated_ten_thousand_times_costs_no_more_than_one():
    assert len(read("w " * (QUERY_CHARS_MAX // 2))) == 1


@pytest.mark.parametrize("fields", [{}, {"title": 0}, {"title": "2"}, {"title": 1e9}])
def test_weights_of_fields_are_checked(fields):
    with pytest.raises(InvalidArgument, match="fields"):
        read("a", fields=fields)


OPERATORS = st.lists(
    st.sampled_from(
        ['"', "-", "+", "*", "^", "^2", ":", "title:", " ", "a", "東京", "é", "(", "\n"]
    ),
    max_size=30,
).map("".join)


@given(OPERATORS | st.text(max_size=60), st.sampled_from(["any", "all"]))
def test_any_text_is_read_or_refused(text, match):
    try:
        clauses = read(text, match=match)
    except InvalidArgument:
        return
    analyzer = Analyzer(FieldSettings())
    assert any(clause.occur != "must_not" for clause in clauses)
    for clause in clauses:
        assert clause.field in FIELDS or clause.terms(analyzer)
        assert clause.weight > 0


def test_each_field_makes_its_own_terms_of_a_clause():
    (clause,) = read("Searching*")
    assert clause.terms(Analyzer(FieldSettings())) == ["searching"]
    (clause,) = read('"Searching databases"')
    assert clause.terms(Analyzer(FieldSettings())) == ["search", "databas"]
    assert clause.terms(Analyzer(FieldSettings(language="none"))) == ["searching", "databases"]
    assert len(clause.terms(Analyzer(FieldSettings(tokenizer="keyword")))) == 1


def test_corrections_replace_words_and_leave_what_is_excluded_and_begun():
    query = parse('databse "vectr search" -databse vectr*', QueryOptions())
    corrected = query.corrected({"databse": ("database", "databases"), "vectr": ("vector", "vet")})
    assert list(corrected.clauses) == [
        word("database"),
        word("databases", weight=0.5),
        phrase("vector search"),
        word("databse", occur="must_not"),
        prefix("vectr"),
    ]
    required = parse("databse", QueryOptions(match="all"))
    assert [each.text for each in required.corrected({"databse": ("a", "b")}).clauses] == ["a"]


@given(st.text(alphabet='aB1 -+"^*:.,\t\x1cé', max_size=30))
def test_a_query_that_is_read_later_says_what_one_says_that_is_read_at_once(text):
    def clauses(text):
        try:
            return parse(text, QueryOptions(known=FIELDS)).clauses
        except InvalidArgument as refusal:
            return str(refusal)

    assert clauses(text) == clauses(text + " " * PLAIN_CHARS_MAX)
