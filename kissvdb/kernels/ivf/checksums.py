"""Checksums of the blocks of lists: of slots that hold a row: others may be being written."""

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.arrays import Codes
from kissvdb.kernels.ivf.lists import BLOCK_ROWS, Lists, filled
from kissvdb.kernels.ivf.sign_blocks import AUX_BYTES, Signs

Array = NDArray[Any]


def block_sums(lists: Lists, codes: Codes, signs: Signs, blocks: Array) -> Array:
    """The checksums of blocks by their numbers, uint32: of row numbers, codes by slot, signs."""
    rows = filled(lists)[blocks].tolist()
    sums = np.zeros(len(blocks), np.uint32)
    by_slot = codes.rows.dtype != np.float32
    for place, (block, count) in enumerate(zip(blocks.tolist(), rows, strict=True)):
        here = slice(block * BLOCK_ROWS, block * BLOCK_ROWS + count)
        crc32 = zlib.crc32(lists.rows[here].data)
        if by_slot:
            crc32 = zlib.crc32(codes.rows[here].data, crc32)
            if codes.aux.size:
                crc32 = zlib.crc32(codes.aux[here].data, crc32)
            if len(signs.blocks):
                crc32 = zlib.crc32(_signs_of(signs.blocks[block], count), crc32)
        sums[place] = crc32
    return sums


def _signs_of(block: Array, rows: int) -> Any:
    """What a block of signs says of its first rows."""
    if rows == BLOCK_ROWS:
        return block.data
    codes, numbers = np.split(block, [len(block) - AUX_BYTES])
    here = numbers.view(np.float32).reshape(-1, BLOCK_ROWS)[:, :rows]
    return codes.reshape(-1, BLOCK_ROWS)[:, :rows].tobytes() + here.tobytes()
