"""Hybrid order: the sum of both scores, or reciprocal ranks, for every candidate."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kissvdb.core.fusion import Fusion, fuse
from kissvdb.errors import InvalidArgument

TEXTS = np.array([3.0, 0.0, 6.0, 1.0])
VECTORS = np.array([0.9, 0.8, -0.2, 0.8])


def test_the_sum_is_of_the_text_as_a_share_of_its_ceiling_and_the_cosine():
    fused = fuse(Fusion(text=0.5), TEXTS, VECTORS, 10.0, "cosine")
    assert fused.order.tolist() == [0, 3, 1, 2]
    np.testing.assert_allclose(fused.scores, [0.6, 0.45, 0.4, 0.2])
    assert fused.text_ranks.tolist() == [2, 0, 1, 3]
    assert fused.vector_ranks.tolist() == [1, 2, 4, 2]


def test_reciprocal_ranks_count_no_text_that_does_not_match():
    fused = fuse(Fusion("rrf", text=0.25, k=10), TEXTS, VECTORS, 10.0, "cosine")
    expected = {
        0: 0.25 / 12 + 0.75 / 11,
        1: 0.75 / 12,
        2: 0.25 / 11 + 0.75 / 14,
        3: 0.25 / 13 + 0.75 / 12,
    }
    assert fused.order.tolist() == sorted(expected, key=lambda row: -expected[row])
    np.testing.assert_allclose(fused.scores, sorted(expected.values(), reverse=True))


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_scores_without_a_scale_are_stretched_over_the_candidates(metric):
    fused = fuse(Fusion(text=0.0), np.zeros(3), np.array([-300.0, -100.0, -200.0]), 1.0, metric)
    assert fused.order.tolist() == [1, 2, 0]
    assert fused.scores.tolist() == [1.0, 0.5, 0.0]
    assert fuse(Fusion(text=0.0), np.zeros(1), np.array([7.0]), 1.0, metric).scores.tolist() == [1]


def test_only_text_or_only_vectors_is_their_own_order():
    assert fuse(Fusion(text=1.0), TEXTS, VECTORS, 10.0, "cosine").order.tolist() == [2, 0, 3, 1]
    assert fuse(Fusion(text=0.0), TEXTS, VECTORS, 10.0, "cosine").order.tolist() == [0, 1, 3, 2]


def test_words_that_no_text_has_leave_the_order_to_the_vectors():
    fused = fuse(Fusion(), np.zeros(4), VECTORS, 0.0, "cosine")
    assert fused.order.tolist() == [0, 1, 3, 2]
    assert fuse(Fusion(), np.zeros(0), np.zeros(0), 0.0, "l2").order.tolist() == []


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1.0, 2.0]), st.sampled_from([0.0, 0.5])), max_size=20),
    st.sampled_from(["sum", "rrf"]),
)
def test_better_in_both_is_never_behind_and_equal_ones_keep_their_order(scores, method):
    texts = np.array([text for text, _ in scores])
    vectors = np.array([vector for _, vector in scores])
    order = fuse(Fusion(method), texts, vectors, 4.0, "cosine").order.tolist()
    assert sorted(order) == list(range(len(scores)))
    for before, after in itertools.pairwise(order):
        worse = texts[before] <= texts[after] and vectors[before] <= vectors[after]
        same = texts[before] == texts[after] and vectors[before] == vectors[after]
        assert not worse or (same and before < after)


@pytest.mark.parametrize("method", ["sum", "rrf"])
def test_a_score_beyond_float32_is_the_least_or_the_most(method):
    vectors = np.array([-np.inf, 1.0, np.inf, 3.0])
    fused = fuse(Fusion(method, 0.0), np.zeros(4), vectors, 0.0, "l2")
    assert (fused.order[0], fused.order[-1]) == (2, 0)
    assert np.isfinite(fused.scores).all()


def test_fusion_comes_from_json():
    given_ = {"method": "rrf", "text": 1, "k": 10, "depth": 50}
    assert Fusion.from_json(given_) == Fusion("rrf", 1.0, 10, 50)
    assert Fusion.from_json({}) == Fusion()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "hybrid: expected an object"),
        ({"methd": "sum"}, "hybrid.methd: unknown, did you mean method"),
        ({"method": "max"}, "hybrid.method: expected one of sum, rrf"),
        ({"method": []}, "hybrid.method: expected one of"),
        ({"text": 1.5}, "hybrid.text: expected a number 0 to 1"),
        ({"text": True}, "hybrid.text"),
        ({"k": 0.5}, "hybrid.k: expected a whole number"),
        ({"depth": 0}, "hybrid.depth: expected a whole number 1 to 10,000"),
    ],
)
def test_a_wrong_fusion_is_told_what_is_wrong(value, message):
    with pytest.raises(InvalidArgument, match=message):
        Fusion.from_json(value)
