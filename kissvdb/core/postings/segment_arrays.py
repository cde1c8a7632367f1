"""Text segments and their vocabulary as a few named arrays, to lie in files and be opened in place.

The arrays of all segments with one name lie one behind the other; the header, msgpack in uint8,
says how many items of each belong to which segment.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec
import numpy as np
import numpy.typing as npt

from kissvdb.core.postings.segment import Forward, Segment, bits_width, with_bits
from kissvdb.errors import Damaged

Array = npt.NDArray[Any]

FORMAT: Final = 1
_DTYPES: Final[dict[str, Any]] = {
    "ptr": np.int64,
    "stream": np.int32,
    "fields": np.int32,
    "lengths": np.uint16,
    "terms": np.int32,
    "st": np.int64,
    "docs": np.int32,
    "tfs": np.uint8,
    "max_tf": np.uint8,
    "min_length": np.uint16,
}
_OF_BITS: Final[dict[str, Any]] = {"dense": np.int32, "bits": np.uint64}
"""Not in files of earlier versions, which say so by their counts."""


class Counts(msgspec.Struct, array_like=True, frozen=True):
    """How many items a segment has."""

    rows: int
    stream: int
    fields: int
    terms: int
    postings: int
    dense: int = -1
    """Terms whose rows are in bits; -1 if they are to be put there."""


class Header(msgspec.Struct, array_like=True, frozen=True):
    """``analysis``: what the terms were made by; another one makes other terms of the same texts.
    ``totals``: for each field the rows that have it, and its terms in them."""

    format: int
    analysis: str
    salt: int
    paths: list[str]
    totals: list[tuple[int, int]]
    segments: list[Counts]


def pack(segments: Sequence[Segment]) -> tuple[list[Counts], dict[str, Array]]:
    """The counts of segments, and their arrays: the same names whatever is in them."""
    counts = [
        Counts(
            each.row_count,
            len(each.forward.stream),
            len(each.fields),
            len(each.terms),
            len(each.docs),
            len(each.dense),
        )
        for each in segments
    ]
    parts = [_arrays(segment) for segment in segments]
    return counts, {
        name: np.concatenate([np.zeros(0, dtype), *(part[name] for part in parts)])
        for name, dtype in {**_DTYPES, **_OF_BITS}.items()
    }


def _arrays(segment: Segment) -> dict[str, Array]:
    arrays = {name: getattr(segment, name) for name in _DTYPES if name not in ("ptr", "stream")}
    return {
        "ptr": segment.forward.ptr,
        "stream": segment.forward.stream,
        **arrays,
        "dense": segment.dense,
        "bits": segment.bits.ravel(),
    }


def _sizes(counts: Counts) -> dict[str, int]:
    return {
        "ptr": counts.rows + 1,
        "stream": counts.stream,
        "fields": counts.fields,
        "lengths": counts.fields * counts.rows,
        "terms": counts.terms,
        "st": counts.terms + 1,
        "docs": counts.postings,
        "tfs": counts.postings,
        "max_tf": counts.terms,
        "min_length": counts.terms,
    }


def encode(header: Header) -> Array:
    return np.frombuffer(msgspec.msgpack.encode(header), np.uint8)


def decode(arrays: Mapping[str, Array]) -> Header:
    """The header of stored arrays. Raises Damaged."""
    try:
        header = msgspec.msgpack.decode(arrays["header"].tobytes(), type=Header)
    except (msgspec.DecodeError, KeyError) as error:
        raise Damaged(f"text index: {error}") from error
    if header.format != FORMAT:
        raise Damaged(f"text index: unknown format {header.format}")
    return header


def unpack(header: Header, arrays: Mapping[str, Array]) -> list[Segment]:
    """The segments of ``pack``, on the same memory. Raises Damaged."""
    dtypes = {**_DTYPES, **_OF_BITS}
    taken = dict.fromkeys(dtypes, 0)

    def take(name: str, count: int) -> Array:
        array, start = arrays[name], taken[name]
        taken[name] = start + count
        if array.dtype != dtypes[name] or count < 0 or start + count > len(array):
            raise Damaged(f"text index: the array {name!r} is too short or of a wrong type")
        return array[start : start + count]

    segments = []
    try:
        for counts in header.segments:
            parts = {name: take(name, count) for name, count in _sizes(counts).items()}
            forward = Forward(counts.rows, parts.pop("ptr"), parts.pop("stream"))
            segment = Segment(forward, **parts)
            if counts.dense < 0:
                segments.append(with_bits(segment))
                continue
            width = bits_width(counts.rows)
            dense, bits = take("dense", counts.dense), take("bits", counts.dense * width)
            segments.append(attrs.evolve(segment, dense=dense, bits=bits.reshape(-1, width)))
    except KeyError as error:
        raise Damaged(f"text index: {error} is missing") from error
    return segments
