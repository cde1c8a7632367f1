"""The metadata index agrees with ``filters.matches`` about every row, however it came to be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kissvdb.core import bitmaps
from kissvdb.core.filters import parse as filters
from kissvdb.core.metadata.index import MetadataIndex
from kissvdb.errors import Damaged

# Strings that differ around and after the bytes the index keeps of a string.
LONG_TEXTS = ["x" * 62 + end for end in ("", "yz", "yzz", "yz1", "é1", "é2", "y\0", "yz😀")]
SHORT_TEXTS = ["", "a", "b", "ab", "a\0", "a\0b", "\0", "é", "\ud800", "\uffff", "😀"]
TEXTS = st.sampled_from(SHORT_TEXTS + LONG_TEXTS)
ODD_NUMBERS = [0.0, -0.0, 1.0, 0.5, -2.5, 1e300, 2.0**53, 2**53 + 1, 2**53 + 2, -(2**53) - 1]
ODD_NUMBERS += [2.0**63, 2**63 - 1, 2**63, 2**63 + 1, -(2**63) - 1, 10**400, -(10**400)]
NUMBERS = st.integers(-3, 3) | st.sampled_from(ODD_NUMBERS)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
KEYS = st.sampled_from(["a", "b", "c", "a.b", "b.c", ""])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
DOCUMENTS = st.one_of(st.dictionaries(KEYS, VALUES, max_size=5), st.none(), st.just([{"a": 1}]))

PATHS = st.sampled_from(["a", "b", "c", "a.b", "b.c", "a.b.c", "a.a", "", "a.", "zz"])
BOUNDS = st.one_of(
    st.dictionaries(
        st.sampled_from(["$gt", "$gte", "$lt", "$lte"]),
        NUMBERS,
        min_size=1,
    ),
    st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), TEXTS, min_size=1),
)
CONDITIONS = st.one_of(
    st.fixed_dictionaries({"$eq": VALUES}),
    st.fixed_dictionaries({"$ne": VALUES}),
    st.fixed_dictionaries({"$in": st.lists(VALUES, max_size=10)}),
    st.fixed_dictionaries({"$nin": st.lists(VALUES, max_size=3)}),
    st.fixed_dictionaries({"$exists": st.booleans()}),
    st.fixed_dictionaries({"$contains": VALUES}),
    st.fixed_dictionaries({"$prefix": TEXTS}),
    BOUNDS,
)
FILTERS = st.recursive(
    st.dictionaries(PATHS, CONDITIONS, min_size=1, max_size=2),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$not": inner}),
    ),
    max_leaves=4,
)


def check(index, documents, tree):
    """The view's bitmap, count and bounds are those of the reference."""
    view = index.view()
    expected = [filters.matches(tree, document) for document in documents]
    words = view.bitmap(tree, documents.__getitem__)
    assert words.dtype == np.uint64
    assert len(words) == (len(documents) + 63) // 64
    assert bitmaps.unpack(words, len(documents)).tolist() == expected
    assert bitmaps.count(words) == sum(expected) == view.count(tree, documents.__getitem__)
    least, most = view.bounds(tree)
    assert least <= sum(expected) <= most
    sure = view.sure_bitmap(tree)
    if sure is not None:
        assert (least, sure.tolist()) == (most, words.tolist())


CASES = (
    st.lists(st.lists(DOCUMENTS, max_size=8), max_size=5),
    st.lists(FILTERS, min_size=5, max_size=5),
    st.sampled_from([1, 2, 3, 1000]),
    st.data(),
)


def check_every_form(batches, raw_filters, fields_max, data):
    """Added, stored and opened, merged, vacuumed: five filters over the same documents."""
    trees = [filters.parse(raw) for raw in raw_filters]
    documents = []
    index = MetadataIndex(tail_rows_max=data.draw(st.integers(1, 8)), fields_max=fields_max)
    for batch in batches:
        index.extend(len(documents), batch)
        documents += batch
    for tree in trees:
        check(index, documents, tree)

    opened = MetadataIndex.from_arrays(index.view().to_arrays(), fields_max=fields_max)
    for tree in trees:
        check(opened, documents, tree)
    opened.extend(len(documents), documents)
    documents = documents * 2
    opened.settle()
    check(opened, documents, trees[0])

    keep = [row for row in range(len(documents)) if data.draw(st.booleans())]
    kept = opened.view().remap(np.array(keep, np.uint32))
    documents = [documents[row] for row in keep]
    for tree in trees:
        check(kept, documents, tree)
    kept.extend(len(documents), documents)
    check(kept, documents * 2, trees[0])


