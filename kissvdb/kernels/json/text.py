"""Bytes of a text that ends with PADDING zeros: no look at one needs a look at the end."""

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from kissvdb.kernels import vector_ir as vir
from kissvdb.kernels.jit import Number, helper, intrinsic

Array = NDArray[Any]

#: So many zeros stand behind a text.
PADDING = 16
#: Instead of a place: the text is to be read by somebody else.
UNUSUAL = -1

EIGHT_ZEROS = np.uint64(0x3030303030303030)
EIGHT_SIXES = np.uint64(0x0606060606060606)
UPPER_HALVES = np.uint64(0xF0F0F0F0F0F0F0F0)
ZERO = 0x30


@intrinsic
def byte_at(typing: Any, text: Any, at: Any) -> Any:
    """The byte at a place, int64."""

    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = vir.array(context, builder, sig.args[0], args[0]).data
        return builder.zext(builder.load(builder.gep(data, [args[1]])), vir.INT64)

    return types.int64(text, types.int64), write


@intrinsic
def word_at(typing: Any, text: Any, at: Any) -> Any:
    """The eight bytes from a place on, uint64, the first of them lowest."""

    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = vir.array(context, builder, sig.args[0], args[0]).data
        return vir.load(builder, data, args[1], vir.INT64)

    return types.uint64(text, types.int64), write


@intrinsic
def put_byte(typing: Any, out: Any, at: Any, byte: Any) -> Any:
    """Write a byte (int64)."""

    def write(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = vir.array(context, builder, sig.args[0], args[0]).data
        builder.store(builder.trunc(args[2], vir.INT8), builder.gep(data, [args[1]]))
        return context.get_dummy_value()

    return types.void(out, types.int64, types.int64), write


@helper
def skip_space(text: Array, at: Number) -> Number:
    """The first place from ``at`` on without white space."""
    byte = byte_at(text, at)
    while byte == 32 or byte == 10 or byte == 13 or byte == 9:
        at += 1
        byte = byte_at(text, at)
    return at


@helper
def is_digit(text: Array, at: Number) -> Number:
    """Whether a digit is there."""
    return np.uint64(byte_at(text, at) - ZERO) < np.uint64(10)


@helper
def are_eight_digits(word: Number) -> Number:
    """Whether all bytes of a word are digits."""
    return (word & UPPER_HALVES) == EIGHT_ZEROS and (
        (word + EIGHT_SIXES) & UPPER_HALVES
    ) == EIGHT_ZEROS


@helper
def eight_digits(word: Number) -> Number:
    """The number that eight digits are: pairs, then fours, then all at once."""
    word -= EIGHT_ZEROS
    word = word * np.uint64(10) + (word >> np.uint64(8))
    first = (word & np.uint64(0x000000FF000000FF)) * np.uint64(0x000F424000000064)
    second = ((word >> np.uint64(16)) & np.uint64(0x000000FF000000FF)) * np.uint64(
        0x0000271000000001
    )
    return (first + second) >> np.uint64(32)
