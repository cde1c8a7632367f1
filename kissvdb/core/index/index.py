"""What every kind of index is to the rows it indexes.

The rows own one index and know nothing of its kind. It covers the first ``size`` rows of the
collection; those behind it are the tail, which searches scan. Upkeep grows it in a thread while
reads and writes go on: a value is never changed, growing and refining answer another.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

import attrs
import numpy.typing as npt

from kissvdb.core.bitmaps import Words
from kissvdb.core.index.codes import CodeSum
from kissvdb.core.store.policy import Policy
from kissvdb.core.store.space import RowData, Space
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.errors import Damaged

Array = npt.NDArray[Any]
Answer = tuple[Array, Array]
"""Row numbers int64 [queries, k] and scores float32 [queries, k], best first; -1, -inf for none."""

TIES_SPARE = 8
"""Rows found beyond those wanted: if the last of them scores less, no tie was cut in two."""


@attrs.define
class Plan:
    """The way to go through the indexed rows; ``exact scan`` goes through all rows.

    ``ef``: the rows a walk keeps in view. ``depth``: how many get exact scores. ``allowed``: how
    many indexed rows pass.
    """

    name: str
    ef: int = 0
    depth: int = 0
    allowed: int = 0


class SearchTooNarrow(Exception):
    """A walk was not enough to know the best rows, and what makes up for it takes long."""


class Index(Protocol):
    """An index over the rows 0 to ``size - 1``; immutable, and good for any thread.

    A kind names this class as its base, and defines what has no body here.
    """

    name: ClassVar[str]
    """Of the file that holds ``to_arrays``."""

    @property
    def size(self) -> int:
        """How many rows it covers."""
        ...

    @property
    def precision(self) -> str:
        """What a search of it reads: q4, q8 or none."""
        ...

    @property
    def nbytes(self) -> int:
        """What it takes, without the room to grow."""
        ...

    @classmethod
    def row_bytes(cls, spec: CollectionSpec) -> tuple[int, int]:
        """What it takes a row when all is built, about: bytes of the process's memory, and of the
        space."""
        return 0, 0

    @property
    def passing_bytes(self) -> int:
        """Bytes of the process's memory that it has only until it is built."""
        return 0

    @property
    def unfinished(self) -> bool:
        """Whether it is to grow though no row is due: up to ``size``, to finish or to mend."""
        return False

    def due(self, rows: int, policy: Policy) -> int:
        """Up to which of so many rows it is to grow now; ``size`` while that is not due."""
        ...

    def grow(
        self, data: RowData, last: int, space: Space, training_rows: int | None = None
    ) -> Self:
        """With the rows up to ``last``; for one thread at a time. Arrays lie in ``space``.
        ``training_rows``: how many are to be sampled for what it learns, if more are to come."""
        ...

    def cost(self, want: int, ef: int | None) -> int:
        """How many numbers of codes a search for the ``want`` best reads at most, about."""
        ...

    def plan(self, want: int, ef: int | None, allow: Words | None) -> Plan:
        """The cheapest way to the ``want`` best. ``allow``: the rows that pass; None for all."""
        ...

    def effort_ladder(self, want: int) -> list[int]:
        """The efforts (``ef`` of `plan`) worth trying for the ``want`` best, ascending; empty if
        there is nothing to choose."""
        return []

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
        """The ``want + TIES_SPARE`` best indexed rows of each prepared query, float32 [n, width],
        exactly scored. Raises SearchTooNarrow instead of looking wider than the plan says, unless
        it ``may_scan``."""
        ...

    def refine(self, data: RowData) -> Self | None:
        """Read by the next finer form of the rows; None if there is none, or it may not be."""
        return None

    def as_fine_as(self, other: "Index", data: RowData) -> Self:
        """Read by what ``other`` reads, if that is finer."""
        return self

    def told(self, spec: CollectionSpec) -> Self:
        """The same, of a collection whose options are others now."""
        if getattr(self, "spec", spec) is spec:
            return self
        # A kind is a frozen class of attrs.
        return attrs.evolve(self, spec=spec)  # type: ignore[misc]

    def emptied(self) -> Self:
        """One of no rows, to be grown over the rows written anew; as fine as this."""
        return self

    def arrays_in_space(self) -> set[str]:
        """The names of the arrays it keeps in the space it was grown in."""
        return set()

    def sums(self, before: Mapping[str, CodeSum]) -> dict[str, CodeSum]:
        """The checksums of these arrays, by name; ``before``: those when it was smaller."""
        return {}

    def is_sound(self, sums: Mapping[str, CodeSum]) -> bool:
        """Whether what ``from_arrays`` did not compare with ``sums`` fits them; for a thread."""
        return True

    def to_fields(self) -> dict[str, Any] | None:
        """What of it goes into a manifest; None without rows."""
        return None

    def from_arrays(
        self,
        fields: Mapping[str, Any],
        arrays: Mapping[str, Array],
        sums: Mapping[str, CodeSum],
        data: RowData,
        space: Space,
    ) -> Self:
        """This one of no rows with those of ``to_fields`` and ``to_arrays``. Raises Damaged."""
        raise Damaged(f"an index of kind {self.name!r} has no file")

    def to_arrays(self) -> dict[str, Array]:
        """What of it goes into its file."""
        return {}
