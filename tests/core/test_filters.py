"""What filters mean, document by document, and what a wrong one is told."""

import json
import math
import re
from pathlib import Path

import pytest

from kissvdb.core.filters import parse as filters
from kissvdb.errors import InvalidArgument

BOOK = {
    "title": "Dune",
    "year": 1965,
    "price": 9.5,
    "in_print": True,
    "editor": None,
    "tags": ["sf", "desert", 3],
    "author": {"name": "Herbert", "born": 1920},
    "dotted.key": "literal",
    "empty": [],
}


def passes(filter_, document=BOOK):
    return filters.matches(filters.parse(filter_), document)


@pytest.mark.parametrize(
    "filter_",
    [
        None,
        {},
        {"title": "Dune"},
        {"title": "Dune", "year": 1965},
        {"year": 1965.0},
        {"in_print": True},
        {"editor": None},
        {"tags": ["sf", "desert", 3.0]},
        {"empty": []},
        {"author": {"born": 1920, "name": "Herbert"}},
        {"author": {"$eq": {"name": "Herbert", "born": 1920}}},
        {"author.name": "Herbert"},
        {"dotted.key": "literal"},
        {"title": {"$ne": "Emma"}},
        {"missing": {"$ne": "anything"}},
        {"year": {"$gt": 1964, "$lte": 1965}},
        {"price": {"$gte": 9.5, "$lt": 10}},
        {"title": {"$gt": "Dun", "$lt": "Dunf"}},
        {"title": {"$in": ["Emma", "Dune"]}},
        {"missing": {"$nin": [1, 2]}},
        {"editor": {"$exists": True}},
        {"missing": {"$exists": False}},
        {"tags": {"$contains": "desert"}},
        {"tags": {"$contains": 3}},
        {"title": {"$prefix": "Du"}},
        {"title": {"$prefix": ""}},
        {"year": {"$not": {"$lt": 1900}}},
        {"$and": [{"title": "Dune"}, {"year": 1965}]},
        {"$or": [{"title": "Emma"}, {"year": 1965}]},
        {"$not": {"title": "Emma"}},
        {"$and": [{}]},
        {"must": [{"key": "title", "match": {"value": "Dune"}}]},
        {"must": {"key": "title", "match": {"value": "Dune"}}},
        {"must": [{"key": "tags", "match": {"value": "sf"}}]},
        {"must": [{"key": "year", "match": {"any": [1, 1965]}}]},
        {"must": [{"key": "year", "match": {"except": [1, 2]}}]},
        {"must": [{"key": "author.born", "range": {"gte": 1920, "lt": None}}]},
        {"should": [{"key": "year", "match": {"value": 1}}, {"must": []}]},
        {"should": []},
        {"must_not": [{"key": "tags", "match": {"value": "poetry"}}], "title": "Dune"},
    ],
)
def test_a_filter_lets_the_book_through(filter_):
    assert passes(filter_)


