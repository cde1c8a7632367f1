"""Rows without an index: what is written is found, exactly, and in the right order."""

import numpy as np
import pytest

from kissvdb.core.filters import parse as filters
from kissvdb.core.filters.parse import MISSING
from kissvdb.core.rows.owner import CollectionSpec
from kissvdb.core.rows.rules import Add, Delete, Update, Upsert
from kissvdb.core.search import Search
from kissvdb.core.store import operations
from kissvdb.records import VectorWritten
from tests.core.row_world import World, raw

METRICS = ("cosine", "dot", "l2")


def world(dim=4, metric="cosine", **fields):
    return World(CollectionSpec("c", dim, metric, index="flat", **fields))


def whole_numbers(seed, count, dim):
    """Vectors whose products are exact in any arithmetic, and often equal."""
    return np.random.default_rng(seed).integers(-2, 3, (count, dim)).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
def test_exact_search_is_in_the_order_of_numpy_with_ties_by_id(metric):
    here = world(6, metric)
    vectors = whole_numbers(1, 300, 6)
    here.upsert({f"v{n % 250}": vector for n, vector in enumerate(vectors)})
    for query in whole_numbers(2, 20, 6):
        for k in (1, 7, 40, 1000):
            here.check(query, k)


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_those_of_numpy_bit_for_bit(metric):
    here = world(5, metric)
    chance = np.random.default_rng(3)
    here.upsert({f"v{n}": chance.standard_normal(5) for n in range(200)})
    for query in chance.standard_normal((20, 5)).astype(np.float32):
        found = here.view().search(query[None], Search(200)).hits[0]
        ids, scores = here.best(query, 200)
        assert list(found.ids) == ids
        assert found.scores.tolist() == scores


@pytest.mark.parametrize("metric", METRICS)
def test_more_equal_rows_than_wanted_are_settled_by_id(metric):
    here = world(3, metric)
    ids = [f"v{n:03}" for n in range(300)]
    here.upsert({id_: [1.0, 2.0, 3.0] for id_ in reversed(ids)} | {"far": [-5.0, 0.0, 1.0]})
    found = here.view().search(np.ones((2, 3), np.float32), Search(5))
    assert [list(each.ids) for each in found.hits] == [ids[:5], ids[:5]]
    # Some rows are better, and one of very many is to be taken from the tie.
    here.upsert({"best": [2.0, 4.0, 6.0] if metric == "dot" else [1.0, 1.0, 1.0]})
    assert here.view().search(np.ones((1, 3), np.float32), Search(2)).hits[0].ids == (
        "best",
        ids[0],
    )


def test_a_zero_vector_scores_zero_by_cosine():
    here = world(2)
    here.upsert({"zero": [0, 0], "with": [1, 0], "against": [-1, 0]})
    found = here.view().search(np.array([[1, 0], [0, 0]], np.float32), Search(3))
    assert found.hits[0].ids == ("with", "zero", "against")
    assert found.hits[0].scores.tolist() == [1, 0, -1]
    assert found.hits[1].scores.tolist() == [0, 0, 0]


def test_vectors_of_one_dimension():
    here = world(1, "l2")
    here.upsert({"a": [1], "b": [5], "c": [-1]})
    assert here.view().search(np.array([[4]], np.float32), Search(9)).hits[0].ids == ("b", "a", "c")


def test_an_empty_collection_finds_nothing():
    view = world().view()
    found = view.search(np.ones((2, 4), np.float32), Search(5, explain=True))
    assert [len(each) for each in found.hits] == [0, 0]
    assert found.explanation.selectivity == 0
    assert (view.live_count, view.count(), view.scroll(), view.get("x")) == (0, 0, [], None)
    assert view.audit(np.ones((1, 4), np.float32), Search(3)) == 1


def test_a_vector_comes_back_as_it_was_sent():
    here = world(3)
    sent = raw([0.1, 1e-30, 12345.678])
    here.run(Add("a", sent, b'{"x":1}'), Add("b", sent))
    assert here.view().get("a").vector == sent
    assert here.view().get("a").meta == b'{"x":1}'
    assert here.view().get("b").meta is None


