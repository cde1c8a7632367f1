"""Vacuum: the living rows written anew, with a new graph, while reads and writes go on.

Rows written or buried meanwhile stay with the owner; each step takes over what the owner has shown
it, and when little is left the owner takes the result. Then the old arrays are let go of.
"""

from typing import Any, Protocol

import attrs
import numpy as np
import numpy.typing as npt

from kissvdb.core import bitmaps
from kissvdb.core.index.codes import CodeSum
from kissvdb.core.index.index import Index
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.index.kinds import empty_index
from kissvdb.core.metadata.index import MetadataIndex, MetadataView
from kissvdb.core.rows.checkpoint import Arrays
from kissvdb.core.rows.texts import RowTexts
from kissvdb.core.rows.view import RowsView
from kissvdb.core.rows.work import CodeVerification, Work
from kissvdb.core.store.guard import RowGuard
from kissvdb.core.store.id_map import IdMap
from kissvdb.core.store.policy import Policy
from kissvdb.core.store.row_store import RowStore
from kissvdb.core.store.space import RowData, Space
from kissvdb.core.store.spec import CollectionSpec
from kissvdb.core.store.tombstones import Tombstones, TombstoneView
from kissvdb.core.store.visibility import Visibility
from kissvdb.core.text.index import TextView
from kissvdb.errors import Damaged, PersistenceFailed

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


class Conversion(Vacuum):
    """A vacuum whose rows come to be of another ``spec``: another index, another form.

    ``is_ready``: nothing is left to take over. What is written after that has to be shown again.
    """

    kind = "reindex"

    def __init__(self, spec: CollectionSpec, *arguments: Any, grows: bool) -> None:
        """Arguments as for `Vacuum`."""
        super().__init__(spec, *arguments, grows=grows)
        self.spec = spec
        self.is_ready = False

    def run(self) -> None:
        """As `Vacuum.run`."""
        self.is_ready = False
        super().run()


