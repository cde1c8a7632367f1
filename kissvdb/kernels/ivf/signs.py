"""One bit for each number of a row: what a list is read by first, a quarter of a 4-bit code.

A row is coded as what it is off the centroid of its list, by the signs of that after a rotation
which makes all dimensions alike (RaBitQ: Gao and Long, SIGMOD 2024). With c the centroid, r = x - c
turned and s its signs, ``x.q`` is about ``c.q + r.c - g s.c + g s.q``, where g, the square of r by
the sum of its numbers' sizes, makes the product of r with itself right. Only ``s.q`` needs the
signs, and it is the same for all lists: what four signs add to it stands in a table of sixteen
bytes, and one instruction looks 32 rows up in it (Andre, Kermarrec and Le Scouarnec, VLDB 2015).

A block has 32 rows: for each eight dimensions a byte of every row; then, as float32,
``r.c - g s.c`` of every row, for l2 less half of the square of x, and g of every row.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from kissvdb.kernels import vector_ir as vir
from kissvdb.kernels.arrays import L2
from kissvdb.kernels.features import SHUFFLES
from kissvdb.kernels.ivf.lists import BLOCK_ROWS
from kissvdb.kernels.ivf.sign_blocks import AUX_BYTES as AUX_BYTES
from kissvdb.kernels.ivf.sign_blocks import TURNED as TURNED
from kissvdb.kernels.ivf.sign_blocks import Signs as Signs
from kissvdb.kernels.ivf.sign_blocks import block_bytes as block_bytes
from kissvdb.kernels.ivf.sign_blocks import no_signs as no_signs
from kissvdb.kernels.ivf.sign_blocks import signs_of as signs_of
from kissvdb.kernels.jit import Number, helper, intrinsic, kernel

Array = NDArray[Any]

STEPS = 31
"""The greatest number in a table: eight of them are added within a byte."""
DEVIATION = 0.6
"""Of the error of ``s.q``, for each unit that the query is off the centroid: sqrt(1 - 2 / pi)."""
DEVIATIONS = 2.0
"""So many of them a row may be wrong and is still found."""
SLACK = 1e-4
"""What rounding may take, for each unit of the query's square."""
ROWS_AT_ONCE = 1 << 16

