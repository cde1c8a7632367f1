"""Pieces of LLVM code shared by the intrinsics.

All of it is LLVM's processor-independent vector code, which becomes AVX-512, AVX2, SSE or NEON as
the target has it. Indices are taken as they are: unlike numba's own indexing these pieces do not
wrap negative ones, because the test for it turns vector loads into slow gathers.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

INT8 = ir.IntType(8)
INT32 = ir.IntType(32)
INT64 = ir.IntType(64)
FLOAT32 = ir.FloatType()
FLOAT64 = ir.DoubleType()


def array(context: Any, builder: Any, array_type: Any, value: Any) -> Any:
    """Numba's view of an array argument: ``data``, ``shape``, ``strides``."""
    return context.make_array(array_type)(context, builder, value)


def address(builder: Any, pointer: Any, offset_bytes: Any) -> Any:
    """The byte pointer ``offset_bytes`` behind ``pointer``."""
    return builder.gep(builder.bitcast(pointer, INT8.as_pointer()), [offset_bytes])


def row_stride(builder: Any, matrix: Any) -> Any:
    """The bytes from one row of a C-ordered matrix to the next."""
    return builder.extract_value(matrix.strides, 0)


def load(builder: Any, pointer: Any, offset_bytes: Any, vector: Any) -> Any:
    """Load a vector from any address."""
    source = builder.bitcast(address(builder, pointer, offset_bytes), vector.as_pointer())
    return builder.load(source, align=1)


def four_rows(context: Any, builder: Any, sig: Any, args: Any) -> tuple[list[Any], Any]:
    """The addresses of ``rows[ids[start:start + 4]]`` and the bytes of a row.

    ``args`` begins with rows (2-D), ids (int32, 1-D), start (int64).
    """
    rows = array(context, builder, sig.args[0], args[0])
    ids = array(context, builder, sig.args[1], args[1])
    stride = row_stride(builder, rows)
    pointers = []
    for lane in range(4):
        at = builder.add(args[2], INT64(lane))
        row_id = builder.load(builder.gep(ids.data, [at]))
        pointers.append(
            address(builder, rows.data, builder.mul(builder.zext(row_id, INT64), stride))
        )
    return pointers, stride


def accumulate(
    builder: Any,
    stop: Any,
    step: int,
    vector: Any,
    count: int,
    body: Callable[[Any, list[Any]], list[Any]],
) -> list[Any]:
    """Run ``body(offset, sums) -> sums`` for offset = 0, step, ... below ``stop``.

    The ``count`` sums start at zero. ``stop`` must be at least one step.
    """
    before = builder.block
    loop = builder.append_basic_block("block.loop")
    end = builder.append_basic_block("block.end")
    builder.branch(loop)
    builder.position_at_end(loop)
    offset = builder.phi(INT64)
    offset.add_incoming(INT64(0), before)
    sums = [builder.phi(vector) for _ in range(count)]
    for total in sums:
        total.add_incoming(ir.Constant(vector, None), before)
    new_sums = body(offset, sums)
    following = builder.add(offset, INT64(step))
    for total, new in zip(sums, new_sums, strict=True):
        total.add_incoming(new, builder.block)
    offset.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, stop), loop, end)
    builder.position_at_end(end)
    return new_sums


def shuffle(builder: Any, left: Any, right: Any, lanes: list[int]) -> Any:
    """Pick lanes of two vectors laid end to end."""
    mask = ir.Constant(ir.VectorType(INT32, len(lanes)), [INT32(lane) for lane in lanes])
    return builder.shuffle_vector(left, right, mask)


def halves(builder: Any, vector: Any) -> tuple[Any, Any]:
    """The lower and the upper half of a vector."""
    count = vector.type.count
    low = shuffle(builder, vector, vector, list(range(count // 2)))
    return low, shuffle(builder, vector, vector, list(range(count // 2, count)))


def sum_of_each(builder: Any, vectors: list[Any], add: Callable[[Any, Any], Any]) -> Any:
    """The lane sums of four vectors of 8 or 16 lanes, as one 4-lane vector.

    A transposing reduction: of 16 lanes 13 operations, where four separate sums take 32.
    """
    lanes = vectors[0].type.count
    groups = range(0, lanes, 4)
    even = [lane + half for lane in groups for half in (0, lanes, 1, lanes + 1)]
    odd = [lane + half for lane in groups for half in (2, lanes + 2, 3, lanes + 3)]
    pairs = []
    for left, right in ((vectors[0], vectors[1]), (vectors[2], vectors[3])):
        low = shuffle(builder, left, right, even)
        pairs.append(add(low, shuffle(builder, left, right, odd)))
    low_lanes = [lane + part for lane in groups for part in (0, 1, lanes, lanes + 1)]
    high_lanes = [lane + part for lane in groups for part in (2, 3, lanes + 2, lanes + 3)]
    total = add(
        shuffle(builder, pairs[0], pairs[1], low_lanes),
        shuffle(builder, pairs[0], pairs[1], high_lanes),
    )
    while total.type.count > 4:
        total = add(*halves(builder, total))
    return total


def splat(builder: Any, value: Any, count: int) -> Any:
    """A vector with one value in every lane."""
    undefined = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    first = builder.insert_element(undefined, value, INT32(0))
    return shuffle(builder, first, first, [0] * count)


def sort_key(builder: Any, value: Any) -> Any:
    """The integers that sort as floats do: all bits flipped if negative, else the sign bit."""
    bits = builder.bitcast(value, ir.VectorType(INT32, value.type.count))
    sign = ir.Constant(bits.type, [INT32(-(2**31))] * bits.type.count)
    last = ir.Constant(bits.type, [INT32(31)] * bits.type.count)
    return builder.xor(bits, builder.or_(builder.ashr(bits, last), sign))


def store_four(context: Any, builder: Any, sig: Any, args: Any, vector: Any) -> None:
    """Store four lanes at ``out[start:start + 4]``: out is the last argument, start the third."""
    out = array(context, builder, sig.args[-1], args[-1])
    target = builder.bitcast(builder.gep(out.data, [args[2]]), vector.type.as_pointer())
    builder.store(vector, target, align=4)


def declare(builder: Any, kind: Any, name: str) -> Any:
    """An LLVM intrinsic by its full name."""
    if name in builder.module.globals:
        return builder.module.globals[name]
    return ir.Function(builder.module, kind, name)


def call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Call an LLVM intrinsic by its full name."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(declare(builder, kind, name), arguments)
