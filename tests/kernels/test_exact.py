"""Exact search: scores of defined bits, in a defined order."""

import numpy as np
import pytest

from kissvdb.kernels import plain, scan
from kissvdb.kernels.arrays import COSINE, DOT, L2, METRICS, new_scratch
from kissvdb.kernels.codes.prepare import prepare
from tests.kernels.indexes import bitmap, build, clustered

DIMS = (1, 3, 63, 64, 65, 128, 384, 768)
METRIC_VALUES = sorted(METRICS.values())


def reference(rows, visible, metric, query, k, allowed):
    """One query the slow way: Python floats for the sums, sorted() for the order."""
    ranked = []
    for i in np.flatnonzero(allowed[:visible]):
        terms = rows[i].astype(float) * query.astype(float)
        if metric == L2:
            terms = np.square(rows[i].astype(float) - query.astype(float))
        sums = [0.0] * 16
        for j, term in enumerate(terms.tolist()):
            sums[j % 16] += term
        while len(sums) > 1:
            half = len(sums) // 2
            sums = [low + high for low, high in zip(sums[:half], sums[half:], strict=True)]
        score = np.float32(-sums[0] if metric == L2 else sums[0])
        ranked.append((-score, i))
    return [(int(i), -negative) for negative, i in sorted(ranked)[:k]]


@pytest.mark.parametrize("metric", METRIC_VALUES)
@pytest.mark.parametrize("dim", DIMS)
def test_scores_and_order_are_those_of_the_definition_bit_for_bit(dim, metric):
    random = np.random.default_rng(dim)
    vectors = random.standard_normal((90, dim)).astype(np.float32)
    vectors[7] = vectors[40]
    vectors[8] = 0
    rows = plain.prepare(vectors, metric)
    queries = plain.prepare(random.standard_normal((3, dim)).astype(np.float32), metric)
    ids, scores = scan.scan_rows(rows, 90, metric, queries, 90)
    for j, query in enumerate(queries):
        expected = reference(rows, 90, metric, query, 90, np.ones(90, dtype=bool))
        assert list(zip(ids[j].tolist(), scores[j], strict=True)) == expected


@pytest.mark.parametrize("metric", METRIC_VALUES)
@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 130, 2000])
def test_numpy_alone_gives_the_same_answers(count, metric):
    rows = plain.prepare(clustered(count + 4, 48), metric)
    queries, rows = rows[:4].copy(), rows[4:].copy()
    for k in (1, 10, 100):
        ids, scores = scan.scan_rows(rows, count, metric, queries, k)
        plain_ids, plain_scores = plain.scan(rows, count, metric, queries, k)
        assert ids.tolist() == plain_ids.tolist()
        assert scores.tobytes() == plain_scores.tobytes()


def test_rows_without_a_score_take_no_place():
    rows = plain.prepare(clustered(100, 16), COSINE)
    query, rows = rows[:1].copy(), rows[1:].copy()
    expected, _ = plain.scan(rows[20:], 79, COSINE, query, 18)
    rows[:20] = np.nan
    found, _ = plain.scan(rows, 99, COSINE, query, 18)
    assert found.tolist() == (expected + 20).tolist()


@pytest.mark.parametrize("noise", [0.0, 1e-8, 1e-7, 1e-6])
def test_numpy_alone_settles_what_float32_cannot_tell_apart(noise):
    """The rough product that comes first must not lose a row that is as near."""
    random = np.random.default_rng(3)
    one = random.standard_normal(384)
    rows = plain.prepare(one + noise * random.standard_normal((3000, 384)), COSINE)
    queries = plain.prepare(one + 0.3 * random.standard_normal((3, 384)), COSINE)
    for k in (1, 10, 100):
        ids, scores = scan.scan_rows(rows, 3000, COSINE, queries, k)
        plain_ids, plain_scores = plain.scan(rows, 3000, COSINE, queries, k)
        assert ids.tolist() == plain_ids.tolist()
        assert scores.tobytes() == plain_scores.tobytes()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_a_bitmap_admits_its_rows_only(share):
    rows = plain.prepare(clustered(333, 20), COSINE)
    allowed = np.random.default_rng(2).random(333) < share
    words = bitmap(allowed)
    ids, scores = scan.scan_rows(rows, 300, COSINE, rows[:3].copy(), 400, words)
    for j in range(3):
        expected = reference(rows, 300, COSINE, rows[j], 400, allowed)
        assert list(zip(ids[j].tolist(), scores[j], strict=True))[: len(expected)] == expected
        assert set(ids[j, len(expected) :].tolist()) <= {-1}
        assert np.isneginf(scores[j, len(expected) :]).all()
    plain_ids, plain_scores = plain.scan(rows, 300, COSINE, rows[:3].copy(), 400, words)
    assert plain_ids.tolist() == ids.tolist()
    assert plain_scores.tobytes() == scores.tobytes()


