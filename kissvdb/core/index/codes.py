"""Codes of rows: which of them an index reads, their names in the collection's space, and their
checksums.

They can always be made again from the rows.
"""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.store.space import RowData, Space
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.kernels.arrays import METRICS, Codes

Array = npt.NDArray[Any]

PRECISIONS: Final = ("q4", "q8", "none")
"""What a search reads, coarse to fine: 4-bit codes, int8 codes, float32 rows."""
AUTO_NONE_DIM_MAX, AUTO_Q8_DIM_MAX = 2, 11
TRAINING_ROWS_MAX = 4096
"""A codebook is trained on a sample of so many rows at most."""
NOTHING: Array = np.zeros(0, np.float32)


@attrs.frozen
class CodeSum:
    """The checksum of an array of codes up to a row; it goes on from there."""

    rows: int
    crc32: int


def first_precision(spec: CollectionSpec) -> str:
    """What a new body walks by. Few numbers say too little in 4 bits each: recall@10 of random
    vectors was 0.35 with 3 numbers, 0.95 with 6, 0.99 from 8 on; in 8 bits 1.0 from 3 on."""
    if spec.quantization != "auto":
        return spec.quantization
    if spec.dim <= AUTO_NONE_DIM_MAX and spec.options.store == "f32":
        return "none"
    return "q8" if spec.dim <= AUTO_Q8_DIM_MAX else "q4"


def codes_name(kind: str, trained_rows: int) -> str:
    """The name of codes in a space. ``kind``: ``int8``, or ``uint8`` for 4-bit.

    Those of other codebooks, trained on another number of rows, lie in arrays of their own:
    readers may be using them.
    """
    return f"codes{8 if kind == 'int8' else 4}-{trained_rows}"


def codes_in(
    space: Space, kind: str, rows: int, trained_rows: int, scale: Array, mean: Array, metric: str
) -> Codes:
    """Codes of at least ``rows`` rows in a space, with the codebook they were made with."""
    name = codes_name(kind, trained_rows)
    if kind == "int8":
        coded = space.array(name, "|i1", scale.shape[0], rows)
    else:
        coded = space.array(name, "|u1", scale.shape[0] // 2, rows)
    aux = NOTHING if metric == "cosine" else space.array(f"{name}-aux", "<f4", 0, rows)
    return Codes(coded, aux, scale, mean)


def code_sums(
    coded: Iterable[tuple[str, Codes]], rows: int, before: Mapping[str, CodeSum]
) -> dict[str, CodeSum]:
    """The checksums of codes up to a row, by name; ``before``: those of fewer rows."""
    sums = {}
    for name, codes in coded:
        for part, array in parts_of(name, codes).items():
            start = before.get(part, CodeSum(0, 0))
            added = np.ascontiguousarray(array[start.rows : rows])
            sums[part] = CodeSum(rows, zlib.crc32(added.data, start.crc32))
    return sums


def parts_of(name: str, codes: Codes) -> dict[str, Array]:
    """The arrays of codes that have checksums, by name."""
    parts = {name: codes.rows, f"{name}-aux": codes.aux}
    return {part: array for part, array in parts.items() if array.size}


def float32_codes(quantize: Any, aux: Array, data: RowData, first: int, last: int) -> Codes:
    """The rows themselves as codes, up to ``last``. ``quantize``: that of the compiled code.
    ``aux``: what those before ``first`` have."""
    metric = METRICS[data.metric]
    codes: Codes = quantize.float32_codes(data.vectors, metric)
    codes.aux[:first] = aux[:first]
    quantize.encode_float32(data.vectors, first, last, metric, codes)
    return codes