def test_paging_and_min_score_cut_the_same_list():
    here = world(4, "dot")
    here.upsert({f"v{n}": vector for n, vector in enumerate(whole_numbers(4, 100, 4))})
    query = np.array([[1, 2, 0, 1]], np.float32)
    view = here.view()
    whole = view.search(query, Search(100)).hits[0]
    pages = [view.search(query, Search(9, offset=start)).hits[0] for start in range(0, 108, 9)]
    assert [id_ for page in pages for id_ in page.ids] == list(whole.ids)
    good = view.search(query, Search(100, min_score=2.0)).hits[0]
    assert good.scores.min() >= 2
    assert list(good.ids) == [
        id_ for id_, score in zip(whole.ids, whole.scores, strict=True) if score >= 2
    ]


def test_squares_with_one_root_are_one_distance_to_pages_and_to_ids():
    here = world(2, "l2")
    # Their squares differ, 1 and the next float32, and their distances do not.
    near = [1, 0.000345]
    assert np.float32(near[1]) ** 2 + np.float32(1) > 1
    here.upsert({"first": [0, 0], "z": [1, 0], "y": near, "a": near, "b": [0, 1]})
    query = np.zeros((1, 2), np.float32)
    view = here.view()
    whole = view.search(query, Search(5)).hits[0]
    assert list(whole.ids) == ["first", "a", "b", "y", "z"]
    assert whole.scores.tolist() == [0, -1, -1, -1, -1]
    for k in range(1, 5):
        assert view.search(query, Search(k)).hits[0].ids == whole.ids[:k]
        pages = [view.search(query, Search(k, offset=at)).hits[0] for at in range(0, 5, k)]
        assert [id_ for page in pages for id_ in page.ids] == list(whole.ids)


def test_squares_with_one_root_may_be_more_than_are_looked_at_first():
    here = world(2, "l2")
    rows = {f"v{99 - n:02}": [1, 0.000345 * (n > 30)] for n in range(60)}
    here.upsert(rows)
    query = np.zeros((1, 2), np.float32)
    for k in (1, 5, 33, 60):
        assert here.view().search(query, Search(k)).hits[0].ids == tuple(sorted(rows)[:k])


def test_a_filter_is_exact_whatever_it_leaves():
    here = world()
    vectors = whole_numbers(5, 400, 4)
    meta = {f"v{n}": b'{"n":%d,"even":%s}' % (n, [b"true", b"false"][n % 2]) for n in range(400)}
    here.upsert({f"v{n}": vector for n, vector in enumerate(vectors)}, meta)
    here.run(*(Delete(f"v{n}") for n in range(0, 400, 7)))
    for wanted in ({"n": 17}, {"n": {"$gte": 390}}, {"even": True}, {"n": {"$gt": 400}}):
        here.check(vectors[0], 12, filters.parse(wanted))


def test_filters_that_look_alike_are_not_mixed_up():
    here = world(1)
    here.upsert(
        {"int": [1], "bool": [1], "text": [1]},
        {"int": b'{"x":1}', "bool": b'{"x":true}', "text": b'{"x":"1"}'},
    )
    view = here.view()
    for _ in range(2):
        for name, value in (("int", 1), ("bool", True), ("text", "1"), ("int", 1.0)):
            assert view.ids_matching(filters.parse({"x": value})) == [name]
    for n in range(100):
        assert view.count(filters.parse({"x": n})) == (n == 1)
    here.run(Delete("int"))
    assert here.view().count(filters.parse({"x": 1})) == 0
    assert view.count(filters.parse({"x": 1})) == 1


