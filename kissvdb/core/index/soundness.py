"""Whether an index leads to its rows: each is in one list; or links are rows, and a walk comes to
them.

A graph is not built again to compare it: that takes minutes, and another thread count or an older
version may have linked other neighbours as well. Codes are compared with checksums when opened.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kissvdb.core.index.disk import VamanaIndex, mend
from kissvdb.core.index.index import Index
from kissvdb.core.index.ivf import IvfIndex
from kissvdb.kernels.ivf import lists as row_lists

Array = npt.NDArray[Any]

UNREACHED_SHARE_MAX = 0.05
"""Near duplicates may be linked by nobody, and a search that lacks rows looks wider. More than this
part is no graph of these rows."""


def differences(index: Index, rows: int, notes: list[str]) -> list[str]:
    """What is wrong with an index of the first of so many rows; empty if nothing. What a server
    mends is added to ``notes``."""
    if index.size > rows:
        return [f"it covers {index.size} rows of {rows}"]
    arrays, fields = index.to_arrays(), index.to_fields()
    if isinstance(index, VamanaIndex) and index.pages is not None:
        arrays["links"], lost = index.pages.links(index.size)
        if len(lost):
            of = f"{len(lost)} of its {index.size} rows"
            notes.append(f"the pages of {of} are not what was written: a search mends them")
            # As that does: what is left is to be a graph.
            mend(arrays["links"], lost)
    if isinstance(index, IvfIndex):
        return _of_lists(index)
    if fields is None or "links" not in arrays:
        return []
    size, entry, top = index.size, int(fields["entry"]), int(fields["top"])
    return _of_graph(arrays, rows, size, entry, top)


def _of_lists(index: IvfIndex) -> list[str]:
    body = index.body
    if body is None:
        return []
    rows = np.sort(body.lists.rows[row_lists.slots(body.lists)])
    if not np.array_equal(rows, np.arange(index.size)):
        return ["a row is in two lists, or in none"]
    return []


def _of_graph(arrays: Mapping[str, Array], rows: int, size: int, entry: int, top: int) -> list[str]:
    links, upper, levels = arrays["links"], arrays["upper"], arrays["levels"]
    for name, each in (("links", links), ("upper links", upper)):
        # A growth that came to no end may have linked rows behind ``size``, which nobody follows.
        if len(each) and (each.min() < -1 or each.max() >= rows):
            return [f"its {name} lead to rows that are not there"]
    if not size:
        return []
    if not 0 <= entry < size or int(levels[entry]) != top or int(levels.max()) != top:
        return [f"searches begin at row {entry} in layer {top}, where it does not end"]
    if (links == np.arange(size)[:, None]).any():
        return ["a row is linked to itself"]
    unreached = size - int(_reached(links, levels).sum())
    if unreached > UNREACHED_SHARE_MAX * size:
        return [f"no link leads to {unreached} of its {size} rows"]
    return []


def _reached(links: Array, levels: Array) -> npt.NDArray[np.bool_]:
    """The rows that a walk of the bottom layer comes to from those in the layers above."""
    reached = levels > 0
    if not reached.any():
        reached[0] = True
    front = np.flatnonzero(reached)
    while len(front):
        near = np.unique(links[front])
        front = near[(near >= 0) & (near < len(links))]
        front = front[~reached[front]]
        reached[front] = True
    return reached
