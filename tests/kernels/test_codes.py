"""Codes: what they stand for, and the products computed on them."""

import numpy as np
import pytest
from numba import njit

from kissvdb.kernels import plain, scan
from kissvdb.kernels.arrays import COSINE, DOT, L2, METRICS, new_scratch
from kissvdb.kernels.codes import distance_int4, distance_int8, quantize
from kissvdb.kernels.codes.distance import dots
from tests.kernels.indexes import clustered, every_code, recall

METRIC_VALUES = sorted(METRICS.values())


@njit
def _dots(rows, ids, query, bias, out):
    for i in range(0, rows.shape[0], 4):
        dots(rows, ids, i, query, 0, bias, out)


def products(rows, query, bias_per_sum):
    out = np.zeros(len(rows), np.float32)
    bias = np.int32(bias_per_sum * query.sum(dtype=np.int64))
    _dots(rows, np.arange(len(rows), dtype=np.int32), query, bias, out)
    return out.tolist()


def with_extremes(random, low, high, count, width):
    """Numbers of a range, the first rows of the ends alone: sums that any rounding would show."""
    numbers = random.integers(low, high + 1, (count, width))
    numbers[0], numbers[1] = low, high
    numbers[2, ::2], numbers[2, 1::2] = low, high
    return numbers


@pytest.mark.parametrize("width", [128, 256, 384, 1536])
def test_products_of_codes_are_whole_numbers_whatever_the_processor(width):
    random = np.random.default_rng(width)
    queries = with_extremes(random, -127, 127, 5, width)
    bytes_ = with_extremes(random, -127, 127, 12, width)
    nibbles = with_extremes(random, 0, 15, 12, width)
    blocks = nibbles.reshape(12, -1, 2, 64)
    packed = (blocks[:, :, 0] | blocks[:, :, 1] << 4).reshape(12, -1).astype(np.uint8)
    for query in queries:
        coded = query[None].astype(np.int8)
        found = products(bytes_.astype(np.int8), coded, distance_int8.BIAS_PER_SUM)
        assert found == (bytes_ @ query).astype(np.float32).tolist()
        found = products(packed, coded, distance_int4.BIAS_PER_SUM)
        # A code u stands for u - 7.5, and the product comes doubled.
        assert found == ((2 * nibbles - 15) @ query).astype(np.float32).tolist()


def unpacked(codes, dim):
    """The 4-bit codes of packed rows, one to a dimension."""
    blocks = codes.rows.reshape(len(codes.rows), -1, 64)
    return np.concatenate([blocks & 15, blocks >> 4], axis=2).reshape(len(blocks), -1)[:, :dim]


@pytest.mark.parametrize("dim", [1, 16, 63, 64, 65, 127, 129, 384])
def test_int8_codes_are_within_half_a_step_of_the_rows(dim):
    rows = plain.prepare(clustered(300, dim), COSINE)
    _, codes, _ = every_code(rows, COSINE, dim)
    decoded = codes.rows[:, :dim] * codes.scale[:dim] + codes.mean[:dim]
    assert np.abs(decoded - rows[:, :dim]).max() <= 0.501 * codes.scale[0]
    assert not codes.rows[:, dim:].any()


@pytest.mark.parametrize("dim", [1, 16, 63, 64, 65, 127, 129, 384])
def test_4_bit_codes_are_within_half_a_step_of_the_rows_they_reach(dim):
    rows = plain.prepare(clustered(300, dim), L2)
    _, _, codes = every_code(rows, L2, dim)
    decoded = (unpacked(codes, dim) - 7.5) * codes.scale[:dim] + codes.mean[:dim]
    miss = np.abs(decoded - rows[:, :dim]) / codes.scale[:dim]
    reached = np.abs(rows[:, :dim] - codes.mean[:dim]) <= 7.5 * codes.scale[:dim]
    assert miss[reached].max() <= 0.501
    assert reached.mean() > 0.97


@pytest.mark.parametrize("name", ["float32", "int8", "int4"])
@pytest.mark.parametrize("metric", METRIC_VALUES)
@pytest.mark.parametrize("dim", [32, 63, 64, 65, 200, 384, 768])
def test_a_scan_of_codes_ranks_nearly_as_the_rows_do(dim, metric, name):
    vectors = clustered(600, dim)
    rows = plain.prepare(vectors, metric)
    codes = dict(zip(("float32", "int8", "int4"), every_code(rows, metric, dim), strict=True))[name]
    queries = plain.prepare(vectors[:20] + 0.3 * clustered(20, dim, seed=2), metric)
    scratch = new_scratch(600, 40, 32, dim)
    found, _ = scan.scan_codes(codes, rows, 600, metric, queries, 10, 40, scratch)
    exact, _ = scan.scan_rows(rows, 600, metric, queries, 10)
    assert recall(found, exact) >= (0.99 if name == "int4" else 0.995)