LANES = 32
BYTES = ir.VectorType(vir.INT8, LANES)
WORDS = ir.VectorType(ir.IntType(16), LANES // 2)
FLOATS = ir.VectorType(vir.FLOAT32, LANES)


class Signed(NamedTuple):
    """A query as signs meet it. tables: uint8 [dimensions / 4, 32], what four signs add, twice.
    ``s.q`` is ``step * sum + base``, float32; ``square`` is that of the query, float64."""

    tables: Array
    step: Any
    base: Any
    square: Any


@helper
def _flip(index: Number) -> Number:
    """A sign by chance, always the same (splitmix64: Steele, Lea, Flood, OOPSLA 2014)."""
    mixed = np.uint64(index + 1) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.float32(1.0) - np.float32((mixed >> np.uint64(62)) & np.uint64(2))


@helper
def _turn(rows: Array, row: Number, values: Array) -> None:
    """Put a row, turned, into ``values[0]``; float32 [2, padded dimensions].

    Twice: signs by chance, then a Hadamard transform of every 128; between them each 128 get a part
    of all others (fast random projections: Ailon and Chazelle, STOC 2006).
    """
    width, parts = values.shape[1], values.shape[1] // TURNED
    for i in range(width):
        values[0, i] = np.float32(0.0)
    for i in range(min(rows.shape[1], width)):
        values[0, i] = rows[row, i]
    for turn in range(2):
        for i in range(width):
            values[0, i] *= _flip(turn * width + i)
        for base in range(0, width, TURNED):
            half = 1
            while half < TURNED:
                for first in range(base, base + TURNED, 2 * half):
                    for i in range(first, first + half):
                        left, right = values[0, i], values[0, i + half]
                        values[0, i], values[0, i + half] = left + right, left - right
                half *= 2
        for i in range(width):
            values[0, i] *= np.float32(TURNED**-0.5)
        if turn == 0 and parts > 1:
            for i in range(width):
                values[1, i % parts * TURNED + i // parts] = values[0, i]
            for i in range(width):
                values[0, i] = values[1, i]


@kernel
def _turn_all(rows: Array, turned: Array, values: Array) -> None:
    for row in range(rows.shape[0]):
        _turn(rows, row, values)
        for i in range(values.shape[1]):
            turned[row, i] = values[0, i]


@kernel
def _encode(
    rows: Array,
    labels: Array,
    slots: Array,
    turned: Array,
    metric: Number,
    blocks: Array,
    numbers: Array,
    values: Array,
) -> None:
    width = turned.shape[1]
    for row in range(rows.shape[0]):
        _turn(rows, row, values)
        label, lane, block = labels[row], slots[row] % BLOCK_ROWS, slots[row] // BLOCK_ROWS
        square, size, along, across, own = 0.0, 0.0, 0.0, 0.0, 0.0
        for first in range(0, width, 8):
            byte = 0
            for i in range(8):
                middle = np.float64(turned[label, first + i])
                own += np.float64(values[0, first + i]) ** 2
                off = np.float64(values[0, first + i]) - middle
                square += off * off
                size += abs(off)
                along += off * middle
                if off >= 0.0:
                    byte |= 1 << i
                    across += middle
                else:
                    across -= middle
            blocks[block, first // 8 * BLOCK_ROWS + lane] = np.uint8(byte)
        gain = square / size if size > 0.0 else 0.0
        fixed = along - gain * across
        if metric == L2:
            fixed -= 0.5 * own
        numbers[block, width + lane] = np.float32(fixed)
        numbers[block, width + BLOCK_ROWS + lane] = np.float32(gain)


def encode(signs: Signs, rows: Array, labels: Array, slots: Array, metric: int) -> None:
    """Write the signs of rows, float32 [n, width], into their slots, int64 [n]. labels: int32 [n],
    their lists."""
    width = signs.blocks.shape[1] // 4 - AUX_BYTES // 4
    values = np.zeros((2, width), np.float32)
    turned = np.zeros((len(signs.centroids), width), np.float32)
    _turn_all(_as_compiled(signs.centroids), turned, values)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        _encode(
            *(_as_compiled(rows[part]), labels[part], slots[part], turned),
            *(metric, signs.blocks, signs.numbers, values),
        )


def _as_compiled(rows: Array) -> Array:
    """Compiled code is of one type of array, which a read-only one is not."""
    return np.require(rows, np.float32, ("C_CONTIGUOUS", "WRITEABLE"))


@helper
def signed_query(queries: Array, at: Number, values: Array, tables: Array) -> Any:
    """A query in the form that meets signs. values, tables: room for it."""
    _turn(queries, at, values)
    groups = tables.shape[0]
    most, total, square = np.float32(0.0), np.float32(0.0), 0.0
    for group in range(groups):
        size = np.float32(0.0)
        for i in range(4):
            value = values[0, 4 * group + i]
            size += abs(value)
            square += np.float64(value) * np.float64(value)
        total += size
        most = max(most, size)
    step = np.float32(2.0) * most / np.float32(STEPS) if most > 0.0 else np.float32(1.0)
    for group in range(groups):
        for pattern in range(16):
            added = np.float32(0.0)
            for i in range(4):
                # What a sign takes from the greatest sum there is nothing, or twice its number.
                value = values[0, 4 * group + i]
                added += abs(value) + (value if (pattern >> i) & 1 else -value)
            steps = np.uint8(np.rint(added / step))
            tables[group, pattern] = steps
            tables[group, pattern + 16] = steps
    # Each entry is rounded by a twelfth of a step's square.
    rounded = 3.0 * np.float64(step) * np.sqrt(groups / 12.0)
    return Signed(tables, step, np.float32(rounded - np.float64(total)), square)


@helper
def margin(signed: Signed, across: Number, centre_square: Number) -> Number:
    """What is added to ``s.q`` of rows of a list, so that none is taken for farther than it is:
    float32. across: the product of query and centroid."""
    off = max(signed.square + centre_square - 2.0 * across, 0.0)
    return np.float32(DEVIATIONS * DEVIATION * np.sqrt(off)) + signed.base


@helper
def least_product(signed: Signed, metric: Number, far: Number) -> Number:
    """The least ``x.q``, for l2 less half of the square of x, of rows as far as ``far``, minus an
    exact score, or as a copy of the query is, if that is less."""
    if metric == L2:
        return min(0.5 * (signed.square - far), 0.5 * signed.square) - SLACK * signed.square
    return min(-far, signed.square) - SLACK * signed.square


@intrinsic
def _near_by_shuffles(
    typing: Any, blocks: Any, block: Any, tables: Any, step: Any, base: Any, least: Any
) -> Any:
    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        view = vir.array(context, builder, sig.args[0], args[0])
        stride = vir.row_stride(builder, view)
        row = vir.address(builder, view.data, builder.mul(args[1], stride))
        table = vir.array(context, builder, sig.args[2], args[2]).data
        low_half = ir.Constant(BYTES, [vir.INT8(15)] * LANES)
        low_byte = ir.Constant(WORDS, [WORDS.element(255)] * WORDS.count)

        def moved(words: Any, bits: int) -> Any:
            return builder.lshr(words, ir.Constant(WORDS, [WORDS.element(bits)] * WORDS.count))

        def found(entries: Any, patterns: Any) -> Any:
            return vir.call(builder, "llvm.x86.avx2.pshuf.b", BYTES, [entries, patterns])

        def body(offset: Any, sums: list[Any]) -> list[Any]:
            added = ir.Constant(BYTES, None)
            for part in range(4):
                packed = vir.load(builder, row, builder.add(offset, vir.INT64(LANES * part)), BYTES)
                at = builder.add(builder.shl(offset, vir.INT64(1)), vir.INT64(2 * LANES * part))
                low = builder.and_(packed, low_half)
                high = builder.bitcast(moved(builder.bitcast(packed, WORDS), 4), BYTES)
                first = vir.load(builder, table, at, BYTES)
                second = vir.load(builder, table, builder.add(at, vir.INT64(LANES)), BYTES)
                added = builder.add(added, found(first, low))
                added = builder.add(added, found(second, builder.and_(high, low_half)))
            words = builder.bitcast(added, WORDS)
            even = builder.add(sums[0], builder.and_(words, low_byte))
            return [even, builder.add(sums[1], moved(words, 8))]

        aux = builder.sub(stride, vir.INT64(AUX_BYTES))
        even, odd = vir.accumulate(builder, aux, 4 * LANES, WORDS, 2, body)
        order = [lane + half for lane in range(LANES // 2) for half in (0, LANES // 2)]
        sums = builder.uitofp(
            builder.zext(vir.shuffle(builder, even, odd, order), ir.VectorType(vir.INT32, LANES)),
            FLOATS,
        )
        gain = vir.load(builder, row, builder.add(aux, vir.INT64(4 * LANES)), FLOATS)
        product = builder.fmul(vir.splat(builder, args[3], LANES), sums)
        product = builder.fmul(gain, builder.fadd(product, vir.splat(builder, args[4], LANES)))
        product = builder.fadd(vir.load(builder, row, aux, FLOATS), product)
        near = builder.fcmp_ordered(">=", product, vir.splat(builder, args[5], LANES))
        return builder.zext(builder.bitcast(near, vir.INT32), vir.INT64)

    one = types.float32
    return types.int64(blocks, types.int64, tables, one, one, one), write


@helper
def _near_by_steps(
    signs: Signs, block: Number, tables: Array, step: Number, base: Number, least: Number
) -> Number:
    """The same for any processor."""
    near = np.int64(0)
    width = tables.shape[0] * 4
    for lane in range(BLOCK_ROWS):
        total: Number = 0
        for pair in range(tables.shape[0] // 2):
            packed = signs.blocks[block, pair * BLOCK_ROWS + lane]
            total += np.int64(tables[2 * pair, packed & 15])
            total += np.int64(tables[2 * pair + 1, packed >> 4])
        gain = signs.numbers[block, width + BLOCK_ROWS + lane]
        product = step * np.float32(total) + base
        product = signs.numbers[block, width + lane] + gain * product
        near |= np.int64(product >= least) << lane
    return near


@helper
def near_rows(signs: Signs, block: Number, signed: Signed, base: Number, least: Number) -> Number:
    """A mask of the slots of a block whose rows may have a product with the query, less that of the
    centroid, of ``least`` (float32) or more. base: the ``margin`` of the list."""
    if SHUFFLES:
        return _near_by_shuffles(signs.blocks, block, signed.tables, signed.step, base, least)
    return _near_by_steps(signs, block, signed.tables, signed.step, base, least)
