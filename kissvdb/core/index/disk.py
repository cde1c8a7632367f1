"""The graph index on disk: built in memory as ``GraphIndex`` is, then packed into pages.

While rows come it is a graph in memory, and searched as one. When no more wait it is packed: links
and rows lie together in pages of a file then, and memory has the codes and the upper layers. It is
unpacked again for the next rows when these are worth it: they are scanned until then, and all pages
are written anew (FreshDiskANN: Singh et al., arXiv:2105.09613, has a small graph for them).

Vamana's own rule of choosing neighbours (robust prune with alpha 1.2) was measured beside that of
HNSW and found no more for its cost, so the graph is the same.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core.bitmaps import Words
from kissvdb.core.index import disk_pages, graph_growth
from kissvdb.core.index.codes import CodeSum, first_precision
from kissvdb.core.index.disk_pages import Pages
from kissvdb.core.index.graph import GraphIndex, layers_bytes
from kissvdb.core.index.graph_body import Body
from kissvdb.core.index.index import Answer
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.store.policy import Policy
from kissvdb.core.store.space import RowData, Space
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.errors import Damaged

Array = npt.NDArray[Any]

LIST_SIZE = 64
"""What a walk keeps in view unless it is said: recall 0.95 at a million rows."""
EF_BETWEEN = (80, 112, 160, 224)
BEAM_WIDTH = 8
PACK_BEHIND = 256
"""It is packed when fewer rows than that wait to be linked."""
UNPACK_SHARE = 20
UNPACK_ROWS_MAX = 16_384
"""It is unpacked when its tail is that part of it, or so many rows: all is to be written anew."""
SLOWER = 8
"""A step of a walk on disk takes so many times that of one in memory."""
THREAD_NUMBERS = 1 << 62
"""More than any search on the event loop may read: pages may have to come from the disk."""


@attrs.frozen(eq=False)
class VamanaIndex(GraphIndex):
    """``pages``: the nodes, if it is packed: then ``body.graph`` has no links. ``packed``: how
    often it was, which is the number of the last pages."""

    name: ClassVar[str] = "vamana"

    pages: Pages | None = None
    packed: int = 0

    @classmethod
    def new(cls, spec: CollectionSpec, kernels: Kernels) -> "VamanaIndex":
        """One of no rows. It is never searched by the rows alone: nodes have them."""
        precision = first_precision(spec)
        return cls(spec, kernels, "q8" if precision == "none" else precision)

    @property
    def nbytes(self) -> int:
        """As ``Index.nbytes``."""
        return super().nbytes + (0 if self.pages is None else self.pages.nbytes)

    @classmethod
    def row_bytes(cls, spec: CollectionSpec) -> tuple[int, int]:
        """As ``Index.row_bytes``: pages have the links, and the row once more."""
        _, codes = super().row_bytes(spec)
        return 4 + layers_bytes(spec), codes + 4 * (spec.dim + degree_of(spec))

    @property
    def passing_bytes(self) -> int:
        """As ``Index.passing_bytes``: the links, until they are in pages."""
        if self.body is None or self.pages is not None:
            return 0
        return int(self.body.graph.links.nbytes)

    @property
    def unfinished(self) -> bool:
        """As ``Index.unfinished``: pages that are damaged are to be written anew."""
        return self.pages is not None and self.pages.damaged and self.kernels.ready

    def due(self, rows: int, policy: Policy) -> int:
        """As ``Index.due``."""
        last = super().due(rows, policy)
        if self.pages is not None:
            least = min(self.size // UNPACK_SHARE, UNPACK_ROWS_MAX)
            if rows - self.size < max(least, policy.drain_rows_min):
                return self.size
        return last

    def grow(
        self, data: RowData, last: int, space: Space, training_rows: int | None = None
    ) -> "VamanaIndex":
        """As ``Index.grow``."""
        opened = self._unpacked(data.count)
        grown = opened
        if last > self.size:
            body = graph_growth.grown(
                self.kernels,
                opened.body,
                attrs.evolve(self.spec, m=degree_of(self.spec) // 2),
                data,
                last,
                space,
                training_rows,
                self.precision,
            )
            grown = attrs.evolve(opened, body=body)
        return grown._packed(data, space) if data.count - last < PACK_BEHIND else grown

    def effort_ladder(self, want: int) -> list[int]:
        """As ``Index.effort_ladder``: pages cost so much that steps between are worth trying."""
        ladder = super().effort_ladder(want)
        return sorted({*ladder, *(ef for ef in EF_BETWEEN if ladder and ef >= ladder[0])})

    def cost(self, want: int, ef: int | None) -> int:
        """As ``Index.cost``."""
        return super().cost(want, ef) if self.pages is None else THREAD_NUMBERS

    def walk(
        self,
        data: RowData,
        queries: Array,
        k: int,
        ef: int,
        depth: int,
        allow: Words | None = None,
        allowed: int = 0,
        *,
        sure: int | None = None,
        cut: Array | None = None,
    ) -> Answer:
        """As ``GraphIndex.walk``. Where a page is not what was written, codes are scanned."""
        if self.pages is None:
            return super().walk(data, queries, k, ef, depth, allow, allowed, sure=sure, cut=cut)
        rows, scores, read = self._walk_pages(data, queries, k, ef, allow, allowed, sure, cut)
        lost = np.flatnonzero(read < 0)
        if len(lost):
            self.pages.damaged = True
            rows[lost], scores[lost] = self.scan(
                data, queries[lost], k, max(depth, k), allow, sure=sure
            )
            if cut is not None:
                cut[lost] = False
        return rows, scores

    def pages_read(self, data: RowData, queries: Array, want: int, ef: int) -> Array:
        """How many pages a walk for the ``want`` best of each prepared query reads, int64 [n]."""
        return self._walk_pages(data, queries, want, ef, None, 0, want, None)[2]

    def refine(self, data: RowData) -> "VamanaIndex | None":
        """As ``Index.refine``: int8, and no finer, since rows are scored exactly as they come."""
        if self.precision != "q4":
            return None
        finer = super().refine(data)
        assert finer is None or isinstance(finer, VamanaIndex)
        return finer

    def emptied(self) -> "VamanaIndex":
        """As ``Index.emptied``."""
        return attrs.evolve(self, body=None, pages=None)

    def arrays_in_space(self) -> set[str]:
        """As ``Index.arrays_in_space``."""
        pages = set() if self.pages is None else {disk_pages.name_of(self.pages)}
        return super().arrays_in_space() | pages

    def to_fields(self) -> dict[str, Any] | None:
        """As ``Index.to_fields``."""
        fields = super().to_fields()
        if fields is None:
            return None
        links = 0 if self.pages is None else self.pages.layout.links
        return {**fields, "packed": self.packed, "links": links}

    def to_arrays(self) -> dict[str, Array]:
        """As ``Index.to_arrays``: when it is packed the links are in the pages."""
        arrays = super().to_arrays()
        if self.pages is not None:
            del arrays["links"]
            arrays["place"] = self.pages.place
        return arrays

    def from_arrays(
        self,
        fields: Mapping[str, Any],
        arrays: Mapping[str, Array],
        sums: Mapping[str, CodeSum],
        data: RowData,
        space: Space,
    ) -> "VamanaIndex":
        """As ``Index.from_arrays``. Of pages each is compared with its checksum when it is read."""
        try:
            packed, width = int(fields["packed"]), int(fields["links"])
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged(f"the index of the rows is of another form: {error!r}") from error
        if not width:
            opened = super().from_arrays(fields, arrays, sums, data, space)
            assert isinstance(opened, VamanaIndex)
            return attrs.evolve(opened, packed=packed)
        if "place" not in arrays or len(arrays["place"]) != fields.get("size"):
            raise Damaged("the places of the nodes are not those of the rows")
        place = arrays["place"]
        # Whoever reads a graph wants to see as many links as rows.
        unread = {"links": np.broadcast_to(np.int32(-1), (len(place), width))}
        opened = super().from_arrays(fields, {**arrays, **unread}, sums, data, space)
        assert isinstance(opened, VamanaIndex)
        pages = disk_pages.opened(space, packed, place, width, data)
        return attrs.evolve(opened, body=_bare(opened.body), pages=pages, packed=packed)

    def _walk_pages(
        self,
        data: RowData,
        queries: Array,
        k: int,
        ef: int,
        allow: Words | None,
        allowed: int,
        sure: int | None,
        cut: Array | None,
    ) -> tuple[Array, Array, Array]:
        assert self.body is not None
        assert self.pages is not None
        return self.pages.search(
            self.body.graph,
            self.body.walk,
            data.metric,
            queries,
            k,
            ef,
            self.spec.options.beam_width or BEAM_WIDTH,
            allow,
            allowed,
            sure=sure,
            cut=cut,
        )

    def _packed(self, data: RowData, space: Space) -> "VamanaIndex":
        assert self.body is not None
        pages = disk_pages.written(space, self.packed + 1, self.body.graph, data)
        return attrs.evolve(self, body=_bare(self.body), pages=pages, packed=pages.number)

    def _unpacked(self, rows: int) -> "VamanaIndex":
        """With its links in memory, and room there for those of so many rows."""
        if self.pages is None or self.body is None:
            return self
        graph, size = self.body.graph, self.size
        links, lost = self.pages.links(rows)
        if len(lost):
            mend(links[:size], lost)
        levels = np.zeros(len(links), np.uint8)
        upper_first = np.zeros(len(links), np.int64)
        levels[:size], upper_first[:size] = graph.levels[:size], graph.upper_first[:size]
        graph = graph._replace(links=links, levels=levels, upper_first=upper_first)
        return attrs.evolve(self, body=attrs.evolve(self.body, graph=graph), pages=None)

    def _ef_default(self, want: int) -> int:
        return self.spec.options.search_list_size or self._ef_usual(want)

    def _ef_usual(self, want: int) -> int:
        return max(LIST_SIZE, 2 * want)

    def _scan_is_cheaper(self, allowed: int, ef: int) -> bool:
        return super()._scan_is_cheaper(allowed, ef if self.pages is None else ef * SLOWER)


def degree_of(spec: CollectionSpec) -> int:
    """How many links a node has at most."""
    return spec.options.max_degree or 2 * spec.m


def _bare(body: Body | None) -> Body | None:
    """Without links, and without more room than it needs."""
    if body is None:
        return None
    graph, size = body.graph, body.size
    graph = graph._replace(
        links=np.zeros((0, graph.links.shape[1]), np.int32),
        levels=graph.levels[:size].copy(),
        upper_first=graph.upper_first[:size].copy(),
    )
    return attrs.evolve(body, graph=graph)


def mend(links: Array, lost: Array) -> None:
    """Link rows whose links are lost to those that are linked to them."""
    sources, places = np.nonzero(np.isin(links, lost))
    targets = links[sources, places]
    for row in lost.tolist():
        near = np.unique(sources[targets == row])[: links.shape[1]]
        links[row, : len(near)] = near