@settings(max_examples=60, deadline=None)
@given(*CASES)
def test_the_index_agrees_with_the_reference_in_every_form(batches, raw_filters, fields_max, data):
    check_every_form(batches, raw_filters, fields_max, data)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@given(*CASES)
def test_the_index_agrees_with_the_reference_for_long(batches, raw_filters, fields_max, data):
    check_every_form(batches, raw_filters, fields_max, data)


@settings(max_examples=100, deadline=None)
@given(st.lists(DOCUMENTS, min_size=1, max_size=12), st.lists(PATHS, min_size=1), st.booleans())
def test_values_of_fields_are_found_again(documents, paths, stored):
    index = MetadataIndex(tail_rows_max=4)
    index.extend(0, documents)
    if stored:
        index = MetadataIndex.from_arrays(index.view().to_arrays())
    view = index.view()
    for path in paths:
        for row, document in enumerate(documents):
            expected = filters.lookup(document, path)
            found = view.value_at(row, path, documents.__getitem__)
            assert found is expected or filters.equal(found, expected)


def never(row):
    raise AssertionError(f"the document of row {row} was asked for")


def test_scalars_and_elements_are_answered_without_a_document():
    index = MetadataIndex()
    for row in range(1000):
        index.add(row, {"n": row, "s": f"item {row % 7}", "tags": [row % 3, "all"], "on": row > 9})
    view = index.view()
    for raw, count in [
        ({"n": 17}, 1),
        ({"n": {"$gte": 100, "$lt": 200.5}}, 101),
        ({"s": "item 3", "on": True}, 142),
        ({"s": {"$prefix": "item"}}, 1000),
        ({"tags": {"$contains": 2}}, 333),
        ({"$not": {"tags": {"$contains": "all"}}}, 0),
        ({"other": {"$exists": True}}, 0),
    ]:
        assert view.count(filters.parse(raw), never) == count


def test_documents_are_read_only_where_the_other_conditions_leave_a_row():
    documents = [{"group": row % 100, "shape": {"sides": row % 5}} for row in range(1000)]
    index = MetadataIndex()
    index.extend(0, documents)
    asked = []

    def document_at(row):
        asked.append(row)
        return documents[row]

    tree = filters.parse({"group": 42, "shape": {"sides": 2}})
    assert index.view().count(tree, document_at) == 10
    assert asked == list(range(42, 1000, 100))


def test_a_whole_array_is_compared_only_where_its_elements_are():
    documents = [{"tags": [f"t{row}", "all"]} for row in range(500)]
    index = MetadataIndex()
    index.extend(0, documents)
    asked = []

    def document_at(row):
        asked.append(row)
        return documents[row]

    assert index.view().count(filters.parse({"tags": ["t7", "all"]}), document_at) == 1
    assert asked == [7]


def test_no_filter_is_no_bitmap():
    index = MetadataIndex()
    index.add(0, {"a": 1})
    view = index.view()
    assert view.bitmap(None, never) is None
    assert view.count(None, never) == 1
    assert view.bounds(None) == (1, 1)


@pytest.mark.parametrize("values", [SHORT_TEXTS + LONG_TEXTS, [*ODD_NUMBERS, *range(-3, 4), True]])
def test_every_value_compares_with_every_other_as_in_the_reference(values):
    documents = [{"v": value, "elements": [value, None]} for value in values]
    index = MetadataIndex(tail_rows_max=1)
    index.extend(0, documents)
    index.settle()
    operators = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]
    for value in values:
        conditions = [{operator: value} for operator in operators if value is not True]
        conditions += [{"$gte": value, "$lte": value}] if value is not True else [{"$eq": True}]
        conditions += [{"$prefix": value}] if isinstance(value, str) else []
        for condition in conditions:
            check(index, documents, filters.parse({"v": condition}))
        check(index, documents, filters.parse({"elements": {"$contains": value}}))


