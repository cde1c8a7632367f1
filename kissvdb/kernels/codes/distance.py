"""Distances that rank rows during a search: fast, of float32, and the same code for all row types.

The type of the rows says what they are: float32 vectors, int8 codes, or uint8 pairs of 4-bit codes.
Whatever the metric, lower is nearer and

    PLAIN      distance = offset + factor * dot(row, query)
    ADD_AUX    distance = offset + factor * dot(row, query) + weight * aux[row]
    TIMES_AUX  distance = (offset + factor * dot(row, query)) * weight * aux[row]

where ``dot`` is the product of what is stored, ``factor`` holds the scales, and ``aux`` is one
float32 for each row. See ``quantize`` for how each metric fills these forms.
"""

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from kissvdb.kernels import vector_ir as vir
from kissvdb.kernels.arrays import Codes, Query, Scratch
from kissvdb.kernels.codes import distance_f32, distance_int4, distance_int8
from kissvdb.kernels.jit import Number, helper, intrinsic

Array = NDArray[Any]

PLAIN = 0
ADD_AUX = 1
TIMES_AUX = 2

_WRITERS = {
    types.float32: distance_f32.write_sums,
    types.int8: distance_int8.write_sums,
    types.uint8: distance_int4.write_sums,
}


@intrinsic
def dots(
    typing: Any, rows: Any, ids: Any, start: Any, queries: Any, query_row: Any, bias: Any, out: Any
) -> Any:
    """Store the inner products of four rows with one query.

    ``out[start:start + 4]`` (float32) = ``rows[ids[start:start + 4]] . queries[query_row]``.
    rows: [n, width] float32 with width a multiple of 16, int8 with width a multiple of 64, or uint8
    (packed) likewise. ids: int32. queries: float32 for float32 rows, else int8; 2-D. The bias
    (int32) is ``BIAS_PER_SUM * sum(query)`` of the code's module. No bounds are checked.
    """

    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums = _WRITERS[rows.dtype](context, builder, sig, args)
        vir.store_four(context, builder, sig, args, sums)
        return context.get_dummy_value()

    sig = types.void(rows, ids, types.int64, queries, types.int64, types.int32, out)
    return sig, write


@intrinsic
def plain_keys(
    typing: Any,
    rows: Any,
    ids: Any,
    start: Any,
    queries: Any,
    query_row: Any,
    bias: Any,
    factor: Any,
    offset: Any,
    out: Any,
) -> Any:
    """Store the sort keys (uint32) of ``offset + factor * dot``; otherwise as ``dots``."""

    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums = _WRITERS[rows.dtype](context, builder, sig, args)
        scaled = builder.fmul(vir.splat(builder, args[6], 4), sums)
        far = builder.fadd(scaled, vir.splat(builder, args[7], 4))
        vir.store_four(context, builder, sig, args, vir.sort_key(builder, far))
        return context.get_dummy_value()

    one = types.float32
    sig = types.void(rows, ids, types.int64, queries, types.int64, types.int32, one, one, out)
    return sig, write


@intrinsic
def float_key(typing: Any, value: Any) -> Any:
    """The uint32 that sorts as the float32: all bits flipped if negative, else the sign bit."""

    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], vir.INT32)
        negative = builder.ashr(bits, vir.INT32(31))
        return builder.xor(bits, builder.or_(negative, vir.INT32(-(2**31))))

    return types.uint32(types.float32), write


@intrinsic
def key_float(typing: Any, key: Any) -> Any:
    """The float32 whose ``float_key`` this is."""

    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        positive = builder.ashr(args[0], vir.INT32(31))
        flip = builder.or_(builder.xor(positive, vir.INT32(-1)), vir.INT32(-(2**31)))
        return builder.bitcast(builder.xor(args[0], flip), vir.FLOAT32)

    return types.float32(types.uint32), write


@helper
def distance(codes: Codes, row: Number, query: Query, dot: Number) -> Number:
    """The distance of a row to a query, from their inner product; float32.

    What belongs to the query and what to the row meet first, so that a row's distance to another is
    the very same number as the other's to it: equal rows must tie.
    """
    aux = codes.aux[row] if query.form != PLAIN else np.float32(0.0)
    return distance_with(query, dot, aux)


@helper
def distance_with(query: Query, dot: Number, aux: Number) -> Number:
    """The distance to a query of what has this inner product with it, and this ``aux``."""
    if query.form == ADD_AUX:
        return query.factor * dot + (query.offset + query.weight * aux)
    if query.form == TIMES_AUX:
        return (query.factor * dot + query.offset) * (query.weight * aux)
    return query.factor * dot + query.offset


@helper
def measure(codes: Codes, ids: Array, count: Number, query: Query, scratch: Scratch) -> None:
    """Fill ``scratch.keys[:count]`` with the distance keys of rows ``ids[:count]`` (count > 0).

    ids needs room for three more: rows are taken in fours.
    """
    last = ids[count - 1]
    ids[count] = last
    ids[count + 1] = last
    ids[count + 2] = last
    rows, at, bias = query.rows, query.row, query.bias
    if query.form == PLAIN:
        factor, offset, keys = query.factor, query.offset, scratch.keys
        for i in range(0, count, 4):
            plain_keys(codes.rows, ids, i, rows, at, bias, factor, offset, keys)
        return
    for i in range(0, count, 4):
        dots(codes.rows, ids, i, rows, at, bias, scratch.dots)
    for i in range(count):
        scratch.keys[i] = float_key(distance(codes, ids[i], query, scratch.dots[i]))
