"""Inner products of int8 codes with an int8 query.

AVX512-VNNI multiplies unsigned with signed bytes, so each code is read as ``code + 128`` (one xor)
and ``bias = 128 * sum(query)`` is taken off again. Elsewhere the bias is zero: AVX2 has a form of
its own (``distance_avx2``), and what has neither widens both. No code, and no number of a query, is
-128.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir

from kissvdb.kernels import vector_ir as vir
from kissvdb.kernels.codes import distance_avx2
from kissvdb.kernels.features import AVX2, VNNI

LANES = 64
BYTES = ir.VectorType(vir.INT8, LANES)
SUMS = ir.VectorType(vir.INT32, 16)
#: What one unit of the query's sum adds to a dot product as ``write_dots`` computes it.
BIAS_PER_SUM = 128 if VNNI else 0
#: Of a builder, the query's address, those of four rows, the block's offset, and four sums.
Block = Callable[[Any, Any, list[Any], Any, list[Any]], list[Any]]


def dot_unsigned(builder: Any, total: Any, unsigned: Any, signed: Any) -> Any:
    """``total`` plus the products of 64 unsigned and 64 signed bytes, four to a lane."""
    if VNNI:
        parts = [total, builder.bitcast(unsigned, SUMS), builder.bitcast(signed, SUMS)]
        return vir.call(builder, "llvm.x86.avx512.vpdpbusd.512", SUMS, parts)
    wide = ir.VectorType(vir.INT32, LANES)
    return _add_groups(
        builder, total, builder.mul(builder.zext(unsigned, wide), builder.sext(signed, wide))
    )


def _dot_signed(builder: Any, total: Any, left: Any, right: Any) -> Any:
    if VNNI:
        flip = ir.Constant(BYTES, [vir.INT8(-128)] * LANES)
        return dot_unsigned(builder, total, builder.xor(left, flip), right)
    wide = ir.VectorType(vir.INT32, LANES)
    return _add_groups(
        builder, total, builder.mul(builder.sext(left, wide), builder.sext(right, wide))
    )


def _add_groups(builder: Any, total: Any, products: Any) -> Any:
    name = "llvm.vector.partial.reduce.add.v16i32.v64i32"
    return vir.call(builder, name, SUMS, [total, products])


def _block(builder: Any, query: Any, rows: list[Any], offset: Any, sums: list[Any]) -> list[Any]:
    part = vir.load(builder, query, offset, BYTES)
    return [
        _dot_signed(builder, total, vir.load(builder, row, offset, BYTES), part)
        for row, total in zip(rows, sums, strict=True)
    ]


def write_sums(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Write the sums of :func:`distance.dots` for rows of int8."""
    total = block_sums(context, builder, sig, args, distance_avx2.int8_block if AVX2 else _block)
    return without_bias(builder, total, args[5])


def block_sums(context: Any, builder: Any, sig: Any, args: Any, block: Block) -> Any:
    """Four int32 sums over the blocks of 64 bytes of four rows; ``block`` adds one to each."""
    rows, row_bytes = vir.four_rows(context, builder, sig, args)
    queries = vir.array(context, builder, sig.args[3], args[3])
    stride = vir.row_stride(builder, queries)
    query = vir.address(builder, queries.data, builder.mul(args[4], stride))
    vector = distance_avx2.SUMS if AVX2 else SUMS
    sums = vir.accumulate(
        builder, row_bytes, LANES, vector, 4, partial(block, builder, query, rows)
    )
    return vir.sum_of_each(builder, sums, builder.add)


def without_bias(builder: Any, total: Any, bias: Any) -> Any:
    """Four int32 sums less the bias, as float32."""
    difference = builder.sub(total, vir.splat(builder, bias, 4))
    return builder.sitofp(difference, ir.VectorType(vir.FLOAT32, 4))
