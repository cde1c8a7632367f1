"""Codes of rows in the collection's space: their names there, and their checksums.

They can always be made again from the rows.
"""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.store.space import Space
from kissvdb.kernels.arrays import Codes

Array = npt.NDArray[Any]

PRECISIONS: Final = ("q4", "q8", "none")
"""What a search reads, coarse to fine: 4-bit codes, int8 codes, float32 rows."""
_NONE: Array = np.zeros(0, np.float32)


@attrs.frozen
class CodeSum:
    """The checksum of an array of codes up to a row; it goes on from there."""

    rows: int
    crc32: int


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
    aux = _NONE if metric == "cosine" else space.array(f"{name}-aux", "<f4", 0, rows)
    return Codes(coded, aux, scale, mean)


def code_sums(
    coded: Iterable[tuple[str, Codes]], rows: int, before: Mapping[str, CodeSum]
) -> dict[str, CodeSum]:
    """The checksums of codes up to a row, by name; ``before``: those of fewer rows."""
    sums = {}
    for name, codes in coded:
        for part, array in ((name, codes.rows), (f"{name}-aux", codes.aux)):
            if array.size:
                start = before.get(part, CodeSum(0, 0))
                added = np.ascontiguousarray(array[start.rows : rows])
                sums[part] = CodeSum(rows, zlib.crc32(added.data, start.crc32))
    return sums