def test_a_view_says_whether_it_knows_who_passes_without_reading_documents():
    here = world()
    vectors = whole_numbers(7, 600, 4)
    meta = {f"v{n}": b'{"n":%d,"list":[%d]}' % (n, n % 5) for n in range(600)}
    here.upsert({f"v{n}": vector for n, vector in enumerate(vectors)}, meta)
    here.run(Delete("v1"))
    view = here.view()
    known = filters.parse({"n": {"$lt": 10}})
    assert view.knows_bitmap(None, steps_max=0)
    assert not view.knows_bitmap(known, steps_max=10)
    assert view.knows_bitmap(known, steps_max=1000)
    assert view.knows_bitmap(known, steps_max=0)
    assert view.count(known) == 9
    assert view.knows_bitmap(known, "nobody's", steps_max=1000)
    assert view.count(known, "nobody's") == 0
    # Equality with an array is for the documents to say: until one has asked.
    unknown = filters.parse({"list": [3]})
    assert not view.knows_bitmap(unknown, steps_max=1000)
    assert not view.knows_bitmap(unknown, steps_max=1000)
    assert view.count(unknown) == 120
    assert view.knows_bitmap(unknown, steps_max=0)


def test_namespaces_share_a_collection_and_nothing_else():
    here = world()
    vectors = whole_numbers(6, 60, 4)
    meta = {f"v{n}": b'{"_namespace":"t%d","n":%d}' % (n % 3, n) for n in range(60)}
    here.upsert({f"v{n}": vector for n, vector in enumerate(vectors)}, meta)
    view = here.view()
    found = view.search(vectors[:1], Search(60, namespace="t1")).hits[0]
    assert sorted(found.ids) == sorted(f"v{n}" for n in range(1, 60, 3))
    tree = filters.parse({"n": {"$lt": 10}})
    assert view.count(tree, namespace="t0") == 4
    assert view.ids_matching(tree, namespace="t2") == ["v2", "v5", "v8"]
    assert [row.id for row in view.scroll(limit=2, namespace="t2")] == ["v2", "v5"]
    assert view.count(namespace="nobody's") == 0


def test_groups_are_filled_and_in_the_order_of_their_best():
    here = world(1, "l2")
    meta = {f"v{n:02}": b'{"g":"%c"}' % b"aaaaaaaaab"[n % 10] for n in range(40)}
    meta["v39"] = None
    here.upsert({f"v{n:02}": [n] for n in range(40)}, meta)
    groups = here.view().search_groups(np.zeros(1, np.float32), Search(4), "g", 2)
    assert [(each.value, each.hits.ids) for each in groups] == [
        ("a", ("v00", "v01")),
        ("b", ("v09", "v19")),
        (MISSING, ("v39",)),
    ]
    assert len(here.view().search_groups(np.zeros(1, np.float32), Search(1), "g", 3)) == 1


def test_a_group_of_nearly_all_rows_does_not_hide_the_others():
    here = world(1, "l2")
    meta = {f"v{n:04}": b'{"g":"most","n":%d}' % (n % 2) for n in range(1500)}
    meta |= {"v0700": b'{"g":"one"}', "v1490": b'{"g":"two"}', "v1400": b'{"g":"one"}'}
    meta |= {f"v{n}": None for n in (1300, 1310)}
    here.upsert({f"v{n:04}": [n] for n in range(1500)}, meta)
    view, query = here.view(), np.zeros(1, np.float32)
    groups = view.search_groups(query, Search(4), "g", 2)
    assert [each.hits.ids for each in groups] == [
        ("v0000", "v0001"),
        ("v0700", "v1400"),
        ("v1300",),
        ("v1310",),
    ]
    groups = view.search_groups(query, Search(9), "g", 2)
    assert [each.value for each in groups] == ["most", "one", MISSING, MISSING, "two"]
    groups = view.search_groups(query, Search(9, tree=filters.parse({"n": 1})), "g", 2)
    assert [each.hits.ids for each in groups] == [("v0001", "v0003")]
    assert view.search_groups(query, Search(9, min_score=1.0), "g", 2) == []


def test_values_that_are_equal_are_one_group_and_types_are_not_mixed():
    here = world(1, "l2")
    texts = [b"1", b"1.0", b"true", b'"1"', b"null", b"[1]", b"[1.0]", b'{"a":1}']
    here.upsert(
        {f"v{n}": [n] for n in range(8)}, {f"v{n}": b'{"g":%b}' % texts[n] for n in range(8)}
    )
    groups = here.view().search_groups(np.zeros(1, np.float32), Search(10), "g", 5)
    assert [each.hits.ids for each in groups] == [
        ("v0", "v1"),
        ("v2",),
        ("v3",),
        ("v4",),
        ("v5", "v6"),
        ("v7",),
    ]


