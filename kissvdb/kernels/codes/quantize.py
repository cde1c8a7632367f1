"""Int8 and 4-bit codes of float32 rows, and queries in the form that meets them.

A ``Codebook`` says what a code stands for: ``mean + scale * c`` in each dimension, with c an int8,
or u - 7.5 for a 4-bit u. It is trained on a sample and then fixed, since a graph compares codes
with codes. Int8 has one scale for all dimensions, so that a coded row can itself be a query (graph
building); 4-bit codes have one for each, folded into the query, and cover 2.6 deviations either
side of the mean.

How each metric fills the distance form (``distance``):

cosine  -x.q of unit vectors.
dot     -x.q. Codes are of the rows' directions, and ``aux`` holds their lengths, as factors: rows
        of any length are coded equally well. Graphs are built by inner product as it is (ip-NSW:
        Morozov and Babenko, NeurIPS 2018); making it a distance by one more coordinate was
        measured too, and finds less.
l2      |x|^2 - 2 x.q, both less the mean, with ``aux = |x|^2`` of the decoded row, so that the
        error of a code matters only as far as the query is from the row.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.arrays import COSINE, DOT, L2, Codes, Query, aligned_zeros, padded
from kissvdb.kernels.codes.distance import ADD_AUX, PLAIN, TIMES_AUX, distance_with, float_key
from kissvdb.kernels.codes.distance_int4 import BIAS_PER_SUM as BIAS_INT4
from kissvdb.kernels.codes.distance_int8 import BIAS_PER_SUM as BIAS_INT8
from kissvdb.kernels.exact import sum_of_products
from kissvdb.kernels.jit import Number, helper, kernel, overload

Array = NDArray[Any]

CLIP_DEVIATIONS = 2.6
#: A sample this small says nothing of one dimension alone: the spread of all counts as this many.
PRIOR_ROWS = 32


class Codebook(NamedTuple):
    """What codes stand for. scale, mean: float32 [width]."""

    metric: int
    scale: Array
    mean: Array


def _sample(rows: Array, metric: int, width: int) -> Array:
    wide = np.zeros((rows.shape[0], width))
    wide[:, : rows.shape[1]] = rows
    if metric == DOT:
        length = np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
        np.divide(wide, length, out=wide, where=length > 0)
    return wide


def _without_strays(wide: Array) -> Array:
    """The sample with the outermost hundredth of each dimension brought in to where it begins."""
    if wide.shape[0] == 0:
        return wide
    low, high = np.quantile(wide, (0.005, 0.995), axis=0)
    return np.clip(wide, low, high)


def train_int8(rows: Array, metric: int, dim: int) -> Codebook:
    """A codebook for int8 codes of rows like these: float32 [n, >= dim], n of a few thousand.

    The scale reaches the sample's greatest number, but no further than twice the greatest without
    strays, so that one long row cannot blunt the codes of all others.
    """
    width = padded(dim, 64)
    wide = _sample(rows, metric, width)
    mean = np.zeros(width)
    if metric == L2 and rows.shape[0] > 0:
        mean = _without_strays(wide).mean(axis=0)
    greatest = float(np.abs(wide - mean).max(initial=0.0))
    usual = float(np.abs(_without_strays(wide) - mean).max(initial=0.0))
    reach = min(greatest, 2.0 * usual) or greatest
    scale = np.full(width, (reach or 1.0) / 127.0)
    scale[dim:] = 0.0
    return Codebook(metric, scale.astype(np.float32), mean.astype(np.float32))


def train_int4(rows: Array, metric: int, dim: int) -> Codebook:
    """A codebook for 4-bit codes of rows like these: float32 [n, >= dim], n of a few thousand."""
    width = padded(dim, 128)
    wide = _without_strays(_sample(rows, metric, width))
    count = rows.shape[0]
    mean = wide.sum(axis=0) / max(count, 1)
    variance = np.square(wide - mean).sum(axis=0) / max(count, 1)
    overall = float(np.square(wide).sum() / max(count * dim, 1)) or 1.0 / dim
    if count > 1 and variance[:dim].any():
        overall = float(variance[:dim].mean())
    variance = (count * variance + PRIOR_ROWS * overall) / (count + PRIOR_ROWS)
    scale = 2 * CLIP_DEVIATIONS * np.sqrt(variance) / 15.0
    scale[dim:] = 0.0
    return Codebook(metric, scale.astype(np.float32), mean.astype(np.float32))


def float32_codes(rows: Array, metric: int) -> Codes:
    """Float32 rows [n, multiple of 16] themselves; for l2 ``encode_float32`` fills ``aux``."""
    nothing = np.zeros(0, dtype=np.float32)
    aux = np.zeros(rows.shape[0] if metric == L2 else 0, dtype=np.float32)
    return Codes(rows, aux, nothing, nothing)


def int8_codes(capacity: int, book: Codebook) -> Codes:
    """Room for the int8 codes of ``capacity`` rows."""
    rows = aligned_zeros((capacity, book.scale.shape[0]), np.int8)
    return Codes(rows, _new_aux(capacity, book.metric), book.scale, book.mean)


def int4_codes(capacity: int, book: Codebook) -> Codes:
    """Room for the 4-bit codes of ``capacity`` rows."""
    rows = aligned_zeros((capacity, book.scale.shape[0] // 2), np.uint8)
    return Codes(rows, _new_aux(capacity, book.metric), book.scale, book.mean)


def _new_aux(capacity: int, metric: int) -> Array:
    return np.zeros(0 if metric == COSINE else capacity, dtype=np.float32)


@helper
def _length(rows: Array, row: Number) -> Number:
    square = 0.0
    for j in range(rows.shape[1]):
        square += np.float64(rows[row, j]) * np.float64(rows[row, j])
    return np.sqrt(square)


@helper
def _code8(value: Number, mean: Number, step: Number) -> Number:
    return min(max(np.rint((value - mean) / step), -127.0), 127.0)


@helper
def _code4(value: Number, mean: Number, step: Number) -> Number:
    return min(max(np.rint((value - mean) / step + 7.5), 0.0), 15.0)


@kernel
def encode_float32(rows: Array, first: Number, last: Number, metric: Number, codes: Codes) -> None:
    """Fill ``codes.aux[first:last]`` for float32 rows that are searched as they are."""
    if metric == L2:
        for i in range(first, last):
            codes.aux[i] = _length(rows, i) ** 2


@kernel
def encode_int8(rows: Array, first: Number, last: Number, metric: Number, codes: Codes) -> None:
    """Write the int8 codes of float32 ``rows[first:last]`` [n, <= width] into the same rows."""
    for i in range(first, last):
        length = 1.0
        if metric == DOT:
            length = _length(rows, i)
        square = 0.0
        for j in range(rows.shape[1]):
            step = codes.scale[j]
            if step > 0.0 and length > 0.0:
                code = _code8(rows[i, j] / length, codes.mean[j], step)
                codes.rows[i, j] = np.int8(code)
                square += (code * step) ** 2
        if metric == L2:
            codes.aux[i] = square
        elif metric == DOT:
            codes.aux[i] = length


@kernel
def encode_int4(rows: Array, first: Number, last: Number, metric: Number, codes: Codes) -> None:
    """Write the 4-bit codes of float32 ``rows[first:last]`` [n, <= dimensions] into the same rows.

    Dimension 128 b + j is the low half of byte 64 b + j, dimension 128 b + 64 + j its high half.
    """
    for i in range(first, last):
        length = 1.0
        if metric == DOT:
            length = _length(rows, i)
        codes.rows[i] = 0
        square = 0.0
        for j in range(rows.shape[1]):
            step = codes.scale[j]
            if step > 0.0 and length > 0.0:
                code = _code4(rows[i, j] / length, codes.mean[j], step)
                square += ((code - 7.5) * step) ** 2
                place = j // 128 * 64 + j % 64
                codes.rows[i, place] |= np.uint8(code) << np.uint8(j % 128 // 64 * 4)
        if metric == L2:
            codes.aux[i] = square
        elif metric == DOT:
            codes.aux[i] = length


@helper
def _code_query(codes: Codes, metric: Number, queries: Array, row: Number, out: Array) -> Any:
    """Fold the scales into a query and round it to int8; answer its step, sum and mean part, its
    square and that of the folded one.

    out: int8 [1, width]. ``query[j] * scale[j]`` is about ``step * out[j]``.
    """
    width = codes.scale.shape[0]
    centred = metric == L2
    most = np.float32(0.0)
    across = np.float64(0.0)
    square = np.float64(0.0)
    folded_square = np.float64(0.0)
    for j in range(queries.shape[1]):
        value = queries[row, j]
        across += np.float64(value) * codes.mean[j]
        if centred:
            value -= codes.mean[j]
        folded = value * codes.scale[j]
        square += np.float64(value) * np.float64(value)
        folded_square += np.float64(folded) * np.float64(folded)
        most = max(most, abs(folded))
    step = most / np.float32(127.0)
    inverse = np.float32(0.0)
    if step > 0.0:
        inverse = np.float32(1.0) / step
    total: Number = 0
    for j in range(queries.shape[1]):
        value = queries[row, j]
        if centred:
            value -= codes.mean[j]
        code = np.rint(value * codes.scale[j] * inverse)
        out[0, j] = np.int8(code)
        total += np.int32(code)
    for j in range(queries.shape[1], width):
        out[0, j] = 0
    return step, np.int32(total), np.float32(across), square, folded_square


@helper
def _error(codes: Codes, metric: Number, square: Number, folded_square: Number) -> Any:
    """The ``shift``, ``spread`` and ``slope`` of a query: rounding is off by a twelfth of a step's
    square in each dimension, whichever way.

    l2: with d = x - q and r the error of x, the distance is off by 2 d.r + r.r.
    """
    if metric != L2:
        return 0.0, folded_square / 12.0, 0.0
    lost = 0.0
    spread = 0.0
    dim = 0
    for j in range(codes.scale.shape[0]):
        step_square = np.float64(codes.scale[j]) * np.float64(codes.scale[j])
        lost += step_square / 12.0
        spread += step_square * step_square / 180.0
        dim += codes.scale[j] > 0.0
    return square - lost, spread, 4.0 * lost / max(dim, 1)


def own_key(codes: Any, metric: int, queries: Array, row: int, query: Query) -> Any:
    """The key (uint32) of a row that equals the query; for use in kernels."""
    raise NotImplementedError("called in kernels only: the overload below is its body")


@overload(own_key)
def _own_key(codes: Any, metric: int, queries: Array, row: int, query: Query) -> Any:
    def float32(codes: Any, metric: int, queries: Array, row: int, query: Query) -> Any:
        return np.uint32(0)

    def int8(codes: Any, metric: int, queries: Array, row: int, query: Query) -> Any:
        return _own_key_of(codes, metric, queries, row, query, False)

    def int4(codes: Any, metric: int, queries: Array, row: int, query: Query) -> Any:
        return _own_key_of(codes, metric, queries, row, query, True)

    return {"float32": float32, "int8": int8, "uint8": int4}[str(codes.types[0].dtype)]


@helper
def _own_key_of(
    codes: Codes, metric: Number, queries: Array, row: Number, query: Query, halves: Number
) -> Number:
    length = 1.0
    if metric == DOT:
        length = max(_length(queries, row), 1e-300)
    dim = queries.shape[1]
    while dim > 0 and codes.scale[dim - 1] <= 0.0:
        dim -= 1
    dot = np.int32(0)
    # Neither branches nor a sum of floats in here: the compiler takes many dimensions at a time.
    for j in range(dim):
        value = queries[row, j] / length
        if halves:
            code = 2.0 * _code4(value, codes.mean[j], codes.scale[j]) - 15.0
        else:
            code = _code8(value, codes.mean[j], codes.scale[j])
        dot += np.int32(code) * np.int32(query.rows[0, j])
    square = 0.0
    if metric == L2:
        for j in range(dim):
            value = queries[row, j] / length
            if halves:
                code = _code4(value, codes.mean[j], codes.scale[j]) - 7.5
            else:
                code = _code8(value, codes.mean[j], codes.scale[j])
            square += (code * codes.scale[j]) ** 2
    aux = np.float32(0.0)
    if metric == L2:
        aux = np.float32(square)
    elif metric == DOT:
        aux = np.float32(length)
    return float_key(distance_with(query, np.float32(dot), aux))


def prepare_query(codes: Any, metric: int, queries: Array, row: int, out: Array) -> Any:
    """A float32 query in the form that meets these codes, as a ``Query``; for use in kernels.

    queries: float32 [n, multiple of 16]; out: int8 [1, padded], where int8 and 4-bit codes have
    theirs written.
    """
    raise NotImplementedError("called in kernels only: the overload below is its body")


@overload(prepare_query)
def _prepare_query(codes: Any, metric: int, queries: Array, row: int, out: Array) -> Any:
    one = np.float32(1.0)
    none = np.float32(0.0)
    no_bias = np.int32(0)

    def float32(codes: Any, metric: int, queries: Array, row: int, out: Array) -> Any:
        form, factor, weight = np.int64(PLAIN), -one, none
        if metric == L2:
            form, factor, weight = np.int64(ADD_AUX), np.float32(-2.0), one
            square = sum_of_products(queries, row, queries, row)
            return Query(queries, row, form, factor, none, weight, no_bias, 0, square, 0.0, 0.0)
        return Query(queries, row, form, factor, none, weight, no_bias, 0, 0.0, 0.0, 0.0)

    def int8(codes: Any, metric: int, queries: Array, row: int, out: Array) -> Any:
        step, total, _, square, folded_square = _code_query(codes, metric, queries, row, out)
        # The query is rounded as coarsely as the rows are.
        shift, spread, slope = _error(codes, metric, square, folded_square)
        form, factor = np.int64(PLAIN), -step
        if metric == L2:
            form, factor = np.int64(ADD_AUX), np.float32(-2.0) * step
        elif metric == DOT:
            form = np.int64(TIMES_AUX)
        bias = np.int32(total * BIAS_INT8)
        return Query(out, 0, form, factor, none, one, bias, 0, shift, 2.0 * spread, 2.0 * slope)

    def int4(codes: Any, metric: int, queries: Array, row: int, out: Array) -> Any:
        step, total, across, square, folded_square = _code_query(codes, metric, queries, row, out)
        shift, spread, slope = _error(codes, metric, square, folded_square)
        # The dot products of 4-bit codes come doubled.
        form, factor, offset = np.int64(PLAIN), np.float32(-0.5) * step, -across
        if metric == L2:
            form, factor, offset = np.int64(ADD_AUX), -step, none
        elif metric == DOT:
            form = np.int64(TIMES_AUX)
        bias = np.int32(total * BIAS_INT4)
        return Query(out, 0, form, factor, offset, one, bias, 0, shift, spread, slope)

    return {"float32": float32, "int8": int8, "uint8": int4}[str(codes.types[0].dtype)]
