"""The arrays that kernels share, as plain named tuples, and how to allocate them.

Numba takes a named tuple of arrays as it is, so these are shapes and dtypes with names, nothing
more. n is a capacity in rows; how many of them count is said by ``Graph.size`` or by an argument.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

COSINE: Final = 0
DOT: Final = 1
L2: Final = 2
#: Added to a metric: the rows are float16, see ``exact``.
HALVES: Final = 4
METRIC_BITS: Final = 3
#: Metric names as users write them.
METRICS: Final = {"cosine": COSINE, "dot": DOT, "l2": L2}

LINE_BYTES: Final = 64
#: The vector pool reads and writes whole vectors behind its end.
POOL_PADDING: Final = 24
#: Blocks of four rows and of sixteen keys overhang the end of a list of ids.
LIST_PADDING: Final = 16
LEVELS_MAX: Final = 12


class Codes(NamedTuple):
    """Rows as a search reads them. Build them with ``quantize``.

    rows: float32 [n, multiple of 16], int8 [n, multiple of 64] or uint8 [n, multiple of 64], the
    last with two 4-bit codes in a byte. aux: float32 [n], or [0] for cosine. scale, mean: float32
    [dimensions of a row]: a stored code c stands for ``mean + scale * c``; unused for float32 rows.
    """

    rows: Array
    aux: Array
    scale: Array
    mean: Array


class Graph(NamedTuple):
    """A navigable graph in layers (HNSW: Malkov and Yashunin, arXiv:1603.09320).

    links: int32 [n, 2 * m], neighbours in the bottom layer, -1 after the last. levels: uint8 [n],
    the highest layer of each row. upper_first: int64 [n], the row in ``upper`` of a node's layer 1
    (layer l is l - 1 behind it). upper: int32 [rows, m]. entry: the row where searches begin, -1
    in an empty graph. top: its layer. size: rows linked so far; readers skip ids >= size.

    A writer changes the arrays in place and publishes a new tuple: a reader that holds an older
    one sees rows of links change under it, never an id out of bounds.
    """

    links: Array
    levels: Array
    upper_first: Array
    upper: Array
    entry: int
    top: int
    size: int


class Query(NamedTuple):
    """What rows are measured against, in the form of their codes; made and used in kernels.

    rows: float32 for float32 codes, else int8, 2-D; row: which of them. form (int64), factor,
    offset, weight (float32): how a product becomes a distance, see ``distance``. bias: int32, what
    ``distance.dots`` takes off. tie: int64, what ids in a pool are xored with, see ``pool``.
    shift, spread, slope (float64): a distance and the shift are about minus the exact score, and
    the square of the error's deviation is ``spread + slope * farness``, see ``rescore``.
    """

    rows: Array
    row: Any
    form: Any
    factor: Any
    offset: Any
    weight: Any
    bias: Any
    tie: Any
    shift: Any
    spread: Any
    slope: Any


class Scratch(NamedTuple):
    """Working memory of one thread: never shared, reused from call to call.

    stamps: uint8 [n], marks visited rows; epoch: int64 [1], the current mark. pool, results:
    uint64 [entries + POOL_PADDING]. ids, chosen: int32; dots: float32; keys: uint32, all as long as
    three rows of links + LIST_PADDING. query: int8 [1, dimensions, padded].
    """

    stamps: Array
    epoch: Array
    pool: Array
    results: Array
    ids: Array
    dots: Array
    keys: Array
    chosen: Array
    query: Array


def padded(dim: int, multiple: int) -> int:
    """The next multiple at or above ``dim``."""
    return -(-dim // multiple) * multiple


def aligned_zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array of zeros whose first byte starts a cache line, so that rows do not straddle one."""
    count = int(np.prod(shape))
    size = count * np.dtype(dtype).itemsize
    raw = np.zeros(size + LINE_BYTES, dtype=np.uint8)
    start = -raw.ctypes.data % LINE_BYTES
    aligned: Array = raw[start : start + size].view(dtype).reshape(shape)
    return aligned


def new_scratch(capacity: int, pool_max: int, links_max: int, dim: int) -> Scratch:
    """Working memory for graphs of up to ``capacity`` rows.

    pool_max: the most entries a pool may hold (ef, or the traversal pool of a filtered search).
    links_max: the width of ``Graph.links``. dim: the dimensions of a vector.
    """
    # Building has a full row choose among at least twice the links it has room for.
    pool_max = max(pool_max, 2 * links_max)
    # A search gathers the neighbours of three rows at a time, a scan 64 rows.
    length = max(3 * links_max, 64) + LIST_PADDING
    return Scratch(
        stamps=np.zeros(max(capacity, 1), dtype=np.uint8),
        epoch=np.zeros(1, dtype=np.int64),
        pool=aligned_zeros((pool_max + POOL_PADDING,), np.uint64),
        results=aligned_zeros((pool_max + POOL_PADDING,), np.uint64),
        ids=np.zeros(length, dtype=np.int32),
        dots=np.zeros(length, dtype=np.float32),
        keys=np.zeros(length, dtype=np.uint32),
        chosen=np.zeros(length, dtype=np.int32),
        query=aligned_zeros((1, padded(dim, 128)), np.int8),
    )
