"""Exact scores: the one definition that every search in this package ends with.

Products and differences of float32 values are taken in float64 and added to sixteen sums in turn,
element i to sum i % 16; then the upper half of the sums is added to the lower half until one is
left, which is rounded to float32. The order is fixed, so the score of a row is the same bits
whatever the processor, the thread or the path that found the row. In numpy, for x and q padded with
zeros to a multiple of 16:

    sums = np.zeros(16)
    for part in (x.astype("f8") * q.astype("f8")).reshape(-1, 16):
        sums += part
    while sums.size > 1:
        sums = sums[: sums.size // 2] + sums[sums.size // 2 :]
    score = np.float32(sums[0])

cosine and dot: the score is this product (cosine: of unit vectors). l2: the terms are squares of
``x - q`` and the score is minus the sum, so that higher is better everywhere.

Rows may be float16: kernels are given them as the float32 that the same bytes are, so that no
kernel is compiled twice, and the metric with ``HALVES`` added says what they are. Their width is a
multiple of 32 halves, and they are only multiplied (``sum_of_halves``), not measured by l2.
"""

from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from kissvdb.kernels import pool as pools
from kissvdb.kernels import vector_ir as vir
from kissvdb.kernels.arrays import HALVES, L2
from kissvdb.kernels.codes.distance import key_float
from kissvdb.kernels.features import F16C
from kissvdb.kernels.jit import Number, helper, intrinsic

Array = NDArray[Any]

LANES = 16
HALF = ir.VectorType(vir.FLOAT64, LANES // 2)
HALF_BYTES = 4 * LANES // 2
SINGLE = ir.VectorType(vir.FLOAT32, LANES // 2)
FLOAT16S = ir.VectorType(ir.HalfType(), LANES // 2)
WORDS = ir.VectorType(ir.IntType(16), LANES // 2)
BITS = ir.VectorType(vir.INT32, LANES // 2)


def _halves(builder: Any, row: Any, offset: Any) -> Any:
    """Load eight float16, as float32."""
    if F16C:
        return builder.fpext(vir.load(builder, row, offset, FLOAT16S), SINGLE)
    # In the place of a float32's exponent and fraction the bits stand for 2**-112 of the number,
    # below the least normal one, too. Exact, for all that are finite.
    bits = builder.zext(vir.load(builder, row, offset, WORDS), BITS)
    size = builder.and_(bits, ir.Constant(BITS, [vir.INT32(0x7FFF)] * 8))
    sign = builder.and_(bits, ir.Constant(BITS, [vir.INT32(0x8000)] * 8))
    small = builder.bitcast(builder.shl(size, ir.Constant(BITS, [vir.INT32(13)] * 8)), SINGLE)
    scale = ir.Constant(SINGLE, [vir.FLOAT32(2.0**112)] * 8)
    whole = builder.bitcast(builder.fmul(small, scale), BITS)
    moved = builder.shl(sign, ir.Constant(BITS, [vir.INT32(16)] * 8))
    return builder.bitcast(builder.or_(whole, moved), SINGLE)


def _terms(squares: bool, halves: bool = False) -> Any:
    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = vir.array(context, builder, sig.args[0], args[0])
        queries = vir.array(context, builder, sig.args[2], args[2])
        stride = vir.row_stride(builder, rows)
        row = vir.address(builder, rows.data, builder.mul(args[1], stride))
        query = vir.address(
            builder, queries.data, builder.mul(args[3], vir.row_stride(builder, queries))
        )

        def half(offset: Any, total: Any) -> Any:
            if halves:
                numbers = _halves(builder, row, builder.lshr(offset, vir.INT64(1)))
            else:
                numbers = vir.load(builder, row, offset, SINGLE)
            left = builder.fpext(numbers, HALF)
            right = builder.fpext(vir.load(builder, query, offset, SINGLE), HALF)
            if squares:
                # No fused multiply-add here: a square is not exact in float64, and a fused one
                # would round differently from one processor to the next.
                left = right = builder.fsub(left, right)
                return builder.fadd(total, builder.fmul(left, right))
            # A product of two float32 is exact in float64: fused or not gives the same bits.
            product = builder.fmul(left, right, flags=("contract",))
            return builder.fadd(total, product, flags=("contract",))

        def block(offset: Any, sums: list[Any]) -> list[Any]:
            upper = builder.add(offset, vir.INT64(HALF_BYTES))
            return [half(offset, sums[0]), half(upper, sums[1])]

        stop = vir.row_stride(builder, queries) if halves else stride
        sums = vir.accumulate(builder, stop, 2 * HALF_BYTES, HALF, 2, block)
        total = builder.fadd(*sums)
        while total.type.count > 2:
            total = builder.fadd(*vir.halves(builder, total))
        parts = map(partial(builder.extract_element, total), (vir.INT32(0), vir.INT32(1)))
        return builder.fadd(*parts)

    return write


@intrinsic
def sum_of_products(typing: Any, rows: Any, row: Any, queries: Any, query_row: Any) -> Any:
    """The inner product of two rows of float32 matrices, summed as defined above; float64."""
    return types.float64(rows, types.int64, queries, types.int64), _terms(squares=False)


@intrinsic
def sum_of_squares(typing: Any, rows: Any, row: Any, queries: Any, query_row: Any) -> Any:
    """The squared distance of two rows likewise."""
    return types.float64(rows, types.int64, queries, types.int64), _terms(squares=True)


@intrinsic
def sum_of_halves(typing: Any, rows: Any, row: Any, queries: Any, query_row: Any) -> Any:
    """The inner product of a row of float16, in an array of float32, and one of float32."""
    return types.float64(rows, types.int64, queries, types.int64), _terms(False, halves=True)


@helper
def farness(rows: Array, row: Number, queries: Array, query_row: Number, metric: Number) -> Number:
    """Minus the exact score, float32: the form that sorts nearest first.

    rows, queries: float32 [n, width], the same width, a multiple of 16; or rows of ``HALVES``.
    """
    if metric & HALVES:
        return np.float32(0.0) - np.float32(sum_of_halves(rows, row, queries, query_row))
    if metric == L2:
        return np.float32(sum_of_squares(rows, row, queries, query_row))
    # 0 - x and not -x: a zero score must be +0, or it would not tie with the other zero.
    return np.float32(0.0) - np.float32(sum_of_products(rows, row, queries, query_row))


@helper
def answer(results: Array, count: Number, ids: Array, scores: Array) -> None:
    """Write the first entries of a pool as ids (int64) and scores (float32), best first.

    Places without a row get id -1 and score -inf.
    """
    for i in range(count):
        entry = results[i]
        if entry == pools.EMPTY:
            ids[i] = -1
            scores[i] = -np.inf
        else:
            ids[i] = pools.entry_row(entry)
            scores[i] = np.float32(0.0) - key_float(pools.entry_key(entry))
