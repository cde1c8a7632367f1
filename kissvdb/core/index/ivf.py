"""The index of inverted lists: the lists nearest to a query are read, by short codes."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core import bitmaps
from kissvdb.core.bitmaps import Words
from kissvdb.core.index import ivf_body
from kissvdb.core.index.codes import CodeSum, first_precision
from kissvdb.core.index.index import TIES_SPARE, Answer, Index, Plan, SearchTooNarrow
from kissvdb.core.index.ivf_body import Body
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.store.policy import Policy
from kissvdb.core.store.space import RowData, Space
from kissvdb.core.store.spec import CollectionSpec

Array = npt.NDArray[Any]

NPROBE = 96
NPROBE_WANT = 10
"""So many of some 900 hold 0.96 of the ten nearest of 50,000 real texts; of more rows, more do."""
LARGE_ROWS, LARGE_NPROBE = 200_000, 80
WIDER = 4
"""A search that was not enough for a query is repeated for it with so many times more lists."""
SCANNED_ROWS = 8192
"""So few rows are all read: choosing lists would cost as much."""
SCANNED_SHARE = 3
"""All lists are read rather than one in so many."""
FARTHER = 0.75
"""If one row in n passes, n to this power times as many lists hold the nearest of these."""
SCORED, CODED = 60, 6
"""To score a row costs so many times as much as to see whether it passes, and to read its code."""
IN_ORDER = 32
"""A step of a walk, which reads the rows linked to one, takes as long as so many codes in order."""
ROW_NUMBERS_MIN = 384
"""A row that is read costs as much as one of so many numbers at least: some 70 ns."""
SIGNS_SHARE = 4
"""Signs are read if one row in so many passes: to see which do costs as much for 32 as for one."""
DEPTH_MIN = 20
SURE_MIN = 10
LATE_SHARE = 0.3
LATE_NPROBE_MIN = 16
"""If so much of the nearest came from the second half of the lists, more of it lies in others: near
duplicates, which are in as many lists as they are alike. Of few lists that says nothing."""
LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)
DRAINS = 4
"""Rows are put into lists in so many times larger portions than into a graph, as fast."""


@attrs.frozen(eq=False)
class IvfIndex(Index):
    """Lists of rows by the centroid they are nearest to. ``body``: None without rows.

    Its codes are fine enough, since as many rows are scored as their error asks for; what it may
    miss is in other lists, so it has no finer form.
    """

    name: ClassVar[str] = "lists"

    spec: CollectionSpec
    kernels: Kernels
    precision: str
    body: Body | None = None

    @classmethod
    def new(cls, spec: CollectionSpec, kernels: Kernels) -> "IvfIndex":
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
        each = {"none": 0, "q8": spec.dim}.get(spec.quantization, spec.dim // 2 + spec.dim // 8 + 8)
        return 0, 4 + each

    def due(self, rows: int, policy: Policy) -> int:
        """As ``Index.due``."""
        return policy.drain_end(self.size, rows, DRAINS) if self.kernels.ready else self.size

    def grow(
        self, data: RowData, last: int, space: Space, training_rows: int | None = None
    ) -> "IvfIndex":
        """As ``Index.grow``."""
        body = ivf_body.grown(
            self.kernels, self.body, self.spec, data, last, space, training_rows, self.precision
        )
        return attrs.evolve(self, body=body)

    def cost(self, want: int, ef: int | None) -> int:
        """As ``Index.cost``."""
        if self.body is None:
            return 0
        lists = len(self.body.centroids)
        nprobe = self._nprobe(want, ef)
        read = self.size if self._reads_all(nprobe) else lists + nprobe * self.size // lists
        return read * max(self.spec.dim, ROW_NUMBERS_MIN) // IN_ORDER

    def plan(self, want: int, ef: int | None, allow: Words | None) -> Plan:
        """As ``Index.plan``; ``Plan.ef`` is how many lists are read. The fewer rows pass, the
        farther the nearest of them lie: more lists are read then, though fewer of their rows."""
        assert self.body is not None
        size, lists = self.size, len(self.body.centroids)
        allowed = size if allow is None else bitmaps.count(bitmaps.resize(allow, size))
        if allowed == 0:
            return Plan("tail scan")
        nprobe = self._nprobe(want, ef)
        nprobe = math.ceil(nprobe * (size / allowed) ** FARTHER)
        read = size if self._reads_all(nprobe) else nprobe * size // lists
        if allowed * SCORED < read + CODED * read * allowed // size:
            return Plan("exact scan")
        depth = max(min(2 * want, want + 384), DEPTH_MIN, want + TIES_SPARE)
        if self._reads_all(nprobe):
            return Plan("code scan", lists, depth, allowed)
        return Plan("lists" if allowed == size else "filtered lists", nprobe, depth, allowed)

    def effort_ladder(self, want: int) -> list[int]:
        """As ``Index.effort_ladder``. Fewer lists than is usual are not worth trying while a search
        reads all of them anyway: they would hold little once there are more rows."""
        if self.body is None:
            return []
        lists, usual = len(self.body.centroids), self._nprobe_usual(want)
        few = [each for each in LADDER if each < min(lists, usual) and not self._reads_all(each)]
        return [*few, *(each for each in LADDER if usual <= each < lists), max(lists, usual)]

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
        """As ``Index.search``. More lists are read for queries these were not enough for: fewer
        rows were found than there are, or the later lists held as much as the first."""
        assert self.body is not None
        if plan.allowed == self.size:
            allow = None
        lists = len(self.body.centroids)
        least = min(want, plan.allowed)
        by_signs = SIGNS_SHARE * plan.allowed >= self.size
        rows, scores, late = self._read(data, queries, want, plan.ef, plan.depth, allow, by_signs)
        nprobe = plan.ef
        left = np.flatnonzero((rows[:, least - 1] < 0) | late)
        while len(left) and nprobe < lists:
            if not may_scan:
                raise SearchTooNarrow
            nprobe = min(WIDER * nprobe, lists)
            if self._reads_all(nprobe):
                nprobe = lists
            found = self._read(data, queries[left], want, nprobe, plan.depth, allow, by_signs)
            rows[left], scores[left], late = found
            left = left[(found[0][:, least - 1] < 0) | late]
        return rows, scores

    def emptied(self) -> "IvfIndex":
        """As ``Index.emptied``."""
        return attrs.evolve(self, body=None)

    def arrays_in_space(self) -> set[str]:
        """As ``Index.arrays_in_space``."""
        if self.body is None:
            return set()
        return set(ivf_body.names_of(self.body.codes.rows.dtype, self.body.trained_rows))

    def sums(self, before: Mapping[str, CodeSum]) -> dict[str, CodeSum]:
        """As ``Index.sums``."""
        return {} if self.body is None else self.body.code_sums()

    def to_fields(self) -> dict[str, Any] | None:
        """As ``Index.to_fields``."""
        return None if self.body is None else ivf_body.to_fields(self.body)

    def from_arrays(
        self,
        fields: Mapping[str, Any],
        arrays: Mapping[str, Array],
        sums: Mapping[str, CodeSum],
        data: RowData,
        space: Space,
    ) -> "IvfIndex":
        """As ``Index.from_arrays``: the blocks are compared with their checksum."""
        body = ivf_body.body_of(fields, arrays, sums, data, space)
        return attrs.evolve(self, precision=body.precision, body=body)

    def to_arrays(self) -> dict[str, Array]:
        """As ``Index.to_arrays``."""
        return {} if self.body is None else ivf_body.to_arrays(self.body)

    def _read(
        self,
        data: RowData,
        queries: Array,
        want: int,
        nprobe: int,
        depth: int,
        allow: Words | None,
        by_signs: bool,
    ) -> tuple[Array, Array, Array]:
        """Rows and scores as `search` answers them, and for which queries later lists held as much
        as the first: bool [queries]."""
        assert self.body is not None
        count = want + TIES_SPARE
        sure = max(want, min(count, SURE_MIN))
        rows, scores, late = self.kernels.search_lists(
            self.body, data, queries, count, nprobe, depth, allow, sure=sure, by_signs=by_signs
        )
        if nprobe < LATE_NPROBE_MIN:
            return rows, scores, np.zeros(len(rows), np.bool_)
        return rows, scores, late >= LATE_SHARE * depth

    def _nprobe(self, want: int, ef: int | None) -> int:
        return ef or self.spec.options.nprobe or self._nprobe_usual(want)

    def _nprobe_usual(self, want: int) -> int:
        """How many lists a search reads where nobody says it."""
        nprobe = LARGE_NPROBE if self.size > LARGE_ROWS else NPROBE
        return math.ceil(nprobe * math.sqrt(max(want / NPROBE_WANT, 1)))

    def _reads_all(self, nprobe: int) -> bool:
        """Whether to read all lists, and not to choose any."""
        assert self.body is not None
        lists = len(self.body.centroids)
        return self.size <= SCANNED_ROWS or SCANNED_SHARE * nprobe >= lists
