"""Every kind of index misses few rows: with filters, among near duplicates, after churn."""

import numpy as np
import pytest

from kissvdb.core.filters import parse as filters
from kissvdb.core.index import ivf
from kissvdb.core.rows.owner import CollectionSpec
from kissvdb.core.rows.rules import Delete, Upsert
from kissvdb.core.search import Search
from kissvdb.kernels.arrays import METRICS
from tests.core.row_world import KINDS_UNDER_TEST, World, clusters, compiled, mostly_first, raw

DIM = 32


@pytest.fixture(scope="module")
def kernels():
    return compiled()


@pytest.fixture(autouse=True)
def lists_are_chosen(monkeypatch):
    """Also of so few rows that it would not pay."""
    monkeypatch.setattr(ivf, "SCANNED_ROWS", 0)
    monkeypatch.setattr(ivf, "NPROBE", 64)


def world(kernels, kind, metric, vectors):
    here = World(CollectionSpec("c", vectors.shape[1], metric, index=kind), kernels)
    write(here, vectors)
    here.upkeep()
    return here


def write(here, vectors, first=0):
    for start in range(0, len(vectors), 500):
        part = enumerate(vectors[start : start + 500], first + start)
        here.run(*(Upsert(f"v{n:05}", raw(each), b'{"n":%d}' % n) for n, each in part))


def recall(here, queries, k=10, **search):
    return here.view().audit(queries, Search(k, **search))


@pytest.mark.parametrize(
    ("kind", "metric"), mostly_first(list(reversed(KINDS_UNDER_TEST)), list(METRICS))
)
def test_near_duplicates_are_found_each_by_itself(kernels, kind, metric):
    chance = np.random.default_rng(1)
    tight = chance.standard_normal(64) + 0.2 * chance.standard_normal((1500, 64))
    vectors = np.concatenate([tight, chance.standard_normal((1500, 64))]).astype(np.float32)
    chance.shuffle(vectors)
    here = world(kernels, kind, metric, vectors)
    queries = tight[:60].astype(np.float32)
    assert here.view().indexed_rows == 3000
    assert recall(here, queries) >= 0.97
    assert recall(here, queries, tree=filters.parse({"n": {"$lt": 1500}})) >= 0.97
    if metric != "dot":
        own = here.view().search(vectors[:300], Search(1)).hits
        assert [each.ids[0] for each in own] == [f"v{n:05}" for n in range(300)]


@pytest.mark.parametrize("kind", KINDS_UNDER_TEST)
@pytest.mark.parametrize(
    "share", [0.01, *(pytest.param(each, marks=pytest.mark.slow) for each in (0.001, 0.1, 0.5))]
)
def test_what_passes_a_filter_is_found(kernels, kind, share):
    vectors = clusters(1, 3000, DIM)
    here = world(kernels, kind, "cosine", vectors)
    tree = filters.parse({"n": {"$lt": int(share * 3000)}})
    assert recall(here, clusters(2, 60, DIM), tree=tree) >= 0.97
    here.check(vectors[5], 12, tree)


@pytest.mark.parametrize("kind", KINDS_UNDER_TEST)
def test_churn_costs_no_recall(kernels, kind):
    vectors, queries = clusters(1, 2500, DIM), clusters(1, 2600, DIM)[2500:]
    here = world(kernels, kind, "cosine", vectors)
    write(here, clusters(4, 500, DIM), first=1000)
    here.run(*(Delete(f"v{n:05}") for n in range(250)))
    here.upkeep()
    live = here.live()[1]
    fresh = world(kernels, kind, "cosine", live)
    assert recall(here, queries) >= recall(fresh, queries) - 0.02


@pytest.mark.parametrize("kind", KINDS_UNDER_TEST)
def test_copies_come_by_the_lowest_id(kernels, kind):
    vectors = clusters(1, 2000, DIM)
    vectors[::20] = vectors[0]
    here = world(kernels, kind, "cosine", vectors)
    found = here.view().search(vectors[:1], Search(30)).hits[0]
    assert list(found.ids) == [f"v{n:05}" for n in range(0, 600, 20)]
