"""The flat index: nothing is built, every row is tail, and every search looks at all of them."""

from typing import Any, ClassVar

import attrs
import numpy.typing as npt

from kissvdb.core.bitmaps import Words
from kissvdb.core.index.index import Answer, Index, Plan
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.store.policy import Policy
from kissvdb.core.store.space import RowData, Space
from kissvdb.core.store.spec import CollectionSpec

Array = npt.NDArray[Any]


@attrs.frozen(eq=False)
class FlatIndex(Index):
    """Covers no row, ever."""

    name: ClassVar[str] = "flat"
    size: ClassVar[int] = 0
    nbytes: ClassVar[int] = 0
    precision: ClassVar[str] = "none"

    @classmethod
    def new(cls, spec: CollectionSpec, kernels: Kernels) -> "FlatIndex":
        """One of no rows."""
        return cls()

    def due(self, rows: int, policy: Policy) -> int:
        """As ``Index.due``: never."""
        return 0

    def grow(
        self, data: RowData, last: int, space: Space, training_rows: int | None = None
    ) -> "FlatIndex":
        """As ``Index.grow``."""
        return self

    def cost(self, want: int, ef: int | None) -> int:
        """As ``Index.cost``: the tail's cost is counted with the tail."""
        return 0

    def plan(self, want: int, ef: int | None, allow: Words | None) -> Plan:
        """As ``Index.plan``."""
        return Plan("exact scan")

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
        """Never asked: it covers no row."""
        raise AssertionError("an index of no rows is not searched")
