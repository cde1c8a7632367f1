"""The graph of an index packed into pages of the collection's space: see ``kernels.disk``.

A set of pages is written once and never changed. The next one is another array, so readers keep
theirs; each page has a checksum, which is compared whenever it is read.
"""

import os
import weakref
from collections import deque
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.bitmaps import Words
from kissvdb.core.store.space import RowData, Space
from kissvdb.errors import Damaged
from kissvdb.kernels.arrays import METRICS, POOL_PADDING, Codes, Graph, aligned_zeros

Array = npt.NDArray[Any]

CHUNK_PAGES = 2048
"""Written, or read for their links, at once: 8 MiB for rows of up to 1,000 numbers."""
POOL_ENTRIES_MIN = 1024
_NO_BITMAP = np.zeros(0, np.uint64)


@attrs.define(eq=False)
class Pages:
    """The packed nodes of the rows 0 to ``size - 1``. ``number``: of this set, in its name.

    layout: ``kernels.disk.reading.Layout``. place: int32 [size], where the node of a row is, in
    nodes. array: int32 [pages, layout.page], all of them. file: a descriptor, and the byte where
    they begin; None: they are in memory. damaged: whether a page was not what was written.
    """

    number: int
    layout: Any
    place: Array
    array: Array
    file: tuple[int, int] | None
    damaged: bool = False
    _rooms: deque[Any] = attrs.field(factory=deque, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.file is not None:
            weakref.finalize(self, os.close, self.file[0])

    @property
    def size(self) -> int:
        """How many rows have a node."""
        return len(self.place)

    @property
    def written_at_ms(self) -> int | None:
        """The Unix time at which the file was written; None in memory."""
        return None if self.file is None else os.fstat(self.file[0]).st_mtime_ns // 1_000_000

    @property
    def nbytes(self) -> int:
        """Bytes of the pages and of the places."""
        return int(self.array.nbytes + self.place.nbytes)

    def search(
        self,
        graph: Graph,
        codes: Codes,
        metric: str,
        queries: Array,
        k: int,
        ef: int,
        beam: int,
        allow: Words | None,
        allowed: int,
        *,
        sure: int | None,
        cut: Array | None,
    ) -> tuple[Array, Array, Array]:
        """As ``kernels.disk.search.search``."""
        from kissvdb.kernels.disk.reading import reader_of
        from kissvdb.kernels.disk.search import search
        from kissvdb.kernels.disk.view import in_view
        from kissvdb.kernels.graph.filtered import REACH

        ef = max(ef, k)
        entries = in_view(ef)
        if allow is not None:
            entries = max(ef, min(REACH * ef * graph.size // max(allowed, 1), graph.size))
        room = self._take_room(entries, beam, codes)
        words, fd, start = room.words, -1, 0
        if self.file is None:
            words = self.array.reshape(-1)
        else:
            fd, start = self.file
        reader = reader_of(self.place, words, room.row, fd, start, room.part)
        chosen = _NO_BITMAP if allow is None else allow
        found: tuple[Array, Array, Array] = search(
            graph,
            codes,
            self.layout,
            reader,
            METRICS[metric],
            queries,
            k,
            ef,
            room,
            chosen,
            allowed,
            sure=sure,
            cut=cut,
        )
        # After an error it is not given back: what is in there is not known.
        self._rooms.append(room)
        return found

    def links(self, rows: int) -> tuple[Array, Array]:
        """The links of all nodes, int32 [rows, links], with room for so many rows, and the numbers
        of those in pages that are not what was written: these have none."""
        layout = self.layout
        found = aligned_zeros((max(rows, self.size), layout.links), np.int32)
        found.fill(-1)
        lost = [np.zeros(0, np.int64)]
        rows_at = np.argsort(self.place)
        for first in range(0, len(self.array), CHUNK_PAGES):
            pages = np.array(self.array[first : first + CHUNK_PAGES])
            whole = pages.view(np.uint32)[:, -1] == _checksums(pages, first)
            for slot in range(layout.per_page):
                here = rows_at[first * layout.per_page + slot :: layout.per_page][: len(pages)]
                begin = slot * layout.node + layout.width
                good = whole[: len(here)]
                found[here[good]] = pages[: len(here)][good, begin : begin + layout.links]
                lost.append(here[~good])
        return found, np.sort(np.concatenate(lost))

    def _take_room(self, entries: int, beam: int, codes: Codes) -> Any:
        from kissvdb.kernels.disk.view import new_room

        try:
            room = self._rooms.pop()
        except IndexError:
            entries = max(entries, POOL_ENTRIES_MIN)
        else:
            if room.near.shape[0] - POOL_PADDING >= entries and len(room.pages) == beam:
                return room
        return new_room(self.layout, self.size, entries, beam, codes.scale.shape[0])


def written(space: Space, number: int, graph: Graph, data: RowData) -> Pages:
    """Pack the rows of a graph, with its links, into a new set of pages. Raises PersistenceFailed,
    and OSError when no more files can be opened now."""
    from kissvdb.kernels.disk.packing import pack

    layout = _layout_of(data, graph.links.shape[1])
    place, rows = pack(graph.links, graph.size, layout.per_page)
    count = -(-graph.size // layout.per_page)
    array = space.array(_name(number), "<i4", layout.page, count)[:count]
    for first in range(0, count, CHUNK_PAGES):
        pages = np.zeros((min(CHUNK_PAGES, count - first), layout.page), np.int32)
        for slot in range(layout.per_page):
            begin = slot * layout.node
            here = rows[first * layout.per_page + slot :: layout.per_page][: len(pages)]
            pages[:, begin + layout.node - 1] = -1
            nodes = pages[: len(here), begin : begin + layout.node]
            nodes[:, : layout.width] = data.vectors[here].astype(np.float32, copy=False).view("<i4")
            nodes[:, layout.width : -1] = graph.links[here]
            nodes[:, -1] = here
        pages.view(np.uint32)[:, -1] = _checksums(pages, first)
        array[first : first + len(pages)] = pages
    return Pages(number, layout, place, array, _file(space, number))


def opened(space: Space, number: int, place: Array, links: int, data: RowData) -> Pages:
    """The pages of that number, as they were written. Raises Damaged if they are not there or cut
    off, and OSError when no more files can be opened now."""
    layout = _layout_of(data, links)
    count = -(-len(place) // layout.per_page)
    array = space.array(_name(number), "<i4", layout.page, count)[:count]
    if place.ndim != 1 or not np.array_equal(np.sort(place), np.arange(len(place))):
        raise Damaged("the places of the nodes are not those of the rows")
    return Pages(number, layout, place, array, _file(space, number))


def name_of(pages: Pages) -> str:
    """The name of their array in the space."""
    return _name(pages.number)


def _name(number: int) -> str:
    return f"pages-{number}"


def _file(space: Space, number: int) -> tuple[int, int] | None:
    from kissvdb.kernels.disk.reading import READS_FILES

    file = space.open_file(_name(number)) if READS_FILES else None
    if file is not None:
        # What is read at random is not to be read ahead.
        os.posix_fadvise(file[0], 0, 0, os.POSIX_FADV_RANDOM)
    return file


def _layout_of(data: RowData, links: int) -> Any:
    from kissvdb.kernels.disk.reading import layout

    return layout(data.vectors.shape[1], links)


def _checksums(pages: Array, first: int) -> Array:
    from kissvdb.kernels.disk.reading import checksums

    return checksums(pages, first)
