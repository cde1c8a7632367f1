"""Rows that are nearly the same: codes cannot tell them apart, answers can."""

import numpy as np
import pytest

from kissvdb.core.filters import parse as filters
from kissvdb.core.rows.owner import CollectionSpec
from kissvdb.core.rows.rules import Upsert
from kissvdb.core.rows.view import SearchTooNarrow
from kissvdb.core.search import Search
from kissvdb.kernels.arrays import METRICS
from tests.core.row_world import World, compiled, mostly_first, raw

EVERY = filters.parse({"t": 1})


@pytest.fixture(scope="module")
def kernels():
    return compiled()


def near_duplicates(count, dim, seed=1):
    """Vectors [count, dim] in random order, half of them in one tight cluster; the cluster's rows
    and its centre."""
    chance = np.random.default_rng(seed)
    centre = chance.standard_normal(dim)
    tight = centre + 0.2 * chance.standard_normal((count // 2, dim))
    vectors = np.concatenate([tight, chance.standard_normal((count - count // 2, dim))])
    order = chance.permutation(count)
    rows = np.flatnonzero(order < count // 2)
    return vectors[order].astype(np.float32), rows, centre[None].astype(np.float32)


def name(row):
    """Ids whose order is not that of the rows."""
    return f"v{row * 7919 % 100_003:06}"


def world(kernels, vectors, metric, **options):
    """A collection of these vectors, drained: half of them in each of two namespaces."""
    here = World(CollectionSpec("c", vectors.shape[1], metric, **options), kernels)
    for start in range(0, len(vectors), 500):
        part = enumerate(vectors[start : start + 500], start)
        texts = (b'{"t":1,"_namespace":"n0"}', b'{"t":1,"_namespace":"n1"}')
        here.run(*(Upsert(name(row), raw(each), texts[row % 2]) for row, each in part))
    here.upkeep()
    assert here.view().indexed_rows == len(vectors)
    return here


def plan(view, k=10):
    query = np.zeros((1, view.spec.dim), np.float32)
    return view.search(query, Search(k, explain=True)).explanation.plan


def recall(view, queries, k=10, ef=None, **search):
    found = view.search(queries, Search(k, ef=ef, **search)).hits
    best = view.search(queries, Search(k, exact=True, **search)).hits
    good = sum(len(set(mine.ids) & set(all_.ids)) for mine, all_ in zip(found, best, strict=True))
    return good / (k * len(queries))


@pytest.mark.parametrize(("metric", "dim"), mostly_first(list(METRICS), [64, 384]))
def test_a_scan_of_codes_tells_near_duplicates_apart(kernels, metric, dim):
    vectors, tight, _ = near_duplicates(3000, dim)
    view = world(kernels, vectors, metric).view()
    assert (plan(view), view.statistics().precision) == ("code scan", "q4")
    queries = vectors[tight[:60]]
    for k in (1, 10, 40):
        assert recall(view, queries, k) >= 0.97
    assert recall(view, vectors[:60]) >= 0.97
    assert recall(view, queries, tree=EVERY) >= 0.97
    assert recall(view, queries, namespace="n1") >= 0.97
    assert recall(view, queries, tree=EVERY, namespace="n0") >= 0.97
    if metric != "dot":
        own = view.search(vectors[tight], Search(1)).hits
        assert [each.ids[0] for each in own] == [name(row) for row in tight]


@pytest.mark.parametrize(
    ("metric", "shape"), mostly_first(list(METRICS), [("q8", 2500, 384), ("q4", 2000, 1024)])
)
def test_a_walk_tells_near_duplicates_apart(kernels, metric, shape):
    quantization, count, dim = shape
    vectors, tight, _ = near_duplicates(count, dim)
    view = world(kernels, vectors, metric, quantization=quantization).view()
    assert plan(view) == "graph"
    queries = vectors[tight[:60]]
    assert recall(view, queries) >= 0.97
    assert recall(view, queries, ef=200) >= 0.97
    assert recall(view, queries, namespace="n1") >= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("metric", list(METRICS))
@pytest.mark.parametrize(("count", "dim"), [(6000, 384), (16_000, 64)])
def test_a_walk_over_4_bit_codes_tells_near_duplicates_apart(kernels, metric, count, dim):
    vectors, tight, _ = near_duplicates(count, dim)
    view = world(kernels, vectors, metric).view()
    assert (plan(view), view.statistics().precision) == ("graph", "q4")
    queries = vectors[tight[:60]]
    for k in (10, 100):
        assert recall(view, queries, k) >= 0.97
    assert recall(view, queries, ef=500) >= 0.97
    assert recall(view, queries, namespace="n1") >= 0.97


def test_a_walk_that_has_to_look_wider_says_so_to_who_cannot_wait(kernels):
    vectors, tight, _ = near_duplicates(2500, 384)
    view = world(kernels, vectors, "cosine", quantization="q8").view()
    with pytest.raises(SearchTooNarrow):
        view.search(vectors[tight[:60]], Search(10), may_scan=False)


@pytest.mark.parametrize("metric", list(METRICS))
def test_far_off_clusters_whose_codes_are_clipped_are_told_apart(kernels, metric):
    chance = np.random.default_rng(4)
    vectors = chance.standard_normal((2500, 48))
    strays = chance.permutation(2500)[:300]
    vectors[strays] = 30 * chance.standard_normal(48) + 0.5 * vectors[strays]
    vectors = vectors.astype(np.float32)
    view = world(kernels, vectors, metric).view()
    assert recall(view, vectors[strays[:60]]) >= 0.97


@pytest.mark.parametrize(
    ("metric", "codes"), mostly_first(list(METRICS), [(64, "q4"), (384, "q8")])
)
def test_copies_come_by_the_lowest_id(kernels, metric, codes):
    dim, quantization = codes
    vectors, tight, _ = near_duplicates(2500, dim)
    copies = np.random.default_rng(3).choice(tight, 100, replace=False)
    # For dot the nearest are the longest.
    vectors[copies] = 3 * vectors[copies[0]]
    view = world(kernels, vectors, metric, quantization=quantization).view()
    assert plan(view) == ("code scan" if quantization == "q4" else "graph")
    found = view.search(vectors[copies[:1]], Search(30)).hits[0]
    assert list(found.ids) == sorted(name(row) for row in copies)[:30]


@pytest.mark.parametrize("metric", list(METRICS))
def test_pages_share_no_row_and_miss_none(kernels, metric):
    vectors, _, centre = near_duplicates(3000, 64)
    view = world(kernels, vectors, metric).view()
    pages = [view.search(centre, Search(10, offset=start)).hits[0] for start in range(0, 200, 10)]
    ids = [id_ for page in pages for id_ in page.ids]
    assert ids == list(view.search(centre, Search(200, exact=True)).hits[0].ids)
    scores = [score for page in pages for score in page.scores.tolist()]
    least = scores[24]
    cut = [
        view.search(centre, Search(10, offset=at, min_score=least)).hits[0]
        for at in (0, 10, 20, 30)
    ]
    assert [len(page) for page in cut] == [10, 10, 5, 0]


def test_pages_behind_a_walk_that_misses_rows_share_none(kernels):
    # Without structure, so that a walk with little in view misses rows.
    vectors = np.random.default_rng(8).standard_normal((3000, 384)).astype(np.float32)
    view = world(kernels, vectors, "cosine", quantization="q8", m=4, ef_construction=8).view()
    query = np.random.default_rng(9).standard_normal((1, 384)).astype(np.float32)
    pages = [
        view.search(query, Search(10, ef=1, offset=start)).hits[0].ids for start in range(0, 60, 10)
    ]
    first, ids = set(pages[0]), [id_ for page in pages for id_ in page]
    best = view.search(query, Search(60, exact=True)).hits[0].ids
    assert first - set(best[:10]), "the walk has missed none"
    assert len(set(ids)) == 60
    assert ids[10:] == [id_ for id_ in best if id_ not in first][:50]
