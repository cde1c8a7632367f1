"""The sorted pool: a vector insertion that must do what a sorted list does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from kissvdb.kernels import pool as pools
from kissvdb.kernels.arrays import POOL_PADDING
from kissvdb.kernels.codes.distance import float_key, key_float
from kissvdb.kernels.exact import answer


@njit
def _offer_all(results, limit, distances, rows, ids, scores):
    pools.clear(results, limit)
    for i in range(distances.shape[0]):
        pools.offer(results, limit, float_key(distances[i]), rows[i])
    answer(results, limit, ids, scores)


@njit
def _keys(values, keys, back):
    for i in range(values.shape[0]):
        keys[i] = float_key(values[i])
        back[i] = key_float(keys[i])


def nearest(distances, limit):
    pool = np.full(limit + POOL_PADDING, 7, dtype=np.uint64)
    rows = np.arange(len(distances))[::-1].copy()
    ids = np.empty(limit, dtype=np.int64)
    scores = np.empty(limit, dtype=np.float32)
    _offer_all(pool, limit, np.array(distances, dtype=np.float32), rows, ids, scores)
    return list(zip(ids.tolist(), scores.tolist(), strict=True)), rows


small_floats = st.floats(-100, 100, width=32).map(lambda x: x + 0.0)


@settings(deadline=None)  # the first example compiles
@given(st.lists(small_floats, max_size=60), st.integers(1, 40))
def test_a_pool_keeps_the_nearest_rows_in_order(distances, limit):
    found, rows = nearest(distances, limit)
    expected = sorted(zip(distances, rows.tolist(), strict=True))[:limit]
    assert found[: len(expected)] == [(row, 0.0 - distance) for distance, row in expected]
    assert {row for row, _ in found[len(expected) :]} <= {-1}


@pytest.mark.parametrize("limit", [1, 7, 8, 9, 64, 65, 1000])
def test_a_pool_of_any_size_overflows_at_its_end(limit):
    distances = np.random.default_rng(limit).permutation(2 * limit).astype(float).tolist()
    found, _ = nearest(distances, limit)
    assert [score for _, score in found] == [0.0 - i for i in range(limit)]


def test_keys_sort_as_floats_do_and_turn_back():
    values = np.array(
        [-np.inf, -3e38, -1.5, -1e-45, -0.0, 0.0, 1e-45, 1.5, 3e38, np.inf], dtype=np.float32
    )
    keys = np.empty(len(values), dtype=np.uint32)
    back = np.empty(len(values), dtype=np.float32)
    _keys(values, keys, back)
    assert (np.diff(keys.astype(np.int64)) > 0).all()
    assert back.tobytes() == values.tobytes()
