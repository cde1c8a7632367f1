"""Inner products of packed 4-bit codes with an int8 query.

A row is blocks of 64 bytes for 128 dimensions: dimensions 0-63 of the block in the low halves of
the bytes, 64-127 in the high ones. A code u stands for u - 7.5, so twice the product is a whole
number: ``2 * sum(u * query) - bias`` with ``bias = 15 * sum(query)``.
"""

from typing import Any

from llvmlite import ir

from kissvdb.kernels import vector_ir as vir
from kissvdb.kernels.codes import distance_avx2
from kissvdb.kernels.codes.distance_int8 import BYTES, block_sums, dot_unsigned, without_bias
from kissvdb.kernels.features import AVX2

LANES = 64
#: What one unit of the query's sum adds to twice the dot product of the raw codes.
BIAS_PER_SUM = 15


def _block(builder: Any, query: Any, rows: list[Any], offset: Any, sums: list[Any]) -> list[Any]:
    low_half = ir.Constant(BYTES, [vir.INT8(15)] * LANES)
    # LLVM has no byte shift: the bits that 16-bit shifts carry between bytes are masked off.
    words = ir.VectorType(ir.IntType(16), 32)
    four_bits = ir.Constant(words, [ir.IntType(16)(4)] * 32)
    at = builder.shl(offset, vir.INT64(1))
    part_low = vir.load(builder, query, at, BYTES)
    part_high = vir.load(builder, query, builder.add(at, vir.INT64(LANES)), BYTES)
    new_sums = []
    for row, total in zip(rows, sums, strict=True):
        packed = vir.load(builder, row, offset, BYTES)
        shifted = builder.lshr(builder.bitcast(packed, words), four_bits)
        low = builder.and_(packed, low_half)
        high = builder.and_(builder.bitcast(shifted, BYTES), low_half)
        half_done = dot_unsigned(builder, total, low, part_low)
        new_sums.append(dot_unsigned(builder, half_done, high, part_high))
    return new_sums


def write_sums(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Write the sums of :func:`distance.dots` for rows of packed 4-bit codes."""
    block = distance_avx2.nibbles_block if AVX2 else _block
    total = block_sums(context, builder, sig, args, block)
    one_bit = ir.Constant(total.type, [vir.INT32(1)] * 4)
    return without_bias(builder, builder.shl(total, one_bit), args[5])
