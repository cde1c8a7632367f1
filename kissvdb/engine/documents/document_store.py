"""The indexes of documents on disk, opened and recovered. Sync: for a thread.

Truth are the keys. A checkpoint of rows that is whole is brought up to date by the replay of the
log; every other one is removed, and made anew from the keys while the database runs.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kissvdb import logs
from kissvdb.core.state import reserved_keys
from kissvdb.engine.documents.pending import Told
from kissvdb.engine.rows.shared_kernels import SharedKernels
from kissvdb.engine.rows.stored import StoredCollection
from kissvdb.errors import Damaged, NewerFormat, PersistenceFailed
from kissvdb.records import OFFSET_MAX, KeyDeleted, KeyWritten, Record

if TYPE_CHECKING:
    # Not at run time: numpy comes with them, and a server without documents starts faster without.
    from kissvdb.core.rows.changes import Change
    from kissvdb.core.rows.owner import Rows
    from kissvdb.core.store.space import Space
    from kissvdb.core.text.settings import TextSettings

logger = logging.getLogger("kissvdb.documents")

DIRECTORY = "documents"
"""Within the data directory."""
ROWS_AT_ONCE = 4096


class DocumentStore:
    """All collections of documents of a database, by name. ``data_dir`` None keeps them in memory.

    ``collections`` are those whose rows were opened, and are whole.
    """

    def __init__(self, data_dir: Path | None, kernels: SharedKernels) -> None:
        self.collections: dict[str, StoredCollection] = {}
        self.kernels = kernels
        directory = self._directory = None if data_dir is None else data_dir / DIRECTORY
        if directory is not None and directory.is_dir():
            for entry in sorted(directory.iterdir()):
                if entry.is_dir():
                    self._open(entry)

    @property
    def durable_offsets(self) -> list[int]:
        """Up to where the files of each collection hold it; not of those that have no whole files
        yet, which are made from the keys. Any thread may ask."""
        found = [each.durable_offset for each in list(self.collections.values())]
        return [offset for offset in found if offset]

    @property
    def applied_offset_max(self) -> int:
        """The highest offset that any collection has applied."""
        return max((each.rows.applied_offset for each in self.collections.values()), default=0)

    def view(self) -> "DocumentsReplay":
        """What the log is to be replayed to."""
        return DocumentsReplay(self)

    def distrust(self, first_offset: int, last_offset: int, tables: Sequence[int]) -> None:
        """Before the replay: remove what the log cannot bring to where the keys are.

        The log holds the offsets from ``first_offset`` to ``last_offset``; the tables of keys have
        applied ``tables``.
        """
        for name, stored in list(self.collections.items()):
            applied = stored.rows.applied_offset
            if applied + 1 < first_offset:
                reason = f"it holds offsets up to {applied}, the log begins at {first_offset}"
                self.distrust_one(name, reason)
                continue
            # A log that was cut: what it lost may be in one and not in the other.
            highest = max(applied, *tables)
            if highest > last_offset and not applied == highest == min(tables):
                reason = f"the log ends at {last_offset}, before what keys or index hold"
                self.distrust_one(name, reason)

    def create(
        self, collection: str, created_at_ms: int, text: "TextSettings | None"
    ) -> StoredCollection:
        """Rows without a document. ``text``: how they are searched, if not as by default.

        Raises OSError and PersistenceFailed.
        """
        from kissvdb.storage.rows.arrays import RowArrays

        self.remove(collection)
        directory = None
        if self._directory is not None:
            from kissvdb.storage.data_dir import sync_directory

            directory = self._directory / collection
            directory.mkdir(parents=True)
            sync_directory(self._directory)
            sync_directory(self._directory.parent)
        rows = self.rows(collection, created_at_ms, text, RowArrays(directory, 0))
        made = StoredCollection(rows, directory, updated_at_ms=created_at_ms, stale=True)
        self.collections[collection] = made
        return made

    def rows(
        self, collection: str, created_at_ms: int, text: "TextSettings | None", space: "Space"
    ) -> "Rows":
        """New rows in a space of theirs."""
        from kissvdb.core.rows.owner import Rows
        from kissvdb.core.store.id_map import SALT_BYTES
        from kissvdb.core.store.spec import CollectionSpec

        spec = CollectionSpec.of_documents(collection, created_at_ms, text)
        return Rows(spec, os.urandom(SALT_BYTES), self.kernels.loaded, space)

    def remove(self, collection: str) -> None:
        """Remove what is left of a collection. Raises OSError."""
        stored = self.collections.pop(collection, None)
        if stored is not None:
            stored.rows.space.close()
        if self._directory is not None and (self._directory / collection).is_dir():
            from kissvdb.storage.data_dir import sync_directory
            from kissvdb.storage.rows import files as row_files

            row_files.remove(self._directory / collection)
            sync_directory(self._directory)

    def close(self) -> None:
        """Let go of all files."""
        for stored in self.collections.values():
            stored.rows.space.close()

    def _open(self, directory: Path) -> None:
        from kissvdb.core.rows.owner import Rows
        from kissvdb.core.store.id_map import SALT_BYTES
        from kissvdb.storage.rows import files as row_files

        name = directory.name
        if not row_files.exists(directory):
            if row_files.is_leftover(directory):
                row_files.remove(directory)
            else:
                message = "a directory among the documents is none"
                logs.event(logger, logging.WARNING, message, directory=str(directory))
            return
        found = None
        try:
            found = row_files.open_directory(directory)
            rows, warnings = Rows.opened(
                found.manifest,
                found.indexes,
                found.damaged,
                found.arrays,
                os.urandom(SALT_BYTES),
                self.kernels.loaded,
            )
        except NewerFormat:
            raise
        except Damaged as error:
            if found is not None:
                found.arrays.close()
            self.distrust_one(name, error.message)
            return
        for warning in warnings:
            logs.event(logger, logging.WARNING, warning, documents=name)
        updated_at_ms = found.manifest.get("updated_at_ms", rows.spec.created_at_ms)
        self.collections[name] = StoredCollection(
            rows,
            directory,
            rows.applied_offset,
            updated_at_ms=updated_at_ms,
            stale=bool(warnings),
        )

    def distrust_one(self, collection: str, reason: str) -> None:
        """Have it made anew from the keys. Raises OSError."""
        self.remove(collection)
        message = "an index of documents is made anew from the keys"
        logs.event(logger, logging.WARNING, message, documents=collection, reason=reason)


class DocumentsReplay:
    """All collections that were opened, which take the records of their documents."""

    kinds = (KeyWritten, KeyDeleted)

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    @property
    def applied_offset(self) -> int:
        """Up to where all collections hold what concerns them."""
        collections = self._store.collections.values()
        return min((each.rows.applied_offset for each in collections), default=OFFSET_MAX)

    def replay(self, records: Sequence[tuple[int, Record]], upto: int) -> None:
        """Apply what is not applied. Raises PersistenceFailed and OSError."""
        collections = self._store.collections
        waiting: dict[str, list[Told]] = {}
        for offset, record in records:
            assert isinstance(record, (KeyWritten, KeyDeleted))
            place = reserved_keys.document_of(record.key)
            if place is None:
                continue
            # Those that are not there are made from the keys.
            stored = collections.get(place[0])
            if stored is not None and offset > stored.rows.applied_offset:
                changes = waiting.setdefault(place[0], [])
                changes.append(Told(place[1], offset, record))
        for name, changes in waiting.items():
            stored = collections[name]
            stored.stale = True
            try:
                apply(stored.rows, changes, upto)
            except Damaged as error:
                self._store.distrust_one(name, error.message)
        for stored in collections.values():
            stored.rows.note_offset(upto)


def apply(rows: "Rows", told: Sequence[Told], offset: int) -> None:
    """Apply changes as one: all, or none when PersistenceFailed or Refused is raised.

    ``offset``: up to where the rows hold everything then.
    """
    changes = _changes(told)
    written = [each.record for each in told if isinstance(each.record, KeyWritten)]
    # A key is longer than its id.
    blob_bytes = sum(3 * len(each.key) + len(each.value) for each in written)
    try:
        rows.reserve(len(written), blob_bytes)
    except OSError as error:
        raise PersistenceFailed(f"no room for more documents: {error}") from error
    offset = max(offset, rows.applied_offset)
    for start in range(0, len(changes), ROWS_AT_ONCE):
        rows.apply_all([(offset, each) for each in changes[start : start + ROWS_AT_ONCE]])


def _changes(told: Sequence[Told]) -> "list[Change]":
    from kissvdb.core.rows.changes import DocumentWritten

    records: list[Any] = [each.record for each in told]
    if set(map(type, records)) != {KeyWritten}:
        return list(map(_change, told))
    # A load: column by column it costs a quarter.
    return list(
        map(
            DocumentWritten,
            [each.id for each in told],
            [each.value for each in records],
            [each.revision for each in records],
            [each.offset for each in told],
            [each.expires_at_ms for each in records],
        )
    )


def _change(told: Told) -> "Change":
    from kissvdb.core.rows.changes import DocumentDeleted, DocumentWritten

    record = told.record
    if isinstance(record, KeyDeleted):
        return DocumentDeleted(told.id)
    return DocumentWritten(
        told.id, record.value, record.revision, told.offset, record.expires_at_ms
    )
