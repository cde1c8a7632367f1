"""A collection's rows, and its files. Sync: for a thread."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from kissvdb.storage.backup import Entry

if TYPE_CHECKING:
    # Not at run time: numpy comes with them, and a server without rows starts faster without.
    from kissvdb.core.rows.owner import Rows
    from kissvdb.core.rows.work import Work


@attrs.define(eq=False)
class StoredCollection:
    """A collection's rows, and what is known of its files.

    ``durable_offset``: up to where the files hold it. ``created_offset``: that of its creation;
    None until that is logged. ``updated_at_ms``: the Unix time of the last write. ``stale``: the
    files lack what was replayed or made anew.
    """

    rows: "Rows"
    directory: Path | None
    durable_offset: int = 0
    created_offset: int | None = None
    updated_at_ms: int = 0
    stale: bool = False

    def checkpoint(self) -> None:
        """Store all that is applied, where nobody else has the rows. Raises as `run`."""
        work = self.rows.checkpoint()
        self.run(work)
        self.rows.install(work)
        self.stale = False

    def run(self, work: "Work") -> None:
        """Do a piece of upkeep, and store what a checkpoint has made; for a thread.

        Raises PersistenceFailed, Damaged and OSError.
        """
        from kissvdb.core.rows.checkpoint import Checkpoint

        work.run()
        if self.directory is None or not isinstance(work, Checkpoint):
            return
        from kissvdb.storage.rows import files as row_files
        from kissvdb.storage.rows.arrays import RowArrays

        space = self.rows.space
        assert isinstance(space, RowArrays)
        manifest = {**work.manifest, **self._fields()}
        # None begins while this is under way.
        vacuuming = self.rows.vacuum_progress is not None
        row_files.save(self.directory, space, manifest, work.indexes, keep_later=vacuuming)
        self.durable_offset = work.offset

    def move(self, directory: Path) -> None:
        """Rename the directory. Raises OSError. Nobody may ask for its arrays meanwhile."""
        from kissvdb.storage.rows.arrays import RowArrays

        assert self.directory is not None
        self.directory.rename(directory)
        self.directory = directory
        space = self.rows.space
        assert isinstance(space, RowArrays)
        space.move(directory)

    def entries(self) -> list[Entry]:
        """Its files, open, as entries of a backup."""
        return [] if self.directory is None else entries_of(self.directory)

    def restate(self, offset: int) -> None:
        """Store that no record up to ``offset`` changed anything since the last checkpoint."""
        if self.directory is None:
            return
        from kissvdb.storage.rows import files as row_files

        row_files.restate(self.directory, {"offset": offset, **self._fields()})
        self.durable_offset = offset

    def _fields(self) -> dict[str, Any]:
        """What the manifest says beside the rows."""
        wanted = self.rows.wanted
        return {
            "created_offset": self.created_offset,
            "updated_at_ms": self.updated_at_ms,
            "reindex": None if wanted is None else wanted.to_fields(),
        }


def entries_of(directory: Path) -> list[Entry]:
    """The files of a collection's directory, open, as entries of a backup. Raises OSError."""
    found: list[Entry] = []
    try:
        for path in sorted(directory.iterdir()):
            source = path.open("rb")
            size = os.fstat(source.fileno()).st_size
            found.append(
                Entry(f"{directory.parent.name}/{directory.name}/{path.name}", size, source)
            )
    except BaseException:
        for entry in found:
            entry.source.close()
        raise
    return found
