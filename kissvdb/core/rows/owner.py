"""The rows of one collection: their single owner, and the views it publishes.

One thread owns a ``Rows``: it applies records, which is cheap, and hands out views. A view
(``RowsView``) is immutable; searches, scrolls and counts run on it in any thread. Rows are numbered
in the order they are written and never change: what replaces or deletes a row buries it.

    rows = Rows(spec, salt, kernels)
    rows.apply(offset, change)              after the record is in the log
    rows.view(now_ms).search(queries, k)    see RowsView
    rows.expired(now_ms, limit)             ids to delete because their time has come

Upkeep is work that a worker thread does while reads and writes go on, one at a time:

    while (work := rows.work_due()) is not None:       or rows.vacuum()
        await thread(work.run)
        rows.install(work)                  on the owner's thread

A checkpoint is such work too; between ``run`` and ``install`` its ``manifest`` and ``indexes`` are
stored, and ``Rows.opened`` makes rows of them again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kissvdb.core.index.codes import CodeSum
from kissvdb.core.index.index import Index
from kissvdb.core.index.kernels import Kernels
from kissvdb.core.index.kinds import empty_index
from kissvdb.core.metadata.index import MetadataIndex
from kissvdb.core.rows import checkpoint as row_checkpoint
from kissvdb.core.rows.changes import Change, DocumentWritten, filling, rows_of, taken_apart
from kissvdb.core.rows.checkpoint import Arrays, Checkpoint, Parts
from kissvdb.core.rows.texts import RowTexts
from kissvdb.core.rows.vacuum import RowsWrittenAnew, Vacuum
from kissvdb.core.rows.view import RowsView as RowsView
from kissvdb.core.rows.work import CodeVerification, Drain, Merge, Verification, Work
from kissvdb.core.store.columns import Columns, Found
from kissvdb.core.store.guard import BLOCK_ROWS, RowGuard
from kissvdb.core.store.id_map import IdMap
from kissvdb.core.store.operations import Operations
from kissvdb.core.store.policy import Policy
from kissvdb.core.store.row_store import RowStore
from kissvdb.core.store.space import ROWS_MAX, HeapSpace, Space, decoded
from kissvdb.core.store.spec import CollectionSpec as CollectionSpec
from kissvdb.core.store.spec import StoredRow as StoredRow
from kissvdb.core.store.tombstones import Tombstones
from kissvdb.core.store.visibility import Visibility
from kissvdb.errors import Refused
from kissvdb.records import Operation, VectorWritten

POLICY = Policy()


class Rows(RowsWrittenAnew):
    """Everything of one collection but its log. Sync; one thread, except where it says so."""

    def __init__(
        self,
        spec: CollectionSpec,
        salt: bytes,
        kernels: Kernels,
        space: Space | None = None,
        policy: Policy = POLICY,
    ) -> None:
        """``salt``: ``id_map.SALT_BYTES`` of randomness. ``space``: the heap if None."""
        self.spec = spec
        self.applied_offset = 0
        self._kernels = kernels
        self._policy = policy
        self._space: Space = HeapSpace() if space is None else space
        self._store = RowStore(spec, self._space)
        self._index: Index = empty_index(spec, kernels)
        self._ids, self._metadata = IdMap(salt), MetadataIndex()
        self._texts = RowTexts(spec, kernels)
        self._visibility = Visibility(Tombstones(), self._store.view())
        self._operations = Operations()
        self._guard: RowGuard | None = None
        self._sums = np.zeros(0, np.uint32)
        self._code_sums: dict[str, CodeSum] = {}
        self._view: RowsView | None = None
        self._unproven: CodeVerification | None = None
        self._work: Work | None = None
        self._vacuum: Vacuum | None = None
        self._vacuum_is_next = True
        self.wanted: CollectionSpec | None = None
        self.may_convert = False

    @classmethod
    def opened(
        cls,
        manifest: Mapping[str, Any],
        indexes: Mapping[str, Arrays],
        damaged: Mapping[str, str],
        space: Space,
        salt: bytes,
        kernels: Kernels,
        policy: Policy = POLICY,
    ) -> tuple["Rows", list[str]]:
        """The rows of a checkpoint, and warnings of what had to be made anew from them.

        Arguments before ``kernels`` as for ``row_checkpoint.opened``. What the log holds after
        ``applied_offset`` is to be applied. Raises Damaged.
        """
        parts = row_checkpoint.opened(manifest, indexes, damaged, space, salt, kernels)
        rows = cls(parts.spec, salt, kernels, space, policy)
        rows.applied_offset = parts.offset
        rows._store, rows._ids, rows._metadata = parts.store, parts.ids, parts.metadata
        rows._visibility, rows._index = Visibility(parts.dead, parts.store.view()), parts.index
        rows._texts, rows._operations = parts.texts, Operations(parts.operations)
        rows._sums, rows._code_sums, rows._guard = parts.sums, parts.code_sums, parts.guard
        if parts.code_sums:
            rows._unproven = CodeVerification(parts.index, parts.code_sums)
        if not parts.guard.last_block_is_sound():
            rows._begin_block()
        return rows, parts.warnings

    def reserve(
        self, rows: int, blob_bytes: int, text_bytes: int = 0, vectors: Sequence[bytes] = ()
    ) -> None:
        """Make room for rows whose ids and metadata have ``blob_bytes``, and whose texts have
        ``text_bytes``, before they are logged; ``vectors``: theirs, as they are sent.

        Raises Refused when the collection is full and PersistenceFailed when the disk is.
        """
        self._check_room(rows)
        self._store.reserve(rows, blob_bytes, text_bytes, vectors)

    def _check_room(self, rows: int) -> None:
        if self._store.count + rows > ROWS_MAX:
            raise Refused(
                f"collection {self.spec.name!r} is full at {ROWS_MAX} rows, deleted ones included: "
                "vacuum it, or spread over several collections"
            )

    def apply(self, offset: int, change: Change) -> None:
        """Apply one change, which the log holds at ``offset``."""
        self.apply_all([(offset, change)])

    def apply_all(self, changes: Sequence[tuple[int, Change]]) -> None:
        """Apply changes (offset, change) in their order. Views are true at the last offset then."""
        written = [
            change for _, change in changes if isinstance(change, (VectorWritten, DocumentWritten))
        ]
        row = self._store.count
        if written:
            self._append(written)
        if len(written) == len(changes):
            self._put_ids(written, row)
        for _, change in () if len(written) == len(changes) else changes:
            if isinstance(change, (VectorWritten, DocumentWritten)):
                self._put_ids((change,), row)
                row += 1
            else:
                self._visibility.bury(self._ids.delete(change.id))
        for offset, change in changes:
            if change.op_id is not None:
                self._operations.remember(change.op_id, offset, change)
        if changes:
            self.applied_offset = changes[-1][0]
            self._view = None

    def find_many(self, ids: Sequence[str], now_ms: int) -> Found | None:
        """Where ids are now; None where one of them is past its time or cannot be known."""
        return Found.among(ids, self._ids, self._store.view(), now_ms)

    def make_ready(self, columns: Sequence[Columns]) -> None:
        """As `reserve`, for `apply_columns`."""
        self._check_room(sum(map(len, columns)))
        self._store.make_ready(columns, self._kernels.prepared)

    def apply_columns(self, first_offset: int, columns: Sequence[Columns]) -> None:
        """Apply rows whose records the log holds from ``first_offset`` on, in order."""
        for each in columns:
            first, count = self._store.extend_by(each), len(each)
            self._metadata.extend(first, each.many.documents)
            self._texts.extend_without(first, count)
            self._visibility.bury_all(self._ids.put_hashed(each.found.hashed, first))
            if each.expires_at_ms is not None:
                for row in range(first, first + count):
                    self._visibility.expire(row, each.expires_at_ms)
            first_offset += count
        self.applied_offset, self._view = first_offset - 1, None

    def note_offset(self, offset: int) -> None:
        """Say that up to ``offset`` the log holds no other record of this collection."""
        if offset > self.applied_offset:
            self.applied_offset = offset
            self._view = None

    def view(self, now_ms: int) -> RowsView:
        """All that is applied, without the rows whose time has come. Costs a few microseconds."""
        if self._visibility.pass_time(now_ms, self._ids) or self._view is None:
            self._view = RowsView(
                *(self.spec, self.applied_offset, self._store.view(), self._ids),
                *(self._visibility.hidden(), self._metadata.view(), self._kernels, self._index),
                self._texts.view(),
            )
        return self._view

    def has_overdue(self, now_ms: int) -> bool:
        """Whether rows may be hidden in the next view; any thread may ask."""
        return self._visibility.is_due(now_ms)

    def expired(self, now_ms: int, limit: int) -> list[str]:
        """Ids whose time has come and whose end is not in the log, but of rows known to be damaged:
        their time may be, too. At most ``limit``."""
        if self._visibility.pass_time(now_ms, self._ids):
            self._view = None
        return self._visibility.overdue(limit, self._guard)

    @property
    def damage(self) -> str | None:
        """What is known to be wrong with the rows that were opened; None while nothing is."""
        return None if self._guard is None else self._guard.damage

    def stored(self, id_: str) -> StoredRow | None:
        """The row of an id whether or not its time has come: what decisions are made on."""
        row = self._ids.get(id_)
        if row is None:
            return None
        return self._store.view().stored(row)

    def work_due(self) -> Work | None:
        """The next piece of upkeep; None while there is none, or one is under way."""
        if self._work is not None:
            return None
        self._work = self._next_work()
        return self._work

    @property
    def counts(self) -> tuple[int, int]:
        """How many rows the index covers, and how many there are."""
        return self._index.size, self._store.count

    @property
    def parts(self) -> tuple[object, ...]:
        """What holds the memory that they take."""
        return (
            *(self._store, self._ids, self._metadata, self._texts, self._visibility, self._index),
            *(self._operations, self._sums, self._code_sums),
        )

    @property
    def passing_bytes(self) -> int:
        """How much of that is there only until the index is built."""
        return self._index.passing_bytes

    def drain(self) -> Work | None:
        """A piece of what is left to index, due or not; None if there is none, or at other work."""
        size, count = self.counts
        damaged = self._guard is not None and self._guard.is_damaged_from(size)
        if self._work is not None or damaged or not self._kernels.ready:
            return None
        if size == count and not self._index.unfinished:
            return None
        last = min(count, size + self._policy.drain_rows_max)
        self._work = Drain(self._index, self._store.view(), last, self._space)
        return self._work

    def refine(self) -> str | None:
        """Have searches walk by a finer form of the rows from now on; answers which.

        None when the collection's quantization is not ``auto``, or nothing is finer.
        """
        finer = self._index.refine(self._store.view())
        if finer is None:
            return None
        self._install_index(finer)
        self._view = None
        return finer.precision

    @property
    def space(self) -> Space:
        """Where the rows lie now; a vacuum changes it."""
        return self._space

    def checkpoint(self) -> Checkpoint:
        """All that is applied, to be run and stored, and then installed like other upkeep."""
        assert self._work is None, "one piece of upkeep at a time"
        self._work = Checkpoint(
            Parts(
                *(self.spec, self.applied_offset, self._store.view(), self._visibility.dead()),
                *(self._ids.to_arrays(), self._metadata.view(), self._texts.view(), self._index),
                *(self._operations.items(), self._sums, self._code_sums, self._store.sent),
            )
        )
        return self._work

    def install(self, work: Work) -> None:
        """Take over what a piece of upkeep has made. It has run to its end.

        Raises PersistenceFailed when there is no room for it, and Damaged when rows are; then all
        is as before.
        """
        assert work is self._work, "only work that was handed out, once"
        self._work = None
        if isinstance(work, Merge):
            work.install()
        elif isinstance(work, Drain):
            assert work.index is not None, "only work that has run"
            self._install_index(work.index)
        elif isinstance(work, CodeVerification):
            self._install_proof(work)
        elif isinstance(work, Verification):
            self._guard = None if work.guard.damage is None else work.guard
            self._store.guarded_by(self._guard)
        elif isinstance(work, Vacuum):
            self._install_vacuum(work)
        elif isinstance(work, Checkpoint):
            self._sums, self._code_sums = work.sums, work.code_sums
        self._view = None

    def abandon(self, work: Work) -> None:
        """Forget a piece of upkeep that did not run to its end; it is due again."""
        assert work is self._work, "only work that was handed out, once"
        self._work = None
        if isinstance(work, Vacuum):
            work.space.close()
            self._vacuum = None

    def operation(self, op_id: str) -> Operation | None:
        """What a former write with this ``op_id`` did."""
        return self._operations.get(op_id)

    def take_over(self, name: str, former: "Rows | None") -> None:
        """Go on under a name, and with the operations that were answered under it."""
        self.spec, self._view = self.spec.named(name), None
        self._operations.adopt(Operations() if former is None else former._operations)

    def tune(self, spec: CollectionSpec) -> None:
        """Have searches try as hard as ``spec`` says, which is otherwise as before."""
        self.spec, self._index, self._view = spec, self._index.told(spec), None

    @property
    def is_exact(self) -> bool:
        """Whether every search looks at all rows: no index covers any. Any thread may ask."""
        return not self._index.size

    def _next_work(self) -> Work | None:
        if self._unproven is not None:
            return self._unproven
        if self._guard is not None and not self._guard.searched:
            return Verification(self._guard)
        if (merge := self._metadata.merge_due()) is not None:
            return Merge("metadata merge", self._metadata, merge)
        texts = self._texts.index
        if texts is not None and (due := texts.merge_due()) is not None:
            return Merge("text merge", texts, due)
        dead, count, sound = self._visibility.dead_count, self._store.count, self.damage is None
        wants = self._to_be is not None or self._policy.wants_vacuum(dead, count)
        if self._vacuum is None and sound and wants:
            self._vacuum = self._new_vacuum()
        last = self.drain_end()
        drain = last > self._index.size or self._index.unfinished
        # A vacuum takes long: it and drains take turns, so that the tail stays short.
        self._vacuum_is_next = self._vacuum is not None and (self._vacuum_is_next or not drain)
        if self._vacuum is not None and self._vacuum_is_next:
            self._vacuum_is_next = False
            return self._vacuum
        self._vacuum_is_next = True
        if not drain:
            return None
        return Drain(self._index, self._store.view(), last, self._space)

    def drain_end(self) -> int:
        """Up to which row the index is to grow now; its size while that is not due."""
        size = self._index.size
        if self._guard is not None and self._guard.is_damaged_from(size):
            return size
        return self._index.due(self._store.count, self._policy)

    def _begin_block(self) -> None:
        """Fill the last block, which is damaged, with dead rows: what comes shares none with it."""
        self._store.distrust_end()
        nothing, end = filling(self.spec)
        while self._store.count % BLOCK_ROWS:
            self.apply(self.applied_offset, nothing)
        self.apply(self.applied_offset, end)

    def _put_ids(self, written: Sequence[VectorWritten | DocumentWritten], first: int) -> None:
        """Lead the ids to their rows, bury those that were there, and note when they expire."""
        self._visibility.bury_all(self._ids.put_all([change.id for change in written], first))
        for row, change in enumerate(written, first):
            if change.expires_at_ms is not None:
                self._visibility.expire(row, change.expires_at_ms)

    def _append(self, written: Sequence[VectorWritten | DocumentWritten]) -> None:
        rows = rows_of(written)
        flat = taken_apart(rows, self._kernels, self._metadata.fields_max)
        first = self._store.extend(rows)
        if flat is not None:
            self._metadata.extend_by(first, flat.segment)
            self._texts.extend_by(first, rows, flat)
            return
        documents = [decoded(row.meta) for row in rows]
        self._metadata.extend(first, documents)
        self._texts.extend(first, rows, documents)