class RowsWrittenAnew(Protocol):
    """What the owner of rows does about vacuums: a base of `owner.Rows`, who has what has no body
    here."""

    spec: CollectionSpec
    wanted: CollectionSpec | None
    """What the rows are to be written anew by, once they may be."""
    may_convert: bool
    _store: RowStore
    _space: Space
    _index: Index
    _ids: IdMap
    _metadata: MetadataIndex
    _texts: RowTexts
    _visibility: Visibility
    _kernels: Kernels
    _policy: Policy
    _guard: RowGuard | None
    _sums: npt.NDArray[np.uint32]
    _code_sums: dict[str, CodeSum]
    _view: RowsView | None
    _unproven: CodeVerification | None
    """What the codes that were opened are still to be compared by."""
    _work: Work | None
    _vacuum: Vacuum | None

    @property
    def damage(self) -> str | None:
        """What is known to be wrong with the rows."""
        ...

    def _install_index(self, made: Index) -> None:
        """Go on with an index that may be coarser than searches should be by now."""
        index = made.as_fine_as(self._index, self._store.view()).told(self.spec)
        before = made.arrays_in_space() | self._index.arrays_in_space()
        for name in before - index.arrays_in_space():
            self._space.forget(name)
        self._index = index

    def _install_proof(self, work: CodeVerification) -> None:
        """Go on without an index whose codes are damaged, also if it grew meanwhile: all rows are
        tail then, scanned, and drained into a new one."""
        self._unproven = None
        if not work.is_sound:
            self._install_index(self._index.emptied())
            self._code_sums = {}

    def vacuum(self) -> Work | None:
        """The first piece of a vacuum, or the next; None if no row is dead, or at other work.

        The rest comes with ``work_due``, until ``vacuum_progress`` is None. Raises Damaged.
        """
        if self.damage is not None:
            raise Damaged(self.damage)
        if self._work is None and (self._vacuum is not None or self._visibility.dead_count):
            self._work = self._vacuum = self._vacuum or self._new_vacuum()
            return self._work
        return None

    def forget_vacuum(self) -> None:
        """Begin anew with the next one: the space it writes to is wanted for something else."""
        assert self._work is None, "not while a piece of it is under way"
        if self._vacuum is not None:
            self._vacuum.space.close()
            self._vacuum = None

    def convert(self, spec: CollectionSpec | None) -> None:
        """Have the rows written anew by ``spec``, as upkeep, until they are `converted`; None: no
        more."""
        self.wanted = spec
        if isinstance(self._vacuum, Conversion) and self._work is not self._vacuum:
            self.forget_vacuum()

    def convert_now(self, spec: CollectionSpec) -> None:
        """Write the rows anew by ``spec``, here; where nobody else has them.

        Raises PersistenceFailed when there is no room, and Damaged when rows are.
        """
        self.convert(spec)
        self.may_convert = True
        work = self._vacuum = self._new_vacuum()
        while self.converted is None:
            work.run()
            self._install_vacuum(work)
        self.take_converted()
        self.may_convert = False

    @property
    def converted(self) -> CollectionSpec | None:
        """What the rows were written anew by; None while that is not done."""
        made = self._vacuum
        return made.spec if isinstance(made, Conversion) and made.is_ready else None

    def take_converted(self) -> None:
        """Go on with the rows that are `converted`. Nothing was written since they were."""
        assert self._vacuum is not None
        assert self.converted is not None
        self._take(self._vacuum)
        self._view = None

    @property
    def vacuum_progress(self) -> tuple[int, int] | None:
        """How many rows a vacuum has done, of how many; None when none is under way. Any thread."""
        made = self._vacuum
        return None if made is None else made.progress

    @property
    def conversion_progress(self) -> tuple[int, int]:
        """How many rows have what is `wanted`, of how many; zeros before it begins."""
        return self._vacuum.progress if isinstance(self._vacuum, Conversion) else (0, 0)

    @property
    def _to_be(self) -> CollectionSpec | None:
        return self.wanted if self.may_convert else None

    def _install_vacuum(self, work: Vacuum) -> None:
        """Take the rest if it is little. Raises PersistenceFailed if there is no room, and Damaged
        if rows are: then the vacuum is forgotten, and due again."""
        if isinstance(work, Conversion) and work.spec is not self.wanted:
            self.forget_vacuum()
        elif work.show(VisibleRows(self._store.view(), self._visibility.dead())):
            try:
                work.take_rest()
            except (PersistenceFailed, Damaged):
                self.forget_vacuum()
                raise
            if isinstance(work, Conversion):
                work.is_ready = True
            else:
                self._take(work)

    def _new_vacuum(self) -> Vacuum:
        """A vacuum, or a conversion to what the rows are to be."""
        shown, wanted = VisibleRows(self._store.view(), self._visibility.dead()), self._to_be
        parts = (shown, self._ids.to_arrays(), self._metadata.view(), self._texts.view())
        to = (self._space.successor(), self._policy.vacuum_step_rows, self._kernels)
        # Without kernels the index is not made again here: the rows are tail, and drained later.
        if wanted is None:
            grows = bool(self._index.size) and self._kernels.ready
            return Vacuum(self.spec, *parts, self._index.emptied(), *to, grows=grows)
        empty, kept = empty_index(wanted, self._kernels), shown.data.count - shown.dead.count
        grows = empty.due(kept, self._policy) > 0
        return Conversion(wanted, *parts, empty, *to, grows=grows)

    def _take(self, vacuum: Vacuum) -> None:
        """Go on with what a vacuum has made."""
        assert vacuum.ids is not None
        self._vacuum = None
        if isinstance(vacuum, Conversion):
            # Nothing of the former index goes on, not how fine it was.
            self.spec, self._index, self.wanted = vacuum.spec, vacuum.index, None
        before, self._space = self._space, vacuum.space
        before.close()
        self._store, self._ids, self._metadata = vacuum.store, vacuum.ids, vacuum.metadata
        self._texts = vacuum.texts
        self._visibility = Visibility(vacuum.dead, self._store.view())
        if not isinstance(vacuum, Conversion):
            self._install_index(vacuum.index)
        self._guard, self._sums, self._code_sums = None, np.zeros(0, np.uint32), {}
        self._unproven = None