def test_rows_that_were_not_indexed_stay_open_when_others_bring_the_column():
    documents = [{"a": 1, "b": 1, "late": 1}] * 3 + [{"late": 1}, {"late": 2}] * 5
    index = MetadataIndex(tail_rows_max=3, fields_max=2)
    index.extend(0, documents[:3])
    index.extend(3, documents[3:])
    index.settle()
    assert "late" in index.view().fields()
    for condition in (1, {"$exists": True}, {"$lt": 2}, {"$contains": 1}, {"$prefix": "x"}):
        check(index, documents, filters.parse({"late": condition}))


def test_an_empty_index_answers():
    view = MetadataIndex().view()
    assert view.row_count == 0
    assert len(view.bitmap(filters.parse({"a": 1}), never)) == 0
    assert MetadataIndex.from_arrays(view.to_arrays()).row_count == 0


def test_a_view_stays_as_it_was_while_the_writer_goes_on():
    index = MetadataIndex(tail_rows_max=64)
    tree = filters.parse({"even": True})
    views = []
    for row in range(1000):
        index.add(row, {"even": row % 2 == 0})
        views.append(index.view())
    index.settle()
    for row, view in enumerate(views):
        assert view.row_count == row + 1
        assert view.count(tree, never) == row // 2 + 1


def test_a_row_out_of_order_is_refused():
    index = MetadataIndex()
    index.add(0, None)
    with pytest.raises(ValueError, match="row 2 does not follow 1 rows"):
        index.add(2, None)


def test_merges_that_are_due_may_run_while_rows_are_added():
    index = MetadataIndex()
    documents = [{"n": row} for row in range(20_000)]
    index.extend(0, documents[:6000])
    index.extend(6000, documents[6000:12_000])
    due = index.merge_due()
    merged = index.merge(due)
    for row in range(12_000, 14_000):
        index.add(row, documents[row])
    index.install(due, merged)
    with pytest.raises(ValueError, match="not in this index"):
        index.install(due, merged)
    while (due := index.merge_due()) is not None:
        index.install(due, index.merge(due))
    check(index, documents[:14_000], filters.parse({"n": {"$gte": 5000, "$lt": 13_000}}))


def test_fields_beyond_the_limit_are_found_in_the_documents():
    documents = [{"common": 1, f"rare{row}": row} for row in range(600)]
    index = MetadataIndex(fields_max=50)
    index.extend(0, documents)
    index.extend(600, documents)
    index.settle()
    assert len(index.view().fields()) == 50
    assert "common" in index.view().fields()
    check(index, documents * 2, filters.parse({"rare599": 599}))
    check(index, documents * 2, filters.parse({"rare1": {"$exists": False}, "common": 1}))


def test_deep_and_long_paths_are_found_in_the_documents():
    deep = {"leaf": 1}
    for _ in range(20):
        deep = {"d": deep}
    documents = [deep, {"k" * 300: 1}, {"plain": 1}] * 100
    index = MetadataIndex(tail_rows_max=100)
    index.extend(0, documents)
    for raw in ({"d." * 20 + "leaf": 1}, {"k" * 300: 1}, {"d.d.d.d.d.d.d.d": {"$exists": True}}):
        check(index, documents, filters.parse(raw))


def test_arrays_that_do_not_fit_together_are_damaged():
    index = MetadataIndex()
    index.extend(0, [{"a": 1, "b": "text"}] * 300)
    arrays = index.view().to_arrays()
    with pytest.raises(Damaged):
        MetadataIndex.from_arrays({**arrays, "blob": arrays["blob"][:-1]})
    with pytest.raises(Damaged):
        MetadataIndex.from_arrays({**arrays, "reals": arrays["reals"].astype(np.float32)})
    with pytest.raises(Damaged):
        MetadataIndex.from_arrays({**arrays, "header": arrays["header"][:-2]})
    with pytest.raises(Damaged):
        MetadataIndex.from_arrays({name: arrays[name] for name in arrays if name != "rows"})


def test_an_index_opened_from_read_only_memory_grows():
    documents = [{"n": row, "s": str(row), "t": [row]} for row in range(700)]
    index = MetadataIndex()
    index.extend(0, documents)
    arrays = index.view().to_arrays()
    for array in arrays.values():
        array.flags.writeable = False
    opened = MetadataIndex.from_arrays(arrays)
    opened.extend(700, documents)
    opened.settle()
    check(opened, documents * 2, filters.parse({"n": {"$lt": 10}, "t": {"$contains": 3}}))