def test_scrolling_passes_every_row_once_in_the_order_they_were_written():
    here = world()
    here.upsert({f"v{n}": [n, 1, 1, 1] for n in range(25)})
    here.run(Delete("v3"), Upsert("v5", raw([1, 1, 1, 1])))
    seen, after = [], -1
    while page := here.view().scroll(after, 4):
        seen += [row.id for row in page]
        after = page[-1].row
    assert seen == [f"v{n}" for n in range(25) if n not in (3, 5)] + ["v5"]


def test_a_view_stays_as_it_was():
    here = world(2, "l2")
    here.upsert({"a": [0, 0], "b": [1, 1]})
    before = here.view()
    here.run(Delete("a"), Update("b", raw([9, 9])), Upsert("c", raw([0, 0])))
    assert before.search(np.zeros((1, 2), np.float32), Search(9)).hits[0].ids == ("a", "b")
    assert before.count() == before.live_count == 2
    assert here.view().search(np.zeros((1, 2), np.float32), Search(9)).hits[0].ids == ("c", "b")
    assert before.offset < here.view().offset


def test_a_deleted_id_can_be_written_again():
    here = world(2, "l2")
    for n in range(5):
        here.upsert({"a": [n, n]})
        here.check([0, 0], 3)
        here.run(Delete("a"))
        here.check([0, 0], 3)
    assert here.view().live_count == 0


def test_a_row_whose_time_has_come_is_hidden_before_its_end_is_logged():
    here = world(2, "l2", ttl_ms=100)
    here.run(Add("short", raw([0, 0]), ttl_ms=50), Add("default", raw([1, 1])))
    here.run(Upsert("long", raw([2, 2]), ttl_ms=10**6))
    here.check([0, 0], 5)
    here.now_ms += 50
    here.check([0, 0], 5)
    assert here.view().get("short") is None
    assert here.view().live_count == 2
    assert here.rows.expired(here.now_ms, 10) == ["short"]
    here.now_ms += 50
    assert here.rows.expired(here.now_ms, 1) == ["short"]
    here.expire()
    assert here.rows.expired(here.now_ms, 10) == []
    assert list(here.model) == ["long"]
    here.check([0, 0], 5)


def test_a_row_written_again_after_its_time_is_there():
    here = world(2, "l2")
    here.run(Add("a", raw([0, 0]), ttl_ms=1))
    here.now_ms += 1
    assert here.view().live_count == 0
    here.run(Add("a", raw([3, 3])))
    here.expire()
    here.check([0, 0], 5)
    assert list(here.model) == ["a"]


def test_the_newest_operations_are_remembered(monkeypatch):
    monkeypatch.setattr(operations, "OPERATIONS_KEPT", 2)
    here = world(1)
    for offset, op_id in enumerate(("first", "later", "latest"), start=1):
        here.rows.apply(10**15 * offset, VectorWritten("upserted", "c", "b", raw([1]), op_id=op_id))
    assert here.rows.operation("first") is None
    assert here.rows.operation("later").offset == 2 * 10**15
    assert here.rows.operation("latest").offset == 3 * 10**15


def test_an_offset_without_records_moves_the_view_on():
    here = world(1)
    here.upsert({"a": [1]})
    here.rows.note_offset(70)
    here.rows.note_offset(3)
    assert here.view().offset == 70


def test_explain_says_how_a_search_went():
    here = world(2)
    here.upsert({f"v{n}": [n, 1] for n in range(10)}, {"v3": b'{"x":1}'})
    found = here.view().search(
        np.ones((1, 2), np.float32), Search(3, tree=filters.parse({"x": 1}), explain=True)
    )
    assert found.explanation.plan == "exact scan"
    assert found.explanation.selectivity == 0.1
    assert found.explanation.rows == 10
    assert here.view().search(np.ones((1, 2), np.float32), Search(3)).explanation is None
