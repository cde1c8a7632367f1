"""What signs lie in (see `signs`). Without the compiler: a start opens lists and needs none."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.arrays import DOT, padded
from kissvdb.kernels.ivf.lists import BLOCK_ROWS

Array = NDArray[Any]

TURNED = 128
"""Dimensions that are turned at once."""
WIDTH_MAX = 8192
"""Of more dimensions a sum of steps would not fit into 16 bits."""
AUX_BYTES = 8 * BLOCK_ROWS


class Signs(NamedTuple):
    """blocks: uint8 [blocks, 4 * padded dimensions + 256]; numbers: the same bytes as float32.
    centroids: float32 [lists, width of a row]."""

    blocks: Array
    numbers: Array
    centroids: Array


def block_bytes(dim: int) -> int:
    """The bytes of a block of rows of so many dimensions."""
    return 4 * padded(dim, TURNED) + AUX_BYTES


def signs_of(blocks: Array, centroids: Array) -> Signs:
    """Blocks uint8 [blocks, block_bytes] and the centroids they are coded by."""
    return Signs(blocks, blocks.view(np.float32), centroids)


def no_signs(centroids: Array) -> Signs:
    """None."""
    return signs_of(np.zeros((0, AUX_BYTES), np.uint8), centroids)


def fits(metric: int, dim: int) -> bool:
    """Whether rows have signs: those of ``dot`` are as long as they like, and centroids are not."""
    return metric != DOT and dim <= WIDTH_MAX
