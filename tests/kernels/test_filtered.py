"""Search among the rows of a bitmap: filters and tombstones."""

import numpy as np
import pytest

from kissvdb.kernels import plain, scan
from kissvdb.kernels.arrays import COSINE, DOT, METRICS, new_scratch
from kissvdb.kernels.graph import filtered
from tests.kernels.indexes import bitmap, build, clustered, recall

METRIC_VALUES = sorted(METRICS.values())


@pytest.fixture(scope="module", params=METRIC_VALUES)
def index(request):
    return build(clustered(2000, 64), request.param)


def queries_for(index, count=30):
    vectors = clustered(2000, 64)[:count]
    noise = 0.4 * np.random.default_rng(9).standard_normal(vectors.shape)
    return plain.prepare((vectors + noise).astype(np.float32), index.metric)


def find(index, queries, words, form="int4", k=10, ef=64, **options):
    return filtered.search_filtered(
        index.graph, index.codes(form), index.rows, index.metric, queries, k, ef, 40,
        index.scratch, words, **options,
    )  # fmt: skip


@pytest.mark.parametrize("form", ["float32", "int8", "int4"])
@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.7, 1.0])
def test_filtered_search_finds_the_allowed_neighbours(index, share, form):
    words = bitmap(np.random.default_rng(4).random(2000) < share)
    queries = queries_for(index)
    ids, scores = find(index, queries, words, form)
    exact_ids, _ = scan.scan_rows(index.rows, 2000, index.metric, queries, 10, words)
    assert recall(ids, exact_ids) >= 0.97
    for j, query in enumerate(queries):
        own = plain.scores(index.rows[ids[j]], query, index.metric)
        assert scores[j].tobytes() == own.tobytes()


def test_a_filter_that_takes_one_side_of_the_space_is_searched_from_the_other(index):
    allowed = index.rows[:, 0] < np.quantile(index.rows[:, 0], 0.3)
    words = bitmap(allowed)
    queries = index.rows[~allowed][:30].copy()
    ids, _ = find(index, queries, words)
    exact, _ = scan.scan_rows(index.rows, 2000, index.metric, queries, 10, words)
    assert allowed[ids].all()
    assert recall(ids, exact) >= 0.97


def test_with_every_row_deleted_nothing_is_found(index):
    ids, scores = find(index, queries_for(index, 2), bitmap(np.zeros(2000, dtype=bool)))
    assert set(ids.ravel().tolist()) == {-1}
    assert np.isneginf(scores).all()


def test_the_entry_point_may_be_deleted(index):
    allowed = np.ones(2000, dtype=bool)
    allowed[index.graph.entry] = False
    query = index.rows[index.graph.entry][None].copy()
    ids, _ = find(index, query, bitmap(allowed))
    exact, _ = scan.scan_rows(index.rows, 2000, index.metric, query, 10, bitmap(allowed))
    assert index.graph.entry not in ids
    assert recall(ids, exact) >= 0.9


def test_only_the_entry_point_may_be_left(index):
    allowed = np.zeros(2000, dtype=bool)
    allowed[index.graph.entry] = True
    ids, _ = find(index, queries_for(index, 3), bitmap(allowed))
    assert ids.tolist() == [[index.graph.entry] + [-1] * 9] * 3


def test_fewer_allowed_rows_than_k_are_all_found(index):
    allowed = np.zeros(2000, dtype=bool)
    allowed[[5, 700, 1999]] = True
    ids, _ = find(index, queries_for(index, 5), bitmap(allowed), ef=64)
    exact, _ = scan.scan_rows(index.rows, 2000, index.metric, queries_for(index, 5), 10,
                              bitmap(allowed))  # fmt: skip
    # So few are the scan's business; the walk must still never answer a row twice or a wrong one.
    for found, wanted in zip(ids.tolist(), exact.tolist(), strict=True):
        real = [i for i in found if i >= 0]
        assert len(real) == len(set(real))
        assert set(real) <= set(wanted)


def test_after_30_percent_deleted_and_50_percent_updated_the_rest_is_found():
    random = np.random.default_rng(8)
    vectors = clustered(3000, 64)
    vectors[2000:] = vectors[random.permutation(2000)[:1000]]
    vectors[2000:] += 0.2 * random.standard_normal((1000, 64)).astype(np.float32)
    index = build(vectors, COSINE)
    live = np.ones(3000, dtype=bool)
    live[:1000] = False
    live[random.permutation(2000)[:600] + 1000] = False
    queries = plain.prepare(clustered(40, 64, seed=3) + vectors[-40:], COSINE)
    words = bitmap(live)
    ids, _ = find(index, queries, words)
    exact, _ = scan.scan_rows(index.rows, 3000, COSINE, queries, 10, words)
    assert recall(ids, exact) >= 0.97


def test_equal_rows_deleted_in_crowds_leave_the_last_ones_findable():
    vectors = np.random.default_rng(2).standard_normal((1200, 32)).astype(np.float32)
    vectors[:600] = vectors[0]
    index = build(vectors, COSINE)
    live = np.ones(1200, dtype=bool)
    live[:590] = False
    ids, _ = find(index, index.rows[:1].copy(), bitmap(live), ef=100)
    assert set(ids[0].tolist()) == set(range(590, 600))


def test_allowed_rows_are_counted_below_the_visible_end():
    words = bitmap(np.ones(200, dtype=bool))
    assert [filtered.count_allowed(words, n) for n in (0, 1, 63, 64, 65, 200)] == [
        0, 1, 63, 64, 65, 200,
    ]  # fmt: skip


def test_a_count_given_by_the_caller_saves_counting_and_changes_nothing(index):
    words = bitmap(np.arange(2000) % 2 == 0)
    queries = queries_for(index, 5)
    assert find(index, queries, words, allowed=1000)[0].tolist() == (
        find(index, queries, words)[0].tolist()
    )


def test_a_scan_is_chosen_for_few_rows_and_a_walk_for_many():
    chosen = [filtered.scan_is_cheaper(n, 50_000, 64, 192) for n in (0, 500, 5_000, 25_000, 50_000)]
    assert chosen == [True, True, True, False, False]
    assert filtered.scan_is_cheaper(25_000, 50_000, 640, 192)
    assert not filtered.scan_is_cheaper(100_000, 1_000_000, 64, 192)


def test_a_bitmap_shorter_than_the_graph_is_refused(index):
    with pytest.raises(ValueError, match="bitmap"):
        find(index, queries_for(index, 1), np.zeros(3, dtype=np.uint64))


def test_an_empty_graph_has_no_rows_to_filter():
    rows = plain.prepare(clustered(3, 64), DOT)
    index = build(clustered(3, 64)[:0], DOT)
    assert index.graph.entry == -1
    ids, _ = filtered.search_filtered(
        index.graph, index.int8, rows, DOT, rows, 2, 10, 10, new_scratch(3, 50, 32, 64),
        np.zeros(1, dtype=np.uint64),
    )  # fmt: skip
    assert set(ids.ravel().tolist()) == {-1}
