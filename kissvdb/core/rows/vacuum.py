"""Vacuum: the living rows written anew, with a new graph, while reads and writes go on.

Rows written or buried meanwhile stay with the owner; each step takes over what the owner has shown
it, and when little is left the owner takes the result. Then the old arrays are let go of.
"""

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core import bitmaps
from kissvdb.core.index.index import Index
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.metadata.index import MetadataIndex, MetadataView
from kissvdb.core.rows.checkpoint import Arrays
from kissvdb.core.rows.texts import RowTexts
from kissvdb.core.store.id_map import IdMap
from kissvdb.core.store.row_store import RowStore
from kissvdb.core.store.space import RowData, Space
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.core.store.tombstones import Tombstones, TombstoneView
from kissvdb.core.text.index import TextView

REMAINDER_ROWS_MAX = 256
"""So many rows the owner takes over itself, a few milliseconds; more are another step."""
STEPS_BEHIND_MAX = 8
"""After so many steps of catching up the owner takes what is left, however much it is."""


@attrs.frozen(eq=False)
class VisibleRows:
    """What the owner has at one moment."""

    data: RowData
    dead: TombstoneView


class Vacuum:
    """The work of a vacuum, in steps: ``run`` in a thread, ``show`` and ``take_rest`` by the owner.

    ``store``, ``ids``, ``metadata``, ``texts``, ``dead``, ``index`` and ``space`` are the new rows.
    """

    kind = "vacuum"

    def __init__(
        self,
        spec: CollectionSpec,
        shown: VisibleRows,
        ids: Arrays,
        metadata: MetadataView,
        texts: TextView | None,
        index: Index,
        space: Space,
        step_rows: int,
        kernels: Kernels,
        *,
        grows: bool,
    ) -> None:
        """``ids``: the arrays of the id map, a copy. ``index``: one of no rows, and whether it
        ``grows`` here. ``space``: where the rows are written. ``step_rows``: rows indexed in a
        step."""
        self.space = space
        self.store = RowStore(spec, space)
        self.dead = Tombstones()
        self.index = index
        self.metadata = MetadataIndex()
        self.texts = RowTexts(spec, kernels)
        self.ids: IdMap | None = None
        self._shown = shown
        self._before = shown
        self._old_ids = ids
        self._old_metadata = metadata
        self._old_texts = texts
        self._grows = grows
        self._step_rows = step_rows
        self._steps_behind = 0
        # The old row number of each new row, ascending.
        self._kept: npt.NDArray[np.int64] = np.zeros(0, np.int64)

    @property
    def progress(self) -> tuple[int, int]:
        """How many rows are done, of how many."""
        rows = self.store.count or self._shown.data.count - self._shown.dead.count
        return (self.index.size if self._grows else self.store.count), rows

    def run(self) -> None:
        """Do one step; in a thread."""
        if self.ids is None:
            self._copy()
        elif self._rows_to_link():
            count = self.store.count
            last = min(count, self.index.size + self._step_rows)
            self.index = self.index.grow(self.store.view(), last, self.space, count)
        elif self._before is not self._shown:
            self._take_over()

    def show(self, shown: VisibleRows) -> bool:
        """Show what the owner has now, after a step. Answers whether it may take the rest.

        On the owner's thread, like ``take_rest``.
        """
        if self.ids is None or self._rows_to_link() or self._before is not self._shown:
            return False
        self._shown = shown
        self._steps_behind += 1
        behind = shown.data.count - self._before.data.count
        behind += shown.dead.count - self._before.dead.count
        return behind <= REMAINDER_ROWS_MAX or self._steps_behind > STEPS_BEHIND_MAX

    def take_rest(self) -> None:
        """Take over what was shown last."""
        self._take_over()

    def _rows_to_link(self) -> bool:
        # Rows taken over later are tail: the owner's drains are for them.
        return self._grows and self.index.size < len(self._kept) and not self._steps_behind

    def _copy(self) -> None:
        data, dead = self._shown.data, self._shown.dead
        keep = dead.living(data.count).astype(np.int64)
        self.store.adopt(data, keep)
        self.metadata = self._old_metadata.remap(keep)
        if self._old_texts is not None:
            self.texts.index = self._old_texts.remap(keep)
        self.ids = IdMap.from_arrays(self._old_ids).remap(keep)
        self._kept = keep

    def _take_over(self) -> None:
        """Bury what died since, and append what was written since and lives."""
        assert self.ids is not None
        before, now = self._before, self._shown
        for old in self._died(before, now).tolist():
            row = int(np.searchsorted(self._kept, old))
            id_ = self.ids.id_at(row)
            if self.ids.get(id_) == row:
                self.ids.delete(id_)
            self.dead.bury(row)
        written = np.arange(before.data.count, now.data.count)
        living = bitmaps.unpack(now.dead.words, now.data.count)[before.data.count :] == 0
        rows = written[living]
        first = self.store.adopt(now.data, rows)
        self.metadata.extend(first, [now.data.document(row) for row in rows.tolist()])
        self.texts.extend_from(first, now.data, rows)
        for place, row in enumerate(rows.tolist(), start=first):
            replaced = self.ids.put(now.data.id_at(row), place)
            assert replaced is None, "what it replaces was buried above"
        self._kept = np.concatenate([self._kept, rows])
        self._before = now

    def _died(self, before: VisibleRows, now: VisibleRows) -> npt.NDArray[np.int64]:
        """The old numbers of the rows taken over so far that have been buried since."""
        rows = before.data.count
        died = bitmaps.unpack(now.dead.words, rows) & ~bitmaps.unpack(before.dead.words, rows)
        return np.flatnonzero(died)
