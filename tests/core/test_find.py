"""Find against a plain model: filters, sort by several fields, pages, counts, facets."""

import functools
from collections import Counter

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kissvdb.core.filters import parse as filters
from kissvdb.core.find import Find, Place, SortKey
from kissvdb.core.metadata.index import MetadataIndex
from kissvdb.core.rows.changes import DocumentDeleted, DocumentWritten
from kissvdb.core.rows.find import find
from kissvdb.core.rows.owner import CollectionSpec, Rows
from tests.core.row_world import PLAIN, SALT

NOW_MS = 1_000_000
LONG = "x" * 70
"""Longer than a column tells apart."""

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.5, -0.0, 2.0, 1e300, 2**53 + 1, 2**62 + 1, 2**63, 2**64 - 1, -(2**53) - 1]),
    st.sampled_from(["", "a", "b", "é", "東", LONG, LONG + "a", LONG + "b"]),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.just({}), st.just({"n": 1}))
DOCUMENTS = st.one_of(
    st.fixed_dictionaries({}, optional={"a": VALUES, "b": VALUES, "c": SCALARS, "d": SCALARS}),
    st.just([1]),
)
IDS = st.one_of(
    st.sampled_from(["a", "a\0", "a\0\0", "aaaaaaaa", "aaaaaaaab", "aaaaaaaa\0", "é", "東京都"]),
    st.integers(0, 99).map(lambda n: f"prefix-{n}"),
)
WRITES = st.lists(st.tuples(IDS, st.one_of(st.none(), DOCUMENTS)), max_size=60)
KEYS = st.builds(SortKey, st.sampled_from("abc"), st.booleans(), st.booleans())


def view_of(writes, tail_rows, fields_max):
    """A view of these documents in many small segments that know few fields."""
    rows = Rows(CollectionSpec.of_documents("d"), SALT, PLAIN)
    for offset, (id_, document) in enumerate(writes, 1):
        text = msgspec.json.encode(document)
        write = DocumentWritten(id_, text, 1, offset) if document is not None else None
        rows.apply(offset, write or DocumentDeleted(id_))
    view = rows.view(NOW_MS)
    metadata = MetadataIndex(tail_rows_max=tail_rows, fields_max=fields_max)
    for row in range(view.data.count):
        metadata.add(row, view.data.document(row))
    return attrs.evolve(view, metadata=metadata.view())


def ids(found):
    return [place.id for place in found.places]


def model_of(writes):
    return {id_: each for id_, each in dict(writes).items() if each is not None}


def kind(value):
    """The place of a value's type, and what tells values of it apart."""
    if isinstance(value, bool):
        return 0, int(value)
    if isinstance(value, int | float):
        return 1, value
    if isinstance(value, str):
        return 2, value
    return (3, 0) if isinstance(value, list) else (4, 0)


def compared(one, other, keys):
    (id_, document), (other_id, other_document) = one, other
    for key in keys:
        a, b = (
            each.get(key.path) if isinstance(each, dict) else None
            for each in (document, other_document)
        )
        if a is None or b is None:
            if a is not b:
                return 1 if (a is None) != key.nothing_first else -1
            continue
        if kind(a) != kind(b):
            return 1 if (kind(a) > kind(b)) != key.descending else -1
    return (id_ > other_id) - (id_ < other_id)


def in_order(model, keys):
    order = functools.cmp_to_key(lambda one, other: compared(one, other, keys))
    return [id_ for id_, _ in sorted(model.items(), key=order)]


@settings(max_examples=150, deadline=None)
@given(
    WRITES,
    st.lists(KEYS, max_size=3),
    st.integers(1, 7),
    st.sampled_from([1, 3, 8, 100]),
    st.sampled_from([1, 2, 1000]),
)
def test_pages_are_those_of_a_sorted_list(writes, keys, limit, tail_rows, fields_max):
    model = model_of(writes)
    view = view_of(writes, tail_rows, fields_max)
    wanted = in_order(model, keys)
    for tree, passing in (
        (None, wanted),
        (filters.parse({"a": {"$exists": True}}), None),
    ):
        if passing is None:
            passing = [
                each for each in wanted if isinstance(model[each], dict) and "a" in model[each]
            ]
        asked, pages = Find(tree, tuple(keys), limit, count=True), []
        while True:
            found = find(view, asked)
            assert found.count == len(passing)
            assert [view.data.id_at(row) for row in found.rows] == ids(found)
            pages += ids(found)
            if not found.more:
                break
            assert len(found.rows) == limit
            # What a client gets and sends back.
            text = msgspec.json.encode([found.places[-1].values, found.places[-1].id])
            values, id_ = msgspec.json.decode(text)
            asked = attrs.evolve(asked, after=Place(tuple(values), id_))
        assert pages == passing