@pytest.mark.parametrize("metric", METRIC_VALUES)
def test_rows_far_from_the_origin_and_of_uneven_dimensions_keep_their_order(metric):
    random = np.random.default_rng(5)
    spread = np.geomspace(0.01, 3.0, 96)
    vectors = (random.standard_normal((800, 96)) * spread + 2.0).astype(np.float32)
    rows = plain.prepare(vectors, metric)
    _, _, codes = every_code(rows, metric, 96)
    queries = plain.prepare(
        (random.standard_normal((20, 96)) * spread + 2.0).astype(np.float32), metric
    )
    scratch = new_scratch(800, 40, 32, 96)
    found, _ = scan.scan_codes(codes, rows, 800, metric, queries, 10, 40, scratch)
    exact, _ = scan.scan_rows(rows, 800, metric, queries, 10)
    assert recall(found, exact) >= 0.97


def test_by_inner_product_rows_of_any_length_are_coded_equally_well():
    random = np.random.default_rng(6)
    lengths = random.lognormal(0, 2, (800, 1))
    rows = plain.prepare((random.standard_normal((800, 64)) * lengths).astype(np.float32), DOT)
    queries = plain.prepare(random.standard_normal((20, 64)).astype(np.float32), DOT)
    _, bytes_, nibbles = every_code(rows, DOT, 64)
    scratch = new_scratch(800, 40, 32, 64)
    exact, _ = scan.scan_rows(rows, 800, DOT, queries, 10)
    for codes in (bytes_, nibbles):
        found, _ = scan.scan_codes(codes, rows, 800, DOT, queries, 10, 40, scratch)
        assert recall(found, exact) >= 0.99


@pytest.mark.parametrize("metric", METRIC_VALUES)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_codebook_of_hardly_any_rows_serves_the_rows_that_follow(count, metric):
    rows = plain.prepare(clustered(500, 64), metric)
    queries = rows[:10].copy()
    exact, _ = scan.scan_rows(rows, 500, metric, queries, 10)
    scratch = new_scratch(500, 40, 32, 64)
    book = quantize.train_int4(rows[:count], metric, 64)
    codes = quantize.int4_codes(500, book)
    quantize.encode_int4(rows, 0, 500, metric, codes)
    found, _ = scan.scan_codes(codes, rows, 500, metric, queries, 10, 40, scratch)
    if metric != L2:
        assert recall(found, exact) >= 0.8
    assert (found[:, 0] == exact[:, 0]).mean() >= 0.5


def test_one_stray_row_does_not_blunt_the_codes_of_all_others():
    vectors = clustered(2000, 64)
    vectors[17] *= 1e6
    rows = plain.prepare(vectors, L2)
    _, bytes_, nibbles = every_code(rows, L2, 64)
    queries = rows[:10].copy()
    exact, _ = scan.scan_rows(rows, 2000, L2, queries, 10)
    scratch = new_scratch(2000, 40, 32, 64)
    for codes in (bytes_, nibbles):
        found, _ = scan.scan_codes(codes, rows, 2000, L2, queries, 10, 40, scratch)
        assert recall(found, exact) >= 0.95
        found, _ = scan.scan_codes(codes, rows, 2000, L2, rows[17:18].copy(), 1, 40, scratch)
        assert found[0, 0] == 17


def test_rows_encoded_in_parts_have_the_codes_of_one_go():
    rows = plain.prepare(clustered(200, 70), COSINE)
    _, bytes_, nibbles = every_code(rows, COSINE, 70)
    in_parts = quantize.int8_codes(200, quantize.train_int8(rows, COSINE, 70))
    for first in range(0, 200, 40):
        quantize.encode_int8(rows, first, first + 40, COSINE, in_parts)
    assert in_parts.rows.tobytes() == bytes_.rows.tobytes()
    again = quantize.int4_codes(200, quantize.train_int4(rows, COSINE, 70))
    for first in range(0, 200, 40):
        quantize.encode_int4(rows, first, first + 40, COSINE, again)
    assert again.rows.tobytes() == nibbles.rows.tobytes()
