"""The graph index: a walk over short codes, or a scan of them where that costs less."""

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core import bitmaps
from kissvdb.core.bitmaps import Words
from kissvdb.core.index import graph_growth
from kissvdb.core.index.codes import PRECISIONS, CodeSum, first_precision
from kissvdb.core.index.graph_body import Body, body_of, to_arrays, to_fields
from kissvdb.core.index.index import TIES_SPARE, Answer, Index, Plan, SearchTooNarrow
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.store.policy import Policy
from kissvdb.core.store.space import RowData, Space
from kissvdb.core.store.spec import CollectionSpec

Array = npt.NDArray[Any]

EF_USUAL = 64
"""What a walk for ten has in view: where rows are near each other it sees more of them."""
EF_USUAL_DOT = ((200_000, 128), (50_000, 100), (0, 64))
"""The same of more rows than so many, where inner products do not tell how near rows are."""
DEPTH_MIN = 16
"""So many rows of a walk are scored exactly at least: they tell how far the codes are wrong, and
with it how many more may be among the best."""
SCAN_DEPTH_MIN = 64
"""So many rows of a scan are kept: if more may be among the best, the codes are scanned again."""
SURE_MIN = 10
"""No fewer of the best are made sure of: the best of all may lie behind rows that score less."""
WIDER = 4
EF_WIDEST = 4096
"""A walk whose codes cannot tell enough rows apart is repeated with so many times more in view, up
to that, or until a scan of all codes costs less."""
SEEN = 3
"""A walk in a crowd sees about so many times more than it has in view."""
EF_LADDER = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
STEP_NUMBERS_MIN = 390
"""A step of a walk costs as much as reading so many numbers at least."""