@pytest.mark.parametrize(
    "filter_",
    [
        {"title": "dune"},
        {"title": "Dune", "year": 1966},
        {"year": "1965"},
        {"year": True},
        {"in_print": 1},
        {"in_print": "true"},
        {"missing": None},
        {"editor": False},
        {"tags": ["desert", "sf", 3]},
        {"tags": "sf"},
        {"author": {"name": "Herbert"}},
        {"author": {}},
        {"author.name.first": "F"},
        {"tags.0": "sf"},
        {"title": {"$gt": 1}},
        {"in_print": {"$gte": 0}},
        {"year": {"$gt": 1965}},
        {"year": {"$lt": "2"}},
        {"missing": {"$lt": 3}},
        {"title": {"$in": []}},
        {"in_print": {"$in": [1, "true"]}},
        {"title": {"$contains": "Dune"}},
        {"tags": {"$contains": True}},
        {"tags": {"$prefix": "s"}},
        {"year": {"$not": {"$gt": 1900}}},
        {"$or": [{"title": "Emma"}, {"year": 1}]},
        {"must": [{"key": "tags", "match": {"except": ["sf"]}}]},
        {"must_not": [{"key": "title", "match": {"value": "Dune"}}]},
        {"must": "have"},
    ],
)
def test_a_filter_keeps_the_book_out(filter_):
    assert not passes(filter_)


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        ([], "filters: expected an object, got a list"),
        ("x", "filters: expected an object, got a string"),
        ({"price": {"$gt": True}}, "filters.price.$gt: expected a number or string"),
        ({"price": {"$gt": None}}, "filters.price.$gt: expected a number or string, got null"),
        ({"price": {"$gt": 1, "$lt": "x"}}, "filters.price.$lt: the bounds of one range"),
        (
            {"price": {"$gte2": 1}},
            "filters.price.$gte2: unknown operator, did you mean $gte?",
        ),
        ({"price": {"$zzzz": 1}}, "filters.price.$zzzz: unknown operator. Known are $eq, $ne"),
        ({"price": {"$gt": 1, "plain": 2}}, "filters.price.plain: unknown operator"),
        ({"price": {"$gt": 1, "lt": 2}}, "filters.price.lt: an operator begins with $: write $lt"),
        ({"year": {"gte": 2020}}, "filters.year.gte: an operator begins with $: write $gte"),
        ({"year": {"gt": 1, "lte": 2}}, "filters.year.gt: an operator begins with $: write $gt"),
        ({"a": {"in": [1]}}, "filters.a.in: an operator begins with $: write $in"),
        ({"a": {"$not": {"gt": 1}}}, "filters.a.$not.gt: an operator begins with $: write $gt"),
        ({"a": {"not": {"gt": 1}}}, "filters.a.not: an operator begins with $: write $not"),
        ({"$or": [{"a": {"eq": 1}}]}, "filters.$or[0].a.eq: an operator begins with $"),
        ({"or": [{"a": 1}, {"b": 2}]}, "filters.or: an operator begins with $: write $or"),
        ({"and": [{"a": 1}]}, "filters.and: an operator begins with $: write $and"),
        ({"not": {"a": 1}}, "filters.not: an operator begins with $: write $not"),
        ({"$nor": []}, "filters.$nor: unknown operator"),
        ({"a": {"$in": "x"}}, "filters.a.$in: expected a list of values, got a string"),
        ({"a": {"$in": [1, math.nan]}}, "filters.a.$in[1]: expected a JSON value"),
        ({"a": {"$gt": math.inf}}, "filters.a.$gt: expected a JSON value"),
        ({"a": {"$exists": 1}}, "filters.a.$exists: expected true or false, got a number"),
        ({"a": {"$prefix": 1}}, "filters.a.$prefix: expected a string, got a number"),
        ({"a": {"$not": 1}}, "filters.a.$not: expected an object of operators"),
        ({"$and": []}, "filters.$and: expected a list of at least one filter"),
        ({"$or": {"a": 1}}, "filters.$or: expected a list"),
        ({"$or": [{"a": 1}, 2]}, "filters.$or[1]: expected an object, got a number"),
        ({"$or": [{"a": {"$lt": []}}]}, "filters.$or[0].a.$lt: expected a number or string"),
        ({"must": [{"key": 1, "match": {"value": 1}}]}, "filters.must[0].key: expected a string"),
        ({"must": [{"key": "a"}]}, "filters.must[0]: expected 'match' or 'range'"),
        ({"must": [{"key": "a", "geo": {}}]}, "filters.must[0].geo: unknown condition"),
        ({"must": [{"a": 1}]}, "filters.must[0]: expected an object with 'key'"),
        ({"must": [{}]}, "filters.must[0]: expected an object with 'key'"),
        ({"must": [{"key": "a", "match": {"text": "x"}}]}, "filters.must[0].match: expected"),
        ({"must": [{"key": "a", "range": {}}]}, "filters.must[0].range: expected at least one"),
        ({"must": [{"key": "a", "range": {"above": 1}}]}, "filters.must[0].range: expected"),
        ({"should": [{"must": [1]}]}, "filters.should[0].must[0]: expected an object"),
    ],
)
def test_a_wrong_filter_is_refused_with_its_path(filter_, message):
    with pytest.raises(InvalidArgument) as refusal:
        filters.parse(filter_)
    assert refusal.value.message.startswith(message)


def test_an_object_of_operator_names_is_equalled_by_eq():
    for value in ({"gte": 2020}, {"in": [1], "not": None}):
        with pytest.raises(InvalidArgument, match="begins with \\$") as refusal:
            filters.parse({"a": value})
        assert '{"$eq": ' in refusal.value.message
        assert passes({"a": {"$eq": value}}, {"a": value})
        assert passes({"a": {"$ne": value}}, {"a": 1})
    for field, value in {"or": [{"a": 1}], "not": {"a": 1}}.items():
        assert passes({field: {"$eq": value}}, {field: value})


def test_an_object_with_a_name_that_is_no_operator_is_still_a_value():
    for value in ({"gte": 1, "unit": "kg"}, {"name": "x"}, {}, {"min": 1}):
        assert passes({"a": value}, {"a": value})
    for document in ({"or": "b"}, {"and": [1]}, {"not": 7}, {"or": []}):
        assert passes(document, document)


def test_the_name_of_the_filter_is_the_callers():
    with pytest.raises(InvalidArgument, match=r"^filter\.a\.\$in: "):
        filters.parse({"a": {"$in": 1}}, name="filter")


