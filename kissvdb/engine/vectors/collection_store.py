"""The vector collections of a database on disk, opened and recovered. Sync: for a thread.

A collection's directory is made before the record that creates it is logged, and removed after
the record that deletes it is durable. So a directory whose creation the log does not hold was never
created. The replay makes what the log says was created and is not there: in a backup, say, which
was taken while the collection was created.

A collection whose vectors are made anew has a shadow (`core.store.spec.shadow_of`), which takes its
place by the record CollectionReplaced. From then on the shadow's rows are the collection's; on
disk that is so once a checkpoint of theirs says that they are called so. Until then a start finds
both as they were before the record, and the replay does it again; from then on only the former
directory is to be removed, and the new one to be renamed: `settle`, which a start does, too.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from kissvdb import logs
from kissvdb.core.store.spec import CollectionSpec, shadow_of
from kissvdb.engine.rows.shared_kernels import SharedKernels
from kissvdb.engine.rows.stored import StoredCollection, entries_of
from kissvdb.errors import Damaged, NewerFormat
from kissvdb.records import (
    OFFSET_MAX,
    CollectionCreated,
    CollectionDeleted,
    CollectionReindexing,
    CollectionReplaced,
    CollectionTuned,
    Record,
    Respecified,
    VectorDeleted,
    VectorRecord,
    VectorWritten,
)
from kissvdb.storage.backup import Entry

if TYPE_CHECKING:
    # Not at run time: numpy comes with them, and a server without vectors starts faster without.
    from kissvdb.core.rows.owner import Rows
    from kissvdb.storage.rows import files as row_files

logger = logging.getLogger("kissvdb.store")

DIRECTORY = "vectors"
"""Within the data directory."""
ROWS_AT_ONCE = 4096

Waiting = dict[str, list[tuple[int, VectorWritten | VectorDeleted]]]
"""Changes (offset, record) that are not applied yet, by collection."""


class CollectionStore:
    """All collections of a database, by name. ``data_dir`` None keeps them in memory."""

    def __init__(self, data_dir: Path | None, kernels: SharedKernels | None = None) -> None:
        self.kernels = SharedKernels() if kernels is None else kernels
        self.collections: dict[str, StoredCollection] = {}
        self.broken: dict[str, str] = {}
        """What is wrong with the collections that cannot be opened, by name. They hold up neither
        the others nor the log, and can be deleted."""
        self.former: dict[str, StoredCollection | None] = {}
        """What was replaced and has files left, by the name of both."""
        directory = self._directory = None if data_dir is None else data_dir / DIRECTORY
        if directory is not None and directory.is_dir():
            for entry in sorted(directory.iterdir()):
                if entry.is_dir():
                    self._open(entry)

    @property
    def durable_offsets(self) -> list[int]:
        """Up to where the files of each collection hold it. Any thread may ask."""
        former = [each for each in list(self.former.values()) if each is not None]
        return [each.durable_offset for each in [*self.collections.values(), *former]]

    def view(self) -> "CollectionsReplay":
        """What the log is to be replayed to."""
        return CollectionsReplay(self)

    @property
    def applied_offset_max(self) -> int:
        """The highest offset that any collection has applied."""
        return max((each.rows.applied_offset for each in self.collections.values()), default=0)

    def create(
        self, spec: CollectionSpec, after_offset: int, created_offset: int | None = None
    ) -> StoredCollection:
        """Make an empty collection that is true up to ``after_offset``.

        ``created_offset``: that of the record of its creation; None when it is not logged yet, and
        comes later. Raises OSError and PersistenceFailed.
        """
        from kissvdb.core.rows.owner import Rows
        from kissvdb.core.store.id_map import SALT_BYTES
        from kissvdb.storage.rows.arrays import RowArrays

        # What a deletion could not remove must not become part of the new collection.
        self.remove(spec.name)
        directory = None
        if self._directory is not None:
            directory = self._directory / spec.name
            self._make(directory)
        rows = Rows(spec, os.urandom(SALT_BYTES), self.kernels.loaded, RowArrays(directory, 0))
        rows.note_offset(after_offset)
        made = StoredCollection(
            rows, directory, created_offset=created_offset, updated_at_ms=spec.created_at_ms
        )
        made.checkpoint()
        self.collections[spec.name] = made
        return made

    def remove(self, name: str) -> None:
        """Remove what is left of a collection. Raises OSError."""
        stored, former = self.collections.get(name), self.former.get(name)
        for each in (stored, former):
            if each is not None:
                each.rows.space.close()
        self._remove_files(name)
        if stored is not None and stored.directory is not None:
            self._remove_files(stored.directory.name)
        # Not before: while there are files, the log must keep the record of the deletion.
        self.collections.pop(name, None)
        self.former.pop(name, None)
        self.broken.pop(name, None)

    def _remove_files(self, name: str) -> None:
        if self._directory is not None and (self._directory / name).is_dir():
            from kissvdb.storage.data_dir import sync_directory
            from kissvdb.storage.rows import files as row_files

            row_files.remove(self._directory / name)
            sync_directory(self._directory)

    def replace(self, name: str, offset: int) -> StoredCollection:
        """The shadow of a collection has taken its place, by the record at ``offset``.

        In memory; a checkpoint is to follow, and then `settle`.
        """
        shadow = self.collections.pop(shadow_of(name))
        former = self.former[name] = self.collections.pop(name, None)
        shadow.rows.take_over(name, None if former is None else former.rows)
        # Files that have the name must be behind the record: it is not for them.
        shadow.rows.note_offset(offset)
        shadow.created_offset, shadow.stale = offset, True
        self.collections[name] = shadow
        self.broken.pop(name, None)
        return shadow

    def settle(self, name: str) -> None:
        """Remove what was replaced, and let the directory have its name. The checkpoint is there,
        and nobody asks for arrays meanwhile. Raises OSError; then it is to be done again."""
        stored, former = self.collections[name], self.former[name]
        if former is not None:
            former.rows.space.close()
        if self._directory is not None:
            from kissvdb.storage.data_dir import sync_directory

            place = self._directory / name
            if stored.directory != place:
                self._remove_files(name)
                stored.move(place)
            sync_directory(self._directory)
        del self.former[name]

    def isolate(self, name: str, error: Damaged) -> None:
        """Go on without a collection that is damaged. Its files stay as they are.

        Not for what a later version wrote: that is raised.
        """
        if isinstance(error, NewerFormat):
            raise error
        stored = self.collections.pop(name, None)
        if stored is not None:
            stored.rows.space.close()
        self.broken[name] = error.message
        message = "a collection is damaged and cannot be opened"
        logs.event(logger, logging.ERROR, message, collection=name, error=error.message)

    def isolate_before(self, first_offset: int) -> None:
        """Go on without the collections that lack records from before where the log begins."""
        for name, stored in list(self.collections.items()):
            applied = stored.rows.applied_offset
            if applied + 1 < first_offset:
                error = Damaged(
                    f"collection {name!r} holds offsets up to {applied}, but the log begins at "
                    f"{first_offset}: restore a backup, or delete the collection and load it again"
                )
                self.isolate(name, error)

    def broken_entries(self) -> list[Entry]:
        """The files of collections that cannot be opened, as entries of a backup."""
        if self._directory is None:
            return []
        found: list[Entry] = []
        try:
            for name in list(self.broken):
                try:
                    found += entries_of(self._directory / name)
                except FileNotFoundError:
                    # Deleted meanwhile, on the loop: the backup's log says so.
                    if name in self.broken and (self._directory / name).is_dir():
                        raise
        except BaseException:
            for entry in found:
                entry.source.close()
            raise
        return found

    def forget_uncreated(self) -> None:
        """After the replay: remove what was prepared for collections that were never created."""
        for name, stored in list(self.collections.items()):
            if stored.created_offset is None:
                self.remove(name)

    def close(self) -> None:
        """Let go of all files."""
        for stored in self.collections.values():
            stored.rows.space.close()

    def _open(self, directory: Path) -> None:
        from kissvdb.core.rows.owner import Rows
        from kissvdb.core.store.id_map import SALT_BYTES
        from kissvdb.storage.rows import files as row_files

        if not row_files.exists(directory):
            if row_files.is_leftover(directory):
                row_files.remove(directory)
            else:
                message = "a directory among the collections is none"
                logs.event(logger, logging.WARNING, message, directory=str(directory))
            return
        try:
            found = row_files.open_directory(directory)
        except Damaged as error:
            self.isolate(directory.name, error)
            return
        try:
            rows, warnings = Rows.opened(
                found.manifest,
                found.indexes,
                found.damaged,
                found.arrays,
                os.urandom(SALT_BYTES),
                self.kernels.loaded,
            )
        except Damaged as error:
            found.arrays.close()
            self.isolate(directory.name, error)
            return
        wanted = found.manifest.get("reindex")
        rows.wanted = None if wanted is None else CollectionSpec.of_fields(wanted)
        for warning in warnings:
            logs.event(logger, logging.WARNING, warning, collection=directory.name)
        stored = StoredCollection(
            rows,
            directory,
            rows.applied_offset,
            found.manifest.get("created_offset"),
            found.manifest.get("updated_at_ms", rows.spec.created_at_ms),
            stale=bool(warnings),
        )
        name = directory.name
        if name == shadow_of(rows.spec.name):
            # It has taken the place of what is in the directory of this name.
            name = rows.spec.name
            self.former[name] = self.collections.pop(name, None)
            self.broken.pop(name, None)
        self.collections[name] = stored
        if name in self.former:
            self.settle(name)

    def _make(self, directory: Path) -> None:
        from kissvdb.storage.data_dir import sync_directory

        directory.mkdir(parents=True)
        sync_directory(directory.parent)
        sync_directory(directory.parent.parent)


class CollectionsReplay:
    """All collections, which take the records that name them: also that of their creation.

    One that cannot be opened is made anew if its creation comes: then all it held comes, too.
    """

    kinds = get_args(VectorRecord)

    def __init__(self, store: CollectionStore) -> None:
        self._store = store

    @property
    def applied_offset(self) -> int:
        """Up to where all collections hold what concerns them."""
        collections = self._store.collections.values()
        return min((each.rows.applied_offset for each in collections), default=OFFSET_MAX)

    def replay(self, records: Sequence[tuple[int, Record]], upto: int) -> None:
        """Apply what is not applied. Raises PersistenceFailed and OSError."""
        collections = self._store.collections
        waiting: Waiting = {}
        for offset, record in records:
            if type(record) is VectorWritten:
                stored = collections.get(record.collection)
                if stored is not None and offset > stored.rows.applied_offset:
                    waiting.setdefault(record.collection, []).append((offset, record))
            elif isinstance(record, VectorRecord):
                self._take(offset, record, waiting)
        for name in list(waiting):
            self._apply(name, waiting)
        for stored in collections.values():
            stored.rows.note_offset(upto)

    def _take(self, offset: int, record: VectorRecord, waiting: Waiting) -> None:
        name, stored = record.collection, self._store.collections.get(record.collection)
        if isinstance(record, CollectionReplaced) and record.by != name:
            self._replace(offset, record, waiting)
        elif stored is not None and offset <= stored.rows.applied_offset:
            return
        elif isinstance(record, Respecified):
            self._respecify(offset, record, waiting)
        elif isinstance(record, CollectionCreated):
            self._create(offset, record)
        elif isinstance(record, CollectionDeleted):
            waiting.pop(name, None)
            self._store.remove(name)
        elif stored is not None:
            # Else it was deleted later, or its creation would have come before.
            waiting.setdefault(name, []).append((offset, record))

    def _apply(self, name: str, waiting: Waiting) -> None:
        changes = waiting.pop(name, [])
        stored = self._store.collections.get(name)
        if not changes or stored is None:
            return
        stored.stale = True
        try:
            for start in range(0, len(changes), ROWS_AT_ONCE):
                stored.rows.apply_all(changes[start : start + ROWS_AT_ONCE])
        except Damaged as error:
            self._store.isolate(name, error)

    def _replace(self, offset: int, record: CollectionReplaced, waiting: Waiting) -> None:
        store, name, by = self._store, record.collection, record.by
        stored, shadow = store.collections.get(name), store.collections.get(by)
        is_of_then = shadow is not None and shadow.rows.applied_offset < offset
        if stored is not None and stored.rows.applied_offset >= offset:
            # It is the new one already, or one that came later.
            if is_of_then:
                waiting.pop(by, None)
                store.remove(by)
            return
        for each in (name, by):
            self._apply(each, waiting)
        if is_of_then and by in store.collections:
            store.replace(name, offset).checkpoint()
            store.settle(name)
        elif stored is not None or by in store.broken:
            reason = store.broken.get(by, "they are not there")
            message = f"the vectors that took the place of those of {name!r} are lost ({reason})"
            store.isolate(name, Damaged(message))

    def _respecify(self, offset: int, record: Respecified, waiting: Waiting) -> None:
        self._apply(record.collection, waiting)
        stored = self._store.collections.get(record.collection)
        if stored is not None:
            _respecify(stored.rows, record)
            stored.rows.note_offset(offset)
            stored.stale = True

    def _create(self, offset: int, record: CollectionCreated) -> None:
        stored = self._store.collections.get(record.collection)
        if stored is None:
            self._store.create(CollectionSpec.of_record(record), offset, created_offset=offset)
        else:
            stored.created_offset = offset  # Its directory was made before it was logged.


def _respecify(rows: "Rows", record: Respecified) -> None:
    if isinstance(record, CollectionTuned):
        return rows.tune(rows.spec.tuned(record))
    spec = rows.spec.reshaped(record)
    if isinstance(record, CollectionReindexing) or spec is None:
        return rows.convert(spec)
    try:
        rows.convert_now(spec)
    except Damaged as error:
        rows.convert(None)  # What is sound is served as it was.
        name, message = rows.spec.name, "a collection keeps its former index"
        logs.event(logger, logging.WARNING, message, collection=name, error=error.message)


def verify_rows(opened: "row_files.Opened") -> list[str]:
    """Compare the rows of a collection's checkpoint with their checksums. Raises Damaged."""
    from kissvdb.core.rows import checkpoint as row_checkpoint

    row_checkpoint.verify(opened.manifest, opened.indexes, opened.damaged, opened.arrays)
    return []