@attrs.frozen(eq=False)
class GraphIndex(Index):
    """HNSW over int8 codes, searched by those of ``precision``. ``body``: None without rows."""

    name: ClassVar[str] = "graph"

    spec: CollectionSpec
    kernels: Kernels
    precision: str
    body: Body | None = None

    @classmethod
    def new(cls, spec: CollectionSpec, kernels: Kernels) -> "GraphIndex":
        """One of no rows."""
        return cls(spec, kernels, first_precision(spec))

    @property
    def size(self) -> int:
        """As ``Index.size``."""
        return 0 if self.body is None else self.body.size

    @property
    def nbytes(self) -> int:
        """As ``Index.nbytes``."""
        return 0 if self.body is None else self.body.nbytes

    @classmethod
    def row_bytes(cls, spec: CollectionSpec) -> tuple[int, int]:
        """As ``Index.row_bytes``."""
        codes = {"none": 0, "q8": spec.dim}.get(spec.quantization, spec.dim + spec.dim // 2)
        return 8 * spec.m + layers_bytes(spec), codes

    def due(self, rows: int, policy: Policy) -> int:
        """As ``Index.due``."""
        return policy.drain_end(self.size, rows) if self.kernels.ready else self.size

    def grow(
        self, data: RowData, last: int, space: Space, training_rows: int | None = None
    ) -> "GraphIndex":
        """As ``Index.grow``."""
        body = graph_growth.grown(
            self.kernels, self.body, self.spec, data, last, space, training_rows, self.precision
        )
        return attrs.evolve(self, body=body)

    def cost(self, want: int, ef: int | None) -> int:
        """As ``Index.cost``."""
        if not self.size:
            return 0
        return (ef or self._ef_default(want)) * max(self.spec.dim, STEP_NUMBERS_MIN)

    def plan(self, want: int, ef: int | None, allow: Words | None) -> Plan:
        """As ``Index.plan``."""
        size = self.size
        if ef is None:
            ef = self._ef_default(want)
        ef = max(ef, want + TIES_SPARE)
        depth = min(max(want + TIES_SPARE, DEPTH_MIN), ef)
        allowed = size if allow is None else bitmaps.count(bitmaps.resize(allow, size))
        if allowed == 0:
            return Plan("tail scan")
        if self._scan_is_cheaper(allowed, ef):
            return Plan("code scan", ef, max(depth, SCAN_DEPTH_MIN), allowed)
        return Plan("graph" if allowed == size else "filtered graph", ef, depth, allowed)

    def effort_ladder(self, want: int) -> list[int]:
        """As ``Index.effort_ladder``. Less than is usual is not worth trying while a search scans
        all codes anyway: it would find little once there are more rows."""
        usual = self._ef_usual(want)
        return [
            ef
            for ef in EF_LADDER
            if ef >= usual or (ef >= want and self.plan(want, ef, None).name != "code scan")
        ]

    def search(
        self,
        data: RowData,
        queries: Array,
        want: int,
        plan: Plan,
        allow: Words | None,
        *,
        may_scan: bool,
    ) -> Answer:
        """As ``Index.search``. A walk is made up for by a wider one, or a scan, for queries it was
        not enough for: it has found fewer than there are, since it ended in a crowd of near rows
        that do not pass or are not linked on, or its codes cannot tell more near rows apart than
        it saw."""
        count = want + TIES_SPARE
        if plan.name == "code scan":
            return self.scan(data, queries, count, plan.depth, allow, sure=want)
        if plan.name == "graph":
            allow = None
        sure = max(want, min(count, SURE_MIN))
        cut = np.zeros(len(queries), np.bool_)
        rows, scores = self.walk(
            data, queries, count, plan.ef, plan.depth, allow, plan.allowed, sure=sure, cut=cut
        )
        # Places without a row come last.
        last = min(want, plan.allowed) - 1
        if len(queries) == 1 and not cut[0] and rows[0, last] >= 0:
            return rows, scores
        cut |= rows[:, last] < 0
        if not cut.any():
            return rows, scores
        if not may_scan:
            raise SearchTooNarrow
        left = np.flatnonzero(cut)
        ef = plan.ef * WIDER
        while len(left):
            asked = queries[left]
            # A walk that was cut has seen a crowd, and the next one will.
            if ef > EF_WIDEST or self._scan_is_cheaper(plan.allowed, ef * SEEN):
                depth = max(plan.depth, count)
                rows[left], scores[left] = self.scan(data, asked, count, depth, allow, sure=want)
                break
            cut = np.zeros(len(left), np.bool_)
            rows[left], scores[left] = self.walk(
                data, asked, count, ef, plan.depth, allow, plan.allowed, sure=sure, cut=cut
            )
            cut |= rows[left, last] < 0
            left = left[cut]
            ef *= WIDER
        return rows, scores

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
        """The k best rows a walk of the graph finds, among those of ``allow`` if it is given.

        ``allowed``: how many indexed rows these are. ``cut``: bool [queries], set where more than
        ``ef`` rows may be among the ``sure`` best (k if None) for all that their codes say.
        """
        assert self.body is not None
        graph, walk = self.body.graph, self.body.walk
        return self.kernels.search_graph(
            graph, walk, data, queries, k, ef, depth, allow, allowed, sure=sure, cut=cut
        )

    def scan(
        self,
        data: RowData,
        queries: Array,
        k: int,
        depth: int,
        allow: Words | None,
        *,
        sure: int | None = None,
    ) -> Answer:
        """The k best of the indexed rows whose codes are nearest: of ``depth`` at least, and of
        all that may be among the ``sure`` best (k if None) for all that their codes say."""
        assert self.body is not None
        graph, walk = self.body.graph, self.body.walk
        return self.kernels.scan_codes(graph, walk, data, queries, k, depth, allow, sure=sure)

    def refine(self, data: RowData) -> "GraphIndex | None":
        """As ``Index.refine``: int8, then float32, for ``auto`` only."""
        place = PRECISIONS.index(self.precision) + 1
        if self.spec.quantization != "auto" or not self.kernels.ready or place == len(PRECISIONS):
            return None
        if PRECISIONS[place] == "none" and self.spec.options.store == "f16":
            # The walk itself reads float32 rows or codes.
            return None
        if self.body is None:
            return None
        return self._finer(data)

    def as_fine_as(self, other: Index, data: RowData) -> "GraphIndex":
        """As ``Index.as_fine_as``."""
        index = self
        while PRECISIONS.index(index.precision) < PRECISIONS.index(other.precision):
            index = index._finer(data)
        return index

    def emptied(self) -> "GraphIndex":
        """As ``Index.emptied``."""
        return attrs.evolve(self, body=None)

    def arrays_in_space(self) -> set[str]:
        """As ``Index.arrays_in_space``."""
        if self.body is None:
            return set()
        return {part for name, _ in self.body.coded() for part in (name, f"{name}-aux")}

    def is_sound(self, sums: Mapping[str, CodeSum]) -> bool:
        """As ``Index.is_sound``."""
        return self.sums({}) == sums

    def sums(self, before: Mapping[str, CodeSum]) -> dict[str, CodeSum]:
        """As ``Index.sums``."""
        return {} if self.body is None else self.body.sums(before)

    def to_fields(self) -> dict[str, Any] | None:
        """As ``Index.to_fields``."""
        return None if self.body is None else to_fields(self.body)

    def from_arrays(
        self,
        fields: Mapping[str, Any],
        arrays: Mapping[str, Array],
        sums: Mapping[str, CodeSum],
        data: RowData,
        space: Space,
    ) -> "GraphIndex":
        """As ``Index.from_arrays``: the codes are to be compared with their checksums."""
        body = body_of(fields, arrays, sums, data, space)
        return attrs.evolve(self, precision=body.precision, body=body)

    def to_arrays(self) -> dict[str, Array]:
        """As ``Index.to_arrays``."""
        return {} if self.body is None else to_arrays(self.body)

    def _finer(self, data: RowData) -> "GraphIndex":
        if self.body is None:
            finer = PRECISIONS[PRECISIONS.index(self.precision) + 1]
            return attrs.evolve(self, precision=finer)
        body = graph_growth.refined(self.kernels, self.body, data)
        return attrs.evolve(self, precision=body.precision, body=body)

    def _ef_default(self, want: int) -> int:
        return self.spec.options.ef_search or self._ef_usual(want)

    def _ef_usual(self, want: int) -> int:
        """What a walk has in view where nobody says it."""
        if self.spec.metric != "dot":
            return max(EF_USUAL, 2 * want)
        least = next(ef for rows, ef in EF_USUAL_DOT if self.size > rows or not rows)
        return max(least, (4 if self.size > EF_USUAL_DOT[0][0] else 2) * want)

    def _scan_is_cheaper(self, allowed: int, ef: int) -> bool:
        """Whether to scan the codes of the allowed indexed rows rather than to walk the graph."""
        assert self.body is not None
        row_bytes = self.body.walk.rows.strides[0]
        return self.kernels.scan_is_cheaper(allowed, self.size, ef, row_bytes)


def layers_bytes(spec: CollectionSpec) -> int:
    """Of a row: its highest layer, where its links there begin, and these: one in m has some."""
    return 9 + 4 * spec.m // max(spec.m - 1, 1)