def test_both_forms_make_the_same_tree():
    nested = {"must": [{"key": "size", "range": {"gte": 1, "lt": 9}}]}
    assert filters.parse(nested).parts[0] == filters.parse({"size": {"$gte": 1, "$lt": 9}})


def test_a_literal_key_with_a_dot_goes_before_a_path():
    document = {"a.b": "literal", "a": {"b": "path", "c.d": 1, "c": {"d": 2}}}
    assert passes({"a.b": "literal"}, document)
    assert not passes({"a.b": "path"}, document)
    assert passes({"a.c.d": 1}, document)


def test_fields_named_like_the_nested_form_are_asked_with_operators():
    assert passes({"must": {"$eq": ["go"]}, "should": "stay"}, {"must": ["go"], "should": "stay"})
    assert not passes({"must": {"$eq": ["go"]}}, {"must": ["stay"]})


def test_what_is_not_an_object_has_no_fields():
    for document in (None, 7, "text", ["a"]):
        assert not passes({"a": None}, document)
        assert passes({"a": {"$exists": False}}, document)
        assert passes({}, document)


def test_numbers_compare_exactly_beyond_the_precision_of_floats():
    assert not passes({"n": 2**53 + 1}, {"n": 2.0**53})
    assert passes({"n": {"$gt": 2.0**53}}, {"n": 2**53 + 1})
    assert passes({"n": {"$lt": 10**400}}, {"n": 1e308})


@pytest.mark.parametrize(
    ("filter_", "size"),
    [
        ({}, 0),
        ({"a": 1}, 1),
        ({"a": {"$in": [1, 2, 3]}, "b": {"$gte": 1, "$lt": 2}}, 4),
        ({"$or": [{"a": 1}, {"$not": {"b": {"$contains": "x"}}}]}, 5),
        ({"a": {"$in": []}}, 1),
        ({"a": [1, [2, 3], {"b": 4}]}, 7),
        ({"$or": [{}, {}, {"$and": [{}]}]}, 3),
    ],
)
def test_the_size_of_a_filter_is_the_work_it_makes(filter_, size):
    assert filters.size(filters.parse(filter_)) == size


@pytest.mark.parametrize(
    ("filter_", "nothing"),
    [
        (None, True),
        ({}, True),
        ({"must": []}, True),
        ({"should": []}, True),
        ({"$and": [{}, {"must": []}]}, True),
        ({"$or": [{"a": 1}, {}]}, True),
        ({"$or": [{"a": 1}, {"b": 1}]}, False),
        ({"$not": {}}, False),
        ({"a": {"$exists": True}}, False),
    ],
)
def test_a_filter_that_asks_nothing_is_told(filter_, nothing):
    assert filters.asks_nothing(filters.parse(filter_)) is nothing


@pytest.mark.parametrize("key", ["$and", "$or"])
def test_filters_that_ask_for_nothing_count_too(key):
    assert passes({key: [{}] * (filters.NODES_MAX - 1)}, {}) is True
    with pytest.raises(InvalidArgument, match="more than 1024 conditions"):
        filters.parse({key: [{}] * filters.NODES_MAX})


def test_depth_conditions_and_values_are_limited():
    deep = {"a": 1}
    for _ in range(filters.DEPTH_MAX):
        deep = {"$not": deep}
    with pytest.raises(InvalidArgument, match="nested deeper than 16 levels"):
        filters.parse(deep)
    assert filters.parse(deep["$not"]) is not None

    ladder = {"$gt": 1}
    for _ in range(filters.DEPTH_MAX):
        ladder = {"$not": ladder}
    with pytest.raises(InvalidArgument, match="nested deeper than 16 levels"):
        filters.parse({"a": ladder})

    with pytest.raises(InvalidArgument, match="more than 1024 conditions"):
        filters.parse({"$or": [{"a": n} for n in range(filters.NODES_MAX)]})
    with pytest.raises(InvalidArgument, match="more than 4096 values"):
        filters.parse({"a": {"$in": list(range(filters.VALUES_MAX + 1))}})

    operand = []
    for _ in range(filters.OPERAND_DEPTH_MAX):
        operand = [operand]
    with pytest.raises(InvalidArgument, match="a value nested deeper than 32 levels"):
        filters.parse({"a": operand})


def test_every_filter_in_the_documentation_can_be_parsed():
    text = Path(__file__).parents[2].joinpath("docs", "filters.md").read_text()
    blocks = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        assert filters.parse(json.loads(block)) is not None
    inline = re.findall(r"`(\{.+?\})`", text)
    assert len(inline) >= 15
    for example in inline:
        filters.parse(json.loads(example))
