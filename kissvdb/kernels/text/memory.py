"""Arrays by their addresses: a search reads those of many segments in one call, mapped ones too.

A segment is a row of int64 in a table, with the columns below; whoever calls keeps the arrays
alive. An index is taken as it is: nothing wraps, nothing is checked.
"""

from typing import Any, Final

from llvmlite import ir
from numba import types

from kissvdb.kernels import vector_ir as vir
from kissvdb.kernels.jit import intrinsic

#: Columns of a table of segments: the first row and the number of rows; then addresses and sizes.
FIRST: Final = 0
ROWS: Final = 1
PTR: Final = 2
STREAM: Final = 3
LENGTHS: Final = 4
FIELDS: Final = 5
FIELD_COUNT: Final = 6
TERMS: Final = 7
TERM_COUNT: Final = 8
ST: Final = 9
DOCS: Final = 10
TFS: Final = 11
MAX_TF: Final = 12
MIN_LENGTH: Final = 13
#: Of the terms that many rows have: their places, how many, and their rows in bits.
DENSE: Final = 14
DENSE_COUNT: Final = 15
BITS: Final = 16
COLUMNS: Final = 17

#: Columns of a list of rows: addresses of rows and counts, how many; bounds of count and length.
LIST_DOCS: Final = 0
LIST_TFS: Final = 1
LIST_SIZE: Final = 2
LIST_MAX_TF: Final = 3
LIST_MIN_LENGTH: Final = 4
LIST_LENGTHS: Final = 5
#: Where its rows are in bits too, 0 if they are not.
LIST_BITS: Final = 6
#: How many 64-bit words those are, behind which is for each how many rows come before it (int32).
LIST_WORDS: Final = 7
LIST_COLUMNS: Final = 8


def _loading(kind: Any, *, signed: bool) -> Any:
    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], kind.as_pointer())
        value = builder.load(builder.gep(pointer, [args[1]]))
        if kind == vir.INT64:
            return value
        return (builder.sext if signed else builder.zext)(value, vir.INT64)

    return types.int64(types.int64, types.int64), write


@intrinsic
def int32_at(typing: Any, address: Any, index: Any) -> Any:
    """Item ``index`` of the int32 array at ``address``, as int64."""
    return _loading(vir.INT32, signed=True)


@intrinsic
def int64_at(typing: Any, address: Any, index: Any) -> Any:
    """Item ``index`` of the int64 array at ``address``."""
    return _loading(vir.INT64, signed=True)


@intrinsic
def uint8_at(typing: Any, address: Any, index: Any) -> Any:
    """Item ``index`` of the uint8 array at ``address``, as int64."""
    return _loading(vir.INT8, signed=False)


@intrinsic
def uint16_at(typing: Any, address: Any, index: Any) -> Any:
    """Item ``index`` of the uint16 array at ``address``, as int64."""
    return _loading(ir.IntType(16), signed=False)


@intrinsic
def count_bits(typing: Any, word: Any) -> Any:
    """How many bits of a uint64 are set."""

    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return vir.call(builder, "llvm.ctpop.i64", vir.INT64, [args[0]])

    return types.int64(types.uint64), write


@intrinsic
def lowest_bit(typing: Any, word: Any) -> Any:
    """The number of the lowest set bit of a uint64 that is not 0."""

    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return vir.call(builder, "llvm.cttz.i64", vir.INT64, [args[0], ir.IntType(1)(1)])

    return types.int64(types.uint64), write