@settings(max_examples=60, deadline=None)
@given(WRITES, st.sampled_from([1, 4, 100]), st.sampled_from([1, 2, 1000]), st.booleans())
def test_facets_count_each_value_once_a_document(writes, tail_rows, fields_max, filtered):
    model = model_of(writes)
    view = view_of(writes, tail_rows, fields_max)
    tree = filters.parse({"b": {"$exists": True}}) if filtered else None
    counts = Counter()
    for document in model.values():
        if not isinstance(document, dict) or (filtered and "b" not in document):
            continue
        value = document.get("a")
        values = value if isinstance(value, list) else [value]
        counts.update({kind(each) for each in values if not isinstance(each, dict | list | None)})
    found = find(view, Find(tree, facets={"a": 3}, limit=0)).facets["a"]
    wanted = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    assert [(kind(value), number) for value, number in found.counts] == wanted[:3]
    assert found.distinct == len(wanted)


@pytest.fixture(scope="module")
def prices():
    """A thousand documents in segments and a tail."""
    rows = Rows(CollectionSpec.of_documents("d"), SALT, PLAIN)
    texts = [b'{"price":%d,"tags":["t%d"]}' % (n % 100, n % 7) for n in range(1000)]
    writes = [DocumentWritten(f"{n:04}", text, 1, n) for n, text in enumerate(texts)]
    rows.apply_all(list(enumerate(writes, 1)))
    return rows


def test_a_page_goes_on_while_documents_change(prices):
    """What did not move comes once, whatever is written between pages."""
    seen, offset = [], 1000
    asked = Find(sort=(SortKey("price", descending=True),), limit=90)
    while True:
        found = find(prices.view(NOW_MS), asked)
        seen += ids(found)
        if not found.more:
            break
        asked = attrs.evolve(asked, after=found.places[-1])
        offset += 1
        # One goes, one moves from the front to the back, one comes in front.
        moved = f"{offset % 1000:04}"
        prices.apply(offset, DocumentDeleted(f"{500 + offset % 10:04}"))
        prices.apply(offset, DocumentWritten(moved, b'{"price":-1}', 2, offset))
        prices.apply(offset, DocumentWritten(f"new-{offset}", b'{"price":1000}', 1, offset))
    touched = {f"{500 + n % 10:04}" for n in range(1001, offset + 1)}
    touched |= {f"{n % 1000:04}" for n in range(1001, offset + 1)}
    still = [id_ for id_ in seen if id_ not in touched]
    assert len(set(still)) == len(still)
    assert set(still) == {f"{n:04}" for n in range(1000)} - touched


def test_an_explanation_says_how_it_went(prices):
    view = prices.view(NOW_MS)
    asked = Find(filters.parse({"tags": {"$contains": "t1"}}), (SortKey("price"),), 5, explain=True)
    told = find(view, asked).explanation
    assert (told.plan, told.rows) == ("columns", view.data.count)
    assert told.read == 0
    assert 0.05 < told.selectivity < 0.2
    assert told.compared < view.data.count / 2
    assert find(view, Find(explain=True)).explanation.plan == "ids"
    assert find(view, Find()).explanation is None


def test_nothing_is_found_in_nothing():
    rows = Rows(CollectionSpec.of_documents("d"), SALT, PLAIN)
    asked = Find(sort=(SortKey("a"),), count=True, facets={"a": 3}, explain=True)
    found = find(rows.view(NOW_MS), asked)
    assert (found.rows, found.count, found.more) == ([], 0, False)
    assert found.facets["a"].counts == []


@pytest.mark.parametrize("tail_rows", [1, 100])
def test_texts_are_no_values_to_count(tail_rows):
    values = ["x" * 256, "x" * 256, "x" * 257, ["y" * 1000, "short"]]
    view = view_of([(str(n), {"a": each}) for n, each in enumerate(values)], tail_rows, 1000)
    facet = find(view, Find(facets={"a": 9}, limit=0)).facets["a"]
    assert facet.counts == [("x" * 256, 2), ("short", 1)]
    assert facet.distinct == 2
