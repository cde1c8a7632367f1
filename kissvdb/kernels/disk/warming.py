"""The kernels of this package on a few rows, so that they are compiled; see ``kernels.warmup``."""

from typing import Any

from numpy.typing import NDArray

from kissvdb.kernels.arrays import COSINE, Codes, Graph
from kissvdb.kernels.disk import search
from kissvdb.kernels.disk.packing import pack
from kissvdb.kernels.disk.reading import layout, page_room, reader_of
from kissvdb.kernels.disk.view import in_view, new_room

Array = NDArray[Any]


def run(graph: Graph, codes: Codes, rows: Array, dim: int) -> None:
    """Search the graph of these rows in pages. They are empty, so it finds out that they are not
    whole, and that is all the same to a compiler. codes: of one or two numbers a byte."""
    pages = layout(rows.shape[1], graph.links.shape[1])
    place, _ = pack(graph.links, graph.size, pages.per_page)
    words = page_room(-(-graph.size // pages.per_page), pages.page)
    room = new_room(pages, graph.size, in_view(8), 2, dim)
    reader = reader_of(place, words, room.row, -1, 0, room.part)
    search.search(graph, codes, pages, reader, COSINE, rows[:1].copy(), 2, 8, room)
