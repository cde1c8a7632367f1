"""Keys in words of eight bytes: loaded, and hashed, at once instead of byte by byte."""

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types

from kissvdb.kernels import vector_ir as vir
from kissvdb.kernels.jit import Number, helper, intrinsic

MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
#: What a key may be read beyond its end.
PADDING: Final = 16


@intrinsic
def eight_at(typing: Any, address: Any, index: Any) -> Any:
    """The eight bytes from ``index`` on of the array of bytes at ``address``, as uint64; they may
    lie anywhere."""

    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        place = builder.gep(pointer, [args[1]])
        return builder.load(builder.bitcast(place, vir.INT64.as_pointer()), align=1)

    return types.uint64(types.int64, types.int64), write


@helper
def part_at(address: Number, index: Number, size: Number) -> Number:
    """The first bytes there, at most eight, and zeros behind them."""
    if size <= 0:
        return np.uint64(0)
    word = eight_at(address, index)
    if size >= 8:
        return word
    return word & ((np.uint64(1) << np.uint64(8 * size)) - np.uint64(1))


@helper
def mixed(value: Number, word: Number) -> Number:
    value = (value ^ word) * MULTIPLIER
    return value ^ (value >> np.uint64(32))


@helper
def hash_at(address: Number, start: Number, size: Number, prefix: Number, salt: Number) -> Number:
    """The hash of the key of a byte and then ``size`` bytes: as ``learning.hash_key``."""
    value = salt ^ np.uint64(size + 1)
    first = np.uint64(prefix) | part_at(address, start, min(size, np.int64(7))) << np.uint64(8)
    value = mixed(value, first)
    done = np.int64(7)
    while done < size:
        value = mixed(value, part_at(address, start + done, size - done))
        done += 8
    return np.int64(value & np.uint64(0xFFFFFFFF))
