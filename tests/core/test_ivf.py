"""Lists of rows: each row in one, learnt anew when they do not fit any more, whole when opened."""

import attrs
import numba
import numpy as np
import pytest

from kissvdb.core.index import ivf, soundness
from kissvdb.core.rows.owner import POLICY, CollectionSpec, Rows
from kissvdb.core.rows.view import SearchTooNarrow
from kissvdb.core.search import Search
from kissvdb.core.store.options import IndexOptions
from kissvdb.kernels.arrays import COSINE
from kissvdb.kernels.ivf import clustering, sign_blocks
from kissvdb.kernels.ivf import lists as row_lists
from kissvdb.kernels.ivf import signs as row_signs
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


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_signs_pass_over_no_row_that_codes_find(kernels, monkeypatch, metric):
    monkeypatch.setattr(ivf, "SCANNED_ROWS", 0)
    dim = 200
    here = World(CollectionSpec("c", dim, metric, index="ivf"), kernels)
    vectors = clusters(1, 2600, dim)
    # Copies, more than are scored at first; and what is all in one dimension.
    vectors[1000:1300] = vectors[7]
    vectors[5] = np.eye(dim)[3]
    write(here, vectors)
    here.upkeep()
    view = here.view()
    index, chance = view.index, np.random.default_rng(2)
    assert index.body.has_signs
    queries = vectors[:2600:40] + 0.2 * chance.standard_normal((65, dim)).astype(np.float32)
    queries = kernels.prepared(np.vstack([vectors[[5, 7]], queries]), metric)
    plan = index.plan(10, 40, None)
    bare = attrs.evolve(
        index, body=attrs.evolve(index.body, signs=row_signs.no_signs(index.body.centroids))
    )
    found, without = (
        each.search(view.data, queries, 10, plan, None, may_scan=True) for each in (index, bare)
    )
    pairs = zip(found[0][:, :10], without[0][:, :10], strict=True)
    same = [len(set(a) & set(b)) for a, b in pairs]
    assert sum(same) >= 0.995 * 10 * len(queries)
    assert found[0][1, :10].tolist() == [7, *range(1000, 1009)]
    assert found[0][0, 0] == 5
    half = np.full(len(vectors) // 64 + 1, 0xAAAAAAAAAAAAAAAA, np.uint64)
    plan = index.plan(10, 40, half)
    rows, _ = index.search(view.data, queries, 10, plan, half, may_scan=True)
    assert (rows % 2 == 1).all()


def test_signs_pass_over_no_near_duplicate_for_what_codes_flatter(kernels, monkeypatch):
    """The nearest by codes of a crowd are nearer, for all that these say, than any row is."""
    monkeypatch.setattr(ivf, "SCANNED_ROWS", 0)
    dim, chance = 128, np.random.default_rng(3)
    crowd = chance.standard_normal(dim) + 0.06 * chance.standard_normal((3020, dim))
    crowd = np.vstack([crowd, chance.standard_normal((1000, dim))]).astype(np.float32)
    spec = CollectionSpec("c", dim, "cosine", index="ivf", options=IndexOptions(nprobe=60))
    here = World(spec, kernels)
    write(here, crowd[20:])
    here.upkeep()
    assert here.view().index.body.has_signs
    assert here.view().audit(crowd[:20], Search(10)) >= 0.97


def test_lists_of_before_there_were_signs_get_them_when_they_grow(kernels, monkeypatch):
    here = world(kernels)
    vectors = clusters(1, 3000, DIM)
    with monkeypatch.context() as before:
        before.setattr(sign_blocks, "fits", lambda metric, dim: False)
        write(here, vectors[:1500])
        here.upkeep()
        work = here.rows.checkpoint()
        work.run()
    space = here.rows.space
    opened, warnings = Rows.opened(work.manifest, work.indexes, {}, space, SALT, kernels)
    assert warnings == []
    again = World(here.spec, kernels, opened, here.log, here.model, here.now_ms)
    assert not again.view().index.body.has_signs
    assert again.view().audit(vectors[:400:20], Search(10)) >= 0.97
    write(again, vectors[1500:], 1500)
    again.upkeep()
    assert again.view().index.body.has_signs
    fresh = world(kernels)
    write(fresh, vectors[:1500])
    fresh.upkeep()
    write(fresh, vectors[1500:], 1500)
    fresh.upkeep()
    grown, made = again.view().index.body, fresh.view().index.body
    assert grown.sums.tolist() == made.sums.tolist()
    work = again.rows.checkpoint()
    work.run()
    _, warnings = Rows.opened(work.manifest, work.indexes, {}, space, SALT, kernels)
    assert warnings == []


@pytest.mark.slow
def test_rows_are_looked_up_alike_on_every_processor():
    if not row_signs.SHUFFLES:
        pytest.skip("there is one form of it here")

    @numba.njit(_nrt=False)
    def both(queries, values, tables, signs, base, least):
        query = row_signs.signed_query(queries, 0, values, tables)
        steps = row_signs._near_by_steps(signs, 0, query.tables, query.step, base, least)
        return row_signs.near_rows(signs, 0, query, base, least), steps, query.base

    chance = np.random.default_rng(3)
    rows = chance.standard_normal((32, 200)).astype(np.float32)
    blocks = np.zeros((1, row_signs.block_bytes(200)), np.uint8)
    signs = row_signs.signs_of(blocks, rows[:1] / 2)
    row_signs.encode(signs, rows, np.zeros(32, np.int32), np.arange(32), COSINE)
    values, tables = np.zeros((2, 256), np.float32), np.zeros((64, 32), np.uint8)
    masks = set()
    for least in np.linspace(-100, 250, 36, dtype=np.float32):
        base = both(rows[3:4], values, tables, signs, np.float32(0), least)[2]
        near, steps, _ = both(rows[3:4], values, tables, signs, np.float32(base), least)
        assert near & 0xFFFFFFFF == steps & 0xFFFFFFFF
        masks.add(near)
    assert len(masks) > 5
    assert 1 << 3 in masks, "the query is nearest to itself"
