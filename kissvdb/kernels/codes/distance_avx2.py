"""Inner products of codes with an int8 query, by AVX2, and exact: for processors without VNNI.

``vpmaddubsw`` multiplies unsigned with signed bytes and adds neighbours to an int16, which would
saturate. It cannot here, since no code and no number of a query is below -127:

4-bit  a code is 15 at most, so a sum of two products is 3,810 at most, and the four of a block,
       which are added before they are widened, are 15,240.
int8   the query's sign is moved to the row, and two products are 32,258 at most: below 32,768.
"""

from typing import Any

from llvmlite import ir

from kissvdb.kernels import vector_ir as vir

LANES = 32
BYTES = ir.VectorType(vir.INT8, LANES)
WORDS = ir.VectorType(ir.IntType(16), LANES // 2)
SUMS = ir.VectorType(vir.INT32, LANES // 4)


def _constant(vector: Any, value: int) -> Any:
    return ir.Constant(vector, [vector.element(value)] * vector.count)


def _pairs(builder: Any, unsigned: Any, signed: Any) -> Any:
    return vir.call(builder, "llvm.x86.avx2.pmadd.ub.sw", WORDS, [unsigned, signed])


def _widened(builder: Any, total: Any, words: Any) -> Any:
    ones = _constant(WORDS, 1)
    return builder.add(total, vir.call(builder, "llvm.x86.avx2.pmadd.wd", SUMS, [words, ones]))


def nibbles_block(
    builder: Any, query: Any, rows: list[Any], offset: Any, sums: list[Any]
) -> list[Any]:
    """Add to four sums the products of 64 bytes of 4-bit codes, at ``offset``, with a query."""
    low_half = _constant(BYTES, 15)
    # There is no byte shift: the bits that 16-bit shifts carry between bytes are masked off.
    four_bits = _constant(WORDS, 4)
    at = builder.shl(offset, vir.INT64(1))
    parts = [
        vir.load(builder, query, builder.add(at, vir.INT64(place)), BYTES)
        for place in (0, 2 * LANES, LANES, 3 * LANES)
    ]
    done = []
    for row, total in zip(rows, sums, strict=True):
        products = []
        for half in (0, 1):
            place = builder.add(offset, vir.INT64(half * LANES))
            packed = vir.load(builder, row, place, BYTES)
            shifted = builder.lshr(builder.bitcast(packed, WORDS), four_bits)
            low = builder.and_(packed, low_half)
            high = builder.and_(builder.bitcast(shifted, BYTES), low_half)
            products.append(_pairs(builder, low, parts[2 * half]))
            products.append(_pairs(builder, high, parts[2 * half + 1]))
        left, right = builder.add(*products[:2]), builder.add(*products[2:])
        done.append(_widened(builder, total, builder.add(left, right)))
    return done


def int8_block(
    builder: Any, query: Any, rows: list[Any], offset: Any, sums: list[Any]
) -> list[Any]:
    """Add to four sums the products of 64 int8 codes, at ``offset``, with a query."""
    for half in (0, 1):
        place = builder.add(offset, vir.INT64(half * LANES))
        part = vir.load(builder, query, place, BYTES)
        size = vir.call(builder, "llvm.abs.v32i8", BYTES, [part, ir.IntType(1)(0)])
        done = []
        for row, total in zip(rows, sums, strict=True):
            codes = vir.load(builder, row, place, BYTES)
            signed = vir.call(builder, "llvm.x86.avx2.psign.b", BYTES, [codes, part])
            done.append(_widened(builder, total, _pairs(builder, size, signed)))
        sums = done
    return sums
