"""Inner products of float32 rows."""

from functools import partial
from typing import Any

from llvmlite import ir

from kissvdb.kernels import vector_ir as vir

LANES = 16
BLOCK = ir.VectorType(vir.FLOAT32, LANES)


def _multiply_add(builder: Any, total: Any, left: Any, right: Any) -> Any:
    # `contract` allows one fused instruction where the processor has it and asks no more.
    product = builder.fmul(left, right, flags=("contract",))
    return builder.fadd(total, product, flags=("contract",))


def write_sums(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    """Write the sums of :func:`distance.dots` for rows of float32; the bias is not used."""
    rows, row_bytes = vir.four_rows(context, builder, sig, args)
    queries = vir.array(context, builder, sig.args[3], args[3])
    query = vir.address(
        builder, queries.data, builder.mul(args[4], vir.row_stride(builder, queries))
    )

    def block(offset: Any, sums: list[Any]) -> list[Any]:
        part = vir.load(builder, query, offset, BLOCK)
        return [
            _multiply_add(builder, total, vir.load(builder, row, offset, BLOCK), part)
            for row, total in zip(rows, sums, strict=True)
        ]

    sums = vir.accumulate(builder, row_bytes, 4 * LANES, BLOCK, 4, block)
    return vir.sum_of_each(builder, sums, partial(builder.fadd))
