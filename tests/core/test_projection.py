"""Rows as points of a plane, beside numpy's own decomposition."""

import numpy as np
import pytest

from kissvdb.core.filters import parse as filters
from kissvdb.core.projection import project, sample
from kissvdb.core.rows.owner import CollectionSpec
from kissvdb.core.rows.rules import Delete
from tests.core.row_world import World


def clouds(seed, count, dim):
    """Rows that differ most in two directions of unequal strength."""
    chance = np.random.default_rng(seed)
    inner = chance.standard_normal((count, 3)) * (9, 4, 1)
    return (inner @ chance.standard_normal((3, dim))).astype(np.float32)


@pytest.mark.parametrize(("count", "dim"), [(300, 20), (20, 300), (3, 2), (40, 1), (2, 9)])
@pytest.mark.parametrize("factor", [1, 1e14, 1e-9])
def test_points_are_the_two_strongest_directions(count, dim, factor):
    rows = clouds(1, count, dim) * np.float32(factor)
    points, explained = project(rows)
    centred = rows.astype(float) - rows.mean(axis=0, dtype=float)
    _, strengths, axes = np.linalg.svd(centred, full_matrices=False)
    kept = min(2, len(strengths))
    expected = centred @ axes[:kept].T
    size = np.abs(expected).max()
    for axis in range(kept):
        assert np.allclose(
            np.abs(points[:, axis]), np.abs(expected[:, axis]), rtol=1e-3, atol=1e-3 * size
        )
    parts = strengths**2 / (strengths**2).sum()
    assert np.allclose(explained[:kept], parts[:kept], atol=1e-4)


@pytest.mark.parametrize("rows", [np.zeros((0, 3)), np.zeros((4, 3)), np.full((5, 3), 7e14)])
def test_rows_that_do_not_differ_are_one_point(rows):
    points, explained = project(rows.astype(np.float32))
    assert points.shape == (len(rows), 2)
    assert not points.any()
    assert explained == (0, 0)


def test_a_sample_is_in_order_and_always_the_same():
    everything = np.arange(1000)
    drawn = sample(everything, 100)
    assert len(set(drawn.tolist())) == 100
    assert (np.diff(drawn) > 0).all()
    assert (sample(everything, 100) == drawn).all()
    assert sample(everything[:7], 100).tolist() == list(range(7))
    # Each as likely: no part of the rows is left out.
    assert all(10 < ((drawn // 250) == part).sum() < 40 for part in range(4))


def test_a_view_is_asked_once_for_the_same_map():
    here = World(CollectionSpec("c", 3, "l2", index="flat"))
    here.upsert({f"v{n}": [n, n % 3, 1] for n in range(20)})
    here.run(Delete("v3"))
    view = here.view()
    made = view.project(50)
    assert (made.passing, len(made.rows), 3 in made.rows) == (19, 19, False)
    assert view.project(50) is made
    assert view.project(5) is not made
    assert len(view.project(5).rows) == 5
    few = view.project(50, filters.parse({"no": "such"}))
    assert (few.passing, few.points.shape) == (0, (0, 2))
    for most in range(1, 20):
        view.project(most)
    assert view.project(50) is not made
    here.upsert({"v3": [50, 0, 0]})
    assert here.view().project(50).passing == 20
