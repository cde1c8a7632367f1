"""Lists of rows: each row in one, learnt anew when they do not fit any more, whole when opened."""

import numpy as np
import pytest

from kissvdb.core.index import ivf, soundness
from kissvdb.core.rows.owner import POLICY, CollectionSpec, Rows
from kissvdb.core.rows.view import SearchTooNarrow
from kissvdb.core.search import Search
from kissvdb.core.store.options import IndexOptions
from kissvdb.kernels.arrays import COSINE
from kissvdb.kernels.ivf import clustering
from kissvdb.kernels.ivf import lists as row_lists
from tests.core.row_world import SALT, World, clusters, compiled

DIM = 16


@pytest.fixture(scope="module")
def kernels():
    return compiled()


def world(kernels, metric="cosine", **options):
    spec = CollectionSpec("c", DIM, metric, index="ivf", options=IndexOptions(**options))
    return World(spec, kernels)


def write(here, vectors, first=0):
    here.upsert({f"v{first + n}": each for n, each in enumerate(vectors)})


def test_every_row_is_in_one_list_whatever_comes():
    chance = np.random.default_rng(0)
    lists, held = row_lists.empty(7), {}
    for _ in range(20):
        labels = chance.integers(0, 7, chance.integers(0, 90)).astype(np.int32)
        lists, slots = row_lists.extended(lists, labels)
        assert len(set(slots.tolist()) | set(held)) == len(slots) + len(held), "no slot twice"
        held |= dict(zip(slots.tolist(), labels.tolist(), strict=True))
        assert sorted(held) == sorted(row_lists.slots(lists).tolist())
        assert lists.counts.tolist() == np.bincount(list(held.values()), minlength=7).tolist()
    of_block = {}
    for each in range(7):
        for block in lists.blocks[lists.first[each] : lists.first[each + 1]].tolist():
            of_block[block] = each
    assert all(of_block[slot // row_lists.BLOCK_ROWS] == each for slot, each in held.items())


def test_centroids_are_of_the_clusters_there_are():
    vectors = clusters(3, 1200, DIM, groups=6)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    centroids = clustering.train(vectors, COSINE, 6)
    labels = clustering.assign(vectors, COSINE, centroids)
    near = np.einsum("ij,ij->i", vectors, centroids[labels])
    assert near.mean() > 0.8
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-5)
    same = clustering.train(np.repeat(vectors[:1], 100, axis=0), COSINE, 8)
    assert np.isfinite(same).all(), "copies fill one list, and the others are nowhere near"


def test_lists_are_learnt_anew_for_four_times_more_rows_and_for_rows_unlike_the_first(kernels):
    here = world(kernels)
    write(here, clusters(1, POLICY.body_rows_min, DIM))
    here.upkeep()
    body = here.view().index.body
    assert (body.trained_rows, len(body.centroids)) == (1024, 128)
    write(here, clusters(1, 1000, DIM), 2000)
    here.upkeep()
    assert here.view().index.body.centroids is body.centroids
    # All of one kind, and in a list or two.
    write(here, 0.01 * clusters(2, 1500, DIM) + np.ones(DIM, np.float32), 4000)
    here.upkeep()
    body = here.view().index.body
    assert (body.trained_rows, body.size) == (3524, 3524)
    assert soundness.differences(here.view().index, 3524, []) == []
    assert here.view().audit(clusters(1, 50, DIM), Search(10)) >= 0.97


def test_more_lists_find_more_and_a_crowd_is_looked_through(kernels, monkeypatch):
    monkeypatch.setattr(ivf, "SCANNED_ROWS", 0)
    here = world(kernels, lists=200, nprobe=2)
    vectors = np.random.default_rng(5).standard_normal((2500, DIM)).astype(np.float32)
    write(here, vectors)
    here.upkeep()
    view, queries = here.view(), vectors[:40] + np.float32(0.1)
    found = [view.audit(queries, Search(10))]
    plan = view.search(queries[:1], Search(10, explain=True)).explanation
    assert (plan.plan, plan.ef) == ("lists", 2)
    for ef, least in ((8, 0.6), (200, 1.0)):
        hits = view.search(queries, Search(10, ef=ef)).hits
        best = view.search(queries, Search(10, exact=True)).hits
        good = [len(set(mine.ids) & set(all_.ids)) for mine, all_ in zip(hits, best, strict=True)]
        found.append(sum(good) / 400)
        assert found[-1] >= least
    assert found == sorted(found)
    assert view.index.effort_ladder(10)[-1] == 200
    # Without any structure the later lists hold as much as the first.
    with pytest.raises(SearchTooNarrow):
        view.search(queries, Search(10, ef=40), may_scan=False)


def test_for_dot_a_long_row_is_found_wherever_it_points(kernels, monkeypatch):
    monkeypatch.setattr(ivf, "SCANNED_ROWS", 0)
    here = world(kernels, "dot", nprobe=8)
    vectors = clusters(6, 2500, DIM)
    vectors[::100] *= 5
    write(here, vectors)
    here.upkeep()
    assert here.view().audit(clusters(7, 60, DIM), Search(10)) >= 0.75


def test_damaged_lists_are_made_anew_from_the_rows(kernels):
    here = world(kernels)
    write(here, clusters(1, 1500, DIM))
    here.upkeep()
    work = here.rows.checkpoint()
    work.run()
    rows = here.view().index.body.lists.rows
    # The first slot of a block always holds a row.
    rows[0] = rows[1]
    assert soundness.differences(here.view().index, 1500, []) == [
        "a row is in two lists, or in none"
    ]
    opened, warnings = Rows.opened(work.manifest, work.indexes, {}, here.rows.space, SALT, kernels)
    assert "lists" in warnings[0]
    again = World(here.spec, kernels, opened, here.log, here.model, here.now_ms)
    assert again.view().indexed_rows == 0
    again.upkeep()
    assert again.view().indexed_rows == 1500
    assert again.view().audit(clusters(1, 50, DIM), Search(10)) >= 0.97


def test_short_rows_that_are_read_are_not_taken_for_nothing(kernels):
    """A search that is taken for a quick one holds up all others."""
    costs = []
    for dim in (4, 64):
        here = World(CollectionSpec("c", dim, "cosine", index="ivf"), kernels)
        here.upsert({f"v{n}": each for n, each in enumerate(clusters(1, 1500, dim))})
        here.upkeep()
        assert here.view().indexed_rows == 1500
        costs.append(here.view().index.cost(10, None))
    assert costs[0] == costs[1] > 1500
