"""Which nodes share a page: a row, and those of its neighbours that have no place yet.

A search that reads the page of a row is likely to want its neighbours next (measured at a million
rows, four nodes a page: 74 pages a search unpacked, 59 so).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kissvdb.kernels.jit import Number, kernel

Array = NDArray[Any]


@kernel
def _pack(links: Array, size: Number, per_page: Number, place: Array, rows: Array) -> None:
    next_row = 0
    at = 0
    while at < size:
        while place[next_row] >= 0:
            next_row += 1
        place[next_row] = at
        rows[at] = next_row
        at += 1
        end = min((at + per_page - 1) // per_page * per_page, size)
        for i in range(links.shape[1]):
            neighbour = links[next_row, i]
            if at == end or neighbour < 0:
                break
            if neighbour < size and place[neighbour] < 0:
                place[neighbour] = at
                rows[at] = neighbour
                at += 1


def pack(links: Array, size: int, per_page: int) -> tuple[Array, Array]:
    """Where each row's node lies, and which row's node lies there; both int32 [size].

    links: int32 [>= size, n], -1 after the last. Pages have no gaps: where a row has too few
    neighbours without a place, the next row shares its page.
    """
    place = np.full(size, -1, dtype=np.int32)
    rows = np.zeros(size, dtype=np.int32)
    if size:
        _pack(links, size, per_page, place, rows)
    return place, rows