@pytest.mark.parametrize("metric", METRIC_VALUES)
@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_are_prepared_to_the_same_bits_with_and_without_kernels(dtype, dim, metric):
    vectors = (1000 * clustered(70, dim)).astype(dtype)
    vectors[3] = 0
    for part in (vectors, vectors[:5], vectors[:0], vectors[::2, ::-1]):
        rows = prepare(part, metric)
        assert rows.tobytes() == plain.prepare(part, metric).tobytes()
        assert rows.shape[1] % 16 == 0
        assert not rows[:, dim:].any()


def test_equal_rows_come_in_order_of_id():
    rows = plain.prepare(np.ones((50, 7), dtype=np.float32), COSINE)
    ids, scores = scan.scan_rows(rows, 50, COSINE, rows[:1].copy(), 20)
    assert ids[0].tolist() == list(range(20))
    assert len(set(scores[0].tolist())) == 1


def test_zero_scores_tie_whatever_their_sign():
    vectors = np.array([[-1, 0], [0, 0], [1, 0], [0, -0.0]], dtype=np.float32)
    rows = plain.prepare(vectors, DOT)
    query = plain.prepare(np.array([[-0.0, 5.0]], dtype=np.float32), DOT)
    ids, scores = scan.scan_rows(rows, 4, DOT, query, 4)
    assert ids[0].tolist() == [0, 1, 2, 3]
    assert scores[0].tolist() == [0.0] * 4


def test_a_zero_vector_scores_zero_by_cosine_and_a_unit_one_scores_one():
    vectors = np.array([[0, 0, 0], [3, 4, 0], [-3, -4, 0]], dtype=np.float32)
    rows = plain.prepare(vectors, COSINE)
    ids, scores = scan.scan_rows(rows, 3, COSINE, rows[1:2].copy(), 3)
    assert ids[0].tolist() == [1, 0, 2]
    assert scores[0] == pytest.approx([1.0, 0.0, -1.0], abs=1e-6)


def test_the_l2_score_is_minus_the_squared_distance():
    rows = plain.prepare(np.array([[0, 0], [3, 4]], dtype=np.float32), L2)
    ids, scores = scan.scan_rows(rows, 2, L2, rows[:1].copy(), 2)
    assert ids[0].tolist() == [0, 1]
    assert scores[0].tolist() == [0.0, -25.0]


def test_rows_beyond_the_visible_ones_are_not_seen():
    rows = plain.prepare(clustered(200, 8), COSINE)
    ids, _ = scan.scan_rows(rows, 70, COSINE, rows[100:101].copy(), 200)
    assert sorted(set(ids[0].tolist())) == [-1, *range(70)]


def test_nothing_is_asked_and_nothing_is_answered():
    rows = plain.prepare(clustered(5, 8), COSINE)
    assert scan.scan_rows(rows, 5, COSINE, rows[:0].copy(), 3)[0].shape == (0, 3)
    assert scan.scan_rows(rows, 5, COSINE, rows[:2].copy(), 0)[0].shape == (2, 0)
    assert scan.scan_rows(rows, 0, COSINE, rows[:2].copy(), 2)[0].tolist() == [[-1, -1]] * 2


@pytest.mark.parametrize("name", ["float32", "int8", "int4"])
@pytest.mark.parametrize("metric", METRIC_VALUES)
def test_a_scan_of_codes_reranked_deep_enough_is_exact(metric, name):
    index = build(clustered(400, 40), metric)
    queries = index.rows[:5].copy()
    words = bitmap(np.arange(400) % 3 != 0)
    ids, scores = scan.scan_codes(
        index.codes(name), index.rows, 390, metric, queries, 10, 390, index.scratch, words
    )
    exact_ids, exact_scores = scan.scan_rows(index.rows, 390, metric, queries, 10, words)
    assert ids.tolist() == exact_ids.tolist()
    assert scores.tobytes() == exact_scores.tobytes()


def test_a_scan_deeper_than_its_scratch_is_refused():
    index = build(clustered(100, 8), COSINE)
    small = new_scratch(100, 70, 32, 8)
    with pytest.raises(ValueError, match="pool_max"):
        scan.scan_codes(index.int8, index.rows, 100, COSINE, index.rows[:1].copy(), 5, 71, small)
