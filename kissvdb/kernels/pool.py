"""A sorted pool of the nearest rows, kept in vector registers' stride.

An entry is one uint64: ``distance key << 32 | id << 1 | expanded``. So entries sort by distance,
then by id, in one comparison, and marking one as expanded does not move it. Empty places hold the
greatest uint64, which reads as expanded. A pool array is POOL_PADDING longer than its limit.

Ids may be xored with a number, the ``tie`` of a query, which changes only the order of rows that
are equally near: 0 puts the lowest id first.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from kissvdb.kernels import vector_ir as vir
from kissvdb.kernels.jit import Number, helper, intrinsic

Array = NDArray[Any]

EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
LANES = 8
ENTRIES = ir.VectorType(vir.INT64, LANES)


@intrinsic
def count_below(typing: Any, pool: Any, entry: Any) -> Any:
    """How many entries at the front of a sorted pool are below ``entry``.

    Eight at a time, until one is not; some entry must be (an empty place, or the pool's last).
    """

    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = vir.array(context, builder, sig.args[0], args[0]).data
        wanted = vir.splat(builder, args[1], LANES)
        before = builder.block
        loop = builder.append_basic_block("count.loop")
        end = builder.append_basic_block("count.end")
        builder.branch(loop)
        builder.position_at_end(loop)
        index = builder.phi(vir.INT64)
        index.add_incoming(vir.INT64(0), before)
        part = vir.load(builder, data, builder.shl(index, vir.INT64(3)), ENTRIES)
        below = builder.bitcast(builder.icmp_unsigned("<", part, wanted), vir.INT8)
        index.add_incoming(builder.add(index, vir.INT64(LANES)), loop)
        builder.cbranch(builder.icmp_unsigned("==", below, vir.INT8(-1)), loop, end)
        builder.position_at_end(end)
        ones = vir.call(builder, "llvm.ctpop.i8", vir.INT8, [below])
        return builder.add(index, builder.zext(ones, vir.INT64))

    return types.int64(pool, types.uint64), write


@intrinsic
def shift_up(typing: Any, pool: Any, start: Any, limit: Any) -> Any:
    """Move ``pool[start:limit]`` one place up, eight at a time.

    Each step loads the next eight before it stores, since a store overlaps them by one. What is
    pushed past ``limit`` is not below the last entry, so no masking is needed.
    """

    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = vir.array(context, builder, sig.args[0], args[0]).data
        first = vir.load(builder, data, builder.shl(args[1], vir.INT64(3)), ENTRIES)
        before = builder.block
        loop = builder.append_basic_block("shift.loop")
        end = builder.append_basic_block("shift.end")
        builder.branch(loop)
        builder.position_at_end(loop)
        index = builder.phi(vir.INT64)
        index.add_incoming(args[1], before)
        carried = builder.phi(ENTRIES)
        carried.add_incoming(first, before)
        following = builder.add(index, vir.INT64(LANES))
        loaded = vir.load(builder, data, builder.shl(following, vir.INT64(3)), ENTRIES)
        target = builder.gep(data, [builder.add(index, vir.INT64(1))])
        builder.store(carried, builder.bitcast(target, ENTRIES.as_pointer()), align=8)
        index.add_incoming(following, loop)
        carried.add_incoming(loaded, loop)
        builder.cbranch(builder.icmp_signed("<", following, args[2]), loop, end)
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(pool, types.int64, types.int64), write


@intrinsic
def keys_at_most(typing: Any, keys: Any, start: Any, most: Any) -> Any:
    """A mask whose bit i says that ``keys[start + i] <= most``, for sixteen uint32 keys."""

    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = vir.array(context, builder, sig.args[0], args[0]).data
        vector = ir.VectorType(vir.INT32, 16)
        part = vir.load(builder, data, builder.shl(args[1], vir.INT64(2)), vector)
        inside = builder.icmp_unsigned("<=", part, vir.splat(builder, args[2], 16))
        return builder.zext(builder.bitcast(inside, ir.IntType(16)), vir.INT64)

    return types.int64(keys, types.int64, types.uint32), write


@intrinsic
def lowest_bit(typing: Any, mask: Any) -> Any:
    """The index of the lowest one bit of a mask that has one."""

    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return vir.call(builder, "llvm.cttz.i64", vir.INT64, [args[0], ir.IntType(1)(1)])

    return types.int64(types.int64), write


@intrinsic
def _prefetch_line(typing: Any, matrix: Any, row: Any, line: Any) -> Any:
    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        view = vir.array(context, builder, sig.args[0], args[0])
        start = builder.mul(args[1], vir.row_stride(builder, view))
        offset = builder.add(start, builder.shl(args[2], vir.INT64(6)))
        kind = ir.FunctionType(
            ir.VoidType(), [vir.INT8.as_pointer(), vir.INT32, vir.INT32, vir.INT32]
        )
        to_read, near, data = vir.INT32(0), vir.INT32(3), vir.INT32(1)
        pointer = vir.address(builder, view.data, offset)
        builder.call(vir.declare(builder, kind, "llvm.prefetch.p0"), [pointer, to_read, near, data])
        return context.get_dummy_value()

    return types.void(matrix, types.int64, types.int64), write


@helper
def prefetch(matrix: Array, row: Number, lines: Number) -> None:
    """Ask for the first cache lines of a row of a C-ordered matrix; never faults."""
    for line in range(lines):
        _prefetch_line(matrix, row, line)


@helper
def clear(pool: Array, limit: Number) -> None:
    """Empty the first ``limit`` places and the padding behind them."""
    pool[: limit + 24] = EMPTY


@helper
def insert(pool: Array, limit: Number, entry: Number) -> Number:
    """Put an entry that is below ``pool[limit - 1]`` in its place; answer the place."""
    place = count_below(pool, entry)
    shift_up(pool, place, limit)
    pool[place] = entry
    return place


@helper
def offer(pool: Array, limit: Number, key: Number, row: Number) -> Number:
    """Insert a row if it is nearer than the last of ``limit``; answer its place, else the limit."""
    entry = make_entry(key, row)
    if entry < pool[limit - 1]:
        return insert(pool, limit, entry)
    return limit


@helper
def make_entry(key: Number, row: Number) -> Number:
    """The entry of an unexpanded row."""
    return np.uint64(key) << np.uint64(32) | np.uint64(row) << np.uint64(1)


@helper
def entry_row(entry: Number) -> Number:
    """The row of an entry."""
    return np.int64((entry & np.uint64(0xFFFFFFFF)) >> np.uint64(1))


@helper
def entry_key(entry: Number) -> Number:
    """The distance key of an entry, uint32."""
    return np.uint32(entry >> np.uint64(32))
